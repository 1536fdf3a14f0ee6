//! What roles say to each other. A post carries what it needs by value, so that it can be handed
//! over on one thread or moved to another without anyone noticing.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::outgoing::Run;
use super::plan::Role;
use crate::base::{Address, BootEpoch, Entrance, Frame, Hashname, Lane, LinkId, Priority};
use crate::crypto::KeyRecord;
use crate::mesh::RouteTable;
use crate::message::{Broadcast, Sending, Subscription, SubscriptionId};
use crate::switch::{Ask, Introduction, LineRef, Note, Token, Toll};
use crate::wire::link::Cost;
use crate::wire::package::Code;
use crate::wire::sequence::PackTerms;

/// Something one role asks of another.
#[derive(Debug)]
pub enum Post {
    /// To a partition: a datagram came in.
    Datagram {
        /// Where from, unproved.
        from: SocketAddr,
        /// The port of ours it came in at.
        port: u16,
        /// What.
        bytes: BytesMut,
        /// What was asked of it, should it be an open.
        toll: Toll,
    },
    /// To a partition: a package for this node came in.
    Package {
        /// Where it came in.
        entrance: Entrance,
        /// It, whole, with its link header.
        frame: BytesMut,
    },
    /// To a partition: seal this and send it.
    Seal {
        /// On which line.
        line: LineRef,
        /// How urgently.
        priority: Priority,
        /// The packet, with room around it.
        frame: Frame,
    },
    /// To a partition: streams of this line lose what is large, and hear of what is small.
    Narrow(LineRef),
    /// To a partition: a line to this hashname is wanted.
    Want(Hashname),
    /// To a partition: streams have no use for a line to this hashname any more.
    Unwant(Hashname),
    /// To a partition: the application asks for something.
    Ask(Ask),
    /// To a partition: messages of the application are to be sent to a node of its.
    Send(Box<Sending>),
    /// To a partition: how a node packs messages and what it takes.
    Packs(Address, PackTerms),
    /// To every partition: somebody takes messages, as long as the number says.
    Subscribe(Subscription),
    /// To every partition: nobody takes messages by this number any more.
    Unsubscribe(SubscriptionId),
    /// To the partition of a broadcast's origin: hand it to whoever takes it here.
    DeliverBroadcast(Box<Broadcast>),
    /// To a partition: a verified record came by.
    Learned(Arc<KeyRecord>),
    /// To a partition: whether the mesh leads to this hashname.
    Reachable(Hashname, bool),
    /// To a partition: addresses at which this hashname may be found.
    Found(Hashname, Vec<SocketAddr>),
    /// To a partition: what whoever brings hashnames together wants.
    Introduce(Introduction),
    /// To whoever brings hashnames together.
    Note(Note),
    /// To whoever brings hashnames together: who is nearest to this?
    Nearest(Token, Hashname),
    /// To whoever brings hashnames together: what the directory has of that hashname.
    LookedUp {
        /// Who asked.
        asker: Hashname,
        /// Its number for the question.
        id: u64,
        /// Whose key.
        who: Hashname,
        /// The key record and what vouches for it, as they travel.
        papers: Option<Bytes>,
    },
    /// To the partition whose seat reads a link: routing does not admit it.
    CloseLink(LinkId),
    /// To a partition: end every line, telling the peers.
    CloseLines,
    /// To streams: a line is open.
    LineUp {
        /// Which.
        line: LineRef,
        /// To whom.
        peer: Hashname,
        /// Most bytes of a packet inside it, now.
        max_packet: usize,
    },
    /// To streams: the line's path changed, and with it the largest packet.
    LinePath {
        /// Which.
        line: LineRef,
        /// Most bytes of a packet inside it, from now on.
        max_packet: usize,
        /// It is another path, not only another size.
        moved: bool,
    },
    /// To streams: the line has no keys to send with until it is wanted again.
    LineRests {
        /// To whom.
        peer: Hashname,
    },
    /// To streams: the line is gone, or could not be opened.
    LineDown {
        /// To whom.
        peer: Hashname,
        /// Why.
        code: Code,
    },
    /// To streams: a packet of a stream came in.
    Stream {
        /// On which line.
        line: LineRef,
        /// The decrypted packet.
        packet: Bytes,
    },
    /// To routing: an adjacency is up.
    LinkUp {
        /// Which.
        link: LinkId,
        /// The neighbour, proved.
        peer: Arc<KeyRecord>,
        /// Which of its runs.
        epoch: BootEpoch,
        /// What it costs us to send there.
        cost: Cost,
    },
    /// To routing: sending over a link costs something else from now on.
    LinkCost {
        /// Which.
        link: LinkId,
        /// What.
        cost: Cost,
    },
    /// To routing: an adjacency is gone.
    LinkDown(LinkId),
    /// To routing: an announcement's body came in.
    Announcement {
        /// Over which link.
        link: LinkId,
        /// What.
        body: Bytes,
    },
    /// To routing: what a neighbour's database holds came in.
    Digest {
        /// Over which link.
        link: LinkId,
        /// What.
        body: Bytes,
    },
    /// To routing: a whole broadcast frame came in.
    Broadcast {
        /// Over which link.
        link: LinkId,
        /// Where that leads in.
        entrance: Entrance,
        /// What.
        frame: BytesMut,
    },
    /// To a forwarder: whole package frames came in.
    Transit {
        /// Over which link.
        from: LinkId,
        /// Where that leads in.
        entrance: Entrance,
        /// The frames, one after the other.
        frames: BytesMut,
    },
    /// To a forwarder: packages of our own, whole, with their link headers: one, or several for
    /// one destination at one priority, one after the other.
    Originate(BytesMut),
    /// To a forwarder: frames that a queue refused, whole; their senders are to be told.
    Refused {
        /// Which.
        run: Run,
        /// Why.
        code: Code,
    },
    /// To a forwarder: the routes from now on.
    Routes(Arc<RouteTable>),
    /// To a writer: a link can be written to.
    LinkOpened(LinkId),
    /// To a writer: a link is gone.
    LinkGone(LinkId),
    /// To a writer: frames for a link.
    Enqueue {
        /// Which.
        link: LinkId,
        /// How urgently.
        lane: Lane,
        /// What.
        run: Run,
    },
    /// To a writer: a datagram.
    SendDatagram {
        /// Where to.
        to: SocketAddr,
        /// How urgently.
        priority: Priority,
        /// What.
        bytes: Bytes,
    },
}

/// How a post crosses from thread to thread. The rules stand here, so that whoever carries posts
/// carries them alike.
impl Post {
    /// Whether it may be lost when a mailbox is full, as data may be anywhere on its way. What
    /// changes state may not.
    #[must_use]
    pub const fn is_data(&self) -> bool {
        matches!(
            self,
            Self::Datagram { .. }
                | Self::Package { .. }
                | Self::DeliverBroadcast(_)
                | Self::Transit { .. }
                | Self::Originate(_)
                | Self::Refused { .. }
                | Self::SendDatagram { .. }
                | Self::Announcement { .. }
                | Self::Digest { .. }
                | Self::Broadcast { .. }
                | Self::Stream { .. }
                | Self::Note(Note::Heard { .. } | Note::Asked { .. })
                | Self::Introduce(Introduction::Say { .. } | Introduction::Answer { .. })
                | Self::Seal { .. }
                | Self::Enqueue { lane: Lane::Data(_), .. }
        )
    }

    /// Whether it overtakes what is not urgent.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        match self {
            Self::Seal { priority, .. } | Self::Enqueue { lane: Lane::Data(priority), .. } => {
                priority.level() > Priority::DEFAULT.level()
            }
            // In order with the packets of streams: an end must not overtake the last bytes.
            Self::LineUp { .. }
            | Self::LinePath { .. }
            | Self::LineRests { .. }
            | Self::LineDown { .. } => false,
            _ => !self.is_data(),
        }
    }
}

/// Posts on their way, in order.
#[derive(Debug, Default)]
pub struct Posts {
    queue: VecDeque<(Role, Post)>,
}

impl Posts {
    /// Adds one at the end.
    pub fn push(&mut self, role: Role, post: Post) {
        self.queue.push_back((role, post));
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<(Role, Post)> {
        self.queue.pop_front()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
