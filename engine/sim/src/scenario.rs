//! What a seed stands for: who there is, how they are connected, and what happens when.
//!
//! Drawn as a whole before the world begins, so that it can be shown, and so that nothing that
//! happens changes what is to happen.
//!
//! ```text
//!   0 ───── start ──────────────────── healed ────────────────────────── end
//!     links    streams, messages, pings,  every fault undone; every pair must
//!     come up  faults, attacks            meet again, and what is sent must arrive
//! ```

mod acts;

use core::num::NonZeroU64;
use core::time::Duration;

use trunkline_proto::base::{Chance, Instant, Limits, Priority};
use trunkline_proto::stage::plan::Plan;
use trunkline_proto::switch::streams::StreamLimits;

use crate::draw::{Draw, ms, secs};
use crate::emulator::Conditions;
use crate::people::PEOPLE;

/// How hard the world is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// Delays, and nothing else goes wrong: everything must arrive.
    Calm,
    /// Datagrams are lost, doubled, delayed and damaged; links and nodes stand.
    Lossy,
    /// Everything goes wrong, and somebody wants it to.
    Rough,
}

/// A link that the nodes at its ends are configured to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    /// The node that dials and the node that is dialled.
    pub(crate) ends: [usize; 2],
    /// What sending costs each of them.
    pub(crate) costs: [u32; 2],
    /// Whether the transport proves the neighbour's key, as TLS does.
    pub(crate) tls: bool,
    /// What the wire does.
    pub(crate) conditions: Conditions,
    /// Bytes the sender's and receiver's kernel hold together.
    pub(crate) window: usize,
}

/// One ordered stream there and one back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamSpec {
    /// Who opens it.
    pub(crate) from: usize,
    /// To whom.
    pub(crate) to: usize,
    /// How urgent.
    pub(crate) priority: Priority,
    /// Bytes the opener writes.
    pub(crate) there: u64,
    /// Bytes the other writes.
    pub(crate) back: u64,
    /// Reads a little at a time.
    pub(crate) slow: bool,
    /// The opener gives up after having written or read so much.
    pub(crate) reset_after: Option<u64>,
    /// Opened when nothing goes wrong any more: must end in order.
    pub(crate) after_heal: bool,
}

/// Something asked of the switch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskSpec {
    /// Who asks.
    pub(crate) from: usize,
    /// About whom.
    pub(crate) to: usize,
    /// How urgently.
    pub(crate) priority: Priority,
    /// What.
    pub(crate) what: AskKind,
    /// Asked when nothing goes wrong any more.
    pub(crate) after_heal: bool,
}

/// Something said to all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SaySpec {
    /// Who says it.
    pub(crate) from: usize,
    /// How urgently.
    pub(crate) priority: Priority,
    /// Bytes of it.
    pub(crate) length: usize,
    /// Said when nothing goes wrong any more: everybody must hear it.
    pub(crate) after_heal: bool,
}

/// The questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AskKind {
    /// Round trip inside a line.
    Ping(usize),
    /// Delivery of so many bytes, sealed or not.
    Message(usize, bool),
    /// The same, and so many bytes as an answer.
    Request(usize, bool),
    /// How far a package with so many hops comes.
    Probe(u8),
}

/// Something that goes wrong, or right again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A link is cut without a word.
    Cut(usize),
    /// It carries again.
    Heal(usize),
    /// Other conditions on a link.
    Change(usize, Conditions),
    /// Datagrams between two nodes vanish, both ways.
    Block(usize, usize),
    /// They arrive again.
    Unblock(usize, usize),
    /// The nodes whose bits are set cannot be reached by the others in any way.
    Split(u32),
    /// They can again.
    Join(u32),
    /// A process dies.
    Crash(usize),
    /// A process ends in order: it says goodbye and stops.
    Stop(usize),
    /// It is started again.
    Start(usize),
    /// One thread of a node gets no time for so long.
    Stall(usize, Duration),
    /// A node stops reading what a link brings, for so long.
    Deafen(usize, Duration),
}

/// What somebody hostile does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attack {
    /// Bytes that mean nothing, as a datagram.
    Noise,
    /// A datagram seen before, as it was.
    Replay,
    /// A datagram seen before, somewhat different.
    Flip,
    /// The beginning of a datagram seen before.
    Cutoff,
    /// A sealed package seen before, over a link.
    ReplayPackage,
    /// A package seen before, somewhat different, over a link.
    FlipPackage,
    /// An announcement seen before, over a link.
    ReplayAnnouncement,
    /// An announcement seen before, somewhat different, over a link.
    FlipAnnouncement,
    /// A broadcast seen before, over a link.
    ReplayBroadcast,
    /// A broadcast seen before, somewhat different, over a link.
    FlipBroadcast,
    /// A connection that says nothing.
    SilentLink,
    /// A connection that brings noise.
    NoisyLink,
    /// A connection that brings what another one brought.
    ReplayLink,
}

/// An entry of the scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// The stream of this number.
    Stream(usize),
    /// The question of this number.
    Ask(usize),
    /// The broadcast of this number.
    Say(usize),
    /// Something goes wrong, or right again.
    Fault(Fault),
    /// Somebody is hostile to a node.
    Attack(Attack, usize),
    /// Nothing goes wrong from now on.
    Healed,
}

/// Everything a seed stands for.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) mood: Mood,
    /// Who each node is, and who does what in it.
    pub(crate) nodes: Vec<(usize, Plan)>,
    pub(crate) edges: Vec<Edge>,
    /// Who knows whose record and address from the beginning.
    pub(crate) known: Vec<(usize, usize)>,
    /// A node that meshes and carries for others, and to which all others keep a line, if any.
    pub(crate) introducer: Option<usize>,
    /// What UDP does, from each node.
    pub(crate) udp: Vec<Conditions>,
    pub(crate) limits: Limits,
    pub(crate) stream_limits: StreamLimits,
    /// Letters a mailbox holds, urgent and others.
    pub(crate) mailbox: (usize, usize),
    /// The longest a thread takes to wake up.
    pub(crate) sleepy: Duration,
    pub(crate) streams: Vec<StreamSpec>,
    pub(crate) asks: Vec<AskSpec>,
    pub(crate) says: Vec<SaySpec>,
    pub(crate) acts: Vec<(Instant, Act)>,
    /// From here on nothing goes wrong.
    pub(crate) healed: Instant,
    pub(crate) end: Instant,
}

/// Nodes get their own addresses; port 42424 as everywhere.
pub(crate) fn address_of(node: usize) -> std::net::SocketAddr {
    ([10, 0, 0, u8::try_from(node).unwrap_or(99)], 42_424).into()
}

/// The node that has this address.
pub(crate) fn node_at(address: std::net::SocketAddr) -> Option<usize> {
    (0..PEOPLE).find(|n| address_of(*n) == address)
}

impl Scenario {
    /// What `seed` stands for.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut chance = Chance::from_number(seed);
        let mood = match chance.below(100) {
            0..15 => Mood::Calm,
            15..30 => Mood::Lossy,
            _ => Mood::Rough,
        };
        let nodes = nodes(&mut chance);
        let islander = mood != Mood::Calm && chance.percent(15);
        let linked = nodes.len() - usize::from(islander);
        let edges = edges(&mut chance, linked);
        let mut known = Vec::new();
        let share = chance.pick(&[0, 20, 50, 100]);
        for a in 0..nodes.len() {
            for b in 0..nodes.len() {
                let island = a.max(b) >= linked;
                if a != b && (island || chance.percent(share)) {
                    known.push((a, b));
                }
            }
        }
        let introducer = chance.percent(40).then(|| chance.index(nodes.len()));
        for guest in (0..nodes.len()).filter(|_| introducer.is_some()) {
            let pair = (guest, introducer.unwrap_or(guest));
            if pair.0 != pair.1 && !known.contains(&pair) {
                known.push(pair);
            }
        }
        let udp = nodes.iter().map(|_| udp(&mut chance, mood)).collect();
        let start = Instant::ZERO + chance.time(secs(2), secs(4));
        let trouble = chance.time(secs(8), secs(22));
        let healed = start + trouble;
        let mut scenario = Self {
            mood,
            limits: limits(&mut chance, mood),
            stream_limits: StreamLimits::default(),
            mailbox: mailbox(&mut chance, mood),
            sleepy: chance.pick(&[Duration::ZERO, Duration::from_micros(50), ms(1), ms(5)]),
            nodes,
            edges,
            known,
            introducer,
            udp,
            streams: Vec::new(),
            asks: Vec::new(),
            says: Vec::new(),
            acts: Vec::new(),
            healed,
            end: healed + secs(60),
        };
        scenario.plan_work(&mut chance, start);
        if mood == Mood::Rough {
            scenario.plan_faults(&mut chance, start);
            scenario.plan_attacks(&mut chance);
        }
        // Of another source, so that the rest of a seed's world is what it was without them.
        scenario.plan_says(&mut Chance::from_number(!seed), start);
        scenario.acts.push((healed, Act::Healed));
        scenario.acts.sort_by_key(|(at, _)| *at);
        scenario
    }

    /// Whether the two can ever talk: linked through the mesh, or one knows the other's address.
    pub(crate) fn can_meet(&self, a: usize, b: usize) -> bool {
        (self.is_linked(a) && self.is_linked(b)) || self.known.contains(&(a, b))
    }

    /// Whether a node is part of the mesh.
    pub(crate) fn is_linked(&self, node: usize) -> bool {
        self.edges.iter().any(|e| e.ends.contains(&node))
    }
}

fn nodes(chance: &mut Chance) -> Vec<(usize, Plan)> {
    let count = chance.span(3, 8);
    let first = chance.index(PEOPLE);
    let plans =
        [Plan::collapsed(1), Plan::collapsed(1), Plan::collapsed(2), Plan::spread(2, 2, 1, 2)];
    (0..usize::try_from(count).unwrap_or(3))
        .map(|n| ((first + n) % PEOPLE, chance.pick(&plans)))
        .collect()
}

/// A line, a ring, a star, or a tree with some more links; all of it hangs together.
fn edges(chance: &mut Chance, nodes: usize) -> Vec<Edge> {
    let mut pairs: Vec<(usize, usize)> = match chance.below(4) {
        0 => (1..nodes).map(|n| (n - 1, n)).collect(),
        1 => (0..nodes).map(|n| (n, (n + 1) % nodes)).collect(),
        2 => (1..nodes).map(|n| (0, n)).collect(),
        _ => {
            let mut pairs: Vec<_> = (1..nodes).map(|n| (chance.index(n), n)).collect();
            for _ in 0..nodes {
                let (a, b) = (chance.index(nodes), chance.index(nodes));
                pairs.push((a.min(b), a.max(b)));
            }
            pairs
        }
    };
    let order = |(a, b): (usize, usize)| (a.min(b), a.max(b));
    pairs = pairs.into_iter().map(order).filter(|(a, b)| a != b).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs.into_iter().map(|pair| edge(chance, pair)).collect()
}

fn edge(chance: &mut Chance, (a, b): (usize, usize)) -> Edge {
    let ends = if chance.percent(50) { [a, b] } else { [b, a] };
    let mut cost = || u32::try_from(chance.span(1, 20)).unwrap_or(1);
    let costs = [cost(), cost()];
    Edge {
        ends,
        costs,
        tls: chance.percent(70),
        conditions: wire(chance),
        window: usize::try_from(chance.pick(&[16u64 << 10, 64 << 10, 256 << 10])).unwrap_or(0),
    }
}

/// What a link's wire does: it is TCP's, so nothing is lost, only late.
pub(crate) fn wire(chance: &mut Chance) -> Conditions {
    let rate = chance.pick(&[None, NonZeroU64::new(12_500_000), NonZeroU64::new(1_250_000)]);
    Conditions {
        delay: chance.time(Duration::from_micros(50), ms(40)),
        jitter: chance.time(Duration::ZERO, ms(10)),
        rate_bytes_per_s: rate,
        queue_bytes: usize::MAX >> 1,
        ..Conditions::default()
    }
}

fn udp(chance: &mut Chance, mood: Mood) -> Conditions {
    let calm = Conditions {
        delay: chance.time(Duration::from_micros(50), ms(50)),
        jitter: chance.time(Duration::ZERO, ms(5)),
        ..Conditions::default()
    };
    if mood == Mood::Calm {
        return calm;
    }
    let mut share = |most: u64| u32::try_from(chance.below(most)).unwrap_or(0);
    Conditions {
        loss_ppm: share(80_000),
        reorder_ppm: share(50_000),
        duplicate_ppm: share(30_000),
        corrupt_ppm: share(10_000),
        reorder_by: ms(20),
        ..calm
    }
}

fn limits(chance: &mut Chance, mood: Mood) -> Limits {
    let mut limits = Limits { heartbeat: ms(chance.pick(&[250, 500, 1_000])), ..Limits::default() };
    if mood == Mood::Calm {
        return limits;
    }
    if chance.percent(50) {
        limits.rekey_after = chance.time(secs(6), secs(20));
        limits.keys_dead_after = limits.rekey_after * 3 / 2;
    }
    if chance.percent(20) {
        limits.line_idle = limits.keys_dead_after.max(secs(20));
    }
    if chance.percent(20) {
        limits.opens_before_cookie = 1;
    }
    if chance.percent(20) {
        limits.lane_bytes = 48 << 10;
    }
    limits
}

fn mailbox(chance: &mut Chance, mood: Mood) -> (usize, usize) {
    if mood == Mood::Calm { (2_048, 4_096) } else { chance.pick(&[(2_048, 4_096), (64, 32)]) }
}
