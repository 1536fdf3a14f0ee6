//! What of one stream is on its way, and what of that is lost.
//!
//! ```text
//!   Flying ── acknowledged ──> Acked          a later packet arrived a reordering window ago,
//!   ^  │                        ^             or nothing answered: Flying becomes Lost
//!   │  └── lost ──> Lost ───────┤
//!   └── sent again ──┘          │
//!   Stray (flying on an abandoned path, not counted) ── as Flying
//! ```
//!
//! Segments lie side by side by offset; a second queue holds the transmissions in the order of
//! time. An echoed stamp says which transmission arrived, so whatever was sent before it and is
//! still missing after a reordering window is lost (RFC 8985 with stamps in place of guesses).
//! Every transmission enters and leaves each queue once, so a packet costs a constant and, where
//! there are gaps, a binary search. Never knows bytes, credit or windows.

use core::time::Duration;
use std::collections::VecDeque;

use super::ranges::RangeSet;
use super::sizes::Large;
use crate::base::Instant;

/// Counted for each packet beside its bytes: a usual header, so that ten full packets fill a
/// window of ten packets, and many small ones fill it as well.
const PACKET_COST: u64 = 12;

/// The segments of one stream that are sent and not yet acknowledged as a whole.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// By offset, without gaps between them.
    segments: VecDeque<Segment>,
    /// By time of transmission; entries whose segment has moved on are skipped.
    order: VecDeque<Transmission>,
    /// First offsets of lost segments; entries whose segment has moved on are skipped.
    lost: VecDeque<u64>,
    /// Acknowledged beyond the first segment.
    acked: RangeSet,
    /// The newest transmission that is known to have arrived.
    arrived: Option<Arrived>,
    /// Bytes counted in the line's window.
    counted: u64,
    /// Segments on their way, counted or stray.
    flying: usize,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    start: u64,
    end: u64,
    sent: Instant,
    state: State,
    /// How often it was taken for lost and sent again.
    repeats: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Flying,
    Stray,
    Lost,
    Acked,
}

#[derive(Debug, Clone, Copy)]
struct Transmission {
    sent: Instant,
    start: u64,
    end: u64,
}

/// A transmission that arrived: when it was sent, which of those sent at that moment, and what
/// its round trip was.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    sent: Instant,
    end: u64,
    round_trip: Duration,
}

/// What an acknowledgement changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gain {
    /// Counted bytes that are no longer on their way because they arrived.
    pub(super) counted: u64,
    /// Packets that had been taken for lost and were not.
    pub(super) false_losses: u64,
    /// Anything new at all.
    pub(super) any: bool,
    /// The large packets among what arrived.
    pub(super) large: Large,
}

/// The new parts of one acknowledged range. Hardly ever more than two; what is beyond the room
/// joins the last part, which is then walked over known ground too.
#[derive(Debug, Default)]
struct News {
    parts: [(u64, u64); 4],
    len: usize,
}

impl News {
    fn add(&mut self, from: u64, to: u64) {
        if let Some(part) = self.parts.get_mut(self.len) {
            *part = (from, to);
            self.len += 1;
        } else if let Some(last) = self.parts.last_mut() {
            last.1 = to;
        }
    }

    fn parts(self) -> impl Iterator<Item = (u64, u64)> {
        self.parts.into_iter().take(self.len)
    }
}

/// What was found to be lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Losses {
    pub(super) packets: u64,
    /// What they counted in the window.
    pub(super) bytes: u64,
    /// When the newest of them was sent; none if no packet of this path is among them.
    pub(super) newest: Option<Instant>,
    /// The large ones of them.
    pub(super) large: Large,
    /// When the next packet will be taken for lost if nothing is heard.
    pub(super) next_at: Option<Instant>,
}

impl Losses {
    fn note_size(&mut self, segment: &Segment) {
        self.large.note(segment.payload(), segment.sent);
    }
}

impl Segment {
    const fn flies(&self) -> bool {
        matches!(self.state, State::Flying | State::Stray)
    }

    const fn payload(&self) -> u64 {
        self.end - self.start
    }

    fn counts(&self) -> u64 {
        if self.state == State::Flying { self.payload() + PACKET_COST } else { 0 }
    }
}

impl Flight {
    /// What a packet with positions `start..end` counts in the window.
    pub(super) fn cost(start: u64, end: u64) -> u64 {
        end.saturating_sub(start).saturating_add(PACKET_COST)
    }

    /// `start..end`, which follows all segments, was sent.
    pub(super) fn push(&mut self, start: u64, end: u64, sent: Instant) {
        let segment = Segment { start, end, sent, state: State::Flying, repeats: 0 };
        self.counted += segment.counts();
        self.flying += 1;
        self.segments.push_back(segment);
        self.order.push_back(Transmission { sent, start, end });
    }

    /// The start of the next lost segment was sent again, up to `end`; a rest becomes a lost
    /// segment of its own.
    pub(super) fn push_again(&mut self, start: u64, end: u64, sent: Instant) {
        self.lost.pop_front();
        let Some(index) = self.find(start) else { return };
        let Some(segment) = self.segments.get_mut(index) else { return };
        let rest = Segment { start: end, ..*segment };
        let repeats = segment.repeats.saturating_add(1);
        *segment = Segment { start, end, sent, state: State::Flying, repeats };
        self.counted += segment.counts();
        self.flying += 1;
        if rest.start < rest.end {
            self.segments.insert(index + 1, rest);
            self.lost.push_front(rest.start);
        }
        self.order.push_back(Transmission { sent, start, end });
    }

    /// The next lost segment.
    pub(super) fn next_lost(&mut self) -> Option<(u64, u64)> {
        while let Some(start) = self.lost.front() {
            let segment = self.find(*start).and_then(|i| self.segments.get(i));
            if let Some(s) = segment.filter(|s| s.state == State::Lost) {
                return Some((s.start, s.end));
            }
            self.lost.pop_front();
        }
        None
    }

    /// The index of the segment that begins at `start`.
    fn find(&self, start: u64) -> Option<usize> {
        if self.segments.front()?.start == start {
            return Some(0);
        }
        self.segments.binary_search_by_key(&start, |s| s.start).ok()
    }

    /// Everything below `cumulative` has arrived, and so have `ranges`. `echo` is when the packet
    /// was sent that is answered, with its round trip.
    pub(super) fn acknowledge(
        &mut self,
        cumulative: u64,
        ranges: impl Iterator<Item = (u64, u64)>,
        echo: Option<(Instant, Duration)>,
    ) -> Gain {
        let mut gain = Gain::default();
        let stamp = echo.map(|e| e.0);
        let mut last = 0;
        while let Some(first) = self.segments.front().copied() {
            if first.end > cumulative && first.state != State::Acked {
                break;
            }
            if first.state != State::Acked {
                self.settle(&first, stamp, &mut last, &mut gain);
            }
            self.segments.pop_front();
        }
        let oldest = self.segments.front().map_or(cumulative, |s| s.start);
        self.acked.remove_below(oldest);
        for (start, end) in ranges {
            // Packets arrive whole, so honest ranges are never more than the segments; a peer that
            // splits them finer would make the set large and slow.
            if self.acked.len() > self.segments.len() {
                break;
            }
            let mut news = News::default();
            self.acked.insert(start.max(oldest), end, |a, b| news.add(a, b));
            for (from, to) in news.parts() {
                self.mark(from, to, stamp, &mut last, &mut gain);
            }
        }
        while self.segments.front().is_some_and(|s| s.state == State::Acked) {
            self.segments.pop_front();
        }
        self.note_arrival(echo, last);
        if self.segments.is_empty() {
            self.forget_all();
        }
        gain
    }

    /// Marks the whole segments within `from..to` that the set of acknowledged positions covers.
    fn mark(&mut self, from: u64, to: u64, stamp: Option<Instant>, last: &mut u64, g: &mut Gain) {
        let mut index = self.segments.partition_point(|s| s.end <= from);
        while let Some(segment) = self.segments.get(index).copied().filter(|s| s.start < to) {
            let whole = segment.start >= from && segment.end <= to
                || self.acked.contains(segment.start, segment.end);
            if whole && segment.state != State::Acked {
                self.settle(&segment, stamp, last, g);
                if let Some(s) = self.segments.get_mut(index) {
                    s.state = State::Acked;
                }
            }
            index += 1;
        }
    }

    /// Accounts for a segment that has arrived.
    fn settle(&mut self, s: &Segment, stamp: Option<Instant>, last: &mut u64, gain: &mut Gain) {
        gain.any = true;
        gain.counted += s.counts();
        self.counted = self.counted.saturating_sub(s.counts());
        self.flying = self.flying.saturating_sub(usize::from(s.flies()));
        // Sent again and yet the first transmission is what arrived, or not sent again yet.
        let early = s.repeats > 0 && stamp.is_some_and(|at| at < s.sent);
        gain.large.note(s.payload(), stamp.map_or(s.sent, |at| at.min(s.sent)));
        if s.state == State::Lost || early {
            gain.false_losses += 1;
        }
        if stamp == Some(s.sent) {
            *last = (*last).max(s.end);
        }
    }

    fn note_arrival(&mut self, echo: Option<(Instant, Duration)>, end: u64) {
        let Some((sent, round_trip)) = echo else { return };
        if self.arrived.is_none_or(|a| (a.sent, a.end) <= (sent, end)) {
            self.arrived = Some(Arrived { sent, end, round_trip });
        }
    }

    /// Takes for lost what was sent before something that arrived and is overdue by `window`.
    pub(super) fn find_lost(&mut self, now: Instant, window: Duration) -> Losses {
        let mut losses = Losses::default();
        while let Some(first) = self.order.front().copied() {
            let segment = self.segment_of(&first);
            let Some((index, segment)) = segment else {
                self.order.pop_front();
                continue;
            };
            let Some(arrived) = self.arrived else { break };
            if (first.sent, first.end) >= (arrived.sent, arrived.end) {
                break;
            }
            let due = first.sent + arrived.round_trip + window;
            if due > now {
                losses.next_at = Some(due);
                break;
            }
            self.order.pop_front();
            if segment.state == State::Flying {
                losses.newest = losses.newest.max(Some(segment.sent));
            }
            losses.packets += 1;
            losses.bytes += segment.counts();
            losses.note_size(&segment);
            self.lose(index);
        }
        losses
    }

    /// The segment a transmission is still the latest one of.
    fn segment_of(&self, t: &Transmission) -> Option<(usize, Segment)> {
        if self.segments.front().is_none_or(|s| t.end <= s.start) {
            return None;
        }
        let index = self.find(t.start)?;
        let segment = *self.segments.get(index)?;
        let current = segment.flies() && segment.sent == t.sent && segment.end == t.end;
        current.then_some((index, segment))
    }

    fn lose(&mut self, index: usize) {
        if let Some(s) = self.segments.get_mut(index) {
            self.counted = self.counted.saturating_sub(s.counts());
            self.flying = self.flying.saturating_sub(usize::from(s.flies()));
            s.state = State::Lost;
            self.lost.push_back(s.start);
        }
    }

    /// Nothing answered: the oldest segment on its way is to be sent again. Returns it, if it was
    /// large.
    pub(super) fn lose_oldest(&mut self) -> Large {
        let mut large = Large::default();
        let index = self.segments.iter().position(Segment::flies);
        let segment = index.and_then(|i| self.segments.get(i).copied());
        if let (Some(index), Some(segment)) = (index, segment) {
            self.lose(index);
            self.lost.pop_back();
            self.lost.push_front(segment.start);
            large.note(segment.payload(), segment.sent);
        }
        large
    }

    /// Nothing answered twice: everything on its way is to be sent again. Says how many packets
    /// that were, and how many large ones.
    pub(super) fn lose_all(&mut self) -> Losses {
        let mut losses = Losses::default();
        self.lost.clear();
        for s in &mut self.segments {
            if s.flies() {
                losses.packets += 1;
                losses.note_size(s);
                s.state = State::Lost;
            }
            if s.state == State::Lost {
                self.lost.push_back(s.start);
            }
        }
        self.counted = 0;
        self.flying = 0;
        self.order.clear();
        losses
    }

    /// The line goes another way: what is on its way no longer counts, and old round trips say
    /// nothing.
    pub(super) fn leave_path(&mut self) {
        for s in &mut self.segments {
            if s.state == State::Flying {
                s.state = State::Stray;
            }
        }
        self.counted = 0;
        self.arrived = None;
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.segments = VecDeque::new();
        self.acked.clear();
        self.counted = 0;
        self.flying = 0;
        self.order = VecDeque::new();
        self.lost = VecDeque::new();
    }

    /// All segments have arrived. Keeps the rooms, unless a large flight left large ones.
    fn forget_all(&mut self) {
        self.order.clear();
        self.lost.clear();
        self.acked.clear();
        if self.segments.capacity() > 1_024 {
            self.segments = VecDeque::new();
            self.order = VecDeque::new();
        }
    }

    /// Whether something is on its way whose loss could still go unnoticed.
    pub(super) const fn is_flying(&self) -> bool {
        self.flying > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether `most` segments or more are not acknowledged.
    pub(super) fn is_full(&self, most: usize) -> bool {
        let open = || self.segments.iter().filter(|s| s.state != State::Acked).count();
        self.segments.len() >= most && open() >= most
    }

    /// How often the segment that was sent again most often was.
    pub(super) fn most_repeats(&self) -> u32 {
        let open = self.segments.iter().filter(|s| s.state != State::Acked);
        open.map(|s| s.repeats).max().unwrap_or(0)
    }

    /// The first position not acknowledged as a whole.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.segments.front().map(|s| s.start)
    }

    /// Bytes counted in the line's window.
    pub(super) const fn counted(&self) -> u64 {
        self.counted
    }
}

#[cfg(test)]
mod tests;
