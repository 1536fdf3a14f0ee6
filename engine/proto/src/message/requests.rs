//! Requests that wait for their replies: each with an end, all together bounded.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Address, Instant};

#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) to: Address,
    /// It went in the line: so must its reply come.
    pub(super) sealed: bool,
    deadline: Instant,
}

/// The requests of one partition.
#[derive(Debug)]
pub(super) struct Requests {
    waiting: BTreeMap<u64, Request>,
    deadlines: BTreeSet<(Instant, u64)>,
    most: usize,
}

impl Requests {
    pub(super) const fn new(most: usize) -> Self {
        Self { waiting: BTreeMap::new(), deadlines: BTreeSet::new(), most }
    }

    /// False if too many wait.
    pub(super) fn add(&mut self, id: u64, to: Address, sealed: bool, deadline: Instant) -> bool {
        if self.waiting.len() >= self.most {
            return false;
        }
        if let Some(before) = self.waiting.insert(id, Request { to, sealed, deadline }) {
            self.deadlines.remove(&(before.deadline, id));
        }
        self.deadlines.insert((deadline, id));
        true
    }

    /// Ends a request. None if it does not wait.
    pub(super) fn take(&mut self, id: u64) -> Option<Request> {
        let request = self.waiting.remove(&id)?;
        self.deadlines.remove(&(request.deadline, id));
        Some(request)
    }

    /// Ends a request by a reply of that node. None if it was not asked for.
    pub(super) fn answered(&mut self, id: u64, by: &Address, sealed: bool) -> Option<Request> {
        let request = self.waiting.get(&id)?;
        (request.to == *by && (sealed || !request.sealed)).then(|| self.take(id))?
    }

    /// Ends the first request whose time is up.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<(u64, Request)> {
        let (_, id) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        self.take(id).map(|request| (id, request))
    }

    /// Ends all requests to a node that went in the line.
    pub(super) fn lost(&mut self, to: &Address) -> Vec<u64> {
        let lost = self.waiting.iter().filter(|(_, r)| r.to == *to && r.sealed);
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        for id in &lost {
            self.take(*id);
        }
        lost
    }

    /// Ends all requests.
    pub(super) fn take_all(&mut self) -> Vec<(u64, Request)> {
        self.deadlines.clear();
        core::mem::take(&mut self.waiting).into_iter().collect()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
