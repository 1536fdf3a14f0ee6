//! What answering an open costs the switch: a datagram in, the answer out, everything on the way.
//!
//! *known*: the opener's record was seen before. *stranger*: it comes with the open, and its RSA
//! signature has to be verified. *cookie*: as when opens come in a flood; the first datagram is
//! answered with a cookie, the second brings it back, and both count. *flood*: only the first one
//! comes, as from an attacker who cannot receive. Time per open; the opener's work is not in it.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use trunkline_proto::base::{BootEpoch, Chance, Instant, Limits, LineId, Wall};
use trunkline_proto::crypto::{Capabilities, Identity, LineIds, Opener, PendingOpen, SpaceRules};
use trunkline_proto::switch::{Effect, Setting, Switch};
use trunkline_proto::wire::packet;

const WALL: Wall = Wall::from_secs(1_800_000_000);
const NOW: Instant = Instant::from_micros(1_000_000);
/// Openers; their keys are what takes the time of making this ready.
const OPENERS: u64 = 24;

fn identity(number: u64) -> Arc<Identity> {
    let space = "bench".parse().expect("a space");
    let (mut chance, life) = (Chance::from_number(number), Duration::from_secs(86_400));
    // As large as keys are where nobody says otherwise.
    let identity =
        Identity::generate(&space, Identity::DEFAULT_BITS, &mut chance, WALL, life).expect("keys");
    Arc::new(identity)
}

/// A switch that asks for cookies after so many opens a second.
fn answerer(identity: &Arc<Identity>, opens_before_cookie: u32) -> Switch {
    let limits = Limits { opens_before_cookie, opens_per_address: 1_000_000, ..Limits::default() };
    let setting = Setting {
        partition: 0,
        partitions: 1,
        space: Arc::new(SpaceRules::open(*identity.space())),
        identity: identity.clone(),
        epoch: BootEpoch(1),
        limits: Arc::new(limits),
        capabilities: Default::default(),
        anonymous: false,
        ids: LineIds::new([7; 16]),
    };
    Switch::new(setting, Chance::from_number(9))
}

/// Opens to one answerer, each newer than the last.
struct Openers {
    to: Arc<Identity>,
    all: Vec<Arc<Identity>>,
    chance: Chance,
    counter: u64,
}

impl Openers {
    fn open(&mut self, number: usize) -> (SocketAddr, PendingOpen) {
        self.counter += 1;
        let opener = Opener {
            line: LineId(self.chance.bytes()),
            epoch: BootEpoch(1),
            counter: self.counter,
            capabilities: Capabilities(0),
        };
        let (from, to) = (&self.all[number], self.to.record());
        let pending = PendingOpen::start(from, to, opener, &[], &mut self.chance).expect("an open");
        let host = u8::try_from(number).expect("few");
        (([192, 0, 2, host], 42_424).into(), pending)
    }
}

fn datagram(pending: &PendingOpen) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet::emit("{\"open\":1}", &mut bytes).expect("a packet");
    bytes.extend_from_slice(pending.body());
    bytes
}

/// What the switch answers to one datagram, and how long that took it.
#[expect(clippy::disallowed_methods, reason = "this is what measures")]
fn answer(switch: &mut Switch, from: SocketAddr, bytes: BytesMut) -> (Option<Bytes>, Duration) {
    let began = std::time::Instant::now();
    switch.datagram(NOW, WALL, from, bytes);
    let mut answer = None;
    while let Some(effect) = switch.poll() {
        match effect {
            Effect::Datagram { bytes, .. } => answer = Some(bytes),
            other => drop(black_box(other)),
        }
    }
    (answer, began.elapsed())
}

/// One open to its answer.
fn whole(switch: &mut Switch, from: SocketAddr, mut pending: PendingOpen) -> Duration {
    let (answered, mut took) = answer(switch, from, datagram(&pending));
    let body = answered.expect("an answer").slice(2 + "{\"open\":1}".len()..);
    if pending.take_cookie(&body).is_ok() {
        let (answered, more) = answer(switch, from, datagram(&pending));
        assert!(answered.is_some(), "{:?}", switch.counters());
        took += more;
    }
    took
}

fn opens(c: &mut Criterion) {
    let to = identity(1);
    let all = (0..OPENERS).map(|n| identity(100 + n)).collect();
    let mut openers = Openers { to: to.clone(), all, chance: Chance::from_number(2), counter: 0 };
    let mut group = c.benchmark_group("switch/opens answered");
    group.throughput(Throughput::Elements(1));
    for (cookies, before) in [("", u32::MAX), (", cookie", 0)] {
        let mut switch = answerer(&to, before);
        for n in 0..openers.all.len() {
            switch.learned(NOW, openers.all[n].record().clone());
        }
        group.bench_function(format!("known{cookies}"), |bench| {
            bench.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for n in 0..count {
                    let number = usize::try_from(n % OPENERS).expect("few");
                    let (from, pending) = openers.open(number);
                    took += whole(&mut switch, from, pending);
                }
                took
            });
        });
        assert!(switch.counters().opens_answered > 100, "{:?}", switch.counters());
        group.bench_function(format!("stranger{cookies}"), |bench| {
            bench.iter_custom(|count| {
                let mut took = Duration::ZERO;
                let mut switch = answerer(&to, before);
                for n in 0..count {
                    if n % OPENERS == 0 {
                        // One that has forgotten them all.
                        switch = answerer(&to, before);
                    }
                    let number = usize::try_from(n % OPENERS).expect("few");
                    let (from, pending) = openers.open(number);
                    took += whole(&mut switch, from, pending);
                }
                took
            });
        });
    }
    let mut switch = answerer(&to, 0);
    let (from, pending) = openers.open(0);
    let open = datagram(&pending);
    group.bench_function("flood", |bench| {
        bench.iter(|| {
            switch.datagram(NOW, WALL, from, open.clone());
            while let Some(effect) = switch.poll() {
                black_box(effect);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, opens);
criterion_main!(benches);
