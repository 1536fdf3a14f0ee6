//! Packed bodies: whatever comes is unpacked within the cap or refused, and what is packed by any
//! sequence comes out as it went in, altered bodies never as something else under their seal's
//! letters.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use trunkline_proto::crypto::packing::choice::{Wishes, choose};
use trunkline_proto::crypto::packing::{Came, Registry};
use trunkline_proto::wire::envelope::Envelope;
use trunkline_proto::wire::sequence::{PackTerms, Sequence};

/// The most a body may unpack to.
const MOST: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let registry = Registry::standard();
    let Some((&[a, b, c, d], rest)) = data.split_first_chunk() else { return };
    let letters = Sequence([a, b, c, d]);
    // As it comes from the network, in a line and out of it.
    for came in [Came::Sealed, Came::Plain(letters)] {
        let body = Bytes::copy_from_slice(rest);
        if let Ok((sequence, out)) = registry.unpack(body, came, MOST) {
            assert!(out.len() <= MOST);
            assert_eq!(sequence.is_sealed(), came == Came::Sealed);
            assert_eq!(registry.judge(sequence), Ok(sequence));
        }
    }
    // As a node would send it, if it could.
    let terms = PackTerms { builders: registry.letters(), ..PackTerms::BASIC };
    let wishes = Wishes { envelope: Some(letters), receiver: terms, ..Wishes::default() };
    let Ok(sequence) = choose(&registry, &wishes) else { return };
    let Ok((envelope, head)) = Envelope::parse(rest) else { return };
    let record = Bytes::copy_from_slice(rest.get(head..).unwrap_or_default());
    let packed = registry.pack(sequence, &envelope, &record);
    let body: Bytes = [&packed.head[..], &packed.body[..]].concat().into();
    let sealed = packed.sequence.is_sealed();
    let came = if sealed { Came::Sealed } else { Came::Plain(packed.sequence) };
    let (read, out) = registry.unpack(body, came, 2 * MOST).expect("our own");
    assert_eq!(read, packed.sequence);
    let (again, at) = Envelope::parse(&out).expect("our own");
    assert_eq!((again, out.slice(at..)), (envelope, record));
});
