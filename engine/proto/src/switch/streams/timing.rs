//! What time brings about: delayed ACKs, losses by age, probes, repeated resets, death.

use core::time::Duration;

use super::stream::{Flags, backed_off};
use super::{Code, Streams};
use crate::base::Instant;

/// A RESET is repeated this often at most.
const NOTICE_TRIES: u32 = 8;

impl Streams {
    /// When [`Self::handle_timeout`] wants to be called; may turn out to be early.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match (self.wakes.first(), self.pacer.until()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.pacer.until().is_some_and(|at| at <= now) {
            // Whoever waited asks again when it is polled.
            self.pacer.wake();
        }
        while let Some(slot) = self.wakes.due(now) {
            if let Some(stream) = self.table.get_mut(slot) {
                stream.registered = None;
            }
            self.wake(now, slot);
            self.settle(now, slot);
        }
    }

    fn wake(&mut self, now: Instant, slot: u32) {
        let Some(stream) = self.table.get_mut(slot) else { return };
        if stream.debt.due.is_some_and(|at| at <= now) {
            self.queues.want_control(stream, slot, Flags::ACK);
        }
        if stream.loss_at.is_some_and(|at| at <= now) {
            self.lose_by_age(now, slot);
        }
        let Some(stream) = self.table.get_mut(slot) else { return };
        if stream.probe_at(&self.rtt, &self.limits).is_some_and(|at| at <= now) {
            if self.limits.misses.is_some() {
                self.tick_misses(now, slot);
            } else {
                self.break_silence(now, slot);
            }
        }
        let Some(stream) = self.table.get_mut(slot) else { return };
        let Some(notice) = stream.notice.as_mut().filter(|n| n.again_at.is_some_and(|t| t <= now))
        else {
            return;
        };
        if notice.tries < NOTICE_TRIES {
            notice.again_at = None;
            self.queues.want_control(stream, slot, Flags::NOTICE);
        } else if notice.whole {
            self.fail(slot, Code::DEAD, "");
        } else {
            stream.notice = None;
        }
    }

    fn lose_by_age(&mut self, now: Instant, slot: u32) {
        let window = self.reorder_window();
        let Some(stream) = self.table.get_mut(slot) else { return };
        let counted = stream.send.flight.counted();
        let losses = stream.send.flight.find_lost(now, window);
        stream.loss_at = losses.next_at;
        if losses.packets > 0 {
            self.queues.want_resend(stream, slot);
        }
        let after = stream.send.flight.counted();
        self.path.in_flight = (self.path.in_flight + after).saturating_sub(counted);
        self.note_losses(now, &losses);
    }

    /// The peer owes an answer for too long: sends something it must answer, gives the stream up at
    /// last. The second time in a row, if the whole line is silent, everything counts as lost;
    /// while other streams hear answers the path works, and the probe's own answer will tell what
    /// is missing.
    fn break_silence(&mut self, now: Instant, slot: u32) {
        let rtt = &self.rtt;
        let Some(stream) = self.table.get_mut(slot) else { return };
        let Some(silence) = &mut stream.silence else { return };
        let quiet_for = now.since(silence.heard);
        if silence.unanswered > self.limits.dead_probes && quiet_for >= self.limits.dead_after {
            self.fail(slot, Code::DEAD, "nothing was acknowledged");
            return;
        }
        silence.unanswered += 1;
        silence.backoff += 1;
        silence.last = now;
        let patience: Duration = backed_off(rtt, &self.limits, 0);
        let again = silence.backoff >= 2 && now.since(self.path.heard) >= patience;
        self.counts.probes += 1;
        let counted = stream.send.flight.counted();
        if again {
            let losses = stream.send.flight.lose_all();
            stream.loss_at = None;
            self.note_losses(now, &losses);
            if losses.packets > 0 {
                self.congestion.on_stall(now);
                self.path.answered = now;
            }
        } else {
            let large = stream.send.flight.lose_oldest();
            self.path.sizes.lost_in_silence(&large);
        }
        let Some(stream) = self.table.get_mut(slot) else { return };
        let after = stream.send.flight.counted();
        self.path.in_flight = (self.path.in_flight + after).saturating_sub(counted);
        self.queues.want_resend(stream, slot);
        self.queues.want_probe(stream, slot);
    }

    /// After anything that touched the stream in `slot`: forgets it if it is over, otherwise sees
    /// to it that it is woken in time.
    pub(super) fn settle(&mut self, now: Instant, slot: u32) {
        let Some(stream) = self.table.get_mut(slot) else { return };
        if stream.is_over() {
            self.close(slot);
            return;
        }
        stream.note_owing(now);
        if let Some(timer) = &self.limits.misses {
            stream.run_misses_timer(now, timer);
        }
        let at = stream.wakes_at(&self.rtt, &self.limits);
        self.wakes.set(stream, slot, at);
    }
}
