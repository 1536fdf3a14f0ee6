//! What a peer may send inside a line, sealed as it must be: every packet is taken for what it
//! is, answered with no more than it brought, and what was altered or came before is nothing.
#![no_main]

mod people;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use people::{ALICE, BOB, NOW};
use trunkline_proto::base::{BootEpoch, Chance, Frame, Instant, Limits, Priority};
use trunkline_proto::crypto::{Identity, LineIds, SpaceRules};
use trunkline_proto::switch::{Effect, LineRef, Setting, State, Switch};
use trunkline_proto::wire::inner::Inner;

/// Seconds in one input at most: the keys must not die of age.
const SECONDS: u32 = 60;

struct End {
    switch: Switch,
    address: SocketAddr,
}

fn end(identity: &Arc<Identity>, number: u8) -> End {
    let setting = Setting {
        partition: 0,
        partitions: 1,
        space: Arc::new(SpaceRules::open(*identity.space())),
        identity: Arc::clone(identity),
        epoch: BootEpoch(number.into()),
        limits: Arc::new(Limits::default()),
        capabilities: Default::default(),
        anonymous: false,
        ids: LineIds::new([number; 16]),
    };
    let switch = Switch::new(setting, Chance::from_number(number.into()));
    End { switch, address: ([192, 0, 2, number], 42_424).into() }
}

impl End {
    /// What it wants done, without what it only tells of itself.
    fn effects(&mut self) -> Vec<Effect> {
        let all = std::iter::from_fn(|| self.switch.poll());
        all.filter(|e| !matches!(e, Effect::State(..) | Effect::Note(_))).collect()
    }

    fn datagrams(&mut self) -> Vec<Bytes> {
        let datagram = |effect| match effect {
            Effect::Datagram { bytes, .. } => Some(bytes),
            _ => None,
        };
        self.effects().into_iter().filter_map(datagram).collect()
    }

    fn hear(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.switch.datagram(now, NOW, from, BytesMut::from(bytes));
    }
}

/// Alice's line to Bob, confirmed.
fn connected(now: Instant) -> (End, LineRef, End) {
    let (mut alice, mut bob) = (end(&ALICE, 1), end(&BOB, 2));
    alice.switch.learned(now, BOB.record().clone());
    alice.switch.found(now, BOB.hashname(), &[bob.address], true);
    alice.switch.want(now, BOB.hashname());
    let open = alice.datagrams().remove(0);
    bob.hear(now, alice.address, &open);
    let answer = bob.datagrams().remove(0);
    alice.hear(now, bob.address, &answer);
    let (mut line, mut first) = (None, None);
    for effect in alice.effects() {
        match effect {
            Effect::LineUp { line: up, .. } => line = Some(up),
            Effect::Datagram { bytes, .. } => first = Some(bytes),
            _ => {}
        }
    }
    bob.hear(now, alice.address, &first.expect("keys are confirmed at once"));
    assert_eq!(bob.switch.counters().lines_opened, 1);
    bob.effects();
    (alice, line.expect("the line is up"), bob)
}

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::from_micros(1);
    let (mut alice, line, mut bob) = connected(now);
    let (mut seconds, mut last) = (0, Bytes::new());
    let mut rest = data;
    while let Some((len, tail)) = rest.split_first() {
        let (packet, tail) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = tail;
        match (*len, packet) {
            (0, _) if seconds < SECONDS => {
                seconds += 1;
                now += Duration::from_secs(1);
                bob.switch.handle_timeout(now, NOW);
                bob.effects();
            }
            (0, _) => {}
            // A packet that comes again, or altered: the one before it was.
            (3, &[lo, hi, change]) if !last.is_empty() => {
                let mut altered = last.to_vec();
                let at = usize::from(u16::from_le_bytes([lo, hi])) % altered.len();
                altered[at] ^= change;
                bob.hear(now, alice.address, &altered);
                assert!(bob.effects().is_empty(), "{change} at {at}");
            }
            _ => {
                alice.switch.seal(now, line, Priority::DEFAULT, Frame::copied(packet));
                last = alice.datagrams().pop().expect("keys that are a minute old still seal");
                let open = bob.switch.state(&ALICE.hashname()) == State::Connected;
                bob.hear(now, alice.address, &last);
                let effects = bob.effects();
                if open {
                    judge(packet, &effects, last.len());
                } else {
                    assert!(effects.is_empty(), "the line is closed");
                }
            }
        }
    }
});

fn judge(packet: &[u8], effects: &[Effect], brought: usize) {
    match (Inner::parse(packet), effects) {
        (Ok(Inner::Stream), [Effect::Stream { packet: passed, .. }]) => assert_eq!(passed, packet),
        (Ok(Inner::Ping(_)), [Effect::Datagram { bytes, .. }]) => assert_eq!(bytes.len(), brought),
        (Ok(Inner::Pong(_) | Inner::Tried(..)), []) => {}
        (Ok(Inner::Try(_)), [Effect::Datagram { bytes, .. }]) => assert!(bytes.len() <= brought),
        (Ok(Inner::Json), [Effect::Unhandled { packet: passed, .. }]) => assert_eq!(passed, packet),
        (Ok(Inner::Message(_)), []) => {}
        (Ok(Inner::Message(part)), [Effect::Arrived(message)]) => {
            assert_eq!((message.id, message.reply), (part.id, part.reply));
            assert_eq!(message.payload.len(), part.total as usize);
            assert!(message.sealed && message.from == ALICE.hashname().address());
        }
        (Ok(Inner::Close(_)), [others @ .., Effect::LineDown { peer, .. }, Effect::Fell { .. }]) => {
            assert_eq!(*peer, ALICE.hashname());
            // Why it closes, if it says that it stops.
            assert!(matches!(others, [] | [Effect::Fell { by: Some(_), .. }]));
        }
        (Ok(Inner::Returned(back)), [Effect::CameBack(told)]) => {
            assert_eq!((told.token.0, told.rule, told.code as u8), (back.id, back.rule, back.code));
            assert!(told.sealed && told.to == ALICE.hashname().address());
        }
        (Ok(Inner::Returned(_)), []) => {}
        // Larger than this node takes: that is told, in fewer bytes than it brought.
        (Ok(Inner::Message(_)), [Effect::Datagram { bytes, .. }]) => assert!(bytes.len() < brought),
        (Ok(Inner::Json) | Err(_), []) => {}
        (inner, effects) => panic!("{inner:?}: {effects:?}"),
    }
}
