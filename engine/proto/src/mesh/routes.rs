//! Routes: from the words of all nodes to the next hop for each (N10).
//!
//! Owns the graph, Dijkstra's algorithm over it, and its result, the [`RouteTable`]. Knows no
//! signatures, ages or timers: [`super::routing`] says when to compute and from what.
//!
//! ```text
//! announcements ──▶ both-ends graph ──▶ cheapest paths ──▶ RouteTable, immutable, behind an Arc
//!   u says v, v says u    `graph`       `tree`, from the    next(address) for every package
//!                                       links in `exits`
//! ```
//!
//! An edge counts when both ends announce it; each direction costs what the end that sends over
//! it says. The links of this node itself are taken as they are now instead of as announced.
//! Costs are integers of at least 1, so each hop of a cheapest path is strictly nearer and nodes
//! that agree on the graph cannot send in a circle. Equal costs are decided by fewer hops, then
//! by the lower address of the first hop, then of the last but one: the same graph gives the same
//! table in whatever order it was learned.
//!
//! As long as no node comes or goes, a computation begins where the last one ended: the rows of
//! those who said something new are replaced, and the tree of paths is repaired where that matters.

mod directory;
mod exits;
mod graph;
mod table;
mod tree;
mod ways;

pub use table::{Hop, Reach, RouteTable};

use std::sync::Arc;

use crate::base::{Hashname, LinkId};
use crate::wire::announce::Neighbour;
use crate::wire::link::Cost;
use exits::Exit;
use graph::{Change, Graph};
use table::Entry;
use tree::{Label, Tree};

/// A link of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalLink {
    /// The link.
    pub link: LinkId,
    /// Who is at its other end.
    pub peer: Hashname,
    /// What sending over it costs.
    pub cost: Cost,
    /// The link counts although the peer does not announce it: so young that the peer's word
    /// cannot have arrived yet, and proved by both ends' handshake.
    pub proved: bool,
}

/// What one node says about its links.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    /// The node.
    pub hashname: Hashname,
    /// Its neighbours, ascending by address.
    pub neighbours: &'a [Neighbour],
}

/// Place of a node in the directory, which ascends by address.
type Node = u32;

/// Computes route tables; keeps its buffers between runs.
#[derive(Debug, Default)]
pub struct Planner {
    graph: Graph,
    tree: Tree,
    exits: Vec<Exit>,
    changes: Vec<Change>,
    ranks: Vec<Option<u16>>,
}

impl Planner {
    /// The routes of `me` over its links and the words of the others.
    ///
    /// `words` ascend by address; a word of `me` is passed over. Of several links to one peer
    /// the cheapest is used, then the one with the lowest id. At most 65,536 peers count.
    pub fn compute<'a>(
        &mut self,
        version: u64,
        me: Hashname,
        links: &[LocalLink],
        words: impl Iterator<Item = Word<'a>> + Clone,
    ) -> RouteTable {
        let links = exits::cheapest(links);
        self.graph.take(me, links.iter().map(|l| l.peer), words);
        // The directory was made of all of them.
        let here = self.graph.directory().find(&me.address()).unwrap_or(0);
        self.exits = exits::of(&links, &self.graph, here).unwrap_or_default();
        self.tree.grow(&self.graph, here, &self.exits);
        self.table(version, me)
    }

    /// The routes of `me` after some nodes, and no others, said something else since the last run
    /// for it, and over its links as they are now. The table is the same that [`Self::compute`]
    /// would give, for a fraction of the work.
    ///
    /// `None` if a node came or went: then only [`Self::compute`] will do, and must come next.
    pub fn update<'a>(
        &mut self,
        version: u64,
        me: Hashname,
        links: &[LocalLink],
        words: impl Iterator<Item = Word<'a>>,
    ) -> Option<RouteTable> {
        let here = self.tree.here();
        if self.graph.directory().get(here) != Some(me) {
            return None;
        }
        self.changes.clear();
        for word in words.filter(|w| w.hashname != me) {
            self.graph.replace(word, &mut self.changes)?;
        }
        let exits = exits::of(&exits::cheapest(links), &self.graph, here)?;
        let former = core::mem::replace(&mut self.exits, exits);
        let Self { graph, tree, exits, changes, ranks } = self;
        exits::compare((&former, exits), (here, graph), changes, ranks)?;
        tree.repair(graph, exits, changes, ranks);
        Some(self.table(version, me))
    }

    fn table(&self, version: u64, me: Hashname) -> RouteTable {
        let entry = |(node, (label, parent)): (usize, (Option<Label>, Node))| {
            let exit = label.and_then(|l| Some((l, self.exits.get(l.rank())?)));
            if let Some((label, exit)) = exit {
                let hop = Hop { link: exit.link, cost: label.cost() };
                return Entry { reach: Reach::Through(hop), parent };
            }
            let apart = self.graph.row(count(node)).iter().any(|e| e.cost > 0);
            let reach = if apart { Reach::Apart } else { Reach::Unlinked };
            Entry { reach, parent: 0 }
        };
        let entries = self.tree.paths().enumerate().map(entry).collect();
        RouteTable::new(version, me, Arc::clone(self.graph.directory()), entries)
    }
}

/// A count that fits by the limits on origins and neighbours.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
