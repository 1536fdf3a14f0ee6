//! A relay in this thread: the node's own shard with two proved links, driven as a worker drives
//! it, with memory where the sockets would be.
//!
//! What comes in is put into a pooled buffer, as a read from a socket is; what goes out is
//! gathered from the lanes, as a write to one does.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{
    Address, BootEpoch, Chance, FramePool, Hashname, Instant, Limits, LinkId, Priority, Wall,
};
use trunkline_proto::crypto::{Identity, SpaceRules};
use trunkline_proto::mesh::{LocalLink, Planner, RouteTable, Side, Transport};
use trunkline_proto::shard::{Input, Node, Shard};
use trunkline_proto::stage::plan::{Plan, Role};
use trunkline_proto::stage::post::Post;
use trunkline_proto::switch::streams::StreamLimits;
use trunkline_proto::wire::link::{Cost, NodeName};
use trunkline_proto::wire::package::{Content, Header, Sequence};

/// The link whose neighbour sends.
pub const FROM: LinkId = LinkId(0);
/// The link that leads to all destinations.
pub const TO: LinkId = LinkId(1);
/// Wall time of all nodes here.
const WALL: Wall = Wall::from_secs(1_800_000_000);
/// As a worker reads and writes.
const READ: usize = 128 << 10;
const WRITE: usize = 1 << 20;
const PIECES: usize = 64;
/// Rounds after which the mesh must have come together.
const ROUNDS: u64 = 10_000;

/// A node without a relay's neighbours' names: its shard, on one thread.
fn node(number: u64) -> (Hashname, Shard) {
    let mut chance = Chance::from_number(number);
    let space = "bench".parse().expect("a space");
    let life = Duration::from_secs(86_400);
    let identity = Identity::generate(&space, 2_048, &mut chance, WALL, life).expect("keys");
    let hashname = identity.hashname();
    let node = Node {
        plan: Plan::collapsed(1),
        space: Arc::new(SpaceRules::open(*identity.space())),
        identity: Arc::new(identity),
        epoch: BootEpoch(number),
        name: NodeName::new(b"bench").expect("a name"),
        limits: Arc::new(Limits::default()),
        stream_limits: StreamLimits::default(),
        terms: Default::default(),
        messages: Default::default(),
        anonymous: false,
        gate: Arc::default(),
        line_secret: [7; 16],
    };
    (hashname, Shard::new(&node, 0, chance))
}

/// A relay between two neighbours.
#[derive(Debug)]
pub struct Relay {
    name: Hashname,
    shard: Shard,
    pool: FramePool,
    now: Instant,
}

impl Relay {
    /// A relay whose links are up, and which forwards to `destinations` made-up nodes over
    /// [`TO`].
    ///
    /// # Panics
    /// If the links do not come up.
    #[must_use]
    pub fn new(destinations: u16) -> Self {
        let (name, mut shard) = node(1);
        let mut neighbours = [node(2), node(3)];
        let mut now = Instant::from_micros(1);
        for (link, (_, neighbour)) in [FROM, TO].into_iter().zip(&mut neighbours) {
            let open = |side| Input::LinkOpened {
                link,
                side,
                transport: Transport::Plain,
                cost: Cost::ONE,
                port: None,
            };
            shard.handle(now, WALL, open(Side::Accepted));
            neighbour.handle(now, WALL, open(Side::Dialed { expect: Some(name) }));
        }
        for _ in 0..ROUNDS {
            for (link, (_, neighbour)) in [FROM, TO].into_iter().zip(&mut neighbours) {
                carry(now, link, &mut shard, neighbour);
                carry(now, link, neighbour, &mut shard);
                neighbour.handle_timeout(now, WALL);
                while neighbour.poll().is_some() {}
            }
            shard.handle_timeout(now, WALL);
            while shard.poll().is_some() {}
            now += Duration::from_micros(500);
        }
        let up = shard.links().filter(|l| l.peer.is_some()).count();
        assert_eq!(up, 2, "the links did not come up");
        let mut relay = Self { name, shard, pool: FramePool::new(1 << 19, 32), now };
        let routes = relay.routes(destinations);
        relay.shard.handle(now, WALL, Input::Post(Role::Forward(0), Post::Routes(routes)));
        relay
    }

    fn routes(&self, destinations: u16) -> Arc<RouteTable> {
        let link = |n| LocalLink { link: TO, peer: made_up(n), cost: Cost::ONE, proved: true };
        let links: Vec<_> = (0..destinations).map(link).collect();
        Arc::new(Planner::default().compute(1, self.name, &links, std::iter::empty()))
    }

    /// Takes what a read from [`FROM`] brought. Gives back the memory it was read into.
    pub fn read(&mut self, bytes: &[u8]) -> std::ops::Range<*const u8> {
        let buffer = self.pool.spare(READ.max(bytes.len()));
        buffer.extend_from_slice(bytes);
        let mut read = buffer.split();
        let memory = read.as_ptr_range();
        self.shard.received(self.now, WALL, FROM, &mut read);
        assert!(read.is_empty(), "only whole frames come here");
        memory
    }

    /// Writes everything that waits for [`TO`]: `each` gets every piece of memory. Gives back how
    /// many writes it took.
    pub fn write(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        let Some(writer) = self.shard.writer() else { return 0 };
        while writer.take_ready().is_some() {}
        let Some(outgoing) = writer.outgoing(TO) else { return 0 };
        let mut writes = 0;
        while !outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let used = outgoing.gather(WRITE, &mut slices);
            let slices = &slices[..used];
            slices.iter().for_each(|slice| each(slice));
            let taken = slices.iter().map(|slice| slice.len()).sum();
            outgoing.consume(self.now, taken);
            writes += 1;
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

/// Carries everything that waits for `link` from one shard to the other.
fn carry(now: Instant, link: LinkId, from: &mut Shard, to: &mut Shard) {
    let Some(writer) = from.writer() else { return };
    while writer.take_ready().is_some() {}
    let Some(outgoing) = writer.outgoing(link) else { return };
    while !outgoing.is_empty() {
        let mut slices = [IoSlice::new(&[]); 1];
        outgoing.gather(WRITE, &mut slices);
        let mut bytes = BytesMut::from(&*slices[0]);
        let taken = bytes.len();
        outgoing.consume(now, taken);
        to.received(now, WALL, link, &mut bytes);
        assert!(bytes.is_empty(), "frames are whole here");
    }
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
    let mut bytes = BytesMut::new();
    for n in 0..count {
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
