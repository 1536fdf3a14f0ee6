//! Nodes, NATs in front of them, and a network that takes its time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{BootEpoch, Chance, Hashname, Instant, Limits, Priority, Space, Wall};
use trunkline_proto::crypto::{Identity, SpaceRules};
use trunkline_proto::shard::{Input, Node, Output, Shard};
use trunkline_proto::stage::lines::LineEvent;
use trunkline_proto::stage::meeting::MeetEvent;
use trunkline_proto::stage::plan::{Plan, Role};
use trunkline_proto::stage::post::Post;
use trunkline_proto::switch::meet::Terms;
use trunkline_proto::switch::streams::{ReadState, StreamEvent, StreamLimits};
use trunkline_proto::switch::{Answer, Ask, ContactReport, Path, Question, State, Token};

pub(crate) const WALL: Wall = Wall::from_secs(1_800_000_000);
pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Identities of one space; slow to make, so once, and two at a time.
#[allow(clippy::disallowed_methods, reason = "no thread of a node")]
pub(crate) fn identity(index: usize) -> Arc<Identity> {
    static ALL: OnceLock<Vec<Arc<Identity>>> = OnceLock::new();
    let make = |seed: u64| {
        let (space, life) = (Space::new("here").unwrap(), Duration::from_secs(86_400));
        let mut chance = Chance::from_number(seed);
        Arc::new(Identity::generate(&space, 2_048, &mut chance, WALL, life).unwrap())
    };
    let all = ALL.get_or_init(|| {
        let makers: Vec<_> = (0..4)
            .map(|n| std::thread::spawn(move || [make(2 * n + 1), make(2 * n + 2)]))
            .collect();
        makers.into_iter().flat_map(|m| m.join().unwrap()).collect()
    });
    all[index].clone()
}

/// What stands in front of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Nat {
    /// Nothing.
    Open,
    /// One port for all; lets in whom the node has sent to, by address.
    Address,
    /// One port for all; lets in by address and port.
    Port,
    /// Another port for each.
    Symmetric,
}

impl Nat {
    pub(crate) const ALL: [Self; 4] = [Self::Open, Self::Address, Self::Port, Self::Symmetric];
}

/// One node and its NAT.
pub(crate) struct Place {
    pub(crate) shard: Shard,
    pub(crate) hashname: Hashname,
    pub(crate) nat: Nat,
    /// Where its NAT is.
    pub(crate) outside: SocketAddr,
    /// A second address, which all its datagrams come from.
    pub(crate) speaks_from: Option<SocketAddr>,
    /// By destination if the NAT is symmetric: the port, and whom it was sent to.
    ports: BTreeMap<u16, BTreeSet<SocketAddr>>,
    by_destination: BTreeMap<SocketAddr, u16>,
    pub(crate) answers: Vec<(Token, Answer)>,
    pub(crate) states: Vec<(Hashname, State)>,
    pub(crate) unhandled: Vec<(Hashname, Bytes)>,
    pub(crate) anonymous: Vec<(SocketAddr, Bytes)>,
    pub(crate) lookups: Vec<(Hashname, u64, Hashname)>,
    pub(crate) read: BTreeMap<u64, Vec<u8>>,
}

/// All of them.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) places: Vec<Place>,
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Bytes)>,
    /// Datagrams so far.
    pub(crate) sent: u64,
    pub(crate) delay: Duration,
    /// Pairs of outside addresses, by node, that cannot reach each other.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// How much longer datagrams take between two nodes.
    pub(crate) slow: BTreeMap<(usize, usize), Duration>,
    /// The longest datagrams that pass between two nodes; longer ones are lost without a word.
    pub(crate) fits: BTreeMap<(usize, usize), usize>,
    /// The longest datagram that arrived.
    pub(crate) longest: usize,
    /// Bytes that went to each address, and came from there.
    pub(crate) bytes: BTreeMap<SocketAddr, (usize, usize)>,
}

impl World {
    pub(crate) const fn new() -> Self {
        Self {
            now: Instant::from_micros(1),
            places: Vec::new(),
            flying: BTreeMap::new(),
            sent: 0,
            delay: Duration::from_millis(10),
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            fits: BTreeMap::new(),
            longest: 0,
            bytes: BTreeMap::new(),
        }
    }

    /// A node behind a NAT of a kind, which knows itself by its inside address.
    pub(crate) fn add(&mut self, nat: Nat, terms: Terms) -> usize {
        let index = self.places.len();
        let identity = identity(index);
        let n = index as u8 + 1;
        let inside: SocketAddr = ([10, n, 0, 2], 42_424).into();
        let outside: SocketAddr = ([203, 0, n, 1], 42_424).into();
        let inside = if nat == Nat::Open { outside } else { inside };
        let node = Node {
            plan: Plan::collapsed(1),
            identity: identity.clone(),
            space: Arc::new(SpaceRules::open(*identity.space())),
            epoch: BootEpoch(n.into()),
            name: Default::default(),
            limits: Arc::new(Limits::default()),
            stream_limits: StreamLimits::default(),
            terms: Terms { local: vec![inside], ..terms },
            messages: Default::default(),
            anonymous: true,
            gate: Arc::default(),
            line_secret: [n; 16],
        };
        self.places.push(Place {
            shard: Shard::new(&node, 0, Chance::from_number(n.into())),
            hashname: identity.hashname(),
            nat,
            outside,
            speaks_from: None,
            ports: BTreeMap::new(),
            by_destination: BTreeMap::new(),
            answers: Vec::new(),
            states: Vec::new(),
            unhandled: Vec::new(),
            anonymous: Vec::new(),
            lookups: Vec::new(),
            read: BTreeMap::new(),
        });
        index
    }

    pub(crate) fn hashname(&self, index: usize) -> Hashname {
        self.places[index].hashname
    }

    /// Node `index` was configured to know where another is, and perhaps its key.
    pub(crate) fn introduce(&mut self, index: usize, other: usize, with_key: bool) {
        let (peer, at) = (self.hashname(other), self.places[other].outside);
        self.post(index, Role::Partition(0), Post::Found(peer, vec![at]));
        if with_key {
            let record = identity(other).record().clone();
            self.post(index, Role::Partition(0), Post::Learned(record));
        }
    }

    pub(crate) fn post(&mut self, index: usize, role: Role, post: Post) {
        self.places[index].shard.handle(self.now, WALL, Input::Post(role, post));
        self.drain(index);
    }

    /// Asks for a ping, and returns at once.
    pub(crate) fn ping(&mut self, index: usize, peer: Hashname, token: u64) {
        let patience = Duration::from_secs(25);
        let question = Question::Ping { priority: Priority::DEFAULT, length: 64, patience };
        let ask = Ask { token: Token(token), peer, question };
        self.post(index, Role::Partition(0), Post::Ask(ask));
    }

    pub(crate) fn answer(&self, index: usize, token: u64) -> Option<&Answer> {
        let answers = &self.places[index].answers;
        answers.iter().find(|(t, _)| t.0 == token).map(|(_, a)| a)
    }

    /// Lets time pass, a millisecond a step.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Lets time pass until something is so; false if it never was.
    pub(crate) fn until(&mut self, most: Duration, mut so: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + most;
        while !so(self) {
            if self.now >= end {
                return false;
            }
            self.step();
        }
        true
    }

    fn step(&mut self) {
        self.now += MS;
        while let Some((&(at, _), _)) = self.flying.first_key_value() {
            if at > self.now {
                break;
            }
            if let Some((_, (from, to, bytes))) = self.flying.pop_first() {
                self.arrive(from, to, &bytes);
            }
        }
        for index in 0..self.places.len() {
            if self.places[index].shard.deadline().is_some_and(|d| d <= self.now) {
                self.places[index].shard.handle_timeout(self.now, WALL);
            }
            self.drain(index);
        }
    }

    /// A datagram gets to an outside address, and through the NAT there if it may.
    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &Bytes) {
        let sender = self.places.iter().position(|p| p.outside.ip() == from.ip());
        let Some(index) = self.places.iter().position(|p| p.outside.ip() == to.ip()) else {
            return;
        };
        let pair = sender.map(|s| (s.min(index), s.max(index)));
        if pair.is_some_and(|pair| {
            self.cut.contains(&pair) || self.fits.get(&pair).is_some_and(|most| bytes.len() > *most)
        }) {
            return;
        }
        self.longest = self.longest.max(bytes.len());
        let place = &self.places[index];
        let sent_to = place.ports.get(&to.port());
        let open = match place.nat {
            Nat::Open => to == place.outside,
            Nat::Address => sent_to.is_some_and(|s| s.iter().any(|a| a.ip() == from.ip())),
            Nat::Port | Nat::Symmetric => sent_to.is_some_and(|s| s.contains(&from)),
        };
        if open {
            let bytes = BytesMut::from(&bytes[..]);
            self.places[index].shard.handle(
                self.now,
                WALL,
                Input::Datagram { from, port: 0, bytes },
            );
            self.drain(index);
        }
    }

    /// Puts a datagram on the wire as if from anywhere.
    pub(crate) fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.sent += 1;
        let at = self.now + self.delay;
        self.flying.insert((at, self.sent), (from, to, Bytes::copy_from_slice(bytes)));
        self.bytes.entry(from).or_default().1 += bytes.len();
    }

    fn drain(&mut self, index: usize) {
        let (now, delay) = (self.now, self.delay);
        let place = &mut self.places[index];
        while let Some(output) = place.shard.poll() {
            match output {
                Output::Line(LineEvent::Answered(token, answer)) => {
                    place.answers.push((token, answer));
                }
                Output::Line(LineEvent::State(peer, state)) => place.states.push((peer, state)),
                Output::Line(LineEvent::Unhandled { peer, packet }) => {
                    place.unhandled.push((peer, packet));
                }
                Output::Line(LineEvent::Anonymous { from, packet }) => {
                    place.anonymous.push((from, packet));
                }
                Output::Meet(MeetEvent::Nearest(token, found)) => {
                    place.answers.push((token, Answer::Nearest(found)));
                }
                Output::Meet(MeetEvent::LookUp { asker, id, who }) => {
                    place.lookups.push((asker, id, who));
                }
                Output::Stream(key, StreamEvent::Opened { .. } | StreamEvent::Readable(_)) => {
                    while let Ok(ReadState::Data(bytes)) = place.shard.read_stream(key, 1 << 16) {
                        place.read.entry(key.id.0).or_default().extend_from_slice(&bytes);
                    }
                    place.shard.flush(now, WALL);
                }
                _ => {}
            }
        }
        let mut out = Vec::new();
        let place = &mut self.places[index];
        if let Some(writer) = place.shard.writer() {
            while let Some((_, d)) = writer.next_datagram() {
                out.push((d.to, d.bytes));
            }
        }
        for (to, bytes) in out {
            let from = self.places[index].send_to(to);
            self.sent += 1;
            self.bytes.entry(to).or_default().0 += bytes.len();
            let other = self.places.iter().position(|p| p.outside.ip() == to.ip());
            let pair = other.map(|other| (index.min(other), index.max(other)));
            let more = pair.and_then(|p| self.slow.get(&p)).copied().unwrap_or_default();
            self.flying.insert((now + delay + more, self.sent), (from, to, bytes));
        }
    }

    /// What node `index` knows of another.
    pub(crate) fn contact(&self, index: usize, other: usize) -> Option<ContactReport> {
        let hashname = self.hashname(other);
        let switch = self.places[index].shard.switch().unwrap();
        switch.report(self.now).find(|c| c.hashname == hashname)
    }

    pub(crate) fn path(&self, index: usize, other: usize) -> Option<Path> {
        self.contact(index, other)?.path
    }

    pub(crate) fn is_direct(&self, a: usize, b: usize) -> bool {
        let direct = |p| matches!(p, Some(Path::Direct(_)));
        direct(self.path(a, b)) && direct(self.path(b, a))
    }
}

impl Place {
    /// The NAT forgets whom the node has sent to.
    pub(crate) fn forget(&mut self) {
        self.ports.clear();
        self.by_destination.clear();
    }

    /// The address a datagram to `to` comes from, outside.
    fn send_to(&mut self, to: SocketAddr) -> SocketAddr {
        let mut port = self.outside.port();
        if self.nat == Nat::Symmetric {
            let next = 20_000 + self.by_destination.len() as u16;
            port = *self.by_destination.entry(to).or_insert(next);
        }
        self.ports.entry(port).or_default().insert(to);
        self.speaks_from.unwrap_or(SocketAddr::new(self.outside.ip(), port))
    }
}

/// A node that introduces others and carries for them.
pub(crate) fn relay() -> Terms {
    Terms { spacer: true, bridges: 64, ..Terms::default() }
}

/// A node that is introduced by that one.
pub(crate) fn guest(world: &World, of: usize) -> Terms {
    Terms { introducers: vec![world.hashname(of)], ..Terms::default() }
}
