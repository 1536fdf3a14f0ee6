//! What a node can tell about the mesh at any time (N12): which nodes there are, at what cost,
//! over which hop, and why not.

use core::time::Duration;

use super::Routing;
use crate::base::{Address, BootEpoch, Hashname, Instant, LinkId};
use crate::mesh::routes::Reach;
use crate::wire::announce::{Neighbour, Order};
use crate::wire::link::{Capabilities, Cost, NodeName};
use crate::wire::sequence::PackTerms;

/// One node, as it announces itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// Who it is.
    pub hashname: Hashname,
    /// What it calls itself; proved by nothing.
    pub name: NodeName,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How it packs and what it takes.
    pub packing: PackTerms,
    /// Whether and how it is reached, by the routes in force.
    pub reach: Reach,
    /// The links it announces, each counting only if the other end announces it too.
    pub neighbours: Vec<Neighbour>,
    /// The order of its announcement.
    pub order: Order,
    /// How old its announcement is.
    pub age: Duration,
}

/// One link of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkStatus {
    /// The link.
    pub link: LinkId,
    /// Who is at the other end.
    pub peer: Hashname,
    /// Which of its runs.
    pub epoch: BootEpoch,
    /// What sending to it costs.
    pub cost: Cost,
    /// How long it has been up.
    pub up_for: Duration,
    /// Whether it is the one used of all links to that peer.
    pub in_use: bool,
    /// Whether it came and went so often that it does not count for now.
    pub held_down: bool,
    /// What the neighbour's losses add up to; some 2,500 hold its links down.
    pub penalty: u32,
}

impl Routing {
    /// All nodes that announce themselves, this one included, ascending by address.
    pub fn nodes(&self, now: Instant) -> impl Iterator<Item = NodeStatus> + '_ {
        self.database.entries().map(move |(_, e)| NodeStatus {
            hashname: e.hashname,
            name: e.name,
            capabilities: e.capabilities,
            packing: e.packing,
            // A node learned since the last computation has no route yet.
            reach: self.table.reach(&e.hashname.address()).unwrap_or(Reach::Unlinked),
            neighbours: e.neighbours.to_vec(),
            order: e.order,
            age: e.age(now),
        })
    }

    /// One node by address.
    #[must_use]
    pub fn node(&self, now: Instant, of: &Address) -> Option<NodeStatus> {
        // Few ask and seldom: the walk is not worth a second way to make a status.
        self.nodes(now).find(|n| n.hashname.address() == *of)
    }

    /// All links of this node, by peer, the one in use first.
    pub fn links(&self, now: Instant) -> impl Iterator<Item = LinkStatus> + '_ {
        self.neighbours.iter().flat_map(move |n| {
            n.ways().iter().enumerate().map(move |(at, way)| LinkStatus {
                link: way.link,
                peer: n.hashname(),
                epoch: way.epoch,
                cost: way.cost,
                up_for: now.since(way.since),
                in_use: at == 0 && !way.damped,
                held_down: way.damped,
                penalty: self.damping.penalty(now, &n.hashname().address()),
            })
        })
    }
}
