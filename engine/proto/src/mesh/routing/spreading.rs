//! Broadcasts: sent to all neighbours, and on from each of them (N7, N8; PROTOCOL §6.9).
//!
//! ```text
//!  frame ─▶ form ─▶ origin in reach? ─▶ heard before? ─▶ rates ─▶ signature ─▶ here, and on to all
//!            cheap ───────────────────────────────────────────▶     dear        neighbours but `from`
//! ```
//!
//! A node passes each broadcast on once, and never back the way it came, so a broadcast crosses each
//! link at most once in each direction, whatever the mesh looks like; the TTL is a second belt. Who
//! is not in reach by routes is not believed: replays of the dead lead nowhere.
//!
//! **What a bad neighbour costs.** Copies, replays and strangers are told by their heads. For what looks
//! new a signature is verified, within a budget of the neighbour, of which a forgery uses up half
//! a second, and one of the node.

use bytes::{Bytes, BytesMut};

use super::{Routing, RoutingOutput};
use crate::base::{Address, BootEpoch, DropReason, Entrance, Hashname, Instant, LinkId, Priority};
use crate::crypto::Purpose;
use crate::mesh::broadcast::Run;
use crate::mesh::routes::Reach;
use crate::wire::broadcast::{Broadcast, Draft, spend_hop};
use crate::wire::package::Sequence;

/// A broadcast of another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Whose it is: its signature holds.
    pub origin: Hashname,
    /// Which run of the origin.
    pub epoch: BootEpoch,
    /// Its number in that run; no other broadcast has it.
    pub sequence: u64,
    /// How urgent.
    pub priority: Priority,
    /// Which builders made the payload.
    pub letters: Sequence,
    /// Where it came in.
    pub entrance: Entrance,
    /// What it is about.
    pub payload: Bytes,
}

/// What became of broadcasts; drops are counted with all others.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Spread {
    /// Sent by this node.
    pub sent: u64,
    /// Of other nodes, taken.
    pub arrived: u64,
    /// Frames put out, to each neighbour one.
    pub frames: u64,
}

impl Routing {
    /// Sends something to every node in reach. Gives back its number.
    ///
    /// # Errors
    /// `RateLimited` if this node has sent as many as it may for now, `Oversized` for a payload of
    /// more than a frame, `Malformed` for letters that no broadcast may have.
    pub fn broadcast(
        &mut self,
        now: Instant,
        priority: Priority,
        letters: Sequence,
        payload: &[u8],
    ) -> Result<u64, DropReason> {
        let rate = self.broadcasting.1.ok_or(DropReason::RateLimited)?;
        if !self.broadcasting.0.allows(now, rate) {
            return Err(DropReason::RateLimited);
        }
        let identity = &self.identity;
        let sequence = self.broadcasts.sent + 1;
        let draft = Draft {
            ttl: self.limits.ttl,
            priority,
            letters,
            origin: identity.hashname().address(),
            epoch: self.own.order(identity.record().serial()).epoch,
            sequence,
            payload,
        };
        let frame = draft.sign(|bytes| identity.sign(Purpose::Broadcast, bytes))?;
        self.broadcasting.0.note(now, rate, 1);
        self.broadcasts.sent = sequence;
        self.spread_frame(None, &draft.origin, priority, &frame);
        Ok(sequence)
    }

    /// Takes a whole broadcast frame from a link.
    ///
    /// # Errors
    /// Why it was dropped. `Duplicate` is daily bread: flooding brings copies.
    pub fn hear_broadcast(
        &mut self,
        now: Instant,
        (from, entrance): (LinkId, Entrance),
        mut frame: BytesMut,
    ) -> Result<(), DropReason> {
        let from = self.neighbours.peer_of(from).ok_or(DropReason::LinkDown)?;
        let said = Broadcast::parse(&frame)?;
        let (origin, sequence) = (said.origin, said.sequence);
        if origin == self.identity.hashname().address() {
            return Err(DropReason::Duplicate);
        }
        let run = self.run_of(&said)?;
        self.heard.judge(now, &origin, run, sequence)?;
        let mut arrival = self.verified_broadcast(now, &from, &said)?;
        arrival.entrance = entrance;
        self.heard.note(now, origin, run, sequence);
        self.broadcasts.arrived += 1;
        let priority = said.priority;
        if spend_hop(&mut frame) {
            self.spread_frame(Some(from), &origin, priority, &frame.freeze());
        }
        self.outputs.push_back(RoutingOutput::Arrived(arrival));
        Ok(())
    }

    /// What became of broadcasts so far.
    #[must_use]
    pub const fn broadcasts(&self) -> Spread {
        self.broadcasts
    }

    /// Which run of its origin a broadcast claims.
    fn run_of(&self, said: &Broadcast<'_>) -> Result<Run, DropReason> {
        let held = self.database.get(&said.origin).ok_or(DropReason::NoRoute)?;
        if !matches!(self.table.reach(&said.origin), Some(Reach::Through(_))) {
            return Err(DropReason::NoRoute);
        }
        if said.epoch < held.order.epoch {
            return Err(DropReason::Replayed);
        }
        Ok(Run { serial: held.order.serial, epoch: said.epoch })
    }

    fn verified_broadcast(
        &mut self,
        now: Instant,
        from: &Address,
        said: &Broadcast<'_>,
    ) -> Result<Arrival, DropReason> {
        let record = self.records.get(&said.origin).ok_or(DropReason::NoRoute)?;
        let sender = self.neighbours.get_mut(from).ok_or(DropReason::LinkDown)?;
        sender.may_broadcast(now)?;
        let holds = record.verify_signature(Purpose::Broadcast, said.signed(), said.signature());
        sender.broadcast_verified(now, holds);
        self.heard.verified(now);
        if !holds {
            return Err(DropReason::BadSignature);
        }
        Ok(Arrival {
            origin: record.hashname(),
            epoch: said.epoch,
            sequence: said.sequence,
            priority: said.priority,
            letters: said.letters,
            entrance: Entrance::default(),
            // A copy of its own: the frame may be a slice of a large buffer.
            payload: Bytes::copy_from_slice(said.payload),
        })
    }

    /// To every neighbour but the one it came from and the origin, over the best link of each.
    fn spread_frame(
        &mut self,
        from: Option<Address>,
        origin: &Address,
        priority: Priority,
        frame: &Bytes,
    ) {
        for (address, neighbour) in self.neighbours.iter_mut() {
            let Some(way) = neighbour.ways().first() else { continue };
            if Some(*address) != from && address != origin {
                let (link, frame) = (way.link, frame.clone());
                self.broadcasts.frames += 1;
                self.outputs.push_back(RoutingOutput::Broadcast { link, priority, frame });
            }
        }
    }
}
