//! Hash tables fed from the network: keyed, so that nobody outside can choose collisions, and
//! seeded, so that a simulation repeats.

use core::hash::BuildHasher;
use std::collections::HashMap;

use siphasher::sip::SipHasher13;

use super::Chance;

/// A hash table whose order and collisions depend on a secret drawn from [`Chance`].
pub type Map<K, V> = HashMap<K, V, Keyed>;

/// `SipHash` 1-3 under a secret key.
#[derive(Clone, Debug)]
pub struct Keyed([u8; 16]);

impl Keyed {
    /// A fresh secret.
    pub fn draw(chance: &mut Chance) -> Self {
        Self(chance.bytes())
    }

    /// An empty table under a fresh secret.
    pub fn map<K, V>(chance: &mut Chance) -> Map<K, V> {
        HashMap::with_hasher(Self::draw(chance))
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}
