//! What a packet costs in the streams of a line: from the writer's bytes to a packet, from a
//! packet to the reader's bytes, and its acknowledgement. One thread, no network, no encryption.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use trunkline_proto::base::{Instant, Priority};
use trunkline_proto::switch::streams::{
    AckSample, Congestion, Open, ReadState, Side, StreamId, StreamLimits, Streams,
};

const PACKETS: [usize; 2] = [1_150, 16_000];
/// Packets in one round of the pair.
const ROUND: usize = 32;
/// What the usual header leaves of a packet.
const HEADER: usize = 15;

/// Two ends with one stream that both know, and a window that lets a round through.
struct Pair {
    a: Streams,
    b: Streams,
    id: StreamId,
    now: Instant,
    /// How long packets travel, each way.
    way: Duration,
    /// One write: a round's worth.
    chunk: Bytes,
    out: BytesMut,
}

impl Pair {
    fn new(packet: usize) -> Self {
        Self::over(packet, Duration::from_micros(100))
    }

    fn over(packet: usize, way: Duration) -> Self {
        let mut pair = Self {
            a: Streams::new(StreamLimits::default(), Side::Even, packet),
            b: Streams::new(StreamLimits::default(), Side::Odd, packet),
            id: StreamId(0),
            now: Instant::from_micros(1_000_000),
            way,
            chunk: Bytes::from(vec![7; ROUND * (packet - HEADER)]),
            out: BytesMut::with_capacity(1 << 20),
        };
        pair.a.set_congestion(Box::new(Wide));
        pair.id = pair.a.open(Open::Generic, Priority::DEFAULT).expect("a first stream");
        for _ in 0..200 {
            pair.round();
        }
        pair
    }

    /// What `from` has to send, as packets.
    fn packets(from: &mut Streams, now: Instant, out: &mut BytesMut, into: &mut Vec<Bytes>) {
        out.reserve(20_000);
        while from.poll_transmit(now, out, usize::MAX).is_some() {
            into.push(out.split().freeze());
            out.reserve(20_000);
        }
    }

    /// Writes a round's worth, carries it over and reads it; the acknowledgements return.
    fn round(&mut self) -> usize {
        let mut packets = Vec::with_capacity(2 * ROUND);
        let _ = self.a.write(self.id, &mut self.chunk.clone());
        Self::packets(&mut self.a, self.now, &mut self.out, &mut packets);
        self.now += self.way;
        let count = packets.len();
        for packet in packets.drain(..) {
            let _ = self.b.handle_packet(self.now, packet);
        }
        while let Ok(ReadState::Data(data)) = self.b.read(self.id, usize::MAX) {
            black_box(data);
        }
        Self::packets(&mut self.b, self.now, &mut self.out, &mut packets);
        self.now += self.way;
        for packet in packets.drain(..) {
            let _ = self.a.handle_packet(self.now, packet);
        }
        while self.b.poll_event().is_some() || self.a.poll_event().is_some() {}
        count
    }
}

/// Everything of one packet, both ends and its share of the acknowledgement.
fn pair(c: &mut Criterion) {
    let mut group = c.benchmark_group("streams/pair");
    for packet in PACKETS {
        let mut pair = Pair::new(packet);
        group.throughput(Throughput::Elements(ROUND as u64));
        group.bench_function(format!("{packet}"), |b| {
            b.iter(|| assert!(pair.round() >= ROUND));
        });
    }
    // The pacer fills its bucket and holds nothing back: what it costs where there is a rate.
    let mut pair = Pair::over(1_150, Duration::from_millis(25));
    group.throughput(Throughput::Elements(ROUND as u64));
    group.bench_function("1150-paced", |b| b.iter(|| assert!(pair.round() >= ROUND)));
    group.finish();
}

/// The sender alone: cutting packets into a reused buffer.
fn transmit(c: &mut Criterion) {
    let mut group = c.benchmark_group("streams/transmit");
    for packet in PACKETS {
        group.throughput(Throughput::Elements(ROUND as u64));
        group.bench_function(format!("{packet}"), |b| {
            b.iter_batched_ref(
                || {
                    let mut pair = Pair::new(packet);
                    let _ = pair.a.write(pair.id, &mut pair.chunk.clone());
                    pair
                },
                |pair| {
                    while pair.a.poll_transmit(pair.now, &mut pair.out, usize::MAX).is_some() {
                        black_box(pair.out.len());
                        pair.out.clear();
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// The receiver alone: a round of packets in order, or with its first packet last.
fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("streams/receive");
    for (name, late) in [("in-order", false), ("first-last", true)] {
        for packet in PACKETS {
            group.throughput(Throughput::Elements(ROUND as u64));
            group.bench_function(format!("{name}/{packet}"), |b| {
                b.iter_batched_ref(
                    || {
                        let mut pair = Pair::new(packet);
                        let mut packets = Vec::new();
                        let _ = pair.a.write(pair.id, &mut pair.chunk.clone());
                        Pair::packets(&mut pair.a, pair.now, &mut pair.out, &mut packets);
                        if late {
                            packets.rotate_left(1);
                        }
                        (pair, packets)
                    },
                    |(pair, packets)| {
                        for packet in packets.drain(..) {
                            let _ = pair.b.handle_packet(pair.now, packet);
                        }
                        while let Ok(ReadState::Data(data)) = pair.b.read(pair.id, usize::MAX) {
                            black_box(data);
                        }
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

/// Acknowledgements where every tenth of a window's packets is missing: each carries as many
/// ranges as there may be.
fn acknowledge(c: &mut Criterion) {
    const WINDOW: usize = 220;
    let mut group = c.benchmark_group("streams/ack");
    group.throughput(Throughput::Elements(WINDOW as u64 * 9 / 10));
    group.bench_function("with-gaps", |b| {
        b.iter_batched_ref(
            || {
                let mut pair = Pair::new(1_150);
                let mut packets = Vec::new();
                let _ = pair.a.write(pair.id, &mut Bytes::from(vec![7; WINDOW * (1_150 - HEADER)]));
                Pair::packets(&mut pair.a, pair.now, &mut pair.out, &mut packets);
                let mut acks = Vec::new();
                pair.now += Duration::from_micros(100);
                for (i, packet) in packets.into_iter().enumerate().filter(|(i, _)| i % 10 != 0) {
                    let _ = pair.b.handle_packet(pair.now, packet);
                    Pair::packets(&mut pair.b, pair.now, &mut pair.out, &mut acks);
                    black_box(i);
                }
                (pair, acks)
            },
            |(pair, acks)| {
                for ack in acks.drain(..) {
                    let _ = pair.a.handle_packet(pair.now, ack);
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// A window that holds nothing back.
#[derive(Debug)]
struct Wide;

impl Congestion for Wide {
    fn window(&self) -> u64 {
        4 << 20
    }
    fn on_ack(&mut self, _: &AckSample) {}
    fn on_loss(&mut self, _: Instant) {}
    fn on_false_loss(&mut self) {}
    fn on_stall(&mut self, _: Instant) {}
    fn on_resume(&mut self, _: Instant, _: Duration) {}
    fn set_packet(&mut self, _: u64) {}
    fn reset(&mut self, _: Instant) {}
}

criterion_group!(benches, pair, transmit, receive, acknowledge);
criterion_main!(benches);
