//! What bringing hashnames together costs a node: a seek answered, a step of a search, a tick of
//! the mesh's upkeep, with the lines a node aims at and with ten times as many.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use trunkline_proto::base::{Chance, Hashname, Instant};
use trunkline_proto::switch::meet::{Host, Meeting, Order, Terms};
use trunkline_proto::switch::{Introduction, Note, Path, Token};
use trunkline_proto::wire::meet::{NEAR, Near, Word};
use trunkline_proto::wire::packet::Packet;

const START: Instant = Instant::from_micros(1);

/// A node with so many lines to as many networks.
fn meeting(lines: u32) -> (Meeting, Chance, Vec<(Hashname, Path)>) {
    let mut chance = Chance::from_number(1);
    let us = Hashname::new(chance.bytes());
    let host = Host { us, papers: Bytes::from_static(&[0; 1_000]), partitions: 1 };
    let terms = Terms { spacer: true, ..Terms::default() };
    let mut meeting = Meeting::new(host, terms, chance.fork());
    let peers: Vec<_> = (0..lines)
        .map(|n| {
            let [_, a, b, c] = n.to_be_bytes();
            let at = SocketAddr::from(([20 + a, b, c, 1], 42_424));
            (Hashname::new(chance.bytes()), Path::Direct(at))
        })
        .collect();
    for (peer, path) in &peers {
        meeting.note(START, Note::Line { peer: *peer, path: Some(*path), spacer: true });
    }
    while meeting.poll().is_some() {}
    (meeting, chance, peers)
}

fn costs(c: &mut Criterion) {
    let mut group = c.benchmark_group("meet");
    for lines in [200, 2_000] {
        let (mut node, mut chance, peers) = meeting(lines);
        let (peer, path) = peers[0];
        let mut now = START;
        group.bench_function(format!("seek answered/{lines} lines"), |b| {
            b.iter(|| {
                // Within the rate of one peer.
                now += Duration::from_millis(20);
                let seek = Word::Seek { id: 1, to: Hashname::new(chance.bytes()), via: None };
                node.note(now, Note::Heard { peer, path, packet: seek.emit() });
                while let Some(order) = node.poll() {
                    black_box(order);
                }
            });
        });
        let (mut node, mut chance, peers) = meeting(lines);
        let mut now = START;
        group.bench_function(format!("search of eight answers/{lines} lines"), |b| {
            b.iter(|| search(&mut node, &mut chance, &peers, &mut now));
        });
        let (mut node, _, peers) = meeting(lines);
        let mut now = START;
        group.bench_function(format!("tick/{lines} lines"), |b| {
            b.iter(|| {
                now += Duration::from_secs(25);
                node.handle_timeout(now);
                node.note(now, Note::Active(peers.iter().map(|(who, _)| (*who, now)).collect()));
                while let Some(order) = node.poll() {
                    black_box(order);
                }
            });
        });
    }
    group.finish();
}

/// A look-up whose every question is answered with eight lines there are.
fn search(node: &mut Meeting, chance: &mut Chance, peers: &[(Hashname, Path)], now: &mut Instant) {
    *now += Duration::from_millis(1);
    node.nearest(*now, Token(1), Hashname::new(chance.bytes()));
    let near: Vec<Near> =
        peers.iter().take(NEAR).map(|(who, _)| Near { who: *who, at: None }).collect();
    while let Some(order) = node.poll() {
        match order {
            Order::To(peer, Introduction::Say { packet, .. }) => {
                let mut bytes = packet.to_vec();
                let word = Packet::decode(&mut bytes).and_then(|p| Word::from_json(&p));
                if let Ok(Word::Seek { id, .. }) = word {
                    let packet = Word::See { id, near: near.clone() }.emit();
                    let path = Path::Mesh;
                    node.note(*now, Note::Heard { peer, path, packet });
                }
            }
            Order::Nearest(..) => return,
            _ => {}
        }
    }
}

criterion_group!(benches, costs);
criterion_main!(benches);
