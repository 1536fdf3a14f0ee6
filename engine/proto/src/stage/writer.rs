//! The writer's stage: what waits for the sockets of some links, and datagrams.
//!
//! Holds the lanes and decides the order; the runtime holds the sockets and asks for the next
//! bytes when one has room. PROTOCOL says nothing about it: order is ours alone.

use std::net::SocketAddr;

use bytes::Bytes;

use super::outgoing::{Outgoing, Run, Sent};
use super::plan::{Plan, Role};
use super::post::{Post, Posts};
use crate::base::lanes::Weight;
use crate::base::{
    Chance, DropReason, Drops, Instant, Keyed, Lane, LaneBounds, Lanes, Limits, LinkId, Map,
    Priority, Source,
};
use crate::wire::package::Code;

/// A datagram that waits for its socket.
#[derive(Debug)]
pub struct Datagram {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Bytes,
}

impl Weight for Datagram {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// One writer.
#[derive(Debug)]
pub struct Writer {
    index: u16,
    plan: Plan,
    limits: Limits,
    links: Map<LinkId, Outgoing>,
    /// Links that got something to write since the runtime last asked.
    ready: Vec<LinkId>,
    datagrams: Lanes<Datagram>,
    drops: Drops,
}

impl Writer {
    /// A writer without links.
    #[must_use]
    pub fn new(index: u16, plan: Plan, limits: Limits, chance: &mut Chance) -> Self {
        let bounds = LaneBounds {
            lane_bytes: limits.lane_bytes,
            lane_items: limits.lane_items,
            all_bytes: limits.lane_bytes.saturating_mul(4),
        };
        let datagrams = Lanes::new(bounds);
        let (links, drops) = (Keyed::map(chance), Drops::default());
        Self { index, plan, limits, links, ready: Vec::new(), datagrams, drops }
    }

    /// Takes a post for a writer. Others are ignored: the plan never sends them here.
    pub fn handle(&mut self, now: Instant, post: Post, out: &mut Posts) {
        match post {
            Post::LinkOpened(link) => {
                self.links.insert(link, Outgoing::new(&self.limits));
            }
            Post::LinkGone(link) => {
                if let Some(mut outgoing) = self.links.remove(&link) {
                    let forward = self.plan.forward_of(link);
                    outgoing.abandon(|lane, run| tell(lane, run, forward, Code::NodeDown, out));
                    self.drops.merge(&outgoing.counters().drops);
                }
            }
            Post::Enqueue { link, lane, run } => self.enqueue(now, link, lane, run, out),
            Post::SendDatagram { to, priority, bytes } => {
                let drops = &mut self.drops;
                let datagram = Datagram { to, bytes };
                self.datagrams.push(Lane::Data(priority), Source::OWN, datagram, |_, _| {
                    drops.count(DropReason::QueueFull);
                });
            }
            _ => {}
        }
    }

    fn enqueue(&mut self, now: Instant, link: LinkId, lane: Lane, run: Run, out: &mut Posts) {
        let forward = self.plan.forward_of(link);
        let Some(outgoing) = self.links.get_mut(&link) else {
            self.drops.add(DropReason::LinkDown, u64::from(run.frames));
            return tell(lane, run, forward, Code::NodeDown, out);
        };
        let was_empty = outgoing.is_empty();
        outgoing.push(now, lane, run, |lane, run| tell(lane, run, forward, Code::QueueFull, out));
        if was_empty && !outgoing.is_empty() {
            self.ready.push(link);
        }
    }

    /// Links that got something to write since the last call.
    pub fn take_ready(&mut self) -> Option<LinkId> {
        self.ready.pop()
    }

    /// What waits for a link's socket.
    pub fn outgoing(&mut self, link: LinkId) -> Option<&mut Outgoing> {
        self.links.get_mut(&link)
    }

    /// The next datagram to send.
    pub fn next_datagram(&mut self) -> Option<(Priority, Datagram)> {
        let (lane, datagram) = self.datagrams.pop()?;
        let priority = match lane {
            Lane::Data(p) => p,
            Lane::Control => Priority::HIGHEST,
        };
        Some((priority, datagram))
    }

    /// Whether datagrams wait.
    #[must_use]
    pub const fn has_datagrams(&self) -> bool {
        !self.datagrams.is_empty()
    }

    /// Which writer this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        Role::Writer(self.index)
    }

    /// The counters of one link, for status.
    #[must_use]
    pub fn sent(&self, link: LinkId) -> Option<&Sent> {
        self.links.get(&link).map(Outgoing::counters)
    }

    /// Every link with what it has sent and still holds, for status.
    pub fn report(&self) -> impl Iterator<Item = (LinkId, &Outgoing)> {
        self.links.iter().map(|(id, outgoing)| (*id, outgoing))
    }

    /// What was dropped here and not on a link that still is.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.drops
    }
}

/// Senders of data are told; control traffic has nobody to tell.
fn tell(lane: Lane, run: Run, forward: Role, code: Code, out: &mut Posts) {
    if matches!(lane, Lane::Data(_)) {
        out.push(forward, Post::Refused { run, code });
    }
}
