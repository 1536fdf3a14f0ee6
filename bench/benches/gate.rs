//! The gatekeeper: what judging a message costs as rules grow, for the first rule, the last one and
//! none at all.
//!
//! The rules are of four shapes, as in the guide: record and namespace, record and sender, a prefix
//! of namespaces at a port, a sender at a port.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trunkline_proto::base::{Address, Chance, Namespace, RecordId};
use trunkline_proto::gate::{Action, Entrance, Gate, NamePattern, Question, Rule, Rules};

fn node(n: u64) -> Address {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Address::new(bytes)
}

fn rule(n: u64) -> Rule {
    let namespace = NamePattern::Exact(Namespace::new(&format!("shop.orders-{n}")).unwrap());
    let prefix = format!("shop-{n}.*").parse().unwrap();
    let record = Some(RecordId::Integer(n));
    let (port, action) = (Some(22_000), Action::Allow);
    let all = Rule { action, ..Rule::default() };
    match n % 4 {
        0 => Rule { record, namespace: Some(namespace), ..all },
        1 => Rule { record, sender: Some(node(n)), ..all },
        2 => Rule { port, namespace: Some(prefix), ..all },
        _ => Rule { port, sender: Some(node(n)), ..all },
    }
}

/// A message that rule `n` is about, and no other.
fn about(n: u64) -> Question {
    Question {
        entrance: Entrance { port: Some(22_000), neighbour: Some(node(u64::MAX)) },
        record: RecordId::Integer(n),
        namespace: Namespace::new(&match n % 4 {
            2 => format!("shop-{n}.orders"),
            _ => format!("shop.orders-{n}"),
        })
        .unwrap(),
        sender: node(n),
        proved: true,
    }
}

fn gate(c: &mut Criterion) {
    let mut group = c.benchmark_group("gate");
    group.throughput(Throughput::Elements(1));
    for rules in [10, 1_000, 10_000] {
        let list = (0..rules).map(rule).collect();
        let chance = &mut Chance::from_number(rules);
        let compiled = Rules::new(list, Action::Refuse, false, chance).unwrap();
        let mut gate = Gate::new(Arc::new(compiled));
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
