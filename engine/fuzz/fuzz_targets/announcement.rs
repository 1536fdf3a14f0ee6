//! Announcements and digests: any bytes, honest ones damaged, and damaged ones that their origin
//! signed nevertheless; read, and taken by a routing with one link.
#![no_main]

mod people;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use people::{ALICE, BOB, CAROL, NOW, damaged};
use trunkline_proto::base::{BootEpoch, Chance, Instant, Limits, LinkId};
use trunkline_proto::crypto::{Identity, Purpose};
use trunkline_proto::mesh::{Routing, RoutingOutput};
use trunkline_proto::wire::announce::{
    Announcement, AnnouncementHead, Digest, DigestWriter, Draft, Neighbour, Order,
    announcement_frame,
};
use trunkline_proto::wire::link::{ANNOUNCEMENT_FRAME_MAX, Capabilities, Cost, HEADER_LEN, NodeName};

/// Bytes of the age, which is not signed, and of the signature at the end.
const AGE: usize = 2;
const SIGNATURE: usize = 64;

/// What Carol says to her neighbours, and what a copy of Alice might say.
static WORDS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| [word(&CAROL), word(&ALICE)]);

fn word(who: &Identity) -> Vec<u8> {
    let origin = who.hashname().address();
    let addresses = [&ALICE, &BOB, &CAROL].map(|n| n.hashname().address());
    let others = addresses.into_iter().filter(|address| *address != origin);
    let mut neighbours: Vec<Neighbour> =
        others.map(|address| Neighbour { address, cost: Cost::ONE }).collect();
    neighbours.sort_by_key(|n| n.address);
    let order = Order { serial: who.record().serial(), epoch: BootEpoch(1), sequence: 1 };
    let draft = Draft {
        life_secs: 1_800,
        head: AnnouncementHead { origin, order },
        capabilities: Capabilities(0),
        packing: Default::default(),
        name: NodeName::new(b"a name").unwrap(),
        record: who.record().encoded(),
        neighbours: &neighbours,
    };
    draft.sign(|bytes| who.sign(Purpose::Announcement, bytes)).unwrap().to_vec()
}

fuzz_target!(|data: &[u8]| {
    let (how, rest) = data.split_first().unwrap_or((&0, &[]));
    let body = match how {
        1 | 2 => damaged(&WORDS[usize::from(*how) - 1], rest),
        3 => signed(&CAROL, damaged(&WORDS[0], rest)),
        4 => signed(&ALICE, damaged(&WORDS[1], rest)),
        _ => rest.to_vec(),
    };
    if let Ok(said) = Announcement::parse(&body) {
        assert_eq!(AnnouncementHead::peek(&body), Ok(said.head));
        assert!(said.neighbours().count() * 20 < body.len());
        let older = announcement_frame(&body, 9).unwrap();
        let again = Announcement::parse(&older[HEADER_LEN..]).unwrap();
        assert_eq!((again.age_secs, again.signed()), (9, said.signed()));
    }
    if let Ok(digest) = Digest::parse(&body) {
        let mut writer = DigestWriter::new(digest.first);
        digest.entries().for_each(|e| writer.push(e));
        assert_eq!(writer.frame(digest.last).unwrap()[HEADER_LEN..], body);
    }

    let (limits, chance) = (Limits::default(), Chance::from_number(1));
    let (name, can) = (NodeName::default(), Capabilities(0));
    let mut routing = Routing::new(Arc::clone(&ALICE), BootEpoch(1), name, can, &limits, chance);
    let mut now = Instant::from_micros(1_000_000);
    routing.link_up(now, LinkId(1), BOB.record(), BootEpoch(1), Cost::ONE).unwrap();
    let taken = routing.announcement(now, NOW, LinkId(1), &body);
    let _ = routing.digest(now, LinkId(1), &body);
    let honest = body == WORDS[0];
    assert!(taken.is_ok() || !honest, "what is true is believed");
    for node in routing.nodes(now).filter(|n| n.hashname != ALICE.hashname()) {
        assert_eq!(node.hashname, CAROL.hashname(), "nobody else has a word here");
        assert!(*how == 3 || body[AGE..] == WORDS[0][AGE..], "nobody forges hers");
        assert_eq!(Ok(node.order), Announcement::parse(&body).map(|said| said.head.order));
    }
    for _ in 0..5 {
        now += Duration::from_secs(1);
        routing.handle_timeout(now, NOW);
        while let Some(output) = routing.poll(now) {
            match output {
                RoutingOutput::Flood { frame, .. } => assert!(frame.len() <= ANNOUNCEMENT_FRAME_MAX),
                RoutingOutput::Cloned(who) => assert!(*how == 4 && who == ALICE.hashname()),
                RoutingOutput::Superseded(_) => panic!("there is no later record"),
                _ => {}
            }
        }
    }
});

/// `body`, whatever it says, signed by `who`.
fn signed(who: &Identity, mut body: Vec<u8>) -> Vec<u8> {
    body.truncate(body.len() - SIGNATURE);
    let signature = who.sign(Purpose::Announcement, &body[AGE..]);
    body.extend_from_slice(&signature);
    body
}
