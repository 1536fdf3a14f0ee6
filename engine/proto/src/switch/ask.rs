//! What is asked of the switch and what it hands out.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::contact::State;
use super::paths::{Bridge, Path};
use crate::base::{Address, Entrance, Hashname, Instant, LineId, Priority};
use crate::wire::meet::No;
use crate::wire::package::{Code, Sequence};

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
    /// These hashnames are the nearest.
    Nearest(Vec<Hashname>),
    /// It failed.
    Failed {
        /// Why.
        code: Code,
        /// Which node said so; this one if `None`.
        by: Option<Address>,
    },
}

/// A message that arrived, whole, as it was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// From whom. Proved if `sealed`, otherwise as good as the links on the way.
    pub from: Address,
    /// The same in full, if it is proved.
    pub hashname: Option<Hashname>,
    /// How urgent it was.
    pub priority: Priority,
    /// Its header says that it answers something of ours.
    pub reply: bool,
    /// Whether it came inside the line,
    pub sealed: bool,
    /// and if not, which letters its header had.
    pub sequence: Sequence,
    /// The sender's number for it.
    pub id: u64,
    /// Where its last part came in.
    pub entrance: Entrance,
    /// What.
    pub payload: Bytes,
}

/// A message that came back, or did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CameBack {
    /// Which.
    pub token: Token,
    /// To whom it was.
    pub to: Address,
    /// Why.
    pub code: Code,
    /// By which of the receiver's rules; 0 if by none.
    pub rule: u16,
    /// Which node said so; this one if `None`.
    pub by: Option<Address>,
    /// It was said inside the line, or by who saw the sealed package: of a message in a line.
    /// Otherwise anyone on the way may have said it, of a plain one.
    pub sealed: bool,
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
        /// It is another path, not only another size.
        moved: bool,
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
    /// A message came back.
    CameBack(CameBack),
    /// A line is gone, or could not be opened; told whether or not anybody wanted it.
    Fell {
        /// To whom.
        peer: Address,
        /// Why.
        code: Code,
        /// Which node said so; this one if `None`.
        by: Option<Address>,
    },
    /// Something for whoever brings hashnames together.
    Note(Note),
    /// A packet for a peer of any partition, if there is a line to it.
    Say {
        /// To whom.
        peer: Hashname,
        /// The packet.
        packet: Bytes,
    },
    /// A packet came in a line that nothing here knows: the application's.
    Unhandled {
        /// From whom.
        peer: Hashname,
        /// The packet, whole.
        packet: Bytes,
    },
    /// A packet came outside any line that nothing here knows.
    Anonymous {
        /// Where from, unproved.
        from: SocketAddr,
        /// The packet, whole.
        packet: Bytes,
    },
    /// A hashname came into another state.
    State(Hashname, State),
    /// The mesh leads to this hashname, or does not any more, and everything here knows.
    Reachable(Hashname, bool),
    /// A datagram belongs to another partition, which can tell only now.
    Elsewhere {
        /// Which.
        partition: u16,
        /// Where the datagram came from.
        from: SocketAddr,
        /// The port it came in at.
        port: u16,
        /// The datagram.
        bytes: BytesMut,
        /// What was asked of it, should it be an open.
        toll: Toll,
    },
}

/// What somebody who opens a line has shown before anything is done for it (PROTOCOL §4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Toll {
    /// Nothing yet: a cookie is asked for if the node is busy.
    Due,
    /// Another partition was not busy and asked for nothing.
    Waived,
    /// A cookie: it receives what is sent to its address.
    Paid,
}

/// What a partition tells whoever brings hashnames together.
#[derive(Debug)]
pub enum Note {
    /// The line to a hashname is open, or gone.
    Line {
        /// To whom.
        peer: Hashname,
        /// The path it takes; none if it is gone.
        path: Option<Path>,
        /// Whether the peer meshes.
        spacer: bool,
    },
    /// A packet about other hashnames came in a line.
    Heard {
        /// From whom.
        peer: Hashname,
        /// By which path.
        path: Path,
        /// The packet, whole.
        packet: Bytes,
    },
    /// The same outside any line.
    Asked {
        /// Where from, unproved.
        from: SocketAddr,
        /// The packet, whole.
        packet: Bytes,
    },
    /// A line is wanted and the key, or any way to send, is missing.
    Find {
        /// Whom.
        peer: Hashname,
        /// Whether its key is known.
        known: bool,
        /// Addresses the configuration has for it.
        at: Vec<SocketAddr>,
    },
    /// What was sought need not be found any more: the line is open, or was given up.
    Found(Hashname),
    /// A peer says where packets from here come from.
    SeenAs {
        /// Who says it.
        by: Hashname,
        /// Where they come from.
        us: SocketAddr,
    },
    /// Lines that were heard since the census before, and when. The answer to
    /// [`Introduction::Census`].
    Active(Vec<(Hashname, Instant)>),
}

/// What whoever brings hashnames together tells a partition.
#[derive(Debug)]
pub enum Introduction {
    /// Send this in the line, if there is one.
    Say {
        /// To whom.
        peer: Hashname,
        /// The packet.
        packet: Bytes,
    },
    /// It may be at these addresses.
    Seen {
        /// Who.
        peer: Hashname,
        /// Where.
        at: Vec<SocketAddr>,
    },
    /// A line is worth having until then.
    Keep {
        /// To whom.
        peer: Hashname,
        /// Until when.
        until: Instant,
    },
    /// Somebody says that this is its key record, and what vouches for it.
    Papers {
        /// Whose.
        peer: Hashname,
        /// The voucher's length in one byte, the voucher, the record.
        papers: Bytes,
    },
    /// It is looked for until then.
    Patience {
        /// Who.
        peer: Hashname,
        /// Until when.
        until: Instant,
    },
    /// It cannot be found.
    Missing(Hashname),
    /// Show what is known of it to somebody who asked, in the line.
    ShowPapers {
        /// Whose.
        peer: Hashname,
        /// To whom.
        to: Hashname,
        /// The asker's number for the question.
        id: u64,
    },
    /// Send nothing to these addresses, so that packets from there are let in.
    Punch(Vec<SocketAddr>),
    /// Send this datagram.
    Answer {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Bytes,
    },
    /// Ask a relay for a bridge to a peer.
    AskBridge {
        /// The other end.
        peer: Hashname,
        /// The relay.
        relay: Hashname,
    },
    /// The relay's answer.
    Bridged {
        /// The other end.
        peer: Hashname,
        /// The relay.
        relay: Hashname,
        /// The way and its end, or why there is none.
        grant: Result<(Bridge, Instant), No>,
    },
    /// The relay of a bridge of ours is heard somewhere else.
    RelayMoved {
        /// The other end.
        peer: Hashname,
        /// The relay.
        relay: Hashname,
        /// Where its own line goes now.
        at: SocketAddr,
    },
    /// Be the relay: carry packets between these two.
    Carry {
        /// Both ends.
        ends: [CarriedEnd; 2],
        /// Bytes a second each way.
        rate: u64,
        /// Until when.
        until: Instant,
        /// Seconds until then.
        seconds: u64,
    },
    /// A peer's packets come from another address; bridges follow.
    Moved {
        /// Whose.
        peer: Hashname,
        /// Where it is now; nowhere if the line is gone.
        at: Option<SocketAddr>,
    },
    /// Which lines are alive?
    Census,
}

/// One end of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CarriedEnd {
    /// Who.
    pub who: Hashname,
    /// Where.
    pub at: SocketAddr,
    /// What packets carried to it say.
    pub line: LineId,
}
