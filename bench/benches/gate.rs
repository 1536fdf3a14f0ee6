//! The gatekeeper: what judging a message costs as rules grow, for the first rule, the last one and
//! none at all.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trunkline_bench::rules::{about, gate as gate_of};

fn gate(c: &mut Criterion) {
    let mut group = c.benchmark_group("gate");
    group.throughput(Throughput::Elements(1));
    for rules in [10, 1_000, 10_000] {
        let mut gate = gate_of(rules);
        for (name, n) in [("first", 0), ("last", rules - 1), ("none", rules + 1)] {
            let question = about(n);
            let expected = if n < rules { u16::try_from(n).unwrap() + 1 } else { 0 };
            assert_eq!(gate.judge(&question).rule, expected, "{name} of {rules}");
            group.bench_function(BenchmarkId::new(name, rules), |b| {
                b.iter(|| gate.judge(black_box(&question)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, gate);
criterion_main!(benches);
