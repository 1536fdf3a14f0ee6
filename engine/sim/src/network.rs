//! What lies between nodes: UDP paths and the links' connections, each direction an
//! [`Emulator`], and the cuts that go through them.

pub(crate) mod connection;
pub(crate) mod framer;

use bytes::Bytes;
use trunkline_proto::base::{Chance, Instant};

use crate::agenda::{Agenda, Event};
use crate::emulator::{Conditions, Emulator, Item};
use crate::scenario::Scenario;
use connection::Connection;

/// A datagram under way.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) from: std::net::SocketAddr,
    pub(crate) bytes: Bytes,
}

impl Item for Datagram {
    fn size(&self) -> usize {
        self.bytes.len()
    }

    fn flip_bit(&mut self, draw: u64) {
        self.bytes.flip_bit(draw);
    }
}

/// Everything between the nodes.
pub(crate) struct Network {
    nodes: usize,
    udp: Vec<(Emulator<Datagram>, Option<Instant>)>,
    pub(crate) connections: Vec<Connection>,
    /// How many cuts hold each edge.
    cuts: Vec<u32>,
    ends: Vec<[usize; 2]>,
    /// What each edge's wire does now.
    pub(crate) wires: Vec<Conditions>,
    blocked: Vec<(usize, usize)>,
    splits: Vec<u32>,
}

impl Network {
    pub(crate) fn new(scenario: &Scenario, chance: &mut Chance) -> Self {
        let nodes = scenario.nodes.len();
        let path = |from: &Conditions| (Emulator::new(*from, chance.fork()), None);
        let udp = scenario.udp.iter().flat_map(|c| core::iter::repeat_n(c, nodes));
        let udp = udp.map(path);
        Self {
            nodes,
            udp: udp.collect(),
            connections: Vec::new(),
            cuts: vec![0; scenario.edges.len()],
            ends: scenario.edges.iter().map(|e| e.ends).collect(),
            wires: scenario.edges.iter().map(|e| e.conditions).collect(),
            blocked: Vec::new(),
            splits: Vec::new(),
        }
    }

    /// A datagram leaves a node.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        (from, to): (usize, usize),
        datagram: Datagram,
        agenda: &mut Agenda,
    ) {
        let dead = self.is_blocked(from, to);
        let Some((path, _)) = self.udp.get_mut(from * self.nodes + to) else { return };
        if dead {
            return;
        }
        path.push(now, datagram);
        self.schedule(from, to, agenda);
    }

    /// The next datagram that has arrived.
    pub(crate) fn arrived(
        &mut self,
        now: Instant,
        (from, to): (usize, usize),
        agenda: &mut Agenda,
    ) -> Option<Datagram> {
        let (path, scheduled) = self.udp.get_mut(from * self.nodes + to)?;
        *scheduled = scheduled.filter(|s| *s > now);
        let datagram = path.pop(now);
        if datagram.is_none() {
            self.schedule(from, to, agenda);
        }
        datagram
    }

    /// Looks again when something may have arrived, unless the agenda has it already.
    fn schedule(&mut self, from: usize, to: usize, agenda: &mut Agenda) {
        let Some((path, scheduled)) = self.udp.get_mut(from * self.nodes + to) else { return };
        if let Some(due) = path.deadline()
            && scheduled.is_none_or(|s| due < s)
        {
            *scheduled = Some(due);
            agenda.at(due, Event::Udp { from, to });
        }
    }

    /// Whether all that entered the UDP paths is accounted for.
    pub(crate) fn conserves(&self) -> bool {
        self.udp.iter().all(|(e, _)| {
            let s = e.statistics();
            s.entered + s.duplicated == s.delivered + s.lost + s.dropped + e.held()
        })
    }

    /// Whether an edge carries nothing now.
    pub(crate) fn is_dead(&self, edge: usize) -> bool {
        let [a, b] = self.ends[edge];
        self.cuts[edge] > 0 || self.is_split(a, b)
    }

    fn is_blocked(&self, a: usize, b: usize) -> bool {
        self.is_split(a, b) || self.blocked.iter().any(|p| *p == (a, b) || *p == (b, a))
    }

    fn is_split(&self, a: usize, b: usize) -> bool {
        self.splits.iter().any(|side| (side >> a) & 1 != (side >> b) & 1)
    }

    /// Cuts or mends; what lived on comes out afterwards, because TCP sends it again.
    pub(crate) fn cut(&mut self, edge: usize, yes: bool) {
        let cuts = &mut self.cuts[edge];
        *cuts = if yes { *cuts + 1 } else { cuts.saturating_sub(1) };
    }

    /// Blocks or unblocks datagrams between two nodes.
    pub(crate) fn block(&mut self, pair: (usize, usize), yes: bool) {
        if yes {
            self.blocked.push(pair);
        } else if let Some(at) = self.blocked.iter().position(|p| *p == pair) {
            self.blocked.swap_remove(at);
        }
    }

    /// Splits the nodes in two, or joins them.
    pub(crate) fn split(&mut self, side: u32, yes: bool) {
        if yes {
            self.splits.push(side);
        } else if let Some(at) = self.splits.iter().position(|s| *s == side) {
            self.splits.swap_remove(at);
        }
    }

    /// Datagrams arrive from now on, undamaged and once.
    pub(crate) fn calm_udp(&mut self, now: Instant) {
        for (path, _) in &mut self.udp {
            let Conditions { delay, jitter, .. } = *path.conditions();
            path.set_conditions(now, Conditions { delay, jitter, ..Conditions::default() });
        }
    }

    /// Nothing is cut, blocked or split any more.
    pub(crate) fn heal(&mut self) {
        self.cuts.fill(0);
        self.blocked.clear();
        self.splits.clear();
    }

    /// Every direction of every living connection is to be looked at: what a cut held back comes.
    pub(crate) fn wake_all(&self, now: Instant, agenda: &mut Agenda) {
        for connection in 0..self.connections.len() {
            if self.connections[connection].is_open() {
                agenda.at(now, Event::Pipe { connection, from: 0 });
                agenda.at(now, Event::Pipe { connection, from: 1 });
            }
        }
    }
}
