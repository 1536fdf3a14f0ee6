//! What a message costs the switch inside a line: sealed by one, opened by another, with what
//! stands around that: contacts, line ids, packets, effects. Nanoseconds a message of a batch.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use trunkline_bench::pair::Pair;

/// Messages asked for at once.
const BATCH: usize = 64;

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("switch/messages");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut pair = Pair::new();
    for size in [300, 1_200] {
        let bodies = vec![Bytes::from(vec![0x5a; size]); BATCH];
        group.bench_function(format!("seal {BATCH} × {size} B"), |bench| {
            bench.iter(|| {
                pair.send(&bodies);
                while let Some(effect) = pair.poll() {
                    black_box(effect);
                }
            });
        });
        // In a cell, as criterion makes one batch ready while it may hold the last one's result.
        let pair = std::cell::RefCell::new(&mut pair);
        group.bench_function(format!("unseal {BATCH} × {size} B"), |bench| {
            bench.iter_batched(
                || {
                    let mut pair = pair.borrow_mut();
                    pair.send(&bodies);
                    pair.packages()
                },
                |frames| {
                    pair.borrow_mut().take(frames, |effect| {
                        black_box(effect);
                    });
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    assert!(pair.unsealed() > 1_000);
}

criterion_group!(benches, messages);
criterion_main!(benches);
