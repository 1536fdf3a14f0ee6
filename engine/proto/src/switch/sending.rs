//! Messages and packages on their way out, sealed or plain (PROTOCOL §5.3, §6).
//!
//! A message is a head and a body, one after the other: what a batch of messages has in common is
//! written once. Messages come one by one or many at a time. Many plain ones for one peer are
//! written one after the other into one piece of memory and leave as one effect: the forwarder
//! looks up their way once, the link's lane holds them as one run, and its socket takes them in
//! one call.

use bytes::{BufMut, Bytes, BytesMut};

use super::ask::{CameBack, Effect, Token};
use super::partition::Switch;
use crate::base::{Address, DropReason, Frame, Hashname, Instant, Priority};
use crate::wire::inner::{self, Back, Inner, Part};
use crate::wire::package::{self, Code, Content, Return, Sequence};

/// Bytes of packages that leave together at most: a quarter of a slab, so that little of one is
/// wasted at its end, and no more than a socket is given at once.
const TOGETHER: usize = 64 << 10;

/// How messages are to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The first one's number; the others' follow it.
    pub token: Token,
    /// How urgently.
    pub priority: Priority,
    /// Answers to something of the receiver's.
    pub reply: bool,
    /// Links they may cross; as the limits say if `None`.
    pub ttl: Option<u8>,
    /// The letters in the headers of plain ones.
    pub sequence: Sequence,
}

impl Outgoing {
    /// The same for the message `places` further on.
    const fn after(self, places: u64) -> Self {
        Self { token: Token(self.token.0.wrapping_add(places)), ..self }
    }
}

/// A head and a body, one after the other.
#[derive(Clone, Copy)]
struct Whole<'a> {
    head: &'a [u8],
    body: &'a [u8],
}

impl<'a> Whole<'a> {
    const fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// At most `most` bytes from `offset` on, in two pieces.
    fn part(&self, offset: usize, most: usize) -> Whole<'a> {
        let head = self.head.get(offset..).unwrap_or_default();
        let head = head.get(..most).unwrap_or(head);
        let body = self.body.get(offset.saturating_sub(self.head.len())..).unwrap_or_default();
        let body = body.get(..most - head.len()).unwrap_or(body);
        Whole { head, body }
    }

    fn put(&self, out: &mut impl BufMut) {
        out.put_slice(self.head);
        out.put_slice(self.body);
    }
}

impl Switch {
    /// Sends messages outside of any line to one node, in order.
    pub fn send_plain(&mut self, to: Address, how: Outgoing, head: &[u8], bodies: &[Bytes]) {
        let most = self.setting.limits.frame.saturating_sub(package::HEADER);
        let (mut rest, mut how) = (bodies, how);
        while let Some((first, others)) = rest.split_first() {
            let (count, bytes) = together(head.len(), rest, most);
            let Some((these, later)) = rest.split_at_checked(count).filter(|_| count > 1) else {
                self.send_cut(to, how, Whole { head, body: first }, most);
                (rest, how) = (others, how.after(1));
                continue;
            };
            let us = self.us();
            let ttl = how.ttl.unwrap_or(self.setting.limits.ttl);
            let buffer = self.pool.spare(bytes);
            for body in these {
                let whole = Whole { head, body };
                let header = plain_header(ttl, us, to, how, part_of(how, whole));
                // `together` took only what fits its length field.
                if let Ok(header) = header.emit(whole.len()) {
                    buffer.put_slice(&header);
                    whole.put(buffer);
                }
                how = how.after(1);
            }
            let packages = buffer.split();
            self.effects.push_back(Effect::Package(packages));
            rest = later;
        }
    }

    /// Sends one message, cut into packages if it must be.
    fn send_cut(&mut self, to: Address, how: Outgoing, whole: Whole<'_>, most: usize) {
        if whole.len() > self.setting.limits.message {
            return self.bounce(how.token, to, Code::TooLarge);
        }
        let mut part = part_of(how, whole);
        let ttl = how.ttl.unwrap_or(self.setting.limits.ttl);
        loop {
            let body = whole.part(part.offset as usize, most);
            let header = plain_header(ttl, self.us(), to, how, part);
            match header.emit(body.len()) {
                Ok(header) => {
                    let buffer = self.pool.spare(header.len() + body.len());
                    buffer.extend_from_slice(&header);
                    body.put(buffer);
                    let frame = buffer.split();
                    self.effects.push_back(Effect::Package(frame));
                }
                Err(reason) => self.counters.drops.count(reason),
            }
            part.offset += u32::try_from(body.len()).unwrap_or(0);
            if part.offset >= part.total || body.len() == 0 {
                return;
            }
        }
    }

    pub(super) fn send_package(&mut self, head: &package::Header, body: &[u8]) {
        let Ok(head) = head.emit(body.len()) else {
            return self.counters.drops.count(DropReason::Oversized);
        };
        let buffer = self.pool.spare(head.len() + body.len());
        buffer.extend_from_slice(&head);
        buffer.extend_from_slice(body);
        let frame = buffer.split();
        self.effects.push_back(Effect::Package(frame));
    }

    /// Sends messages inside the line to one peer, in order, opening one if need be.
    pub fn send_sealed(
        &mut self,
        now: Instant,
        peer: Hashname,
        how: Outgoing,
        head: &Bytes,
        bodies: &[Bytes],
    ) {
        let limits = self.setting.limits.clone();
        let slot = self.contacts.enter(peer);
        let (to, mut how) = (peer.address(), how);
        for body in bodies {
            let this = how;
            how = how.after(1);
            let whole = Whole { head, body };
            if whole.len() > limits.message {
                self.bounce(this.token, to, Code::TooLarge);
                continue;
            }
            let contact = slot.and_then(|s| Some((s, self.contacts.get_mut(s)?)));
            let Some((slot, contact)) = contact else {
                self.bounce(this.token, to, Code::QueueFull);
                continue;
            };
            let line = contact.line().filter(|l| l.is_up()).map(|l| l.max_packet(&limits));
            let questions = &mut contact.questions;
            if let Some(most) = line.filter(|_| !questions.has_waiting()) {
                self.send_parts(now, slot, this, whole, most);
            } else {
                let deadline = now + limits.open_timeout;
                if !questions.wait(&self.room, &limits, deadline, (this, head, body)) {
                    self.bounce(this.token, to, Code::QueueFull);
                }
            }
        }
        if let Some(slot) = slot {
            self.pursue(now, slot);
            self.send_questions(now, slot);
        }
    }

    /// Sends what waited for the line: pings and messages.
    pub(super) fn send_questions(&mut self, now: Instant, slot: u32) {
        let limits = self.setting.limits.clone();
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let Some(line) = contact.line().filter(|l| l.is_up()) else { return };
        let most = line.max_packet(&limits);
        let pings = contact.questions.take_unsent(now);
        let messages = contact.questions.take_waiting();
        for p in pings {
            let length = p.length.clamp(inner::ECHO, most);
            let write = |b: &mut BytesMut| {
                Inner::echo(true, p.token.0, length, b);
                Some(())
            };
            if let Some((frame, ())) = self.pool.frame(length, write) {
                self.use_line(now, slot);
                self.seal_to(now, slot, p.priority, frame);
            }
        }
        for m in messages {
            let whole = Whole { head: &m.head, body: &m.body };
            self.send_parts(now, slot, m.how, whole, most);
        }
        self.schedule(slot);
    }

    /// Seals one message, in packets of at most `most` bytes.
    fn send_parts(
        &mut self,
        now: Instant,
        slot: u32,
        how: Outgoing,
        whole: Whole<'_>,
        most: usize,
    ) {
        self.use_line(now, slot);
        let step = most.saturating_sub(inner::MESSAGE_HEADER).max(1);
        let mut part = part_of(how, whole);
        loop {
            let body = whole.part(part.offset as usize, step);
            let write = |b: &mut BytesMut| {
                Inner::message(part, b);
                body.put(b);
                Some(())
            };
            let room = inner::MESSAGE_HEADER + body.len();
            if let Some((frame, ())) = self.pool.frame(room, write)
                && let Err(reason) = self.seal_with(now, slot, None, how.priority, frame, how.ttl)
            {
                // The other parts are of no use without this one.
                let to = self.contacts.get(slot).map(|c| c.hashname.address());
                let code = match reason {
                    DropReason::QueueFull => Code::QueueFull,
                    DropReason::Oversized => Code::TooLarge,
                    _ => Code::NoKey,
                };
                return self.bounce(how.token, to.unwrap_or(Address::new([0; 16])), code);
            }
            part.offset += u32::try_from(body.len()).unwrap_or(0);
            if part.offset >= part.total || body.len() == 0 {
                return;
            }
        }
    }

    /// A message comes back without having left.
    pub(super) fn bounce(&mut self, token: Token, to: Address, code: Code) {
        let back = CameBack { token, to, code, rule: 0, by: None, sealed: true };
        self.effects.push_back(Effect::CameBack(back));
    }

    /// Tells a sender that its message was not taken: inside the line if it came so, otherwise by
    /// a package, of which each source gets only so many.
    pub fn give_back(
        &mut self,
        now: Instant,
        (to, sealed, id): (Address, bool, u64),
        code: Code,
        rule: u16,
    ) {
        if sealed {
            let Some(slot) = self.contacts.find(&to) else { return };
            let back = Inner::returned(Back { id, code: code as u8, rule });
            return self.seal_to(now, slot, Priority::HIGHEST, Frame::copied(&back));
        }
        if !self.returns.allow(now, &to) {
            return self.counters.drops.count(DropReason::RateLimited);
        }
        let us = self.us();
        let (content, destination, echo) = (Content::Message, us, package::Echo::default());
        let body = Return { code, content, destination, offset: 0, rule, echo };
        let head = package::Header {
            priority: Priority::HIGHEST,
            reply: true,
            ttl: self.setting.limits.ttl,
            content: Content::Return,
            sequence: Sequence::M,
            destination: to,
            source: us,
            message: id,
            total: u32::try_from(Return::LEN).unwrap_or(0),
            offset: 0,
        };
        self.send_package(&head, &body.emit());
    }

    /// The full name of an address, if somebody here has it.
    #[must_use]
    pub fn hashname_of(&self, address: &Address) -> Option<Hashname> {
        let contact = self.contacts.find(address).and_then(|slot| self.contacts.get(slot));
        contact.map(|c| c.hashname)
    }
}

/// How many messages from the front fit into one piece of memory, a package each, and its size.
fn together(head: usize, bodies: &[Bytes], most: usize) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    for body in bodies {
        let whole = head + body.len();
        let with = bytes + package::HEADER + whole;
        if whole > most || with > TOGETHER {
            break;
        }
        (count, bytes) = (count + 1, with);
    }
    (count, bytes)
}

/// The part that is all of a message.
fn part_of(how: Outgoing, whole: Whole<'_>) -> Part {
    let total = u32::try_from(whole.len()).unwrap_or(u32::MAX);
    Part { reply: how.reply, id: how.token.0, total, offset: 0 }
}

const fn plain_header(
    ttl: u8,
    us: Address,
    to: Address,
    how: Outgoing,
    part: Part,
) -> package::Header {
    package::Header {
        priority: how.priority,
        reply: how.reply,
        ttl,
        content: Content::Message,
        sequence: how.sequence,
        destination: to,
        source: us,
        message: part.id,
        total: part.total,
        offset: part.offset,
    }
}
