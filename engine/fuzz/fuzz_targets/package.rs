//! Packages: what decodes is written back as it was, a hop reads what the receiver reads and
//! changes the TTL alone, and sealed ones split in place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_proto::base::Priority;
use trunkline_proto::wire::package::{
    HEADER, Header, Return, Transit, associated_data, spend_hop, split_sealed,
};

/// Where the TTL of a package stands.
const TTL: usize = 5;

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = Header::parse(data) {
        let transit = Transit::peek(data).expect("a hop reads what its receiver reads");
        assert_eq!(transit.destination, header.destination.as_bytes());
        assert_eq!(
            (transit.ttl, Priority::from_low_bits(transit.lane)),
            (header.ttl, header.priority)
        );
        let emitted = header.emit(0).expect("an empty body fits");
        assert_eq!(Header::parse(&emitted), Ok(header));
        let mut onward = data.to_vec();
        spend_hop(&mut onward);
        assert_eq!(onward[TTL], data[TTL].saturating_sub(1));
        onward[TTL] = data[TTL];
        assert_eq!(onward, data);
    }
    if let Ok(back) = Return::parse(data) {
        assert_eq!(Some(back.emit().as_slice()), data.get(..Return::LEN));
    }
    let mut frame = data.to_vec();
    if let Some((beside, line, sealed)) = split_sealed(&mut frame) {
        let (head, rest) = data.split_first_chunk::<HEADER>().expect("it was split behind it");
        assert_eq!(beside, associated_data(head, line));
        assert_eq!([&line.0, &*sealed].concat(), rest);
    }
});
