//! Waiting longer after each failure, with jitter so that a crowd does not return as one.

use core::time::Duration;

use super::Chance;

/// Exponential back-off between a floor and a ceiling.
#[derive(Clone, Debug)]
pub struct Backoff {
    floor: Duration,
    ceiling: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts at `floor` and doubles up to `ceiling`.
    #[must_use]
    pub const fn new(floor: Duration, ceiling: Duration) -> Self {
        Self { floor, ceiling, failures: 0 }
    }

    /// How long to wait after one more failure: the doubled delay, less up to a half of it.
    pub fn after_failure(&mut self, chance: &mut Chance) -> Duration {
        let delay = self.floor.saturating_mul(1 << self.failures.min(16)).min(self.ceiling);
        self.failures = self.failures.saturating_add(1);
        let half = u64::try_from(delay.as_micros() / 2).unwrap_or(u64::MAX);
        delay - Duration::from_micros(chance.below(half.max(1)))
    }

    /// It worked: the next failure starts from the floor again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_ceiling_and_start_over_after_success() {
        let mut chance = Chance::from_number(1);
        let mut b = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for n in 0..40u32 {
            let full = Duration::from_millis(100 << n.min(6)).min(Duration::from_secs(5));
            let d = b.after_failure(&mut chance);
            assert!(d <= full && d >= full / 2, "{n}: {d:?}");
        }
        b.reset();
        assert!(b.after_failure(&mut chance) <= Duration::from_millis(100));
    }
}
