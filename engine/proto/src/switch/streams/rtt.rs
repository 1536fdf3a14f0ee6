//! How long a round trip takes: smoothed as in RFC 6298, with the least ever seen beside it.
//!
//! Every sample comes from a stamp that the peer echoes, so a retransmission is never mistaken
//! for its original. Owns the estimate of one line; never reads a clock.

use core::time::Duration;

/// Variations below this are noise of timers and threads.
const GRANULARITY: Duration = Duration::from_millis(1);

/// The round trip of a line.
#[derive(Debug)]
pub(super) struct Rtt {
    initial: Duration,
    estimate: Option<Estimate>,
}

#[derive(Debug, Clone, Copy)]
struct Estimate {
    smoothed: Duration,
    variation: Duration,
    least: Duration,
    latest: Duration,
}

impl Rtt {
    pub(super) const fn new(initial: Duration) -> Self {
        Self { initial, estimate: None }
    }

    /// A packet's echo came back after `elapsed`, of which the peer says it kept it for `delay`.
    pub(super) fn sample(&mut self, elapsed: Duration, delay: Duration) {
        let Some(e) = &mut self.estimate else {
            self.estimate = Some(Estimate {
                smoothed: elapsed,
                variation: elapsed / 2,
                least: elapsed,
                latest: elapsed,
            });
            return;
        };
        e.least = e.least.min(elapsed);
        // A delay that would undercut the least is not believed.
        let own = elapsed.saturating_sub(delay);
        let own = if own >= e.least { own } else { elapsed };
        e.variation = (e.variation * 3 + e.smoothed.abs_diff(own)) / 4;
        e.smoothed = (e.smoothed * 7 + own) / 8;
        e.latest = elapsed;
    }

    /// The path changed; nothing is known.
    pub(super) const fn reset(&mut self) {
        self.estimate = None;
    }

    pub(super) fn smoothed(&self) -> Duration {
        self.estimate.map_or(self.initial, |e| e.smoothed)
    }

    /// The least round trip seen, if any was.
    pub(super) fn least(&self) -> Option<Duration> {
        self.estimate.map(|e| e.least)
    }

    /// How long to wait for an answer before probing.
    pub(super) fn probe_after(&self, ack_delay: Duration) -> Duration {
        let (smoothed, variation) =
            self.estimate.map_or((self.initial, self.initial / 2), |e| (e.smoothed, e.variation));
        smoothed + (variation * 4).max(GRANULARITY) + ack_delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn s23_the_estimate_settles_on_the_path() {
        let mut rtt = Rtt::new(333 * MS);
        assert_eq!(rtt.smoothed(), 333 * MS);
        for _ in 0..100 {
            rtt.sample(55 * MS, 5 * MS);
            rtt.sample(50 * MS, Duration::ZERO);
        }
        assert!(rtt.smoothed().abs_diff(50 * MS) < MS, "{:?}", rtt.smoothed());
        assert_eq!(rtt.least(), Some(50 * MS));
        assert!(rtt.probe_after(5 * MS) < 65 * MS);
        rtt.reset();
        assert_eq!(rtt.smoothed(), 333 * MS);
    }

    #[test]
    fn s23_a_lying_delay_cannot_make_the_path_shorter() {
        let mut rtt = Rtt::new(333 * MS);
        for _ in 0..100 {
            rtt.sample(50 * MS, 5_000 * MS);
        }
        assert!(rtt.smoothed() >= 49 * MS);
    }
}
