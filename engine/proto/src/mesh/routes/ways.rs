//! What can be told of the ways to one node when somebody asks: what each neighbour would cost, and
//! who hangs together with it. Computed on demand, from the graph as it stands.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Node, Planner};
use crate::base::{Address, Hashname};

impl Planner {
    /// What the way from each neighbour to `to` costs that does not lead back over this node;
    /// neighbours without one are left out. As of the last computation.
    #[must_use]
    pub fn costs_beyond(&self, to: &Address) -> Vec<(Hashname, u64)> {
        let directory = self.graph.directory();
        let Some(to) = directory.find(to) else { return Vec::new() };
        let costs = self.costs_to(to);
        let cost = |peer: Node| costs.get(peer as usize).copied().flatten();
        let exits = self.exits.iter().filter(|e| e.counts);
        exits.filter_map(|e| Some((directory.get(e.peer)?, cost(e.peer)?))).collect()
    }

    /// How many nodes hang together with `to` by links that count, itself included, not over this
    /// node.
    #[must_use]
    pub fn part_of(&self, to: &Address) -> usize {
        let Some(to) = self.graph.directory().find(to) else { return 0 };
        self.costs_to(to).iter().flatten().count()
    }

    /// What the cheapest way from each node to `to` costs, without this node. A link counts in both
    /// directions or in none, so who leads to a node stands in its own row.
    fn costs_to(&self, to: Node) -> Vec<Option<u64>> {
        let here = self.tree.here();
        let mut costs = vec![None; self.graph.len()];
        let mut heap = BinaryHeap::from([Reverse((0u64, to))]);
        while let Some(Reverse((cost, node))) = heap.pop() {
            let Some(held) = costs.get_mut(node as usize).filter(|held| held.is_none()) else {
                continue;
            };
            *held = Some(cost);
            for edge in self.graph.row(node) {
                let back = self.graph.cost(edge.to, node);
                let open = costs.get(edge.to as usize).is_some_and(Option::is_none);
                if edge.cost > 0 && back > 0 && edge.to != here && open {
                    heap.push(Reverse((cost + u64::from(back), edge.to)));
                }
            }
        }
        costs
    }
}
