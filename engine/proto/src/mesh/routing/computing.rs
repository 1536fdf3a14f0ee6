//! Routes anew: from what is new in the database, and only where that matters.
//!
//! Notes which words changed since the last computation; while no node came or went, the planner
//! repairs its last result. What follows from a new table leaves here: the table, and who came into
//! reach or went out of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Routing, RoutingOutput};
use crate::base::{Address, Instant};
use crate::mesh::database::Entry;
use crate::mesh::routes::{RouteTable, Word};

/// What is new in the database since routes were computed.
#[derive(Debug)]
pub(super) enum Changed {
    /// These origins say something else; at most `limits.origins` of them.
    Words(BTreeSet<Address>),
    /// Some came or went.
    Nodes,
}

impl Default for Changed {
    fn default() -> Self {
        Self::Words(BTreeSet::new())
    }
}

impl Changed {
    /// An origin says something else, or for the first time.
    pub(super) fn note(&mut self, origin: Address, is_new: bool) {
        match self {
            Self::Words(origins) if !is_new => drop(origins.insert(origin)),
            _ => *self = Self::Nodes,
        }
    }
}

impl Routing {
    /// The routes as they should be now.
    fn compute(&mut self, now: Instant) -> RouteTable {
        let (version, me) = (self.table.version() + 1, self.identity.hashname());
        let links = self.neighbours.local_links(now);
        if let Changed::Words(origins) = core::mem::take(&mut self.changed) {
            let words = origins.iter().filter_map(|o| self.database.get(o)).map(word);
            if let Some(table) = self.planner.update(version, me, &links, words) {
                return table;
            }
        }
        let words = self.database.entries().map(|(_, e)| word(e));
        self.planner.compute(version, me, &links, words)
    }

    /// A neighbour that was held down is not any more.
    pub(super) fn count_again(&mut self, now: Instant, neighbour: &Address) {
        if self.neighbours.release(neighbour) {
            self.own.changed(now);
            self.schedule.want(now);
        }
    }

    pub(super) fn compute_if_due(&mut self, now: Instant) {
        if !self.schedule.take_due(now) {
            return;
        }
        let mut table = self.compute(now);
        // Damping must not cost reach.
        let held: Vec<Address> = self.neighbours.held_down().collect();
        let cut_off = held.into_iter().filter(|a| table.next(a).is_none());
        if cut_off.fold(false, |any, a| self.neighbours.release(&a) | any) {
            self.own.changed(now);
            table = self.compute(now);
        }
        if table.same_routes(&self.table) {
            return;
        }
        let changes = table.changes_since(&self.table);
        self.table = Arc::new(table);
        self.outputs.push_back(RoutingOutput::Publish(Arc::clone(&self.table)));
        self.outputs.extend(changes.into_iter().map(|(hashname, up)| {
            if up { RoutingOutput::NodeUp(hashname) } else { RoutingOutput::NodeDown(hashname) }
        }));
    }
}

fn word(entry: &Entry) -> Word<'_> {
    Word { hashname: entry.hashname, neighbours: &entry.neighbours }
}
