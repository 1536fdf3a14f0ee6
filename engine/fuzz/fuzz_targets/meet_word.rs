//! The packets by which hashnames find each other, and what carries others over a relay: what
//! decodes is written back to something that decodes to the same, within the same bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_proto::wire::bridged::{HEADER, Header};
use trunkline_proto::wire::meet::{ADDRESSES, NEAR, PART, PARTS, Word};
use trunkline_proto::wire::packet::Packet;

fn read(bytes: &[u8]) -> Option<Word> {
    let mut bytes = bytes.to_vec();
    Word::from_json(&Packet::decode(&mut bytes).ok()?).ok()
}

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(head)) = Header::parse(data) {
        assert_eq!(head.emit()[..], data[..HEADER]);
    }
    let Some(word) = read(data) else { return };
    match &word {
        Word::See { near, .. } => assert!(near.len() <= NEAR),
        Word::Pop { at, .. } | Word::Popping { at, .. } | Word::Popped { at, .. } => {
            assert!(at.len() <= ADDRESSES);
        }
        Word::Key { part: Ok((seq, of, bytes)), .. } => {
            assert!(seq < of && *of <= PARTS && bytes.len() <= PART);
        }
        _ => {}
    }
    assert_eq!(read(&word.emit()), Some(word));
});
