//! An idle line costs a node at most 4 KiB: its contact, keys and streams together, as the
//! allocator of this whole program counts them.

mod counting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use counting::{Counting, held};
use trunkline_proto::base::{BootEpoch, Chance, Instant, Limits, Space, Wall};
use trunkline_proto::crypto::{Identity, LineIds, SpaceRules};
use trunkline_proto::shard::{Input, Node, Shard};
use trunkline_proto::stage::plan::Plan;
use trunkline_proto::switch::streams::StreamLimits;
use trunkline_proto::switch::{Effect, Setting, State, Switch};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WALL: Wall = Wall::from_secs(1_800_000_000);
/// Peers; their keys are what takes the time.
const PEERS: u64 = 16;
/// The first of them pay for tables and pools.
const WARM: u64 = 8;

fn identity(seed: u64) -> Arc<Identity> {
    let space = Space::new("memory").expect("a space");
    let (mut chance, life) = (Chance::from_number(seed), Duration::from_secs(86_400));
    Arc::new(Identity::generate(&space, 2_048, &mut chance, WALL, life).expect("keys"))
}

/// A peer opens a line to the node, and is gone when this returns.
fn meet(now: Instant, node: &mut Shard, own: &Arc<Identity>, number: u64) {
    let identity = identity(100 + number);
    let setting = Setting {
        partition: 0,
        partitions: 1,
        space: Arc::new(SpaceRules::open(*identity.space())),
        identity: identity.clone(),
        epoch: BootEpoch(1),
        limits: Arc::new(Limits::default()),
        capabilities: Default::default(),
        anonymous: false,
        ids: LineIds::new([1; 16]),
    };
    let mut peer = Switch::new(setting, Chance::from_number(number));
    let port = 1_000 + u16::try_from(number).expect("few");
    let (here, there): (SocketAddr, SocketAddr) =
        (([192, 0, 2, 1], 42_424).into(), ([192, 0, 2, 2], port).into());
    peer.found(now, own.hashname(), &[here], true);
    peer.learned(now, own.record().clone());
    peer.want(now, own.hashname());
    for _ in 0..4 {
        while let Some(effect) = peer.poll() {
            if let Effect::Datagram { bytes, .. } = effect {
                let bytes = BytesMut::from(&bytes[..]);
                node.handle(now, WALL, Input::Datagram { from: there, port: 0, bytes });
            }
        }
        node.flush(now, WALL);
        while node.poll().is_some() {}
        while let Some((_, d)) = node.writer().expect("a writer").next_datagram() {
            peer.datagram(now, WALL, here, BytesMut::from(&d.bytes[..]));
        }
    }
    assert_eq!(peer.state(&own.hashname()), State::Connected);
}

#[test]
fn s15_an_idle_line_costs_at_most_four_kibibytes() {
    let own = identity(1);
    let node = Node {
        plan: Plan::collapsed(1),
        space: Arc::new(SpaceRules::open(*own.space())),
        identity: own.clone(),
        epoch: BootEpoch(2),
        name: Default::default(),
        limits: Arc::new(Limits::default()),
        stream_limits: StreamLimits::default(),
        terms: Default::default(),
        messages: Default::default(),
        anonymous: false,
        gate: Arc::default(),
        line_secret: [2; 16],
    };
    let mut node = Shard::new(&node, 0, Chance::from_number(4));
    let mut now = Instant::from_micros(1_000_000);
    let mut before = 0;
    for number in 0..PEERS {
        if number == WARM {
            before = held();
        }
        now += Duration::from_millis(100);
        meet(now, &mut node, &own, number);
    }
    let lines = i64::try_from(PEERS - WARM).expect("few");
    let each = (held() - before) / lines;
    eprintln!("{each} bytes an idle line");
    // Less than the replay window and the keys would mean that nothing was counted.
    assert!((1_500..=4_096).contains(&each), "{each} bytes an idle line");
}
