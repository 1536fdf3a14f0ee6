//! Vouchers: what an operator said, about whom, until when; and nothing else.

use core::time::Duration;

use proptest::prelude::*;

use super::{LIFE, NOW, alice, bob};
use crate::base::{Chance, Hashname, Wall};
use crate::crypto::voucher::{self, Flags, VoucherError};

const DAY: Duration = Duration::from_secs(86_400);

fn honest() -> [u8; voucher::LEN] {
    voucher::issue(bob(), &alice().hashname(), Flags::PROXY, NOW.after(DAY))
}

/// Held against Bob's record, for Alice.
fn judged(bytes: &[u8], now: Wall) -> Result<(), VoucherError> {
    voucher::parse(bytes)?.verify(&alice().hashname(), bob().record(), now)
}

#[test]
fn s7_a_voucher_says_what_the_operator_said() {
    let bytes = honest();
    let claim = voucher::parse(&bytes).unwrap();
    assert_eq!((claim.flags, claim.expiry), (Flags::PROXY, NOW.after(DAY)));
    assert_eq!(claim.operator, bob().hashname().address());
    assert_eq!(judged(&bytes, NOW), Ok(()));
}

#[test]
fn s7_a_voucher_is_for_one_hashname_by_one_key() {
    let bytes = honest();
    let claim = voucher::parse(&bytes).unwrap();
    let other = Hashname::new([7; 32]);
    assert_eq!(claim.verify(&other, bob().record(), NOW), Err(VoucherError::BadSignature));
    let of_alice = claim.verify(&alice().hashname(), alice().record(), NOW);
    assert_eq!(of_alice, Err(VoucherError::OtherOperator));
    let renewed = bob().renew(&mut Chance::from_number(9), NOW, LIFE).unwrap();
    let by_new_key = claim.verify(&alice().hashname(), renewed.record(), NOW);
    assert_eq!(by_new_key, Err(VoucherError::BadSignature), "new keys, new vouchers");
}

#[test]
fn s7_a_voucher_ends_an_hour_after_its_expiry() {
    let end = NOW.after(DAY);
    assert_eq!(judged(&honest(), end.after(Duration::from_secs(3_600))), Ok(()));
    let late = end.after(Duration::from_secs(3_601));
    assert_eq!(judged(&honest(), late), Err(VoucherError::Expired));
}

#[test]
fn s7_any_bit_changed_makes_it_worthless() {
    let good = honest();
    for bit in 0..good.len() * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(judged(&bad, NOW).is_err(), "bit {bit}");
    }
    for len in 0..good.len() {
        assert_eq!(judged(&good[..len], NOW), Err(VoucherError::Length), "{len}");
    }
    assert_eq!(judged(&[good.as_slice(), &[0]].concat(), NOW), Err(VoucherError::Length));
}

#[test]
fn s5_flags_read_as_words() {
    assert_eq!(Flags::NONE.to_string(), "none");
    assert_eq!(Flags::SPACER.with(Flags::HTTP).to_string(), "spacer, http");
    for (flag, word) in Flags::WORDS {
        assert_eq!(Flags::of_word(word), Some(flag));
        assert!(Flags::ALL.contain(flag) && !Flags::NONE.contain(flag));
    }
    assert_eq!(Flags::of_word("all"), None);
}

proptest! {
    #[test]
    fn s7_what_is_issued_reads_back(flags: u8, expiry in NOW.as_secs()..u64::MAX, who: [u8; 32]) {
        let (subject, expiry) = (Hashname::new(who), Wall::from_secs(expiry));
        let bytes = voucher::issue(bob(), &subject, Flags(flags), expiry);
        let claim = voucher::parse(&bytes).unwrap();
        prop_assert_eq!((claim.flags, claim.expiry), (Flags(flags), expiry));
        prop_assert_eq!(claim.verify(&subject, bob().record(), NOW), Ok(()));
    }

    #[test]
    fn s7_any_bytes_are_no_voucher(mut bytes: [[u8; 30]; 3], expiry in NOW.as_secs()..u64::MAX) {
        bytes[0][0] = 1;
        bytes[0][2..10].copy_from_slice(&expiry.to_be_bytes());
        bytes[0][10..26].copy_from_slice(bob().hashname().address().as_bytes());
        prop_assert_eq!(judged(bytes.as_flattened(), NOW), Err(VoucherError::BadSignature));
    }
}
