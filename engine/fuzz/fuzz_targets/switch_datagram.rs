//! A whole switch under datagrams from anywhere: nothing it was not asked for is sent, and
//! nothing larger than what came.
#![no_main]

mod people;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use people::{ALICE, BOB, NOW, damaged, initiation};
use trunkline_proto::base::{BootEpoch, Chance, Instant, Limits};
use trunkline_proto::crypto::{LineIds, SpaceRules};
use trunkline_proto::switch::{Effect, Setting, Switch};

fuzz_target!(|data: &[u8]| {
    // The bytes as they are, or an open that is damaged only where the seals do not show it, to a
    // node that is calm or to one that asks for cookies.
    let (mode, rest) = data.split_first().unwrap_or((&0, &[]));
    let (opens, busy) = (mode & 1 != 0, mode & 2 != 0);
    let honest = [[0; 21].as_slice(), ALICE.record().encoded()].concat();
    let payload = damaged(&honest, rest);
    let open = || [b"\0\x0a{\"open\":1}", initiation(&payload).as_slice()].concat();
    let datagram = if opens { open() } else { rest.to_vec() };

    let opens_before_cookie = if busy { 0 } else { 10 };
    let setting = Setting {
        partition: 0,
        partitions: 1,
        space: Arc::new(SpaceRules::open(*BOB.space())),
        identity: Arc::clone(&BOB),
        epoch: BootEpoch(1),
        limits: Arc::new(Limits { opens_before_cookie, ..Limits::default() }),
        capabilities: Default::default(),
        anonymous: false,
        ids: LineIds::new([1; 16]),
    };
    let mut switch = Switch::new(setting, Chance::from_number(2));
    let now = Instant::from_micros(1);
    let from = ([192, 0, 2, 1], 9).into();
    switch.datagram(now, NOW, from, datagram.as_slice().into());
    let (mut sent, mut answers) = (0, 0);
    while let Some(effect) = switch.poll() {
        let Effect::Datagram { to, bytes, .. } = effect else { continue };
        assert_eq!(to, from, "nobody else is bothered");
        sent += bytes.len();
        answers += 1;
    }
    assert!(sent <= datagram.len(), "{sent} bytes for {}", datagram.len());
    // The first 20 bytes are numbers, all of which are fine but an open counter of 0.
    let proven = payload.get(20..) == honest.get(20..);
    assert!(answers <= usize::from(opens && (busy || proven)));
    assert_eq!(switch.counters().cookies, u64::from(opens && busy));
    assert_eq!(switch.counters().lines_opened, 0, "nobody sent a packet of a line yet");
});
