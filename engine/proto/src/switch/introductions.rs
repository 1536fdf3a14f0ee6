//! What whoever brings hashnames together wants of a partition, and is told by it: words said in
//! lines, addresses and keys that others gave, lines kept, and which are alive.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::State;
use super::ask::{Effect, Introduction, Note};
use super::contact::{Contact, Standing};
use super::partition::Switch;
use super::paths::Path;
use crate::base::{DropReason, Hashname, Instant, Priority, Wall};
use crate::crypto::KeyRecord;
use crate::wire::bridged::NOTHING;
use crate::wire::meet::{No, Word, parts};
use crate::wire::package::Code;

/// A line was alive if it was heard within this time.
const ALIVE: core::time::Duration = core::time::Duration::from_secs(30);

impl Switch {
    /// Does what whoever brings hashnames together wants.
    pub fn introduce(&mut self, now: Instant, wall: Wall, introduction: Introduction) {
        match introduction {
            Introduction::Say { peer, packet } => self.say_in_line(now, peer, &packet),
            Introduction::Seen { peer, at } => self.seen_at(now, peer, &at),
            Introduction::Keep { peer, until } => self.keep(now, peer, until),
            Introduction::Papers { peer, papers } => self.papers(now, wall, peer, &papers),
            Introduction::Patience { peer, until } => self.be_patient(peer, until),
            Introduction::Missing(peer) => self.missing(peer),
            Introduction::ShowPapers { peer, to, id } => self.show_papers(peer, to, id),
            Introduction::Punch(at) => self.punch(now, &at),
            Introduction::Answer { to, bytes } => {
                let priority = crate::base::Priority::HIGHEST;
                self.effects.push_back(Effect::Datagram { to, priority, bytes });
            }
            Introduction::AskBridge { peer, relay } => self.ask_bridge(peer, relay),
            Introduction::Bridged { peer, relay, grant } => {
                self.bridge_answered(now, peer, relay, grant);
            }
            Introduction::RelayMoved { peer, relay, at } => self.relay_moved(peer, relay, at),
            Introduction::Carry { ends, rate, until, seconds } => {
                self.carry(now, ends, rate, (until, seconds));
            }
            Introduction::Moved { peer, at } => self.carried_moved(peer, at),
            Introduction::Census => self.census(now),
        }
    }

    /// Sends a word in the line to a peer. Without a line there is nobody to say it to.
    fn say_in_line(&mut self, now: Instant, peer: Hashname, packet: &Bytes) {
        let slot = self.contacts.find(&peer.address());
        let up = |s: &u32| self.contacts.get(*s).and_then(Contact::line).is_some_and(|l| l.is_up());
        let Some(slot) = slot.filter(up) else {
            return self.counters.drops.count(DropReason::LineDown);
        };
        let write = |b: &mut BytesMut| {
            b.extend_from_slice(packet);
            Some(())
        };
        if let Some((frame, ())) = self.pool.frame(packet.len(), write) {
            self.use_line(now, slot);
            self.seal_to(now, slot, Priority::HIGHEST, frame);
        }
    }

    /// A line to a peer is worth having until then.
    fn keep(&mut self, now: Instant, peer: Hashname, until: Instant) {
        let Some(slot) = self.contacts.enter(peer) else { return };
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        contact.kept_until = contact.kept_until.max(Some(until));
        self.pursue(now, slot);
    }

    /// Somebody's papers, as somebody says: believed if they are true.
    fn papers(&mut self, now: Instant, wall: Wall, peer: Hashname, papers: &Bytes) {
        if let Err(reason) = self.take_papers(now, wall, peer, papers) {
            self.counters.drops.count(reason);
        }
    }

    fn take_papers(
        &mut self,
        now: Instant,
        wall: Wall,
        peer: Hashname,
        papers: &Bytes,
    ) -> Result<(), DropReason> {
        let (&length, rest) = papers.split_first().ok_or(DropReason::Truncated)?;
        let (_voucher, record) =
            rest.split_at_checked(usize::from(length)).ok_or(DropReason::Truncated)?;
        let unverified = KeyRecord::parse(record)?;
        if unverified.hashname() != peer {
            return Err(DropReason::Misaddressed);
        }
        if unverified.space() != *self.setting.identity.space() {
            return Err(DropReason::WrongSpace);
        }
        let record = unverified.verify(wall)?;
        self.learned(now, Arc::new(record));
        Ok(())
    }

    /// It is looked for: whoever waits for a key or a way waits as long.
    fn be_patient(&mut self, peer: Hashname, until: Instant) {
        let Some(slot) = self.contacts.find(&peer.address()) else { return };
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        if let Standing::Resolving(end) = contact.standing_mut() {
            *end = until.max(*end);
        }
        contact.pathless_until = contact.pathless_until.map(|end| end.max(until));
        contact.patience = Some(until);
        self.schedule(slot);
    }

    /// Shows what is known of one peer to another.
    fn show_papers(&mut self, peer: Hashname, to: Hashname, id: u64) {
        match self.papers_of(&peer) {
            Some(papers) => parts(id, &papers).for_each(|part| self.say(to, &part)),
            None => self.say(to, &Word::Key { id, part: Err(No::Unknown) }),
        }
    }

    /// A record and what vouches for its owner, as they travel. `None` if none is held.
    #[must_use]
    pub fn papers_of(&self, peer: &Hashname) -> Option<Bytes> {
        let slot = self.contacts.find(&peer.address())?;
        let contact = self.contacts.get(slot).filter(|c| c.hashname == *peer)?;
        Some([&[0][..], contact.record.as_ref()?.encoded()].concat().into())
    }

    /// A peer cannot be found: whoever waits for it need wait no longer.
    fn missing(&mut self, peer: Hashname) {
        let Some(slot) = self.contacts.find(&peer.address()) else { return };
        let Some(contact) = self.contacts.get(slot) else { return };
        let waits = matches!(contact.standing(), Standing::Resolving(_))
            || (contact.state() == State::Resolved && contact.pathless_until.is_some());
        if waits {
            self.fall(slot, Code::NoRoute);
        }
    }

    /// Sends as little as can be to each address, so that what comes from there is let in.
    fn punch(&mut self, now: Instant, at: &[SocketAddr]) {
        for to in at {
            if self.spend_on_stranger(now, to) {
                let (to, priority) = (*to, Priority::HIGHEST);
                let bytes = Bytes::from_static(&NOTHING);
                self.effects.push_back(Effect::Datagram { to, priority, bytes });
            }
        }
    }

    /// Tells which lines are alive.
    fn census(&mut self, now: Instant) {
        let alive = |c: &Contact| {
            let line = c.line().filter(|l| l.is_up() && now.since(l.heard) < ALIVE)?;
            Some((c.hashname, line.heard))
        };
        let active = self.contacts.iter().filter_map(alive).collect();
        self.effects.push_back(Effect::Note(Note::Active(active)));
    }

    /// A packet about other hashnames came in a line.
    pub(super) fn heard_word(&mut self, slot: u32, path: Path, packet: Bytes) {
        let Some(peer) = self.contacts.get(slot).map(|c| c.hashname) else { return };
        self.effects.push_back(Effect::Note(Note::Heard { peer, path, packet }));
    }
}
