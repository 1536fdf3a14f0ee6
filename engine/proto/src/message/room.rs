//! [`Room`]: the messages of one partition's peers, out and in.
//!
//! ```text
//!   application ─ dispatch ─► sequence, head, bodies ─► the switch
//!   the switch ── take ─────► unpack ─► least ─► reply? ─► gatekeeper ─► subscribers
//!                                │        │                    │            │
//!                                └────────┴── code and rule ───┴────────────┘ ─► back
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::requests::Requests;
use super::sent::Sent;
use super::subscriptions::Subscriptions;
use super::{
    Incoming, Outbound, Purpose, Returned, Subscription, SubscriptionId, TooManySubscriptions,
};
use crate::base::{Address, Entrance, Hashname, Instant, Limits, Priority};
use crate::crypto::packing::choice::{Unsendable, Wishes, choose, demanded};
use crate::crypto::packing::{Came, Registry};
use crate::wire::envelope::{ENVELOPE_MAX, Envelope, Glance, Kind};
use crate::wire::package::{Code, Sequence};
use crate::wire::sequence::{Builders, PackTerms};

/// How a node packs and what it takes; the same for all its partitions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The builders it has.
    pub registry: Arc<Registry>,
    /// What it announces.
    pub terms: PackTerms,
    /// The sequence of messages for which nothing else is said.
    pub sequence: Option<Sequence>,
    /// The sequences of messages to certain nodes.
    pub pairs: Arc<BTreeMap<Address, Sequence>>,
}

/// A node that says nothing of messages and has the builders that are here.
impl Default for Settings {
    fn default() -> Self {
        let registry = Arc::new(Registry::standard());
        let terms = PackTerms { builders: registry.letters(), ..PackTerms::BASIC };
        Self { registry, terms, sequence: None, pairs: Arc::default() }
    }
}

/// The messages of one partition's peers.
#[derive(Debug)]
pub struct Room {
    us: Address,
    settings: Settings,
    /// What a message must be packed by.
    demanded: Builders,
    /// The largest message, unpacked.
    most: usize,
    /// Others' terms, as they announced them.
    terms: BTreeMap<Address, PackTerms>,
    most_terms: usize,
    sent: Sent,
    requests: Requests,
    subscriptions: Subscriptions,
    /// The node stops: nothing is sent or taken any more.
    closing: bool,
}

/// A message as the switch brings it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// From which node; proved if it came sealed.
    pub from: Address,
    /// The same in full, if it is proved.
    pub hashname: Option<Hashname>,
    /// How it came.
    pub came: Came,
    /// The sender's number for it.
    pub id: u64,
    /// How urgent it was.
    pub priority: Priority,
    /// Where it came in.
    pub entrance: Entrance,
    /// As it was packed.
    pub body: Bytes,
}

/// What is to become of a message that arrived.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "handed over once, and kept nowhere")]
pub enum Taken {
    /// Whoever subscribed gets it ([`Room::takers`]).
    Delivered(Incoming),
    /// It answers our request of this id.
    Reply(u64, Incoming),
    /// It goes back.
    Back(Code, u16),
}

impl Room {
    /// No messages yet.
    #[must_use]
    pub fn new(us: Address, settings: Settings, limits: &Limits) -> Self {
        Self {
            us,
            demanded: demanded(&settings.registry, settings.terms.least),
            settings,
            most: limits.message,
            terms: BTreeMap::new(),
            most_terms: limits.origins,
            sent: Sent::default(),
            requests: Requests::new(limits.requests),
            subscriptions: Subscriptions::new(limits.subscriptions),
            closing: false,
        }
    }

    /// The builders there are.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.settings.registry
    }

    /// How another node packs and what it takes.
    pub fn packs(&mut self, node: Address, terms: PackTerms) {
        if self.terms.len() >= self.most_terms && !self.terms.contains_key(&node) {
            // Of one that is forgotten no more is assumed than of one that was never known.
            self.terms.pop_first();
        }
        self.terms.insert(node, terms);
    }

    /// Somebody takes messages.
    ///
    /// # Errors
    /// [`TooManySubscriptions`].
    pub fn subscribe(&mut self, what: Subscription) -> Result<(), TooManySubscriptions> {
        self.subscriptions.add(what)
    }

    /// Nobody takes messages by this number any more.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        self.subscriptions.remove(id);
    }

    /// Who takes a message.
    pub fn takers<'a>(
        &'a self,
        incoming: &'a Incoming,
    ) -> impl Iterator<Item = SubscriptionId> + 'a {
        let glance = Glance::at(&incoming.bytes).ok();
        glance.into_iter().flat_map(|g| self.subscriptions.takers(g.namespace, g.target))
    }

    /// How a message to a node is to be packed.
    ///
    /// # Errors
    /// The code it comes back with at once.
    pub fn sequence_to(
        &self,
        to: &Address,
        outbound: &Outbound,
        purpose: &Purpose,
    ) -> Result<Sequence, Code> {
        if self.closing {
            return Err(Code::ShuttingDown);
        }
        if outbound.envelope.local && *to != self.us {
            return Err(Code::Refused);
        }
        let demanded = match purpose {
            // What a request was compressed by is no matter of its reply's.
            Purpose::Reply { packed, .. } => {
                Builders(packed.0 & self.settings.registry.protecting().0)
            }
            _ => Builders::NONE,
        };
        let wishes = Wishes {
            envelope: outbound.sequence,
            pair: self.settings.pairs.get(to).copied(),
            node: self.settings.sequence,
            receiver: self.terms.get(to).copied().unwrap_or_default(),
            demanded,
            exactly: outbound.exactly,
        };
        choose(&self.settings.registry, &wishes).map_err(|why| match why {
            Unsendable::TooMany => Code::SequenceTooWeak,
            Unsendable::Ours(_) | Unsendable::Theirs(_) | Unsendable::Nonsense => {
                Code::CannotUnpack
            }
        })
    }

    /// A message leaves: it may come back, and be answered. False if too many wait for answers.
    pub fn leaves(
        &mut self,
        now: Instant,
        id: u64,
        to: Address,
        sealed: bool,
        purpose: &Purpose,
    ) -> bool {
        if let Purpose::Request(patience) = purpose
            && !self.requests.add(id, to, sealed, now + *patience)
        {
            return false;
        }
        self.sent.left(now, id, to, sealed);
        true
    }

    /// Unpacks and judges a message. `judge` is the gatekeeper: it says which rule refuses.
    pub fn take(
        &mut self,
        mut arrival: Arrival,
        judge: impl FnOnce(&Incoming) -> Result<(), u16>,
    ) -> Taken {
        if self.closing {
            return Taken::Back(Code::ShuttingDown, 0);
        }
        let body = core::mem::take(&mut arrival.body);
        let (sequence, bytes) = match self.settings.registry.unpack(body, arrival.came, self.most) {
            Ok(unpacked) => unpacked,
            Err(why) => return Taken::Back(why.code(), 0),
        };
        if !sequence.builders().covers(self.demanded) {
            return Taken::Back(Code::SequenceTooWeak, 0);
        }
        let Some((incoming, local)) = read(&arrival, sequence, bytes) else {
            return Taken::Back(Code::CannotUnpack, 0);
        };
        if local {
            // It says itself that it is not to be here.
            return Taken::Back(Code::Refused, 0);
        }
        self.answer_or_deliver(incoming, judge)
    }

    /// Takes a broadcast. Whatever becomes of it, nothing goes back.
    ///
    /// # Errors
    /// Why it is not delivered.
    pub fn take_broadcast(
        &mut self,
        broadcast: &super::Broadcast,
        judge: impl FnOnce(&Incoming) -> Result<(), u16>,
    ) -> Result<Incoming, Code> {
        let arrival = Arrival {
            from: broadcast.origin.address(),
            hashname: Some(broadcast.origin),
            came: Came::Plain(broadcast.sequence),
            id: broadcast.id,
            priority: broadcast.priority,
            entrance: broadcast.entrance,
            body: Bytes::new(),
        };
        let (body, came) = (broadcast.body.clone(), arrival.came);
        let unpacked = self.settings.registry.unpack(body, came, self.most);
        let (sequence, bytes) = unpacked.map_err(|why| why.code())?;
        let (mut incoming, local) = read(&arrival, sequence, bytes).ok_or(Code::CannotUnpack)?;
        if incoming.kind != Kind::Notice || local {
            return Err(Code::CannotUnpack);
        }
        (incoming.proved, incoming.broadcast, incoming.trace) = (true, true, false);
        match self.deliver(incoming, judge) {
            Taken::Delivered(incoming) => Ok(incoming),
            Taken::Back(code, _) => Err(code),
            Taken::Reply(..) => Err(Code::UnknownTarget),
        }
    }

    /// A reply goes to whoever waits for it, and nobody judges it.
    fn answer_or_deliver(
        &mut self,
        incoming: Incoming,
        judge: impl FnOnce(&Incoming) -> Result<(), u16>,
    ) -> Taken {
        let Kind::Reply(id) = incoming.kind else { return self.deliver(incoming, judge) };
        match self.requests.answered(id, &incoming.from, incoming.proved) {
            Some(_) => {
                self.sent.forget(id);
                Taken::Reply(id, incoming)
            }
            None => Taken::Back(Code::UnknownTarget, 0),
        }
    }

    fn deliver(
        &self,
        incoming: Incoming,
        judge: impl FnOnce(&Incoming) -> Result<(), u16>,
    ) -> Taken {
        if let Err(rule) = judge(&incoming) {
            return Taken::Back(Code::Refused, rule);
        }
        if self.takers(&incoming).next().is_none() {
            return Taken::Back(Code::UnknownTarget, 0);
        }
        Taken::Delivered(incoming)
    }

    /// A message of this node to itself: delivered as it is.
    pub fn own(
        &mut self,
        hashname: Hashname,
        (id, priority): (u64, Priority),
        envelope: &Envelope,
        record: &Bytes,
    ) -> Taken {
        let mut bytes = BytesMut::with_capacity(ENVELOPE_MAX + record.len());
        envelope.emit(&mut bytes);
        bytes.extend_from_slice(record);
        let arrival = Arrival {
            from: self.us,
            hashname: Some(hashname),
            came: Came::Sealed,
            id,
            priority,
            entrance: Entrance::default(),
            body: Bytes::new(),
        };
        if bytes.len() > self.most {
            return Taken::Back(Code::TooLarge, 0);
        }
        let Some((incoming, _)) = read(&arrival, Sequence::MA, bytes.freeze()) else {
            return Taken::Back(Code::CannotUnpack, 0);
        };
        self.answer_or_deliver(incoming, |_| Ok(()))
    }

    /// A message is said to come back from the node it was for: inside the line (`sealed`), or not.
    /// Said of nothing that is out, it means nothing.
    pub fn came_back(
        &mut self,
        now: Instant,
        mut back: Returned,
        sealed: bool,
    ) -> Option<Returned> {
        if !self.sent.take(now, back.id, &back.to, sealed) {
            return None;
        }
        // That a request was handed over does not end the wait for its answer.
        let over = back.code != Code::Arrived;
        back.request = over && self.requests.take(back.id).is_some();
        Some(back)
    }

    /// A line fell: requests that went in it have no answer.
    pub fn fell(&mut self, peer: Address, code: Code, by: Option<Address>) -> Vec<Returned> {
        let lost = self.requests.lost(&peer);
        lost.iter().for_each(|id| self.sent.forget(*id));
        let lost = lost.into_iter();
        lost.map(|id| Returned { id, to: peer, code, rule: 0, by, request: true }).collect()
    }

    /// The first request whose time is up.
    pub fn overdue(&mut self, now: Instant) -> Option<Returned> {
        let (id, request) = self.requests.overdue(now)?;
        self.sent.forget(id);
        let (to, code, by) = (request.to, Code::TimedOut, None);
        Some(Returned { id, to, code, rule: 0, by, request: true })
    }

    /// When a request's time is up.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.requests.deadline()
    }

    /// Requests that wait for their replies.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.requests.len()
    }

    /// The node stops: requests end, and nothing is sent or taken from now on.
    pub fn close(&mut self) -> Vec<Returned> {
        self.closing = true;
        let (code, by) = (Code::ShuttingDown, None);
        let ended = self.requests.take_all();
        // Its answer is this one: what waits in queues comes back when these are given up.
        ended.iter().for_each(|(id, _)| self.sent.forget(*id));
        let ended = ended.into_iter();
        ended.map(|(id, r)| Returned { id, to: r.to, code, rule: 0, by, request: true }).collect()
    }
}

/// The message, and whether it says that it is local.
fn read(arrival: &Arrival, sequence: Sequence, bytes: Bytes) -> Option<(Incoming, bool)> {
    let Glance { kind, local, trace, length, .. } = Glance::at(&bytes).ok()?;
    let incoming = Incoming {
        from: arrival.from,
        hashname: arrival.hashname,
        proved: arrival.came == Came::Sealed,
        broadcast: false,
        id: arrival.id,
        priority: arrival.priority,
        sequence,
        entrance: arrival.entrance,
        kind,
        trace,
        bytes,
        record_at: u16::try_from(length).ok()?,
    };
    Some((incoming, local))
}
