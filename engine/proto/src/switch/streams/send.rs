//! The sending half of one stream: holds what was written until it is acknowledged, cuts it into
//! packets, and cuts again what was lost.
//!
//! ```text
//!   Open ── finish ──> Finishing ── end acknowledged ──> Finished
//!    └──── peer stops ──────┴──────────────────────────> Stopped
//! ```
//!
//! Owns the written chunks, uncopied, and which positions were sent when. Positions are byte
//! offsets; the end mark takes one position after the last byte, so it is sent, acknowledged
//! and repeated as a byte would be. Bounded by the send buffer; never asks what the network
//! can bear.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes};

use super::kinds::{Code, WriteError};
use super::recovery::Flight;
use crate::base::Instant;

/// What a chunk costs beside its bytes, so that many small writes are bounded too.
const CHUNK_COST: u64 = 64;

#[derive(Debug)]
pub(super) struct SendHalf {
    state: State,
    /// Chunks with their first offset; the first holds the oldest unacknowledged byte.
    chunks: VecDeque<(u64, Bytes)>,
    /// The chunk that holds the next byte to be sent for the first time.
    cursor: usize,
    /// One past the last byte written.
    written: u64,
    /// Next position to be sent for the first time.
    next: u64,
    /// The peer takes bytes up to here.
    credit: u64,
    /// What has been sent and not yet been acknowledged as a whole.
    pub(super) flight: Flight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Finishing,
    Finished,
    Stopped(Code),
}

/// One packet's worth of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) offset: u64,
    /// Bytes.
    pub(super) len: usize,
    /// Whether the end mark goes with it.
    pub(super) fin: bool,
    /// Whether another full packet would follow if credit allowed.
    pub(super) short: bool,
}

impl Cut {
    /// One past the last position.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.len as u64).saturating_add(u64::from(self.fin))
    }
}

impl SendHalf {
    /// A half whose peer takes `credit` bytes.
    pub(super) fn new(credit: u64) -> Self {
        Self {
            state: State::Open,
            chunks: VecDeque::new(),
            cursor: 0,
            written: 0,
            next: 0,
            credit,
            flight: Flight::default(),
        }
    }

    /// Takes as much of `data` as brings the half to `most` held bytes; says how much.
    pub(super) fn write(&mut self, data: &mut Bytes, most: u64) -> Result<usize, WriteError> {
        match self.state {
            State::Open => {}
            State::Stopped(code) => return Err(WriteError::Stopped(code)),
            State::Finishing | State::Finished => return Err(WriteError::Finished),
        }
        if data.is_empty() {
            return Ok(0);
        }
        let room = most.saturating_sub(self.held()).saturating_sub(CHUNK_COST);
        let len = usize::try_from(room).unwrap_or(usize::MAX).min(data.len());
        if len == 0 {
            return Err(WriteError::Blocked);
        }
        self.chunks.push_back((self.written, data.split_to(len)));
        self.written = self.written.saturating_add(len as u64);
        Ok(len)
    }

    /// Nothing more will be written. False if that was said before or is moot.
    pub(super) fn finish(&mut self) -> bool {
        let open = self.state == State::Open;
        if open {
            self.state = State::Finishing;
        }
        open
    }

    /// The peer reads no more; drops what is held.
    pub(super) fn stop(&mut self, code: Code) {
        self.state = State::Stopped(code);
        self.chunks = VecDeque::new();
        self.cursor = 0;
        self.flight.clear();
    }

    /// The next packet's worth that was never sent, with at most `room` bytes. `None` if there
    /// is nothing, or no credit.
    pub(super) fn fresh(&self, room: usize) -> Option<Cut> {
        let open = match self.state {
            State::Open => true,
            State::Finishing => false,
            State::Finished | State::Stopped(_) => return None,
        };
        let waiting = self.written.saturating_sub(self.next);
        let allowed = self.credit.saturating_sub(self.next).min(waiting);
        let len = usize::try_from(allowed).unwrap_or(usize::MAX).min(room);
        let fin = !open && self.next <= self.written && len as u64 == waiting;
        // A packet that credit would cut small waits for more credit, as long as something is on
        // its way whose answer can bring it.
        let scarce = allowed < waiting;
        let cut_small = scarce && len < room && !self.flight.is_empty();
        if (len == 0 && !fin) || cut_small {
            return None;
        }
        let short = scarce && allowed - (len as u64) < room as u64;
        Some(Cut { offset: self.next, len, fin, short })
    }

    /// The next packet's worth that must be sent again.
    pub(super) fn again(&mut self, room: usize) -> Option<Cut> {
        let fin_at = self.fin_position();
        let (start, end) = self.flight.next_lost()?;
        let fin = fin_at == Some(end - 1);
        let bytes = usize::try_from(end - u64::from(fin) - start).unwrap_or(usize::MAX);
        let whole = bytes <= room;
        Some(Cut { offset: start, len: bytes.min(room), fin: fin && whole, short: false })
    }

    /// `cut`, which [`Self::fresh`] gave, goes out now.
    pub(super) fn sent_fresh(&mut self, cut: Cut, now: Instant) {
        self.next = cut.end();
        self.flight.push(cut.offset, cut.end(), now);
        let upto = self.next;
        while self.chunks.get(self.cursor).is_some_and(|c| c.0 + c.1.len() as u64 <= upto) {
            self.cursor += 1;
        }
    }

    /// `cut`, which [`Self::again`] gave, goes out now.
    pub(super) fn sent_again(&mut self, cut: Cut, now: Instant) {
        self.flight.push_again(cut.offset, cut.end(), now);
    }

    /// Appends the bytes of `cut` to `out`.
    pub(super) fn copy(&self, cut: Cut, out: &mut impl BufMut) {
        let (mut at, mut left) = (cut.offset, cut.len);
        let mut index = if cut.offset == self.next {
            self.cursor
        } else {
            self.chunks.partition_point(|c| c.0 + c.1.len() as u64 <= at)
        };
        while left > 0 {
            let Some((start, chunk)) = self.chunks.get(index) else { return };
            let from = usize::try_from(at - start).unwrap_or(usize::MAX).min(chunk.len());
            let to = chunk.len().min(from.saturating_add(left));
            let Some(part) = chunk.get(from..to) else { return };
            out.put_slice(part);
            at += part.len() as u64;
            left -= part.len();
            index += 1;
        }
    }

    /// Drops what has been acknowledged as a whole. True if that was the end.
    pub(super) fn release(&mut self) -> bool {
        let upto = self.flight.oldest().unwrap_or(self.next);
        while self.chunks.front().is_some_and(|c| c.0 + c.1.len() as u64 <= upto) {
            self.chunks.pop_front();
            self.cursor = self.cursor.saturating_sub(1);
        }
        if self.chunks.is_empty() && self.chunks.capacity() > 64 {
            self.chunks = VecDeque::new();
        }
        let done = self.state == State::Finishing && upto > self.written;
        if done {
            self.state = State::Finished;
        }
        done
    }

    /// The peer takes bytes up to `offset`. True if that is news.
    pub(super) fn set_credit(&mut self, offset: u64) -> bool {
        let news = offset > self.credit;
        self.credit = self.credit.max(offset);
        news
    }

    /// Everything sent is acknowledged, something waits, and credit is what holds it.
    pub(super) fn waits_for_credit(&self) -> bool {
        matches!(self.state, State::Open | State::Finishing)
            && self.flight.is_empty()
            && self.written > self.next
            && self.credit <= self.next
    }

    /// What is held counts this much against the send buffer.
    pub(super) fn held(&self) -> u64 {
        let first = self.chunks.front().map_or(self.written, |c| c.0);
        self.written - first + self.chunks.len() as u64 * CHUNK_COST
    }

    fn fin_position(&self) -> Option<u64> {
        (self.next > self.written).then_some(self.written)
    }

    /// Next position to be sent for the first time.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// One past the last byte ever sent.
    pub(super) fn final_offset(&self) -> u64 {
        self.next.min(self.written)
    }

    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    pub(super) const fn credit(&self) -> u64 {
        self.credit
    }

    /// Bytes acknowledged without a gap.
    pub(super) fn acknowledged(&self) -> u64 {
        self.flight.oldest().unwrap_or(self.next).min(self.written)
    }

    /// Why the peer reads no more, if it said so.
    pub(super) const fn stop_code(&self) -> Code {
        match self.state {
            State::Stopped(code) => code,
            State::Open | State::Finishing | State::Finished => Code::CANCELLED,
        }
    }

    /// Nothing more will come of this half.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Finished | State::Stopped(_))
    }
}
