//! What lies in a pipe, and what either end wants of it: the part under its lock.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Buf, Bytes, BytesMut};
use trunkline_proto::switch::streams::Code;

use super::{INBOUND, PIECE, PIECES, StreamError};

/// How a pipe's application is doing with its node.
#[derive(Debug, Default)]
pub(in crate::runtime) struct State {
    pub(super) inbound: VecDeque<Bytes>,
    pub(super) inbound_bytes: usize,
    /// The worker left bytes in the stream for want of room here.
    pub(in crate::runtime) inbound_full: bool,
    /// Everything up to the stream's end is in `inbound`.
    pub(super) ended: bool,
    pub(super) outbound: VecDeque<Bytes>,
    /// Small pieces, behind `outbound`.
    pub(super) tail: BytesMut,
    pub(super) outbound_bytes: usize,
    /// The stream takes nothing now; it will say when.
    pub(in crate::runtime) outbound_stuck: bool,
    /// The application writes no more.
    pub(in crate::runtime) finish: bool,
    /// The application reads no more.
    pub(in crate::runtime) stop: bool,
    /// The application gives the stream up.
    pub(in crate::runtime) reset: Option<(Code, Box<str>)>,
    /// Everything written was acknowledged, the end included.
    pub(super) delivered: bool,
    pub(super) stopped: Option<Code>,
    pub(super) failed: Option<StreamError>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl State {
    pub(super) fn is_readable(&self) -> bool {
        !self.inbound.is_empty() || self.ended || self.stop || self.gone().is_some()
    }

    fn gone(&self) -> Option<StreamError> {
        if self.reset.is_some() {
            return Some(StreamError::EndedHere);
        }
        self.failed.clone()
    }

    pub(super) fn not_writable(&self) -> Option<StreamError> {
        if self.finish {
            return Some(StreamError::EndedHere);
        }
        self.gone().or(self.stopped.map(StreamError::Stopped))
    }

    /// What could be read, and whether the worker should hear of the room that made.
    pub(super) fn read(&mut self, into: &mut [u8]) -> (Option<Result<usize, StreamError>>, bool) {
        if self.stop {
            return (Some(Err(StreamError::EndedHere)), false);
        }
        let mut read = 0;
        while let Some(piece) = self.inbound.front_mut() {
            let room = into.get_mut(read..).unwrap_or_default();
            let n = piece.len().min(room.len());
            let (Some(from), Some(to)) = (piece.get(..n), room.get_mut(..n)) else { break };
            to.copy_from_slice(from);
            piece.advance(n);
            read += n;
            if !piece.is_empty() {
                break;
            }
            self.inbound.pop_front();
        }
        self.inbound_bytes = self.inbound_bytes.saturating_sub(read);
        let ring = self.has_inbound_room() && std::mem::take(&mut self.inbound_full);
        if read > 0 || into.is_empty() {
            return (Some(Ok(read)), ring);
        }
        let end = if self.ended { Some(Ok(0)) } else { self.gone().map(Err) };
        (end, ring)
    }

    /// Enough that looking at the pipe is worth a worker's while.
    pub(super) fn has_inbound_room(&self) -> bool {
        self.inbound_bytes <= INBOUND / 2 && self.inbound.len() <= PIECES / 2
    }

    pub(super) fn gather(&mut self, bytes: &[u8]) -> usize {
        if self.tail.len() + bytes.len() > PIECE {
            let full = self.tail.split().freeze();
            self.outbound.push_back(full);
        }
        self.tail.extend_from_slice(bytes);
        self.outbound_bytes += bytes.len();
        bytes.len()
    }

    pub(super) fn push(&mut self, bytes: Bytes) -> usize {
        let len = bytes.len();
        if !self.tail.is_empty() {
            let gathered = self.tail.split().freeze();
            self.outbound.push_back(gathered);
        }
        if len > 0 {
            self.outbound.push_back(bytes);
        }
        self.outbound_bytes += len;
        len
    }

    pub(super) fn drop_inbound(&mut self) {
        self.inbound = VecDeque::new();
        self.inbound_bytes = 0;
    }

    pub(super) fn drop_outbound(&mut self) {
        self.outbound = VecDeque::new();
        self.tail = BytesMut::new();
        self.outbound_bytes = 0;
    }

    /// Whether there is nothing left to be sent.
    pub(in crate::runtime) fn is_outbound_empty(&self) -> bool {
        self.outbound_bytes == 0
    }

    /// How much may be taken from the stream; nothing that would not be read is.
    pub(in crate::runtime) fn inbound_room(&self) -> (usize, usize) {
        let bytes = INBOUND.saturating_sub(self.inbound_bytes);
        (bytes, PIECES.saturating_sub(self.inbound.len()))
    }
}
