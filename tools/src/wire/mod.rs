//! The wire: frames between two TAP devices, with the delays and faults of a real link.
//!
//! ```text
//!  device a ──read──▶ Emulator ──write──▶ device b
//!  device a ◀─write── Emulator ◀──read─── device b
//! ```
//!
//! It owns the two devices and the clock; what happens to a frame on the way is decided by
//! [`Emulator`] alone, the code the simulated world runs too. One thread, one wait: for a frame,
//! for the next deadline, or for the word to stop. It never looks into a frame.

mod arguments;
mod report;
pub mod units;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use trunkline_proto::base::{Chance, Instant};
use trunkline_sim::emulator::{Conditions, Emulator};

use crate::clock::Clock;
use crate::{kernel, netns};

pub use arguments::{Arguments, as_options};
pub use report::{Direction, Lateness, Report};

/// Frames read from one device before the other and the deadlines get their turn.
const BATCH: usize = 32;

/// The largest frame a TAP device hands over: an IP packet of 64 KiB with its Ethernet header.
const FRAME_MAX: usize = 65_536 + 18;

/// Where one end of a wire is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the TAP device.
    pub device: String,
    /// The network namespace it is made in; that of the process if none.
    pub netns: Option<String>,
}

/// Why there is no wire, or no longer; each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Both ends are the same device.
    #[error("both ends are {0}; give the second another name or another namespace")]
    SameDevice(String),
    /// The kernel offers no TUN/TAP.
    #[error("cannot open /dev/net/tun: {0}; {hint}", hint = hint_tun(.0))]
    NoTun(io::Error),
    /// The namespace cannot be entered.
    #[error("cannot enter network namespace {name}: {source}; {hint}", hint = hint_netns(.source))]
    NoNetns {
        /// Its name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device cannot be had.
    #[error("cannot attach to TAP device {name}: {source}; {hint}", hint = hint_device(.source))]
    NoDevice {
        /// Its name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device failed while frames were carried.
    #[error("device {name} is gone: {source}; was it or its namespace removed?")]
    DeviceGone {
        /// Its name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Waiting failed.
    #[error("cannot wait for frames: {0}")]
    Wait(io::Error),
}

fn hint_tun(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "load the kernel module (modprobe tun) or hand the device to the container"
        }
        io::ErrorKind::PermissionDenied => "run as root or with CAP_NET_ADMIN",
        _ => "see that the kernel has TUN/TAP support",
    }
}

fn hint_netns(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "make it with `ip netns add`",
        io::ErrorKind::PermissionDenied => "run as root or with CAP_SYS_ADMIN",
        _ => "see `ip netns list`",
    }
}

fn hint_device(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "run as root or with CAP_NET_ADMIN",
        Some(libc::EBUSY) => "another program holds it: end that or take another name",
        Some(libc::EINVAL) => "a device of that name exists and is no TAP: take another name",
        _ => "see `ip link`",
    }
}

/// One device, open.
struct End {
    name: String,
    file: File,
    /// Frames the device did not take.
    refused: u64,
}

impl End {
    fn open(place: &Place) -> Result<Self, WireError> {
        match &place.netns {
            None => Self::open_here(&place.device),
            Some(netns) => netns::inside(netns, || Self::open_here(&place.device))
                .map_err(|source| WireError::NoNetns { name: netns.clone(), source })?,
        }
    }

    /// Opens a device in the namespace of this thread. Both steps happen there: the kernel makes
    /// the device where its door was opened, not where it is asked for.
    fn open_here(name: &str) -> Result<Self, WireError> {
        let file = kernel::open_tun().map_err(WireError::NoTun)?;
        let name = name.to_owned();
        match kernel::attach_tap(&file, &name) {
            Ok(()) => Ok(Self { name, file, refused: 0 }),
            Err(source) => Err(WireError::NoDevice { name, source }),
        }
    }
}

/// Two devices and what lies between them.
pub struct Wire {
    ends: [End; 2],
    /// From the first end to the second, and back.
    ways: [Emulator<Vec<u8>>; 2],
    clock: Clock,
    late: Lateness,
    buffer: Box<[u8]>,
}

impl Wire {
    /// Opens both devices. Frames are carried once [`run`](Self::run) does.
    ///
    /// # Errors
    /// If a device or its namespace cannot be had; the error says what to do.
    pub fn open(
        places: &[Place; 2],
        conditions: Conditions,
        mut chance: Chance,
    ) -> Result<Self, WireError> {
        let [a, b] = places;
        if a == b {
            return Err(WireError::SameDevice(a.device.clone()));
        }
        Ok(Self {
            ends: [End::open(a)?, End::open(b)?],
            ways: [(); 2].map(|()| Emulator::new(conditions, chance.fork())),
            clock: Clock::start(),
            late: Lateness::default(),
            buffer: vec![0; FRAME_MAX].into(),
        })
    }

    /// Makes the calling thread, which is to [`run`](Self::run), keep time better: before
    /// everything else that wants to run and without the kernel's slack on timers. A real link does
    /// not compete with its hosts for a processor either: under a load of 7 on 2 cores frames of a
    /// 25 ms wire went out 62 µs late on average and 1.8 ms at worst, 453 µs and 24 ms without.
    ///
    /// # Errors
    /// If the system refuses, as to a user who is not root. The wire works all the same; the
    /// report tells how late it was.
    pub fn hurry(&self) -> io::Result<()> {
        kernel::prefer_this_thread()
    }

    /// Carries frames until `stop` can be read, or for `time` if that is given.
    ///
    /// # Errors
    /// If a device is removed meanwhile.
    pub fn run(&mut self, stop: BorrowedFd<'_>, time: Option<Duration>) -> Result<(), WireError> {
        let end = time.map(|t| self.clock.now() + t);
        let mut readable = [true; 2];
        loop {
            for (from, _) in readable.iter().enumerate().filter(|(_, readable)| **readable) {
                self.take_in(from)?;
            }
            self.put_out()?;
            let now = self.clock.now();
            if end.is_some_and(|end| now >= end) {
                return Ok(());
            }
            let next = self.ways.iter().filter_map(Emulator::deadline).chain(end).min();
            let [a, b] = &self.ends;
            let files = [a.file.as_fd(), b.file.as_fd(), stop];
            let timeout = next.map(|next| next.since(now));
            let [a, b, stopped] = kernel::wait_readable(files, timeout).map_err(WireError::Wait)?;
            if stopped {
                return Ok(());
            }
            readable = [a, b];
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let [a, b] = &self.ends;
        let [there, back] = &self.ways;
        Report {
            seconds: self.clock.now().since(Instant::ZERO).as_secs_f64(),
            a_to_b: Direction::new(there.statistics(), there.held(), b.refused),
            b_to_a: Direction::new(back.statistics(), back.held(), a.refused),
            late: self.late,
        }
    }

    /// Reads what waits at one end into the way that begins there.
    fn take_in(&mut self, from: usize) -> Result<(), WireError> {
        let (Some(end), Some(way)) = (self.ends.get_mut(from), self.ways.get_mut(from)) else {
            return Ok(());
        };
        for _ in 0..BATCH {
            match end.file.read(&mut self.buffer) {
                Ok(length) => {
                    let frame = self.buffer.get(..length).unwrap_or_default().to_vec();
                    way.push(self.clock.now(), frame);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(WireError::DeviceGone { name: end.name.clone(), source });
                }
            }
        }
        Ok(())
    }

    /// Writes what has arrived on both ways to the ends they lead to.
    fn put_out(&mut self) -> Result<(), WireError> {
        let [a, b] = &mut self.ends;
        for (way, to) in self.ways.iter_mut().zip([b, a]) {
            while let Some((arrival, frame)) = way.pop_with_arrival(self.clock.now()) {
                self.late.record(self.clock.now().since(arrival));
                match to.file.write(&frame) {
                    Ok(_) => {}
                    Err(e) if e.raw_os_error() == Some(libc::EBADFD) => {
                        return Err(WireError::DeviceGone { name: to.name.clone(), source: e });
                    }
                    // Down, out of buffers, a frame too short after corruption: a real card
                    // would lose the frame as well.
                    Err(_) => to.refused += 1,
                }
            }
        }
        Ok(())
    }
}
