//! The key record: what is accepted, and that nothing else is.

use core::time::Duration;

use proptest::prelude::*;
use rsa::pkcs8::EncodePublicKey;

use super::{LIFE, NOW, alice, bob};
use crate::base::{DropReason, Hashname, Wall};
use crate::crypto::{KeyRecord, Purpose, RecordError};

#[test]
fn s3_a_record_reads_back_what_its_owner_wrote() {
    let own = alice().record();
    let read = KeyRecord::parse(own.encoded()).unwrap().verify(NOW).unwrap();
    assert_eq!(&read, &**own);
    assert_eq!(read.expiry(), NOW.after(LIFE));
    assert_eq!((read.serial(), read.space().as_str()), (1, "home"));
    assert_ne!(read.hashname(), bob().hashname());
}

#[test]
fn s5_the_hashname_is_the_hash_of_key_and_space() {
    let spki = alice().rsa().to_public_key().to_public_key_der().unwrap();
    assert_eq!(alice().record().rsa_spki(), spki.as_bytes(), "the template is the real encoding");
    let all = [spki.as_bytes(), b"home"].concat();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &all);
    assert_eq!(alice().hashname(), Hashname::new(digest.as_ref().try_into().unwrap()));
}

#[test]
fn s3_a_record_with_any_bit_changed_is_refused() {
    let good = alice().record().encoded();
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        let verdict = KeyRecord::parse(&bad).and_then(|r| r.verify(NOW));
        assert!(verdict.is_err(), "bit {bit}");
    }
}

#[test]
fn s3_a_record_of_any_other_length_is_refused() {
    let good = alice().record().encoded();
    for len in 0..good.len() {
        assert_eq!(KeyRecord::parse(&good[..len]).unwrap_err(), RecordError::Truncated, "{len}");
    }
    let long = [good, [0u8].as_slice()].concat();
    assert_eq!(KeyRecord::parse(&long).unwrap_err(), RecordError::Oversized);
    assert_eq!(KeyRecord::parse(&[1; 1_173]).unwrap_err(), RecordError::Oversized);
}

#[test]
fn s3_a_record_ends_an_hour_after_its_expiry() {
    let record = KeyRecord::parse(alice().record().encoded()).unwrap();
    let last = record.expiry().after(Wall::TOLERANCE);
    assert!(record.verify(last).is_ok());
    let late = record.verify(last.after(Duration::from_secs(1)));
    assert_eq!(late, Err(RecordError::Expired));
    assert_eq!(DropReason::from(RecordError::Expired), DropReason::Expired);
}

#[test]
fn s3_a_record_signed_by_another_key_is_refused() {
    let (a, b) = (alice().record().encoded(), bob().record().encoded());
    let mut mixed = a.to_vec();
    let cut = a.len() - 256;
    mixed[cut..].copy_from_slice(&b[cut..]);
    let verdict = KeyRecord::parse(&mixed).unwrap().verify(NOW);
    assert_eq!(verdict, Err(RecordError::BadSignature));
}

#[test]
fn s3_weak_or_odd_shapes_are_refused_before_any_arithmetic() {
    let good = alice().record().encoded().to_vec();
    let modulus = 2 + 4 + 2;
    let change = |at: usize, to: u8| {
        let mut bad = good.clone();
        bad[at] = to;
        KeyRecord::parse(&bad).unwrap_err()
    };
    assert_eq!(change(0, 2), RecordError::UnknownVersion);
    assert_eq!(change(1, 0), RecordError::BadSpace);
    assert_eq!(change(1, 65), RecordError::BadSpace);
    assert_eq!(change(2, b'H'), RecordError::BadSpace);
    assert_eq!(change(modulus - 2, 0), RecordError::BadKey, "a key of no bits");
    assert_eq!(change(modulus - 2, 3), RecordError::BadKey, "a key of 6,144 bits");
    assert_eq!(change(modulus, 0x7f), RecordError::BadKey, "2,047 bits");
    assert_eq!(change(modulus + 255, 2), RecordError::BadKey, "an even modulus");
}

#[test]
fn s3_a_signature_holds_for_one_message_and_one_purpose() {
    let signature = alice().sign(Purpose::Voucher, b"let bob in");
    let record = alice().record();
    assert!(record.verify_signature(Purpose::Voucher, b"let bob in", &signature));
    assert!(!record.verify_signature(Purpose::Packet, b"let bob in", &signature));
    assert!(!record.verify_signature(Purpose::Voucher, b"let eve in", &signature));
    assert!(!record.verify_signature(Purpose::Voucher, b"let bob in", &signature[..63]));
    assert!(!bob().record().verify_signature(Purpose::Voucher, b"let bob in", &signature));
}

proptest! {
    #[test]
    fn s3_any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..1_300)) {
        let _ = KeyRecord::parse(&bytes).and_then(|r| r.verify(NOW));
    }

    #[test]
    fn s3_a_damaged_record_is_an_error(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = alice().record().encoded().to_vec();
        for (at, to) in edits {
            let at = at.index(bytes.len());
            bytes[at] ^= to.max(1);
        }
        if bytes != *alice().record().encoded() {
            prop_assert!(KeyRecord::parse(&bytes).and_then(|r| r.verify(NOW)).is_err());
        }
        let _ = KeyRecord::parse(&bytes[..cut.index(bytes.len())]);
    }
}
