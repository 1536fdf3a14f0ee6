//! All nodes of a route table by address: sorted, with a first step by leading bits.

use crate::base::{Address, Hashname};

/// Hashnames ascending by address, found by address.
///
/// Addresses are spread like hashes, so their leading bits say almost exactly where one stands;
/// what the bits leave open is decided by bisection. Somebody who grinds keys for addresses
/// with one prefix makes that prefix cost log2(n) comparisons and nothing worse, so no secret is
/// needed as in a hash table, and the same nodes give the same directory everywhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// Bits of an address that choose a bucket.
    bits: u32,
    /// Bucket `b` is `hashnames[starts[b]..starts[b + 1]]`.
    starts: Vec<u32>,
    hashnames: Vec<Hashname>,
}

impl Directory {
    /// From hashnames that ascend, each address once.
    pub(super) fn new(hashnames: Vec<Hashname>) -> Self {
        let bits = hashnames.len().max(2).next_power_of_two().trailing_zeros().min(24);
        let mut starts = Vec::with_capacity((1 << bits) + 1);
        for (at, h) in (0u32..).zip(&hashnames) {
            let bucket = leading(&h.address(), bits);
            starts.resize(starts.len().max(bucket + 1), at);
        }
        let len = u32::try_from(hashnames.len()).unwrap_or(u32::MAX);
        starts.resize((1 << bits) + 1, len);
        Self { bits, starts, hashnames }
    }

    pub(super) const fn len(&self) -> usize {
        self.hashnames.len()
    }

    pub(super) const fn hashnames(&self) -> &Vec<Hashname> {
        &self.hashnames
    }

    pub(super) fn get(&self, at: u32) -> Option<Hashname> {
        self.hashnames.get(at as usize).copied()
    }

    /// Where the node with this address stands.
    pub(super) fn find(&self, address: &Address) -> Option<u32> {
        let bucket = leading(address, self.bits);
        let (start, end) = (*self.starts.get(bucket)?, *self.starts.get(bucket + 1)?);
        let row = self.hashnames.get(start as usize..end as usize)?;
        let at = row.binary_search_by(|h| h.address().cmp(address)).ok()?;
        Some(start + u32::try_from(at).ok()?)
    }
}

/// The `bits` (at most 24) leading bits of an address.
fn leading(address: &Address, bits: u32) -> usize {
    let [a, b, c, d, ..] = *address.as_bytes();
    (u32::from_be_bytes([a, b, c, d]) >> (32 - bits.clamp(1, 24))) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn n10_every_node_is_found_and_nobody_else(
            bytes in prop::collection::btree_set(any::<[u8; 3]>(), 0..200), crowd: bool,
        ) {
            // A crowd shares its leading bits.
            let name = |b: &[u8; 3]| {
                let mut h = [0; 32];
                let at = if crowd { 8 } else { 0 };
                h[at..at + 3].copy_from_slice(b);
                Hashname::new(h)
            };
            let all: Vec<Hashname> = bytes.iter().map(name).collect();
            let d = Directory::new(all.clone());
            for (i, h) in all.iter().enumerate() {
                prop_assert_eq!(d.find(&h.address()), Some(i as u32));
                prop_assert_eq!(d.get(i as u32), Some(*h));
            }
            prop_assert_eq!(d.find(&Address::new([0xff; 16])), None);
            prop_assert_eq!(Directory::default().find(&Address::new([0; 16])), None);
        }
    }
}
