//! A relay in this thread: the node's own shard with proved links, driven as a worker drives it, with
//! memory where the sockets would be.
//!
//! What comes in is put into a pooled buffer, as a read from a socket is; what goes out is
//! gathered from the lanes, as a write to one does. The neighbours are sessions of links, nothing
//! more: once they are up they say nothing, and time stands still.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{
    Address, BootEpoch, Chance, FramePool, Hashname, Instant, Limits, LinkId, Priority, Wall,
};
use trunkline_proto::crypto::{Identity, SpaceRules};
use trunkline_proto::mesh::{
    LinkOutput, LinkSession, LinkTerms, LocalLink, Planner, RouteTable, Side, Transport,
};
use trunkline_proto::shard::{Input, Node, Shard};
use trunkline_proto::stage::plan::{Plan, Role};
use trunkline_proto::stage::post::Post;
use trunkline_proto::switch::streams::StreamLimits;
use trunkline_proto::wire::link::{Capabilities, Cost, HEADER_LEN, LinkHeader, NodeName};
use trunkline_proto::wire::package::{Content, Header, Sequence};

use crate::crowd::Crowd;

/// The link whose neighbour sends.
pub const FROM: LinkId = LinkId(0);
/// The first of the links that lead to destinations.
pub const TO: LinkId = LinkId(1);
/// Wall time of all nodes here.
const WALL: Wall = Wall::from_secs(1_800_000_000);
/// As a worker reads and writes.
const READ: usize = 128 << 10;
const WRITE: usize = 1 << 20;
const PIECES: usize = 64;

/// A node: its shard, on one thread, and who it is.
fn node(identity: Arc<Identity>, limits: Limits) -> Shard {
    let node = Node {
        plan: Plan::collapsed(1),
        space: Arc::new(SpaceRules::open(*identity.space())),
        identity,
        epoch: BootEpoch(1),
        name: NodeName::new(b"bench").expect("a name"),
        limits: Arc::new(limits),
        stream_limits: StreamLimits::default(),
        terms: Default::default(),
        messages: Default::default(),
        anonymous: false,
        gate: Arc::default(),
        line_secret: [7; 16],
    };
    Shard::new(&node, 0, Chance::from_number(1))
}

/// A relay between neighbours.
#[derive(Debug)]
pub struct Relay {
    shard: Shard,
    pool: FramePool,
    now: Instant,
}

impl Relay {
    /// A relay that forwards from [`FROM`] to `destinations` made-up nodes over [`TO`].
    ///
    /// # Panics
    /// If the links do not come up.
    #[must_use]
    pub fn new(destinations: u16) -> Self {
        Self::between(1, destinations)
    }

    /// The same over so many links from [`TO`] on, each of which leads to its share of the
    /// destinations.
    ///
    /// # Panics
    /// If the links do not come up.
    #[must_use]
    pub fn between(links: u16, destinations: u16) -> Self {
        let space = "bench".parse().expect("a space");
        let crowd = Crowd::new(&space, usize::from(links) + 2, WALL);
        let own = crowd.identity(0);
        let (name, now) = (own.hashname(), Instant::from_micros(1));
        let bare = Limits::default();
        let most = usize::from(links) + 1;
        let limits =
            Limits { links: bare.links.max(most), neighbours: bare.neighbours.max(most), ..bare };
        let mut shard = node(own, limits.clone());
        for n in 0..=links {
            let neighbour = crowd.identity(usize::from(n) + 1);
            shake(now, LinkId(n.into()), &mut shard, (name, neighbour), &limits);
        }
        let up = shard.links().filter(|l| l.peer.is_some()).count();
        assert_eq!(up, usize::from(links) + 1, "the links did not come up");
        let mut relay = Self { shard, pool: FramePool::new(1 << 18, 32), now };
        // What the relay would say to its neighbours is nobody's here.
        relay.write(|_| {});
        let routes = routes(name, links, destinations);
        relay.shard.handle(now, WALL, Input::Post(Role::Forward(0), Post::Routes(routes)));
        relay
    }

    /// Takes what a read from [`FROM`] brought. Gives back the memory it was read into.
    pub fn read(&mut self, bytes: &[u8]) -> std::ops::Range<*const u8> {
        let buffer = self.pool.spare(READ.max(bytes.len()));
        arrive(buffer, bytes);
        let mut read = buffer.split();
        let memory = read.as_ptr_range();
        self.shard.received(self.now, WALL, FROM, &mut read);
        assert!(read.is_empty(), "only whole frames come here");
        memory
    }

    /// Writes everything that waits: `each` gets every piece of memory. Gives back how many writes
    /// it took.
    pub fn write(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        let Some(writer) = self.shard.writer() else { return 0 };
        let mut writes = 0;
        while let Some(link) = writer.take_ready() {
            let Some(outgoing) = writer.outgoing(link) else { continue };
            while !outgoing.is_empty() {
                let mut slices = [IoSlice::new(&[]); PIECES];
                let used = outgoing.gather(WRITE, &mut slices);
                let slices = &slices[..used];
                slices.iter().for_each(|slice| each(slice));
                let taken = slices.iter().map(|slice| slice.len()).sum();
                outgoing.consume(self.now, taken);
                writes += 1;
            }
        }
        writes
    }

    /// Packages forwarded so far.
    #[must_use]
    pub fn forwarded(&self) -> u64 {
        self.shard.forwarded().map_or(0, |f| f.packages)
    }

    /// Slabs ever allocated for reading.
    #[must_use]
    pub const fn slabs(&self) -> u64 {
        self.pool.allocated()
    }
}

/// What the kernel does in a read. A function of its own, so that it can be left out of a count.
#[inline(never)]
fn arrive(buffer: &mut BytesMut, bytes: &[u8]) {
    buffer.extend_from_slice(bytes);
}

fn routes(name: Hashname, links: u16, destinations: u16) -> Arc<RouteTable> {
    let link = |n: u16| LocalLink {
        link: LinkId(u32::from(n % links.max(1)) + TO.0),
        peer: made_up(n),
        cost: Cost::ONE,
        proved: true,
    };
    let links: Vec<_> = (0..destinations).map(link).collect();
    Arc::new(Planner::default().compute(1, name, &links, std::iter::empty()))
}

/// A neighbour comes, proves itself and falls silent.
fn shake(
    now: Instant,
    link: LinkId,
    shard: &mut Shard,
    (name, neighbour): (Hashname, Arc<Identity>),
    limits: &Limits,
) {
    let terms = LinkTerms {
        cost: Cost::ONE,
        name: NodeName::default(),
        capabilities: Capabilities::default(),
        heartbeat: limits.heartbeat,
        space: Arc::new(SpaceRules::open(*neighbour.space())),
    };
    let side = Side::Dialed { expect: Some(name) };
    let mut chance = Chance::from_number(u64::from(link.0));
    let session = LinkSession::new(
        now,
        link,
        side,
        Transport::Plain,
        neighbour,
        BootEpoch(1),
        &terms,
        limits,
        &mut chance,
    );
    let mut session = session.expect("a session");
    let (side, transport, cost) = (Side::Accepted, Transport::Plain, Cost::ONE);
    shard.handle(now, WALL, Input::LinkOpened { link, side, transport, cost, port: None });
    // A hello and a proof each way, and the relay's first heartbeat or what it says of the mesh.
    for _ in 0..4 {
        while let Some(output) = session.poll() {
            if let LinkOutput::Send(frame) = output {
                shard.received(now, WALL, link, &mut BytesMut::from(&frame[..]));
            }
        }
        shard.flush(now, WALL);
        while shard.poll().is_some() {}
        while let Some(frame) = next_frame(now, link, shard) {
            let header = LinkHeader::peek(&frame).expect("a frame").expect("a whole header");
            // What is none of the session's, it gives back.
            let _ = session.handle_frame(now, WALL, header.kind, &frame[HEADER_LEN..]);
        }
    }
    assert!(session.is_up(), "the link did not come up");
}

fn next_frame(now: Instant, link: LinkId, shard: &mut Shard) -> Option<Vec<u8>> {
    let outgoing = shard.writer()?.outgoing(link)?;
    let mut slices = [IoSlice::new(&[]); 1];
    let used = outgoing.gather(WRITE, &mut slices);
    let frame = slices.get(..used)?.first()?.to_vec();
    outgoing.consume(now, frame.len());
    Some(frame)
}

/// A node that is only a name.
#[must_use]
pub fn made_up(number: u16) -> Hashname {
    let mut name = [0x11; 32];
    name[..2].copy_from_slice(&number.wrapping_mul(40_503).to_be_bytes());
    name[2..4].copy_from_slice(&number.to_be_bytes());
    Hashname::new(name)
}

/// Frames as a neighbour sends them: `count` messages of `size` bytes, in turn to each of
/// `destinations` made-up nodes.
#[must_use]
pub fn frames(count: u16, size: usize, destinations: u16) -> Bytes {
    frames_from(0, count, size, destinations)
}

/// The same, from the node of number `first` on.
#[must_use]
pub fn frames_from(first: u16, count: u16, size: usize, destinations: u16) -> Bytes {
    let mut bytes = BytesMut::new();
    for n in (0..count).map(|n| first.wrapping_add(n)) {
        let header = Header {
            priority: Priority::DEFAULT,
            reply: false,
            ttl: 16,
            content: Content::Message,
            sequence: Sequence::M,
            destination: made_up(n % destinations.max(1)).address(),
            source: Address::new([0x22; 16]),
            message: u64::from(n),
            total: u32::try_from(size).unwrap_or(u32::MAX),
            offset: 0,
        };
        bytes.extend_from_slice(&header.emit(size).expect("a frame of legal size"));
        bytes.resize(bytes.len() + size, 0x5a);
    }
    bytes.freeze()
}
