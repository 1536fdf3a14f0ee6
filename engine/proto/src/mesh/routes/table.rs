//! The result of a route computation, read for every package.

use std::sync::Arc;

use super::{Node, directory::Directory};
use crate::base::{Address, Hashname, LinkId};

/// Where a package goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The link to send it on.
    pub link: LinkId,
    /// Cost of the whole way from here.
    pub cost: u64,
}

/// Whether and how a node is reached, and if not, why not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It is this node.
    Here,
    /// By this hop.
    Through(Hop),
    /// It has links that count, but no chain of them leads there from here.
    Apart,
    /// None of its links counts: no neighbour confirms what it announces, or it announces none.
    Unlinked,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) reach: Reach,
    /// The node before it on the way; means something only for [`Reach::Through`].
    pub(super) parent: Node,
}

/// All routes of a node at one moment. Never changes; a newer table takes its place whole.
///
/// About 60 bytes a node.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteTable {
    version: u64,
    me: Hashname,
    directory: Arc<Directory>,
    entries: Vec<Entry>,
}

impl RouteTable {
    /// The table of a node that knows nobody.
    #[must_use]
    pub fn empty(me: Hashname) -> Self {
        let directory = Arc::new(Directory::new(vec![me]));
        Self::new(0, me, directory, vec![Entry { reach: Reach::Here, parent: 0 }])
    }

    pub(super) fn new(
        version: u64,
        me: Hashname,
        directory: Arc<Directory>,
        mut entries: Vec<Entry>,
    ) -> Self {
        let here = directory.find(&me.address()).and_then(|n| entries.get_mut(n as usize));
        if let Some(entry) = here {
            entry.reach = Reach::Here;
        }
        Self { version, me, directory, entries }
    }

    /// Grows by at least one with every table of a node.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The node whose routes these are.
    #[must_use]
    pub const fn me(&self) -> Hashname {
        self.me
    }

    /// The next hop to `to`; `None` if it is this node, unknown or out of reach.
    #[must_use]
    pub fn next(&self, to: &Address) -> Option<Hop> {
        match self.reach(to)? {
            Reach::Through(hop) => Some(hop),
            _ => None,
        }
    }

    /// Whether and how `to` is reached; `None` if nobody ever spoke of it.
    #[must_use]
    pub fn reach(&self, to: &Address) -> Option<Reach> {
        Some(self.entry(self.directory.find(to)?)?.reach)
    }

    /// The nodes on the way to `to`, itself last and this node left out, as far as this node can
    /// tell; each hop decides afresh. `None` if out of reach.
    #[must_use]
    pub fn path(&self, to: &Address) -> Option<Vec<Address>> {
        let mut path = Vec::new();
        let mut node = self.directory.find(to)?;
        loop {
            let entry = self.entry(node)?;
            match entry.reach {
                Reach::Here => break,
                // A path visits no node twice; the bound only guards against a broken table.
                Reach::Through(_) if path.len() < self.entries.len() => {
                    path.push(self.directory.get(node)?.address());
                    node = entry.parent;
                }
                _ => return None,
            }
        }
        path.reverse();
        Some(path)
    }

    /// The hashname with this address, if the node is known, in reach or not.
    #[must_use]
    pub fn hashname(&self, of: &Address) -> Option<Hashname> {
        self.directory.get(self.directory.find(of)?)
    }

    /// All known nodes with how they are reached, ascending by address.
    pub fn nodes(&self) -> impl Iterator<Item = (Hashname, Reach)> + '_ {
        self.directory.hashnames().iter().copied().zip(self.entries.iter().map(|e| e.reach))
    }

    /// All nodes in reach but this one, ascending by address.
    pub fn reachable(&self) -> impl Iterator<Item = (Hashname, Hop)> + '_ {
        self.nodes().filter_map(|(h, reach)| match reach {
            Reach::Through(hop) => Some((h, hop)),
            _ => None,
        })
    }

    /// Whether this table sends every package where `other` does.
    #[must_use]
    pub fn same_routes(&self, other: &Self) -> bool {
        self.entries == other.entries && self.directory == other.directory && self.me == other.me
    }

    /// Who came into reach (true) and who went out of it (false) since `former`, ascending.
    #[must_use]
    pub fn changes_since(&self, former: &Self) -> Vec<(Hashname, bool)> {
        let mut out = Vec::new();
        let mut old = former.reachable().map(|(h, _)| h).peekable();
        for (h, _) in self.reachable() {
            while let Some(gone) = old.next_if(|o| *o < h) {
                out.push((gone, false));
            }
            if old.next_if_eq(&h).is_none() {
                out.push((h, true));
            }
        }
        out.extend(old.map(|h| (h, false)));
        out
    }

    fn entry(&self, node: Node) -> Option<Entry> {
        self.entries.get(node as usize).copied()
    }
}
