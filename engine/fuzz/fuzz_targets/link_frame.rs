//! Any bytes on a link, behind a damaged hello if the input wants one: cut into frames as the owner
//! of a transport does, read as every body, and taken by a session that has just begun.
#![no_main]

mod people;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use people::{ALICE, BOB, NOW, damaged};
use trunkline_proto::base::{BootEpoch, Chance, Instant, Limits, LinkId};
use trunkline_proto::crypto::SpaceRules;
use trunkline_proto::mesh::{LinkSession, LinkTerms, Side, Transport};
use trunkline_proto::wire::link::{
    Capabilities, Cost, FRAME_MAX, Goodbye, HEADER_LEN, Hello, LinkHeader, NodeName, Stamp,
};

fn bobs_hello() -> Bytes {
    let hello = Hello {
        heartbeat_ms: 250,
        cost: Cost::ONE,
        capabilities: Capabilities(0),
        epoch: BootEpoch(2),
        nonce: [7; 32],
        name: NodeName::new(b"bob").unwrap(),
        record: BOB.record().encoded(),
        voucher: &[],
    };
    hello.frame().unwrap()
}

fuzz_target!(|data: &[u8]| {
    let terms = LinkTerms {
        cost: Cost::ONE,
        name: NodeName::default(),
        capabilities: Capabilities(0),
        heartbeat: Duration::from_millis(250),
        space: Arc::new(SpaceRules::open(*ALICE.space())),
    };
    let mut session = LinkSession::new(
        Instant::ZERO,
        LinkId(1),
        Side::Accepted,
        Transport::Plain,
        Arc::clone(&ALICE),
        BootEpoch(1),
        &terms,
        &Limits::default(),
        &mut Chance::from_number(1),
    )
    .unwrap();
    let Some((edits, rest)) = data.split_first() else { return };
    let (edits, rest) = rest.split_at(rest.len().min(3 * usize::from(*edits)));
    let hello = if edits.is_empty() { Vec::new() } else { damaged(&bobs_hello(), edits) };
    let bytes = [&hello, rest].concat();
    let mut rest = bytes.as_slice();
    while let Ok(Some(header)) = LinkHeader::peek(rest) {
        assert!(header.frame_len() <= FRAME_MAX);
        assert_eq!(rest.get(..HEADER_LEN), Some(&header.emit()[..]));
        let Some(body) = rest.get(HEADER_LEN..header.frame_len()) else { break };
        if let Ok(hello) = Hello::parse(body) {
            assert_eq!(hello.frame().unwrap().get(HEADER_LEN..), Some(body));
        }
        let _ = (Goodbye::parse(body), Stamp::parse(body));
        let _ = session.handle_frame(Instant::ZERO, NOW, header.kind, body);
        rest = rest.get(header.frame_len()..).unwrap_or_default();
    }
    assert!(!session.is_up(), "nobody guesses a proof");
    assert!(std::iter::from_fn(|| session.poll()).count() <= 5);
});
