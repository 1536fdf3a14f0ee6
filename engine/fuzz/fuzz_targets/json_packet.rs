//! Packets with JSON: anything decodes or is refused, and what decodes asks for one action.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_proto::wire::packet::{Packet, Place};
use trunkline_proto::wire::sealed;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    let _ = sealed::Header::parse(&bytes);
    if let Ok(packet) = Packet::decode(&mut bytes) {
        for place in [Place::Outside, Place::Line, Place::Stream] {
            let _ = packet.action(place);
        }
        let _ = sealed::Header::from_json(&packet);
        assert!(packet.app_keys().count() <= 64);
    }
});
