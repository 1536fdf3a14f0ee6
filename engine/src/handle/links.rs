//! Links at run time: opened, closed, at another cost; what is known of the way to a node.

use std::collections::BTreeMap;

use crossbeam::channel::{Sender as Reply, bounded};
use parking_lot::Mutex;
use trunkline_proto::base::{Address, Hashname, Instant, LinkId};
use trunkline_proto::mesh::{Obstacle, Route, Routing};
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;
use trunkline_proto::wire::link::Cost;

use super::{Failure, Handle, PATIENCE};
use crate::changes::MeshChanges;
use crate::runtime::letters::{Command, Letter, LinkRef};
use crate::runtime::mailbox::Lane;
use crate::setup::Dial;

/// Why a link could not be opened, closed or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is a link of that name already.
    #[error("there is a link `{0}` already")]
    Taken(String),
    /// The neighbour would be this very node.
    #[error("that is this node's own hashname")]
    Oneself,
    /// There is no address to call.
    #[error("`{0}` has no address")]
    NoAddress(String),
    /// This node keeps up as many links as it may.
    #[error("{0} links are kept up already, and that is the most")]
    Full(usize),
    /// No link has that name or number.
    #[error("no link has the name or number `{0}`")]
    Unknown(String),
    /// This node has more to do than it may, or is stopping.
    #[error("this node is too busy or stopping")]
    Busy,
}

/// The links that are kept up, by their place among all that ever were.
#[derive(Debug, Default)]
pub(crate) struct Dialled(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    next: usize,
    named: BTreeMap<usize, (String, Hashname)>,
}

impl Dialled {
    /// Those of the configuration.
    pub(crate) fn new(dials: &[Dial]) -> Self {
        let named = dials.iter().map(|d| (d.name.clone(), d.hashname)).enumerate().collect();
        Self(Mutex::new(Kept { next: dials.len(), named }))
    }

    /// Name and neighbour of one.
    pub(crate) fn get(&self, index: usize) -> Option<(String, Hashname)> {
        self.0.lock().named.get(&index).cloned()
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.0.lock().named.iter().find(|(_, (n, _))| n == name).map(|(index, _)| *index)
    }

    fn add(&self, dial: &Dial, most: usize) -> Result<usize, LinkError> {
        let Kept { next, named } = &mut *self.0.lock();
        if named.values().any(|(name, _)| *name == dial.name) {
            return Err(LinkError::Taken(dial.name.clone()));
        }
        if named.len() >= most {
            return Err(LinkError::Full(most));
        }
        let index = *next;
        *next += 1;
        named.insert(index, (dial.name.clone(), dial.hashname));
        Ok(index)
    }

    /// It is kept up no more.
    pub(crate) fn forget(&self, index: usize) {
        self.0.lock().named.remove(&index);
    }
}

/// The mesh around the node.
impl Handle {
    /// Opens a link and keeps it up until it is closed or the node ends. Its name must be new.
    ///
    /// # Errors
    /// [`LinkError`]; that the neighbour does not answer is none, it is called again and again.
    pub fn link_add(&self, dial: Dial) -> Result<(), LinkError> {
        if dial.hashname == self.hashname() {
            return Err(LinkError::Oneself);
        }
        if dial.addresses.is_empty() {
            return Err(LinkError::NoAddress(dial.name));
        }
        let index = self.shared.dialled.add(&dial, self.shared.limits.links)?;
        let (hashname, addresses) = (dial.hashname, dial.addresses.clone());
        let added =
            self.command(self.seat_of(index), Command::AddLink { index, dial: Box::new(dial) });
        if added.is_err() {
            self.shared.dialled.forget(index);
            return Err(LinkError::Busy);
        }
        if self.shared.receives_lines {
            // As with links of the configuration: a line may find it at the same place.
            let role = Role::Partition(self.plan.partition_of(&hashname.address()));
            let letter = Letter::Post(role, Post::Found(hashname, addresses));
            if let Some(worker) = self.workers.get(self.plan.seat(role)) {
                let _ = worker.push(Lane::Urgent, letter);
            }
        }
        Ok(())
    }

    /// Closes a link, by name or number. One that this node calls is called no more; the other side of
    /// one that called here may call again.
    ///
    /// # Errors
    /// [`LinkError::Unknown`], [`LinkError::Busy`].
    pub fn link_close(&self, which: &str) -> Result<(), LinkError> {
        self.ask_link(which, |link, reply| Command::CloseLink { link, reply })
    }

    /// Gives sending over a link another cost, by name or number. A link that this node calls keeps it
    /// when it is called again.
    ///
    /// # Errors
    /// [`LinkError::Unknown`], [`LinkError::Busy`].
    pub fn link_cost(&self, which: &str, cost: Cost) -> Result<(), LinkError> {
        self.ask_link(which, |link, reply| Command::CostLink { link, cost, reply })
    }

    /// Links and nodes as they come and go, from now on: first what is there, then each change,
    /// in order and exactly once. Each call gives a follower of its own.
    #[must_use]
    pub fn changes(&self) -> MeshChanges {
        self.shared.changes.follow()
    }

    /// How a node is reached and what the other ways cost, or why it is not.
    ///
    /// # Errors
    /// [`Failure::Busy`].
    pub fn explain(&self, node: Address) -> Result<Result<Route, Obstacle>, Failure> {
        self.ask_routing(move |routing, now| routing.explain(now, &node))
    }

    /// Has something looked up where the link state is kept.
    pub(crate) fn ask_routing<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Routing, Instant) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = bounded(1);
        let ask = Box::new(move |routing: &Routing, now| drop(reply.send(ask(routing, now))));
        let seat = self.plan.seat(Role::Routing);
        self.command(seat, Command::Routing(ask)).map_err(|_| Failure::Busy)?;
        answer.recv_timeout(PATIENCE).map_err(|_| Failure::Busy)
    }

    fn ask_link(
        &self,
        which: &str,
        command: impl FnOnce(LinkRef, Reply<bool>) -> Command,
    ) -> Result<(), LinkError> {
        let unknown = || LinkError::Unknown(which.to_owned());
        let (seat, link) = match self.shared.dialled.find(which) {
            Some(index) => (self.seat_of(index), LinkRef::Dialled(index)),
            None => {
                let link = LinkId(which.parse().map_err(|_| unknown())?);
                (self.plan.seat(self.plan.reader_of(link)), LinkRef::Number(link))
            }
        };
        let (reply, answer) = bounded(1);
        self.command(seat, command(link, reply)).map_err(|_| LinkError::Busy)?;
        let found = answer.recv_timeout(PATIENCE).map_err(|_| LinkError::Busy)?;
        if found { Ok(()) } else { Err(unknown()) }
    }

    /// The seat that keeps a link up.
    fn seat_of(&self, index: usize) -> usize {
        let partition = index % usize::from(self.plan.partitions());
        self.plan.seat(Role::Partition(u16::try_from(partition).unwrap_or(0)))
    }
}
