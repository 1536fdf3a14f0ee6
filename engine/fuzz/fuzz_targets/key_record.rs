//! Any bytes, or a damaged record, are a key record or an error; a record that parses is the
//! bytes it was read from, and only the honest one is true.
#![no_main]

mod people;

use libfuzzer_sys::fuzz_target;
use people::{ALICE, NOW, damaged};
use trunkline_proto::crypto::KeyRecord;

fuzz_target!(|data: &[u8]| {
    let honest = ALICE.record().encoded();
    let bytes = match data.split_first() {
        Some((0, rest)) => rest.to_vec(),
        Some((_, edits)) => damaged(honest, edits),
        None => return,
    };
    if let Ok(record) = KeyRecord::parse(&bytes) {
        assert_eq!(record.encoded(), bytes);
        let same = record.hashname() == ALICE.hashname();
        // Nobody's key signs by chance.
        let verified = record.verify(NOW);
        assert_eq!(verified.is_ok(), bytes == **honest);
        assert!(verified.is_err() || same);
    }
});
