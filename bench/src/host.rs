//! A node with many lines: its shard in this thread, and peers that open lines to it by datagrams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{BootEpoch, Chance, Instant, Limits, Space, Wall};
use trunkline_proto::crypto::{Identity, LineIds, SpaceRules};
use trunkline_proto::shard::{Input, Node, Shard};
use trunkline_proto::stage::plan::Plan;
use trunkline_proto::switch::streams::StreamLimits;
use trunkline_proto::switch::{Effect, Setting, State, Switch};

use crate::crowd::Crowd;

/// Wall time here.
pub const WALL: Wall = Wall::from_secs(1_800_000_000);
const HERE: ([u8; 4], u16) = ([192, 0, 2, 1], 42_424);

/// A node with lines.
#[derive(Debug)]
pub struct Host {
    /// The node.
    pub shard: Shard,
    /// Time.
    pub now: Instant,
    own: Arc<Identity>,
    crowd: Crowd,
    limits: Arc<Limits>,
    opened: usize,
}

/// A peer of the node.
#[derive(Debug)]
pub struct Peer {
    /// Its switch.
    pub switch: Switch,
    /// Where it is.
    pub at: SocketAddr,
}

impl Host {
    /// A node that so many may open lines to.
    ///
    /// # Panics
    /// If keys cannot be made.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let space = Space::new("memory").expect("a space");
        let crowd = Crowd::new(&space, most + 1, WALL);
        let own = crowd.identity(0);
        let bare = Limits::default();
        // Whoever comes here comes in no flood.
        let limits = Limits {
            opens_before_cookie: 1_000_000,
            lines_per_shard: bare.lines_per_shard.max(most),
            ..bare
        };
        let limits = Arc::new(limits);
        let node = Node {
            plan: Plan::collapsed(1),
            space: Arc::new(SpaceRules::open(space)),
            identity: own.clone(),
            epoch: BootEpoch(2),
            name: Default::default(),
            limits: limits.clone(),
            stream_limits: StreamLimits::default(),
            terms: Default::default(),
            messages: Default::default(),
            anonymous: false,
            gate: Arc::default(),
            line_secret: [2; 16],
        };
        let shard = Shard::new(&node, 0, Chance::from_number(4));
        Self { shard, now: Instant::from_micros(1_000_000), own, crowd, limits, opened: 0 }
    }

    /// Lines opened so far.
    #[must_use]
    pub const fn opened(&self) -> usize {
        self.opened
    }

    /// Another hashname opens a line, a millisecond after the last.
    ///
    /// # Panics
    /// If the line does not come up.
    pub fn meet(&mut self) -> Peer {
        self.now += Duration::from_millis(1);
        self.opened += 1;
        let identity = self.crowd.identity(self.opened);
        let setting = Setting {
            partition: 0,
            partitions: 1,
            space: Arc::new(SpaceRules::open(*identity.space())),
            identity,
            epoch: BootEpoch(1),
            limits: self.limits.clone(),
            capabilities: Default::default(),
            anonymous: false,
            ids: LineIds::new([1; 16]),
        };
        let number = u32::try_from(self.opened).expect("few");
        let [_, a, b, c] = number.to_be_bytes();
        let mut switch = Switch::new(setting, Chance::from_number(self.opened as u64));
        switch.found(self.now, self.own.hashname(), &[HERE.into()], true);
        switch.learned(self.now, self.own.record().clone());
        switch.want(self.now, self.own.hashname());
        let mut peer = Peer { switch, at: ([20 + a, b, c, 1], 42_424).into() };
        for _ in 0..4 {
            let sent = peer.sent();
            for bytes in sent {
                self.take(peer.at, bytes);
            }
            for (to, bytes) in self.sent() {
                assert_eq!(to, peer.at, "it speaks to whom it was spoken to");
                peer.take(self.now, &bytes);
            }
        }
        assert_eq!(peer.switch.state(&self.own.hashname()), State::Connected);
        peer
    }

    /// A datagram comes in.
    pub fn take(&mut self, from: SocketAddr, bytes: BytesMut) {
        self.shard.handle(self.now, WALL, Input::Datagram { from, port: 0, bytes });
    }

    /// What the node sends.
    pub fn sent(&mut self) -> Vec<(SocketAddr, Bytes)> {
        self.shard.flush(self.now, WALL);
        while self.shard.poll().is_some() {}
        let writer = self.shard.writer().expect("a writer");
        std::iter::from_fn(|| writer.next_datagram()).map(|(_, d)| (d.to, d.bytes)).collect()
    }

    /// Whom peers speak to.
    #[must_use]
    pub fn hashname(&self) -> trunkline_proto::base::Hashname {
        self.own.hashname()
    }
}

impl Peer {
    /// A datagram of the node comes in.
    pub fn take(&mut self, now: Instant, bytes: &[u8]) {
        self.switch.datagram(now, WALL, HERE.into(), BytesMut::from(bytes));
    }

    /// What the peer sends.
    pub fn sent(&mut self) -> Vec<BytesMut> {
        std::iter::from_fn(|| self.switch.poll())
            .filter_map(|effect| match effect {
                Effect::Datagram { bytes, .. } => Some(BytesMut::from(&bytes[..])),
                _ => None,
            })
            .collect()
    }
}
