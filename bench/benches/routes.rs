//! The mesh: computing routes, looking them up, and judging announcements.
//!
//! Graphs hang together by a random tree and have four links a node, as 10,000 nodes with
//! 40,000 links; costs are 1 to 100.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use trunkline_proto::base::{
    Address, BootEpoch, Chance, Entrance, Hashname, Instant, Limits, LinkId, Priority, Space, Wall,
};
use trunkline_proto::crypto::{Identity, KeyRecord, Purpose};
use trunkline_proto::mesh::{LocalLink, Planner, RouteTable, Routing, Word};
use trunkline_proto::wire::announce::{Announcement, AnnouncementHead, Draft, Neighbour, Order};
use trunkline_proto::wire::broadcast;
use trunkline_proto::wire::link::{Capabilities, Cost, NodeName};
use trunkline_proto::wire::package::Sequence;

const WALL: Wall = Wall::from_secs(1_800_000_000);

struct Graph {
    me: Hashname,
    links: Vec<LocalLink>,
    words: Vec<(Hashname, Vec<Neighbour>)>,
}

impl Graph {
    fn new(nodes: usize) -> Self {
        let mut chance = Chance::from_number(nodes as u64);
        let mut names: Vec<Hashname> = (0..nodes).map(|_| Hashname::new(chance.bytes())).collect();
        names.sort_unstable();
        let mut rows: Vec<Vec<Neighbour>> = vec![vec![]; nodes];
        let mut join = |a: usize, b: usize, chance: &mut Chance| {
            let known =
                |row: &[Neighbour], h: Hashname| row.iter().any(|n| n.address == h.address());
            if a == b || known(&rows[a], names[b]) {
                return;
            }
            for (from, to) in [(a, b), (b, a)] {
                let cost = Cost::new(1 + u32::try_from(chance.below(100)).unwrap()).unwrap();
                rows[from].push(Neighbour { address: names[to].address(), cost });
            }
        };
        let below =
            |n: usize, chance: &mut Chance| usize::try_from(chance.below(n as u64)).unwrap();
        for n in 1..nodes {
            join(n, below(n, &mut chance), &mut chance);
        }
        for _ in 0..nodes * 3 {
            join(below(nodes, &mut chance), below(nodes, &mut chance), &mut chance);
        }
        let mut words: Vec<_> = names.into_iter().zip(rows).collect();
        words.iter_mut().for_each(|w| w.1.sort_by_key(|n| n.address));
        let me = words[0].0;
        let named = |a: Address| words.iter().find(|w| w.0.address() == a).unwrap().0;
        let links = (0u32..)
            .zip(&words[0].1)
            .map(|(id, n)| {
                let (link, peer) = (LinkId(id), named(n.address));
                LocalLink { link, peer, cost: n.cost, proved: true }
            })
            .collect();
        Self { me, links, words }
    }

    fn table(&self, planner: &mut Planner) -> RouteTable {
        let words =
            self.words.iter().map(|(hashname, n)| Word { hashname: *hashname, neighbours: n });
        planner.compute(1, self.me, &self.links, words)
    }
}

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("routes");
    for nodes in [100, 1_000, 10_000] {
        let (graph, mut planner) = (Graph::new(nodes), Planner::default());
        let table = graph.table(&mut planner);
        assert_eq!(table.reachable().count(), nodes - 1);
        group.bench_function(BenchmarkId::new("compute", nodes), |b| {
            b.iter(|| black_box(graph.table(&mut planner)));
        });
        one_link(&mut group, nodes, Graph::new(nodes));
        let mut chance = Chance::from_number(1);
        let addresses: Vec<Address> = (0..4_096)
            .map(|_| graph.words[usize::try_from(chance.below(nodes as u64)).unwrap()].0.address())
            .collect();
        let mut at = 0;
        group.bench_function(BenchmarkId::new("lookup", nodes), |b| {
            b.iter(|| {
                at = (at + 1) % addresses.len();
                black_box(table.next(&addresses[at]))
            });
        });
    }
    group.finish();
}

/// A link that is there or not, at random, told by both ends; and one that costs ever more, told by
/// one. In between the tables compare as the routing compares them.
fn one_link(group: &mut BenchmarkGroup<'_, WallTime>, nodes: usize, mut graph: Graph) {
    let mut planner = Planner::default();
    let mut former = graph.table(&mut planner);
    let mut chance = Chance::from_number(2);
    let mut gone: Option<(usize, usize, [Neighbour; 2])> = None;
    let mut draw = move || usize::try_from(chance.below(nodes as u64 - 1)).unwrap() + 1;
    let mut update = |graph: &Graph, ends: &[usize]| {
        let words = ends.iter().map(|at| {
            let (hashname, neighbours) = &graph.words[*at];
            Word { hashname: *hashname, neighbours }
        });
        let table = planner.update(1, graph.me, &graph.links, words).unwrap();
        let told = (table.same_routes(&former), table.changes_since(&former));
        former = table;
        told
    };
    group.bench_function(BenchmarkId::new("one link gone or back", nodes), |b| {
        b.iter(|| {
            let (a, z) = if let Some((a, z, said)) = gone.take() {
                for (at, said) in [(a, said[0]), (z, said[1])] {
                    graph.words[at].1.push(said);
                    graph.words[at].1.sort_by_key(|n| n.address);
                }
                (a, z)
            } else {
                let a = draw();
                let to = graph.words[a].1[draw() % graph.words[a].1.len()];
                let z = graph.words.binary_search_by(|w| w.0.address().cmp(&to.address)).unwrap();
                let us = graph.words[a].0.address();
                let back = *graph.words[z].1.iter().find(|n| n.address == us).unwrap();
                graph.words[a].1.retain(|n| n.address != to.address);
                graph.words[z].1.retain(|n| n.address != us);
                gone = Some((a, z, [to, back]));
                (a, z)
            };
            black_box(update(&graph, &[a, z]))
        });
    });
    group.bench_function(BenchmarkId::new("one cost changed", nodes), |b| {
        b.iter(|| {
            let a = draw();
            let row = &mut graph.words[a].1;
            let at = draw() % row.len().max(1);
            if let Some(n) = row.get_mut(at) {
                n.cost = Cost::new(1 + (n.cost.get() * 7 + 13) % 100).unwrap();
            }
            black_box(update(&graph, &[a]))
        });
    });
}

fn member(seed: u64) -> Arc<Identity> {
    let (space, mut chance) = (Space::new("bench").unwrap(), Chance::from_number(seed));
    let life = Duration::from_secs(86_400);
    Arc::new(Identity::generate(&space, 3_072, &mut chance, WALL, life).unwrap())
}

fn word(who: &Identity, sequence: u64) -> Vec<u8> {
    word_to(who, sequence, &[1, 2, 3, 4, 5, 6, 7, 8].map(|n| Address::new([n; 16])))
}

fn word_to(who: &Identity, sequence: u64, to: &[Address]) -> Vec<u8> {
    let one = |address: &Address| Neighbour { address: *address, cost: Cost::ONE };
    let neighbours: Vec<Neighbour> = to.iter().map(one).collect();
    let order = Order { serial: who.record().serial(), epoch: BootEpoch(1), sequence };
    let draft = Draft {
        life_secs: 1_800,
        head: AnnouncementHead { origin: who.hashname().address(), order },
        capabilities: Capabilities(0),
        packing: Default::default(),
        name: NodeName::default(),
        record: who.record().encoded(),
        neighbours: &neighbours,
    };
    draft.sign(|bytes| who.sign(Purpose::Announcement, bytes)).unwrap().to_vec()
}

fn announcements(c: &mut Criterion) {
    let mut group = c.benchmark_group("announcement");
    let (origin, peer) = (member(1), member(2));
    let body = word(&origin, 1);
    let record = origin.record();
    group.bench_function("decode", |b| b.iter(|| black_box(Announcement::parse(&body))));
    group.bench_function("decode and verify, record known", |b| {
        b.iter(|| {
            let said = Announcement::parse(&body).unwrap();
            let known = record.encoded()[..] == *said.record;
            assert!(
                known
                    && record.verify_signature(
                        Purpose::Announcement,
                        said.signed(),
                        said.signature()
                    )
            );
        });
    });
    group.bench_function("decode and verify, record new", |b| {
        b.iter(|| {
            let said = Announcement::parse(&body).unwrap();
            let record = KeyRecord::parse(said.record).unwrap().verify(WALL).unwrap();
            assert!(record.verify_signature(
                Purpose::Announcement,
                said.signed(),
                said.signature()
            ));
        });
    });
    group.finish();
    flood(c, &member(3), &origin, &peer);
}

/// A second of 100,000 announcements from one neighbour, a millisecond at a time.
fn flood(c: &mut Criterion, me: &Arc<Identity>, origin: &Identity, peer: &Identity) {
    let mut group = c.benchmark_group("flood of 100,000");
    group.sample_size(10).throughput(Throughput::Elements(100_000));
    let genuine = word(origin, 1);
    let forged = |n: u32| {
        let mut body = genuine.clone();
        body[40..44].copy_from_slice(&n.to_be_bytes());
        body[8..12].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
        body
    };
    let forgeries: Vec<Vec<u8>> = (0..1_000).map(forged).collect();
    let copies = vec![genuine.clone()];
    let newer: Vec<Vec<u8>> = (0..1_000).map(|n| word(origin, n)).collect();
    for (what, bodies) in [("copies", copies), ("forgeries", forgeries), ("one busy origin", newer)]
    {
        let start = || {
            let (limits, chance) = (Limits::default(), Chance::from_number(1));
            let (name, can) = (NodeName::default(), Capabilities(0));
            let mut r = Routing::new(Arc::clone(me), BootEpoch(1), name, can, &limits, chance);
            let now = Instant::from_micros(1_000_000);
            r.link_up(now, LinkId(1), peer.record(), BootEpoch(1), Cost::ONE).unwrap();
            r
        };
        group.bench_function(what, |b| {
            b.iter_batched(
                start,
                |mut r| {
                    let mut bodies = bodies.iter().cycle();
                    for ms in 0..1_000 {
                        let now = Instant::from_micros(1_000_000 + ms * 1_000);
                        for body in bodies.by_ref().take(100) {
                            let _ = r.announcement(now, WALL, LinkId(1), body);
                        }
                        r.handle_timeout(now, WALL);
                        while r.poll(now).is_some() {}
                    }
                    r
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// A broadcast of 300 bytes heard, verified and passed on to three neighbours; and a copy of it.
fn broadcasts(c: &mut Criterion) {
    let mut group = c.benchmark_group("broadcast");
    let me = member(3);
    let peers = [1, 4, 5, 6].map(member);
    let origin = &peers[0];
    let body = word_to(origin, 1, &[me.hashname().address()]);
    let start = || {
        let (limits, chance) = (Limits::default(), Chance::from_number(1));
        let (name, can) = (NodeName::default(), Capabilities(0));
        let mut r = Routing::new(Arc::clone(&me), BootEpoch(1), name, can, &limits, chance);
        let mut now = Instant::from_micros(1_000_000);
        for (link, peer) in (0..).zip(&peers) {
            r.link_up(now, LinkId(link), peer.record(), BootEpoch(1), Cost::ONE).unwrap();
        }
        r.announcement(now, WALL, LinkId(0), &body).unwrap();
        now += Duration::from_secs(1);
        r.handle_timeout(now, WALL);
        while r.poll(now).is_some() {}
        (r, now)
    };
    let payload = [7; 300];
    let frames: Vec<_> = (1..=4_096)
        .map(|sequence| {
            let draft = broadcast::Draft {
                ttl: 16,
                priority: Priority::DEFAULT,
                letters: Sequence::M,
                origin: origin.hashname().address(),
                epoch: BootEpoch(1),
                sequence,
                payload: &payload,
            };
            draft.sign(|bytes| origin.sign(Purpose::Broadcast, bytes)).unwrap()
        })
        .collect();
    let (mut n, (mut r, mut now)) = (0, start());
    group.bench_function("heard and passed on to three", |b| {
        b.iter(|| {
            if n == frames.len() {
                (n, (r, now)) = (0, start());
            }
            now += Duration::from_millis(20);
            r.hear_broadcast(now, (LinkId(0), Entrance::default()), BytesMut::from(&frames[n][..]))
                .unwrap();
            n += 1;
            while let Some(output) = r.poll(now) {
                black_box(output);
            }
        });
    });
    let (mut r, now) = start();
    r.hear_broadcast(now, (LinkId(0), Entrance::default()), BytesMut::from(&frames[0][..]))
        .unwrap();
    group.bench_function("a copy", |b| {
        b.iter(|| {
            let copy = BytesMut::from(&frames[0][..]);
            assert!(
                black_box(r.hear_broadcast(now, (LinkId(1), Entrance::default()), copy)).is_err()
            );
        });
    });
    group.finish();
}

criterion_group!(benches, routes, announcements, broadcasts);
criterion_main!(benches);
