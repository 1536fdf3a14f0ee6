//! The reference relay: frames of 16 bytes of header (length, receiver, 8 bytes of nothing; the
//! numbers little endian) and a payload. A connection begins with its own number, 4 bytes.
//!
//! One thread, one poller. A round reads every ready connection once, copies each frame behind
//! what waits for its receiver, and writes to every receiver once.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
/// Bytes of a connection that are read at a time.
const READ: usize = 256 << 10;
/// Bytes that wait for a receiver at most; what comes then is dropped.
const WAITING: usize = 8 << 20;
const HEADER: usize = 16;
/// What a connection is told once its number is known.
const WELCOME: &[u8] = b"OK\n\n";

struct Guest {
    socket: TcpStream,
    number: Option<u32>,
    /// Bytes of a frame that has not come whole.
    held: Vec<u8>,
    output: Vec<u8>,
    /// Whether it is among those to be written to.
    due: bool,
}

struct Relay {
    guests: Slab<Guest>,
    by_number: HashMap<u32, usize>,
    due: Vec<usize>,
}

/// Forwards until killed.
pub(crate) fn run() -> io::Result<()> {
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    println!("{}", listener.local_addr()?.port());
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut relay = Relay { guests: Slab::new(), by_number: HashMap::new(), due: Vec::new() };
    let mut events = Events::with_capacity(256);
    let mut buffer = vec![0; READ];
    // Connections with more to read: the poller tells of each but once.
    let (mut ready, mut again) = (Vec::new(), Vec::new());
    loop {
        let timeout = (!again.is_empty()).then_some(std::time::Duration::ZERO);
        poll.poll(&mut events, timeout)?;
        std::mem::swap(&mut ready, &mut again);
        for event in &events {
            match event.token() {
                LISTENER => relay.accept(&listener, &poll)?,
                Token(key) => {
                    if event.is_readable() && !ready.contains(&key) {
                        ready.push(key);
                    }
                    relay.set_due(key);
                }
            }
        }
        for key in ready.drain(..) {
            match relay.read(key, &mut buffer) {
                Ok(true) => again.push(key),
                Ok(false) => {}
                Err(_) => relay.part(key),
            }
        }
        relay.write();
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        while let Ok((mut socket, _)) = listener.accept() {
            socket.set_nodelay(true)?;
            let entry = self.guests.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(entry.key()), interest)?;
            let (number, held, output) = (None, Vec::new(), Vec::new());
            entry.insert(Guest { socket, number, held, output, due: false });
        }
        Ok(())
    }

    /// Reads once, and whether there may be more.
    fn read(&mut self, key: usize, buffer: &mut [u8]) -> io::Result<bool> {
        let Some(guest) = self.guests.get_mut(key) else { return Ok(false) };
        let held = guest.held.len();
        if let Some(front) = buffer.get_mut(..held) {
            front.copy_from_slice(&guest.held);
        }
        let count = match guest.socket.read(buffer.get_mut(held..).unwrap_or_default()) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(e) => return Err(e),
        };
        let mut rest = buffer.get(..held + count).unwrap_or_default();
        if guest.number.is_none()
            && let Some((number, after)) = rest.split_first_chunk()
        {
            let number = u32::from_le_bytes(*number);
            guest.number = Some(number);
            guest.output.extend_from_slice(WELCOME);
            self.by_number.insert(number, key);
            self.set_due(key);
            rest = after;
        }
        let rest = self.frames(rest);
        if let Some(guest) = self.guests.get_mut(key) {
            guest.held.clear();
            guest.held.extend_from_slice(rest);
        }
        Ok(held + count == buffer.len())
    }

    /// Copies whole frames to their receivers; what is left over.
    fn frames<'a>(&mut self, mut rest: &'a [u8]) -> &'a [u8] {
        while let Some(&[a, b, c, d, e, f, g, h, ..]) = rest.first_chunk::<HEADER>() {
            let length = u32::from_le_bytes([a, b, c, d]) as usize + HEADER;
            let Some((frame, after)) = rest.split_at_checked(length) else { break };
            rest = after;
            let Some(key) = self.by_number.get(&u32::from_le_bytes([e, f, g, h])) else { continue };
            let key = *key;
            let Some(to) = self.guests.get_mut(key) else { continue };
            if to.output.len() < WAITING {
                to.output.extend_from_slice(frame);
                self.set_due(key);
            }
        }
        rest
    }

    fn set_due(&mut self, key: usize) {
        if let Some(guest) = self.guests.get_mut(key)
            && !guest.due
            && !guest.output.is_empty()
        {
            guest.due = true;
            self.due.push(key);
        }
    }

    /// Writes what waits; the poller tells when a full socket has room again.
    fn write(&mut self) {
        for key in std::mem::take(&mut self.due) {
            let Some(guest) = self.guests.get_mut(key) else { continue };
            guest.due = false;
            let mut done = 0;
            while let Some(rest) = guest.output.get(done..).filter(|r| !r.is_empty()) {
                match guest.socket.write(rest) {
                    Ok(count) => done += count,
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    // A broken connection is noticed when it is read.
                    Err(_) => break,
                }
            }
            guest.output.drain(..done);
        }
    }

    fn part(&mut self, key: usize) {
        let guest = self.guests.try_remove(key);
        if let Some(number) = guest.and_then(|g| g.number)
            && self.by_number.get(&number) == Some(&key)
        {
            self.by_number.remove(&number);
        }
    }
}
