//! One simulated switch: the real [`Meeting`], and around it a partition with numbers in place of
//! keys. What others send starts in `hears`, what time demands in `due`.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use trunkline_proto::base::{Chance, Hashname, Instant, LineId};
use trunkline_proto::switch::meet::{Host, Meeting, Order, Terms};
use trunkline_proto::switch::{Introduction, Note, Path, Token};
use trunkline_proto::wire::inner::Inner;
use trunkline_proto::wire::meet::{Grant, No, Word, parts};

use super::contact::{Contact, Opening, RESOLVING, Way, rank, remember};
use super::malice::Malice;
use super::nat::Nat;
use super::packets::{Datagram, Inside, Packet};

/// Contacts kept; idle ones go first. As the switch, a fraction of its bound.
const CONTACTS: usize = 4_096;
/// Bytes of a record with a 3,072-bit key and what goes before it.
const PAPERS: usize = 1_000;

/// One direction of a bridge carried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) line: LineId,
    pub(super) until: Instant,
    who: Hashname,
}

/// A switch.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) hashname: Hashname,
    pub(super) nat: Nat,
    pub(super) meshes: bool,
    pub(super) malice: Option<Malice>,
    pub(super) meeting: Meeting,
    pub(super) contacts: BTreeMap<Hashname, Contact>,
    /// Which contact's bridge a name of ours is.
    pub(super) ways: BTreeMap<[u8; 16], Hashname>,
    pub(super) carrying: BTreeMap<[u8; 16], Carried>,
    pub(super) chance: Chance,
    notes: VecDeque<Note>,
    numbers: u64,
    /// When the meeting is looked at next.
    pub(super) due: Option<Instant>,
    /// It was told something: its deadline may be another.
    pub(super) touched: bool,
    /// Out of here: datagrams, moments to be woken for a contact, answers, lines wanted that came
    /// or did not.
    pub(super) sends: Vec<Datagram>,
    pub(super) timers: Vec<(Instant, Hashname)>,
    pub(super) answers: Vec<(Token, Vec<Hashname>)>,
    pub(super) came: Vec<(Hashname, bool)>,
}

/// What stands for the key record of a hashname.
pub(super) fn papers(of: &Hashname) -> Bytes {
    let mut out = vec![0; PAPERS];
    if let Some(name) = out.get_mut(1..=Hashname::LEN) {
        name.copy_from_slice(of.as_bytes());
    }
    out.into()
}

impl Node {
    pub(super) fn new(hashname: Hashname, nat: Nat, terms: Terms, mut chance: Chance) -> Self {
        let meshes = terms.spacer;
        let host = Host { us: hashname, papers: papers(&hashname), partitions: 1 };
        Self {
            meeting: Meeting::new(host, terms, chance.fork()),
            hashname,
            nat,
            meshes,
            malice: None,
            contacts: BTreeMap::new(),
            ways: BTreeMap::new(),
            carrying: BTreeMap::new(),
            chance,
            notes: VecDeque::new(),
            numbers: 0,
            due: None,
            touched: true,
            sends: Vec::new(),
            timers: Vec::new(),
            answers: Vec::new(),
            came: Vec::new(),
        }
    }

    pub(super) fn lines(&self) -> usize {
        self.contacts.values().filter(|c| c.up().is_some()).count()
    }

    /// The configuration knows an introducer's key and where it is.
    pub(super) fn configured(&mut self, peer: Hashname, at: SocketAddr) {
        let contact = self.contacts.entry(peer).or_default();
        contact.papers = true;
        contact.fixed = vec![at];
    }

    /// Somebody here wants a line.
    pub(super) fn want(&mut self, now: Instant, peer: Hashname) {
        if let Some(contact) = self.enter(peer) {
            contact.wanted = true;
        }
        self.pursue(now, peer);
        self.settle(now);
    }

    /// The meeting's own time has come, if it has.
    pub(super) fn meet(&mut self, now: Instant) {
        self.touched = true;
        if self.meeting.deadline().is_some_and(|d| d <= now) {
            self.meeting.handle_timeout(now);
        }
        self.settle(now);
    }

    /// Passes on what was noticed, and does what is wanted then, until nothing is left.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            if let Some(order) = self.meeting.poll() {
                self.touched = true;
                self.order(now, order);
            } else if let Some(note) = self.notes.pop_front() {
                self.touched = true;
                self.meeting.note(now, note);
            } else {
                return;
            }
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        self.notes.push_back(note);
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        let name = self.hashname.as_bytes().first_chunk::<8>();
        name.map_or(0, |b| u64::from_be_bytes(*b)).wrapping_add(self.numbers)
    }

    fn mint(&mut self) -> LineId {
        LineId(self.chance.bytes())
    }

    /// The contact of a hashname, made if there is room.
    pub(super) fn enter(&mut self, peer: Hashname) -> Option<&mut Contact> {
        if self.contacts.len() >= CONTACTS && !self.contacts.contains_key(&peer) {
            let gone = self.contacts.iter().find(|(_, c)| c.is_idle()).map(|(who, _)| *who)?;
            self.contacts.remove(&gone);
        }
        Some(self.contacts.entry(peer).or_default())
    }

    pub(super) fn line(&mut self, peer: &Hashname) -> Option<&mut super::contact::Line> {
        self.contacts.get_mut(peer)?.line.as_mut()
    }

    /// Wakes the world for this contact no later than it needs.
    pub(super) fn schedule(&mut self, now: Instant, peer: Hashname) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let Some(at) = contact.deadline() else { return };
        let at = at.max(now + core::time::Duration::from_millis(1));
        if contact.due.is_none_or(|due| at < due) {
            contact.due = Some(at);
            self.timers.push((at, peer));
        }
    }

    pub(super) fn datagram(
        &mut self,
        now: Instant,
        to: SocketAddr,
        bridge: Option<LineId>,
        packet: Packet,
    ) {
        let from = self.nat.out(now, to);
        self.sends.push(Datagram { from, to, bridge, packet });
    }

    pub(super) fn send(&mut self, now: Instant, path: Path, packet: Packet) {
        match path {
            Path::Direct(at) => self.datagram(now, at, None, packet),
            Path::Bridge(bridge) => self.datagram(now, bridge.relay, Some(bridge.line), packet),
            Path::Mesh => {}
        }
    }

    /// Sends in a line, by its path or another.
    pub(super) fn seal(
        &mut self,
        now: Instant,
        peer: Hashname,
        path: Option<Path>,
        inside: Inside,
    ) {
        let by = self.hashname;
        let Some(line) = self.line(&peer).filter(|l| l.is_up()) else { return };
        let Some(keys) = line.current else { return };
        let expects = match &inside {
            Inside::Word(bytes) => Inner::expects_answer(bytes),
            Inside::Ping(_) => true,
            Inside::Pong | Inside::Try(_) | Inside::Tried(..) => false,
        };
        if expects {
            line.unanswered.get_or_insert(now);
        }
        let path = path.unwrap_or(line.path);
        self.send(now, path, Packet::Sealed { by, number: keys.number, inside });
        self.schedule(now, peer);
    }

    pub(super) fn tell_line(&mut self, peer: Hashname) {
        let contact = self.contacts.get(&peer);
        let path = contact.and_then(Contact::up).map(|l| l.path);
        let spacer = contact.is_some_and(|c| c.meshes);
        self.note(Note::Line { peer, path, spacer });
    }

    /// Takes the next step towards a line, if somebody wants one.
    pub(super) fn pursue(&mut self, now: Instant, peer: Hashname) {
        let number = self.number();
        let Some(contact) = self.contacts.get_mut(&peer).filter(|c| c.is_kept()) else { return };
        let anywhere = contact.papers && !contact.paths(now).is_empty();
        match &mut contact.line {
            Some(line) => {
                if !line.is_up() && line.renewal.is_none() && anywhere {
                    line.renewal = Some(Opening::new(now, number));
                }
            }
            None if contact.opening.is_some() => {}
            None if anywhere => {
                contact.waits_until = None;
                contact.opening = Some(Opening::new(now, number));
            }
            None => {
                contact.waits_until.get_or_insert(now + RESOLVING);
                if contact.is_worth_a_search() && !core::mem::replace(&mut contact.sought, true) {
                    let (known, at) = (contact.papers, contact.fixed.clone());
                    self.note(Note::Find { peer, known, at });
                }
            }
        }
        self.repeat_open(now, peer);
        self.schedule(now, peer);
    }

    /// Sends the open under way, if it is time to.
    pub(super) fn repeat_open(&mut self, now: Instant, peer: Hashname) {
        let (by, meshes) = (self.hashname, self.meshes);
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let mut paths = contact.paths(now);
        let renewed = contact.up().map(|l| l.path);
        let renewal = contact.line.as_mut().and_then(|l| l.renewal.as_mut());
        let Some(opening) = contact.opening.as_mut().or(renewal) else { return };
        if opening.take(now) {
            if let Some(path) = renewed.filter(|_| opening.is_new()) {
                paths = vec![path];
            }
            let number = opening.number;
            for path in paths {
                self.send(now, path, Packet::Open { by, number, meshes });
            }
        }
    }

    fn order(&mut self, now: Instant, order: Order) {
        match order {
            Order::To(_, what) | Order::All(what) | Order::Any(what) => self.introduce(now, what),
            Order::LookUp { asker, id, who } => self.meeting.looked_up(asker, id, who, None),
            Order::Nearest(token, found) => self.answers.push((token, found)),
            // The space is open.
            Order::Vouched(_) => {}
        }
    }

    fn introduce(&mut self, now: Instant, what: Introduction) {
        match what {
            Introduction::Say { peer, packet } => self.say(now, peer, packet),
            Introduction::Seen { peer, at } => self.seen_at(now, peer, &at),
            Introduction::Keep { peer, until } => {
                if let Some(contact) = self.enter(peer) {
                    contact.kept_until = contact.kept_until.max(Some(until));
                }
                self.pursue(now, peer);
            }
            Introduction::Papers { peer, papers } => {
                // Only true ones are believed, as if they were signed.
                let truth = papers.get(1..=Hashname::LEN) == Some(peer.as_bytes());
                if let Some(contact) = self.enter(peer).filter(|_| truth) {
                    contact.papers = true;
                    self.pursue(now, peer);
                }
            }
            Introduction::Patience { peer, until } => {
                if let Some(contact) = self.contacts.get_mut(&peer) {
                    contact.waits_until = contact.waits_until.map(|end| end.max(until));
                }
            }
            Introduction::Missing(peer) => {
                if self.contacts.get(&peer).is_some_and(|c| c.waits_until.is_some()) {
                    self.fall(peer);
                }
            }
            Introduction::ShowPapers { peer, to, id } => {
                let known = self.contacts.get(&peer).is_some_and(|c| c.papers);
                let words: Vec<Word> = match known {
                    true => parts(id, &papers(&peer)).collect(),
                    false => vec![Word::Key { id, part: Err(No::Unknown) }],
                };
                words.iter().for_each(|word| self.say(now, to, word.emit()));
            }
            Introduction::Punch(at) => {
                at.into_iter().for_each(|to| self.datagram(now, to, None, Packet::Nothing));
            }
            Introduction::Answer { to, bytes } => {
                self.datagram(now, to, None, Packet::Loose(bytes));
            }
            Introduction::Census => self.census(now),
            what => self.bridge(now, what),
        }
    }

    fn bridge(&mut self, now: Instant, what: Introduction) {
        match what {
            Introduction::AskBridge { peer, relay } => {
                let fresh = self.mint();
                let Some(contact) = self.enter(peer) else { return };
                let held = contact.ways.iter().find(|w| w.relay == relay).map(|w| w.ours);
                let line = held.unwrap_or(fresh);
                if held.is_none() {
                    if contact.ways.len() >= 2 {
                        contact.ways.remove(0);
                    }
                    contact.ways.push(Way { relay, ours: line, granted: None });
                    self.ways.insert(line.0, peer);
                }
                self.say(now, relay, Word::Bridge { who: peer, line }.emit());
            }
            Introduction::Bridged { peer, relay, grant } => {
                let token = self.chance.u64();
                let Some(contact) = self.contacts.get_mut(&peer) else { return };
                let Some(way) = contact.ways.iter_mut().find(|w| w.relay == relay) else { return };
                way.granted = grant.ok();
                let Ok((bridge, _)) = grant else { return };
                contact.hurry(now);
                let better = |l: &&mut super::contact::Line| {
                    l.is_up() && (rank(l.path) > 1 || l.unanswered.is_some())
                };
                if let Some(line) = contact.line.as_mut().filter(better) {
                    line.consider(now, Path::Bridge(bridge), token);
                }
                self.try_paths(now, peer);
                self.pursue(now, peer);
            }
            Introduction::Carry { ends: [a, b], rate, until, seconds } => {
                self.carrying.retain(|_, c| c.until > now);
                for (end, other) in [(a, b), (b, a)] {
                    let id = self.mint();
                    let who = other.who;
                    let carried =
                        Carried { from: end.at, to: other.at, line: other.line, until, who };
                    self.carrying.insert(id.0, carried);
                    let grant = Ok(Grant { line: id, rate, seconds });
                    self.say(now, end.who, Word::Bridged { who, grant }.emit());
                }
            }
            Introduction::Moved { peer, at: Some(at) } => {
                self.carrying.values_mut().filter(|c| c.who == peer).for_each(|c| c.to = at);
            }
            _ => {}
        }
    }

    /// Says a word in the line to a peer, if there is one.
    pub(super) fn say(&mut self, now: Instant, peer: Hashname, packet: Bytes) {
        let inside = match Inner::parse(&packet) {
            Ok(Inner::Ping(token)) => Inside::Ping(token),
            _ => Inside::Word(packet),
        };
        if let Some(line) = self.line(&peer).filter(|l| l.is_up()) {
            line.used = now;
            self.seal(now, peer, None, inside);
        }
    }

    fn seen_at(&mut self, now: Instant, peer: Hashname, at: &[SocketAddr]) {
        let tokens: Vec<u64> = at.iter().map(|_| self.chance.u64()).collect();
        let Some(contact) = self.enter(peer) else { return };
        at.iter().rev().for_each(|a| remember(&mut contact.seen, *a));
        contact.hurry(now);
        let detour = |l: &&mut super::contact::Line| l.is_up() && rank(l.path) > 0;
        if let Some(line) = contact.line.as_mut().filter(detour) {
            at.iter().zip(tokens).for_each(|(a, t)| line.consider(now, Path::Direct(*a), t));
        }
        self.try_paths(now, peer);
        self.pursue(now, peer);
    }

    fn census(&mut self, now: Instant) {
        let alive = |(who, c): (&Hashname, &Contact)| {
            let line = c.up().filter(|l| now.since(l.heard) < super::secs(30))?;
            Some((*who, line.heard))
        };
        let active = self.contacts.iter().filter_map(alive).collect();
        self.note(Note::Active(active));
    }
}
