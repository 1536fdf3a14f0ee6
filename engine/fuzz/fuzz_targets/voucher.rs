//! Any bytes, or a damaged voucher, are a voucher or an error; only the honest one is true, and a
//! closed space lets in by it and by nothing else.
#![no_main]

mod people;

use libfuzzer_sys::fuzz_target;
use people::{ALICE, BOB, CAROL, NOW, damaged};
use trunkline_proto::base::Wall;
use trunkline_proto::crypto::{Flags, SpaceRules, voucher};

fuzz_target!(|data: &[u8]| {
    let end = Wall::from_secs(NOW.as_secs() + 86_400);
    let honest = voucher::issue(&BOB, &ALICE.hashname(), Flags::PROXY, end);
    let bytes = match data.split_first() {
        Some((0, rest)) => rest.to_vec(),
        Some((_, edits)) => damaged(&honest, edits),
        None => return,
    };
    let same = bytes == honest;
    if let Ok(claim) = voucher::parse(&bytes) {
        assert_eq!(bytes.len(), voucher::LEN);
        // Nobody's key signs by chance.
        assert_eq!(claim.verify(&ALICE.hashname(), BOB.record(), NOW).is_ok(), same);
        assert!(claim.verify(&CAROL.hashname(), BOB.record(), NOW).is_err());
        assert!(claim.verify(&ALICE.hashname(), ALICE.record(), NOW).is_err());
    }
    let rules = SpaceRules::closed(*BOB.space(), [BOB.hashname()]);
    assert!(rules.admits(ALICE.record(), &bytes, NOW).is_err(), "Bob's record is not known yet");
    rules.learned(BOB.record());
    let admitted = rules.admits(ALICE.record(), &bytes, NOW);
    assert_eq!(admitted.is_ok(), same);
    if let Ok(admission) = admitted {
        assert_eq!((admission.flags, admission.until), (Flags::PROXY, Some(end)));
    }
    assert!(rules.admits(CAROL.record(), &bytes, NOW).is_err());
});
