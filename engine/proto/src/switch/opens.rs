//! Opens, theirs and ours: an initiation judged in the order of what judging costs and answered,
//! repeated and crossing ones settled, cookies asked for and paid, and the answer to an opening of
//! this node (PROTOCOL §4). Nothing is believed before it is authenticated, and nothing is answered
//! with more bytes than it brought.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::ask::{Effect, Toll};
use super::contact::{Contact, Standing};
use super::half_opens::{Source, Ticket};
use super::line::{Keys, Next};
use super::partition::Switch;
use super::paths::{Bridge, Path};
use crate::base::{Address, BootEpoch, DropReason, Instant, LineId, Priority, Wall};
use crate::crypto::open::{self, Heard, Initiation, Proven};
use crate::crypto::{Admission, Knock};
use crate::wire::inner::{self, Inner};
use crate::wire::package::Code;
use crate::wire::packet;

/// What an open packet says before its BODY.
const OPEN_JSON: &str = "{\"open\":1}";

/// A packet that opens, or answers one that does.
pub(super) fn open_packet(body: &[u8]) -> Option<Bytes> {
    let mut bytes = BytesMut::with_capacity(2 + OPEN_JSON.len() + body.len());
    packet::emit(OPEN_JSON, &mut bytes).ok()?;
    bytes.extend_from_slice(body);
    Some(bytes.freeze())
}

/// Where an open came from.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Address(SocketAddr),
    Bridge(Bridge),
    Node(Address),
}

impl From {
    pub(super) const fn path(self) -> Path {
        match self {
            Self::Address(a) => Path::Direct(a),
            Self::Bridge(b) => Path::Bridge(b),
            Self::Node(_) => Path::Mesh,
        }
    }

    /// Who shares an allowance.
    fn source(self) -> Source {
        match self {
            Self::Address(a) => Source::host(&a),
            Self::Bridge(b) => Source::Bridge(b.line),
            Self::Node(n) => Source::Node(n),
        }
    }

    /// The bytes a cookie is bound to.
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Address(a) => a.to_string().into_bytes(),
            Self::Bridge(b) => [b.relay.to_string().as_bytes(), &b.line.0].concat(),
            Self::Node(n) => n.as_bytes().to_vec(),
        }
    }
}

impl Switch {
    pub(super) fn open(
        &mut self,
        now: Instant,
        wall: Wall,
        (from, toll): (From, Toll),
        body: &[u8],
        whole: &BytesMut,
    ) -> Result<(), DropReason> {
        match open::heard(body)? {
            Heard::Initiation { .. } => self.initiation(now, wall, (from, toll), body, whole),
            Heard::Response { to } => self.response(now, wall, from, to, body, whole),
            Heard::Cookie { to } => self.cookie(now, from, to, body, whole),
        }
    }

    /// Somebody opens a line: judged in the order of what judging costs.
    fn initiation(
        &mut self,
        now: Instant,
        wall: Wall,
        (from, toll): (From, Toll),
        body: &[u8],
        whole: &BytesMut,
    ) -> Result<(), DropReason> {
        let identity = self.setting.identity.clone();
        let knock = Knock::new(&identity, body)?;
        let paid = self.take_toll(now, from, toll, &knock)?;
        let initiation = Initiation::read(&knock, &mut self.chance)?;
        let owner = self.partition_of(&initiation.hashname().address());
        if owner != self.setting.partition {
            // Only now is it known whose it is. Packages are steered by their source before.
            return match from {
                From::Address(a) => {
                    let toll = if paid { Toll::Paid } else { Toll::Waived };
                    self.elsewhere(owner, a, whole.clone(), toll)
                }
                From::Node(_) | From::Bridge(_) => Err(DropReason::Misaddressed),
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
        if let From::Bridge(bridge) = from {
            let slot = self.contacts.find(&initiation.hashname().address());
            let ways = slot.and_then(|s| self.contacts.get(s)).map(|c| &c.ways);
            let own = |w: &super::ways::Way| w.granted.is_some_and(|(b, _)| b == bridge);
            if !ways.is_some_and(|ways| ways.iter().any(own)) {
                return Err(DropReason::Misaddressed);
            }
        }
        let known = self.contacts.find(&initiation.hashname().address());
        let known = known.and_then(|slot| self.contacts.get(slot)).and_then(|c| c.record.clone());
        let proven = initiation.prove(wall, known.as_ref())?;
        // Who is not admitted learns nothing: not even that its open arrived.
        self.setting.space.learned(proven.record());
        let admission = self.setting.space.admits(proven.record(), proven.voucher(), wall)?;
        self.admit(now, (from, paid), proven, admission)
    }

    /// Asks for a cookie if there are many opens, or many that were answered and wait. True if the
    /// sender has shown one, false if none was asked for.
    fn take_toll(
        &mut self,
        now: Instant,
        from: From,
        toll: Toll,
        knock: &Knock<'_>,
    ) -> Result<bool, DropReason> {
        if toll == Toll::Paid {
            return Ok(true);
        }
        let source = from.source();
        let fast = toll == Toll::Due && !self.opens.allow(now, &());
        let busy = fast || self.half_opens.is_filling();
        if !busy && !self.half_opens.is_crowded(&source) {
            return Ok(false);
        }
        let path = from.bytes();
        if !self.cookies.allow(now, knock, &path) {
            let cookie = self.cookies.make(now, &mut self.chance, knock, &path)?;
            self.counters.cookies += 1;
            self.answer_open(from, &cookie);
            return Err(DropReason::Busy);
        }
        if busy && !self.opens_each.allow(now, &source) {
            return Err(DropReason::RateLimited);
        }
        Ok(true)
    }

    /// A proved peer opens: repeated, replayed, or new.
    fn admit(
        &mut self,
        now: Instant,
        (from, paid): (From, bool),
        proven: Proven,
        admission: Admission,
    ) -> Result<(), DropReason> {
        let slot = self.contacts.enter(proven.record().hashname()).ok_or(DropReason::TableFull)?;
        let opener = proven.opener();
        let this = (opener.epoch, opener.counter);
        let contact = self.contacts.get_mut(slot).ok_or(DropReason::TableFull)?;
        if let Some(next) = contact.line_mut().and_then(|l| l.next.as_mut())
            && next.open == this
        {
            let answer = next.answer.clone();
            let ticket = next.ticket.as_mut().filter(|_| paid);
            ticket.into_iter().for_each(|ticket| *ticket = self.half_opens.pay(*ticket));
            self.answer_open(from, &answer);
            return Ok(());
        }
        if contact.last_open.is_some_and(|last| is_old(last, this)) {
            return Err(DropReason::Replayed);
        }
        let fresh = contact.line().is_none_or(|l| l.next.is_none() && !l.is_up());
        let held = contact.line().and_then(|l| l.next.as_ref()?.ticket);
        let unlined = contact.line().is_none();
        if unlined && !self.contacts.has_room_for_a_line() {
            return Err(DropReason::TableFull);
        }
        let generation = self.new_generation();
        let ours = self.setting.ids.mint(self.setting.partition, slot, generation);
        let (epoch, voucher) = (self.setting.epoch, self.setting.space.our_voucher());
        let can = self.setting.capabilities;
        let answered = proven.answer(ours, epoch, can, &voucher, now)?;
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
        let ticket = match held {
            Some(ticket) if paid => Some(self.half_opens.pay(ticket)),
            None if fresh => Some(self.half_open(now, slot, from.source(), paid)?),
            held => held,
        };
        let next = Next { keys, open: this, answer: answered.body.clone(), ticket };
        let contact = self.contacts.get_mut(slot).ok_or(DropReason::TableFull)?;
        contact.last_open = Some(this);
        contact.capabilities = opener.capabilities;
        contact.admission = Some(admission);
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
        let Some(contact) = self.contacts.get(slot) else { return };
        let opening = match contact.standing() {
            Standing::Connecting(_) => self.becomes(slot, Standing::Resolved),
            _ => None,
        };
        let Some(line) = self.line_for(now, slot, path) else {
            return next.ticket.into_iter().for_each(|ticket| self.half_opens.leave(ticket));
        };
        if let Some(Standing::Connecting(opening)) = opening {
            line.renewal = Some(opening);
        }
        line.next = Some(next);
    }

    /// A place among the half-open lines. Who had it before, and brought no cookie, is forgotten.
    fn half_open(
        &mut self,
        now: Instant,
        slot: u32,
        source: Source,
        paid: bool,
    ) -> Result<Ticket, DropReason> {
        let (ticket, lost) = self.half_opens.enter(now, slot, source, paid)?;
        let Some(lost) = lost else { return Ok(ticket) };
        self.counters.drops.count(DropReason::CrowdedOut);
        let line = self.contacts.get_mut(lost).and_then(Contact::line_mut);
        let over = line.is_some_and(|line| {
            line.next = None;
            !line.has_keys() && line.renewal.is_none()
        });
        if over {
            self.fall(lost, Code::TimedOut);
        } else {
            self.schedule(lost);
        }
        Ok(ticket)
    }

    fn answer_open(&mut self, from: From, body: &[u8]) {
        let Some(bytes) = open_packet(body) else { return };
        match from {
            From::Address(to) => {
                let priority = Priority::HIGHEST;
                self.effects.push_back(Effect::Datagram { to, priority, bytes });
            }
            From::Bridge(bridge) => self.send_bridged(bridge, &bytes),
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
            From::Address(a) => {
                self.elsewhere(partition, a, whole.clone(), Toll::Waived).map(|()| None)
            }
            From::Node(_) | From::Bridge(_) => Err(DropReason::Misaddressed),
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
        wall: Wall,
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
        let record = contact.record.as_ref().ok_or(DropReason::UnknownLine)?;
        match self.setting.space.admits(record, &done.voucher, wall) {
            Ok(admission) => contact.admission = Some(admission),
            Err(refusal) => {
                // It is who we meant and does not belong here: asking again would not help.
                self.fall(slot, Code::Refused);
                return Err(refusal.into());
            }
        }
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
        contact.capabilities = done.capabilities;
        let line = self.line_for(now, slot, path).ok_or(DropReason::UnknownLine)?;
        line.renewal = None;
        let first = !line.is_up();
        let turn = line.opened(keys);
        let moved = line.heard(now, path);
        self.brought(now, slot, path, body.len(), first || moved);
        self.settle_turn(now, slot, (first, moved), turn);
        // The peer uses its keys once a packet came under them, so one goes at once.
        self.send_questions(now, slot);
        let quiet =
            self.contacts.get(slot).and_then(Contact::line).is_some_and(|l| l.unanswered.is_none());
        if quiet {
            let write = |b: &mut BytesMut| {
                // As long as a try, so that who moved is followed.
                Inner::echo(true, 0, inner::TRY_LEN, b);
                Some(())
            };
            if let Some((frame, ())) = self.pool.frame(inner::TRY_LEN, write) {
                self.seal_to(now, slot, Priority::HIGHEST, frame);
            }
        }
        self.try_paths(now, slot);
        self.schedule(slot);
        Ok(())
    }
}

/// Whether an open was seen before, or is older than one seen. Within one start of the peer its
/// opens are counted; between starts nobody can tell, and the newer keys are used only once a
/// packet came under them.
fn is_old(last: (BootEpoch, u64), this: (BootEpoch, u64)) -> bool {
    last.0 == this.0 && this.1 <= last.1
}
