//! The heartbeats of a link that is up (N13).
//!
//! A side that has sent nothing for its interval sends a heartbeat, so a side that hears
//! nothing for several of the *other's* intervals knows the link is dead; hellos say how long
//! they are. Some heartbeats go out under load too, only to measure the round trip.

use core::time::Duration;

use crate::base::Instant;
use crate::wire::link::Stamp;

/// Under load the round trip is measured once in so many intervals.
const PROBE_EVERY: u32 = 16;
/// An echo that has not come by then is not waited for any longer.
const PROBE_LOST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Pulse {
    interval: Duration,
    dead_after: Duration,
    last_heard: Instant,
    last_sent: Instant,
    last_beat: Instant,
    /// The heartbeat whose echo is measured. Others may follow before it comes back.
    probe: Option<(Stamp, Instant)>,
    owed: Option<Stamp>,
    rtt: Option<Duration>,
}

impl Pulse {
    pub(super) fn new(now: Instant, interval: Duration, theirs: Duration, missed: u32) -> Self {
        Self {
            interval,
            // A peer that sends as rarely as it said is not dead.
            dead_after: interval.max(theirs) * missed,
            last_heard: now,
            last_sent: now,
            // The first heartbeat goes out early, so that the round trip is known soon.
            last_beat: now - interval * PROBE_EVERY,
            probe: None,
            owed: None,
            rtt: None,
        }
    }

    pub(super) const fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    pub(super) const fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    pub(super) const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    fn beat_due(&self) -> Instant {
        (self.last_sent + self.interval).min(self.last_beat + self.interval * PROBE_EVERY)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.beat_due().min(self.last_heard + self.dead_after)
    }

    pub(super) fn is_dead(&self, now: Instant) -> bool {
        now >= self.last_heard + self.dead_after
    }

    /// The heartbeat to send, if one is due.
    pub(super) fn beat(&mut self, now: Instant) -> Option<Stamp> {
        if now < self.beat_due() {
            return None;
        }
        #[allow(clippy::cast_possible_truncation)] // the low 32 bits are the format
        let stamp = Stamp(now.as_micros() as u32);
        if self.probe.is_none_or(|(_, at)| now >= at + PROBE_LOST) {
            self.probe = Some((stamp, now));
        }
        (self.last_sent, self.last_beat) = (now, now);
        Some(stamp)
    }

    pub(super) const fn owe(&mut self, stamp: Stamp) {
        self.owed = Some(stamp);
    }

    pub(super) const fn owed(&mut self) -> Option<Stamp> {
        self.owed.take()
    }

    /// An echo came. One that was not asked for says nothing.
    pub(super) fn echoed(&mut self, now: Instant, stamp: Stamp) {
        if let Some((_, at)) = self.probe.take_if(|(asked, _)| *asked == stamp) {
            let sample = now.since(at);
            self.rtt = Some(self.rtt.map_or(sample, |old| (old * 7 + sample) / 8));
        }
    }
}
