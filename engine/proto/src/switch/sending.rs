//! Messages and packages on their way out, sealed or plain (PROTOCOL §5.3, §6).
//!
//! Messages come one by one or many at a time. Many plain ones for one peer are written one after
//! the other into one piece of memory and leave as one effect: the forwarder looks up their way
//! once, the link's lane holds them as one run, and its socket takes them in one call.

use bytes::{BufMut, Bytes, BytesMut};

use super::ask::{Effect, Token};
use super::partition::Switch;
use super::questions::{MOST, Waiting};
use crate::base::{Address, DropReason, Hashname, Instant, Priority};
use crate::wire::inner::{self, Inner, Part};
use crate::wire::package::{self, Code, Content, Sequence};

/// Bytes of packages that leave together at most: a quarter of a slab, so that little of one is
/// wasted at its end, and no more than a socket is given at once.
const TOGETHER: usize = 64 << 10;

/// How messages are to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    /// The first one's number; the others' follow it.
    pub(super) token: Token,
    pub(super) priority: Priority,
    pub(super) reply: bool,
    pub(super) sealed: bool,
}

impl Outgoing {
    /// The same for the message `places` further on.
    const fn after(self, places: u64) -> Self {
        Self { token: Token(self.token.0.wrapping_add(places)), ..self }
    }
}

impl Switch {
    /// Sends messages to one peer, in order.
    pub(super) fn send_messages(
        &mut self,
        now: Instant,
        peer: Hashname,
        how: Outgoing,
        payloads: &[Bytes],
    ) {
        if how.sealed {
            self.send_sealed(now, peer, how, payloads);
        } else {
            self.send_plain(peer.address(), how, payloads);
        }
    }

    fn send_plain(&mut self, to: Address, how: Outgoing, payloads: &[Bytes]) {
        let most = self.setting.limits.frame.saturating_sub(package::HEADER);
        let (mut rest, mut how) = (payloads, how);
        while let Some((first, others)) = rest.split_first() {
            let (count, bytes) = together(rest, most);
            let Some((these, later)) = rest.split_at_checked(count).filter(|_| count > 1) else {
                self.send_cut(to, how, first, most);
                (rest, how) = (others, how.after(1));
                continue;
            };
            let (ttl, us) = (self.setting.limits.ttl, self.us());
            let buffer = self.pool.spare(bytes);
            for payload in these {
                let part = whole(how, payload);
                let head = plain_header(ttl, us, to, how, part);
                // `together` took only what fits its length field.
                if let Ok(head) = head.emit(payload.len()) {
                    buffer.put_slice(&head);
                    buffer.put_slice(payload);
                }
                how = how.after(1);
            }
            let packages = buffer.split();
            self.effects.push_back(Effect::Package(packages));
            rest = later;
        }
    }

    /// Sends one message, cut into packages if it must be.
    fn send_cut(&mut self, to: Address, how: Outgoing, payload: &Bytes, most: usize) {
        if payload.len() > self.setting.limits.message {
            return self.fail(how.token, Code::TooLarge);
        }
        let mut part = whole(how, payload);
        loop {
            let rest = payload.get(part.offset as usize..).unwrap_or_default();
            let body = rest.get(..most).unwrap_or(rest);
            let head = plain_header(self.setting.limits.ttl, self.us(), to, how, part);
            self.send_package(&head, body);
            part.offset += u32::try_from(body.len()).unwrap_or(0);
            if part.offset >= part.total {
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

    fn send_sealed(&mut self, now: Instant, peer: Hashname, how: Outgoing, payloads: &[Bytes]) {
        let limits = self.setting.limits.clone();
        let slot = self.contacts.enter(peer);
        let mut how = how;
        for payload in payloads {
            let this = how;
            how = how.after(1);
            if payload.len() > limits.message {
                self.fail(this.token, Code::TooLarge);
                continue;
            }
            let contact = slot.and_then(|s| Some((s, self.contacts.get_mut(s)?)));
            let Some((slot, contact)) = contact else {
                self.fail(this.token, Code::QueueFull);
                continue;
            };
            let line = contact.line().filter(|l| l.is_up()).map(|l| l.max_packet(&limits));
            let waiting = &mut contact.questions.waiting;
            match line.filter(|_| waiting.is_empty()) {
                Some(most) => self.send_parts(now, slot, this, payload, most),
                None if waiting.len() >= limits.queued_for_open.min(MOST) => {
                    self.fail(this.token, Code::QueueFull);
                }
                None => {
                    let Outgoing { token, priority, reply, .. } = this;
                    let payload = payload.clone();
                    waiting.push_back(Waiting { token, priority, reply, payload });
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
        let messages = core::mem::take(&mut contact.questions.waiting);
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
            let Waiting { token, priority, reply, payload } = m;
            let how = Outgoing { token, priority, reply, sealed: true };
            self.send_parts(now, slot, how, &payload, most);
        }
        self.schedule(slot);
    }

    /// Seals one message, in packets of at most `most` bytes.
    fn send_parts(&mut self, now: Instant, slot: u32, how: Outgoing, payload: &Bytes, most: usize) {
        self.use_line(now, slot);
        let step = most.saturating_sub(inner::MESSAGE_HEADER).max(1);
        let mut part = whole(how, payload);
        loop {
            let rest = payload.get(part.offset as usize..).unwrap_or_default();
            let body = rest.get(..step).unwrap_or(rest);
            let write = |b: &mut BytesMut| {
                Inner::message(part, b);
                b.extend_from_slice(body);
                Some(())
            };
            let room = inner::MESSAGE_HEADER + body.len();
            if let Some((frame, ())) = self.pool.frame(room, write) {
                self.seal_to(now, slot, how.priority, frame);
            }
            part.offset += u32::try_from(body.len()).unwrap_or(0);
            if part.offset >= part.total {
                return;
            }
        }
    }
}

/// How many messages from the front fit into one piece of memory, a package each, and its size.
fn together(payloads: &[Bytes], most: usize) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    for payload in payloads {
        let with = bytes + package::HEADER + payload.len();
        if payload.len() > most || with > TOGETHER {
            break;
        }
        (count, bytes) = (count + 1, with);
    }
    (count, bytes)
}

/// The part that is all of a message.
fn whole(how: Outgoing, payload: &Bytes) -> Part {
    let total = u32::try_from(payload.len()).unwrap_or(u32::MAX);
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
        sequence: Sequence::M,
        destination: to,
        source: us,
        message: part.id,
        total: part.total,
        offset: part.offset,
    }
}
