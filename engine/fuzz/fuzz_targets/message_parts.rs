//! Messages in parts, of several senders at a time, in any order, with gaps, twice and with lies:
//! what arrives is whole, is what was sent, and comes at most once for each part that came.
#![no_main]

mod people;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use people::{ALICE, NOW};
use trunkline_proto::base::{Address, BootEpoch, Chance, Instant, Limits, Priority};
use trunkline_proto::crypto::{LineIds, SpaceRules};
use trunkline_proto::switch::{Effect, Setting, Switch};
use trunkline_proto::wire::package::{Code, Content, HEADER, Header, Return, Sequence};

/// So small that messages crowd each other out.
const LARGEST: usize = 2_000;
const TOGETHER: usize = 4_500;

/// How long the message of that number is, and what stands in it.
fn length(id: u8) -> u32 {
    u32::from(id % 16) * 150
}

fn byte(id: u8, at: u32) -> u8 {
    id.wrapping_mul(31).wrapping_add(u8::try_from(at % 251).unwrap())
}

fuzz_target!(|data: &[u8]| {
    let limits = Limits { message: LARGEST, assembling: TOGETHER, ..Limits::default() };
    let setting = Setting {
        partition: 0,
        partitions: 1,
        space: Arc::new(SpaceRules::open(*ALICE.space())),
        identity: Arc::clone(&ALICE),
        epoch: BootEpoch(1),
        limits: Arc::new(limits),
        capabilities: Default::default(),
        anonymous: false,
        ids: LineIds::new([1; 16]),
    };
    let mut switch = Switch::new(setting, Chance::from_number(2));
    let mut now = Instant::from_micros(1);
    let mut lied = BTreeSet::new();
    let (mut parts, mut arrived) = (0, 0);
    for part in data.chunks_exact(5) {
        let &[how, id, offset, len, lie] = part else { unreachable!("chunks of five") };
        now += Duration::from_millis(u64::from(how >> 3) * 50);
        let (mut total, offset) = (length(id), u32::from(offset) * 10);
        let len = if offset > total { 0 } else { (u32::from(len) * 5).min(total - offset) };
        let mut body: Vec<u8> = (offset..offset + len).map(|at| byte(id, at)).collect();
        if how & 4 != 0 {
            lied.insert((how & 3, id));
            match lie % 3 {
                0 => total = u32::from(lie) * 10,
                1 => total = u32::MAX - u32::from(lie),
                _ => body.push(lie),
            }
        }
        let source = Address::new([how & 3; 16]);
        let head = Header {
            priority: Priority::DEFAULT,
            reply: false,
            ttl: 1,
            content: Content::Message,
            sequence: Sequence::M,
            destination: ALICE.hashname().address(),
            source,
            message: id.into(),
            total,
            offset,
        };
        let mut frame = BytesMut::with_capacity(HEADER + body.len());
        frame.extend_from_slice(&head.emit(body.len()).unwrap());
        frame.extend_from_slice(&body);
        switch.package(now, NOW, Default::default(), frame);
        parts += 1;
        while let Some(effect) = switch.poll() {
            let message = match effect {
                Effect::Arrived(message) => message,
                // Told that it is too large.
                Effect::Package(back) => {
                    let head = Header::parse(&back).expect("its own");
                    let back = Return::parse(&back[HEADER..]).expect("a return");
                    assert_eq!((back.code, head.destination), (Code::TooLarge, source));
                    continue;
                }
                other => panic!("a part wants nothing else done: {other:?}"),
            };
            arrived += 1;
            assert!(arrived <= parts && message.payload.len() <= LARGEST);
            assert_eq!((message.from, message.id), (head.source, head.message));
            if !lied.contains(&(how & 3, id)) {
                let sent: Vec<u8> = (0..length(id)).map(|at| byte(id, at)).collect();
                assert_eq!(message.payload, sent);
            }
        }
    }
});
