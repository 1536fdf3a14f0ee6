//! Any body of an `open` is refused or read, outside of the seal and inside of it.
#![no_main]

mod people;

use libfuzzer_sys::fuzz_target;
use people::{ALICE, BOB, NOW, damaged, initiation};
use trunkline_proto::base::Chance;
use trunkline_proto::crypto::{Initiation, Knock, voucher};

fuzz_target!(|data: &[u8]| {
    assert!(Knock::new(&BOB, data).is_err(), "mac1 is not guessed");
    let mut chance = Chance::from_number(3);
    // Whole payloads, and payloads that damage an honest one, first byte deciding.
    let mut payload = [[0; 21].as_slice(), ALICE.record().encoded()].concat();
    match data.split_first() {
        Some((0, rest)) => payload = rest[..rest.len().min(1_283)].to_vec(),
        Some((_, edits)) => payload = damaged(&payload, edits),
        None => {}
    }
    // A voucher may stand before the record, and is not looked into here.
    let voucher = usize::from(payload.get(20).copied().unwrap_or(0));
    let honest = voucher <= voucher::LEN
        && payload.get(21 + voucher..) == Some(ALICE.record().encoded());
    let body = initiation(&payload);
    let read = Knock::new(&BOB, &body).and_then(|knock| Initiation::read(&knock, &mut chance));
    let proven = read.and_then(|initiation| initiation.prove(NOW, None));
    assert_eq!(proven.is_ok(), honest);
});
