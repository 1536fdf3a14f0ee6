//! Datagrams over and back: whether, how fast and how surely two hosts reach each other.
//!
//! A `ping` that needs no program and no rights of its own, whose times come from this process.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use trunkline_proto::base::Instant;

use super::{Host, LabError};
use crate::clock::Clock;
use crate::kernel;

/// How often an echo looks whether it should end.
const GLANCE: Duration = Duration::from_millis(20);

/// How long [`Host::probe`] waits for answers after its last datagram.
const PATIENCE: Duration = Duration::from_millis(500);

/// Answers every datagram with itself until it is dropped.
#[derive(Debug)]
pub struct Echo {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// The UDP port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What came back of a series of datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The round-trip time of each datagram in the order sent; `None` if it did not come back.
    pub round_trips: Vec<Option<Duration>>,
    /// Answers that came a second time.
    pub duplicates: usize,
    /// Errors the system reported meanwhile, such as "connection refused": a silent network
    /// causes none.
    pub errors: usize,
}

impl Answers {
    /// How many came back.
    #[must_use]
    pub fn received(&self) -> usize {
        self.round_trips.iter().flatten().count()
    }

    /// How many did not.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.round_trips.len() - self.received()
    }

    /// The shortest round trip.
    #[must_use]
    pub fn least(&self) -> Option<Duration> {
        self.round_trips.iter().flatten().min().copied()
    }

    /// The round trip in the middle.
    #[must_use]
    pub fn median(&self) -> Option<Duration> {
        let mut all: Vec<_> = self.round_trips.iter().flatten().collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().copied()
    }
}

impl Host {
    /// Answers datagrams at UDP `port` of this host (any free one if 0) until the handle drops.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn echo(&self, port: u16) -> Result<Echo, LabError> {
        self.echo_at(Ipv4Addr::UNSPECIFIED.into(), port)
    }

    /// As [`echo`](Self::echo), at one address, of either family.
    ///
    /// # Errors
    /// If the address is not the host's, or the port taken.
    pub fn echo_at(&self, address: IpAddr, port: u16) -> Result<Echo, LabError> {
        let socket = self.socket(address, port).map_err(|e| self.failed(e))?;
        let port = socket.local_addr().map_err(|e| self.failed(e))?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("echo".into());
        let thread = thread.spawn(move || answer(&socket, &heard));
        Ok(Echo { port, stop, thread: Some(thread.map_err(|e| self.failed(e))?) })
    }

    /// Sends `count` datagrams to an [`Echo`] at `to`, one every `interval`, and waits half a
    /// second for the last answers.
    ///
    /// # Errors
    /// If the socket cannot be made. Losses and network errors are part of the answer.
    pub fn probe(
        &self,
        to: SocketAddr,
        count: usize,
        interval: Duration,
    ) -> Result<Answers, LabError> {
        self.probe_for(to, count, interval, PATIENCE)
    }

    /// As [`probe`](Self::probe), waiting `patience` (and 50 ms) for the last answers.
    pub(super) fn probe_for(
        &self,
        to: SocketAddr,
        count: usize,
        interval: Duration,
        patience: Duration,
    ) -> Result<Answers, LabError> {
        let any =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let asked = self.socket(any, 0).and_then(|socket| {
            socket.connect(to)?;
            Asking::new(&socket, count).run(interval, patience + Duration::from_millis(50))
        });
        asked.map_err(|e| self.failed(e))
    }

    fn socket(&self, address: IpAddr, port: u16) -> io::Result<UdpSocket> {
        let made = self.inside(|| UdpSocket::bind((address, port)));
        let socket = made.map_err(io::Error::other)??;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

fn answer(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 2_048];
    while !stop.load(Ordering::Relaxed) {
        let _ = kernel::wait_readable([socket.as_fd()], Some(GLANCE));
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
        }
    }
}

/// A series on its way.
struct Asking<'a> {
    socket: &'a UdpSocket,
    clock: Clock,
    sent: Vec<Instant>,
    answers: Answers,
}

impl<'a> Asking<'a> {
    fn new(socket: &'a UdpSocket, count: usize) -> Self {
        let answers = Answers { round_trips: vec![None; count], duplicates: 0, errors: 0 };
        Self { socket, clock: Clock::start(), sent: Vec::with_capacity(count), answers }
    }

    fn run(mut self, interval: Duration, patience: Duration) -> io::Result<Answers> {
        let count = self.answers.round_trips.len();
        let mut next = self.clock.now();
        while self.sent.len() < count {
            let number = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
            self.sent.push(self.clock.now());
            // The size of a small voice packet.
            let mut datagram = [0; 100];
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            if self.socket.send(&datagram).is_err() {
                self.answers.errors += 1;
            }
            next += interval;
            self.listen_until(next)?;
        }
        self.listen_until(self.clock.now() + patience)?;
        Ok(self.answers)
    }

    /// Takes answers until `end`, or until all of a finished series are there.
    fn listen_until(&mut self, end: Instant) -> io::Result<()> {
        let count = self.answers.round_trips.len();
        loop {
            self.take_answers();
            let now = self.clock.now();
            let complete = self.sent.len() == count && self.answers.received() == count;
            if now >= end || complete {
                return Ok(());
            }
            kernel::wait_readable([self.socket.as_fd()], Some(end.since(now)))?;
        }
    }

    fn take_answers(&mut self) {
        let mut buffer = [0; 2_048];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(_) => {
                    let number = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
                    let number = usize::try_from(number).unwrap_or(usize::MAX);
                    let place = self.answers.round_trips.get_mut(number);
                    let (Some(place), Some(sent)) = (place, self.sent.get(number)) else {
                        continue;
                    };
                    if place.is_some() {
                        self.answers.duplicates += 1;
                    } else {
                        *place = Some(self.clock.now().since(*sent));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.answers.errors += 1,
            }
        }
    }
}
