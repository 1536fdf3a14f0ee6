//! Routing's stage: link state in, route tables out, off the path of packets.
//!
//! Wraps [`Routing`] and posts what it wants done: announcements to writers, the table to every
//! forwarder, records and reachability to the partitions they concern.

use std::sync::Arc;

use bytes::Bytes;

use super::outgoing::Run;
use super::plan::{Plan, Role};
use super::post::{Post, Posts};
use crate::base::{DropReason, Drops, Entrance, Hashname, Instant, Lane, LinkId, Wall};
use crate::mesh::routing::{Routing, RoutingOutput};
use crate::mesh::{Arrival, RouteTable};
use crate::message::{Broadcast, Outbound, Settings, pack_for_all};
use crate::wire::package::Code;

/// What the runtime is told about the mesh.
#[derive(Debug)]
pub enum MeshEvent {
    /// A link became part of the mesh.
    LinkUp(LinkId, Hashname),
    /// A link of the mesh is gone.
    LinkDown(LinkId, Hashname),
    /// A node can be reached.
    NodeUp(Hashname),
    /// A node cannot be reached any more.
    NodeDown(Hashname),
    /// The same identity runs in two places at once.
    Cloned(Hashname),
    /// This node runs on old keys: the mesh knows a record of it with this serial.
    Superseded(u64),
}

/// Routing on its thread.
#[derive(Debug)]
pub struct RoutingStage {
    us: Hashname,
    plan: Plan,
    routing: Routing,
    /// How this node packs what it says to all.
    messages: Settings,
    table: Arc<RouteTable>,
    drops: Drops,
}

impl RoutingStage {
    /// Routing without links yet.
    #[must_use]
    pub fn new(us: Hashname, plan: Plan, routing: Routing, messages: Settings) -> Self {
        let table = routing.table().clone();
        Self { us, plan, routing, messages, table, drops: Drops::default() }
    }

    /// The link state, for status.
    #[must_use]
    pub const fn routing(&self) -> &Routing {
        &self.routing
    }

    /// The routes in use.
    #[must_use]
    pub const fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }

    /// What was dropped here.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.drops
    }

    /// The next moment at which something happens by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.routing.deadline()
    }

    /// Does what time demands.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        wall: Wall,
        out: &mut Posts,
        events: &mut impl FnMut(MeshEvent),
    ) {
        self.routing.handle_timeout(now, wall);
        self.settle(now, out, events);
    }

    /// Takes a post for routing. Others are ignored: the plan never sends them here.
    pub fn handle(
        &mut self,
        now: Instant,
        wall: Wall,
        post: Post,
        out: &mut Posts,
        events: &mut impl FnMut(MeshEvent),
    ) {
        match post {
            Post::LinkUp { link, peer, epoch, cost } => {
                if let Err(reason) = self.routing.link_up(now, link, &peer, epoch, cost) {
                    self.drops.count(reason);
                    let reader = self.plan.reader_of(link);
                    out.push(reader, Post::CloseLink(link));
                }
            }
            Post::LinkCost { link, cost } => self.routing.set_cost(now, link, cost),
            Post::LinkDown(link) => self.routing.link_down(now, link),
            Post::Announcement { link, body } => {
                if let Err(reason) = self.routing.announcement(now, wall, link, &body) {
                    self.drops.count(reason);
                }
            }
            Post::Digest { link, body } => {
                if let Err(reason) = self.routing.digest(now, link, &body) {
                    self.drops.count(reason);
                }
            }
            Post::Broadcast { link, entrance, frame } => {
                if let Err(reason) = self.routing.hear_broadcast(now, (link, entrance), frame) {
                    self.drops.count(reason);
                }
            }
            _ => {}
        }
        self.settle(now, out, events);
    }

    /// Says something to every node in reach, and to this one if `here`; gives back its number.
    ///
    /// # Errors
    /// As [`pack_for_all`]; [`Code::TooLarge`] for more than a frame holds, [`Code::QueueFull`] if
    /// this node has said as much as it may for now.
    pub fn broadcast(
        &mut self,
        now: Instant,
        (outbound, record): (&Outbound, &Bytes),
        here: bool,
        out: &mut Posts,
        events: &mut impl FnMut(MeshEvent),
    ) -> Result<u64, Code> {
        let (sequence, body) = pack_for_all(&self.messages, outbound, record)?;
        let priority = outbound.priority;
        let sent = self.routing.broadcast(now, priority, sequence, &body);
        let id = sent.map_err(|reason| match reason {
            DropReason::Oversized => Code::TooLarge,
            DropReason::RateLimited => Code::QueueFull,
            _ => Code::CannotUnpack,
        })?;
        if here {
            let (origin, entrance) = (self.us, Entrance::default());
            let said = Broadcast { origin, id, priority, sequence, entrance, body };
            self.deliver(said, out);
        }
        self.settle(now, out, events);
        Ok(id)
    }

    /// To whoever takes it here, in the partition of its origin: in order with its messages.
    fn deliver(&self, said: Broadcast, out: &mut Posts) {
        let partition = self.plan.partition_of(&said.origin.address());
        out.push(Role::Partition(partition), Post::DeliverBroadcast(Box::new(said)));
    }

    fn settle(&mut self, now: Instant, out: &mut Posts, events: &mut impl FnMut(MeshEvent)) {
        let of = |plan: &Plan, h: &Hashname| Role::Partition(plan.partition_of(&h.address()));
        while let Some(output) = self.routing.poll(now) {
            match output {
                RoutingOutput::Flood { link, frame } => {
                    let (lane, run) = (Lane::Control, Run::one(frame));
                    out.push(self.plan.writer_of(link), Post::Enqueue { link, lane, run });
                }
                RoutingOutput::Broadcast { link, priority, frame } => {
                    let (lane, run) = (Lane::Data(priority), Run::one(frame));
                    out.push(self.plan.writer_of(link), Post::Enqueue { link, lane, run });
                }
                RoutingOutput::Arrived(arrival) => {
                    let Arrival { origin, sequence: id, priority, letters, .. } = arrival;
                    let (sequence, entrance, body) = (letters, arrival.entrance, arrival.payload);
                    let said = Broadcast { origin, id, priority, sequence, entrance, body };
                    self.deliver(said, out);
                }
                RoutingOutput::Publish(table) => {
                    for role in self.plan.roles() {
                        if matches!(role, Role::Forward(_)) {
                            out.push(role, Post::Routes(table.clone()));
                        }
                    }
                    self.table = table;
                }
                RoutingOutput::Learned(record) => {
                    out.push(of(&self.plan, &record.hashname()), Post::Learned(record));
                }
                RoutingOutput::Packs(node, terms) => {
                    out.push(of(&self.plan, &node), Post::Packs(node.address(), terms));
                }
                RoutingOutput::Superseded(serial) => events(MeshEvent::Superseded(serial)),
                RoutingOutput::Cloned(node) => events(MeshEvent::Cloned(node)),
                RoutingOutput::LinkUp { link, peer } => events(MeshEvent::LinkUp(link, peer)),
                RoutingOutput::LinkDown { link, peer } => events(MeshEvent::LinkDown(link, peer)),
                RoutingOutput::NodeUp(node) => {
                    out.push(of(&self.plan, &node), Post::Reachable(node, true));
                    events(MeshEvent::NodeUp(node));
                }
                RoutingOutput::NodeDown(node) => {
                    out.push(of(&self.plan, &node), Post::Reachable(node, false));
                    events(MeshEvent::NodeDown(node));
                }
            }
        }
    }
}
