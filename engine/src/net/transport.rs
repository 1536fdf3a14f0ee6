//! A link's byte stream: a TCP connection, plain or under TLS, usable from two threads.
//!
//! Owns the connection's bytes between socket and caller. It never frames, never waits and never
//! starts a thread; the poller says when to call, the link above says what the bytes mean. The
//! reading half appends to the caller's buffer, the writing half takes the caller's slices; neither
//! allocates for plain TCP.
//!
//! ```text
//!  reader: socket ─read─▶ staging ─┬─ lock ─ decrypt ─▶ caller's buffer
//!                                  │
//!  writer: caller's slices ─────── lock ─ encrypt ─▶ socket (what does not fit waits, at most one batch)
//! ```
//!
//! The TLS state is one for both directions (a peer's key update must be answered in order), so
//! there is one lock, and only under TLS; a plain connection shares nothing but the socket.
//!
//! **Late choice.** While ciphertext waits for the socket nothing more is encrypted: `write` says
//! `WouldBlock`, and what has not been written may still be overtaken. So the backlog here is at
//! most one batch of 48 KiB.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::BytesMut;
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::session::{STAGING_BYTES, Session, broken, flush, spare};
use super::sys;
use super::tcp::{self, Outlet};
use super::tls::{ChannelBinding, LinkTls, PeerKey, channel_binding, peer_key};

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeState {
    /// Call again when the socket is ready for what is wanted.
    Wants {
        /// Readability.
        read: bool,
        /// Writability.
        write: bool,
    },
    /// The stream may be used.
    Done {
        /// What the handshake proved about the other side; nothing on a plain connection.
        peer: Option<PeerProof>,
    },
}

/// What a TLS handshake proved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PeerProof {
    /// The Ed25519 key the other side holds.
    pub key: PeerKey,
    /// 32 bytes only the two ends of this connection know. Keep them out of logs.
    pub binding: ChannelBinding,
}

impl std::fmt::Debug for PeerProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerProof").finish_non_exhaustive()
    }
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// So many bytes were appended, at least one. There may be more: read on until `Drained` or
    /// `Blocked`.
    Bytes(usize),
    /// So many bytes were appended, at least one, and the socket gave less than it was asked for:
    /// there is nothing more until it is readable again. Unless the poller has said that the other
    /// side ended its stream: then read on, as nothing more will be said.
    Drained(usize),
    /// Nothing to read until the socket is readable again.
    Blocked,
    /// The other side has ended its stream properly. On a plain connection that is any end of the
    /// stream.
    Closed,
}

/// A connection's byte stream, plain or protected.
pub struct Transport {
    socket: TcpStream,
    session: Option<Arc<Session>>,
    /// Each write is a segment of its own ([`Transport::set_exact`]).
    exact: bool,
}

impl Transport {
    /// A connection without protection, dialled or accepted.
    pub fn plain(socket: TcpStream) -> Transport {
        Transport { socket, session: None, exact: false }
    }

    /// A connection we dialled, to be protected.
    ///
    /// # Errors
    /// Not in practice: only when the TLS state cannot be made.
    pub fn dialled(socket: TcpStream, tls: &LinkTls) -> io::Result<Transport> {
        let session = Session::new(tls.client().map_err(io::Error::other)?);
        Ok(Transport { socket, session: Some(session), exact: false })
    }

    /// A connection we accepted, to be protected.
    ///
    /// # Errors
    /// Not in practice: only when the TLS state cannot be made.
    pub fn accepted(socket: TcpStream, tls: &LinkTls) -> io::Result<Transport> {
        let session = Session::new(tls.server().map_err(io::Error::other)?);
        Ok(Transport { socket, session: Some(session), exact: false })
    }

    /// A second handle on the same stream, so that one thread reads and another writes, each with a
    /// poller of its own. There must be at most one reader and one writer. Costs one more
    /// descriptor.
    ///
    /// # Errors
    /// When descriptors have run out.
    pub fn try_clone(&self) -> io::Result<Transport> {
        let descriptor = self.socket.as_fd().try_clone_to_owned()?;
        let socket = TcpStream::from_std(std::net::TcpStream::from(descriptor));
        Ok(Transport { socket, session: self.session.clone(), exact: self.exact })
    }

    /// The socket, for [`tcp::set_unsent_limit`], [`tcp::unsent_bytes`] and its addresses.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether the stream is under TLS.
    pub fn is_protected(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the limit on what the kernel holds unsent is to be exact. The kernel looks at
    /// [`tcp::set_unsent_limit`] only when it begins a segment, and fills segments it has up to
    /// 64 KiB: five milliseconds on a link of 100 Mbit/s, at each hop. Exact means that every write
    /// begins a segment of its own; worth its price only on links that slow.
    pub const fn set_exact(&mut self, exact: bool) {
        self.exact = exact;
    }

    const fn outlet(&self) -> Outlet<'_> {
        Outlet::new(&self.socket, self.exact)
    }

    /// Goes on with connecting and the handshake as far as the socket allows. A plain connection is
    /// done when it stands.
    ///
    /// # Errors
    /// Why the connection or the handshake failed; `InvalidData` when the other side broke the
    /// rules or its key was refused, `UnexpectedEof` when it went away. The connection is of no use
    /// afterwards.
    pub fn handshake(&mut self) -> io::Result<HandshakeState> {
        if !tcp::connected(&self.socket)? {
            return Ok(HandshakeState::Wants { read: false, write: true });
        }
        let Some(session) = &self.session else {
            return Ok(HandshakeState::Done { peer: None });
        };
        let tls = &mut session.core.lock().tls;
        loop {
            let flushed = flush(tls, self.outlet())?;
            if !tls.is_handshaking() {
                if !flushed {
                    return Ok(HandshakeState::Wants { read: false, write: true });
                }
                let proof = PeerProof {
                    key: peer_key(tls).map_err(broken)?,
                    binding: channel_binding(tls).map_err(broken)?,
                };
                return Ok(HandshakeState::Done { peer: Some(proof) });
            }
            if !tls.wants_read() {
                return Ok(HandshakeState::Wants { read: false, write: true });
            }
            match tls.read_tls(&mut &self.socket) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(HandshakeState::Wants { read: true, write: !flushed });
                }
                Err(error) => return Err(error),
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert that says why is worth a try, no more.
                let _ = flush(tls, self.outlet());
                return Err(broken(error));
            }
        }
    }

    /// Appends what has arrived to `buf`, at most its spare capacity; what does not fit comes with
    /// the next call.
    ///
    /// # Errors
    /// `InvalidInput` when `buf` has no spare capacity. `UnexpectedEof` when a protected stream
    /// ended without `close_notify`, that is, was cut. `InvalidData` when the other side broke the
    /// rules. Otherwise the socket's.
    pub fn read(&self, buf: &mut BytesMut) -> io::Result<ReadOutcome> {
        let Some(session) = &self.session else {
            let room = spare(buf);
            return match sys::read_spare(self.socket.as_fd(), buf, usize::MAX) {
                Ok(0) => Ok(ReadOutcome::Closed),
                Ok(count) if count < room => Ok(ReadOutcome::Drained(count)),
                Ok(count) => Ok(ReadOutcome::Bytes(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(ReadOutcome::Blocked),
                Err(error) => Err(error),
            };
        };
        if spare(buf) == 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        let before = buf.len();
        let mut incoming = session.incoming.lock();
        let mut drained = false;
        loop {
            if incoming.has_input() {
                let mut core = session.core.lock();
                incoming.decrypt(&mut core, buf);
                // An answer to a key update, or an alert. If the socket is full, `wants_write`
                // tells.
                let _ = flush(&mut core.tls, self.outlet());
            }
            if buf.len() > before {
                let count = buf.len() - before;
                // What ends the stream must be read, too.
                let more = incoming.has_input() || incoming.closed || incoming.failure.is_some();
                return Ok(match drained && !more {
                    true => ReadOutcome::Drained(count),
                    false => ReadOutcome::Bytes(count),
                });
            }
            if let Some(error) = &incoming.failure {
                return Err(broken(error.clone()));
            }
            if incoming.closed {
                return Ok(ReadOutcome::Closed);
            }
            // Empty by now, so this finds its room again instead of asking for more.
            incoming.staging.reserve(STAGING_BYTES);
            match sys::read_spare(self.socket.as_fd(), &mut incoming.staging, STAGING_BYTES) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => drained = count < STAGING_BYTES,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(ReadOutcome::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether bytes already taken off the socket wait here, so that [`Transport::read`] must be
    /// called again although the socket may never be readable again.
    pub fn has_buffered(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.incoming.lock().has_input())
    }

    /// Writes from the front of `slices` and returns how many bytes were taken; 0 only if they are
    /// empty.
    ///
    /// Under TLS at most 48 KiB are taken a call, gathered into records of up to 16 KiB; bytes
    /// taken may still wait here for the socket ([`Transport::wants_write`]).
    ///
    /// # Errors
    /// `WouldBlock` when the socket is full or earlier bytes still wait: call again when it is
    /// writable. `NotConnected` before the handshake is done, `BrokenPipe` after
    /// [`Transport::shutdown`]. Otherwise the socket's.
    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(session) = &self.session else {
            return retry(|| self.outlet().write_vectored(slices));
        };
        let mut core = session.core.lock();
        if core.tls.is_handshaking() {
            return Err(ErrorKind::NotConnected.into());
        }
        if core.closing {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if !flush(&mut core.tls, self.outlet())? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = core.tls.writer().write_vectored(slices)?;
        flush(&mut core.tls, self.outlet())?;
        Ok(taken)
    }

    /// Whether bytes wait here for the socket to become writable. Also true after a read that must
    /// be answered.
    pub fn wants_write(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.core.lock().tls.wants_write())
    }

    /// Sends what waits here. True when nothing waits any more.
    ///
    /// # Errors
    /// The socket's; never `WouldBlock`.
    pub fn flush(&self) -> io::Result<bool> {
        match &self.session {
            Some(session) => flush(&mut session.core.lock().tls, self.outlet()),
            None => Ok(true),
        }
    }

    /// Ends our side of the stream: sends `close_notify` (under TLS) after what waits, then shuts
    /// the socket's writing side. True when all that has been done; otherwise call again when the
    /// socket is writable.
    ///
    /// # Errors
    /// The socket's; never `WouldBlock`. A connection that is gone already counts as ended.
    pub fn shutdown(&self) -> io::Result<bool> {
        if let Some(session) = &self.session {
            let mut core = session.core.lock();
            if !core.closing {
                core.closing = true;
                core.tls.send_close_notify();
            }
            if !flush(&mut core.tls, self.outlet())? {
                return Ok(false);
            }
        }
        match self.socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => Err(error),
            _ => Ok(true),
        }
    }
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

impl Source for Transport {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}
