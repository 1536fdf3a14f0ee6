//! The world of these tests: nodes, wires with a delay, and a calendar.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::member;
use crate::base::{
    Address, BootEpoch, Chance, DropReason, Drops, Hashname, Instant, Limits, LinkId, Wall,
};
use crate::crypto::Identity;
use crate::crypto::tests::NOW;
use crate::mesh::{Routing, RoutingOutput};
use crate::wire::link::{Capabilities, Cost, HEADER_LEN, LinkHeader, LinkKind, NodeName};

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SEC: Duration = Duration::from_secs(1);

pub(super) struct Node {
    pub(super) routing: Routing,
    pub(super) identity: Arc<Identity>,
    pub(super) epoch: BootEpoch,
    /// All that was put out but floods.
    pub(super) events: Vec<RoutingOutput>,
    pub(super) drops: Drops,
    pub(super) frames_sent: usize,
}

pub(super) struct Wire {
    pub(super) ends: [usize; 2],
    pub(super) costs: [u32; 2],
    pub(super) delay: Duration,
    pub(super) up: bool,
}

/// What happens to frames on the way, in parts per million.
#[derive(Clone, Copy, Default)]
pub(super) struct Weather {
    pub(super) lost: u32,
    pub(super) doubled: u32,
    pub(super) late: u32,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) wires: Vec<Wire>,
    pub(super) weather: Weather,
    pub(super) limits: Limits,
    /// By arrival and number: to whom, on which wire, what.
    flying: BTreeMap<(Instant, u64), (usize, usize, Bytes)>,
    sent: u64,
    chance: Chance,
}

impl World {
    /// So many nodes, not wired yet.
    pub(super) fn new(nodes: usize, seed: u64) -> Self {
        let mut world = Self {
            now: Instant::ZERO + SEC,
            nodes: vec![],
            wires: vec![],
            weather: Weather::default(),
            limits: Limits::default(),
            flying: BTreeMap::new(),
            sent: 0,
            chance: Chance::from_number(seed),
        };
        for n in 0..nodes {
            world.join(member(n));
        }
        world
    }

    /// Nodes wired at cost 10 both ways and all wires up.
    pub(super) fn wired(nodes: usize, seed: u64, wires: &[(usize, usize)]) -> Self {
        let mut world = Self::new(nodes, seed);
        for (a, b) in wires {
            world.wire(*a, *b, [10, 10]);
        }
        world
    }

    pub(super) fn join(&mut self, identity: Arc<Identity>) -> usize {
        let epoch = BootEpoch(self.chance.u64());
        let name = format!("node {}", self.nodes.len());
        let node = self.start(identity, epoch, &name);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn start(&mut self, identity: Arc<Identity>, epoch: BootEpoch, name: &str) -> Node {
        let name = NodeName::new(name.as_bytes()).unwrap();
        let (us, can, chance) = (Arc::clone(&identity), Capabilities(1), self.chance.fork());
        let routing = Routing::new(us, epoch, name, can, &self.limits, chance);
        Node { routing, identity, epoch, events: vec![], drops: Drops::default(), frames_sent: 0 }
    }

    /// Connects two nodes; both find the link up at once. Returns the wire, which is also the
    /// link's id at both ends.
    pub(super) fn wire(&mut self, a: usize, b: usize, costs: [u32; 2]) -> usize {
        let delay = MS * (1 + u32::try_from(self.chance.below(20)).unwrap());
        self.wires.push(Wire { ends: [a, b], costs, delay, up: false });
        let wire = self.wires.len() - 1;
        self.raise(wire);
        wire
    }

    pub(super) fn raise(&mut self, wire: usize) {
        let Wire { ends: [a, b], costs: [there, back], .. } = self.wires[wire];
        self.wires[wire].up = true;
        for (here, other, cost) in [(a, b, there), (b, a, back)] {
            let record = Arc::clone(self.nodes[other].identity.record());
            let epoch = self.nodes[other].epoch;
            let cost = Cost::new(cost).unwrap();
            let link = LinkId(wire as u32);
            let node = &mut self.nodes[here].routing;
            node.link_up(self.now, link, &record, epoch, cost).unwrap();
        }
    }

    /// Cuts a wire; both ends notice at once, and what was flying is lost.
    pub(super) fn cut(&mut self, wire: usize) {
        self.wires[wire].up = false;
        self.flying.retain(|_, (_, on, _)| *on != wire);
        for end in self.wires[wire].ends {
            self.nodes[end].routing.link_down(self.now, LinkId(wire as u32));
        }
    }

    /// The process of a node ends and starts again, with another epoch and its wires anew.
    pub(super) fn restart(&mut self, n: usize, epoch: BootEpoch) {
        let wires: Vec<usize> = (0..self.wires.len())
            .filter(|w| self.wires[*w].up && self.wires[*w].ends.contains(&n))
            .collect();
        wires.iter().for_each(|w| self.cut(*w));
        let identity = Arc::clone(&self.nodes[n].identity);
        self.nodes[n] = self.start(identity, epoch, "again");
        wires.iter().for_each(|w| self.raise(*w));
    }

    /// Hands a body to a node as if it came over a wire.
    pub(super) fn inject(&mut self, to: usize, wire: usize, body: &[u8]) -> Result<(), DropReason> {
        let (wall, link) = (self.wall(), LinkId(wire as u32));
        self.nodes[to].routing.announcement(self.now, wall, link, body)
    }

    pub(super) fn wall(&self) -> Wall {
        NOW.after(self.now.since(Instant::ZERO))
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain();
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let due = self.nodes.iter().filter_map(|n| n.routing.deadline());
            let Some(next) = due.chain(arrival).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.arrive();
            let wall = self.wall();
            for node in &mut self.nodes {
                if node.routing.deadline().is_some_and(|due| due <= self.now) {
                    node.routing.handle_timeout(self.now, wall);
                }
            }
        }
        self.now = end;
    }

    fn arrive(&mut self) {
        let wall = self.wall();
        while let Some(first) = self.flying.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let (to, wire, frame) = first.remove();
            let header = LinkHeader::peek(&frame).unwrap().unwrap();
            assert_eq!(header.frame_len(), frame.len());
            let (node, link) = (&mut self.nodes[to], LinkId(wire as u32));
            let body = &frame[HEADER_LEN..];
            let done = match header.kind {
                LinkKind::Announcement => node.routing.announcement(self.now, wall, link, body),
                LinkKind::Digest => node.routing.digest(self.now, link, body),
                LinkKind::Broadcast => node.routing.hear_broadcast(
                    self.now,
                    (link, Default::default()),
                    BytesMut::from(&frame[..]),
                ),
                other => panic!("{other:?} from a routing"),
            };
            if let Err(reason) = done {
                node.drops.count(reason);
            }
        }
    }

    fn drain(&mut self) {
        for from in 0..self.nodes.len() {
            while let Some(output) = self.nodes[from].routing.poll(self.now) {
                let (link, frame) = match output {
                    RoutingOutput::Flood { link, frame } => {
                        self.nodes[from].frames_sent += 1;
                        (link, frame)
                    }
                    RoutingOutput::Broadcast { link, frame, .. } => (link, frame),
                    event => {
                        self.nodes[from].events.push(event);
                        continue;
                    }
                };
                let wire = link.0 as usize;
                assert!(self.wires[wire].up, "sent on a link that is down");
                let to = self.wires[wire].ends.into_iter().find(|e| *e != from).unwrap();
                self.fly(to, wire, frame);
            }
        }
    }

    fn fly(&mut self, to: usize, wire: usize, frame: Bytes) {
        let copies = 1 + u32::from(self.chance.per_million(self.weather.doubled));
        for _ in 0..copies {
            if self.chance.per_million(self.weather.lost) {
                continue;
            }
            let late = self.chance.per_million(self.weather.late);
            let extra = if late { MS * 300 } else { Duration::ZERO };
            self.sent += 1;
            let at = self.now + self.wires[wire].delay + extra;
            self.flying.insert((at, self.sent), (to, wire, frame.clone()));
        }
    }

    pub(super) fn address(&self, n: usize) -> Address {
        self.hashname(n).address()
    }

    pub(super) fn hashname(&self, n: usize) -> Hashname {
        self.nodes[n].identity.hashname()
    }

    pub(super) fn next(&self, from: usize, to: usize) -> Option<(usize, u64)> {
        let hop = self.nodes[from].routing.table().next(&self.address(to))?;
        Some((hop.link.0 as usize, hop.cost))
    }

    /// Follows the tables hop by hop; the nodes passed, the target included, or `None`.
    pub(super) fn walk(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let (mut here, mut passed) = (from, vec![]);
        while here != to {
            let (wire, _) = self.next(here, to)?;
            assert!(self.wires[wire].up, "{from} to {to}: a dead wire at {here}");
            here = self.wires[wire].ends.into_iter().find(|e| *e != here).unwrap();
            passed.push(here);
            assert!(passed.len() <= self.nodes.len(), "a loop from {from} to {to}: {passed:?}");
        }
        Some(passed)
    }

    /// All databases are equal within each part that hangs together, every node is reached from
    /// every node of its part over living wires without loops, and no other.
    pub(super) fn assert_converged(&self) {
        for (a, part) in self.parts().iter().enumerate() {
            for b in 0..self.nodes.len() {
                assert_eq!(self.walk(a, b).is_some(), part.contains(&b), "{a} to {b}");
                let cost = self.next(a, b).map(|(_, cost)| cost);
                assert_eq!(cost.unwrap_or(0), self.cheapest(a)[b].unwrap_or(0), "{a} to {b}");
            }
            let first = *part.first().unwrap();
            assert_eq!(self.said(a, part), self.said(first, part), "{a} and {first} disagree");
        }
    }

    /// What a node holds of the nodes of a part.
    fn said(&self, n: usize, part: &BTreeSet<usize>) -> Vec<(Hashname, u64, u64)> {
        let of_part: BTreeSet<Hashname> = part.iter().map(|n| self.hashname(*n)).collect();
        self.nodes[n]
            .routing
            .nodes(self.now)
            .filter(|s| of_part.contains(&s.hashname))
            .map(|s| (s.hashname, s.order.epoch.0, s.order.sequence))
            .collect()
    }

    fn parts(&self) -> Vec<BTreeSet<usize>> {
        (0..self.nodes.len())
            .map(|n| (0..self.nodes.len()).filter(|m| self.cheapest(n)[*m].is_some()).collect())
            .collect()
    }

    /// Costs from one node to all, by going over the wires until nothing changes.
    fn cheapest(&self, from: usize) -> Vec<Option<u64>> {
        let mut costs = vec![None; self.nodes.len()];
        costs[from] = Some(0);
        loop {
            let before = costs.clone();
            for wire in self.wires.iter().filter(|w| w.up) {
                let [a, b] = wire.ends;
                for (x, y, c) in [(a, b, wire.costs[0]), (b, a, wire.costs[1])] {
                    let offer = costs[x].map(|sum: u64| sum + u64::from(c));
                    if let Some(offer) = offer
                        && costs[y].is_none_or(|held| offer < held)
                    {
                        costs[y] = Some(offer);
                    }
                }
            }
            if costs == before {
                return costs;
            }
        }
    }
}
