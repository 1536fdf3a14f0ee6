//! How fast something may happen, on average and at once, in eight bytes.

use core::time::Duration;

use crate::base::Instant;

/// One event per `interval` in the long run, `burst` at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rate {
    pub(super) interval: Duration,
    pub(super) burst: u32,
}

/// What has happened so far under a [`Rate`]: the moment by which it would all have happened,
/// had it kept to the interval.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Pace(Instant);

impl Pace {
    /// When the next event may happen; not after `now` if it may at once.
    pub(super) fn next(self, rate: Rate) -> Instant {
        self.0 - rate.interval * rate.burst.saturating_sub(1)
    }

    /// Whether an event may happen at `now`.
    pub(super) fn allows(self, now: Instant, rate: Rate) -> bool {
        now >= self.next(rate)
    }

    /// Notes `events` that happen at `now`.
    pub(super) fn note(&mut self, now: Instant, rate: Rate, events: u32) {
        self.0 = self.0.max(now) + rate.interval * events;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pace: &mut Pace, now: Instant, rate: Rate) -> bool {
        let allowed = pace.allows(now, rate);
        if allowed {
            pace.note(now, rate, 1);
        }
        allowed
    }

    #[test]
    fn n11_a_burst_passes_and_then_one_per_interval() {
        let rate = Rate { interval: Duration::from_secs(1), burst: 3 };
        let (start, mut pace) = (Instant::from_micros(10_000_000), Pace::default());
        let passed: Vec<u64> = (0..100)
            .map(|tenth| start + Duration::from_millis(100) * tenth)
            .filter(|now| take(&mut pace, *now, rate))
            .map(|now| now.since(start).as_secs())
            .collect();
        assert_eq!(passed, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let rested = start + Duration::from_secs(60);
        assert_eq!(
            (0..9).filter(|_| take(&mut pace, rested, rate)).count(),
            3,
            "rest is not saved up"
        );
    }
}
