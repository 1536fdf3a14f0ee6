//! What it costs to pass an item to another thread. The yardsticks: a bare `ArrayQueue` of two
//! spinning threads takes some 20 ns an item, a wake-up some 6 µs.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use trunkline::runtime::mailbox::{Lane, Mailbox, Receiver, Sender, Wake};

/// A waker that costs nothing, to see what the protocol around it costs.
struct Silent;

impl Wake for Silent {
    fn wake(&self) {}
}

const CAPACITY: usize = 4096;

fn mailbox() -> (Sender<u64>, Receiver<u64>) {
    Mailbox::new(CAPACITY, CAPACITY, Silent)
}

fn same_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("mailbox/same thread");
    group.throughput(Throughput::Elements(1));
    let (sender, mut receiver) = mailbox();
    group.bench_function("push and pop, receiver awake", |b| {
        b.iter(|| {
            let _ = sender.push(Lane::Ordinary, black_box(7));
            receiver.pop()
        });
    });
    group.bench_function("push and pop, receiver asleep", |b| {
        b.iter(|| {
            let asleep = receiver.prepare_sleep();
            let _ = sender.push(Lane::Ordinary, black_box(7));
            (asleep, receiver.pop())
        });
    });
    group.throughput(Throughput::Elements(32));
    let mut items = VecDeque::with_capacity(32);
    group.bench_function("32 pushed at once and popped", |b| {
        b.iter(|| {
            items.extend(0..32);
            sender.push_all(Lane::Ordinary, &mut items);
            while receiver.pop().is_some() {}
        });
    });
    group.finish();
}

/// Sends `items` from one thread to another, both spinning, `batch` at a time.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn cross(items: u64, batch: u64) -> Duration {
    let (sender, mut receiver) = mailbox();
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut waiting = VecDeque::new();
            let mut next = 0;
            while next < items || !waiting.is_empty() {
                if waiting.is_empty() {
                    let end = (next + batch).min(items);
                    waiting.extend(next..end);
                    next = end;
                }
                if sender.push_all(Lane::Ordinary, &mut waiting) == 0 {
                    std::hint::spin_loop();
                }
            }
        });
        let mut got = 0;
        while got < items {
            match receiver.pop() {
                Some(item) => got += u64::from(black_box(item) < items),
                None => std::hint::spin_loop(),
            }
        }
    });
    start.elapsed()
}

fn crossing(c: &mut Criterion) {
    let mut group = c.benchmark_group("mailbox/two threads");
    group.throughput(Throughput::Elements(1));
    for batch in [1, 32] {
        group.bench_function(format!("crossing, {batch} at a time"), |b| {
            b.iter_custom(|items| cross(items, batch));
        });
    }
    group.finish();
}

criterion_group!(benches, same_thread, crossing);
criterion_main!(benches);
