//! Chance from a seed: the only source of random numbers in the protocols.
//!
//! A node seeds one [`Chance`] from the operating system at start; a simulation seeds it from
//! its number, and every key, id and jitter repeats. ChaCha12 is a cryptographic generator, so
//! the same type serves keys and jitter.

use rand_chacha::ChaCha12Rng;
use rand_core::{CryptoRng, Error, RngCore, SeedableRng};

/// A seeded cryptographic random generator.
#[derive(Clone)]
pub struct Chance(ChaCha12Rng);

impl Chance {
    /// A generator that repeats for the same seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// A generator for tests and simulations, from a small number.
    #[must_use]
    pub fn from_number(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// An independent generator drawn from this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.bytes())
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill_bytes(&mut out);
        out
    }

    /// A random 64-bit number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound` (0 if `bound` is 0), without bias that matters: the bounds in use
    /// are far below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// True with the given probability in parts per million.
    pub fn per_million(&mut self, parts: u32) -> bool {
        self.below(1_000_000) < u64::from(parts)
    }
}

impl core::fmt::Debug for Chance {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Chance")
    }
}

impl RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.0.try_fill_bytes(dest)
    }
}

impl CryptoRng for Chance {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_repeats_and_another_does_not() {
        let draw = |n| Chance::from_number(n).bytes::<16>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn below_stays_below() {
        let mut c = Chance::from_number(3);
        assert!((0..1_000).all(|_| c.below(7) < 7));
        assert_eq!(c.below(0), 0);
    }
}
