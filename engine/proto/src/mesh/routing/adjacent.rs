//! The neighbours of this node: the links to each, and what each still has to be sent.
//!
//! Of every neighbour it is noted which entries of the database it lacks, never a copy of them:
//! what is sent is the latest at that moment, and a slow neighbour costs a few bytes an origin.
//! News go before what fills gaps; all of it, digests included, at a steady pace.
//!
//! When a neighbour appears, and every minute from then on, a row of digests goes out over the
//! whole database. Flooding alone brings everything as long as nothing is lost; the digests
//! bring the rest.

mod outbox;
mod watched;

use core::ops::Bound;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::database::{Database, Slot};
use super::super::pace::{Pace, Rate};
use super::super::routes::LocalLink;
use super::RoutingOutput;
use crate::base::{Address, BootEpoch, Chance, DropReason, Hashname, Instant, LinkId};
use crate::crypto::KeyRecord;
use crate::wire::announce::{DigestWriter, Neighbour, announcement_frame};
use crate::wire::link::Cost;
use outbox::Outbox;
use watched::Watched;

/// Announcements and digests to one neighbour: a thousand a second.
const SENDING: Rate = Rate { interval: Duration::from_millis(1), burst: 64 };
/// Signatures verified for one neighbour: twice what an honest one sends.
const VERIFYING: Rate = Rate { interval: Duration::from_micros(500), burst: 128 };
/// A signature that does not hold costs as many.
const FORGERY: u32 = 500;
/// Signatures of broadcasts verified for one neighbour. A forgery costs as many as above.
const HEARING: Rate = Rate { interval: Duration::from_millis(1), burst: 256 };
/// Entries compared to a digest for the price of a signature.
const COMPARED_PER_EVENT: u32 = 64;
/// Digests go out this often, a tenth of it apart at random.
const DIGESTS: Duration = Duration::from_secs(60);
/// How long a link counts before the peer's announcement of it must be here: two announcements
/// and their way.
const GRACE: Duration = Duration::from_secs(3);
/// Two runs of one identity on two links that both live longer than this are not a restart.
const TWINS: Duration = Duration::from_secs(5);

/// One link of this node, by what decides which of several is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Way {
    /// Held down: neither announced nor used.
    pub(super) damped: bool,
    pub(super) cost: Cost,
    pub(super) link: LinkId,
    pub(super) epoch: BootEpoch,
    pub(super) since: Instant,
    /// Its owner wants no more frames for now.
    held: bool,
}

/// What a link is among those to the same neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// It carries and is announced.
    Used,
    /// A cheaper one does.
    Spare,
    /// It does not count for now.
    HeldDown,
}

/// A link that came up.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewWay {
    pub(super) link: LinkId,
    pub(super) epoch: BootEpoch,
    pub(super) cost: Cost,
    pub(super) damped: bool,
}

/// One neighbour. Goes with its last link.
#[derive(Debug)]
pub(super) struct Adjacent {
    record: Arc<KeyRecord>,
    /// Ascending: the first is used. Never empty.
    ways: Vec<Way>,
    outbox: Outbox,
    /// Where the next digest of a row begins, while one is going out.
    cursor: Option<Address>,
    next_digests: Instant,
    sending: Pace,
    verifying: Pace,
    hearing: Pace,
    /// When two runs on two links are taken for two processes.
    twins_at: Option<Instant>,
}

impl Adjacent {
    fn new(now: Instant, record: &Arc<KeyRecord>) -> Self {
        Self {
            record: Arc::clone(record),
            ways: Vec::with_capacity(1),
            outbox: Outbox::default(),
            cursor: None,
            next_digests: now,
            sending: Pace::default(),
            verifying: Pace::default(),
            hearing: Pace::default(),
            twins_at: None,
        }
    }

    pub(super) fn hashname(&self) -> Hashname {
        self.record.hashname()
    }

    pub(super) fn ways(&self) -> &[Way] {
        &self.ways
    }

    /// There is news in this slot that the neighbour shall have.
    pub(super) fn news(&mut self, slot: Slot) {
        self.outbox.news(slot);
    }

    /// The neighbour was seen to lack what is in this slot.
    pub(super) fn lacks(&mut self, slot: Slot) {
        self.outbox.gap(slot);
    }

    /// The neighbour was seen to have what is in this slot.
    pub(super) fn has(&mut self, slot: Slot) {
        self.outbox.forget(slot);
    }

    /// When the next signature may be verified for it, behind `waiting` others; `None` for at
    /// once.
    pub(super) fn verifies_from(&self, now: Instant, waiting: usize) -> Option<Instant> {
        let next = Some(self.verifying.next(VERIFYING)).filter(|next| *next > now)?;
        // Each its own moment: if all came back at the same one, all but one would wait anew.
        Some(next + VERIFYING.interval * u32::try_from(waiting).unwrap_or(u32::MAX))
    }

    /// A signature was verified for it, and did or did not hold.
    pub(super) fn verified(&mut self, now: Instant, held: bool) {
        self.verifying.note(now, VERIFYING, if held { 1 } else { FORGERY });
    }

    /// Whether the signature of a broadcast may be verified for it.
    ///
    /// # Errors
    /// `RateLimited` if not yet.
    pub(super) fn may_broadcast(&self, now: Instant) -> Result<(), DropReason> {
        if self.hearing.allows(now, HEARING) { Ok(()) } else { Err(DropReason::RateLimited) }
    }

    /// The signature of a broadcast was verified for it, and did or did not hold.
    pub(super) fn broadcast_verified(&mut self, now: Instant, held: bool) {
        self.hearing.note(now, HEARING, if held { 1 } else { FORGERY });
    }

    /// Whether a digest may be compared for it; shares the budget of signatures.
    ///
    /// # Errors
    /// `RateLimited` if not yet.
    pub(super) fn may_compare(&self, now: Instant) -> Result<(), DropReason> {
        self.verifies_from(now, 0).map_or(Ok(()), |_| Err(DropReason::RateLimited))
    }

    /// So many entries were compared to a digest for it.
    pub(super) fn compared(&mut self, now: Instant, entries: u32) {
        self.verifying.note(now, VERIFYING, 1 + entries / COMPARED_PER_EVENT);
    }

    fn is_two_runs(&self) -> bool {
        self.ways.windows(2).any(|w| matches!(w, [a, b] if a.epoch != b.epoch))
    }

    fn due(&self) -> Instant {
        let held = self.ways.first().is_none_or(|w| w.held);
        let idle = held || (self.outbox.is_empty() && self.cursor.is_none());
        let sending = Some(self.sending.next(SENDING)).filter(|_| !idle);
        let earliest = sending.map_or(self.next_digests, |s| s.min(self.next_digests));
        self.twins_at.map_or(earliest, |t| t.min(earliest))
    }

    /// The next frame for it, if its pace allows one: news, then digests, then gaps.
    fn next_frame(&mut self, now: Instant, database: &Database) -> Option<Bytes> {
        if !self.sending.allows(now, SENDING) {
            return None;
        }
        let frame = loop {
            let slot = match (self.outbox.next_news(), self.cursor.take()) {
                (Some(slot), cursor) => {
                    self.cursor = cursor;
                    slot
                }
                (None, Some(first)) => {
                    let (frame, next) = digest(database, first)?;
                    self.cursor = next;
                    break frame;
                }
                (None, None) => self.outbox.next_gap()?,
            };
            let entry = database.entry(slot);
            let frame = entry.and_then(|e| announcement_frame(&e.body, e.age_to_send(now)).ok());
            // A slot may have been emptied since.
            if let Some(frame) = frame {
                break frame;
            }
        };
        self.sending.note(now, SENDING, 1);
        Some(frame)
    }
}

/// The digest that begins at `first`, and where the next one begins.
fn digest(database: &Database, first: Address) -> Option<(Bytes, Option<Address>)> {
    let mut writer = DigestWriter::new(first);
    let mut last = Address::new([0xff; 16]);
    let mut next = None;
    for (_, entry) in database.stretch(first, last) {
        if !writer.has_room() {
            // Up to just before the entry that did not fit.
            let at = u128::from_be_bytes(*entry.origin.as_bytes());
            last = Address::new(at.saturating_sub(1).to_be_bytes());
            next = Some(entry.origin);
            break;
        }
        writer.push(entry);
    }
    Some((writer.frame(last).ok()?, next))
}

/// All neighbours, by address and by link.
#[derive(Debug)]
pub(super) struct Neighbours {
    by_address: Watched<BTreeMap<Address, Adjacent>>,
    by_link: BTreeMap<LinkId, Address>,
    /// When a link stops counting on its handshake alone, and routes must be computed again.
    grace_over: Option<Instant>,
    /// Who was sent something last: all take turns.
    turn: Address,
    chance: Chance,
}

impl Neighbours {
    pub(super) const fn new(chance: Chance) -> Self {
        Self {
            by_address: Watched::new(BTreeMap::new()),
            by_link: BTreeMap::new(),
            grace_over: None,
            turn: Address::new([0xff; 16]),
            chance,
        }
    }

    /// How many links there are.
    pub(super) fn links(&self) -> usize {
        self.by_link.len()
    }

    pub(super) fn peer_of(&self, link: LinkId) -> Option<Address> {
        self.by_link.get(&link).copied()
    }

    pub(super) fn get(&self, address: &Address) -> Option<&Adjacent> {
        self.by_address.get(address)
    }

    pub(super) fn get_mut(&mut self, address: &Address) -> Option<&mut Adjacent> {
        self.by_address.get_mut(address)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Adjacent> {
        self.by_address.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Address, &mut Adjacent)> {
        self.by_address.iter_mut()
    }

    /// A link came up; at most `most` neighbours are held.
    pub(super) fn add(
        &mut self,
        now: Instant,
        peer: &Arc<KeyRecord>,
        new: NewWay,
        most: usize,
    ) -> Result<(), DropReason> {
        let NewWay { link, epoch, cost, damped } = new;
        let address = peer.hashname().address();
        if self.by_link.contains_key(&link) {
            return Err(DropReason::Replayed);
        }
        match self.by_address.get(&address) {
            Some(held) if held.hashname() != peer.hashname() => {
                return Err(DropReason::Misaddressed);
            }
            None if self.by_address.len() >= most => return Err(DropReason::TableFull),
            _ => {}
        }
        let neighbour = self.by_address.entry(address).or_insert_with(|| Adjacent::new(now, peer));
        if peer.serial() >= neighbour.record.serial() {
            neighbour.record = Arc::clone(peer);
        }
        neighbour.ways.push(Way { damped, cost, link, epoch, since: now, held: false });
        neighbour.ways.sort_unstable();
        if neighbour.is_two_runs() {
            neighbour.twins_at.get_or_insert(now + TWINS);
        }
        self.by_link.insert(link, address);
        Ok(())
    }

    /// What a link is to its neighbour, if it is there.
    pub(super) fn part_of(&self, link: LinkId) -> Option<Part> {
        let ways = &self.by_address.get(self.by_link.get(&link)?)?.ways;
        let at = ways.iter().position(|w| w.link == link)?;
        Some(match (at, ways.get(at)?.damped) {
            (_, true) => Part::HeldDown,
            (0, false) => Part::Used,
            (_, false) => Part::Spare,
        })
    }

    /// Neighbours whose links are all held down.
    pub(super) fn held_down(&self) -> impl Iterator<Item = Address> + '_ {
        let down = |n: &Adjacent| n.ways.first().is_some_and(|w| w.damped);
        self.by_address.iter().filter(move |(_, n)| down(n)).map(|(a, _)| *a)
    }

    /// The links to a neighbour count again. False if none was held down.
    pub(super) fn release(&mut self, address: &Address) -> bool {
        let Some(neighbour) = self.by_address.get_mut(address) else { return false };
        let any = neighbour.ways.iter().any(|w| w.damped);
        neighbour.ways.iter_mut().for_each(|w| w.damped = false);
        neighbour.ways.sort_unstable();
        any
    }

    /// A link is gone; says who was at its other end, if it was there.
    pub(super) fn remove(&mut self, now: Instant, link: LinkId) -> Option<Hashname> {
        let address = self.by_link.remove(&link)?;
        let neighbour = self.by_address.get_mut(&address)?;
        neighbour.ways.retain(|w| w.link != link);
        // What was under way on the lost link is found by comparing again.
        neighbour.next_digests = now;
        let peer = neighbour.hashname();
        if neighbour.ways.is_empty() {
            self.by_address.remove(&address);
        }
        Some(peer)
    }

    /// False if there is no such link.
    pub(super) fn set_cost(&mut self, link: LinkId, cost: Cost) -> bool {
        let Some(neighbour) = self.of_link(link) else { return false };
        neighbour.ways.iter_mut().filter(|w| w.link == link).for_each(|w| w.cost = cost);
        neighbour.ways.sort_unstable();
        true
    }

    /// Nothing is put out for a link that is held.
    pub(super) fn hold(&mut self, link: LinkId, held: bool) {
        if let Some(neighbour) = self.of_link(link) {
            neighbour.ways.iter_mut().filter(|w| w.link == link).for_each(|w| w.held = held);
        }
    }

    fn of_link(&mut self, link: LinkId) -> Option<&mut Adjacent> {
        self.by_address.get_mut(self.by_link.get(&link)?)
    }

    /// What this node announces: each neighbour once, at the cost of its cheapest link.
    pub(super) fn announced(&self) -> impl Iterator<Item = Neighbour> + '_ {
        self.by_address.iter().filter_map(|(address, neighbour)| {
            let way = neighbour.ways.first().filter(|w| !w.damped)?;
            Some(Neighbour { address: *address, cost: way.cost })
        })
    }

    /// All links as the planner takes them, and when the grace of one of them ends.
    pub(super) fn local_links(&mut self, now: Instant) -> Vec<LocalLink> {
        let mut links = Vec::with_capacity(self.links());
        self.grace_over = None;
        for neighbour in self.by_address.values() {
            for way in neighbour.ways.iter().filter(|w| !w.damped) {
                let over = way.since + GRACE;
                let proved = now < over;
                if proved {
                    self.grace_over = Some(self.grace_over.map_or(over, |g| g.min(over)));
                }
                let peer = neighbour.hashname();
                links.push(LocalLink { link: way.link, peer, cost: way.cost, proved });
            }
        }
        links
    }

    /// Whether the grace of a link has ended; then routes must be computed, which asks for
    /// [`Self::local_links`].
    pub(super) fn take_grace_over(&mut self, now: Instant) -> bool {
        self.grace_over.take_if(|over| now >= *over).is_some()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let all = |by: &BTreeMap<Address, Adjacent>| by.values().map(Adjacent::due).min();
        self.by_address.found(all).into_iter().chain(self.grace_over).min()
    }

    /// Begins digests whose time has come; returns who turned out to live twice.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Hashname> {
        let mut cloned = Vec::new();
        for neighbour in self.by_address.values_mut() {
            if now >= neighbour.next_digests {
                neighbour.cursor = Some(Address::new([0; 16]));
                let tenth = u64::try_from(DIGESTS.as_micros() / 10).unwrap_or(0);
                let jitter = Duration::from_micros(self.chance.below(tenth));
                neighbour.next_digests = now + DIGESTS + jitter;
            }
            if neighbour.twins_at.is_some_and(|at| now >= at) {
                neighbour.twins_at = neighbour.is_two_runs().then(|| now + DIGESTS);
                cloned.extend(neighbour.twins_at.map(|_| neighbour.hashname()));
            }
        }
        cloned
    }

    /// The next frame for anybody.
    pub(super) fn poll(&mut self, now: Instant, database: &Database) -> Option<RoutingOutput> {
        // Not looked for: while there is much to send, whoever is next is near.
        if self.by_address.known().is_some_and(|due| now < due) {
            return None;
        }
        let turn = self.turn;
        let after = (Bound::Excluded(turn), Bound::Unbounded);
        let mut frame_of = |address: &Address, neighbour: &mut Adjacent| {
            let link = neighbour.ways.first().filter(|w| !w.held)?.link;
            let frame = neighbour.next_frame(now, database)?;
            self.turn = *address;
            Some(RoutingOutput::Flood { link, frame })
        };
        if let Some(found) = self.by_address.range_mut(after).find_map(|(a, n)| frame_of(a, n)) {
            return Some(found);
        }
        self.by_address.range_mut(..=turn).find_map(|(a, n)| frame_of(a, n))
    }
}
