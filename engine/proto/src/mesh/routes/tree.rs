//! The cheapest paths from this node to all: Dijkstra's algorithm, and its repair after a change.
//!
//! **Why a repair gives what a new computation would.** A node's label is the least over all paths,
//! and its parent the lowest of the nodes that give it that label; neither depends on the order of
//! work. An edge that became worse can only harm the nodes below it in the tree: those are
//! forgotten and offered the best that the untouched ones have. An edge that became better is an
//! offer like any other. From there on it is the usual algorithm, over what changed alone.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Node;
use super::exits::Exit;
use super::graph::{Change, Graph};

/// Cost, hops and first hop of a path in one number that compares as the rules of the module say:
/// cost (64 bits), hops (16), rank of the first hop (16), node (32).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Label(u128);

impl Label {
    const UNREACHED: Self = Self(u128::MAX);

    fn first(cost: u32, rank: u16) -> Self {
        Self(u128::from(cost) << 64 | 1 << 48 | u128::from(rank) << 32)
    }

    /// One hop more. Costs cannot overflow: 2^32 hops of 2^32 are 2^64. Hops saturate.
    const fn extend(self, cost: u32) -> Self {
        let hop = if self.0 >> 48 & 0xffff == 0xffff { 0 } else { 1u128 << 48 };
        Self(self.0 + ((cost as u128) << 64) + hop)
    }

    #[allow(clippy::cast_possible_truncation)] // 64 bits remain
    pub(super) const fn cost(self) -> u64 {
        (self.0 >> 64) as u64
    }

    pub(super) const fn rank(self) -> usize {
        (self.0 >> 32 & 0xffff) as usize
    }

    /// The same path by a first hop of another rank.
    fn ranked(self, rank: u16) -> Self {
        Self(self.0 & !(0xffff << 32) | u128::from(rank) << 32)
    }

    fn at(self, node: Node) -> u128 {
        self.0 | u128::from(node)
    }

    #[allow(clippy::cast_possible_truncation)] // the low 32 bits are the node
    const fn split(key: u128) -> (Self, Node) {
        (Self(key >> 32 << 32), key as u32)
    }
}

/// Labels and parents of all nodes; keeps its buffers between runs.
#[derive(Debug, Default)]
pub(super) struct Tree {
    here: Node,
    labels: Vec<Label>,
    parents: Vec<Node>,
    heap: BinaryHeap<Reverse<u128>>,
    /// Nodes whose label may have become worse, and the same by node.
    lost: Vec<Node>,
    is_lost: Vec<bool>,
}

impl Tree {
    pub(super) const fn here(&self) -> Node {
        self.here
    }

    /// The path to each node, if there is one, and the node before it on the way.
    pub(super) fn paths(&self) -> impl Iterator<Item = (Option<Label>, Node)> + '_ {
        let reached = |l: &Label| Some(*l).filter(|l| *l != Label::UNREACHED);
        self.labels.iter().map(reached).zip(self.parents.iter().copied())
    }

    /// All paths anew.
    pub(super) fn grow(&mut self, graph: &Graph, here: Node, exits: &[Exit]) {
        self.here = here;
        self.labels.clear();
        self.labels.resize(graph.len(), Label::UNREACHED);
        self.parents.clear();
        self.parents.resize(graph.len(), 0);
        self.heap.clear();
        for (rank, exit) in (0u16..=u16::MAX).zip(exits).filter(|(_, e)| e.counts) {
            self.offer(exit.peer, Label::first(exit.cost, rank), here);
        }
        self.settle(graph);
    }

    /// The paths after these changes of a graph that is otherwise the same. `ranks` has the new rank
    /// of every former exit.
    pub(super) fn repair(
        &mut self,
        graph: &Graph,
        exits: &[Exit],
        changes: &[Change],
        ranks: &[Option<u16>],
    ) {
        self.heap.clear();
        self.lose(graph, changes);
        // Ranks keep their order, and so do all labels. Whose first hop is gone was lost above.
        let shifted = (0u16..).zip(ranks).any(|(old, new)| Some(old) != *new);
        for label in self.labels.iter_mut().filter(|l| shifted && **l != Label::UNREACHED) {
            if let Some(Some(rank)) = ranks.get(label.rank()) {
                *label = label.ranked(*rank);
            }
        }
        let lost = core::mem::take(&mut self.lost);
        for node in &lost {
            self.reoffer(graph, exits, *node);
        }
        for change in changes {
            let label = if change.from == self.here {
                first(exits, change.to)
            } else {
                // As it is now: an edge both of whose ends spoke may stand among the changes twice.
                let cost = graph.cost(change.from, change.to);
                self.label(change.from).filter(|_| cost > 0).map(|l| l.extend(cost))
            };
            if let Some(label) = label {
                self.offer(change.to, label, change.from);
            }
        }
        for node in &lost {
            if let Some(mark) = self.is_lost.get_mut(*node as usize) {
                *mark = false;
            }
        }
        self.lost = lost;
        self.settle(graph);
    }

    /// Forgets all paths that lead over an edge that became worse.
    fn lose(&mut self, graph: &Graph, changes: &[Change]) {
        self.lost.clear();
        self.is_lost.resize(graph.len(), false);
        for change in changes.iter().filter(|c| c.is_worse()) {
            self.lose_child(change.from, change.to);
        }
        let mut at = 0;
        while let Some(node) = self.lost.get(at).copied() {
            at += 1;
            // An edge that is in the row no more is among the changes itself.
            for edge in graph.row(node) {
                self.lose_child(node, edge.to);
            }
        }
        for node in &self.lost {
            if let Some(label) = self.labels.get_mut(*node as usize) {
                *label = Label::UNREACHED;
            }
        }
    }

    fn lose_child(&mut self, parent: Node, node: Node) {
        let at = node as usize;
        let child = self.parents.get(at) == Some(&parent) && self.label(node).is_some();
        if let Some(mark) = self.is_lost.get_mut(at)
            && child
            && !*mark
        {
            *mark = true;
            self.lost.push(node);
        }
    }

    /// Offers a lost node what the others have. Links have two ends, so who leads to it is in its own
    /// row.
    fn reoffer(&mut self, graph: &Graph, exits: &[Exit], node: Node) {
        if let Some(label) = first(exits, node) {
            self.offer(node, label, self.here);
        }
        let here = self.here;
        for edge in graph.row(node).iter().filter(|e| e.cost > 0 && e.to != here) {
            let lost = self.is_lost.get(edge.to as usize).is_some_and(|l| *l);
            let Some(label) = self.label(edge.to).filter(|_| !lost) else { continue };
            let cost = graph.cost(edge.to, node);
            if cost > 0 {
                self.offer(node, label.extend(cost), edge.to);
            }
        }
    }

    /// Dijkstra's algorithm from what is in the heap.
    fn settle(&mut self, graph: &Graph) {
        while let Some(Reverse(key)) = self.heap.pop() {
            let (label, node) = Label::split(key);
            if self.labels.get(node as usize) != Some(&label) {
                continue;
            }
            for edge in graph.row(node) {
                if edge.cost > 0 && edge.to != self.here {
                    self.offer(edge.to, label.extend(edge.cost), node);
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

    fn label(&self, node: Node) -> Option<Label> {
        self.labels.get(node as usize).copied().filter(|l| *l != Label::UNREACHED)
    }
}

/// The path to a neighbour over the link to it.
fn first(exits: &[Exit], peer: Node) -> Option<Label> {
    let rank = exits.binary_search_by_key(&peer, |e| e.peer).ok()?;
    let exit = exits.get(rank).filter(|e| e.counts)?;
    Some(Label::first(exit.cost, u16::try_from(rank).ok()?))
}
