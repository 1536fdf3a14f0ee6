//! What is asked of the switch and what it hands out.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use crate::base::{Address, Hashname, Priority};
use crate::wire::package::Code;

/// A line within this process: leads to its place without a search, and to nothing once the
/// place has been given to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LineRef {
    /// The partition that owns it.
    pub partition: u16,
    /// Its place there.
    pub slot: u32,
    /// Which tenant of the place.
    pub tenant: u32,
}

/// A number the asker chose, to know the answer by. Unique among the asker's open questions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// What an application asks; answered by an [`Answer`] with the same token.
#[derive(Debug)]
pub struct Ask {
    /// To know the answer by.
    pub token: Token,
    /// Who it concerns.
    pub peer: Hashname,
    /// What.
    pub question: Question,
}

/// The questions.
#[derive(Debug)]
pub enum Question {
    /// How long to the peer and back, inside a line.
    Ping {
        /// How urgently, both ways.
        priority: Priority,
        /// Bytes of the packet.
        length: usize,
        /// Give up after.
        patience: Duration,
    },
    /// Which node a package with so many hops to live reaches.
    Probe {
        /// Hops.
        ttl: u8,
        /// Give up after.
        patience: Duration,
    },
    /// Deliver this. Answered only if it comes back.
    Message {
        /// How urgently.
        priority: Priority,
        /// An answer to something of the receiver's.
        reply: bool,
        /// End to end inside the line ("MA"), or readable to every hop ("M").
        sealed: bool,
        /// What.
        payload: Bytes,
    },
    /// Deliver these, in order. One is answered only if it comes back, by the ask's token plus
    /// its place among them.
    Messages {
        /// How urgently.
        priority: Priority,
        /// Answers to something of the receiver's.
        reply: bool,
        /// End to end inside the line ("MA"), or readable to every hop ("M").
        sealed: bool,
        /// What.
        payloads: Vec<Bytes>,
    },
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The ping came back after this long.
    Pong(Duration),
    /// The probe ended at this node after this long: there, or where its hops ran out.
    Probed {
        /// Which node.
        node: Address,
        /// [`Code::Arrived`], or why it ended there.
        code: Code,
        /// After this long.
        after: Duration,
    },
    /// It failed.
    Failed {
        /// Why.
        code: Code,
        /// Which node said so; this one if `None`.
        by: Option<Address>,
    },
}

/// A message that arrived, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// From whom. Proved if `sealed`, otherwise as good as the links on the way.
    pub from: Address,
    /// How urgent it was.
    pub priority: Priority,
    /// An answer to something of ours.
    pub reply: bool,
    /// Whether it came inside the line.
    pub sealed: bool,
    /// The sender's number for it.
    pub id: u64,
    /// What.
    pub payload: Bytes,
}

/// What the switch wants done.
#[derive(Debug)]
pub enum Effect {
    /// Send a datagram.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// How urgently.
        priority: Priority,
        /// What.
        bytes: Bytes,
    },
    /// Send packages, whole with their link headers: one, or several for one destination at one
    /// priority, one after the other.
    Package(BytesMut),
    /// A line is open.
    LineUp {
        /// Which.
        line: LineRef,
        /// To whom.
        peer: Hashname,
        /// Most bytes of a packet inside it, for now.
        max_packet: usize,
    },
    /// The line's path changed, and with it the largest packet.
    LinePath {
        /// Which.
        line: LineRef,
        /// Most bytes of a packet inside it.
        max_packet: usize,
    },
    /// The line has no keys to send with until it is wanted again. What it carried goes on then.
    LineRests {
        /// To whom.
        peer: Hashname,
    },
    /// The line is gone, or could not be opened.
    LineDown {
        /// To whom.
        peer: Hashname,
        /// Why.
        code: Code,
    },
    /// A packet of a stream came in.
    Stream {
        /// On which line.
        line: LineRef,
        /// The decrypted packet.
        packet: Bytes,
    },
    /// A question is answered.
    Answered(Token, Answer),
    /// A message arrived.
    Arrived(Message),
    /// The mesh leads to this hashname, or does not any more, and everything here knows.
    Reachable(Hashname, bool),
    /// A datagram belongs to another partition, which can tell only now.
    Elsewhere {
        /// Which.
        partition: u16,
        /// Where the datagram came from.
        from: SocketAddr,
        /// The datagram.
        bytes: BytesMut,
        /// An open that has paid with a cookie already, if one was asked for.
        paid: bool,
    },
}
