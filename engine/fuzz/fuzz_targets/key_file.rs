//! A key file, whole or damaged: it makes the identity that was written, or none.
#![no_main]

mod edits;
mod people;

use libfuzzer_sys::fuzz_target;
use people::{ALICE, ALICE_TEXT};
use trunkline_proto::crypto::{Identity, Purpose};

fuzz_target!(|data: &[u8]| {
    let Some(text) = edits::text_of(ALICE_TEXT, data) else { return };
    let Ok(read) = Identity::from_text(&text) else { return };
    assert_eq!((read.record(), read.line_secret()), (ALICE.record(), ALICE.line_secret()));
    let signature = read.sign(Purpose::Link, b"a word");
    assert!(ALICE.record().verify_signature(Purpose::Link, b"a word", &signature));
    let written = read.to_text().unwrap();
    assert_eq!(*written, *ALICE.to_text().unwrap(), "and the RSA key is the same");
});
