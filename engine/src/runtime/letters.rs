//! What workers send each other, what is asked of them, and what they tell of themselves.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam::channel::Sender as Reply;
use trunkline_proto::base::{Drops, Hashname, Instant, Lane, LinkId};
use trunkline_proto::mesh::Routing;
use trunkline_proto::message::Outbound;
use trunkline_proto::stage::levels::Level;
use trunkline_proto::stage::outgoing::Outgoing;
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;
use trunkline_proto::switch::streams::Open;
use trunkline_proto::wire::link::Cost;
use trunkline_proto::wire::package::Code;

use super::tunnels::{ProxyId, TunnelCounters};
use crate::net::Transport;
use crate::setup::Dial;

/// What workers send each other.
pub(crate) enum Letter {
    /// A post for a role of this seat.
    Post(Role, Post),
    /// The writing half of a link, for its writer.
    Adopt(LinkId, Transport),
    /// The link is gone.
    Abandon(LinkId),
    /// Applications did something with their streams; see [`super::pipe::Bell`].
    Pipes,
    /// The application or the owner wants something.
    Command(Command),
}

impl Letter {
    /// Whether this may be lost when a mailbox is full, as data may be anywhere on its way.
    pub(super) const fn is_data(&self) -> bool {
        matches!(self, Self::Post(_, post) if post.is_data())
    }
}

/// What the application or the owner wants of one worker.
pub(crate) enum Command {
    /// Carry each connection to `listen` by a stream to a peer, opened for `open`.
    OpenProxy {
        id: ProxyId,
        peer: Hashname,
        open: Open,
        listen: SocketAddr,
        reply: Reply<io::Result<SocketAddr>>,
    },
    /// Stop listening.
    CloseProxy(ProxyId),
    /// Keep a link up.
    AddLink { index: usize, dial: Box<Dial> },
    /// End a link, and keep it up no more. Answers whether there is one.
    CloseLink { link: LinkRef, reply: Reply<bool> },
    /// Sending over a link costs something else. Answers whether there is one.
    CostLink { link: LinkRef, cost: Cost, reply: Reply<bool> },
    /// Say something to every node.
    Broadcast { what: Box<Outbound>, record: Bytes, here: bool, reply: Reply<Result<u64, Code>> },
    /// Look something up in the link state.
    Routing(RoutingAsk),
    /// Say that everything before this was done.
    Sync(Reply<()>),
    /// How are you?
    Report(Reply<Report>),
    /// Call no more neighbours, and say goodbye to the peers of all lines.
    CloseLines,
    /// Say goodbye to all neighbours. It overtakes whatever still waits for a link.
    CloseLinks,
    /// Has everything that was to be sent left?
    Quiet(Reply<bool>),
    /// End.
    Stop,
}

/// Something to be looked up where the link state is kept; it answers by itself.
pub(crate) type RoutingAsk = Box<dyn FnOnce(&Routing, Instant) + Send>;

/// One link of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkRef {
    /// One that it keeps up, connected or not.
    Dialled(usize),
    /// One that is connected.
    Number(LinkId),
}

/// What one worker tells of itself.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which seat.
    pub seat: usize,
    /// What it dropped, by reason.
    pub drops: Drops,
    /// The links it reads.
    pub links: Vec<(trunkline_proto::stage::links::LinkReport, Option<usize>, SocketAddr, bool)>,
    /// The links it writes.
    pub written: Vec<Written>,
    /// The configured links it keeps up.
    pub dials: Vec<DialReport>,
    /// Its contacts.
    pub contacts: Vec<trunkline_proto::switch::ContactReport>,
    /// Its partition's counters.
    pub switch: Option<trunkline_proto::switch::Counters>,
    /// Its peers with streams.
    pub peers: Vec<trunkline_proto::stage::streams::PeerReport>,
    /// Its forwarder's counters.
    pub forwarded: Option<trunkline_proto::stage::forward::Forwarded>,
    /// Its tunnels.
    pub tunnels: TunnelCounters,
    /// Streams in the hands of applications.
    pub pipes: usize,
    /// The routes, on the seat that has them.
    pub mesh: Option<Vec<trunkline_proto::mesh::NodeStatus>>,
    /// The links that are part of the mesh, on the seat that has the link state.
    pub adjacent: Option<Vec<trunkline_proto::mesh::LinkStatus>>,
    /// The route table, on the seat that has it.
    pub routes: Option<Arc<trunkline_proto::mesh::RouteTable>>,
    /// What is known of bringing hashnames together, on the seat that does.
    pub meeting: Option<trunkline_proto::switch::meet::MeetReport>,
    /// The local proxies: listening where, for whom, to what, and connections accepted.
    pub proxies: Vec<(SocketAddr, Hashname, String, u64)>,
    /// Rounds so far.
    pub rounds: u64,
    /// What its gatekeeper decided.
    pub gate: trunkline_proto::gate::Hits,
}

/// What one link has sent and still holds.
#[derive(Clone, Debug)]
pub struct Written {
    /// Which.
    pub link: LinkId,
    /// Frames written whole.
    pub frames: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Bytes waiting.
    pub waiting: usize,
    /// Frames dropped.
    pub dropped: u64,
    /// Each lane from the most urgent: bytes and runs waiting, and what has been.
    pub levels: Vec<(Lane, (usize, usize), Level)>,
}

impl Written {
    /// What this link has sent and still holds.
    #[must_use]
    pub fn of(link: LinkId, outgoing: &Outgoing) -> Self {
        let sent = outgoing.counters();
        let levels = outgoing.levels().rev();
        Self {
            link,
            frames: sent.frames,
            bytes: sent.bytes,
            waiting: outgoing.bytes(),
            dropped: sent.drops.total(),
            levels: levels.map(|(lane, level)| (lane, outgoing.depth(lane), *level)).collect(),
        }
    }
}

/// The state of a configured link.
#[derive(Clone, Debug)]
pub struct DialReport {
    /// Which of the configured links.
    pub index: usize,
    /// The link it has now.
    pub link: Option<LinkId>,
    /// How often it was lost.
    pub losses: u64,
    /// Why, last.
    pub last_error: Option<String>,
    /// When it is dialled again.
    pub retry_in: Option<Duration>,
}
