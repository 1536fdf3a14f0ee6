//! Streams in an application's hands.
//!
//! A [`Stream`] carries ordered bytes both ways between two hashnames, inside their line, for as
//! long as the line lives. It is read and written like a socket, from any thread, waiting
//! ([`std::io::Read`], [`std::io::Write`]) or not ([`StreamReader::try_read`],
//! [`StreamWriter::try_write`]); with the feature `tokio` by tasks as well. Its halves end
//! independently and can be taken apart with [`Stream::split`].
//!
//! Nothing is unbounded: [`Stream`] holds at most 256 KiB each way, the stream below it has a
//! window, and who writes more than the other reads waits.

mod listener;
#[cfg(feature = "tokio")]
mod tokio;

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use trunkline_proto::base::{Hashname, Priority};
use trunkline_proto::switch::streams::Code;

pub use crate::runtime::pipe::StreamError;
pub(crate) use listener::Arrivals;
pub use listener::StreamListener;

use crate::runtime::pipe::Pipe;

/// The first code that is the applications' own; see [`Stream::reset`].
pub const FIRST_OWN_CODE: u16 = 256;

/// How a stream is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// How urgently its packets travel, in both directions.
    pub priority: Priority,
}

/// Ordered bytes to and from a peer.
///
/// Dropping it ends it in order: what was written is still delivered, and the peer is told that
/// nothing is read any more. [`Self::reset`] gives it up at once, and so does a panic.
///
/// Errors of reading and writing are [`io::Error`]s around a [`StreamError`]:
///
/// | kind | what happened |
/// | --- | --- |
/// | `ConnectionReset` | the peer reset it |
/// | `ConnectionRefused` | nothing takes such streams there |
/// | `ConnectionAborted` | the line is gone |
/// | `TimedOut` | nothing was heard for too long, or the set time-out ended |
/// | `BrokenPipe` | the peer reads no more, or the stream was ended here |
/// | `WouldBlock` | from `try_…` only: nothing can be done now |
#[derive(Debug)]
pub struct Stream {
    reader: StreamReader,
    writer: StreamWriter,
}

/// The half of a stream that is read. Dropping it tells the peer that nothing is read any more.
#[derive(Debug)]
pub struct StreamReader {
    pipe: Arc<Pipe>,
    timeout: Option<Duration>,
}

/// The half of a stream that is written. Dropping it ends the stream in order.
#[derive(Debug)]
pub struct StreamWriter {
    pipe: Arc<Pipe>,
    timeout: Option<Duration>,
}

impl Stream {
    pub(crate) fn new(pipe: Arc<Pipe>) -> Self {
        let reader = StreamReader { pipe: pipe.clone(), timeout: None };
        Self { reader, writer: StreamWriter { pipe, timeout: None } }
    }

    /// Who is at the other end: proved by the line.
    #[must_use]
    pub fn peer(&self) -> Hashname {
        self.reader.pipe.peer
    }

    /// How urgently its packets travel.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.reader.pipe.priority
    }

    /// How long reading may wait; forever if `None`, which is how it begins.
    pub const fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.reader.set_timeout(timeout);
    }

    /// How long writing may wait; forever if `None`, which is how it begins.
    pub const fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.writer.set_timeout(timeout);
    }

    /// Reads what is there, without waiting.
    ///
    /// # Errors
    /// As reading; `WouldBlock` if there is nothing now.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.try_read(into)
    }

    /// Writes what there is room for, without waiting.
    ///
    /// # Errors
    /// As writing; `WouldBlock` if there is no room now.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.try_write(bytes)
    }

    /// Nothing more will be written; the peer sees the end after the last byte. Reading goes on.
    pub fn finish(&mut self) {
        self.writer.finish();
    }

    /// Gives the stream up in both directions. The peer hears `code`, which should be at least
    /// [`FIRST_OWN_CODE`], and at most 128 bytes of `reason`.
    pub fn reset(self, code: u16, reason: &str) {
        self.reader.pipe.reset(Code(code), reason);
    }

    /// Its two halves, for two threads or tasks.
    #[must_use]
    pub fn split(self) -> (StreamReader, StreamWriter) {
        (self.reader, self.writer)
    }
}

impl StreamReader {
    /// How long reading may wait; forever if `None`.
    pub const fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Reads what is there, without waiting.
    ///
    /// # Errors
    /// As reading; `WouldBlock` if there is nothing now.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.now(into, None).unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))
    }

    fn now(&mut self, into: &mut [u8], waker: Option<&Waker>) -> Option<io::Result<usize>> {
        Some(self.pipe.read(into, waker)?.map_err(as_io))
    }
}

impl StreamWriter {
    /// How long writing may wait; forever if `None`.
    pub const fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Writes what there is room for, without waiting.
    ///
    /// # Errors
    /// As writing; `WouldBlock` if there is no room now.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.now(bytes, None).unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))
    }

    fn now(&mut self, bytes: &[u8], waker: Option<&Waker>) -> Option<io::Result<usize>> {
        Some(self.pipe.write(bytes, waker)?.map_err(as_io))
    }

    /// Writes the whole of `bytes` as it lies, without copying it.
    ///
    /// # Errors
    /// As writing.
    pub fn write_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        loop {
            match self.pipe.write_bytes(bytes.clone(), None) {
                Some(written) => return written.map(drop).map_err(as_io),
                None => self.wait()?,
            }
        }
    }

    fn wait(&self) -> io::Result<()> {
        if self.pipe.wait_writable(self.timeout) { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
    }

    /// Nothing more will be written; the peer sees the end after the last byte.
    pub fn finish(&mut self) {
        self.pipe.finish();
    }

    /// Ends the stream in order and waits until the peer's node has acknowledged all of it; false
    /// when `patience` ended first or it can no longer happen.
    #[must_use]
    pub fn deliver(&mut self, patience: Duration) -> bool {
        self.pipe.finish();
        self.pipe.wait_delivered(patience)
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.pipe.stop();
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        // What a failing program wrote is not to be taken for the whole.
        if std::thread::panicking() {
            self.pipe.reset(Code::CANCELLED, "the application failed");
        }
        self.pipe.finish();
    }
}

impl Read for StreamReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(read) = self.now(into, None) {
                return read;
            }
            if !self.pipe.wait_readable(self.timeout) {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }
}

impl Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.now(bytes, None) {
                Some(written) => return written,
                None => self.wait()?,
            }
        }
    }

    /// Nothing is held back that could be sent.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn as_io(error: StreamError) -> io::Error {
    let kind = match &error {
        StreamError::Reset { code, .. } => match *code {
            Code::REFUSED => ErrorKind::ConnectionRefused,
            Code::LINE_DOWN => ErrorKind::ConnectionAborted,
            Code::DEAD => ErrorKind::TimedOut,
            _ => ErrorKind::ConnectionReset,
        },
        StreamError::Stopped(_) | StreamError::EndedHere => ErrorKind::BrokenPipe,
        StreamError::TooMany => ErrorKind::QuotaExceeded,
        StreamError::NodeGone => ErrorKind::NotConnected,
    };
    io::Error::new(kind, error)
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        as_io(error)
    }
}
