//! [`Switch`]: one partition of all hashnames. What starts here is what the node says: whom it
//! knows, whom it wants to reach, what to send. What others want starts in `arrivals`, what time
//! and the way to a line demand in `upkeep`.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use super::ask::{Answer, Ask, Effect, LineRef, Question, Token};
use super::contact::{Contact, Standing, State};
use super::contacts::{Bounds, Contacts};
use super::half_opens::HalfOpens;
use super::line::{HELD, Line};
use super::meet::constants::{ANSWERS_OUTSIDE, OUTSIDE};
use super::messages::Assembly;
use super::paths::{Bridge, Path, PathReport};
use super::questions::{MOST, Ping, Room};
use super::ways::Carrying;
use crate::base::{
    Address, BootEpoch, Chance, DropReason, Drops, Entrance, Frame, FramePool, Hashname, Instant,
    Limits, Priority, RateTable, Timers,
};
use crate::crypto::open::Capabilities;
use crate::crypto::{Admission, Cookies, Identity, KeyRecord, LineIds, SpaceRules};
use crate::wire::inner::Inner;
use crate::wire::meet::No;
use crate::wire::package::{self, Code, Content, Sequence};
use crate::wire::sealed;

/// What one partition is told when it begins.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Which partition this is,
    pub partition: u16,
    /// of how many.
    pub partitions: u16,
    /// Who we are.
    pub identity: Arc<Identity>,
    /// Who else belongs to our space, and what we show of ourselves.
    pub space: Arc<SpaceRules>,
    /// This start of the node.
    pub epoch: BootEpoch,
    /// What it can do for others.
    pub capabilities: Capabilities,
    /// The bounds.
    pub limits: Arc<Limits>,
    /// Whether the application takes packets that nothing here knows, from outside any line.
    pub anonymous: bool,
    /// What turns line ids into places; the same for all partitions of a node.
    pub ids: LineIds,
}

/// Counters of a partition.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Packets sealed.
    pub sealed: u64,
    /// Packets opened.
    pub unsealed: u64,
    /// Opens sent, repetitions included.
    pub opens_sent: u64,
    /// Opens answered.
    pub opens_answered: u64,
    /// Lines that came up.
    pub lines_opened: u64,
    /// Keys renewed.
    pub renewals: u64,
    /// Cookies sent instead of answers.
    pub cookies: u64,
    /// Lines that changed to another path.
    pub moves: u64,
    /// Times that datagrams had to become smaller again.
    pub narrowed: u64,
    /// Datagrams carried for others.
    pub carried: u64,
    /// What went no further.
    pub drops: Drops,
}

/// Packets a second, and at once, to addresses of one host that have proved nothing. A punch is 3
/// bytes, a try 72, an open at most 1.4 KB.
const STRANGERS: (u32, u32) = (8, 32);

/// One partition of all hashnames.
pub struct Switch {
    pub(super) setting: Setting,
    pub(super) chance: Chance,
    pub(super) contacts: Contacts,
    pub(super) timers: Timers,
    pub(super) effects: VecDeque<Effect>,
    pub(super) pool: FramePool,
    /// Messages from inside lines, and others: who floods one does not touch the other.
    pub(super) sealed_parts: Assembly,
    /// See `sealed_parts`.
    pub(super) plain_parts: Assembly,
    pub(super) cookies: Cookies,
    pub(super) opens: RateTable,
    pub(super) opens_each: RateTable,
    /// What may go to addresses that have proved nothing.
    pub(super) strangers: RateTable,
    /// Returns to senders that proved nothing.
    pub(super) returns: RateTable,
    /// What messages that wait for lines may take.
    pub(super) room: Room,
    /// Where what is handled at this moment came in.
    pub(super) came_by: Entrance,
    /// What is heard outside lines about other hashnames: questions, and what claims to answer ours.
    pub(super) outside: [RateTable; 2],
    pub(super) carrying: Carrying,
    pub(super) half_opens: HalfOpens,
    pub(super) probes: BTreeMap<Token, (Instant, Instant)>,
    pub(super) counters: Counters,
    pub(super) opens_made: u64,
    generations: u32,
}

impl core::fmt::Debug for Switch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Switch")
            .field("partition", &self.setting.partition)
            .field("contacts", &self.contacts.len())
            .finish_non_exhaustive()
    }
}

/// What status says of one hashname.
#[derive(Clone, Debug)]
pub struct ContactReport {
    /// Who.
    pub hashname: Hashname,
    /// Where we stand with it.
    pub state: State,
    /// Where its packets go, if there is a line.
    pub path: Option<Path>,
    /// The most bytes of a datagram to it, as UDP counts them; none unless its line goes direct.
    pub datagram: Option<usize>,
    /// Since it was last heard.
    pub silent: Option<Duration>,
    /// Whether its key is known.
    pub known: bool,
    /// Other paths that were tried.
    pub paths: Vec<PathReport>,
    /// Addresses it may be at: the configuration's, those it was heard from, those others named.
    pub addresses: Vec<SocketAddr>,
    /// Relays asked to carry packets to it, and whether they do: since when they refuse, and why.
    pub bridges: Vec<(Hashname, Option<Result<SocketAddr, No>>)>,
    /// When something is tried again.
    pub next: Option<Duration>,
    /// How it was let in when it last opened or answered, and what it may offer.
    pub admission: Option<Admission>,
}

impl Switch {
    /// A partition that knows nobody yet.
    #[must_use]
    pub fn new(setting: Setting, mut chance: Chance) -> Self {
        let limits = &setting.limits;
        let (all, each) = (limits.opens_before_cookie, limits.opens_per_address);
        let back = limits.returns_per_source;
        Self {
            contacts: Contacts::new(
                Bounds { lined: limits.lines_per_shard, others: limits.contacts_per_shard },
                &mut chance,
            ),
            timers: Timers::default(),
            effects: VecDeque::new(),
            pool: FramePool::new(1 << 18, 16),
            sealed_parts: Assembly::new(limits.assembling, limits.message),
            plain_parts: Assembly::new(limits.assembling, limits.message),
            cookies: Cookies::new(&mut chance, Instant::ZERO),
            opens: RateTable::new(all, all, 1, &mut chance),
            opens_each: RateTable::new(each, each, 4_096, &mut chance),
            strangers: RateTable::new(STRANGERS.0, STRANGERS.1, 4_096, &mut chance),
            returns: RateTable::new(back, back, 4_096, &mut chance),
            room: Room::new(limits.waiting_bytes),
            came_by: Entrance::default(),
            outside: [OUTSIDE, ANSWERS_OUTSIDE]
                .map(|(rate, burst)| RateTable::new(rate, burst, 1, &mut chance)),
            carrying: Carrying::default(),
            half_opens: HalfOpens::new(limits),
            probes: BTreeMap::new(),
            counters: Counters::default(),
            opens_made: 0,
            generations: 0,
            setting,
            chance,
        }
    }

    /// Takes the next thing to be done.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The next moment at which something happens by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let probes = self.probes.values().map(|(_, end)| *end).min();
        self.timers.next().into_iter().chain(probes).chain(self.carrying.deadline()).min()
    }

    /// The counters so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every contact, for status.
    pub fn report(&self, now: Instant) -> impl Iterator<Item = ContactReport> + '_ {
        self.contacts.iter().map(move |c| ContactReport {
            hashname: c.hashname,
            state: c.state(),
            path: c.line().map(|l| l.path),
            datagram: c.line().and_then(Line::datagram),
            silent: c.line().map(|l| now.since(l.heard)),
            known: c.record.is_some(),
            paths: c.line().map(|l| l.paths.report(now).collect()).unwrap_or_default(),
            addresses: c.all_addresses(),
            bridges: c.ways.iter().map(|w| (w.relay, w.state())).collect(),
            next: self
                .contacts
                .find(&c.hashname.address())
                .and_then(|slot| self.timers.of(slot).map(|at| at.since(now))),
            admission: c.admission,
        })
    }

    /// Where the switch stands with a hashname.
    #[must_use]
    pub fn state(&self, peer: &Hashname) -> State {
        let contact = self.contacts.find(&peer.address()).and_then(|s| self.contacts.get(s));
        contact.map_or(State::Unknown, Contact::state)
    }

    /// A verified record came by: from the configuration, an announcement or an open.
    pub fn learned(&mut self, now: Instant, record: Arc<KeyRecord>) {
        if record.hashname() == self.setting.identity.hashname() {
            return;
        }
        self.setting.space.learned(&record);
        let Some(slot) = self.contacts.enter(record.hashname()) else {
            return self.counters.drops.count(DropReason::TableFull);
        };
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        if contact.record.as_ref().is_some_and(|held| held.serial() >= record.serial()) {
            return;
        }
        contact.record = Some(record);
        if matches!(contact.state(), State::Unknown | State::Seen | State::Resolving) {
            self.becomes(slot, Standing::Resolved);
        }
        self.pursue(now, slot);
    }

    /// Addresses at which a hashname may be found. Ones from the configuration keep it from ever
    /// being forgotten.
    pub fn found(&mut self, now: Instant, peer: Hashname, at: &[SocketAddr], configured: bool) {
        let Some(slot) = self.contacts.enter(peer) else { return };
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        if configured {
            contact.configured = true;
            contact.fixed = at.to_vec();
        } else {
            at.iter().rev().for_each(|a| contact.found_at(*a));
        }
        if contact.state() == State::Unknown && !at.is_empty() {
            self.becomes(slot, Standing::Seen);
        }
        self.pursue(now, slot);
    }

    /// Moves a contact to another state and says so. Gives what the old one held; an illegal move
    /// is not made.
    pub(super) fn becomes(&mut self, slot: u32, next: Standing) -> Option<Standing> {
        let before = self.contacts.become_(slot, next)?;
        let contact = self.contacts.get(slot)?;
        self.effects.push_back(Effect::State(contact.hashname, contact.state()));
        Some(before)
    }

    /// Whether the mesh leads to a hashname.
    pub fn reachable(&mut self, now: Instant, peer: Hashname, reachable: bool) {
        let Some(slot) = self.contacts.enter(peer) else { return };
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        contact.reachable = reachable;
        self.effects.push_back(Effect::Reachable(peer, reachable));
        if reachable {
            contact.hurry(now);
        }
        self.pursue(now, slot);
    }

    /// Streams want a line to a hashname.
    pub fn want(&mut self, now: Instant, peer: Hashname) {
        let Some(slot) = self.contacts.enter(peer) else {
            self.effects.push_back(Effect::LineDown { peer, code: Code::QueueFull });
            return;
        };
        if let Some(contact) = self.contacts.get_mut(slot) {
            contact.wanted = true;
        }
        match self.line_ref(slot) {
            Some(_) => {
                self.announce_line(slot);
                self.try_paths(now, slot);
                self.schedule(slot);
            }
            None => self.pursue(now, slot),
        }
    }

    /// Streams have no use for a line to a hashname any more. It ends when its keys do.
    pub fn unwant(&mut self, peer: &Hashname) {
        let Some(slot) = self.contacts.find(&peer.address()) else { return };
        if let Some(contact) = self.contacts.get_mut(slot) {
            contact.wanted = false;
        }
        self.schedule(slot);
    }

    /// The application asks for something.
    pub fn ask(&mut self, now: Instant, ask: Ask) {
        let Ask { token, peer, question } = ask;
        match question {
            Question::Probe { ttl, patience } => self.probe(now, token, peer, ttl, patience),
            Question::Ping { priority, length, patience } => {
                let deadline = now + patience;
                let ping = Ping { token, priority, length, deadline, sent: None };
                self.ping(now, peer, ping);
            }
        }
    }

    fn ping(&mut self, now: Instant, peer: Hashname, ping: Ping) {
        let slot = self.contacts.enter(peer);
        let added = slot
            .and_then(|s| self.contacts.get_mut(s))
            .is_some_and(|contact| contact.questions.add(ping));
        match slot.filter(|_| added) {
            Some(slot) => {
                self.pursue(now, slot);
                self.send_questions(now, slot);
            }
            None => self.fail(ping.token, Code::QueueFull),
        }
    }

    fn probe(&mut self, now: Instant, token: Token, peer: Hashname, ttl: u8, patience: Duration) {
        if self.probes.len() >= MOST {
            return self.fail(token, Code::QueueFull);
        }
        self.probes.insert(token, (now, now + patience));
        let head = package::Header {
            priority: Priority::HIGHEST,
            reply: false,
            ttl: ttl.max(1),
            content: Content::Probe,
            sequence: Sequence::M,
            destination: peer.address(),
            source: self.us(),
            message: token.0,
            total: 0,
            offset: 0,
        };
        self.send_package(&head, &[]);
    }

    /// Seals a packet of a stream and sends it. One for a line that is gone is counted.
    pub fn seal(&mut self, now: Instant, line: LineRef, priority: Priority, frame: Frame) {
        match self.contacts.get_mut(line.slot).filter(|c| c.tenant == line.tenant) {
            Some(contact) => {
                let rested = contact.line_mut().is_some_and(|line| line.used(now));
                self.rested(line.slot, rested);
                self.seal_to(now, line.slot, priority, frame);
            }
            None => self.counters.drops.count(DropReason::LineDown),
        }
    }

    /// The line carries something that is not its own upkeep.
    pub(super) fn use_line(&mut self, now: Instant, slot: u32) {
        let line = self.contacts.get_mut(slot).and_then(Contact::line_mut);
        let rested = line.is_some_and(|line| line.used(now));
        self.rested(slot, rested);
    }

    /// If a line rested and is used again, streams are told.
    fn rested(&mut self, slot: u32, rested: bool) {
        if rested {
            self.announce_line(slot);
            self.tell_line(slot);
            self.schedule(slot);
        }
    }

    /// Ends every line and says so to the peers.
    pub fn close_all(&mut self, now: Instant) {
        for slot in self.contacts.all_slots() {
            if self.contacts.get(slot).and_then(Contact::line).is_some_and(Line::is_up) {
                let close = Frame::copied(&Inner::close(Code::ShuttingDown as u8));
                self.seal_to(now, slot, Priority::HIGHEST, close);
                self.fall(slot, Code::ShuttingDown);
            }
        }
    }

    /// Sends a packet outside any line as a package.
    pub(super) fn send_switch(&mut self, to: Address, bytes: &[u8]) {
        let head = package::Header {
            priority: Priority::HIGHEST,
            reply: false,
            ttl: self.setting.limits.ttl,
            content: Content::Switch,
            sequence: Sequence::M,
            destination: to,
            source: self.us(),
            message: 0,
            total: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            offset: 0,
        };
        self.send_package(&head, bytes);
    }

    pub(super) fn seal_to(&mut self, now: Instant, slot: u32, priority: Priority, frame: Frame) {
        self.seal_on(now, slot, None, priority, frame);
    }

    /// Seals for the line's path, or for another on trial, and sends.
    pub(super) fn seal_on(
        &mut self,
        now: Instant,
        slot: u32,
        path: Option<Path>,
        priority: Priority,
        frame: Frame,
    ) {
        // Counted already.
        let _ = self.seal_with(now, slot, path, priority, frame, None);
    }

    /// As [`Self::seal_on`], for as many links of the mesh as `ttl` says.
    ///
    /// # Errors
    /// Why it was not sent; it is counted.
    pub(super) fn seal_with(
        &mut self,
        now: Instant,
        slot: u32,
        path: Option<Path>,
        priority: Priority,
        frame: Frame,
        ttl: Option<u8>,
    ) -> Result<(), DropReason> {
        let sealed = self.try_seal(now, slot, path, priority, frame, ttl);
        if let Err(reason) = sealed {
            self.counters.drops.count(reason);
        }
        sealed
    }

    fn try_seal(
        &mut self,
        now: Instant,
        slot: u32,
        path: Option<Path>,
        priority: Priority,
        mut frame: Frame,
        ttl: Option<u8>,
    ) -> Result<(), DropReason> {
        let limits = &self.setting.limits;
        let us = self.setting.identity.hashname().address();
        let contact = self.contacts.get_mut(slot).ok_or(DropReason::LineDown)?;
        let ends = (us, contact.hashname.address());
        let line = contact.line_mut().ok_or(DropReason::LineDown)?;
        let quiet = line.unanswered.is_none();
        let length = frame.len() + sealed::HEADER + sealed::TAG;
        if let Some(unproved) = line.unproved.as_mut().filter(|_| path.is_none()) {
            if unproved.credit < length {
                if unproved.held.len() >= HELD {
                    return Err(DropReason::QueueFull);
                }
                unproved.held.push_back((priority, frame));
                return Ok(());
            }
            unproved.credit -= length;
        }
        let used = path.is_none() && line.width.sent(length);
        let path = path.unwrap_or(line.path);
        let message = Inner::message_id(frame.as_mut_slice());
        let counter = line.seal(now, path, ends, limits, priority, &mut frame)?;
        match path {
            Path::Direct(to) | Path::Bridge(Bridge { relay: to, .. }) => {
                let bytes = frame.freeze();
                self.effects.push_back(Effect::Datagram { to, priority, bytes });
            }
            Path::Mesh => {
                if let Some(message) = message {
                    contact.questions.left(counter, message);
                }
                let mut package = frame.into_bytes();
                if let Some(ttl) = ttl {
                    package::set_ttl(&mut package, ttl);
                }
                self.effects.push_back(Effect::Package(package));
            }
        }
        self.counters.sealed += 1;
        if quiet || used {
            self.schedule(slot);
        }
        Ok(())
    }

    pub(super) fn fail(&mut self, token: Token, code: Code) {
        let answer = Answer::Failed { code, by: None };
        self.effects.push_back(Effect::Answered(token, answer));
    }

    pub(super) fn line_ref(&self, slot: u32) -> Option<LineRef> {
        let contact = self.contacts.get(slot)?;
        contact.line().filter(|l| l.is_up())?;
        Some(LineRef { partition: self.setting.partition, slot, tenant: contact.tenant })
    }

    /// Tells streams that a line is open.
    pub(super) fn announce_line(&mut self, slot: u32) {
        let Some(line) = self.line_ref(slot) else { return };
        let limits = &self.setting.limits;
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        contact.told = true;
        let Some(max_packet) = contact.line().map(|l| l.max_packet(limits)) else { return };
        let peer = contact.hashname;
        self.effects.push_back(Effect::LineUp { line, peer, max_packet });
    }

    pub(super) fn us(&self) -> Address {
        self.setting.identity.hashname().address()
    }

    pub(super) const fn new_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        self.generations
    }

    /// A new line object for a contact that had none, whatever its state.
    pub(super) fn line_for(&mut self, now: Instant, slot: u32, path: Path) -> Option<&mut Line> {
        if self.contacts.get(slot)?.line().is_none() {
            self.becomes(slot, Standing::Connected(Box::new(Line::new(now, path))))?;
        }
        self.contacts.get_mut(slot)?.line_mut()
    }
}
