//! A node's part in the mesh: it announces its links, spreads what others announce, forgets what
//! is old, and computes routes (N2, N10 to N13; PROTOCOL §7).
//!
//! Owns this node's own word (`own`), its neighbours and what each still has to be sent
//! (`adjacent`), what is made of their announcements (`judge`) and those that must wait
//! (`waiting`), broadcasts (`spreading`), when to compute (`schedule`), and through them the database and the route
//! table. Knows no transport: links come up and go down by calls, frames go out by
//! [`Routing::poll`].
//!
//! ```text
//!  link_up, link_down, set_cost          announcement(from)               digest(from)
//!        │                                     │                             │
//!        ▼                                     ▼                             │
//!   own word, signed ─────▶ head: news? ─▶ pace ─▶ signature ─▶ database     │
//!        │                    │ no: drop    └ early: waiting      │          │
//!        │                                                        ▼          ▼
//!        └──────────────────────────────▶ all neighbours but `from`, what they lack
//!                                                                 │
//!                            schedule ─▶ planner ─▶ RouteTable, NodeUp, NodeDown
//! ```

mod adjacent;
mod computing;
mod damping;
mod judge;
mod own;
mod reasons;
mod schedule;
mod spreading;
mod status;
mod waiting;

pub use reasons::{Obstacle, Route, Way};
pub use spreading::{Arrival, Spread};
pub use status::{LinkStatus, NodeStatus};

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::broadcast::{self, Heard};
use super::database::{Database, Slot};
use super::pace::{Pace, Rate};
use super::routes::{Planner, Reach, RouteTable};
use crate::base::{
    Address, BootEpoch, Chance, DropReason, Hashname, Instant, Limits, LinkId, Priority, Wall,
};
use crate::crypto::{Identity, KeyRecord};
use crate::wire::announce::{ANNOUNCEMENT_MAX, Announcement, Digest, Neighbour};
use crate::wire::link::{Capabilities, Cost, NodeName};
use crate::wire::sequence::PackTerms;
use adjacent::{Neighbours, NewWay, Part};
use computing::Changed;
use damping::Damping;
use own::Own;
use reasons::Gone;
use schedule::Schedule;
use waiting::Waiting;

/// Records may end while nothing else happens: looked for this often.
const SWEEP: Duration = Duration::from_secs(60);

/// What the routing wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum RoutingOutput {
    /// Write this announcement or digest frame to a link, ahead of all packages.
    Flood {
        /// The link.
        link: LinkId,
        /// The whole frame.
        frame: Bytes,
    },
    /// Write this broadcast to a link, in the lane of its priority.
    Broadcast {
        /// The link.
        link: LinkId,
        /// How urgent.
        priority: Priority,
        /// The whole frame.
        frame: Bytes,
    },
    /// Another node said this to all.
    Arrived(Arrival),
    /// From now on packages go by this table.
    Publish(Arc<RouteTable>),
    /// A node's record, verified, that is new or was renewed.
    Learned(Arc<KeyRecord>),
    /// A link became part of the mesh.
    LinkUp {
        /// The link.
        link: LinkId,
        /// Who is at its other end.
        peer: Hashname,
    },
    /// A link of the mesh is gone.
    LinkDown {
        /// The link.
        link: LinkId,
        /// Who was at its other end.
        peer: Hashname,
    },
    /// How another node packs and what it takes: new, or changed.
    Packs(Hashname, PackTerms),
    /// A node came into reach.
    NodeUp(Hashname),
    /// A node went out of reach.
    NodeDown(Hashname),
    /// Two live nodes have this identity. If it is this node's own, somebody runs a copy of it.
    Cloned(Hashname),
    /// The mesh holds an announcement by a later record of this very node, with this serial:
    /// this process runs on old keys and is not listened to.
    Superseded(u64),
}

/// The routing of one node. See the head of the module.
#[derive(Debug)]
pub struct Routing {
    limits: Limits,
    identity: Arc<Identity>,
    own: Own,
    neighbours: Neighbours,
    database: Database,
    records: BTreeMap<Address, Arc<KeyRecord>>,
    waiting: Waiting,
    schedule: Schedule,
    planner: Planner,
    changed: Changed,
    table: Arc<RouteTable>,
    next_sweep: Instant,
    damping: Damping,
    gone: Gone,
    heard: Heard,
    /// Broadcasts of this node.
    broadcasting: (Pace, Option<Rate>),
    broadcasts: Spread,
    /// The serial of this node's own record that the mesh knows and this process does not.
    superseded: Option<u64>,
    outputs: VecDeque<RoutingOutput>,
}

impl Routing {
    /// The routing of a node without links.
    #[must_use]
    pub fn new(
        identity: Arc<Identity>,
        epoch: BootEpoch,
        name: NodeName,
        capabilities: Capabilities,
        limits: &Limits,
        mut chance: Chance,
    ) -> Self {
        let (me, per_origin) = (identity.hashname(), limits.broadcasts_per_origin);
        Self {
            own: Own::new(me.address(), epoch, name, capabilities, limits, chance.fork()),
            neighbours: Neighbours::new(chance),
            database: Database::new(me.address(), limits),
            records: BTreeMap::new(),
            waiting: Waiting::default(),
            schedule: Schedule::new(limits.route_debounce),
            planner: Planner::default(),
            changed: Changed::default(),
            table: Arc::new(RouteTable::empty(me)),
            next_sweep: Instant::ZERO + SWEEP,
            damping: Damping::default(),
            gone: Gone::default(),
            heard: Heard::new(limits.origins, per_origin),
            broadcasting: (Pace::default(), broadcast::rate(per_origin, per_origin)),
            broadcasts: Spread::default(),
            superseded: None,
            outputs: VecDeque::new(),
            limits: limits.clone(),
            identity,
        }
    }

    /// How this node packs and what it takes, said to all others from its next announcement on.
    pub const fn pack(&mut self, packing: PackTerms) {
        self.own.pack(packing);
    }

    /// A link to a proved and welcome peer came up. `epoch` is the one of its hello, `cost` what
    /// sending to it costs. Several links may lead to one peer.
    ///
    /// # Errors
    /// `TableFull` if this node has all the links or neighbours it may announce, `Misaddressed`
    /// if the peer is this node or bears the address of another, `Replayed` for a link id that is
    /// up already. The link is then not part of the mesh and should be closed.
    pub fn link_up(
        &mut self,
        now: Instant,
        link: LinkId,
        peer: &Arc<KeyRecord>,
        epoch: BootEpoch,
        cost: Cost,
    ) -> Result<(), DropReason> {
        let me = self.identity.hashname().address();
        let most = self.limits.neighbours.min(self.own.room(&self.identity));
        if peer.hashname().address() == me {
            return Err(DropReason::Misaddressed);
        }
        if self.neighbours.links() >= self.limits.links {
            return Err(DropReason::TableFull);
        }
        // Who is reached by others does not need this link at once.
        let address = peer.hashname().address();
        let damped = self.damping.holds(&address) && self.table.next(&address).is_some();
        self.neighbours.add(now, peer, NewWay { link, epoch, cost, damped }, most)?;
        self.outputs.push_back(RoutingOutput::LinkUp { link, peer: peer.hashname() });
        if self.neighbours.part_of(link) == Some(Part::Used) {
            self.own.changed(now);
            self.schedule.want(now);
        }
        Ok(())
    }

    /// A link is gone. Packages get their new ways at once, unless there was a computation in the
    /// last few milliseconds; then right after.
    pub fn link_down(&mut self, now: Instant, link: LinkId) {
        let part = self.neighbours.part_of(link);
        let Some(peer) = self.neighbours.remove(now, link) else { return };
        self.outputs.push_back(RoutingOutput::LinkDown { link, peer });
        if part != Some(Part::Spare) {
            self.damping.lost(now, peer.address());
        }
        if part == Some(Part::Used) {
            self.own.changed(now);
            self.schedule.want_at_once(now);
            self.compute_if_due(now);
        }
    }

    /// Sending over a link costs something else now.
    pub fn set_cost(&mut self, now: Instant, link: LinkId, cost: Cost) {
        if self.neighbours.set_cost(link, cost) {
            self.own.changed(now);
            self.schedule.want(now);
        }
    }

    /// A link takes no more control frames for now (`true`), or takes them again. What its
    /// neighbour lacks meanwhile is remembered by origin, not queued: when the link takes frames
    /// again it gets the latest of each.
    pub fn hold(&mut self, link: LinkId, held: bool) {
        self.neighbours.hold(link, held);
    }

    /// This node's identity was renewed: same hashname, new record.
    pub fn renew(&mut self, now: Instant, identity: Arc<Identity>) {
        if identity.hashname() == self.identity.hashname() {
            self.identity = identity;
            self.own.changed(now);
        }
    }

    /// Takes the body of an announcement frame from a link.
    ///
    /// # Errors
    /// Why it was dropped. `StaleAnnouncement` is daily bread: flooding brings copies.
    pub fn announcement(
        &mut self,
        now: Instant,
        wall: Wall,
        from: LinkId,
        body: &[u8],
    ) -> Result<(), DropReason> {
        let from = self.neighbours.peer_of(from).ok_or(DropReason::LinkDown)?;
        self.consider(now, wall, from, body)
    }

    /// Takes the body of a digest frame from a link: what the sender lacks is sent to it.
    ///
    /// # Errors
    /// Why it was dropped; `RateLimited` if the sender asks for too much.
    pub fn digest(&mut self, now: Instant, from: LinkId, body: &[u8]) -> Result<(), DropReason> {
        let from = self.neighbours.peer_of(from).ok_or(DropReason::LinkDown)?;
        let digest = Digest::parse(body)?;
        let sender = self.neighbours.get_mut(&from).ok_or(DropReason::LinkDown)?;
        sender.may_compare(now)?;
        let mut theirs = digest.entries().peekable();
        let mut walked = 0;
        for (slot, ours) in self.database.stretch(digest.first, digest.last) {
            walked += 1;
            while theirs.next_if(|t| t.origin < ours.origin).is_some() {}
            let same = theirs.next_if(|t| t.origin == ours.origin);
            if same.is_none_or(|t| t.order < ours.order) {
                sender.lacks(slot);
            }
        }
        sender.compared(now, walked);
        Ok(())
    }

    /// Whether routes have been computed since the last change.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.schedule.due().is_none()
    }

    /// When [`Self::handle_timeout`] or [`Self::poll`] has something to do, at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        [
            self.own.due(),
            self.schedule.due(),
            self.waiting.due(),
            self.damping.due(),
            self.database.next_expiry(),
            self.neighbours.due(),
            Some(self.next_sweep),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Lets time pass: ages, refreshes, takes up what waited, computes routes.
    pub fn handle_timeout(&mut self, now: Instant, wall: Wall) {
        if now >= self.next_sweep || self.database.next_expiry().is_some_and(|due| now >= due) {
            self.next_sweep = now + SWEEP;
            for gone in self.database.expire(now, wall) {
                self.records.remove(&gone);
                self.gone.note(now, gone);
                self.changed = Changed::Nodes;
                self.schedule.want(now);
            }
        }
        while let Some(neighbour) = self.damping.release(now) {
            self.count_again(now, &neighbour);
        }
        while let Some((from, body)) = self.waiting.take_due(now) {
            // Judged afresh: what was news when it began to wait may be none any more.
            let _ = self.consider(now, wall, from, &body);
        }
        if self.own.due().is_some_and(|due| now >= due) {
            self.announce(now);
        }
        for cloned in self.neighbours.handle_timeout(now) {
            self.outputs.push_back(RoutingOutput::Cloned(cloned));
        }
        if self.neighbours.take_grace_over(now) {
            self.schedule.want(now);
        }
        self.compute_if_due(now);
    }

    /// The next thing to do, until there is none at this moment.
    pub fn poll(&mut self, now: Instant) -> Option<RoutingOutput> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        self.neighbours.poll(now, &self.database)
    }

    /// The routes as they are now.
    #[must_use]
    pub const fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }

    /// Puts a verified announcement into the database and on its way to the others.
    fn install(
        &mut self,
        now: Instant,
        from: Option<Address>,
        record: &Arc<KeyRecord>,
        body: &[u8],
        said: &Announcement<'_>,
    ) -> Result<(), DropReason> {
        let (hashname, ends) = (record.hashname(), record.expiry());
        let mut installed = self.database.install(now, hashname, ends, body, said);
        if installed == Err(DropReason::TableFull) && self.make_room() {
            installed = self.database.install(now, hashname, ends, body, said);
        }
        let installed = installed?;
        let known = self.records.get(&said.head.origin);
        if known.is_none_or(|k| k != record) && hashname != self.identity.hashname() {
            self.records.insert(said.head.origin, Arc::clone(record));
            self.outputs.push_back(RoutingOutput::Learned(Arc::clone(record)));
        }
        if installed.packing_changed && hashname != self.identity.hashname() {
            self.outputs.push_back(RoutingOutput::Packs(hashname, said.packing));
        }
        self.spread(installed.slot, from);
        if installed.links_changed {
            self.changed.note(said.head.origin, installed.is_new);
            self.schedule.want(now);
        }
        Ok(())
    }

    /// To all neighbours but the one it came from. The origin is not spared either: if it hears
    /// what it did not say, somebody else has its identity.
    fn spread(&mut self, slot: Slot, from: Option<Address>) {
        for (address, neighbour) in self.neighbours.iter_mut() {
            if Some(*address) == from {
                neighbour.has(slot);
            } else {
                neighbour.news(slot);
            }
        }
    }

    /// Forgets one node that cannot be reached anyway, for one that perhaps can. False if there
    /// is none.
    fn make_room(&mut self) -> bool {
        let lost = |reach| matches!(reach, Reach::Apart | Reach::Unlinked);
        let held = |h: &Hashname| self.database.slot(&h.address()).is_some();
        let mut nodes = self.table.nodes();
        let Some((victim, _)) = nodes.find(|(h, reach)| lost(*reach) && held(h)) else {
            return false;
        };
        self.records.remove(&victim.address());
        self.changed = Changed::Nodes;
        self.database.remove(&victim.address()).is_some()
    }

    fn announce(&mut self, now: Instant) {
        let neighbours: Vec<Neighbour> = self.neighbours.announced().collect();
        let Some(body) = self.own.make(now, &self.identity, &neighbours) else { return };
        let Ok(said) = Announcement::parse(&body) else { return };
        let record = Arc::clone(self.identity.record());
        let _ = self.install(now, None, &record, &body, &said);
    }
}
