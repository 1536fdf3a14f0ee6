//! Packets with JSON: anything decodes or is refused, what decodes asks for one action, and what
//! has a compact form, too, is the same in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_proto::wire::inner::Inner;
use trunkline_proto::wire::packet::{Packet, Place};
use trunkline_proto::wire::stream::StreamPacket;
use trunkline_proto::wire::{package, sealed};

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    let _ = sealed::Header::parse(&bytes);
    if let Ok(packet) = Packet::decode(&mut bytes) {
        for place in [Place::Outside, Place::Line, Place::Stream] {
            let _ = packet.action(place);
        }
        let _ = sealed::Header::from_json(&packet);
        let _ = Inner::from_json(&packet);
        if let Ok(stream) = StreamPacket::from_json(&packet) {
            let mut compact = Vec::new();
            stream.emit(&mut compact);
            assert!(compact.len() < data.len(), "nobody gains by JSON");
            assert_eq!(StreamPacket::decode(&compact), Ok(stream));
        }
        if let Ok(header) = package::Header::from_json(&packet) {
            assert_eq!(package::Header::parse(&header.emit(0).unwrap()), Ok(header));
        }
        assert!(packet.app_keys().count() <= 64);
    }
});
