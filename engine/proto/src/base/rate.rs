//! How often a source may do something, in a table of fixed size.
//!
//! A source is hashed to a bucket under a secret; two sources that meet in one bucket share its
//! allowance, so a collision can only lessen what is done. Nothing is allocated per source.

use core::hash::{BuildHasher, Hash};
use core::time::Duration;

use super::{Chance, Instant, Keyed};

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    filled: Instant,
}

/// Token buckets for any number of sources. 16 bytes a bucket.
#[derive(Debug)]
pub struct RateTable {
    buckets: Vec<Bucket>,
    keyed: Keyed,
    per_second: u32,
    burst: u32,
}

impl RateTable {
    /// `per_second` for each source, `burst` at once, in a table of `size` buckets.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, size: usize, chance: &mut Chance) -> Self {
        let full = Bucket { tokens: burst, filled: Instant::ZERO };
        Self { buckets: vec![full; size.max(1)], keyed: Keyed::draw(chance), per_second, burst }
    }

    /// Takes one from the allowance of `source`; false if there is none left.
    #[must_use]
    pub fn allow(&mut self, now: Instant, source: &impl Hash) -> bool {
        let size = self.buckets.len() as u64;
        let index = usize::try_from(self.keyed.hash_one(source) % size).unwrap_or(0);
        let (rate, burst) = (self.per_second.max(1), self.burst);
        let Some(bucket) = self.buckets.get_mut(index) else { return false };
        let step = Duration::from_secs(1) / rate;
        let elapsed = now.since(bucket.filled);
        let earned = elapsed.as_micros() / step.as_micros().max(1);
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            bucket.tokens = bucket.tokens.saturating_add(earned).min(burst);
            bucket.filled =
                if bucket.tokens == burst { now } else { bucket.filled + step * earned };
        }
        if bucket.tokens == 0 {
            return false;
        }
        bucket.tokens -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_its_burst_then_its_rate() {
        let mut t = RateTable::new(10, 5, 64, &mut Chance::from_number(1));
        let at = Instant::from_micros;
        assert_eq!((0..20).filter(|_| t.allow(at(0), &1)).count(), 5);
        let second = (0..1_000).filter(|i| t.allow(at(i * 1_000), &1)).count();
        assert!((9..=10).contains(&second), "{second}");
        assert_eq!((0..20).filter(|_| t.allow(at(60_000_000), &1)).count(), 5, "burst is capped");
    }

    #[test]
    fn a_million_sources_share_a_table_that_does_not_grow() {
        let mut t = RateTable::new(1, 1, 64, &mut Chance::from_number(2));
        let allowed = (0..1_000_000u32).filter(|s| t.allow(Instant::from_micros(1), s)).count();
        assert!(allowed <= 64);
    }
}
