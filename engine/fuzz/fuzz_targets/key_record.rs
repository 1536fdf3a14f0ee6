//! Any bytes are a key record or an error; a record that parses is the bytes it was read from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_proto::base::Wall;
use trunkline_proto::crypto::KeyRecord;

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = KeyRecord::parse(data) {
        assert_eq!(record.encoded(), data);
        let _ = record.hashname();
        // Nobody's key signs by chance.
        assert!(record.verify(Wall::from_secs(0)).is_err());
    }
});
