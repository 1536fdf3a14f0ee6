//! What others want of the switch: datagrams and packages, told apart and handed on to what acts on
//! them, and everything that comes inside a line. Nothing is believed before it is authenticated,
//! nothing is answered with more bytes than it brought, and no path is used because a packet
//! claimed to come from it. Opens are `opens`.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};

use super::ask::{Answer, CameBack, Effect, Message, Note, Token, Toll};
use super::contact::Contact;
use super::line::Turn;
use super::opens::From;
use super::partition::Switch;
use super::paths::Path;
use crate::base::{Address, DropReason, Entrance, Hashname, Instant, Priority, Wall};
use crate::wire::bridged;
use crate::wire::inner::{self, Back, Inner, Part};
use crate::wire::package::{self, Code, Content, Return};
use crate::wire::packet::{Action, Packet, Place};
use crate::wire::sealed;
use crate::wire::stream::StreamPacket;

impl Switch {
    /// A datagram came in, at no port in particular.
    pub fn datagram(&mut self, now: Instant, wall: Wall, from: SocketAddr, bytes: BytesMut) {
        self.relayed(now, wall, (from, 0), bytes, Toll::Due);
    }

    /// A datagram came in from an address at a port of ours, perhaps through another partition,
    /// which has then asked for a cookie if it was busy: each has secrets of its own.
    pub fn relayed(
        &mut self,
        now: Instant,
        wall: Wall,
        (from, port): (SocketAddr, u16),
        bytes: BytesMut,
        toll: Toll,
    ) {
        self.came_by = Entrance::udp(port);
        if let Err(reason) = self.take_datagram(now, wall, from, bytes, toll) {
            self.counters.drops.count(reason);
        }
    }

    fn take_datagram(
        &mut self,
        now: Instant,
        wall: Wall,
        from: SocketAddr,
        bytes: BytesMut,
        toll: Toll,
    ) -> Result<(), DropReason> {
        if bytes.first_chunk() == Some(&[0, 0]) && bytes.get(2) != Some(&1) {
            return match bridged::Header::parse(&bytes)? {
                Some(head) => self.bridged(now, wall, from, head, bytes),
                None if bytes[..] == bridged::NOTHING => Ok(()),
                None => Err(DropReason::UnknownKind),
            };
        }
        self.take_packet(now, wall, From::Address(from), bytes, toll)
    }

    /// A packet that came as a datagram, or as one that a relay carried.
    pub(super) fn take_packet(
        &mut self,
        now: Instant,
        wall: Wall,
        from: From,
        mut bytes: BytesMut,
        toll: Toll,
    ) -> Result<(), DropReason> {
        if let Some(head) = sealed::Header::parse(&bytes)? {
            let (partition, ..) =
                self.setting.ids.resolve(head.line).ok_or(DropReason::UnknownLine)?;
            if partition != self.setting.partition {
                return self.elsewhere_from(partition, from, bytes);
            }
            let sealed = bytes.split_off(sealed::HEADER);
            return self.sealed(now, from.path(), head, &bytes, sealed);
        }
        let whole = bytes.clone();
        let packet = Packet::decode(&mut bytes)?;
        match (packet.action(Place::Outside), from) {
            (Action::Open, _) => {
                let body = whole.get(whole.len() - packet.body.len()..).unwrap_or_default();
                self.open(now, wall, (from, toll), body, &whole)
            }
            (Action::Sline, _) => self.sealed_json(now, from, &packet),
            (action @ (Action::Key | Action::Op | Action::Seek), From::Address(from)) => {
                // Before anybody else is troubled with what may be made up.
                let [questions, answers] = &mut self.outside;
                let budget = if action == Action::Key { answers } else { questions };
                if !budget.allow(now, &()) {
                    return Err(DropReason::RateLimited);
                }
                let packet = whole.freeze();
                self.effects.push_back(Effect::Note(Note::Asked { from, packet }));
                Ok(())
            }
            (Action::Line, _) => Err(DropReason::Unhandled),
            (_, From::Address(from)) if self.setting.anonymous => {
                let packet = whole.freeze();
                self.effects.push_back(Effect::Anonymous { from, packet });
                Ok(())
            }
            _ => Err(DropReason::Unhandled),
        }
    }

    /// As [`Self::elsewhere`]; what a relay carries to one partition is for that one only.
    fn elsewhere_from(
        &mut self,
        partition: u16,
        from: From,
        bytes: BytesMut,
    ) -> Result<(), DropReason> {
        match from {
            From::Address(from) => self.elsewhere(partition, from, bytes, Toll::Waived),
            From::Bridge(_) | From::Node(_) => Err(DropReason::Misaddressed),
        }
    }

    pub(super) fn elsewhere(
        &mut self,
        partition: u16,
        from: SocketAddr,
        bytes: BytesMut,
        toll: Toll,
    ) -> Result<(), DropReason> {
        if partition >= self.setting.partitions {
            return Err(DropReason::UnknownLine);
        }
        let port = self.came_by.port.unwrap_or(0);
        self.effects.push_back(Effect::Elsewhere { partition, from, port, bytes, toll });
        Ok(())
    }

    /// The JSON form of a sealed packet: the same value as the compact one.
    fn sealed_json(
        &mut self,
        now: Instant,
        from: From,
        packet: &Packet<'_>,
    ) -> Result<(), DropReason> {
        let head = sealed::Header::from_json(packet)?;
        let (partition, ..) = self.setting.ids.resolve(head.line).ok_or(DropReason::UnknownLine)?;
        let body = BytesMut::from(packet.body);
        if partition != self.setting.partition {
            let mut compact = BytesMut::from(head.emit().as_slice());
            compact.extend_from_slice(&body);
            return self.elsewhere_from(partition, from, compact);
        }
        self.sealed(now, from.path(), head, &head.emit(), body)
    }

    /// A package for this node came in.
    pub fn package(&mut self, now: Instant, wall: Wall, entrance: Entrance, mut frame: BytesMut) {
        self.came_by = entrance;
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
        self.open(now, wall, (From::Node(source), Toll::Due), body, &bytes)
    }

    /// Tells streams what a change of keys or path means to them.
    pub(super) fn settle_turn(
        &mut self,
        now: Instant,
        slot: u32,
        (first, moved): (bool, bool),
        turn: Turn,
    ) {
        let restarted = turn == Turn::Promoted { restarted: true };
        if restarted {
            let tenant = self.contacts.new_tenant();
            if let Some(contact) = self.contacts.get_mut(slot) {
                contact.tenant = tenant;
                let (peer, code) = (contact.hashname, Code::NodeDown);
                self.effects.push_back(Effect::LineDown { peer, code });
                self.effects.push_back(Effect::Fell { peer: peer.address(), code, by: None });
            }
        }
        if first || restarted {
            self.counters.lines_opened += 1;
            if let Some(contact) = self.contacts.get_mut(slot) {
                contact.sought = false;
                contact.patience = None;
                if let Some(line) = contact.line_mut() {
                    // Whatever answered first carries; what is better is looked for meanwhile.
                    line.paths.improve((line.path.rank() > 0).then_some(now));
                }
            }
            self.learn_address(now, slot);
            self.announce_line(slot);
        } else if moved {
            self.announce_path(slot, true);
        }
        if first || restarted || moved {
            self.tell_line(slot);
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
        // Whose line it is says who sent it; a header that names another is a lie.
        let (_, slot, _) = self.setting.ids.resolve(line).ok_or(DropReason::UnknownLine)?;
        let peer = self.contacts.get(slot).map(|c| c.hashname.address());
        if peer.is_some_and(|peer| peer != head.source) {
            return Err(DropReason::Misaddressed);
        }
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
        let (first, next) = (!line.is_up(), line.next.as_ref().map(|n| n.ticket));
        let datagram = ad.len() + bytes.len();
        let (plain, turn) = line.unseal(generation, head.counter, ad, &mut bytes)?;
        let length = plain.len();
        bytes.truncate(length);
        let promoted = turn != Turn::Same;
        let heard = line.heard_under(now, (generation, head.counter), path, promoted);
        let moved = heard.moved;
        if let Some(ticket) = next
            && line.next.is_none()
        {
            ticket.into_iter().for_each(|ticket| self.half_opens.leave(ticket));
            line.renewal = line.renewal.take().filter(|_| first);
        }
        self.counters.unsealed += 1;
        let first = first && promoted;
        self.brought(now, slot, path, datagram, first || moved);
        if first || moved || promoted {
            self.settle_turn(now, slot, (first, moved), turn);
            self.send_questions(now, slot);
            self.try_paths(now, slot);
            self.schedule(slot);
        }
        if !first {
            self.found_again(slot);
        }
        if heard.elsewhere {
            self.heard_elsewhere(now, slot, path, datagram);
            self.schedule(slot);
        }
        self.inside(now, slot, (path, head.priority), bytes)
    }

    /// A packet inside a line, in either form: what is done is the same.
    fn inside(
        &mut self,
        now: Instant,
        slot: u32,
        (path, priority): (Path, Priority),
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
        let upkeep =
            matches!(inner, Inner::Ping(0) | Inner::Pong(_) | Inner::Try(_) | Inner::Tried(..));
        if !upkeep {
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
            Inner::Close(code) => self.peer_closes(slot, code),
            Inner::Returned(back) => return self.came_back(slot, back),
            Inner::Try(token) => self.answer_try(now, slot, path, token),
            Inner::Tried(token, us) => self.tried(now, slot, token, us),
            Inner::Meet => self.heard_word(slot, path, packet),
            Inner::App => {
                let peer = self.contacts.get(slot).map(|c| c.hashname);
                let peer = peer.ok_or(DropReason::UnknownLine)?;
                self.effects.push_back(Effect::Unhandled { peer, packet });
            }
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

    /// The peer ends the line: for those who wait for its answers it says why.
    fn peer_closes(&mut self, slot: u32, code: u8) {
        let peer = self.contacts.get(slot).map(|c| c.hashname.address());
        if let Some(peer) = peer.filter(|_| code == Code::ShuttingDown as u8) {
            let (code, by) = (Code::ShuttingDown, Some(peer));
            self.effects.push_back(Effect::Fell { peer, code, by });
        }
        self.fall(slot, Code::NodeDown);
    }

    /// The peer did not take a message.
    fn came_back(&mut self, slot: u32, back: Back) -> Result<(), DropReason> {
        let contact = self.contacts.get(slot).ok_or(DropReason::UnknownLine)?;
        let to = contact.hashname.address();
        let code = Code::parse(back.code).ok_or(DropReason::Malformed)?;
        let (token, rule, by, sealed) = (Token(back.id), back.rule, Some(to), true);
        self.effects.push_back(Effect::CameBack(CameBack { token, to, code, rule, by, sealed }));
        Ok(())
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
        let hashname = contact.hashname;
        if contact.line_mut().is_some_and(|line| line.owes(now)) {
            self.schedule(slot);
        }
        let from = (hashname.address(), Some(hashname));
        self.arrived(now, from, None, priority, part, body)
    }

    fn plain_message(
        &mut self,
        now: Instant,
        head: &package::Header,
        mut frame: BytesMut,
    ) -> Result<(), DropReason> {
        let body = frame.split_off(package::HEADER).freeze();
        let part =
            Part { reply: head.reply, id: head.message, total: head.total, offset: head.offset };
        // Who it says it is: nobody looks for that.
        let from = (head.source, None);
        self.arrived(now, from, Some(head.sequence), head.priority, part, body)
    }

    fn arrived(
        &mut self,
        now: Instant,
        (from, hashname): (Address, Option<Hashname>),
        header: Option<package::Sequence>,
        priority: Priority,
        part: Part,
        body: Bytes,
    ) -> Result<(), DropReason> {
        let Part { reply, id, total, offset } = part;
        let sealed = header.is_none();
        let sequence = header.unwrap_or(package::Sequence::MA);
        let assembly = if sealed { &mut self.sealed_parts } else { &mut self.plain_parts };
        let taken = assembly.take(now, from, sealed, id, total, offset, body);
        // Told once, not for each part.
        if taken == Err(DropReason::Oversized) && offset == 0 {
            self.give_back(now, (from, sealed, id), Code::TooLarge, 0);
        }
        if let Some(payload) = taken? {
            let entrance = self.came_by;
            self.effects.push_back(Effect::Arrived(Message {
                from,
                hashname,
                priority,
                reply,
                sealed,
                sequence,
                id,
                entrance,
                payload,
            }));
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
                let (to, by, sealed) = (back.destination, Some(head.source), false);
                let Return { code, rule, .. } = back;
                let back = CameBack { token, to, code, rule, by, sealed };
                self.effects.push_back(Effect::CameBack(back));
            }
            Content::Sealed => {
                self.sealed_back(&back, head);
                self.hint(now, &back.destination);
            }
            // A hint that anyone on the way could forge: nothing but a reason to look sooner.
            Content::Switch => self.hint(now, &back.destination),
            Content::Return => return Err(DropReason::Malformed),
        }
        Ok(())
    }

    /// A sealed package came back. If who says so saw the package, its message is lost.
    fn sealed_back(&mut self, back: &Return, head: &package::Header) {
        let Some(slot) = self.contacts.find(&back.destination) else { return };
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        if !contact.line().is_some_and(|line| line.began(&back.echo)) {
            return;
        }
        let Some(message) = contact.questions.take_left(head.message) else { return };
        let (token, to, code) = (Token(message), back.destination, back.code);
        let (rule, by, sealed) = (0, Some(head.source), true);
        self.effects.push_back(Effect::CameBack(CameBack { token, to, code, rule, by, sealed }));
    }

    fn hint(&mut self, now: Instant, peer: &Address) {
        let Some(slot) = self.contacts.find(peer) else { return };
        let line = self.contacts.get_mut(slot).and_then(Contact::line_mut);
        if let Some(line) = line.filter(|l| l.is_up() && l.renewal.is_none()) {
            line.unanswered.get_or_insert(now);
            self.schedule(slot);
        }
    }

    pub(super) fn partition_of(&self, address: &Address) -> u16 {
        crate::base::id::partition(address, self.setting.partitions)
    }
}

/// What a packet with JSON is, and the bytes that go with it: a stream's packet in its compact
/// form, a message's part. Both are copied, so streams know one form only, and a few bytes that
/// are kept do not hold on to all the JSON before them.
fn from_json(mut bytes: BytesMut) -> Result<(Inner, Bytes), DropReason> {
    let whole = bytes.clone();
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
        Inner::Meet | Inner::App => whole.freeze(),
        _ => Bytes::new(),
    };
    Ok((inner, with))
}
