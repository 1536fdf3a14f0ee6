//! What forwarding costs in our own code, without sockets: nanoseconds a frame.
//!
//! `forward/shard` is everything from a read to the pieces of a write: frames told apart, looked
//! up, queued by priority, gathered. The others are its parts, and what a node does with packages
//! of its own.

use std::hint::black_box;
use std::io::IoSlice;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use trunkline_bench::relay::{Relay, frames, frames_from};
use trunkline_proto::base::{Instant, Lane, Limits, Priority};
use trunkline_proto::stage::outgoing::{Outgoing, Run};
use trunkline_proto::wire::package::{Header, Transit};
use trunkline_proto::wire::packet::{self, Packet};

/// Frames in a batch.
const BATCH: u16 = 64;

fn shard(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward/shard");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    let mut relay = Relay::new(100);
    for size in [300, 1_200] {
        for destinations in [1, 100] {
            let batch = frames(BATCH, size, destinations);
            group.bench_function(format!("{BATCH} × {size} B to {destinations}"), |b| {
                b.iter(|| {
                    relay.read(&batch);
                    relay.write(|piece| {
                        black_box(piece);
                    })
                });
            });
        }
    }
    let one = frames(1, 300, 1);
    group.throughput(Throughput::Elements(1));
    group.bench_function("1 × 300 B", |b| {
        b.iter(|| {
            relay.read(&one);
            relay.write(|piece| {
                black_box(piece);
            })
        });
    });
    group.finish();
}

/// The same work while there is more around it: links to choose from, nodes to look up.
fn flat(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward/flat");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    for (links, nodes) in
        [(1, 10), (1, 100), (1, 1_000), (1, 10_000), (10, 10_000), (100, 10_000), (1_000, 10_000)]
    {
        let mut relay = Relay::between(links, nodes);
        // Spread over all nodes, a few at a time as neighbours send them.
        let batches: Vec<_> = (0..64).map(|n| frames_from(n * 157, BATCH, 300, nodes)).collect();
        let mut turn = batches.iter().cycle();
        group.bench_function(format!("{BATCH} × 300 B, {links} links, {nodes} nodes"), |b| {
            b.iter(|| {
                relay.read(turn.next().expect("a cycle"));
                relay.write(|piece| {
                    black_box(piece);
                })
            });
        });
    }
    group.finish();
}

fn headers(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward/headers");
    let frame = frames(1, 300, 1);
    group.bench_function("peek", |b| b.iter(|| Transit::peek(black_box(&frame))));
    group.bench_function("parse", |b| b.iter(|| Header::parse(black_box(&frame))));
    let header = Header::parse(&frame).expect("our own frame");
    group.bench_function("emit", |b| b.iter(|| black_box(&header).emit(300)));
    let mut open = BytesMut::new();
    packet::emit("{\"open\":1}", &mut open).expect("a short packet");
    open.resize(open.len() + 600, 0x5a);
    group.bench_function("decode an open packet", |b| {
        b.iter_batched_ref(
            || open.clone(),
            |bytes| Packet::decode(bytes).is_ok(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn lanes(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward/lanes");
    let frame = frames(1, 300, 1);
    let (mut outgoing, now) = (Outgoing::new(&Limits::default()), Instant::ZERO);
    let priorities: Vec<Lane> = (0..8).map(|p| Lane::Data(Priority::from_low_bits(p))).collect();
    for (name, lanes) in [("one priority", &priorities[3..4]), ("all priorities", &priorities)] {
        group.throughput(Throughput::Elements(u64::from(BATCH)));
        group.bench_function(format!("push, gather, consume {BATCH}, {name}"), |b| {
            b.iter(|| {
                for lane in lanes.iter().cycle().take(usize::from(BATCH)) {
                    outgoing.push(now, *lane, Run::one(frame.clone()), |_, _| {});
                }
                let mut slices = [IoSlice::new(&[]); BATCH as usize];
                let used = outgoing.gather(1 << 20, &mut slices);
                let taken = slices[..used].iter().map(|s| s.len()).sum();
                outgoing.consume(now, taken);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, shard, flat, headers, lanes);
criterion_main!(benches);
