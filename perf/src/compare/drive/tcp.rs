//! Load over TCP, for every peer whose protocol is a [`Dialect`]: a connection for each sender and
//! one for each receiver.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use trunkline_drive::Run;

use super::{Measured, joined, watch};

/// How long a peer may take to answer a greeting.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes read at a time, and what a receiver's connection may hold of a message.
const READ: usize = 256 << 10;

/// Which end of a pair a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It sends.
    Sender,
    /// It receives.
    Receiver,
}

/// A message as it is on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    /// All of it.
    pub(crate) bytes: Vec<u8>,
    /// Where the payload begins.
    pub(crate) payload: usize,
}

/// What a peer speaks.
pub(crate) trait Dialect: Sync {
    /// Says what has to be said on a new connection, and hears that the peer is ready.
    fn greet(&self, socket: &mut TcpStream, end: End, pair: usize) -> io::Result<()>;
    /// A message as a sender writes it.
    fn written(&self, pair: usize, payload: &[u8]) -> Wire;
    /// The same as its receiver reads it.
    fn read(&self, pair: usize, payload: &[u8]) -> Wire;
    /// What `input` begins with, if that is no message: its length, and the answer to it.
    fn aside(&self, _input: &[u8]) -> Option<(usize, &'static [u8])> {
        None
    }
}

/// Where the peer listens, for senders and for receivers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    /// For senders.
    pub(crate) senders: SocketAddr,
    /// For receivers: another one if there are several hops.
    pub(crate) receivers: SocketAddr,
}

/// Runs the load and watches the peer's processes.
///
/// # Errors
/// If the peer refuses or goes away.
pub(crate) fn drive(
    run: &Run,
    dialect: &dyn Dialect,
    doors: Doors,
    processes: &[u32],
) -> io::Result<Measured> {
    let payload = vec![b'x'; run.load().size];
    let mut receivers = Vec::new();
    let mut senders = Vec::new();
    for pair in 0..run.load().pairs {
        let mut socket = connect(doors.receivers)?;
        dialect.greet(&mut socket, End::Receiver, pair)?;
        receivers.push(Receiver::new(socket, &dialect.read(pair, &payload))?);
        let mut socket = connect(doors.senders)?;
        dialect.greet(&mut socket, End::Sender, pair)?;
        senders.push((socket, dialect.written(pair, &payload)));
    }
    // News of who receives what has to spread over several hops.
    pause(Duration::from_millis(300));
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(run, dialect, receivers));
        let sending = scope.spawn(|| send(run, senders));
        let measured = watch(run, processes);
        joined(sending)?;
        joined(receiving)?;
        Ok(measured)
    })
}

/// A connection to a peer.
pub(crate) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&to, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Reads until `end` was said.
///
/// # Errors
/// If the peer says something else, or nothing.
pub(crate) fn hear(socket: &mut TcpStream, end: &[u8]) -> io::Result<()> {
    let (mut heard, mut byte) = (Vec::new(), [0]);
    while !heard.ends_with(end) {
        socket.read_exact(&mut byte)?;
        heard.extend(byte);
        if heard.len() > 1 << 16 {
            return Err(io::Error::other("the peer does not come to the point"));
        }
    }
    Ok(())
}

fn send(run: &Run, mut senders: Vec<(TcpStream, Wire)>) -> io::Result<()> {
    let group = run.load().group;
    let groups: Vec<Vec<u8>> = senders.iter().map(|(_, wire)| wire.bytes.repeat(group)).collect();
    let outcome = run.send(|pair, stamp| {
        let Some((socket, wire)) = senders.get_mut(pair) else { return Ok(()) };
        let Some(stamp) = stamp else {
            return socket.write_all(groups.get(pair).map_or(&[], Vec::as_slice));
        };
        if let Some(place) = wire.bytes.get_mut(wire.payload..).and_then(|p| p.first_chunk_mut()) {
            *place = stamp;
        }
        socket.write_all(&wire.bytes)
    });
    if outcome.is_err() {
        run.end();
    }
    outcome
}

/// A receiver's connection.
struct Receiver {
    socket: mio::net::TcpStream,
    /// Bytes of a message, and where in it the payload begins.
    length: usize,
    payload: usize,
    /// Of a message that has not come whole.
    held: Vec<u8>,
}

impl Receiver {
    fn new(socket: TcpStream, wire: &Wire) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (length, payload) = (wire.bytes.len(), wire.payload);
        let socket = mio::net::TcpStream::from_std(socket);
        Ok(Self { socket, length, payload, held: Vec::new() })
    }
}

fn receive(run: &Run, dialect: &dyn Dialect, mut receivers: Vec<Receiver>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    for (number, receiver) in receivers.iter_mut().enumerate() {
        poll.registry().register(&mut receiver.socket, Token(number), Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(256);
    let mut buffer = vec![0; READ];
    while !run.is_over() {
        match poll.poll(&mut events, Some(Duration::from_millis(50))) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            let Some(receiver) = receivers.get_mut(event.token().0) else { continue };
            if let Err(e) = receiver.take(run, dialect, &mut buffer)
                && !run.is_over()
            {
                run.end();
                return Err(e);
            }
        }
    }
    Ok(())
}

impl Receiver {
    fn take(&mut self, run: &Run, dialect: &dyn Dialect, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            let held = self.held.len();
            if let Some(front) = buffer.get_mut(..held) {
                front.copy_from_slice(&self.held);
            }
            match self.socket.read(buffer.get_mut(held..).unwrap_or_default()) {
                Ok(0) => return Err(io::Error::other("the peer closed a receiver's connection")),
                Ok(count) => {
                    let input = buffer.get(..held + count).unwrap_or_default();
                    let rest = self.count(run, dialect, input)?;
                    self.held.clear();
                    self.held.extend_from_slice(rest);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Counts whole messages; what is left over.
    fn count<'a>(
        &mut self,
        run: &Run,
        dialect: &dyn Dialect,
        mut input: &'a [u8],
    ) -> io::Result<&'a [u8]> {
        let mut came = 0;
        loop {
            if let Some((length, answer)) = dialect.aside(input) {
                input = input.get(length..).unwrap_or_default();
                self.socket.write_all(answer)?;
                continue;
            }
            let Some((message, rest)) = input.split_at_checked(self.length) else { break };
            if run.is_timed() {
                run.took(message.get(self.payload..).unwrap_or_default());
            }
            came += 1;
            input = rest;
        }
        run.arrived(came);
        Ok(input)
    }
}

/// Waits in full.
#[expect(clippy::disallowed_methods, reason = "there is no event that tells")]
fn pause(time: Duration) {
    thread::sleep(time);
}
