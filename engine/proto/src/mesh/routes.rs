//! Routes: from the words of all nodes to the next hop for each (N10).
//!
//! Owns the graph, Dijkstra's algorithm over it, and its result, the [`RouteTable`]. Knows no
//! signatures, ages or timers: [`super::routing`] says when to compute and from what.
//!
//! ```text
//! announcements ──▶ both-ends graph ──▶ cheapest paths ──▶ RouteTable, immutable, behind an Arc
//!   u says v, v says u                   from this node      next(address) for every package
//! ```
//!
//! An edge counts when both ends announce it; each direction costs what the end that sends over
//! it says. The links of this node itself are taken as they are now instead of as announced.
//! Costs are integers of at least 1, so each hop of a cheapest path is strictly nearer and nodes
//! that agree on the graph cannot send in a circle. Equal costs are decided by fewer hops, then
//! by the lower address of the first hop, then of the last but one: the same graph gives the same
//! table in whatever order it was learned.

mod directory;
mod table;

pub use table::{Hop, Reach, RouteTable};

use core::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::base::{Hashname, LinkId};
use crate::wire::announce::Neighbour;
use crate::wire::link::Cost;
use directory::Directory;
use table::Entry;

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

/// Cost, hops and first hop of a path in one number that compares as the rules above say:
/// cost (64 bits), hops (16), rank of the first hop (16), node (32).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Label(u128);

impl Label {
    const UNREACHED: Self = Self(u128::MAX);

    fn first(cost: Cost, rank: u16) -> Self {
        Self(u128::from(cost.get()) << 64 | 1 << 48 | u128::from(rank) << 32)
    }

    /// One hop more. Costs cannot overflow: 2^32 hops of 2^32 are 2^64. Hops saturate.
    const fn extend(self, cost: u32) -> Self {
        let hop = if self.0 >> 48 & 0xffff == 0xffff { 0 } else { 1u128 << 48 };
        Self(self.0 + ((cost as u128) << 64) + hop)
    }

    #[allow(clippy::cast_possible_truncation)] // 64 bits remain
    const fn cost(self) -> u64 {
        (self.0 >> 64) as u64
    }

    const fn rank(self) -> usize {
        (self.0 >> 32 & 0xffff) as usize
    }

    fn at(self, node: Node) -> u128 {
        self.0 | u128::from(node)
    }

    #[allow(clippy::cast_possible_truncation)] // the low 32 bits are the node
    const fn split(key: u128) -> (Self, Node) {
        (Self(key >> 32 << 32), key as u32)
    }
}

/// Computes route tables; keeps its buffers between runs.
#[derive(Debug, Default)]
pub struct Planner {
    directory: Arc<Directory>,
    /// Edges of node `n` are `edges[starts[n]..starts[n + 1]]`, ascending by target.
    starts: Vec<u32>,
    edges: Vec<Edge>,
    cursors: Vec<u32>,
    labels: Vec<Label>,
    parents: Vec<Node>,
    heap: BinaryHeap<Reverse<u128>>,
    exits: Vec<LocalLink>,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    to: Node,
    /// 0 while the other end has not been found to say the same.
    cost: u32,
    said: u32,
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
        self.take_exits(links);
        self.take_directory(me, words.clone());
        self.take_edges(me, words);
        self.match_ends();
        self.spread(me);
        self.table(version, me)
    }

    fn take_exits(&mut self, links: &[LocalLink]) {
        self.exits.clear();
        self.exits.extend_from_slice(links);
        self.exits.sort_unstable_by_key(|l| (l.peer, l.cost, l.link));
        // The cheapest of parallel links carries; any of them may prove the peer.
        self.exits.dedup_by(|next, kept| {
            let same = next.peer == kept.peer;
            kept.proved |= same && next.proved;
            same
        });
        self.exits.truncate(usize::from(u16::MAX) + 1);
    }

    /// All nodes with a word, this one, and its neighbours, ascending by address. The former
    /// directory is kept if nobody came or went.
    fn take_directory<'a>(&mut self, me: Hashname, words: impl Iterator<Item = Word<'a>>) {
        let mut others: Vec<Hashname> = self.exits.iter().map(|l| l.peer).collect();
        others.push(me);
        others.sort_unstable();
        let mut all = Vec::with_capacity(self.directory.len() + others.len());
        let mut others = others.into_iter().peekable();
        for word in words {
            while let Some(other) = others.next_if(|o| *o <= word.hashname) {
                all.push(other);
            }
            all.push(word.hashname);
        }
        all.extend(others);
        all.dedup();
        if *self.directory.hashnames() != all {
            self.directory = Arc::new(Directory::new(all));
        }
    }

    fn take_edges<'a>(&mut self, me: Hashname, words: impl Iterator<Item = Word<'a>>) {
        self.starts.clear();
        self.edges.clear();
        let mut words = words.filter(|w| w.hashname != me).peekable();
        for hashname in self.directory.hashnames() {
            self.starts.push(count(self.edges.len()));
            let Some(word) = words.next_if(|w| w.hashname == *hashname) else { continue };
            for n in word.neighbours {
                if let Some(to) = self.directory.find(&n.address) {
                    self.edges.push(Edge { to, cost: 0, said: n.cost.get() });
                }
            }
        }
        self.starts.push(count(self.edges.len()));
    }

    /// Gives every edge its cost whose reverse is there too. Nodes are visited ascending and so
    /// are the targets of each, so one cursor per node finds all reverses in one walk.
    fn match_ends(&mut self) {
        self.cursors.clear();
        self.cursors.extend_from_slice(&self.starts);
        for from in 0..count(self.directory.len()) {
            for at in self.row(from) {
                let Some(to) = self.edges.get(at).map(|e| e.to) else { continue };
                if self.says(to, from)
                    && let Some(edge) = self.edges.get_mut(at)
                {
                    edge.cost = edge.said;
                }
            }
        }
    }

    /// Whether `node` announces a link to `other`; asked with `other` ascending for each `node`.
    fn says(&mut self, node: Node, other: Node) -> bool {
        let row = self.row(node);
        let Some(cursor) = self.cursors.get_mut(node as usize) else { return false };
        while (*cursor as usize) < row.end {
            match self.edges.get(*cursor as usize) {
                Some(e) if e.to < other => *cursor += 1,
                found => return found.is_some_and(|e| e.to == other),
            }
        }
        false
    }

    fn row(&self, node: Node) -> core::ops::Range<usize> {
        let at = node as usize;
        let start = self.starts.get(at).copied().unwrap_or(0);
        let end = self.starts.get(at + 1).copied().unwrap_or(start);
        start as usize..end as usize
    }

    /// Dijkstra's algorithm from this node.
    fn spread(&mut self, me: Hashname) {
        let nodes = self.directory.len();
        self.labels.clear();
        self.labels.resize(nodes, Label::UNREACHED);
        self.parents.clear();
        self.parents.resize(nodes, 0);
        self.heap.clear();
        let Some(here) = self.directory.find(&me.address()) else { return };
        for rank in 0..self.exits.len() {
            let (Some(exit), Ok(short)) = (self.exits.get(rank), u16::try_from(rank)) else {
                break;
            };
            let Some(peer) = self.directory.find(&exit.peer.address()) else { continue };
            let (cost, proved) = (exit.cost, exit.proved);
            let said = self.edges.get(self.row(peer)).unwrap_or_default();
            if proved || said.binary_search_by_key(&here, |e| e.to).is_ok() {
                self.offer(peer, Label::first(cost, short), here);
            }
        }
        while let Some(Reverse(key)) = self.heap.pop() {
            let (label, node) = Label::split(key);
            if self.labels.get(node as usize) != Some(&label) {
                continue;
            }
            for at in self.row(node) {
                match self.edges.get(at).copied() {
                    Some(Edge { to, cost, .. }) if cost > 0 && to != here => {
                        self.offer(to, label.extend(cost), node);
                    }
                    _ => {}
                }
            }
        }
    }

    fn offer(&mut self, node: Node, label: Label, parent: Node) {
        let at = node as usize;
        let (Some(held), Some(from)) = (self.labels.get_mut(at), self.parents.get_mut(at)) else {
            return;
        };
        if label < *held {
            *held = label;
            *from = parent;
            self.heap.push(Reverse(label.at(node)));
        } else if label == *held {
            *from = parent.min(*from);
        }
    }

    fn table(&self, version: u64, me: Hashname) -> RouteTable {
        let entry = |(node, (label, parent)): (usize, (&Label, &Node))| {
            let exit = self.exits.get(label.rank()).filter(|_| *label != Label::UNREACHED);
            if let Some(exit) = exit {
                let hop = Hop { link: exit.link, cost: label.cost() };
                return Entry { reach: Reach::Through(hop), parent: *parent };
            }
            let linked = self.edges.get(self.row(count(node))).unwrap_or_default();
            let apart = linked.iter().any(|e| e.cost > 0);
            let reach = if apart { Reach::Apart } else { Reach::Unlinked };
            Entry { reach, parent: 0 }
        };
        let entries = self.labels.iter().zip(&self.parents).enumerate().map(entry).collect();
        RouteTable::new(version, me, Arc::clone(&self.directory), entries)
    }
}

/// A count that fits by the limits on origins and neighbours.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
