//! Links coming up: a call, an answer, and a connection with an end at two nodes.

use trunkline_proto::base::LinkId;
use trunkline_proto::mesh::{Side, Transport};
use trunkline_proto::wire::link::Cost;

use super::World;
use crate::agenda::Event;
use crate::draw::{Draw, secs};
use crate::network::connection::{Connection, End};
use crate::node::Node;
use crate::node::dials::{PATIENCE, Stage};
use crate::node::seat::Incoming;

impl World {
    /// A node dials, or sees what became of it.
    pub(super) fn dial(&mut self, node: usize, dial: usize, run: u32) {
        let now = self.now;
        if !self.nodes[node].alive || self.nodes[node].run != run {
            return;
        }
        let event = Event::Dial { node, dial, run };
        let edge = self.nodes[node].dials[dial].edge;
        let wire = self.network.wires[edge];
        let stage = &mut self.nodes[node].dials[dial].stage;
        match *stage {
            Stage::Linked(_) => {}
            Stage::Waiting => {
                *stage = Stage::Calling(now);
                let there_and_back = wire.delay * 2 + wire.jitter;
                self.agenda.at(now + there_and_back, event);
            }
            Stage::Calling(since) if self.network.is_dead(edge) => {
                // The kernel calls again, and again, until the node has had enough.
                if now.since(since) < PATIENCE {
                    return self.agenda.at(now + secs(1), event);
                }
                self.dial_again(node, dial, run);
            }
            Stage::Calling(_) => {
                let to = self.scenario.edges[edge].ends[1];
                if self.nodes[to].alive && !self.nodes[to].stopping {
                    self.connect(node, dial, to);
                } else {
                    self.dial_again(node, dial, run);
                }
            }
        }
    }

    fn dial_again(&mut self, node: usize, dial: usize, run: u32) {
        let node = &mut self.nodes[node];
        let wait = node.dials[dial].lost(self.now, &mut node.chance);
        let event = Event::Dial { node: node.index, dial, run };
        self.agenda.at(self.now + wait, event);
    }

    fn connect(&mut self, from: usize, dial: usize, to: usize) {
        let edge = self.nodes[from].dials[dial].edge;
        let spec = self.scenario.edges[edge];
        let wire = self.network.wires[edge];
        let dialler = partition(&self.nodes[from], dial as u64);
        let acceptor = partition(&self.nodes[to], self.chance.u64());
        let links = [self.nodes[from].new_link(dialler), self.nodes[to].new_link(acceptor)];
        self.nodes[from].dials[dial].stage = Stage::Linked(links[0]);
        let ends = [0, 1].map(|i: usize| {
            let node = [from, to][i];
            End { node: Some(node), run: self.nodes[node].run, link: links[i], open: true }
        });
        let made = Connection::new(ends, Some(edge), wire, spec.window, &mut self.chance);
        self.network.connections.push(made);
        let expect = Some(self.people[to].hashname());
        let sides = [Side::Dialed { expect }, Side::Accepted];
        let binding = self.chance.bytes();
        for (i, node) in [from, to].into_iter().enumerate() {
            let other = self.people[[to, from][i]].record();
            let transport = if spec.tls {
                Transport::Tls { peer_key: *other.signing_key(), binding }
            } else {
                Transport::Plain
            };
            let cost = Cost::new(spec.costs[i]).unwrap_or(Cost::ONE);
            let dial = Some(dial).filter(|_| i == 0);
            self.open_end((node, i), links[i], (sides[i], transport, cost, dial));
        }
    }

    /// A node finds a connection established.
    fn open_end(
        &mut self,
        (node, end): (usize, usize),
        link: LinkId,
        (side, transport, cost, dial): (Side, Transport, Cost, Option<usize>),
    ) {
        let connection = self.network.connections.len() - 1;
        let opened = Incoming::Opened { link, side, transport, cost, dial, connection, end };
        let (nodes, mut around) = self.split();
        let seat = nodes[node].reader(link);
        nodes[node].seats[seat].incoming.push_back(opened);
        nodes[node].wake(seat, &mut around);
    }

    /// Somebody hostile connects to a node; the number of the connection.
    pub(super) fn intrude(&mut self, node: usize) -> usize {
        let drawn = partition(&self.nodes[node], self.chance.u64());
        let link = self.nodes[node].new_link(drawn);
        let there = End { node: None, run: 0, link: LinkId(u32::MAX), open: true };
        let here = End { node: Some(node), run: self.nodes[node].run, link, open: true };
        let wire = self.scenario.edges[0].conditions;
        let made = Connection::new([there, here], None, wire, 64 << 10, &mut self.chance);
        self.network.connections.push(made);
        let plain = (Side::Accepted, Transport::Plain, Cost::ONE, None);
        self.open_end((node, 1), link, plain);
        self.network.connections.len() - 1
    }

    /// A living connection that a node reads: which, and which of its directions.
    pub(super) fn a_connection(&mut self, reader: usize) -> Option<(usize, usize)> {
        let fits = |end: &End| end.open && end.node == Some(reader);
        let mut found = Vec::new();
        for (number, c) in self.network.connections.iter().enumerate() {
            let whole = c.edge.is_some() && c.ends.iter().all(|e| e.open);
            found.extend((0..2).filter(|i| whole && fits(&c.ends[1 - i])).map(|i| (number, i)));
        }
        (!found.is_empty()).then(|| found[self.chance.index(found.len())])
    }
}

/// A partition whose seat reads a link.
fn partition(node: &Node, draw: u64) -> u16 {
    let count = u64::from(node.plan.partitions());
    u16::try_from(draw % count).unwrap_or(0)
}
