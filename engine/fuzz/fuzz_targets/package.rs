//! Packages: what decodes is written back as it was, and sealed ones split in place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_proto::wire::package::{Header, Return, Transit, split_sealed};

fuzz_target!(|data: &[u8]| {
    let transit = Transit::peek(data);
    if let Ok(header) = Header::parse(data) {
        assert!(transit.is_ok());
        let emitted = header.emit(0).expect("an empty body fits");
        assert_eq!(Header::parse(&emitted), Ok(header));
    }
    if let Ok(back) = Return::parse(data) {
        assert_eq!(Return::parse(&back.emit()), Ok(back));
    }
    let _ = split_sealed(&mut data.to_vec());
});
