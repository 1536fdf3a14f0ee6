//! Where tunnels lead: reads and counts, or sends back what a connection that began with `E` says.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
/// The first byte of a connection that wants its bytes back.
pub(crate) const ECHO: u8 = b'E';

struct Guest {
    socket: TcpStream,
    echo: Option<bool>,
}

/// What a target listens with and counts.
pub(crate) struct Target {
    listener: TcpListener,
    poll: Poll,
    guests: Slab<Guest>,
    buffer: Vec<u8>,
}

impl Target {
    /// Listens.
    pub(crate) fn bind(at: SocketAddr) -> io::Result<Self> {
        let mut listener = TcpListener::bind(at)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { listener, poll, guests: Slab::new(), buffer: vec![0; 1 << 19] })
    }

    /// Serves until `end`; adds what it read and did not send back to `bytes`.
    pub(crate) fn serve(mut self, bytes: &AtomicU64, end: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        while !end.load(Ordering::Relaxed) {
            self.poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                } else {
                    bytes.fetch_add(self.read(event.token().0), Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((socket, _)) = self.listener.accept() {
            socket.set_nodelay(true)?;
            let key = self.guests.insert(Guest { socket, echo: None });
            if let Some(guest) = self.guests.get_mut(key) {
                let interest = Interest::READABLE;
                self.poll.registry().register(&mut guest.socket, Token(key), interest)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, key: usize) -> u64 {
        let mut bytes = 0;
        let Some(guest) = self.guests.get_mut(key) else { return 0 };
        loop {
            match guest.socket.read(&mut self.buffer) {
                Ok(n) if n > 0 => {
                    let read = self.buffer.get(..n).unwrap_or_default();
                    if *guest.echo.get_or_insert(read.first() == Some(&ECHO)) {
                        // A byte or two: the socket has room.
                        let _ = guest.socket.write(read);
                    } else {
                        bytes += n as u64;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return bytes,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.guests.remove(key);
        bytes
    }
}
