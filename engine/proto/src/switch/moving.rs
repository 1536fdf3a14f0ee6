//! Which path a line takes: better ones tried while it runs, others when it falls silent, and the
//! tries of the peer answered (PROTOCOL §4.8). What counts as better is `paths`.

use std::net::SocketAddr;

use bytes::BytesMut;

use super::ask::{Effect, LineRef, Note};
use super::contact::Contact;
use super::line::Unproved;
use super::partition::Switch;
use super::paths::Path;
use super::width::Due;
use crate::base::{DropReason, Hashname, Instant, Priority};
use crate::crypto::Flags;
use crate::wire::inner::{Inner, TRY_LEN};
use crate::wire::sealed;

/// The capability of a node that meshes: it can be asked who is near.
pub const SPACER: u32 = 1;

/// A datagram from an address that is not the peer's makes us try that address only if it is as
/// long as the try: nobody makes this node send more to a third party than was sent here.
pub(super) const WORTH_A_TRY: usize = sealed::HEADER + TRY_LEN + sealed::TAG;

impl Switch {
    /// Tells whoever brings hashnames together where a line leads now.
    pub(super) fn tell_line(&mut self, slot: u32) {
        let Some(contact) = self.contacts.get(slot) else { return };
        let path = contact.line().filter(|l| l.is_up()).map(|l| l.path);
        // It says that it meshes, and whoever vouches for it lets it.
        let may = contact.admission.is_some_and(|a| a.flags.contain(Flags::SPACER));
        let (peer, spacer) = (contact.hashname, may && contact.capabilities.0 & SPACER != 0);
        self.effects.push_back(Effect::Note(Note::Line { peer, path, spacer }));
    }

    /// The peer was heard over a path that is not the line's: it may have moved, or prefer that
    /// one. Both are tried.
    pub(super) fn heard_elsewhere(&mut self, now: Instant, slot: u32, path: Path, length: usize) {
        if matches!(path, Path::Direct(_)) && length < WORTH_A_TRY {
            return;
        }
        let Some(line) = self.contacts.get(slot).and_then(Contact::line) else { return };
        let current = line.path;
        self.consider(now, slot, path);
        if path.rank() >= current.rank() {
            self.consider(now, slot, current);
        }
        self.try_paths(now, slot);
    }

    /// A try on the path in use brings the peer's word about where we are, and its round trip.
    pub(super) fn learn_address(&mut self, now: Instant, slot: u32) {
        let path = self.contacts.get(slot).and_then(Contact::line).map(|l| l.path);
        if let Some(path @ Path::Direct(_)) = path {
            self.consider(now, slot, path);
        }
    }

    /// A datagram of so many bytes came by a path. If the line takes that path from now on and
    /// nothing was proved there, what goes there is held to what came.
    pub(super) fn brought(
        &mut self,
        now: Instant,
        slot: u32,
        path: Path,
        bytes: usize,
        taken: bool,
    ) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let Path::Direct(address) = path else {
            if let Some(line) = contact.line_mut().filter(|l| taken && l.path == path) {
                line.unproved = None;
            }
            return;
        };
        let proved = contact.is_proved(&address);
        let Some(line) = contact.line_mut().filter(|l| l.path == path) else { return };
        if taken {
            line.unproved = (!proved).then(Unproved::default);
        }
        let Some(unproved) = &mut line.unproved else { return };
        unproved.credit = unproved.credit.saturating_add(bytes);
        if bytes >= WORTH_A_TRY || taken {
            self.consider(now, slot, path);
            self.try_paths(now, slot);
            self.schedule(slot);
        }
    }

    /// The path in use answered: it is the peer's, and what waited for that goes.
    fn proved(&mut self, now: Instant, slot: u32) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let Some(line) = contact.line_mut() else { return };
        let Path::Direct(address) = line.path else { return };
        let held = line.unproved.take().map(|u| u.held).unwrap_or_default();
        contact.found_at(address);
        for (priority, frame) in held {
            self.seal_to(now, slot, priority, frame);
        }
    }

    /// Tries a path for a line, if that was not done of late.
    pub(super) fn consider(&mut self, now: Instant, slot: u32, path: Path) {
        let token = self.chance.u64();
        let line = self.contacts.get_mut(slot).and_then(Contact::line_mut);
        if let Some(line) = line.filter(|l| l.is_up()) {
            line.paths.consider(now, line.path, path, token);
        }
    }

    /// Tries everything that might lead to the peer, the path in use first.
    pub(super) fn doubt(&mut self, now: Instant, slot: u32) {
        // What is silent may be a way that swallows large datagrams and nothing else.
        let line = self.contacts.get_mut(slot).and_then(Contact::line_mut);
        if line.is_some_and(|line| line.width.narrow(now)) {
            self.narrowed(slot);
        }
        let Some(contact) = self.contacts.get(slot) else { return };
        let Some(line) = contact.line() else { return };
        let paths = core::iter::once(line.path).chain(contact.all_paths(now));
        for path in paths.collect::<Vec<_>>() {
            self.consider(now, slot, path);
        }
    }

    /// If the path in use answers nothing and no detour is known, there may be somebody who can
    /// carry.
    pub(super) fn ask_around(&mut self, now: Instant, slot: u32) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        if !contact.line_mut().is_some_and(|line| line.take_despair(now)) {
            return;
        }
        // The path that answers nothing is no way around itself.
        let Some(current) = contact.line().map(|l| l.path) else { return };
        if contact.is_worth_a_search()
            && contact.all_paths(now).all(|p| p.rank() == 0 || p == current)
        {
            contact.sought = true;
            let (peer, known, at) = (contact.hashname, true, Vec::new());
            self.effects.push_back(Effect::Note(Note::Find { peer, known, at }));
        }
    }

    /// The peer is heard: if others were asked for a way to it, they need not be any more.
    pub(super) fn found_again(&mut self, slot: u32) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        if core::mem::take(&mut contact.sought) {
            self.effects.push_back(Effect::Note(Note::Found(contact.hashname)));
        }
    }

    /// Sends the tries that are due and takes a better path if one is proved. The line's deadline
    /// is the caller's to set.
    pub(super) fn try_paths(&mut self, now: Instant, slot: u32) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let Some(line) = contact.line_mut().filter(|l| l.is_up()) else { return };
        let current = line.path;
        if line.paths.take_round(now) {
            let better = contact.all_paths(now).filter(|p| p.rank() < current.rank());
            for path in better.collect::<Vec<_>>() {
                self.consider(now, slot, path);
            }
        }
        loop {
            let line = self.contacts.get_mut(slot).and_then(Contact::line_mut);
            let Some((path, token)) = line.and_then(|l| l.paths.due(now)) else { break };
            if self.may_try(now, slot, path) {
                self.send_on(now, slot, path, Priority::HIGHEST, &Inner::probe(token));
            }
        }
        self.try_widths(now, slot);
        self.choose_path(now, slot);
    }

    /// Addresses that others named get so many tries a second, whoever named them.
    fn may_try(&mut self, now: Instant, slot: u32, path: Path) -> bool {
        let Path::Direct(at) = path else { return true };
        let known = self.contacts.get(slot).is_some_and(|c| c.is_proved(&at));
        known || self.spend_on_stranger(now, &at)
    }

    /// Whether one more packet may go to an address that has proved nothing.
    pub(super) fn spend_on_stranger(&mut self, now: Instant, at: &SocketAddr) -> bool {
        let may = self.strangers.allow(now, &at.ip());
        if !may {
            self.counters.drops.count(DropReason::RateLimited);
        }
        may
    }

    fn choose_path(&mut self, now: Instant, slot: u32) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let Some(line) = contact.line_mut() else { return };
        let Some(path) = line.paths.choose(now, line.path) else { return };
        line.path = path;
        line.paths.improve((path.rank() > 0).then_some(now));
        let held = line.unproved.take().map(|u| u.held).unwrap_or_default();
        if let Path::Direct(address) = path {
            contact.found_at(address);
        }
        for (priority, frame) in held {
            self.seal_to(now, slot, priority, frame);
        }
        self.counters.moves += 1;
        self.announce_path(slot, true);
        self.tell_line(slot);
    }

    /// Finds out how large datagrams may be, for lines that carry streams.
    fn try_widths(&mut self, now: Instant, slot: u32) {
        let token = self.chance.u64();
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let wanted = contact.wanted;
        let Some(line) = contact.line_mut().filter(|_| wanted) else { return };
        let Path::Direct(to) = line.path else { return };
        line.width.widen(now, to);
        let (to, size, token) = match line.width.due(now, token) {
            Due::Try(to, size, token) => (to, size, token),
            Due::Narrowed => return self.narrowed(slot),
            Due::Nothing => return,
        };
        let mut packet = Inner::probe(token).to_vec();
        packet.resize(size - sealed::HEADER - sealed::TAG, 0);
        self.send_on(now, slot, Path::Direct(to), Priority::HIGHEST, &packet);
    }

    /// Streams lose the large packets of a line and hear of the small ones.
    pub fn suspect_size(&mut self, now: Instant, line: LineRef) {
        let contact = self.contacts.get_mut(line.slot).filter(|c| c.tenant == line.tenant);
        let held = contact.and_then(Contact::line_mut);
        if held.is_some_and(|l| matches!(l.path, Path::Direct(_)) && l.width.suspect(now)) {
            self.narrowed(line.slot);
            self.try_widths(now, line.slot);
            self.schedule(line.slot);
        }
    }

    /// Large datagrams do not pass any more.
    fn narrowed(&mut self, slot: u32) {
        self.counters.narrowed += 1;
        self.announce_path(slot, false);
    }

    /// Tells streams of the line's largest packet, and whether it takes another path.
    pub(super) fn announce_path(&mut self, slot: u32, moved: bool) {
        let Some(line) = self.line_ref(slot) else { return };
        let limits = &self.setting.limits;
        if let Some(held) = self.contacts.get(slot).and_then(Contact::line) {
            let max_packet = held.max_packet(limits);
            self.effects.push_back(Effect::LinePath { line, max_packet, moved });
        }
    }

    /// Answers a try, the way it came, and tries that way too if it is another than the line's: the
    /// peer will take it, and what was sent later on a faster path must not hide where it is.
    pub(super) fn answer_try(&mut self, now: Instant, slot: u32, path: Path, token: u64) {
        let current = self.contacts.get(slot).and_then(Contact::line).map(|l| l.path);
        if current.is_some_and(|current| current != path && path.rank() < current.rank()) {
            self.heard_elsewhere(now, slot, path, WORTH_A_TRY);
            self.schedule(slot);
        }
        let from = match path {
            Path::Direct(from) => Some(from),
            Path::Bridge(_) | Path::Mesh => None,
        };
        self.send_on(now, slot, path, Priority::HIGHEST, &Inner::probed(token, from));
    }

    /// A try of ours was answered.
    pub(super) fn tried(&mut self, now: Instant, slot: u32, token: u64, us: Option<SocketAddr>) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let by = contact.hashname;
        let Some(line) = contact.line_mut() else { return };
        if let Some(another) = line.width.answered(now, token) {
            if another {
                self.announce_path(slot, false);
            }
            return self.schedule(slot);
        }
        if !line.paths.answered(now, token) {
            return self.counters.drops.count(DropReason::Unhandled);
        }
        if let Some(us) = us {
            self.effects.push_back(Effect::Note(Note::SeenAs { by, us }));
        }
        let line = self.contacts.get(slot).and_then(Contact::line);
        if line.is_some_and(|l| l.unproved.is_some() && l.paths.is_proved(now, l.path)) {
            self.proved(now, slot);
        }
        self.choose_path(now, slot);
        self.schedule(slot);
    }

    /// Seals a short packet for a path, the line's or another.
    fn send_on(&mut self, now: Instant, slot: u32, path: Path, priority: Priority, packet: &[u8]) {
        let write = |b: &mut BytesMut| {
            b.extend_from_slice(packet);
            Some(())
        };
        if let Some((frame, ())) = self.pool.frame(packet.len(), write) {
            self.seal_on(now, slot, Some(path), priority, frame);
        }
    }

    /// A peer may be at these addresses: somebody else says so.
    pub(super) fn seen_at(&mut self, now: Instant, peer: Hashname, at: &[SocketAddr]) {
        let Some(slot) = self.contacts.enter(peer) else { return };
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let new = at.iter().rev().fold(false, |new, a| contact.seen_at(*a) | new);
        let direct = contact.line().is_some_and(|l| l.path.rank() == 0);
        if new {
            contact.hurry(now);
        }
        let state = super::contact::Standing::Seen;
        if contact.state() == super::State::Unknown && !at.is_empty() {
            self.becomes(slot, state);
        }
        if !direct {
            at.iter().for_each(|a| self.consider(now, slot, Path::Direct(*a)));
            self.try_paths(now, slot);
        }
        self.pursue(now, slot);
    }
}
