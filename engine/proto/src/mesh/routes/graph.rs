//! The graph that routes are computed over: who says what, and which of it both ends say.
//!
//! A row for each node of the directory, ascending by target. Rows keep their room between runs.
//! The node itself has none: its links are taken as they are, not as it announces them
//! ([`super::exits`]).

use std::sync::Arc;

use super::directory::Directory;
use super::{Node, Word, count};
use crate::base::Hashname;
use crate::wire::announce::Neighbour;

/// What one node says of a link to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Edge {
    pub(super) to: Node,
    /// 0 while the other end has not been found to say the same.
    pub(super) cost: u32,
    said: u32,
}

/// An edge that costs something else than before; 0 stands for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub(super) from: Node,
    pub(super) to: Node,
    pub(super) before: u32,
    pub(super) now: u32,
}

impl Change {
    pub(super) const fn is_worse(&self) -> bool {
        self.before > 0 && (self.now == 0 || self.now > self.before)
    }
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    directory: Arc<Directory>,
    rows: Vec<Vec<Edge>>,
    /// Which nodes have a word; the others are known as neighbours of this node only.
    spoke: Vec<bool>,
    cursors: Vec<u32>,
}

impl Graph {
    pub(super) const fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    pub(super) fn len(&self) -> usize {
        self.directory.len()
    }

    pub(super) fn row(&self, node: Node) -> &[Edge] {
        self.rows.get(node as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether the node has a word of its own.
    pub(super) fn spoke(&self, node: Node) -> bool {
        self.spoke.get(node as usize).is_some_and(|s| *s)
    }

    /// Whether `node` says that it has a link to `other`.
    pub(super) fn says(&self, node: Node, other: Node) -> bool {
        self.row(node).binary_search_by_key(&other, |e| e.to).is_ok()
    }

    /// What going from one node to a neighbour costs; 0 unless both say that they are linked.
    pub(super) fn cost(&self, from: Node, to: Node) -> u32 {
        let row = self.row(from);
        let found = row.binary_search_by_key(&to, |e| e.to).ok().and_then(|at| row.get(at));
        found.map_or(0, |e| e.cost)
    }

    /// All anew: from the nodes with a word, this one and its neighbours.
    pub(super) fn take<'a>(
        &mut self,
        me: Hashname,
        peers: impl Iterator<Item = Hashname>,
        words: impl Iterator<Item = Word<'a>> + Clone,
    ) {
        self.take_directory(me, peers, words.clone());
        self.take_rows(me, words);
        self.match_ends();
    }

    /// Nodes ascending by address. The former directory is kept if nobody came or went.
    fn take_directory<'a>(
        &mut self,
        me: Hashname,
        peers: impl Iterator<Item = Hashname>,
        words: impl Iterator<Item = Word<'a>>,
    ) {
        let mut others: Vec<Hashname> = peers.collect();
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

    fn take_rows<'a>(&mut self, me: Hashname, words: impl Iterator<Item = Word<'a>>) {
        let Self { directory, rows, spoke, .. } = self;
        rows.resize_with(directory.len(), Vec::new);
        spoke.clear();
        let mut words = words.filter(|w| w.hashname != me).peekable();
        for (hashname, row) in directory.hashnames().iter().zip(rows) {
            row.clear();
            let word = words.next_if(|w| w.hashname == *hashname);
            spoke.push(word.is_some());
            row.extend(word.iter().flat_map(|w| w.neighbours).filter_map(|n| edge(directory, n)));
        }
    }

    /// Gives every edge its cost whose reverse is there too. Nodes are visited ascending and so
    /// are the targets of each, so one cursor per node finds all reverses in one walk.
    fn match_ends(&mut self) {
        let Self { rows, cursors, .. } = self;
        cursors.clear();
        cursors.resize(rows.len(), 0);
        for from in 0..count(rows.len()) {
            for at in 0..rows.get(from as usize).map_or(0, Vec::len) {
                let to = rows.get(from as usize).and_then(|r| r.get(at)).map(|e| e.to);
                let Some(to) = to else { continue };
                if reaches(rows, cursors, to, from)
                    && let Some(edge) = rows.get_mut(from as usize).and_then(|r| r.get_mut(at))
                {
                    edge.cost = edge.said;
                }
            }
        }
    }

    /// One node says something else. Puts what that changes into `changes`; `None` if the node is
    /// not in the directory, and all must be taken anew.
    pub(super) fn replace(&mut self, word: Word<'_>, changes: &mut Vec<Change>) -> Option<()> {
        let from = self.directory.find(&word.hashname.address())?;
        if self.directory.get(from) != Some(word.hashname) || !self.spoke(from) {
            return None;
        }
        let mut row = Vec::with_capacity(word.neighbours.len());
        row.extend(word.neighbours.iter().filter_map(|n| edge(&self.directory, n)));
        for edge in &mut row {
            edge.cost = if self.says(edge.to, from) { edge.said } else { 0 };
        }
        let former = core::mem::replace(self.rows.get_mut(from as usize)?, row);
        // Both ascend: what only one of them has came or went.
        let mut now = core::mem::take(self.rows.get_mut(from as usize)?);
        let mut old = former.iter().peekable();
        for edge in &now {
            while let Some(gone) = old.next_if(|o| o.to < edge.to) {
                change(changes, (from, gone.to), gone.cost, 0);
                self.answer(changes, gone.to, from, false);
            }
            let before = old.next_if(|o| o.to == edge.to);
            change(changes, (from, edge.to), before.map_or(0, |o| o.cost), edge.cost);
            if before.is_none() {
                self.answer(changes, edge.to, from, true);
            }
        }
        for gone in old {
            change(changes, (from, gone.to), gone.cost, 0);
            self.answer(changes, gone.to, from, false);
        }
        core::mem::swap(self.rows.get_mut(from as usize)?, &mut now);
        Some(())
    }

    /// What `node` says of its link to `other` begins or ceases to count.
    fn answer(&mut self, changes: &mut Vec<Change>, node: Node, other: Node, counts: bool) {
        let row = self.rows.get_mut(node as usize);
        let edge = row.and_then(|row| {
            let at = row.binary_search_by_key(&other, |e| e.to).ok()?;
            row.get_mut(at)
        });
        let Some(edge) = edge else { return };
        let (before, now) = (edge.cost, if counts { edge.said } else { 0 });
        edge.cost = now;
        change(changes, (node, other), before, now);
    }
}

fn change(changes: &mut Vec<Change>, (from, to): (Node, Node), before: u32, now: u32) {
    if before != now {
        changes.push(Change { from, to, before, now });
    }
}

fn edge(directory: &Directory, n: &Neighbour) -> Option<Edge> {
    Some(Edge { to: directory.find(&n.address)?, cost: 0, said: n.cost.get() })
}

/// Whether `node` announces a link to `other`; asked with `other` ascending for each `node`.
fn reaches(rows: &[Vec<Edge>], cursors: &mut [u32], node: Node, other: Node) -> bool {
    let (Some(row), Some(cursor)) = (rows.get(node as usize), cursors.get_mut(node as usize))
    else {
        return false;
    };
    loop {
        match row.get(*cursor as usize) {
            Some(e) if e.to < other => *cursor += 1,
            found => return found.is_some_and(|e| e.to == other),
        }
    }
}
