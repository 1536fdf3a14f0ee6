//! The nodes of such a mesh, the links between them, and what flies on these.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use trunkline_proto::base::{BootEpoch, Chance, Instant, Limits, LinkId, Wall};
use trunkline_proto::crypto::Identity;
use trunkline_proto::mesh::{Routing, RoutingOutput};
use trunkline_proto::wire::link::{Capabilities, Cost, HEADER_LEN, LinkHeader, LinkKind, NodeName};

use super::keys::Keys;
use crate::draw::{Draw, ms, secs};
use crate::people::DAWN;

/// Nodes whose tables are held against brute force.
const SAMPLES: usize = 10;

struct Node {
    routing: Routing,
    identity: Arc<Identity>,
    epoch: BootEpoch,
    /// What the agenda says of it.
    woken_at: Option<Instant>,
    links: Vec<usize>,
}

struct Link {
    ends: [usize; 2],
    costs: [u32; 2],
    delay: Duration,
    up: bool,
}

/// What was put on links.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Bytes of digests.
    pub(super) digests: u64,
}

enum Event {
    Wake(usize),
    Arrive { to: usize, link: usize, frame: Bytes },
}

pub(super) struct World {
    now: Instant,
    nodes: Vec<Node>,
    links: Vec<Link>,
    agenda: BTreeMap<u64, Event>,
    order: BinaryHeap<Reverse<(Instant, u64)>>,
    number: u64,
    traffic: Traffic,
    last_table: Instant,
    keys: Keys,
    chance: Chance,
    limits: Limits,
}

impl World {
    pub(super) fn new(nodes: usize, mut chance: Chance) -> Self {
        Self {
            now: Instant::ZERO + secs(1),
            nodes: Vec::new(),
            links: Vec::new(),
            agenda: BTreeMap::new(),
            order: BinaryHeap::new(),
            number: 0,
            traffic: Traffic::default(),
            last_table: Instant::ZERO,
            keys: Keys::new(nodes, chance.fork()),
            chance,
            limits: Limits::default(),
        }
    }

    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    pub(super) const fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) const fn links(&self) -> usize {
        self.links.len()
    }

    pub(super) const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// When a node last published a table.
    pub(super) const fn last_table(&self) -> Instant {
        self.last_table
    }

    /// A newcomer with links to so many of the others.
    pub(super) fn join(&mut self, links: usize) {
        let (identity, epoch) = (self.keys.next(), BootEpoch(self.chance.u64() >> 1));
        let name = NodeName::default();
        let (us, can, chance) = (identity.clone(), Capabilities::default(), self.chance.fork());
        let routing = Routing::new(us, epoch, name, can, &self.limits, chance);
        self.nodes.push(Node { routing, identity, epoch, woken_at: None, links: Vec::new() });
        let me = self.nodes.len() - 1;
        let mut others = Vec::new();
        while others.len() < links.min(me) {
            let other = self.chance.index(me);
            let room = self.nodes[other].links.len() + 8 < self.limits.neighbours;
            if !others.contains(&other) && (room || me < links * 4) {
                others.push(other);
            }
        }
        for other in others {
            let mut cost = || u32::try_from(self.chance.span(1, 20)).unwrap_or(1);
            let costs = [cost(), cost()];
            let delay = self.chance.time(ms(1), ms(20));
            self.links.push(Link { ends: [me, other], costs, delay, up: false });
            let link = self.links.len() - 1;
            self.nodes[me].links.push(link);
            self.nodes[other].links.push(link);
            self.raise(link);
        }
        self.touch(me);
    }

    pub(super) fn raise(&mut self, link: usize) {
        let Link { ends: [a, b], costs: [there, back], .. } = self.links[link];
        self.links[link].up = true;
        for (here, other, cost) in [(a, b, there), (b, a, back)] {
            let (record, epoch) = (self.nodes[other].identity.record(), self.nodes[other].epoch);
            let (record, cost) = (record.clone(), Cost::new(cost).unwrap_or(Cost::ONE));
            let routing = &mut self.nodes[here].routing;
            routing.link_up(self.now, id(link), &record, epoch, cost).expect("room for a link");
            self.touch(here);
        }
    }

    pub(super) fn cut(&mut self, link: usize) {
        self.links[link].up = false;
        for end in self.links[link].ends {
            self.nodes[end].routing.link_down(self.now, id(link));
            self.touch(end);
        }
    }

    /// Sending over a link costs this much more, for the end that made it.
    pub(super) fn price(&mut self, link: usize, more: u32) {
        self.links[link].costs[0] += more;
        let (end, cost) = (self.links[link].ends[0], self.links[link].costs[0]);
        let cost = Cost::new(cost).unwrap_or(Cost::ONE);
        self.nodes[end].routing.set_cost(self.now, id(link), cost);
        self.touch(end);
    }

    /// A link without which all still hang together.
    pub(super) fn spare_link(&self, chance: &mut Chance) -> Option<usize> {
        let all = (0..self.links.len()).filter(|l| self.links[*l].up);
        let spare: Vec<usize> = all
            .filter(|l| self.reached(|link| link != *l, |_| true) == self.nodes.len())
            .take(64)
            .collect();
        (!spare.is_empty()).then(|| chance.pick(&spare))
    }

    /// A node without which all others still hang together, if there is one.
    pub(super) fn spare_node(&self, chance: &mut Chance) -> usize {
        let start = chance.index(self.nodes.len());
        let count = self.nodes.len();
        let all = (0..count).map(|n| (start + n) % count);
        let mut spare = all
            .take(64)
            .filter(|n| self.reached(|_| true, |node| node != *n) == self.nodes.len() - 1);
        spare.next().unwrap_or(start)
    }

    pub(super) fn links_of(&self, node: usize) -> Vec<usize> {
        self.nodes[node].links.iter().copied().filter(|l| self.links[*l].up).collect()
    }

    /// How many nodes hang together with the first one over what is left.
    fn reached(&self, link: impl Fn(usize) -> bool, node: impl Fn(usize) -> bool) -> usize {
        let mut seen = vec![false; self.nodes.len()];
        let mut next: Vec<usize> = (0..self.nodes.len()).filter(|n| node(*n)).take(1).collect();
        let mut count = 0;
        while let Some(n) = next.pop() {
            if core::mem::replace(&mut seen[n], true) {
                continue;
            }
            count += 1;
            for l in self.nodes[n].links.iter().filter(|l| self.links[**l].up && link(**l)) {
                next.extend(self.links[*l].ends.into_iter().filter(|e| !seen[*e] && node(*e)));
            }
        }
        count
    }

    /// Lets what was said be old, so that nobody's pace holds up what comes next.
    pub(super) fn rest(&mut self) {
        self.run(secs(30));
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, number))) = self.order.peek().copied().filter(|e| e.0.0 <= end)
        {
            self.order.pop();
            self.now = self.now.max(at);
            match self.agenda.remove(&number) {
                Some(Event::Wake(node)) => self.wake(node, at),
                Some(Event::Arrive { to, link, frame }) => self.arrive(to, link, &frame),
                None => {}
            }
        }
        self.now = end;
    }

    fn wake(&mut self, node: usize, at: Instant) {
        if self.nodes[node].woken_at == Some(at) {
            self.nodes[node].woken_at = None;
            let wall = self.wall();
            self.nodes[node].routing.handle_timeout(self.now, wall);
            self.touch(node);
        }
    }

    fn arrive(&mut self, to: usize, link: usize, frame: &[u8]) {
        if !self.links[link].up {
            return;
        }
        let (now, wall, routing) = (self.now, self.wall(), &mut self.nodes[to].routing);
        let body = frame.get(HEADER_LEN..).unwrap_or_default();
        // Copies are dropped, and said to be.
        let _ = match LinkHeader::peek(frame) {
            Ok(Some(h)) if h.kind == LinkKind::Digest => routing.digest(now, id(link), body),
            _ => routing.announcement(now, wall, id(link), body),
        };
        self.touch(to);
    }

    /// Takes what a node puts out, and notes when it wants to be woken.
    fn touch(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].routing.poll(self.now) {
            match output {
                RoutingOutput::Flood { link, frame } => self.send(node, link.0 as usize, frame),
                RoutingOutput::Publish(_) => self.last_table = self.now,
                _ => {}
            }
        }
        let Some(due) = self.nodes[node].routing.deadline() else { return };
        let due = due.max(self.now);
        if self.nodes[node].woken_at.is_none_or(|at| due < at) {
            self.nodes[node].woken_at = Some(due);
            self.put(due, Event::Wake(node));
        }
    }

    fn send(&mut self, from: usize, link: usize, frame: Bytes) {
        let bytes = frame.len() as u64;
        if LinkHeader::peek(&frame).is_ok_and(|h| h.is_some_and(|h| h.kind == LinkKind::Digest)) {
            self.traffic.digests += bytes;
        } else {
            self.traffic.frames += 1;
            self.traffic.bytes += bytes;
        }
        let Link { ends, delay, .. } = &self.links[link];
        let to = if ends[0] == from { ends[1] } else { ends[0] };
        self.put(self.now + *delay, Event::Arrive { to, link, frame });
    }

    fn put(&mut self, at: Instant, event: Event) {
        self.number += 1;
        self.agenda.insert(self.number, event);
        self.order.push(Reverse((at, self.number)));
    }

    fn wall(&self) -> Wall {
        DAWN.after(self.now.since(Instant::ZERO))
    }

    /// How many routes of some nodes do not cost what the cheapest way costs.
    pub(super) fn wrong(&self, chance: &mut Chance) -> usize {
        (0..SAMPLES).map(|_| self.wrong_of(chance.index(self.nodes.len()))).sum()
    }

    fn wrong_of(&self, from: usize) -> usize {
        let cheapest = self.cheapest(from);
        let table = self.nodes[from].routing.table();
        let cost = |n: &Node| table.next(&n.identity.hashname().address()).map(|h| h.cost);
        let others = self.nodes.iter().zip(cheapest).enumerate().filter(|(n, _)| *n != from);
        others.filter(|(_, (node, cheapest))| cost(node) != *cheapest).count()
    }

    fn cheapest(&self, from: usize) -> Vec<Option<u64>> {
        let mut costs = vec![None; self.nodes.len()];
        let mut heap = BinaryHeap::from([Reverse((0u64, from))]);
        while let Some(Reverse((cost, node))) = heap.pop() {
            if costs[node].is_some() {
                continue;
            }
            costs[node] = Some(cost);
            for link in self.nodes[node].links.iter().map(|l| &self.links[*l]).filter(|l| l.up) {
                let way = usize::from(link.ends[1] == node);
                heap.push(Reverse((cost + u64::from(link.costs[way]), link.ends[1 - way])));
            }
        }
        costs
    }
}

fn id(link: usize) -> LinkId {
    LinkId(u32::try_from(link).unwrap_or(u32::MAX))
}
