//! Repeating what is missed by a clock instead of by round trips: the floor that
//! [`StreamLimits::minimal`](super::StreamLimits::minimal) sets (PROTOCOL §5.8, 6).
//!
//! ```text
//!   nothing unanswered ── something sent ──> the timer runs ── all answered ──> no timer
//!                                               │     ^
//!                                               └─────┘ tick: the first misses are sent again
//! ```
//!
//! A miss is what the peer's ranges leave out; when nothing was heard between two ticks, or the
//! index is full, everything on its way counts as missed. Ticks are all that repeats a miss, so a
//! peer that lies about what it misses gets a few packets in five seconds.

use super::limits::MissesTimer;
use super::stream::Stream;
use super::{Code, Streams};
use crate::base::Instant;

impl Stream {
    /// Starts the timer when the peer comes to owe an answer, and deletes it when it owes none.
    pub(super) fn run_misses_timer(&mut self, now: Instant, timer: &MissesTimer) {
        if !self.expects_answer() {
            self.misses_at = None;
        } else if self.misses_at.is_none() {
            self.misses_at = Some(now + timer.every);
        }
    }
}

impl Streams {
    /// If the timer of the stream in `slot` is due: lets the first misses be repeated, and gives
    /// the stream up where that has not helped for too long.
    pub(super) fn tick_misses(&mut self, now: Instant, slot: u32) {
        let Some(timer) = self.limits.misses else { return };
        let Some(stream) = self.table.get_mut(slot) else { return };
        if stream.misses_at.is_none_or(|at| at > now) {
            return;
        }
        // Settling starts it again.
        stream.misses_at = None;
        let Some(silence) = &mut stream.silence else { return };
        let tries = stream.send.flight.most_repeats().max(silence.unanswered);
        if tries > self.limits.dead_probes && now.since(silence.heard) >= self.limits.dead_after {
            self.fail(slot, Code::DEAD, "nothing was acknowledged");
            return;
        }
        let heard_something = now.since(silence.last) < timer.every;
        if stream.send.flight.next_lost().is_none() {
            if heard_something {
                return;
            }
            self.miss_all(slot);
        }
        let Some(stream) = self.table.get_mut(slot) else { return };
        if let Some(silence) = &mut stream.silence {
            silence.unanswered += 1;
        }
        self.counts.probes += 1;
        stream.repeats_left = timer.first;
        self.queues.want_resend(stream, slot);
        if stream.send.flight.is_empty() {
            // The opening, or credit, is what is awaited.
            self.queues.want_probe(stream, slot);
        }
    }

    /// The stream in `slot` has more to send and as many packets unacknowledged as it may: by the
    /// clock, they all count as missed.
    pub(super) fn index_is_full(&mut self, now: Instant, slot: u32) {
        if self.limits.misses.is_some() {
            self.miss_all(slot);
            self.settle(now, slot);
        }
    }

    /// Everything the stream in `slot` has on its way counts as missed.
    fn miss_all(&mut self, slot: u32) {
        let Some(stream) = self.table.get_mut(slot) else { return };
        let counted = stream.send.flight.counted();
        self.counts.packets_lost += stream.send.flight.lose_all().packets;
        stream.loss_at = None;
        self.path.in_flight = self.path.in_flight.saturating_sub(counted);
    }
}
