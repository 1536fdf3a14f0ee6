//! Any bytes as an announcement and as a digest: read, and taken by a routing with one link.
#![no_main]

mod people;

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use people::{ALICE, BOB, NOW};
use trunkline_proto::base::{BootEpoch, Chance, Instant, Limits, LinkId};
use trunkline_proto::mesh::Routing;
use trunkline_proto::wire::announce::{
    Announcement, AnnouncementHead, Digest, DigestWriter, announcement_frame,
};
use trunkline_proto::wire::link::{Capabilities, Cost, HEADER_LEN, NodeName};

fuzz_target!(|data: &[u8]| {
    if let Ok(said) = Announcement::parse(data) {
        assert_eq!(AnnouncementHead::peek(data), Ok(said.head));
        assert!(said.neighbours().count() <= 255);
        let older = announcement_frame(data, 9).unwrap();
        let again = Announcement::parse(&older[HEADER_LEN..]).unwrap();
        assert_eq!((again.age_secs, again.signed()), (9, said.signed()));
    }
    if let Ok(digest) = Digest::parse(data) {
        let mut writer = DigestWriter::new(digest.first);
        digest.entries().for_each(|e| writer.push(e));
        assert_eq!(&writer.frame(digest.last).unwrap()[HEADER_LEN..], data);
    }
    let (limits, chance) = (Limits::default(), Chance::from_number(1));
    let (name, can) = (NodeName::default(), Capabilities(0));
    let mut routing = Routing::new(Arc::clone(&ALICE), BootEpoch(1), name, can, &limits, chance);
    let now = Instant::from_micros(1_000_000);
    routing.link_up(now, LinkId(1), BOB.record(), BootEpoch(1), Cost::ONE).unwrap();
    let _ = routing.announcement(now, NOW, LinkId(1), data);
    let _ = routing.digest(now, LinkId(1), data);
    routing.handle_timeout(now + Duration::from_secs(5), NOW);
    assert!(routing.nodes(now).all(|n| n.hashname == ALICE.hashname()), "nobody forges a word");
});
