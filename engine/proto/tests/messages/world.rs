//! Nodes in a row, linked to their neighbours, and a hand on every package between them.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{
    BootEpoch, Chance, Hashname, Instant, Limits, LinkId, Namespace, Space, Wall,
};
use trunkline_proto::crypto::{Identity, SpaceRules};
use trunkline_proto::gate::Rules;
use trunkline_proto::mesh::{Side, Transport};
use trunkline_proto::message::{
    Incoming, Outbound, Purpose, Returned, Sending, Settings, Subscription, SubscriptionId,
};
use trunkline_proto::shard::{Input, Node, Output, Shard};
use trunkline_proto::stage::lines::LineEvent;
use trunkline_proto::stage::plan::{Plan, Role};
use trunkline_proto::stage::post::Post;
use trunkline_proto::switch::streams::StreamLimits;
use trunkline_proto::wire::link::{Cost, HEADER_LEN, LinkHeader, LinkKind};

pub(crate) const WALL: Wall = Wall::from_secs(1_800_000_000);
pub(crate) const MS: Duration = Duration::from_millis(1);
/// The subscription of every node here.
pub(crate) const ALL: SubscriptionId = SubscriptionId(1);

pub(crate) fn identity(index: usize) -> Arc<Identity> {
    static MADE: OnceLock<Vec<Arc<Identity>>> = OnceLock::new();
    let make = |seed: u64| {
        let (space, life) = (Space::new("here").unwrap(), Duration::from_secs(86_400));
        let mut chance = Chance::from_number(seed);
        Arc::new(Identity::generate(&space, 2_048, &mut chance, WALL, life).unwrap())
    };
    MADE.get_or_init(|| (1..4).map(make).collect())[index].clone()
}

/// A node and what its application was told.
pub(crate) struct Place {
    pub(crate) shard: Shard,
    pub(crate) name: Hashname,
    pub(crate) taken: Vec<Incoming>,
    pub(crate) replies: Vec<(u64, Incoming)>,
    pub(crate) back: Vec<Returned>,
}

/// What happens to a package that a node puts on a link: it may be changed, or taken away.
type Tap<'a> = dyn FnMut(usize, &mut BytesMut) -> bool + 'a;

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) places: Vec<Place>,
    /// Bytes of frames that have not come whole, by link and direction.
    partial: BTreeMap<(usize, usize), BytesMut>,
}

pub(crate) fn ns(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

pub(crate) fn notice(letters: &str) -> Outbound {
    let mut what = Outbound::to(ns("shop"), 7.into());
    what.sequence = Some(letters.parse().unwrap());
    what
}

/// The link between a node and the next one.
fn link(first: usize) -> LinkId {
    LinkId(u32::try_from(first).unwrap() + 10)
}

impl World {
    /// Three nodes in a row that reach each other; the last one has these settings. Each takes
    /// messages to `shop`.
    pub(crate) fn row(limits: &Limits, last: &Settings) -> Self {
        Self::guarded(limits, last, Rules::default())
    }

    /// The same with rules at the last one.
    pub(crate) fn guarded(limits: &Limits, last: &Settings, rules: Rules) -> Self {
        let rules = Arc::new(rules);
        let place = |index: usize| {
            let (identity, n) = (identity(index), u8::try_from(index).unwrap() + 1);
            let node = Node {
                plan: Plan::collapsed(1),
                identity: identity.clone(),
                space: Arc::new(SpaceRules::open(*identity.space())),
                epoch: BootEpoch(n.into()),
                name: Default::default(),
                limits: Arc::new(limits.clone()),
                stream_limits: StreamLimits::default(),
                terms: Default::default(),
                messages: if index == 2 { last.clone() } else { Settings::default() },
                anonymous: false,
                gate: if index == 2 { rules.clone() } else { Arc::default() },
                line_secret: [n; 16],
            };
            let shard = Shard::new(&node, 0, Chance::from_number(n.into()));
            let (taken, replies, back) = Default::default();
            Place { shard, name: identity.hashname(), taken, replies, back }
        };
        let now = Instant::from_micros(1);
        let mut world = Self { now, places: (0..3).map(place).collect(), partial: BTreeMap::new() };
        for index in 0..3 {
            let all = Subscription { id: ALL, namespace: ns("shop"), target: None };
            world.post(index, Post::Subscribe(all));
        }
        for first in 0..2 {
            let expect = Some(world.places[first + 1].name);
            let ends =
                [(first, Side::Dialed { expect }, None), (first + 1, Side::Accepted, Some(22))];
            for (index, side, port) in ends {
                let (transport, cost, link) = (Transport::Plain, Cost::ONE, link(first));
                let opened = Input::LinkOpened { link, side, transport, cost, port };
                world.places[index].shard.handle(now, WALL, opened);
            }
        }
        world.pass(2_000, &mut |_, _| true);
        world
    }

    pub(crate) fn post(&mut self, index: usize, post: Post) {
        let input = Input::Post(Role::Partition(0), post);
        self.places[index].shard.handle(self.now, WALL, input);
        self.listen(index);
    }

    /// A node sends a record to another one.
    pub(crate) fn send(&mut self, from: usize, to: usize, id: u64, what: Outbound, record: &[u8]) {
        self.send_for(from, to, id, what, Purpose::Notice, record);
    }

    pub(crate) fn send_for(
        &mut self,
        from: usize,
        to: usize,
        id: u64,
        outbound: Outbound,
        purpose: Purpose,
        record: &[u8],
    ) {
        let name = self.places[to].name;
        let records = vec![Bytes::copy_from_slice(record)];
        let (to, hashname) = (name.address(), Some(name));
        let sending = Sending { id, to, hashname, outbound, purpose, records };
        self.post(from, Post::Send(Box::new(sending)));
    }

    /// Puts a package on the link from the middle node to another one.
    pub(crate) fn inject(&mut self, to: usize, frame: &[u8]) {
        let mut bytes = BytesMut::from(frame);
        let number = link(to.min(1));
        self.places[to].shard.received(self.now, WALL, number, &mut bytes);
        assert!(bytes.is_empty(), "a whole frame");
        self.listen(to);
    }

    /// Lets so many milliseconds pass.
    pub(crate) fn pass(&mut self, ms: u32, tap: &mut Tap<'_>) {
        for _ in 0..ms.div_ceil(5) {
            self.now += 5 * MS;
            for index in 0..self.places.len() {
                let shard = &mut self.places[index].shard;
                if shard.deadline().is_some_and(|d| d <= self.now) {
                    shard.handle_timeout(self.now, WALL);
                }
                self.listen(index);
            }
            while self.carry(tap) {}
        }
    }

    /// Carries what waits for links. True if there was anything.
    fn carry(&mut self, tap: &mut Tap<'_>) -> bool {
        let mut any = false;
        for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
            let number = link(from.min(to));
            let mut bytes = self.partial.remove(&(from, to)).unwrap_or_default();
            let before = bytes.len();
            take(self.now, &mut self.places[from].shard, number, &mut bytes);
            any |= bytes.len() > before;
            let mut onward = BytesMut::new();
            while let Ok(Some(header)) = LinkHeader::peek(&bytes)
                && bytes.len() >= header.frame_len()
            {
                let mut frame = bytes.split_to(header.frame_len());
                if header.kind != LinkKind::Package || tap(from, &mut frame) {
                    onward.extend_from_slice(&frame);
                }
            }
            assert!(bytes.is_empty() || bytes.len() >= HEADER_LEN.min(1));
            self.partial.insert((from, to), bytes);
            self.places[to].shard.received(self.now, WALL, number, &mut onward);
            self.listen(to);
        }
        any
    }

    fn listen(&mut self, index: usize) {
        let place = &mut self.places[index];
        while let Some(output) = place.shard.poll() {
            match output {
                Output::Line(LineEvent::Delivered(_, message)) => place.taken.push(message),
                Output::Line(LineEvent::Replied(id, message)) => place.replies.push((id, message)),
                Output::Line(LineEvent::CameBack(back)) => place.back.push(back),
                _ => {}
            }
        }
    }
}

fn take(now: Instant, shard: &mut Shard, link: LinkId, bytes: &mut BytesMut) {
    let Some(writer) = shard.writer() else { return };
    while writer.take_ready().is_some() {}
    let Some(outgoing) = writer.outgoing(link) else { return };
    while !outgoing.is_empty() {
        let mut slices = [IoSlice::new(&[]); 1];
        outgoing.gather(usize::MAX >> 1, &mut slices);
        bytes.extend_from_slice(&slices[0]);
        let taken = slices[0].len();
        outgoing.consume(now, taken);
    }
}
