//! The owner's side: making, keeping, renewing.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::{LIFE, NOW, alice, bob};
use crate::base::{Chance, Space};
use crate::crypto::identity::IdentityError;
use crate::crypto::{Identity, KeyFileError, KeyRecord, Purpose};

#[test]
fn s5_the_same_seed_makes_the_same_identity() {
    let space = Space::new("home").unwrap();
    let again =
        Identity::generate(&space, 2_048, &mut Chance::from_number(0xa11ce), NOW, LIFE).unwrap();
    assert_eq!(again.record(), alice().record());
    assert_eq!(again.to_text().unwrap(), alice().to_text().unwrap());
    assert_eq!(again.line_secret(), alice().line_secret());
    assert_ne!(bob().hashname(), alice().hashname());
}

#[test]
fn s5_weak_oversized_and_uneven_keys_are_not_made() {
    let space = Space::new("home").unwrap();
    for bits in [0, 1_024, 2_040, 2_049, 3_001, 4_104, usize::MAX] {
        let made = Identity::generate(&space, bits, &mut Chance::from_number(1), NOW, LIFE);
        assert_eq!(made.unwrap_err(), IdentityError::KeySize, "{bits}");
    }
}

#[test]
fn s5_an_identity_reads_back_from_its_text() {
    let text = alice().to_text().unwrap();
    let read = Identity::from_text(&text).unwrap();
    assert_eq!(read.record(), alice().record());
    assert_eq!(read.line_secret(), alice().line_secret());
    assert_eq!(read.sign(Purpose::Link, b"x"), alice().sign(Purpose::Link, b"x"));
    assert!(Identity::from_text(&format!("a note\n{}\nanother", text.as_str())).is_ok());
    assert!(text.len() < 8 * 1_024);
}

#[test]
fn s5_renewing_keeps_the_hashname_and_replaces_the_working_keys() {
    let later = NOW.after(LIFE);
    let next = alice().renew(&mut Chance::from_number(9), later, LIFE).unwrap();
    assert_eq!(next.hashname(), alice().hashname());
    assert_eq!(next.record().serial(), 2);
    assert_eq!(next.record().expiry(), later.after(LIFE));
    assert_ne!(next.record().line_key(), alice().record().line_key());
    assert_ne!(next.record().signing_key(), alice().record().signing_key());
    assert!(KeyRecord::parse(next.record().encoded()).unwrap().verify(later).is_ok());
}

#[test]
fn s5_a_wrong_key_file_says_what_is_wrong() {
    let (a, b) = (alice().to_text().unwrap(), bob().to_text().unwrap());
    let error = |text: &str| Identity::from_text(text).unwrap_err();
    assert_eq!(error(""), KeyFileError::Missing("PRIVATE KEY"));
    assert_eq!(error(&"x".repeat(40_000)), KeyFileError::TooLarge);
    assert_eq!(error(&a.repeat(2)), KeyFileError::Twice("PRIVATE KEY"));
    let cut = a.find("-----BEGIN TRUNKLINE KEY RECORD").unwrap();
    assert_eq!(error(&a[..cut]), KeyFileError::Missing("TRUNKLINE KEY RECORD"));
    let foreign = [&a[..cut], &b[b.find("-----BEGIN TRUNKLINE KEY RECORD").unwrap()..]].concat();
    assert_eq!(error(&foreign), KeyFileError::Identity(IdentityError::Mismatch));
    let begin = a.find("-----BEGIN TRUNKLINE WORKING KEYS-----\n").unwrap() + 39;
    let mut bad = a.to_string();
    bad.replace_range(begin..begin + 4, "!!!!");
    assert_eq!(error(&bad), KeyFileError::Damaged("TRUNKLINE WORKING KEYS"));
    bad.replace_range(begin..begin + 4, "");
    assert_eq!(error(&bad), KeyFileError::Damaged("TRUNKLINE WORKING KEYS"));
}

#[test]
fn n17_the_signing_key_serves_tls_as_pkcs8() {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&alice().signing_pkcs8()).unwrap();
    assert_eq!(pair.public_key().as_ref(), alice().record().signing_key());
}
