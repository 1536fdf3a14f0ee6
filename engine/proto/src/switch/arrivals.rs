//! What others want of the switch: datagrams and packages, told apart and acted on, in the order
//! a packet meets it. Nothing is believed before it is authenticated, nothing is answered with
//! more bytes than it brought, and no path is used because a packet claimed to come from it.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};

use super::ask::{Answer, Effect, Message, Token};
use super::contact::{Contact, Standing};
use super::line::{Keys, Next, Path, Turn};
use super::partition::{OPEN_JSON, Switch};
use crate::base::{Address, BootEpoch, DropReason, Instant, LineId, Priority, Wall};
use crate::crypto::Knock;
use crate::crypto::open::{self, Capabilities, Heard, Initiation, Proven};
use crate::wire::inner::{self, Inner, Part};
use crate::wire::package::{self, Code, Content, Return};
use crate::wire::packet::{self, Action, Packet, Place};
use crate::wire::sealed;
use crate::wire::stream::StreamPacket;

/// Where an open came from.
#[derive(Clone, Copy, Debug)]
enum From {
    Address(SocketAddr),
    Node(Address),
}

impl From {
    const fn path(self) -> Path {
        match self {
            Self::Address(a) => Path::Direct(a),
            Self::Node(_) => Path::Mesh,
        }
    }

    /// The bytes a cookie is bound to.
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Address(a) => a.to_string().into_bytes(),
            Self::Node(n) => n.as_bytes().to_vec(),
        }
    }
}

impl Switch {
    /// A datagram came in.
    pub fn datagram(&mut self, now: Instant, wall: Wall, from: SocketAddr, bytes: BytesMut) {
        self.relayed(now, wall, from, bytes, false);
    }

    /// A datagram came in, perhaps through another partition, which has then asked for a cookie
    /// if one was due: each has secrets of its own.
    pub fn relayed(
        &mut self,
        now: Instant,
        wall: Wall,
        from: SocketAddr,
        bytes: BytesMut,
        paid: bool,
    ) {
        if let Err(reason) = self.take_datagram(now, wall, from, bytes, paid) {
            self.counters.drops.count(reason);
        }
    }

    fn take_datagram(
        &mut self,
        now: Instant,
        wall: Wall,
        from: SocketAddr,
        mut bytes: BytesMut,
        paid: bool,
    ) -> Result<(), DropReason> {
        if let Some(head) = sealed::Header::parse(&bytes)? {
            let (partition, ..) =
                self.setting.ids.resolve(head.line).ok_or(DropReason::UnknownLine)?;
            if partition != self.setting.partition {
                return self.elsewhere(partition, from, bytes);
            }
            let sealed = bytes.split_off(sealed::HEADER);
            return self.sealed(now, Path::Direct(from), head, &bytes, sealed);
        }
        let whole = bytes.clone();
        let packet = Packet::decode(&mut bytes)?;
        match packet.action(Place::Outside) {
            Action::Open => {
                let body = whole.get(whole.len() - packet.body.len()..).unwrap_or_default();
                self.open(now, wall, (From::Address(from), paid), body, &whole)
            }
            Action::Sline => self.sealed_json(now, from, &packet),
            _ => Err(DropReason::Unhandled),
        }
    }

    fn elsewhere(
        &mut self,
        partition: u16,
        from: SocketAddr,
        bytes: BytesMut,
    ) -> Result<(), DropReason> {
        if partition >= self.setting.partitions {
            return Err(DropReason::UnknownLine);
        }
        self.effects.push_back(Effect::Elsewhere { partition, from, bytes, paid: true });
        Ok(())
    }

    /// The JSON form of a sealed packet: the same value as the compact one.
    fn sealed_json(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &Packet<'_>,
    ) -> Result<(), DropReason> {
        let head = sealed::Header::from_json(packet)?;
        let (partition, ..) = self.setting.ids.resolve(head.line).ok_or(DropReason::UnknownLine)?;
        let body = BytesMut::from(packet.body);
        if partition != self.setting.partition {
            let mut compact = BytesMut::from(head.emit().as_slice());
            compact.extend_from_slice(&body);
            return self.elsewhere(partition, from, compact);
        }
        self.sealed(now, Path::Direct(from), head, &head.emit(), body)
    }

    /// A package for this node came in.
    pub fn package(&mut self, now: Instant, wall: Wall, mut frame: BytesMut) {
        let result = match package::Header::parse(&frame) {
            Ok(head) => match head.content {
                Content::Switch => {
                    let _head = frame.split_to(package::HEADER);
                    self.switch_package(now, wall, head.source, frame)
                }
                Content::Sealed => self.sealed_package(now, &head, frame),
                Content::Message => self.plain_message(now, &head, frame),
                Content::Return => self.returned(now, &head, &frame),
                Content::Probe => Err(DropReason::Unhandled),
            },
            Err(reason) => Err(reason),
        };
        if let Err(reason) = result {
            self.counters.drops.count(reason);
        }
    }

    fn switch_package(
        &mut self,
        now: Instant,
        wall: Wall,
        source: Address,
        bytes: BytesMut,
    ) -> Result<(), DropReason> {
        let mut work = bytes.clone();
        let packet = Packet::decode(&mut work)?;
        if packet.action(Place::Outside) != Action::Open {
            return Err(DropReason::Unhandled);
        }
        let body = bytes.get(bytes.len() - packet.body.len()..).unwrap_or_default();
        self.open(now, wall, (From::Node(source), false), body, &bytes)
    }

    fn open(
        &mut self,
        now: Instant,
        wall: Wall,
        (from, paid): (From, bool),
        body: &[u8],
        whole: &BytesMut,
    ) -> Result<(), DropReason> {
        match open::heard(body)? {
            Heard::Initiation { .. } => self.initiation(now, wall, (from, paid), body, whole),
            Heard::Response { to } => self.response(now, from, to, body, whole),
            Heard::Cookie { to } => self.cookie(now, from, to, body, whole),
        }
    }

    /// Somebody opens a line: judged in the order of what judging costs.
    fn initiation(
        &mut self,
        now: Instant,
        wall: Wall,
        (from, paid): (From, bool),
        body: &[u8],
        whole: &BytesMut,
    ) -> Result<(), DropReason> {
        let identity = self.setting.identity.clone();
        let knock = Knock::new(&identity, body)?;
        let path = from.bytes();
        if !paid && !self.opens.allow(now, &()) {
            if !self.cookies.allow(now, &knock, &path) {
                let cookie = self.cookies.make(now, &mut self.chance, &knock, &path)?;
                self.counters.cookies += 1;
                self.answer_open(from, &cookie);
                return Err(DropReason::Busy);
            }
            let each = match from {
                From::Address(a) => self.opens_each.allow(now, &a.ip()),
                From::Node(n) => self.opens_each.allow(now, &n),
            };
            if !each {
                return Err(DropReason::RateLimited);
            }
        }
        let initiation = Initiation::read(&knock, &mut self.chance)?;
        let owner = self.partition_of(&initiation.hashname().address());
        if owner != self.setting.partition {
            // Only now is it known whose it is. Packages are steered by their source before.
            return match from {
                From::Address(a) => self.elsewhere(owner, a, whole.clone()),
                From::Node(_) => Err(DropReason::Misaddressed),
            };
        }
        if initiation.hashname() == identity.hashname() {
            return Err(DropReason::Misaddressed);
        }
        if let From::Node(source) = from
            && source != initiation.hashname().address()
        {
            return Err(DropReason::Misaddressed);
        }
        let known = self.contacts.find(&initiation.hashname().address());
        let known = known.and_then(|slot| self.contacts.get(slot)).and_then(|c| c.record.clone());
        let proven = initiation.prove(wall, known.as_ref())?;
        if proven.record().space() != identity.space() {
            return Err(DropReason::WrongSpace);
        }
        self.admit(now, from, proven)
    }

    /// A proved peer opens: repeated, replayed, or new.
    fn admit(&mut self, now: Instant, from: From, proven: Proven) -> Result<(), DropReason> {
        let slot = self.contacts.enter(proven.record().hashname()).ok_or(DropReason::TableFull)?;
        let opener = proven.opener();
        let this = (opener.epoch, opener.counter);
        let contact = self.contacts.get_mut(slot).ok_or(DropReason::TableFull)?;
        if let Some(next) = contact.line().and_then(|l| l.next.as_ref())
            && next.open == this
        {
            let answer = next.answer.clone();
            self.answer_open(from, &answer);
            return Ok(());
        }
        if contact.last_open.is_some_and(|last| is_old(last, this)) {
            return Err(DropReason::Replayed);
        }
        let fresh_line = contact.line().is_none_or(|l| l.next.is_none() && !l.is_up());
        if fresh_line && self.unconfirmed >= self.setting.limits.half_open {
            return Err(DropReason::TableFull);
        }
        let generation = self.new_generation();
        let ours = self.setting.ids.mint(self.setting.partition, slot, generation);
        let answered = proven.answer(ours, self.setting.epoch, Capabilities::default(), now)?;
        let by_lower = answered.record.hashname() < self.setting.identity.hashname();
        let keys = Keys {
            session: answered.session,
            generation,
            peer_line: opener.line,
            epoch: opener.epoch,
            made: now,
            by_lower,
            highest: None,
        };
        let next = Next { keys, open: this, answer: answered.body.clone() };
        let contact = self.contacts.get_mut(slot).ok_or(DropReason::TableFull)?;
        contact.last_open = Some(this);
        let newer = |held: &u64| *held < answered.record.serial();
        if contact.record.as_ref().map(|r| r.serial()).as_ref().is_none_or(newer) {
            contact.record = Some(answered.record);
        }
        self.wait_for_first_packet(now, slot, from.path(), next);
        self.counters.opens_answered += 1;
        self.answer_open(from, &answered.body);
        self.schedule(slot);
        Ok(())
    }

    /// Keeps the keys of an answered open until a packet comes under them. What stands already,
    /// an opening of ours too, goes on beside them.
    fn wait_for_first_packet(&mut self, now: Instant, slot: u32, path: Path, next: Next) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let opening = match contact.standing() {
            Standing::Connecting(_) => contact.become_(Standing::Resolved),
            _ => None,
        };
        let Some(line) = self.line_for(now, slot, path) else { return };
        if let Some(Standing::Connecting(opening)) = opening {
            line.renewal = Some(opening);
        }
        if line.next.replace(next).is_none() {
            self.unconfirmed += 1;
        }
    }

    fn answer_open(&mut self, from: From, body: &[u8]) {
        let mut bytes = BytesMut::with_capacity(2 + OPEN_JSON.len() + body.len());
        if packet::emit(OPEN_JSON, &mut bytes).is_err() {
            return;
        }
        bytes.extend_from_slice(body);
        match from {
            From::Address(to) => {
                let (priority, bytes) = (Priority::HIGHEST, bytes.freeze());
                self.effects.push_back(Effect::Datagram { to, priority, bytes });
            }
            From::Node(node) => self.send_switch(node, &bytes),
        }
    }

    /// Finds the contact whose opening an answer names, here or in another partition.
    fn opening_of(
        &mut self,
        from: From,
        to: LineId,
        whole: &BytesMut,
    ) -> Result<Option<(u32, u32)>, DropReason> {
        let (partition, slot, generation) =
            self.setting.ids.resolve(to).ok_or(DropReason::UnknownLine)?;
        if partition == self.setting.partition {
            return Ok(Some((slot, generation)));
        }
        match from {
            From::Address(a) => self.elsewhere(partition, a, whole.clone()).map(|()| None),
            From::Node(_) => Err(DropReason::Misaddressed),
        }
    }

    fn cookie(
        &mut self,
        now: Instant,
        from: From,
        to: LineId,
        body: &[u8],
        whole: &BytesMut,
    ) -> Result<(), DropReason> {
        let Some((slot, generation)) = self.opening_of(from, to, whole)? else { return Ok(()) };
        let contact = self.contacts.get_mut(slot).ok_or(DropReason::UnknownLine)?;
        let opening = match contact.standing_mut() {
            Standing::Connecting(opening) => Some(opening),
            Standing::Connected(line) => line.renewal.as_mut(),
            _ => None,
        };
        let opening =
            opening.filter(|o| o.generation == generation).ok_or(DropReason::UnknownLine)?;
        opening.pending.take_cookie(body)?;
        opening.hurry(now);
        self.repeat_open(now, slot);
        self.schedule(slot);
        Ok(())
    }

    /// An open of ours is answered.
    fn response(
        &mut self,
        now: Instant,
        from: From,
        to: LineId,
        body: &[u8],
        whole: &BytesMut,
    ) -> Result<(), DropReason> {
        let Some((slot, generation)) = self.opening_of(from, to, whole)? else { return Ok(()) };
        let us = self.setting.identity.hashname();
        let contact = self.contacts.get_mut(slot).ok_or(DropReason::UnknownLine)?;
        let by_lower = us < contact.hashname;
        let opening = match contact.standing_mut() {
            Standing::Connecting(opening) => Some(opening),
            Standing::Connected(line) => line.renewal.as_mut(),
            _ => None,
        };
        let opening =
            opening.filter(|o| o.generation == generation).ok_or(DropReason::UnknownLine)?;
        let done = opening.pending.finish(body, now)?;
        let keys = Keys {
            session: done.session,
            generation,
            peer_line: done.peer_line,
            epoch: done.peer_epoch,
            made: now,
            by_lower,
            highest: None,
        };
        let path = from.path();
        let line = self.line_for(now, slot, path).ok_or(DropReason::UnknownLine)?;
        line.renewal = None;
        let first = !line.is_up();
        let turn = line.opened(keys);
        let moved = line.heard(now, path);
        self.settle_turn(slot, first, turn, moved);
        // The peer uses its keys once a packet came under them, so one goes at once.
        self.send_questions(now, slot);
        let quiet =
            self.contacts.get(slot).and_then(Contact::line).is_some_and(|l| l.unanswered.is_none());
        if quiet {
            let write = |b: &mut BytesMut| {
                Inner::echo(true, 0, inner::ECHO, b);
                Some(())
            };
            if let Some((frame, ())) = self.pool.frame(inner::ECHO, write) {
                self.seal_to(now, slot, Priority::HIGHEST, frame);
            }
        }
        self.schedule(slot);
        Ok(())
    }

    /// Tells streams what a change of keys or path means to them.
    fn settle_turn(&mut self, slot: u32, first: bool, turn: Turn, moved: bool) {
        let restarted = turn == Turn::Promoted { restarted: true };
        if restarted {
            let tenant = self.contacts.new_tenant();
            if let Some(contact) = self.contacts.get_mut(slot) {
                contact.tenant = tenant;
                let (peer, code) = (contact.hashname, Code::NodeDown);
                self.effects.push_back(Effect::LineDown { peer, code });
            }
        }
        if first || restarted {
            self.counters.lines_opened += 1;
            self.announce_line(slot);
        } else if moved && let Some(line) = self.line_ref(slot) {
            let limits = &self.setting.limits;
            let path = self.contacts.get(slot).and_then(Contact::line).map(|l| l.path);
            if let Some(path) = path {
                let max_packet = path.max_packet(limits);
                self.effects.push_back(Effect::LinePath { line, max_packet });
            }
        }
    }

    fn sealed_package(
        &mut self,
        now: Instant,
        head: &package::Header,
        mut frame: BytesMut,
    ) -> Result<(), DropReason> {
        let sealed = frame.split_off(package::SEALED_HEADER.min(frame.len()));
        let (ad, line, _) = package::split_sealed(&mut frame).ok_or(DropReason::Truncated)?;
        let head = sealed::Header { priority: head.priority, line, counter: head.message };
        let ad = ad.to_vec();
        self.sealed(now, Path::Mesh, head, &ad, sealed)
    }

    /// A sealed packet: the session named by its line id opens it, and what it holds is acted on.
    fn sealed(
        &mut self,
        now: Instant,
        path: Path,
        head: sealed::Header,
        ad: &[u8],
        mut bytes: BytesMut,
    ) -> Result<(), DropReason> {
        let (_, slot, generation) =
            self.setting.ids.resolve(head.line).ok_or(DropReason::UnknownLine)?;
        let contact = self.contacts.get_mut(slot).ok_or(DropReason::UnknownLine)?;
        let line = contact.line_mut().ok_or(DropReason::UnknownLine)?;
        let (first, half_open) = (!line.is_up(), line.next.is_some());
        let (plain, turn) = line.unseal(generation, head.counter, ad, &mut bytes)?;
        let length = plain.len();
        bytes.truncate(length);
        let promoted = turn != Turn::Same;
        let moved = line.heard_under(now, (generation, head.counter), path, promoted);
        if half_open && line.next.is_none() {
            self.unconfirmed = self.unconfirmed.saturating_sub(1);
            line.renewal = line.renewal.take().filter(|_| first);
        }
        self.counters.unsealed += 1;
        let first = first && promoted;
        if first || moved || promoted {
            if let Path::Direct(address) = path {
                contact.found_at(address);
            }
            self.settle_turn(slot, first, turn, moved);
            self.send_questions(now, slot);
            self.schedule(slot);
        }
        self.inside(now, slot, head.priority, bytes)
    }

    /// A packet inside a line, in either form: what is done is the same.
    fn inside(
        &mut self,
        now: Instant,
        slot: u32,
        priority: Priority,
        bytes: BytesMut,
    ) -> Result<(), DropReason> {
        let length = bytes.len();
        let (inner, packet) = match Inner::parse(&bytes)? {
            Inner::Json => from_json(bytes)?,
            inner => {
                let mut packet = bytes.freeze();
                if let Inner::Message(_) = inner {
                    packet.advance(inner::MESSAGE_HEADER);
                }
                (inner, packet)
            }
        };
        // The ping that proves new keys to the peer is upkeep; others are somebody's.
        if !matches!(inner, Inner::Ping(0) | Inner::Pong(_)) {
            self.use_line(now, slot);
        }
        match inner {
            Inner::Stream => {
                let line = self.line_ref(slot).ok_or(DropReason::LineDown)?;
                self.effects.push_back(Effect::Stream { line, packet });
            }
            Inner::Ping(token) => self.pong(now, slot, priority, token, length),
            Inner::Pong(token) => self.ponged(now, slot, Token(token)),
            Inner::Message(part) => return self.sealed_message(now, slot, priority, part, packet),
            Inner::Close(_) => self.fall(slot, Code::NodeDown),
            Inner::Json => return Err(DropReason::Unhandled),
        }
        Ok(())
    }

    /// Answers a ping.
    pub(super) fn pong(
        &mut self,
        now: Instant,
        slot: u32,
        priority: Priority,
        token: u64,
        length: usize,
    ) {
        let write = |b: &mut BytesMut| {
            Inner::echo(false, token, length, b);
            Some(())
        };
        if let Some((frame, ())) = self.pool.frame(length, write) {
            self.seal_to(now, slot, priority, frame);
        }
    }

    fn ponged(&mut self, now: Instant, slot: u32, token: Token) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        if let Some(rtt) = contact.questions.answered(token, now) {
            self.effects.push_back(Effect::Answered(token, Answer::Pong(rtt)));
            self.schedule(slot);
        }
    }

    fn sealed_message(
        &mut self,
        now: Instant,
        slot: u32,
        priority: Priority,
        part: Part,
        body: Bytes,
    ) -> Result<(), DropReason> {
        let contact = self.contacts.get_mut(slot).ok_or(DropReason::UnknownLine)?;
        let from = contact.hashname.address();
        if contact.line_mut().is_some_and(|line| line.owes(now)) {
            self.schedule(slot);
        }
        self.arrived(now, from, true, priority, part, body)
    }

    fn plain_message(
        &mut self,
        now: Instant,
        head: &package::Header,
        mut frame: BytesMut,
    ) -> Result<(), DropReason> {
        if head.sequence != package::Sequence::M {
            return Err(DropReason::UnknownKind);
        }
        let body = frame.split_off(package::HEADER).freeze();
        let part =
            Part { reply: head.reply, id: head.message, total: head.total, offset: head.offset };
        self.arrived(now, head.source, false, head.priority, part, body)
    }

    fn arrived(
        &mut self,
        now: Instant,
        from: Address,
        sealed: bool,
        priority: Priority,
        part: Part,
        body: Bytes,
    ) -> Result<(), DropReason> {
        let Part { reply, id, total, offset } = part;
        let assembly = if sealed { &mut self.sealed_parts } else { &mut self.plain_parts };
        if let Some(payload) = assembly.take(now, from, sealed, id, total, offset, body)? {
            let message = Message { from, priority, reply, sealed, id, payload };
            self.effects.push_back(Effect::Arrived(message));
        }
        Ok(())
    }

    /// Something of ours came back.
    fn returned(
        &mut self,
        now: Instant,
        head: &package::Header,
        frame: &[u8],
    ) -> Result<(), DropReason> {
        let back = Return::parse(frame.get(package::HEADER..).unwrap_or_default())?;
        let token = Token(head.message);
        match back.content {
            Content::Probe => {
                let (sent, _) = self.probes.remove(&token).ok_or(DropReason::Unhandled)?;
                let (node, code, after) = (head.source, back.code, now.since(sent));
                let answer = if matches!(code, Code::Arrived | Code::TtlExpired) {
                    Answer::Probed { node, code, after }
                } else {
                    Answer::Failed { code, by: Some(node) }
                };
                self.effects.push_back(Effect::Answered(token, answer));
            }
            Content::Message => {
                let answer = Answer::Failed { code: back.code, by: Some(head.source) };
                self.effects.push_back(Effect::Answered(token, answer));
            }
            // A hint that anyone on the way could forge: nothing but a reason to look sooner.
            Content::Sealed | Content::Switch => self.hint(now, &back.destination),
            Content::Return => return Err(DropReason::Malformed),
        }
        Ok(())
    }

    fn hint(&mut self, now: Instant, peer: &Address) {
        let Some(slot) = self.contacts.find(peer) else { return };
        let line = self.contacts.get_mut(slot).and_then(Contact::line_mut);
        if let Some(line) = line.filter(|l| l.is_up() && l.renewal.is_none()) {
            line.unanswered.get_or_insert(now);
            self.schedule(slot);
        }
    }

    fn partition_of(&self, address: &Address) -> u16 {
        crate::base::id::partition(address, self.setting.partitions)
    }
}

/// What a packet with JSON is, and the bytes that go with it: a stream's packet in its compact
/// form, a message's part. Both are copied, so streams know one form only, and a few bytes that
/// are kept do not hold on to all the JSON before them.
fn from_json(mut bytes: BytesMut) -> Result<(Inner, Bytes), DropReason> {
    let packet = Packet::decode(&mut bytes)?;
    let inner = Inner::from_json(&packet)?;
    let with = match inner {
        Inner::Stream => {
            let packet = StreamPacket::from_json(&packet)?;
            let mut compact = BytesMut::with_capacity(packet.len());
            packet.emit(&mut compact);
            compact.freeze()
        }
        Inner::Message(_) => Bytes::copy_from_slice(packet.body),
        _ => Bytes::new(),
    };
    Ok((inner, with))
}

/// Whether an open was seen before, or is older than one seen. Within one start of the peer its
/// opens are counted; between starts nobody can tell, and the newer keys are used only once a
/// packet came under them.
fn is_old(last: (BootEpoch, u64), this: (BootEpoch, u64)) -> bool {
    last.0 == this.0 && this.1 <= last.1
}
