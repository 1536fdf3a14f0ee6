//! A tunnel that only copies: one thread, one poller, reads and writes of 256 KiB.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
/// Bytes read at a time.
const READ: usize = 256 << 10;

/// One direction: what was read and could not be written.
#[derive(Default)]
struct Way {
    held: Vec<u8>,
    ended: bool,
}

struct Pair {
    near: TcpStream,
    far: TcpStream,
    out: Way,
    back: Way,
}

/// Copies until killed.
pub(crate) fn run(listen: SocketAddr, target: SocketAddr) -> io::Result<()> {
    let mut listener = TcpListener::bind(listen)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut pairs: Slab<Pair> = Slab::new();
    let mut events = Events::with_capacity(256);
    let mut buffer = vec![0; READ];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((near, _)) = listener.accept() {
                    let far = TcpStream::connect(target)?;
                    let key = pairs.vacant_key();
                    pairs.insert(Pair { near, far, out: Way::default(), back: Way::default() });
                    let Some(pair) = pairs.get_mut(key) else { continue };
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    for (n, socket) in [&mut pair.near, &mut pair.far].into_iter().enumerate() {
                        let _ = socket.set_nodelay(true);
                        poll.registry().register(socket, Token(2 * key + n), interest)?;
                    }
                }
                continue;
            }
            let key = event.token().0 / 2;
            let Some(pair) = pairs.get_mut(key) else { continue };
            if !pair.round(&mut buffer).unwrap_or(false) {
                pairs.remove(key);
            }
        }
    }
}

impl Pair {
    /// Moves what can be moved; false when both directions are over.
    fn round(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.out.carry(&mut self.near, &mut self.far, buffer)?;
        self.back.carry(&mut self.far, &mut self.near, buffer)?;
        Ok(!(self.out.ended && self.back.ended))
    }
}

impl Way {
    fn carry(
        &mut self,
        from: &mut TcpStream,
        to: &mut TcpStream,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        loop {
            if !self.held.is_empty() {
                match again(|| to.write(&self.held))? {
                    Some(count) => drop(self.held.drain(..count)),
                    None => return Ok(()),
                }
                continue;
            }
            if self.ended {
                return Ok(());
            }
            match again(|| from.read(buffer))? {
                Some(0) => {
                    self.ended = true;
                    let _ = to.shutdown(Shutdown::Write);
                }
                Some(count) => {
                    let read = buffer.get(..count).unwrap_or_default();
                    let written = again(|| to.write(read))?.unwrap_or(0);
                    self.held.extend_from_slice(read.get(written..).unwrap_or_default());
                }
                None => return Ok(()),
            }
        }
    }
}

/// None if the socket has to be waited for.
fn again(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        return match call() {
            Ok(count) => Ok(Some(count)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(e) if e.kind() == ErrorKind::NotConnected => Ok(None),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
    }
}
