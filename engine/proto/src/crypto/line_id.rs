//! Line ids: how a packet finds its session without a search (PROTOCOL §4.6).
//!
//! The receiver of a line mints its id: shard, slot, generation and six zero bytes, encrypted as
//! one AES block under a secret drawn at boot. Whoever steers packets decrypts the id and knows
//! the owner; whoever guesses one has a chance of 2^-48 to get past the zeros, and then faces
//! the seal. Ids of another boot lead nowhere.
//!
//! This is local: no other node reads an id or relies on how it is made.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use crate::base::LineId;

/// Mints and reads the line ids of one process. Clones read each other's ids.
#[derive(Clone)]
pub struct LineIds(Aes128);

impl LineIds {
    /// Under a secret that must not outlive the process.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self(Aes128::new(&secret.into()))
    }

    /// The id of the line in `slot` of `shard`. A slot in use again takes another `generation`,
    /// so that late packets do not meet a stranger's session.
    #[must_use]
    pub fn mint(&self, shard: u16, slot: u32, generation: u32) -> LineId {
        let plain =
            u128::from(shard) << 112 | u128::from(slot) << 80 | u128::from(generation) << 48;
        let mut block = plain.to_be_bytes().into();
        self.0.encrypt_block(&mut block);
        LineId(block.into())
    }

    /// Shard, slot and generation, if the id was minted here.
    #[must_use]
    pub fn resolve(&self, id: LineId) -> Option<(u16, u32, u32)> {
        let mut block = id.0.into();
        self.0.decrypt_block(&mut block);
        let [s0, s1, l0, l1, l2, l3, g0, g1, g2, g3, check @ ..] = <[u8; 16]>::from(block);
        let place = (
            u16::from_be_bytes([s0, s1]),
            u32::from_be_bytes([l0, l1, l2, l3]),
            u32::from_be_bytes([g0, g1, g2, g3]),
        );
        (check == [0; 6]).then_some(place)
    }
}

impl core::fmt::Debug for LineIds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LineIds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn s19_ids_share_nothing_and_mean_nothing_elsewhere() {
        let (here, there) = (LineIds::new([1; 16]), LineIds::new([2; 16]));
        let id = here.mint(1, 2, 3);
        assert_eq!(id, here.clone().mint(1, 2, 3));
        assert_eq!(there.resolve(id), None);
        let next = here.mint(1, 2, 4);
        let differing: u32 = id.0.iter().zip(next.0).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert!(differing > 32, "neighbouring ids look unrelated");
    }

    #[test]
    fn s19_an_id_with_any_bit_changed_leads_nowhere() {
        let ids = LineIds::new([7; 16]);
        for bit in 0..128 {
            let mut id = ids.mint(3, 77, 1);
            id.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ids.resolve(id), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn s19_an_id_leads_back_to_its_place(
            secret: [u8; 16], shard: u16, slot: u32, generation: u32,
        ) {
            let ids = LineIds::new(secret);
            prop_assert_eq!(ids.resolve(ids.mint(shard, slot, generation)), Some((shard, slot, generation)));
        }

        #[test]
        fn s19_guessed_ids_lead_nowhere(guess: [u8; 16]) {
            prop_assert_eq!(LineIds::new([9; 16]).resolve(LineId(guess)), None);
        }
    }
}
