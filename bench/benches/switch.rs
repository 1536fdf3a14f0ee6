//! What a message costs the switch inside a line: sealed by one, opened by another, with what
//! stands around that: contacts, line ids, packets, effects. Nanoseconds a message of a batch.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use trunkline_proto::base::{
    BootEpoch, Chance, Hashname, Instant, Limits, Namespace, Priority, Wall,
};
use trunkline_proto::crypto::packing::head;
use trunkline_proto::crypto::{Identity, LineIds, SpaceRules};
use trunkline_proto::switch::{Effect, Outgoing, Setting, State, Switch, Token};
use trunkline_proto::wire::envelope::Envelope;
use trunkline_proto::wire::sequence::Sequence;

const WALL: Wall = Wall::from_secs(1_800_000_000);
const NOW: Instant = Instant::from_micros(1_000);
/// Messages asked for at once.
const BATCH: usize = 64;

fn switch(number: u64) -> (Arc<Identity>, Switch) {
    let mut chance = Chance::from_number(number);
    let space = "bench".parse().expect("a space");
    let life = Duration::from_secs(86_400);
    let identity = Identity::generate(&space, 2_048, &mut chance, WALL, life).expect("keys");
    let identity = Arc::new(identity);
    let setting = Setting {
        partition: 0,
        partitions: 1,
        space: Arc::new(SpaceRules::open(*identity.space())),
        identity: identity.clone(),
        epoch: BootEpoch(number),
        limits: Arc::new(Limits::default()),
        capabilities: Default::default(),
        anonymous: false,
        ids: LineIds::new([7; 16]),
    };
    (identity, Switch::new(setting, chance))
}

/// The packages a switch wants sent.
fn packages(switch: &mut Switch) -> Vec<BytesMut> {
    std::iter::from_fn(|| switch.poll())
        .filter_map(|effect| match effect {
            Effect::Package(bytes) => Some(bytes),
            _ => None,
        })
        .collect()
}

/// Two switches with a line between them, and the second one's name.
fn line() -> (Switch, Switch, Hashname) {
    let ((ours, mut a), (theirs, mut b)) = (switch(1), switch(2));
    let (us, peer) = (ours.hashname(), theirs.hashname());
    a.learned(NOW, theirs.record().clone());
    a.reachable(NOW, peer, true);
    b.reachable(NOW, us, true);
    a.want(NOW, peer);
    loop {
        let (from_a, from_b) = (packages(&mut a), packages(&mut b));
        if from_a.is_empty() && from_b.is_empty() {
            break;
        }
        from_a.into_iter().for_each(|frame| b.package(NOW, WALL, Default::default(), frame));
        from_b.into_iter().for_each(|frame| a.package(NOW, WALL, Default::default(), frame));
    }
    assert_eq!((a.state(&peer), b.state(&us)), (State::Connected, State::Connected));
    (a, b, peer)
}

/// Sends a batch of messages, with what a batch has in common written once.
fn send(a: &mut Switch, peer: Hashname, token: u64, bodies: &[Bytes]) {
    let (priority, sequence) = (Priority::DEFAULT, Sequence::MA);
    let how = Outgoing { token: Token(token), priority, reply: false, ttl: None, sequence };
    let envelope = Envelope::new(Namespace::new("load").expect("a name"), 1.into());
    a.send_sealed(NOW, peer, how, &head(sequence, &envelope), bodies);
}

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("switch/messages");
    group.throughput(Throughput::Elements(BATCH as u64));
    let (mut a, mut b, peer) = line();
    let mut token = 0;
    for size in [300, 1_200] {
        let bodies = vec![Bytes::from(vec![0x5a; size]); BATCH];
        let mut next = || {
            token += BATCH as u64;
            token
        };
        group.bench_function(format!("seal {BATCH} × {size} B"), |bench| {
            bench.iter_batched(
                &mut next,
                |token| {
                    send(&mut a, peer, token, &bodies);
                    while let Some(effect) = a.poll() {
                        black_box(effect);
                    }
                },
                BatchSize::SmallInput,
            );
        });
        // One batch at a time: the session's counters must come in order enough for its window.
        group.bench_function(format!("unseal {BATCH} × {size} B"), |bench| {
            bench.iter_batched(
                || {
                    send(&mut a, peer, next(), &bodies);
                    packages(&mut a)
                },
                |frames| {
                    frames
                        .into_iter()
                        .for_each(|frame| b.package(NOW, WALL, Default::default(), frame));
                    while let Some(effect) = b.poll() {
                        black_box(effect);
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    assert!(b.counters().unsealed > 1_000, "{:?}", b.counters());
}

criterion_group!(benches, messages);
criterion_main!(benches);
