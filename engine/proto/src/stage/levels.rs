//! What happened to the frames of one priority on one link, for those who look at queues.
//!
//! Waiting times go into buckets of powers of two, so that a percentile costs 200 bytes and an
//! addition.

use core::time::Duration;

/// Buckets: below 1 µs, below 2 µs, and so on; the last has all above 2.1 s.
const BUCKETS: usize = 23;

/// Counters of one priority on one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Frames that left the queue for the socket.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that found no room, or had to make some.
    pub dropped: u64,
    /// How long the frames that left had waited.
    pub waits: Waits,
}

/// How long frames waited, from the round in which they were queued to the one in which they left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    frames: u64,
    total_us: u64,
    max_us: u64,
    buckets: [u64; BUCKETS],
}

impl Level {
    /// `frames` left together after `waited`.
    pub fn left(&mut self, frames: u32, bytes: usize, waited: Duration) {
        self.frames += u64::from(frames);
        self.bytes += bytes as u64;
        self.waits.add(frames, waited);
    }
}

impl Waits {
    fn add(&mut self, frames: u32, waited: Duration) {
        let us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        let frames = u64::from(frames);
        self.frames += frames;
        self.total_us = self.total_us.saturating_add(us.saturating_mul(frames));
        self.max_us = self.max_us.max(us);
        let bucket = (u64::BITS - us.leading_zeros()) as usize;
        if let Some(count) = self.buckets.get_mut(bucket.min(BUCKETS - 1)) {
            *count += frames;
        }
    }

    /// The mean; none before anything left.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        self.total_us.checked_div(self.frames).map(Duration::from_micros)
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.frames > 0).then(|| Duration::from_micros(self.max_us))
    }

    /// At most so long waited `percent` of a hundred, rounded up to the next power of two.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = self.frames.saturating_mul(percent).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        let end = if bucket == BUCKETS - 1 { u64::MAX } else { (1 << bucket) - 1 };
        Some(Duration::from_micros(end.min(self.max_us)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n18_waiting_times_are_told_by_mean_percentile_and_maximum() {
        let us = Duration::from_micros;
        let mut level = Level::default();
        assert_eq!((level.waits.mean(), level.waits.max()), (None, None));
        assert_eq!(level.waits.percentile(99), None);
        level.left(98, 9_800, us(0));
        level.left(1, 100, us(100));
        level.left(1, 100, us(1_000));
        assert_eq!((level.frames, level.bytes), (100, 10_000));
        assert_eq!((level.waits.mean(), level.waits.max()), (Some(us(11)), Some(us(1_000))));
        let percentiles = [50, 99, 100].map(|p| level.waits.percentile(p));
        assert_eq!(percentiles, [Some(us(0)), Some(us(127)), Some(us(1_000))]);
        level.left(1_000_000, 0, Duration::from_secs(10));
        assert_eq!(level.waits.percentile(99), Some(Duration::from_secs(10)));
    }
}
