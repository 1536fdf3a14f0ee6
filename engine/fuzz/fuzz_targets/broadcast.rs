//! Broadcasts: any bytes, honest ones damaged, and damaged ones that their origin signed
//! nevertheless; read, written again, and heard by a routing that reaches the origin.
#![no_main]

mod people;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use people::{ALICE, BOB, CAROL, NOW, damaged};
use trunkline_proto::base::{
    BootEpoch, Chance, DropReason, Entrance, Instant, Limits, LinkId, Priority,
};
use trunkline_proto::crypto::{Identity, Purpose};
use trunkline_proto::mesh::{Routing, RoutingOutput};
use trunkline_proto::wire::announce::{AnnouncementHead, Draft as Word, Neighbour, Order};
use trunkline_proto::wire::broadcast::{Broadcast, Draft};
use trunkline_proto::wire::link::{Capabilities, Cost, HEADER_LEN, LinkHeader, NodeName};
use trunkline_proto::wire::package::Sequence;

/// Where the signed part begins, and bytes of the signature at the end.
const SIGNED: usize = 5;
const SIGNATURE: usize = 64;

/// Bob and Carol say that they are linked, Bob and Alice too.
static WORDS: LazyLock<[Vec<u8>; 2]> =
    LazyLock::new(|| [word(&BOB, &[&ALICE, &CAROL]), word(&CAROL, &[&BOB])]);
static HONEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let draft = Draft {
        ttl: 9,
        priority: Priority::DEFAULT,
        letters: Sequence(*b"MZ\0\0"),
        origin: CAROL.hashname().address(),
        epoch: BootEpoch(1),
        sequence: 7,
        payload: b"to all",
    };
    draft.sign(|bytes| CAROL.sign(Purpose::Broadcast, bytes)).unwrap().to_vec()
});

fn word(who: &Identity, to: &[&Identity]) -> Vec<u8> {
    let mut neighbours: Vec<Neighbour> =
        to.iter().map(|n| Neighbour { address: n.hashname().address(), cost: Cost::ONE }).collect();
    neighbours.sort_by_key(|n| n.address);
    let order = Order { serial: who.record().serial(), epoch: BootEpoch(1), sequence: 1 };
    let draft = Word {
        life_secs: 1_800,
        head: AnnouncementHead { origin: who.hashname().address(), order },
        capabilities: Capabilities(0),
        name: NodeName::default(),
        packing: Default::default(),
        record: who.record().encoded(),
        neighbours: &neighbours,
    };
    draft.sign(|bytes| who.sign(Purpose::Announcement, bytes)).unwrap().to_vec()
}

/// Alice, who reaches Carol by way of Bob.
fn alice() -> (Routing, Instant) {
    let (limits, chance) = (Limits::default(), Chance::from_number(1));
    let (name, can) = (NodeName::default(), Capabilities(0));
    let mut routing = Routing::new(Arc::clone(&ALICE), BootEpoch(1), name, can, &limits, chance);
    let mut now = Instant::from_micros(1_000_000);
    routing.link_up(now, LinkId(1), BOB.record(), BootEpoch(1), Cost::ONE).unwrap();
    for word in WORDS.iter() {
        routing.announcement(now, NOW, LinkId(1), word).unwrap();
    }
    now += Duration::from_secs(1);
    routing.handle_timeout(now, NOW);
    while routing.poll(now).is_some() {}
    assert!(routing.table().next(&CAROL.hashname().address()).is_some());
    (routing, now)
}

fuzz_target!(|data: &[u8]| {
    let (how, rest) = data.split_first().unwrap_or((&0, &[]));
    let frame = match how {
        1 => damaged(&HONEST, rest),
        2 => signed(damaged(&HONEST, rest)),
        _ => rest.to_vec(),
    };
    if let Ok(b) = Broadcast::parse(&frame) {
        let Broadcast { ttl, priority, letters, origin, epoch, sequence, payload, .. } = b;
        let again = Draft { ttl, priority, letters, origin, epoch, sequence, payload };
        if let Ok(again) = again.sign(|_| *b.signature()) {
            assert_eq!(again[HEADER_LEN..], frame[HEADER_LEN..]);
        }
    }
    let (mut routing, now) = alice();
    let heard =
        routing.hear_broadcast(now, (LinkId(1), Entrance::default()), BytesMut::from(&frame[..]));
    let honest = frame == *HONEST;
    assert!(heard.is_ok() || !honest, "what is true is heard");
    if heard.is_ok() {
        assert!(*how == 2 || frame[SIGNED..] == HONEST[SIGNED..], "nobody forges hers");
        let again = routing.hear_broadcast(
            now,
            (LinkId(1), Entrance::default()),
            BytesMut::from(&frame[..]),
        );
        assert_eq!(again, Err(DropReason::Duplicate));
    }
    let mut arrived = 0;
    while let Some(output) = routing.poll(now) {
        match output {
            RoutingOutput::Arrived(arrival) => {
                assert_eq!(arrival.origin, CAROL.hashname());
                arrived += 1;
            }
            RoutingOutput::Broadcast { .. } => panic!("there is nobody to pass it on to"),
            _ => {}
        }
    }
    assert_eq!(arrived, usize::from(heard.is_ok()));
});

/// `frame`, whatever it says, signed by Carol, with the length it has.
fn signed(mut frame: Vec<u8>) -> Vec<u8> {
    if frame.len() < SIGNED + SIGNATURE || LinkHeader::peek(&frame).is_err() {
        return frame;
    }
    frame.truncate(frame.len() - SIGNATURE);
    let signature = CAROL.sign(Purpose::Broadcast, &frame[SIGNED..]);
    frame.extend_from_slice(&signature);
    frame
}
