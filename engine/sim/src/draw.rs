//! Drawing numbers, times and choices from [`Chance`], as scenarios need them.

use core::time::Duration;

use trunkline_proto::base::Chance;

/// What a scenario asks of chance.
pub(crate) trait Draw {
    /// A number from `low` to `high`, both included.
    fn span(&mut self, low: u64, high: u64) -> u64;

    /// True in so many of a hundred cases.
    fn percent(&mut self, percent: u64) -> bool;

    /// An index below `len`; 0 if there is none.
    fn index(&mut self, len: usize) -> usize;

    /// A time between the two.
    fn time(&mut self, low: Duration, high: Duration) -> Duration;

    /// One of these.
    fn pick<T: Copy>(&mut self, of: &[T]) -> T;
}

impl Draw for Chance {
    fn span(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    fn time(&mut self, low: Duration, high: Duration) -> Duration {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.span(micros(low), micros(high)))
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}

/// Milliseconds, for tables of times.
pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Seconds, likewise.
pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
