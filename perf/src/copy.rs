//! The copy: one thread, one poller, two connections.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// Bytes read at a time.
const READ: usize = 256 << 10;
/// The link header: two bytes of length without itself, two of kind and priority.
const HEADER: usize = 4;

/// Copies from the first connection that comes to the second, until standard input or the first
/// connection ends.
pub(crate) fn run() -> io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let mut source = accept(&listener)?;
    let mut sink = accept(&listener)?;
    drop(TcpListener::from_std(listener));
    let mut poll = Poll::new()?;
    poll.registry().register(&mut source, Token(0), Interest::READABLE)?;
    poll.registry().register(&mut sink, Token(1), Interest::WRITABLE)?;
    let mut events = Events::with_capacity(8);
    let mut copy = Copy { input: vec![0; READ], held: 0, output: Vec::with_capacity(2 * READ) };
    loop {
        poll.poll(&mut events, Some(Duration::from_secs(1)))?;
        if !copy.round(&mut source, &mut sink)? {
            return Ok(());
        }
    }
}

fn accept(listener: &std::net::TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

struct Copy {
    input: Vec<u8>,
    /// Bytes of a frame that has not come whole.
    held: usize,
    output: Vec<u8>,
}

impl Copy {
    /// Reads and writes until one side has no more; false at the end of the source.
    fn round(&mut self, source: &mut TcpStream, sink: &mut TcpStream) -> io::Result<bool> {
        loop {
            if !self.flush(sink)? {
                return Ok(true);
            }
            let room = self.input.get_mut(self.held..).unwrap_or_default();
            match source.read(room) {
                Ok(0) => return Ok(false),
                Ok(count) => self.frames(self.held + count),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Copies the whole frames among the first `filled` bytes.
    fn frames(&mut self, filled: usize) {
        let mut rest = self.input.get(..filled).unwrap_or_default();
        while let Some(&[hi, lo, ..]) = rest.first_chunk::<HEADER>() {
            let length = usize::from(u16::from_be_bytes([hi, lo])) + HEADER;
            let Some((frame, after)) = rest.split_at_checked(length) else { break };
            self.output.extend_from_slice(frame);
            rest = after;
        }
        self.held = rest.len();
        self.input.copy_within(filled - self.held..filled, 0);
    }

    /// True when everything is written.
    fn flush(&mut self, sink: &mut TcpStream) -> io::Result<bool> {
        let mut done = 0;
        let outcome = loop {
            let rest = self.output.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(true);
            }
            match sink.write(rest) {
                Ok(count) => done += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        self.output.drain(..done);
        outcome
    }
}
