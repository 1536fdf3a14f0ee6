//! Messages between the application, the [`Room`] and the switch of one partition.
//!
//! Packs what the application sends by the sequence the room chooses and hands it to the switch, in
//! a line or not; unpacks what the switch brings, has it judged and gives it to whoever takes it.
//! What is not taken goes back with its code. Part of [`super::lines`]; fed by it alone.

use bytes::Bytes;

use super::lines::LineEvent;
use crate::base::{Address, DropReason, Drops, Hashname, Instant, Limits, Priority};
use crate::crypto::packing::{Came, Registry, head};
use crate::gate::{Gate, Note, Question};
use crate::message::{
    Arrival, Broadcast, Incoming, Purpose, Returned, Room, Sending, Settings, Subscription,
    SubscriptionId, Taken,
};
use crate::switch::{CameBack, Message, Outgoing, Switch, Token};
use crate::wire::envelope::{Envelope, Kind};
use crate::wire::package::Code;
use crate::wire::sequence::PackTerms;

/// Which way messages leave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// They do not.
    Here,
    /// Outside of any line.
    Plain(Address),
    /// In the line.
    Line(Hashname),
}

/// Messages of one partition.
#[derive(Debug)]
pub struct MessageStage {
    us: Hashname,
    room: Room,
    /// The largest message, unpacked.
    most: usize,
    gate: Gate,
    drops: Drops,
}

impl MessageStage {
    /// No messages yet; those for this node go through `gate`.
    #[must_use]
    pub fn new(us: Hashname, settings: Settings, gate: Gate, limits: &Limits) -> Self {
        let room = Room::new(us.address(), settings, limits);
        Self { us, room, most: limits.message, gate, drops: Drops::default() }
    }

    /// The gatekeeper, for status.
    #[must_use]
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The last refusal that is to be logged, if it is time for one.
    pub fn take_note(&mut self, now: Instant) -> Option<Note> {
        self.gate.take_note(now)
    }

    /// The room, for status.
    #[must_use]
    pub const fn room(&self) -> &Room {
        &self.room
    }

    /// What was dropped here.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.drops
    }

    /// When a request's time is up.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.room.deadline().into_iter().chain(self.gate.deadline()).min()
    }

    /// How another node packs and what it takes.
    pub fn packs(&mut self, node: Address, terms: PackTerms) {
        self.room.packs(node, terms);
    }

    /// Somebody takes messages. Handles see to it that there are not too many.
    pub fn subscribe(&mut self, what: Subscription) {
        if self.room.subscribe(what).is_err() {
            self.drops.count(DropReason::TableFull);
        }
    }

    /// Nobody takes messages by this number any more.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        self.room.unsubscribe(id);
    }

    /// Ends requests whose time is up.
    pub fn handle_timeout(&mut self, now: Instant, events: &mut impl FnMut(LineEvent)) {
        while let Some(back) = self.room.overdue(now) {
            events(LineEvent::CameBack(back));
        }
    }

    /// Sends messages of the application.
    pub fn send(
        &mut self,
        now: Instant,
        switch: &mut Switch,
        sending: Sending,
        events: &mut impl FnMut(LineEvent),
    ) {
        let Sending { id, to, hashname, outbound, purpose, records } = sending;
        let envelope = Envelope { kind: kind(&purpose), ..outbound.envelope };
        let is_request = matches!(purpose, Purpose::Request(_));
        let ids = (0..records.len() as u64).map(|n| id.wrapping_add(n));
        let mut refuse = |id, code| {
            let (rule, by, request) = (0, None, is_request);
            events(LineEvent::CameBack(Returned { id, to, code, rule, by, request }));
        };
        let sequence = match self.room.sequence_to(&to, &outbound, &purpose) {
            Ok(sequence) => sequence,
            Err(code) => return ids.for_each(|id| refuse(id, code)),
        };
        let way = match hashname.or_else(|| switch.hashname_of(&to)) {
            _ if to == self.us.address() => Way::Here,
            _ if !sequence.is_sealed() => Way::Plain(to),
            Some(peer) => Way::Line(peer),
            None => return ids.for_each(|id| refuse(id, Code::NoKey)),
        };
        let sealed = !matches!(way, Way::Plain(_));
        let mut out = 0;
        for id in ids {
            if !self.room.leaves(now, id, to, sealed, &purpose) {
                break;
            }
            out += 1;
        }
        let (sent, unsent) = records.split_at(out);
        (out..out + unsent.len()).for_each(|n| refuse(id.wrapping_add(n as u64), Code::QueueFull));
        let reply = matches!(purpose, Purpose::Reply { .. });
        let priority = if reply { Priority::HIGHEST } else { outbound.priority };
        let ttl = outbound.ttl;
        let how = Outgoing { token: Token(id), priority, reply, ttl, sequence };
        self.pack(now, switch, (way, how), &envelope, sent, events);
    }

    /// Packs messages and hands them to the switch.
    fn pack(
        &mut self,
        now: Instant,
        switch: &mut Switch,
        (way, how): (Way, Outgoing),
        envelope: &Envelope,
        records: &[Bytes],
        events: &mut impl FnMut(LineEvent),
    ) {
        let mut send = |how, head: &Bytes, bodies: &[Bytes]| match way {
            Way::Line(peer) => switch.send_sealed(now, peer, how, head, bodies),
            Way::Plain(to) => switch.send_plain(to, how, head, bodies),
            Way::Here => {}
        };
        let head = head(how.sequence, envelope);
        if way == Way::Here {
            self.send_here(now, how, envelope, records, events);
        } else if Registry::is_bare(how.sequence) {
            send(how, &head, records);
        } else {
            for (record, n) in records.iter().zip(0..) {
                let id = how.token.0.wrapping_add(n);
                // The bound is on what it unpacks to.
                if head.len() + record.len() > self.most {
                    let to = match way {
                        Way::Plain(to) => to,
                        Way::Line(peer) => peer.address(),
                        Way::Here => self.us.address(),
                    };
                    let (code, rule, by, sealed) = (Code::TooLarge, 0, None, true);
                    let token = Token(id);
                    let back = CameBack { token, to, code, rule, by, sealed };
                    self.came_back(now, back, events);
                    continue;
                }
                let packed = self.room.registry().pack(how.sequence, envelope, record);
                let how = Outgoing { token: Token(id), sequence: packed.sequence, ..how };
                send(how, &packed.head, core::slice::from_ref(&packed.body));
            }
        }
    }

    /// Messages of this node to itself.
    fn send_here(
        &mut self,
        now: Instant,
        how: Outgoing,
        envelope: &Envelope,
        records: &[Bytes],
        events: &mut impl FnMut(LineEvent),
    ) {
        for (record, n) in records.iter().zip(0..) {
            let id = how.token.0.wrapping_add(n);
            let taken = self.room.own(self.us, (id, how.priority), envelope, record);
            if let Some((code, rule)) = self.hand_over(taken, events) {
                self.give_back_here(now, id, (code, rule), events);
            }
        }
    }

    /// A message of this node to itself goes back.
    pub fn give_back_here(
        &mut self,
        now: Instant,
        id: u64,
        (code, rule): (Code, u16),
        events: &mut impl FnMut(LineEvent),
    ) {
        let to = self.us.address();
        let back = Returned { id, to, code, rule, by: Some(to), request: false };
        if let Some(back) = self.room.came_back(now, back, true) {
            events(LineEvent::CameBack(back));
        }
    }

    /// The switch brings a message.
    pub fn arrived(
        &mut self,
        now: Instant,
        switch: &mut Switch,
        message: Message,
        events: &mut impl FnMut(LineEvent),
    ) {
        let Message { from, hashname, priority, sealed, sequence, id, entrance, .. } = message;
        let came = if sealed { Came::Sealed } else { Came::Plain(sequence) };
        let body = message.payload;
        let arrival = Arrival { from, hashname, came, id, priority, entrance, body };
        let gate = &mut self.gate;
        let taken = self.room.take(arrival, |incoming| ask(gate, incoming));
        if let Some((code, rule)) = self.hand_over(taken, events) {
            switch.give_back(now, (from, sealed, id), code, rule);
        }
    }

    /// A broadcast reached this node.
    pub fn broadcast(&mut self, broadcast: &Broadcast, events: &mut impl FnMut(LineEvent)) {
        let (us, gate) = (self.us, &mut self.gate);
        // What this node says to all is welcome here, as are its messages to itself.
        let judge = |incoming: &Incoming| match broadcast.origin == us {
            true => Ok(()),
            false => ask(gate, incoming),
        };
        let taken = self.room.take_broadcast(broadcast, judge);
        match taken {
            Ok(incoming) => {
                self.hand_over(Taken::Delivered(incoming), events);
            }
            Err(Code::UnknownTarget) => {}
            Err(Code::Refused) => self.drops.count(DropReason::Refused),
            Err(_) => self.drops.count(DropReason::Malformed),
        }
    }

    /// Gives a message to whoever takes it; says what goes back for it. That it was handed over is
    /// told by whoever does that ([`super::lines::Lines::give_back`]).
    fn hand_over(
        &mut self,
        taken: Taken,
        events: &mut impl FnMut(LineEvent),
    ) -> Option<(Code, u16)> {
        match taken {
            Taken::Delivered(incoming) => {
                let mut takers = self.room.takers(&incoming);
                let first = takers.next();
                for id in takers {
                    // The sender is told once.
                    let mut another = incoming.clone();
                    another.trace = false;
                    events(LineEvent::Delivered(id, another));
                }
                if let Some(id) = first {
                    events(LineEvent::Delivered(id, incoming));
                }
                None
            }
            Taken::Reply(id, incoming) => {
                events(LineEvent::Replied(id, incoming));
                None
            }
            Taken::Back(code, rule) => {
                self.drops.count(reason(code));
                Some((code, rule))
            }
        }
    }

    /// The switch says that a message came back.
    pub fn came_back(&mut self, now: Instant, back: CameBack, events: &mut impl FnMut(LineEvent)) {
        let CameBack { token, to, code, rule, by, sealed } = back;
        let back = Returned { id: token.0, to, code, rule, by, request: false };
        match self.room.came_back(now, back, sealed) {
            Some(back) => events(LineEvent::CameBack(back)),
            // Nothing of ours, or told already.
            None => self.drops.count(DropReason::Unhandled),
        }
    }

    /// A line fell: if the peer went away, requests in it have no answer any more. Other lines may
    /// come again, and the answer in them.
    pub fn fell(
        &mut self,
        peer: Address,
        (code, by): (Code, Option<Address>),
        events: &mut impl FnMut(LineEvent),
    ) {
        if !matches!(code, Code::NodeDown | Code::ShuttingDown) {
            return;
        }
        self.room.fell(peer, code, by).into_iter().for_each(|back| {
            events(LineEvent::CameBack(back));
        });
    }

    /// The node stops.
    pub fn close(&mut self, events: &mut impl FnMut(LineEvent)) {
        self.room.close().into_iter().for_each(|back| events(LineEvent::CameBack(back)));
    }
}

/// Has a message judged by the gatekeeper: `Err` with the number of the rule that refuses it.
fn ask(gate: &mut Gate, incoming: &Incoming) -> Result<(), u16> {
    if gate.waves_through() {
        return Ok(());
    }
    let envelope = incoming.envelope();
    let verdict = gate.judge(&Question {
        entrance: incoming.entrance,
        record: envelope.record,
        namespace: envelope.namespace,
        sender: incoming.from,
        proved: incoming.proved,
    });
    if verdict.allow { Ok(()) } else { Err(verdict.rule) }
}

const fn kind(purpose: &Purpose) -> Kind {
    match purpose {
        Purpose::Notice => Kind::Notice,
        Purpose::Request(_) => Kind::Request,
        Purpose::Reply { to, .. } => Kind::Reply(*to),
    }
}

/// What a message that goes back is counted as.
const fn reason(code: Code) -> DropReason {
    match code {
        Code::Refused => DropReason::Refused,
        Code::TooLarge => DropReason::Oversized,
        Code::ShuttingDown => DropReason::ShuttingDown,
        Code::SequenceTooWeak => DropReason::TooWeak,
        Code::CannotUnpack => DropReason::Malformed,
        _ => DropReason::Unhandled,
    }
}
