//! The TLS state of one connection and what both its halves share.
//!
//! Owns rustls' connection behind its lock, ciphertext that has been read but not decrypted, and
//! the order in which plaintext, the end of the stream and a failure are handed over. It never
//! reads a socket; [`super::transport`] does, and is the only one to use this.
//!
//! **Why rustls' buffered interface and not `rustls::unbuffered`.** Decisive: the unbuffered one
//! cannot export keying material, which the channel binding needs. It would not gain much either.
//! Per 64 frames of 300 bytes in one gathered write, both directions together cost the same
//! (buffered writing is 10 to 15 % cheaper, as it gathers into the record; reading as much dearer);
//! per 16 KiB record unbuffered is 8 % cheaper in sum. It also wants the unread input in place on
//! every call, a writer's included, and panics otherwise. Protecting records ourselves would save a
//! quarter of that again, some 2 µs in 16 KiB of which the socket takes 5: not worth owning a
//! record layer for. The buffered interface reads the socket in steps of 4 KiB, so we read into
//! `staging` and feed it from there.

use std::io::{self, BufRead, ErrorKind};
use std::sync::Arc;

use super::tcp::Outlet;
use bytes::{Buf, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use rustls::Connection;

/// Ciphertext read per call: two full records. Per protected link this much memory is touched under
/// load.
pub(super) const STAGING_BYTES: usize = 32 << 10;
/// Plaintext encrypted per call and so the most that waits here: three full records.
const BATCH_BYTES: usize = 48 << 10;

/// What both halves of a protected connection share.
pub(super) struct Session {
    /// The reader's own; never contended, as there is one reader.
    pub(super) incoming: Mutex<Incoming>,
    pub(super) core: Mutex<Core>,
}

pub(super) struct Core {
    pub(super) tls: Connection,
    /// `close_notify` is on its way; nothing may be written any more.
    pub(super) closing: bool,
}

pub(super) struct Incoming {
    /// Ciphertext read and not yet decrypted; empty unless the caller's buffer was too small.
    pub(super) staging: BytesMut,
    /// Decrypted bytes may wait inside the TLS state.
    plaintext_waits: bool,
    /// The other side said `close_notify`.
    pub(super) closed: bool,
    /// What broke the stream, kept until the good bytes before it have been handed over.
    pub(super) failure: Option<rustls::Error>,
}

impl Session {
    pub(super) fn new(mut tls: Connection) -> Arc<Session> {
        tls.set_buffer_limit(Some(BATCH_BYTES));
        let incoming = Incoming {
            staging: BytesMut::new(),
            // Bytes may follow the other side's last handshake message at once.
            plaintext_waits: true,
            closed: false,
            failure: None,
        };
        Arc::new(Session {
            incoming: Mutex::new(incoming),
            core: Mutex::new(Core { tls, closing: false }),
        })
    }
}

impl Incoming {
    pub(super) fn has_input(&self) -> bool {
        self.plaintext_waits || !self.staging.is_empty()
    }

    /// Moves plaintext to `buf` until it is full or everything read has been decrypted. A failure
    /// is kept, not returned: the bytes before it are good.
    pub(super) fn decrypt(&mut self, core: &mut MutexGuard<'_, Core>, buf: &mut BytesMut) {
        loop {
            if let Err(error) = self.drain(&mut core.tls, buf) {
                return self.fail(error);
            }
            if self.plaintext_waits || self.closed || self.staging.is_empty() {
                return;
            }
            let mut ciphertext = &*self.staging;
            match core.tls.read_tls(&mut ciphertext) {
                Ok(0) | Err(_) => return self.fail(rustls::Error::General("input refused".into())),
                Ok(fed) => self.staging.advance(fed),
            }
            if let Err(error) = core.tls.process_new_packets() {
                // What was decrypted before the fault is still handed over.
                let _ = self.drain(&mut core.tls, buf);
                return self.fail(error);
            }
            // Lets a waiting writer in between records.
            MutexGuard::bump(core);
        }
    }

    /// Moves decrypted bytes to `buf` and notes whether some did not fit, or the stream has ended.
    fn drain(&mut self, tls: &mut Connection, buf: &mut BytesMut) -> Result<(), rustls::Error> {
        let mut reader = tls.reader();
        loop {
            self.plaintext_waits = false;
            let moved = match reader.fill_buf() {
                Ok([]) => {
                    // After `close_notify` whatever follows is to be ignored.
                    self.closed = true;
                    self.staging.clear();
                    return Ok(());
                }
                Ok(chunk) => {
                    let moved = chunk.len().min(spare(buf));
                    buf.extend_from_slice(chunk.get(..moved).unwrap_or_default());
                    moved
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(rustls::Error::General("plaintext refused".into())),
            };
            if moved == 0 {
                self.plaintext_waits = true;
                return Ok(());
            }
            reader.consume(moved);
        }
    }

    fn fail(&mut self, error: rustls::Error) {
        self.staging.clear();
        self.failure.get_or_insert(error);
    }
}

/// Sends the ciphertext that waits. True when none waits any more.
pub(super) fn flush(tls: &mut Connection, mut outlet: Outlet<'_>) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(&mut outlet) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

pub(super) fn spare(buf: &BytesMut) -> usize {
    buf.capacity() - buf.len()
}

pub(super) fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
