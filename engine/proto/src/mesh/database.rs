//! The link-state database: what every node says about its links, and which of its words is the
//! latest (N11; PROTOCOL §7).
//!
//! Owns the announcements held, their order, age and number. It takes only announcements that
//! somebody has verified ([`super::routing`] does): here everything is true, and the question is
//! what is new.
//!
//! **Order.** Of two announcements of one origin the greater counts, by (record serial, boot
//! epoch, sequence), and between two that are equal in all three but differ, the one with the
//! greater signature, so that all nodes end with the same one. No clock takes part:
//!
//! - A replay is never greater than what it replays, so it changes nothing wherever the original
//!   or a successor is held.
//! - A boot epoch is drawn at random, so a restarted node may find itself below what it said
//!   before. It then *outruns itself*: its neighbours answer its announcement with the greater
//!   one they hold, it sees its own signature over an order above its own, and goes on from that
//!   boot epoch + 1. Only the origin's own signature can push it, so nobody else can drive it
//!   up. (Whoever draws epochs may put the calendar into the high bits; then this is rare.)
//! - Renewed keys come first: whatever a stolen old signing key says, the next serial ends it.
//!
//! **Age.** An announcement lives for the seconds it says, at most `announcement_expiry`. Its age
//! is not signed and only grows: by the time it is held, and by at least a second per hop, so
//! that nothing can circulate for ever among nodes that have just forgotten it. What was
//! forgotten can be replayed to its end of life again, and does no harm: a link counts only if
//! both ends announce it, and living ends do not announce links to the dead.
//!
//! **Pace.** An origin may renew its announcement once per `announcement_interval`, three times
//! at once: with strictly one, a node whose links come up 50 ms apart would be without the second
//! for a second. (A lost link is told by either end; a new one, or a new cost, needs this end.)

use core::cmp::Ordering;
use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::pace::{Pace, Rate};
use crate::base::{Address, DropReason, Hashname, Instant, Limits, Wall};
use crate::wire::announce::{Announcement, AnnouncementHead, DigestEntry, Neighbour, Order};
use crate::wire::link::{Capabilities, NodeName};
use crate::wire::sequence::PackTerms;

/// Place of an entry; used again after the entry is gone.
pub type Slot = u32;

/// Announcements of one origin at once.
pub(super) const BURST: u32 = 3;

/// How an announcement compares to what is held of its origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Nothing is held.
    Unknown,
    /// It outranks what is held.
    Newer,
    /// It is what is held.
    Same,
    /// What is held outranks it.
    Older,
}

/// What one node says, verified.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who says it.
    pub hashname: Hashname,
    /// Its place among the words of this origin.
    pub order: Order,
    /// What the origin calls itself.
    pub name: NodeName,
    /// What the origin can do.
    pub capabilities: Capabilities,
    /// How the origin packs and what it takes.
    pub packing: PackTerms,
    /// The origin's links, ascending by address.
    pub neighbours: Box<[Neighbour]>,
    /// The announcement as it came.
    pub body: Bytes,
    record_ends: Wall,
    came: Instant,
    age: Duration,
    expires: Instant,
    pace: Pace,
}

impl Entry {
    /// Time since the origin made it, as far as known.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        self.age + now.since(self.came)
    }

    /// The age to send it on with, in seconds: at least one more than it came with.
    #[must_use]
    pub fn age_to_send(&self, now: Instant) -> u16 {
        u16::try_from(self.age(now).as_secs() + 1).unwrap_or(u16::MAX)
    }

    fn signature(&self) -> &[u8] {
        self.body.last_chunk::<64>().map_or(&[], |s| s)
    }
}

/// What an installed announcement changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Installed {
    /// Where it is.
    pub slot: Slot,
    /// The origin is new or its links changed: routes must be computed.
    pub links_changed: bool,
    /// Nothing was held of the origin.
    pub is_new: bool,
    /// The origin is new or packs otherwise than before.
    pub packing_changed: bool,
}

/// Neighbours of an origin that always find room, if it does.
const FEW: usize = 64;
/// Those beyond them, of all origins together: hubs are few, and who says to be one for each of
/// many made-up names shall not fill the memory. 65,536 × 40 bytes = 2.5 MiB.
const BEYOND: usize = 65_536;

const fn beyond(entry: &Entry) -> usize {
    entry.neighbours.len().saturating_sub(FEW)
}

/// What every node says about its links. At most `limits.origins` others × 4 KiB and some, and
/// 2.5 MiB of hubs' neighbours.
#[derive(Debug)]
pub struct Database {
    me: Address,
    origins: usize,
    neighbours: usize,
    /// Neighbours in all entries beyond [`FEW`] of each.
    beyond: usize,
    expiry: Duration,
    rate: Rate,
    index: BTreeMap<Address, Slot>,
    slots: Vec<Option<Entry>>,
    free: Vec<Slot>,
    next_expiry: Option<Instant>,
}

impl Database {
    /// An empty one, for the node `me`, whose own word always finds room.
    #[must_use]
    pub const fn new(me: Address, limits: &Limits) -> Self {
        Self {
            me,
            origins: limits.origins,
            neighbours: limits.neighbours,
            beyond: 0,
            expiry: limits.announcement_expiry,
            rate: Rate { interval: limits.announcement_interval, burst: BURST },
            index: BTreeMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            next_expiry: None,
        }
    }

    /// How many origins are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The entry of an origin.
    #[must_use]
    pub fn get(&self, origin: &Address) -> Option<&Entry> {
        self.entry(self.slot(origin)?)
    }

    /// Where the entry of an origin is.
    #[must_use]
    pub fn slot(&self, origin: &Address) -> Option<Slot> {
        self.index.get(origin).copied()
    }

    /// The entry in a slot.
    #[must_use]
    pub fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// All entries with their slots, ascending by address.
    pub fn entries(&self) -> impl Iterator<Item = (Slot, &Entry)> + Clone {
        self.index.values().filter_map(|slot| Some((*slot, self.entry(*slot)?)))
    }

    /// The entries from one address to another, both included, as digests list them.
    pub fn stretch(
        &self,
        first: Address,
        last: Address,
    ) -> impl Iterator<Item = (Slot, DigestEntry)> + '_ {
        let range = if first <= last { first..=last } else { last..=last };
        self.index.range(range).filter_map(|(origin, slot)| {
            Some((*slot, DigestEntry { origin: *origin, order: self.entry(*slot)?.order }))
        })
    }

    /// How an announcement with this head and signature compares to what is held. Cheap: what
    /// flooding brings twice is told here, before any signature is looked at.
    #[must_use]
    pub fn judge(&self, head: &AnnouncementHead, signature: &[u8]) -> Freshness {
        let Some(held) = self.get(&head.origin) else { return Freshness::Unknown };
        match head.order.cmp(&held.order).then_with(|| signature.cmp(held.signature())) {
            Ordering::Greater => Freshness::Newer,
            Ordering::Equal => Freshness::Same,
            Ordering::Less => Freshness::Older,
        }
    }

    /// When the next announcement of this origin may be installed; `None` for at once.
    #[must_use]
    pub fn waits_until(&self, now: Instant, origin: &Address) -> Option<Instant> {
        let next = self.get(origin)?.pace.next(self.rate);
        Some(next).filter(|next| *next > now)
    }

    /// Holds a verified announcement of `hashname`, whose record ends at `record_ends`.
    ///
    /// # Errors
    /// `Misaddressed` if the address belongs to another hashname, `StaleAnnouncement` unless it
    /// is newer, `Expired` at the end of its life, `LimitBroken` for too many neighbours,
    /// `TableFull` for one origin, or one hub's neighbours, too many (this node is not counted).
    pub fn install(
        &mut self,
        now: Instant,
        hashname: Hashname,
        record_ends: Wall,
        body: &[u8],
        said: &Announcement<'_>,
    ) -> Result<Installed, DropReason> {
        let (origin, order) = (said.head.origin, said.head.order);
        let age = Duration::from_secs(said.age_secs.into());
        let life = Duration::from_secs(said.life_secs.into()).min(self.expiry);
        let held = self.get(&origin);
        if hashname.address() != origin || held.is_some_and(|h| h.hashname != hashname) {
            return Err(DropReason::Misaddressed);
        }
        if !matches!(
            self.judge(&said.head, said.signature()),
            Freshness::Unknown | Freshness::Newer
        ) {
            return Err(DropReason::StaleAnnouncement);
        }
        if age >= life {
            return Err(DropReason::Expired);
        }
        let neighbours: Box<[Neighbour]> = said.neighbours().collect();
        if neighbours.len() > self.neighbours {
            return Err(DropReason::LimitBroken);
        }
        if held.is_none() && origin != self.me && self.others() >= self.origins {
            return Err(DropReason::TableFull);
        }
        let others = self.beyond - held.map_or(0, beyond);
        let more = neighbours.len().saturating_sub(FEW);
        if origin != self.me && more > 0 && others + more > BEYOND {
            return Err(DropReason::TableFull);
        }
        let is_new = held.is_none();
        let links_changed = held.is_none_or(|h| h.neighbours != neighbours);
        let packing_changed = held.is_none_or(|h| h.packing != said.packing);
        let mut pace = held.map(|h| h.pace).unwrap_or_default();
        pace.note(now, self.rate, 1);
        let expires = now + (life - age);
        self.next_expiry = Some(self.next_expiry.map_or(expires, |e| e.min(expires)));
        let entry = Entry {
            hashname,
            order,
            name: said.name,
            capabilities: said.capabilities,
            packing: said.packing,
            neighbours,
            // A copy of its own: what came may be a slice of a large buffer.
            body: Bytes::copy_from_slice(body),
            record_ends,
            came: now,
            age,
            expires,
            pace,
        };
        self.beyond = others + more;
        let slot = self.place(origin);
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(entry);
        }
        Ok(Installed { slot, links_changed, is_new, packing_changed })
    }

    /// Forgets an origin.
    pub fn remove(&mut self, origin: &Address) -> Option<Entry> {
        let slot = self.index.remove(origin)?;
        self.free.push(slot);
        let entry = self.slots.get_mut(slot as usize)?.take()?;
        self.beyond -= beyond(&entry);
        Some(entry)
    }

    /// When [`Self::expire`] has something to look for.
    #[must_use]
    pub const fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// Forgets what is at the end of its life, or whose record is; returns whom.
    pub fn expire(&mut self, now: Instant, wall: Wall) -> Vec<Address> {
        let over = |e: &Entry| e.expires <= now || wall.is_past(e.record_ends);
        let gone: Vec<Address> =
            self.entries().filter(|(_, e)| over(e)).map(|(_, e)| e.hashname.address()).collect();
        for origin in &gone {
            self.remove(origin);
        }
        self.next_expiry = self.entries().map(|(_, e)| e.expires).min();
        gone
    }

    fn others(&self) -> usize {
        self.len() - usize::from(self.index.contains_key(&self.me))
    }

    fn place(&mut self, origin: Address) -> Slot {
        if let Some(slot) = self.slot(&origin) {
            return slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.index.insert(origin, slot);
        slot
    }
}

#[cfg(test)]
mod tests;
