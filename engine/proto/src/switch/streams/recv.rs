//! The receiving half of one stream: puts pieces in order, hands them out uncopied, gives credit.
//!
//! ```text
//!   Open ── end mark ──> Sized ── all read ──> Ended
//!    └────── stop ──────────┴───────────────> Stopped
//! ```
//!
//! Owns what was received and not yet read. Bounded by the credit it has given and by the number
//! of its pieces. Payload stays in the buffer it came in, unless it is small beside that
//! buffer: many small pieces would otherwise pin many large buffers, so those are copied out.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::kinds::ReadState;
use super::limits::{INITIAL_CREDIT, Pool, StreamLimits};
use super::ranges::RangeSet;

/// Small pieces in order are gathered in blocks of this many bytes.
const BLOCK: usize = 4_096;

#[derive(Debug)]
pub(super) struct RecvHalf {
    state: State,
    /// Everything below has arrived.
    next: u64,
    /// Everything below was handed to the reader.
    read: u64,
    /// One past the highest byte that has arrived.
    highest: u64,
    ready: VecDeque<Bytes>,
    /// Small pieces behind all of `ready`.
    block: BytesMut,
    /// Disjoint pieces beyond a gap, ascending.
    pieces: VecDeque<(u64, Bytes)>,
    /// Positions beyond `next` that have arrived, the end mark included.
    beyond: RangeSet,
    /// Where news came in last.
    touched: u64,
    /// The peer may send up to here.
    granted: u64,
    window: u64,
    /// The window does not grow again before this offset has arrived.
    grows_at: u64,
    /// Credit held the sender back after this offset.
    held_back_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Sized(u64),
    Ended(u64),
    Stopped,
}

/// What an accepted DATA packet did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Bytes that were new.
    pub(super) fresh: u64,
    /// Something became readable, or the end became visible.
    pub(super) readable: bool,
    /// It brought nothing new.
    pub(super) duplicate: bool,
    /// It lies beyond a gap, in one, or at its end.
    pub(super) gap: bool,
}

/// Why a DATA packet was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Beyond the credit, beyond the end, or another end than before.
    LimitBroken,
    /// Too many pieces wait already; the packet counts as lost.
    TooManyPieces,
}

impl RecvHalf {
    /// A half whose peer may send `granted` bytes already.
    pub(super) fn new(limits: &StreamLimits, granted: u64) -> Self {
        let window = limits.window.max(INITIAL_CREDIT);
        Self {
            state: State::Open,
            next: 0,
            read: 0,
            highest: 0,
            ready: VecDeque::new(),
            block: BytesMut::new(),
            pieces: VecDeque::new(),
            beyond: RangeSet::default(),
            touched: 0,
            granted,
            window,
            grows_at: window,
            held_back_at: None,
        }
    }

    /// Takes `payload` at `offset`. `sparse` if the payload is small beside its buffer, `room`
    /// how many more pieces the line can hold, `window_max` how far the window may grow.
    pub(super) fn accept(
        &mut self,
        offset: u64,
        payload: Bytes,
        fin: bool,
        sparse: bool,
        room: usize,
        window_max: u64,
    ) -> Result<Arrival, Refusal> {
        let len = payload.len() as u64;
        let end = offset.saturating_add(len);
        if self.state == State::Stopped {
            return Ok(Arrival { fresh: 0, readable: false, duplicate: true, gap: false });
        }
        self.check(end, fin)?;
        if offset > self.next && len > 0 && room == 0 {
            return Err(Refusal::TooManyPieces);
        }
        let before = self.acknowledged();
        if fin && self.state == State::Open {
            self.state = State::Sized(end);
        }
        self.highest = self.highest.max(end);
        if self.held_back_at.is_some_and(|at| end > at) {
            self.after_holding_back(window_max);
        }
        let had_gap = !self.beyond.is_empty();
        let fresh = if offset <= self.next {
            self.in_order(offset, payload, sparse)
        } else {
            self.out_of_order(offset, &payload, fin, sparse)
        };
        let moved = self.acknowledged() != before;
        let duplicate = !moved && fresh == 0 && !fin;
        let gap = had_gap || !moved && !duplicate;
        Ok(Arrival { fresh, readable: moved, duplicate, gap })
    }

    fn check(&self, end: u64, fin: bool) -> Result<(), Refusal> {
        let broken = match self.state {
            State::Open => end > self.granted || (fin && end < self.highest),
            State::Sized(size) | State::Ended(size) => end > size || (fin && end != size),
            State::Stopped => false,
        };
        if broken { Err(Refusal::LimitBroken) } else { Ok(()) }
    }

    fn in_order(&mut self, offset: u64, mut payload: Bytes, sparse: bool) -> u64 {
        let known = usize::try_from(self.next - offset).unwrap_or(usize::MAX);
        if known >= payload.len() && !(payload.is_empty() && known == 0) {
            return 0;
        }
        payload.advance(known.min(payload.len()));
        let end = self.next.saturating_add(payload.len() as u64);
        let mut fresh = 0;
        if self.beyond.is_empty() {
            fresh = end - self.next;
        } else {
            self.beyond.insert(self.next, end, |a, b| fresh += b - a);
        }
        self.touched = self.next;
        self.next = end;
        self.push_ready(payload, sparse);
        self.join_pieces();
        let upto = self.acknowledged();
        self.beyond.remove_below(upto);
        fresh
    }

    /// Moves pieces that are no longer behind a gap.
    fn join_pieces(&mut self) {
        while self.pieces.front().is_some_and(|p| p.0 <= self.next) {
            let Some((start, mut piece)) = self.pieces.pop_front() else { return };
            let known = usize::try_from(self.next - start).unwrap_or(usize::MAX);
            if known < piece.len() {
                piece.advance(known);
                self.next = self.next.saturating_add(piece.len() as u64);
                let small = piece.len() < BLOCK / 4;
                self.push_ready(piece, small);
            }
        }
    }

    fn push_ready(&mut self, payload: Bytes, sparse: bool) {
        if payload.is_empty() {
            return;
        }
        if sparse {
            if self.block.capacity() - self.block.len() < payload.len() {
                self.end_block();
                self.block.reserve(BLOCK.max(payload.len()));
            }
            self.block.extend_from_slice(&payload);
        } else {
            self.end_block();
            self.ready.push_back(payload);
        }
    }

    fn end_block(&mut self) {
        if !self.block.is_empty() {
            self.ready.push_back(self.block.split().freeze());
        }
    }

    fn out_of_order(&mut self, offset: u64, payload: &Bytes, fin: bool, sparse: bool) -> u64 {
        let end = offset.saturating_add(payload.len() as u64);
        let (pieces, mut fresh) = (&mut self.pieces, 0);
        self.beyond.insert(offset, end.saturating_add(u64::from(fin)), |from, to| {
            let to = to.min(end);
            let (Ok(a), Ok(b)) = (
                usize::try_from(from.saturating_sub(offset)),
                usize::try_from(to.saturating_sub(offset)),
            ) else {
                return;
            };
            if a >= b || b > payload.len() {
                return;
            }
            fresh += to - from;
            let piece = payload.slice(a..b);
            // A piece cut out of a larger one pins all of it.
            let copy = sparse || (b - a) * 4 < payload.len();
            let piece = if copy { Bytes::copy_from_slice(&piece) } else { piece };
            if pieces.back().is_none_or(|p| p.0 < from) {
                pieces.push_back((from, piece));
            } else {
                let at = pieces.partition_point(|p| p.0 < from);
                pieces.insert(at, (from, piece));
            }
        });
        self.touched = offset;
        fresh
    }

    /// The next bytes for the reader, at most `max` of them.
    pub(super) fn read(&mut self, max: usize) -> ReadState {
        if self.ready.is_empty() {
            self.end_block();
        }
        let Some(front) = self.ready.front_mut() else {
            return match self.state {
                State::Sized(size) if self.read == size => {
                    self.state = State::Ended(size);
                    ReadState::End
                }
                State::Ended(_) => ReadState::End,
                _ => ReadState::Pending,
            };
        };
        if max == 0 {
            return ReadState::Pending;
        }
        let out = if front.len() > max {
            front.split_to(max)
        } else {
            self.ready.pop_front().unwrap_or_default()
        };
        self.read = self.read.saturating_add(out.len() as u64);
        ReadState::Data(out)
    }

    /// The reader wants no more; drops what is held.
    pub(super) fn stop(&mut self) {
        self.state = match self.state {
            // Nothing is left to stop, and a repeated end must still be acknowledged.
            State::Sized(size) | State::Ended(size) if size == self.next => State::Ended(size),
            _ => State::Stopped,
        };
        self.read = self.next;
        self.ready = VecDeque::new();
        self.block = BytesMut::new();
        self.pieces = VecDeque::new();
        self.beyond.clear();
    }

    /// The sender stopped at the highest offset so far, for want of credit.
    pub(super) const fn held_back(&mut self) {
        self.held_back_at = Some(self.highest);
    }

    /// The first bytes come after the sender was held back. If the reader had run dry meanwhile,
    /// the window was too small for the path, and doubles. A slow reader never runs dry.
    fn after_holding_back(&mut self, window_max: u64) {
        self.held_back_at = None;
        if self.read == self.next && self.highest >= self.grows_at {
            self.window = self.window.saturating_mul(2).min(window_max.max(self.window));
            self.grows_at = self.granted;
        }
    }

    /// How far credit could go now, given what the line's pool leaves.
    fn could_grant(&self, pool: &Pool) -> u64 {
        let window = self.window.min(pool.most());
        self.granted.max(self.read.saturating_add(window))
    }

    /// Whether so much credit could be given that the sender should hear of it at once.
    pub(super) fn credit_is_due(&self, pool: &Pool) -> bool {
        let more = self.could_grant(pool) - self.granted;
        self.state == State::Open && more > 0 && more >= self.window.min(self.outstanding()) / 2
    }

    /// Gives what credit there is and says up to which offset.
    pub(super) fn grant(&mut self, pool: &mut Pool) -> u64 {
        if self.state == State::Open {
            let held = self.outstanding();
            self.granted = self.could_grant(pool);
            pool.moved(held, self.outstanding());
        }
        self.granted
    }

    /// Credit given and not yet used up by reading: what this half may come to hold.
    pub(super) fn outstanding(&self) -> u64 {
        match self.state {
            State::Open => self.granted.saturating_sub(self.read),
            State::Sized(size) => size.saturating_sub(self.read),
            State::Ended(_) | State::Stopped => 0,
        }
    }

    /// Every position below has arrived; the end mark counts one.
    pub(super) fn acknowledged(&self) -> u64 {
        match self.state {
            State::Sized(size) | State::Ended(size) if size == self.next => size + 1,
            _ => self.next,
        }
    }

    /// What has arrived beyond a gap, the latest news first.
    pub(super) fn news(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.beyond.around(self.touched)
    }

    /// Nothing more will come of this half.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Ended(_) | State::Stopped)
    }

    /// All bytes and the end have arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.acknowledged() > self.next
    }

    pub(super) const fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Whether a sender that claims to end at `size` contradicts what it has sent.
    pub(super) fn contradicts(&self, size: u64) -> bool {
        match self.state {
            State::Open => size < self.highest,
            State::Sized(known) | State::Ended(known) => size != known,
            State::Stopped => false,
        }
    }

    pub(super) const fn received(&self) -> u64 {
        self.next
    }

    pub(super) const fn read_so_far(&self) -> u64 {
        self.read
    }

    pub(super) fn fragments(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes received and not yet read.
    pub(super) fn held(&self) -> u64 {
        let pieces: u64 = self.pieces.iter().map(|p| p.1.len() as u64).sum();
        if self.is_stopped() { 0 } else { self.next - self.read + pieces }
    }
}
