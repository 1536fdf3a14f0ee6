//! What identities, handshakes and sealed packets cost.
//!
//! `session` is paid per packet, `line_id` per packet, `open` per line and renewal, `record` per
//! stranger. Sealing is bound by the cipher from about 1 KiB up, by the call below.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use trunkline_proto::base::{BootEpoch, Chance, Instant, LineId, Space, Wall};
use trunkline_proto::crypto::{
    Answered, Capabilities, Cookies, Identity, Initiation, KeyRecord, Knock, LineIds, Opener,
    PendingOpen, Proven, Session, SessionKeys,
};

const NOW: Wall = Wall::from_secs(1_800_000_000);
const OPENER: Opener = Opener {
    line: LineId([1; 16]),
    epoch: BootEpoch(1),
    counter: 1,
    capabilities: Capabilities(0),
};

fn session(c: &mut Criterion) {
    let keys = SessionKeys::new([[1; 32], [2; 32]]);
    let end = |initiated| Session::new(&keys, initiated, Instant::ZERO).unwrap();
    let header = [0u8; 26];
    let mut group = c.benchmark_group("session");
    for size in [64usize, 300, 1_200, 16_384] {
        group.throughput(Throughput::Bytes(size as u64));
        let (mut a, mut b) = (end(true), end(false));
        let mut bytes = vec![0u8; size];
        group.bench_function(format!("seal/{size}"), |bench| {
            bench.iter(|| a.seal_in_place(&header, black_box(&mut bytes)).unwrap());
        });
        group.bench_function(format!("open/{size}"), |bench| {
            let sealed = || {
                let mut bytes = vec![0u8; size];
                let (counter, tag) = a.seal_in_place(&header, &mut bytes).unwrap();
                bytes.extend_from_slice(&tag);
                (counter, bytes)
            };
            bench.iter_batched_ref(
                sealed,
                |(counter, bytes)| b.open_in_place(*counter, &header, bytes).unwrap().len(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn line_id(c: &mut Criterion) {
    let ids = LineIds::new([7; 16]);
    let id = ids.mint(1, 2, 3);
    c.bench_function("line_id/mint", |b| b.iter(|| ids.mint(1, black_box(2), 3)));
    c.bench_function("line_id/resolve", |b| b.iter(|| ids.resolve(black_box(id))));
}

fn identity(seed: u64) -> Identity {
    let space = Space::new("bench").unwrap();
    let life = Duration::from_secs(86_400);
    Identity::generate(&space, 3_072, &mut Chance::from_number(seed), NOW, life).unwrap()
}

fn start(from: &Identity, to: &Identity, chance: &mut Chance) -> PendingOpen {
    PendingOpen::start(from, to.record(), OPENER, &[], chance).unwrap()
}

fn answer(proven: Proven) -> Answered {
    proven.answer(LineId([2; 16]), BootEpoch(2), Capabilities(0), &[], Instant::ZERO).unwrap()
}

fn open(c: &mut Criterion) {
    let (alice, bob) = (identity(1), identity(2));
    let known = Some(alice.record());
    let mut chance = Chance::from_number(3);
    let pending = start(&alice, &bob, &mut chance);
    let body = pending.body().clone();
    let read =
        |chance: &mut Chance| Initiation::read(&Knock::new(&bob, &body).unwrap(), chance).unwrap();
    let mut group = c.benchmark_group("open");
    group.bench_function("start", |b| b.iter(|| start(&alice, &bob, &mut chance)));
    group.bench_function("knock", |b| b.iter(|| Knock::new(&bob, black_box(&body)).unwrap()));
    group.bench_function("knock+read", |b| b.iter(|| read(&mut chance)));
    let mut other = Chance::from_number(4);
    for (name, known) in [("prove/stranger", None), ("prove/known", known)] {
        group.bench_function(name, |b| {
            let prove = |i: Initiation| i.prove(NOW, known).unwrap();
            b.iter_batched(|| read(&mut other), prove, BatchSize::SmallInput);
        });
    }
    group.bench_function("answer", |b| {
        let proven = || read(&mut other).prove(NOW, known).unwrap();
        b.iter_batched(proven, answer, BatchSize::SmallInput);
    });
    group.bench_function("finish", |b| {
        let both = || {
            let pending = start(&alice, &bob, &mut other);
            let knock = Knock::new(&bob, pending.body()).unwrap();
            let initiation = Initiation::read(&knock, &mut chance).unwrap();
            (answer(initiation.prove(NOW, known).unwrap()).body, pending)
        };
        b.iter_batched(
            both,
            |(body, mut pending)| pending.finish(&body, Instant::ZERO).unwrap(),
            BatchSize::SmallInput,
        );
    });
    for (name, known) in [("both ends/stranger", None), ("both ends/known", known)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut pending = start(&alice, &bob, &mut chance);
                let knock = Knock::new(&bob, pending.body()).unwrap();
                let initiation = Initiation::read(&knock, &mut other).unwrap();
                let answered = answer(initiation.prove(NOW, known).unwrap());
                (pending.finish(&answered.body, Instant::ZERO).unwrap(), answered.session)
            });
        });
    }
    group.finish();
}

fn cookies(c: &mut Criterion) {
    let (alice, bob) = (identity(1), identity(2));
    let mut chance = Chance::from_number(3);
    let mut cookies = Cookies::new(&mut chance, Instant::ZERO);
    let pending = start(&alice, &bob, &mut chance);
    let knock = Knock::new(&bob, pending.body()).unwrap();
    let path = [7u8; 18];
    c.bench_function("cookie/make", |b| {
        b.iter(|| cookies.make(Instant::ZERO, &mut chance, &knock, &path).unwrap());
    });
    c.bench_function("cookie/allow", |b| b.iter(|| cookies.allow(Instant::ZERO, &knock, &path)));
}

fn record(c: &mut Criterion) {
    let alice = identity(1);
    let encoded = Arc::clone(alice.record()).encoded().clone();
    c.bench_function("record/parse", |b| b.iter(|| KeyRecord::parse(black_box(&encoded)).unwrap()));
    c.bench_function("record/verify", |b| {
        b.iter(|| KeyRecord::parse(black_box(&encoded)).unwrap().verify(NOW).unwrap());
    });
}

criterion_group!(benches, session, line_id, open, cookies, record);
criterion_main!(benches);
