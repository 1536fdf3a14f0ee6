//! Messages: what is sent and packed how, what is asked and answered, who takes what arrives
//! (PROTOCOL §5.3, §6.6 to §6.8).
//!
//! [`Room`] has the messages of one partition's peers. On the way out it chooses the sequence and
//! remembers what left (`sent`), and which requests wait for replies (`requests`). On the way
//! in it unpacks, insists on the least sequence, asks the gatekeeper its caller gives it, and finds
//! who subscribed (`subscriptions`).
//!
//! It sends and delivers nothing itself and knows neither lines nor links: the stage of the
//! partition hands it what the switch brings, and tells the switch what it decides. Every message
//! that is not delivered has a code that goes back to its sender; a return is never returned.

mod requests;
mod room;
mod sent;
mod subscriptions;

use core::time::Duration;

use bytes::Bytes;

use crate::base::{Address, Entrance, Hashname, Namespace, Priority, RecordId};
use crate::wire::envelope::{Envelope, Kind};
use crate::wire::package::{Code, Sequence};
use crate::wire::sequence::Builders;

pub use room::{Arrival, Room, Settings, Taken};
pub use subscriptions::{Subscription, SubscriptionId, TooManySubscriptions};

/// A message as its sender wants it, but for its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// What it says of itself. Whether it is a request or a reply is decided by how it is sent.
    pub envelope: Envelope,
    /// How urgent.
    pub priority: Priority,
    /// How to pack it, if not as for its receiver or as this node does.
    pub sequence: Option<Sequence>,
    /// Packed so and no stronger, whatever the receiver demands.
    pub exactly: bool,
    /// Links it may cross; as the limits say if `None`.
    pub ttl: Option<u8>,
}

impl Outbound {
    /// A message of a record to a namespace, with nothing special about it.
    #[must_use]
    pub const fn to(namespace: Namespace, record: RecordId) -> Self {
        Self::new(Envelope::new(namespace, record))
    }

    /// A message with nothing special about it.
    #[must_use]
    pub const fn new(envelope: Envelope) -> Self {
        let (priority, sequence, exactly, ttl) = (Priority::DEFAULT, None, false, None);
        Self { envelope, priority, sequence, exactly, ttl }
    }
}

/// What becomes of messages that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing, unless they come back.
    Notice,
    /// A reply is waited for so long.
    Request(Duration),
    /// They answer the message of this id.
    Reply {
        /// The id.
        to: u64,
        /// What it was packed by that protects: the reply is, too.
        packed: Builders,
    },
}

/// Messages to be sent to one node, in order, alike but for their records.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The first one's number; the others' follow it.
    pub id: u64,
    /// To whom.
    pub to: Address,
    /// The same in full, if it is known.
    pub hashname: Option<Hashname>,
    /// How.
    pub outbound: Outbound,
    /// For what.
    pub purpose: Purpose,
    /// Their records.
    pub records: Vec<Bytes>,
}

/// A message that arrived, unpacked and judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// From which node.
    pub from: Address,
    /// The same in full, if it is `proved`.
    pub hashname: Option<Hashname>,
    /// Whether the sender is proved: by the line it came in, or by its signature. Otherwise it is
    /// as good as the links on the way.
    pub proved: bool,
    /// Whether it was meant for all nodes.
    pub broadcast: bool,
    /// The sender's number for it.
    pub id: u64,
    /// How urgent it was.
    pub priority: Priority,
    /// How it was packed.
    pub sequence: Sequence,
    /// Where it came in.
    pub entrance: Entrance,
    /// What kind of message.
    pub kind: Kind,
    /// The sender wants to be told when it was handed over: whoever hands it over does.
    pub trace: bool,
    /// Envelope and record as they were written: read already, kept as they are, for most who
    /// take a message look at its record alone.
    bytes: Bytes,
    record_at: u16,
}

impl Incoming {
    /// What the message says of itself.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope::parse(&self.bytes).map_or_else(
            // Every one was parsed when it arrived.
            |_| Envelope::new(crate::base::Namespace::NONE, 0.into()),
            |(envelope, _)| envelope,
        )
    }

    /// The message without its record and whatever memory that lies in: enough to answer it by.
    #[must_use]
    pub fn without_record(&self) -> Self {
        let envelope = self.bytes.get(..usize::from(self.record_at)).unwrap_or_default();
        Self { bytes: Bytes::copy_from_slice(envelope), ..self.clone() }
    }

    /// Bytes it holds.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The record where it lies, for who only looks at it.
    #[must_use]
    pub fn record_bytes(&self) -> &[u8] {
        self.bytes.get(usize::from(self.record_at)..).unwrap_or_default()
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> Bytes {
        self.bytes.slice(usize::from(self.record_at).min(self.bytes.len())..)
    }
}

/// A message of ours that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Which.
    pub id: u64,
    /// To whom it was.
    pub to: Address,
    /// Why.
    pub code: Code,
    /// By which of the receiver's rules, counted from 1; 0 if by none.
    pub rule: u16,
    /// Which node said so; this one if `None`.
    pub by: Option<Address>,
    /// The message was a request and has no answer.
    pub request: bool,
}

/// A broadcast that reached this node and was judged by whoever floods it.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// Whose: proved by its signature.
    pub origin: Hashname,
    /// The origin's number for it.
    pub id: u64,
    /// How urgent.
    pub priority: Priority,
    /// The letters in its header.
    pub sequence: Sequence,
    /// Where it came in.
    pub entrance: Entrance,
    /// The packed body.
    pub body: Bytes,
}

/// Packs a message for all nodes: how, and the body. There is no key that all of them share, so that
/// of this node's own sequence "A" is left out.
///
/// # Errors
/// [`Code::NoKey`] for a message that wants to be sealed, [`Code::CannotUnpack`] for one that wants
/// builders this node lacks or an order that makes no sense.
pub fn pack_for_all(
    settings: &Settings,
    outbound: &Outbound,
    record: &Bytes,
) -> Result<(Sequence, Bytes), Code> {
    let registry = &settings.registry;
    let sequence = match outbound.sequence {
        Some(wished) if wished.is_sealed() => return Err(Code::NoKey),
        Some(wished) => wished,
        None => settings.sequence.unwrap_or(Sequence::M).without(b'A'),
    };
    let sequence = registry.judge(sequence).map_err(|_| Code::CannotUnpack)?;
    let envelope = Envelope { kind: Kind::Notice, trace: false, ..outbound.envelope };
    let packed = registry.pack(sequence, &envelope, record);
    Ok((packed.sequence, [&packed.head[..], &packed.body[..]].concat().into()))
}

#[cfg(test)]
mod tests;
