//! Packets with JSON: anything decodes or is refused, what decodes asks for one action, another
//! reader of JSON reads the same in it, and what has a compact form, too, is the same in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value as Json;
use trunkline_proto::wire::inner::Inner;
use trunkline_proto::wire::packet::{self, MAX_JSON, MAX_KEYS, Packet, Place, Value};
use trunkline_proto::wire::stream::StreamPacket;
use trunkline_proto::wire::{package, sealed};

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(head)) = sealed::Header::parse(data) {
        assert_eq!(Some(head.emit().as_slice()), data.get(..sealed::HEADER));
    }
    let mut bytes = data.to_vec();
    let Ok(packet) = Packet::decode(&mut bytes) else { return };
    for place in [Place::Outside, Place::Line, Place::Stream] {
        let _ = packet.action(place);
    }
    assert!(packet.app_keys().count() <= MAX_KEYS);
    let json = data[2..].strip_suffix(packet.body).expect("the body ends the packet");
    assert!(json.len() <= MAX_JSON);
    read_alike(&packet, json);
    if let Ok(head) = sealed::Header::from_json(&packet) {
        let mut again = Vec::new();
        packet::emit(&head.to_json(), &mut again).expect("a header is short");
        assert_eq!(sealed::Header::from_json(&Packet::decode(&mut again).unwrap()), Ok(head));
    }
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
});

fn read_alike(packet: &Packet<'_>, json: &[u8]) {
    let object: serde_json::Map<String, Json> = serde_json::from_slice(json).expect("an object");
    for (key, theirs) in &object {
        let ours = packet.get(key).expect("no key is lost");
        match (ours, theirs) {
            (Value::Text(text), Json::String(their_text)) => assert_eq!(text, their_text),
            // -0 is a fraction to one reader and 0 to the other.
            (Value::Number(0), Json::Number(n)) if n.as_f64() == Some(0.0) => {}
            (Value::Number(n), Json::Number(_)) => assert_eq!(Some(n), theirs.as_u64()),
            (Value::Flag(flag), Json::Bool(their_flag)) => assert_eq!(flag, *their_flag),
            (Value::List(_), Json::Array(_)) => {}
            (Value::Other, _) => assert!(theirs.as_u64().is_none() && !theirs.is_string()),
            _ => panic!("{key}: {ours:?} is not {theirs}"),
        }
    }
    assert_eq!(packet.app_keys().count(), object.keys().filter(|k| k.starts_with('_')).count());
}
