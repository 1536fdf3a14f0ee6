//! Two ends and the network between them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{Chance, DropReason, Drops, Instant, Priority};
use trunkline_proto::switch::streams::{
    Open, ReadState, Side, StreamEvent, StreamId, StreamLimits, Streams, WriteError,
};
use trunkline_proto::wire::stream::StreamPacket;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// What the network does to packets, in both directions.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub(crate) delay: Duration,
    /// Added at random, so that packets overtake each other.
    pub(crate) jitter: Duration,
    /// Per million.
    pub(crate) loss: u32,
    pub(crate) duplicate: u32,
    /// Bytes a second, 0 for no limit.
    pub(crate) rate: u64,
    /// Bytes that wait for the rate before packets are dropped.
    pub(crate) queue: u64,
}

impl Default for Net {
    fn default() -> Self {
        Self { delay: 25 * MS, jitter: Duration::ZERO, loss: 0, duplicate: 0, rate: 0, queue: 0 }
    }
}

/// A packet on its way: when it arrives, its number, for whom.
type Flight = Reverse<(Instant, u64, usize, Bytes)>;

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) ends: [Streams; 2],
    pub(crate) net: Net,
    pub(crate) chance: Chance,
    pub(crate) drops: [Drops; 2],
    /// Packets and bytes sent by each end.
    pub(crate) sent: [(u64, u64); 2],
    /// Packets that the network dropped, loss and full queues.
    pub(crate) lost: u64,
    /// Packets to be dropped from here on, by the end that sends them.
    pub(crate) cut: [bool; 2],
    /// ACKs of one stream to be dropped from here on, by the end that sends them.
    pub(crate) hold: Option<(usize, StreamId)>,
    /// Nothing arrives before this: the path stands still and loses nothing.
    pub(crate) stands_until: Instant,
    /// Everything each end has received, by stream.
    pub(crate) got: [BTreeMap<StreamId, Got>; 2],
    /// What each end still writes, by stream: (left, finish then).
    pub(crate) todo: [BTreeMap<StreamId, Todo>; 2],
    pub(crate) events: [Vec<StreamEvent>; 2],
    /// How often each end was told that it may write again.
    pub(crate) writable: [u64; 2],
    /// An end that does not read.
    pub(crate) reads: [bool; 2],
    flights: BinaryHeap<Flight>,
    number: u64,
    busy: [Instant; 2],
}

#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) bytes: u64,
    pub(crate) ended: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Todo {
    pub(crate) at: u64,
    pub(crate) upto: u64,
    pub(crate) finish: bool,
    /// A write was refused and nothing else was said since.
    pub(crate) blocked: bool,
}

/// The byte at `offset` of what end `from` writes to `id`.
pub(crate) fn byte(from: usize, id: StreamId, offset: u64) -> u8 {
    (offset ^ offset >> 8 ^ offset >> 16).wrapping_add(id.0 * 31 + from as u64 * 101) as u8
}

pub(crate) fn pattern(from: usize, id: StreamId, start: u64, len: usize) -> Bytes {
    (start..start + len as u64).map(|o| byte(from, id, o)).collect::<Vec<u8>>().into()
}

impl Pair {
    pub(crate) fn new(seed: u64, max_packet: usize, net: Net) -> Self {
        Self::with_limits(seed, max_packet, net, StreamLimits::default())
    }

    pub(crate) fn with_limits(
        seed: u64,
        max_packet: usize,
        net: Net,
        limits: StreamLimits,
    ) -> Self {
        // Not at the beginning of time, and close to where stamps wrap.
        let now = Instant::from_micros(u64::from(u32::MAX) * 3 - 2_000_000);
        Self {
            now,
            ends: [
                Streams::new(limits.clone(), Side::Even, max_packet),
                Streams::new(limits, Side::Odd, max_packet),
            ],
            net,
            chance: Chance::from_number(seed),
            drops: Default::default(),
            sent: [(0, 0); 2],
            lost: 0,
            cut: [false; 2],
            hold: None,
            stands_until: now,
            got: Default::default(),
            todo: Default::default(),
            events: Default::default(),
            writable: [0; 2],
            reads: [true; 2],
            flights: BinaryHeap::new(),
            number: 0,
            busy: [now; 2],
        }
    }

    pub(crate) fn open(&mut self, end: usize) -> StreamId {
        self.ends[end].open(Open::Generic, Priority::DEFAULT).unwrap()
    }

    /// `end` shall write the pattern of `id` up to `bytes`.
    pub(crate) fn send(&mut self, end: usize, id: StreamId, bytes: u64, finish: bool) {
        self.todo[end].entry(id).or_insert(Todo { at: 0, upto: 0, finish, blocked: false }).upto =
            bytes;
        self.todo[end].get_mut(&id).unwrap().finish = finish;
    }

    pub(crate) fn got(&self, end: usize, id: StreamId) -> Got {
        self.got[end].get(&id).cloned().unwrap_or_default()
    }

    /// Runs until `done`, at most `limit` of virtual time. Says how long it took.
    pub(crate) fn run(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> Duration {
        let begin = self.now;
        loop {
            self.act();
            if done(self) {
                return self.now.since(begin);
            }
            assert!(self.now.since(begin) <= limit, "not done in {limit:?}: {self:?}");
            if !self.step() {
                panic!("nothing will ever happen: {self:?}");
            }
        }
    }

    /// Runs for `time`.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.act();
            match self.next() {
                Some(at) if at <= end => {
                    self.step();
                }
                _ => break,
            }
        }
        self.now = end;
        for e in &mut self.ends {
            e.handle_timeout(end);
        }
        self.act();
    }

    /// Runs two pairs for `time` whose packets share one rate and one queue each way.
    pub(crate) fn run_beside(&mut self, other: &mut Self, time: Duration) {
        let end = self.now + time;
        self.act();
        other.act();
        loop {
            let turn = [self.next(), other.next()].map(|at| at.filter(|at| *at <= end));
            let first = match turn {
                [Some(a), Some(b)] => a <= b,
                [a, b] if a.is_none() && b.is_none() => break,
                [a, _] => a.is_some(),
            };
            let (one, two) =
                if first { (&mut *self, &mut *other) } else { (&mut *other, &mut *self) };
            one.busy = two.busy;
            one.step();
            one.act();
            two.busy = one.busy;
        }
        self.now = end;
        other.now = end;
    }

    fn next(&self) -> Option<Instant> {
        let flight = self.flights.peek().map(|f| f.0.0);
        self.ends.iter().filter_map(Streams::deadline).chain(flight).min()
    }

    fn step(&mut self) -> bool {
        let Some(next) = self.next() else { return false };
        self.now = self.now.max(next);
        while self.flights.peek().is_some_and(|f| f.0.0 <= self.now) {
            let Some(Reverse((_, _, to, packet))) = self.flights.pop() else { break };
            if let Err(reason) = self.ends[to].handle_packet(self.now, packet) {
                self.drops[to].count(reason);
            }
        }
        for e in &mut self.ends {
            e.handle_timeout(self.now);
        }
        true
    }

    /// What the applications do, and everything that is to be sent.
    pub(crate) fn act(&mut self) {
        for end in 0..2 {
            while let Some(event) = self.ends[end].poll_event() {
                if let StreamEvent::Readable(id) = event
                    && self.reads[end]
                {
                    self.read(end, id);
                }
                match event {
                    StreamEvent::Readable(_) => {}
                    StreamEvent::Writable(id) => {
                        self.writable[end] += 1;
                        if let Some(todo) = self.todo[end].get_mut(&id) {
                            todo.blocked = false;
                        }
                    }
                    _ => self.events[end].push(event),
                }
            }
            self.write(end);
            self.flush(end);
        }
    }

    pub(crate) fn read(&mut self, end: usize, id: StreamId) {
        loop {
            let max = 1 + self.chance.below(40_000) as usize;
            let got = self.got[end].entry(id).or_default();
            match self.ends[end].read(id, max) {
                Ok(ReadState::Data(data)) => {
                    assert!(!data.is_empty() && data.len() <= max && !got.ended);
                    for (i, b) in data.iter().enumerate() {
                        assert_eq!(*b, byte(1 - end, id, got.bytes + i as u64), "{id:?} order");
                    }
                    got.bytes += data.len() as u64;
                }
                Ok(ReadState::End) => {
                    got.ended = true;
                    return;
                }
                Ok(ReadState::Pending) | Err(_) => return,
            }
        }
    }

    fn write(&mut self, end: usize) {
        let ids: Vec<StreamId> = self.todo[end].keys().copied().collect();
        for id in ids {
            let todo = self.todo[end].get_mut(&id).unwrap();
            while todo.at < todo.upto && !todo.blocked {
                let len = (todo.upto - todo.at).min(32_768) as usize;
                let mut data = pattern(end, id, todo.at, len);
                match self.ends[end].write(id, &mut data) {
                    Ok(n) => todo.at += n as u64,
                    Err(WriteError::Blocked) => todo.blocked = true,
                    Err(_) => break,
                }
            }
            let written = todo.at == todo.upto && todo.finish;
            if written && self.ends[end].finish(id).is_ok() {
                self.todo[end].remove(&id);
            }
        }
    }

    fn flush(&mut self, end: usize) {
        loop {
            let mut out = BytesMut::with_capacity(2_048);
            if self.ends[end].poll_transmit(self.now, &mut out, usize::MAX).is_none() {
                assert!(out.is_empty());
                return;
            }
            assert!(!out.is_empty() && out.len() <= self.ends[end].max_packet());
            self.transfer(end, out.freeze());
        }
    }

    /// `packet` leaves `end` for the other one.
    pub(crate) fn transfer(&mut self, end: usize, packet: Bytes) {
        self.sent[end].0 += 1;
        self.sent[end].1 += packet.len() as u64;
        let mut leaves = self.now;
        if self.net.rate > 0 {
            let waiting = self.busy[end].since(self.now).as_micros() as u64;
            if waiting * self.net.rate / 1_000_000 > self.net.queue {
                self.lost += 1;
                return;
            }
            let wire = packet.len() as u64 + 60;
            leaves = self.busy[end].max(self.now)
                + Duration::from_nanos(wire * 1_000_000_000 / self.net.rate);
            self.busy[end] = leaves;
        }
        let held = self.hold.is_some_and(|(from, id)| {
            let ack =
                matches!(StreamPacket::decode(&packet), Ok(StreamPacket::Ack(a)) if a.id == id.0);
            from == end && ack
        });
        if held || self.cut[end] || self.chance.per_million(self.net.loss) {
            self.lost += 1;
            return;
        }
        for _ in 0..=u32::from(self.chance.per_million(self.net.duplicate)) {
            let jitter = self.chance.below(self.net.jitter.as_micros() as u64 + 1);
            let at = leaves + self.net.delay + Duration::from_micros(jitter);
            let at = at.max(self.stands_until);
            self.number += 1;
            self.flights.push(Reverse((at, self.number, 1 - end, packet.clone())));
        }
    }

    /// Hands a packet to `end` right now.
    pub(crate) fn inject(&mut self, end: usize, packet: &[u8]) -> Result<(), DropReason> {
        self.ends[end].handle_packet(self.now, Bytes::copy_from_slice(packet))
    }

    pub(crate) fn both_idle(&self) -> bool {
        self.ends.iter().all(Streams::is_idle)
    }
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for e in &self.ends {
            writeln!(f, "{:?}", e.stats())?;
            for id in e.ids().take(4) {
                writeln!(f, "  {:?}", e.status(id))?;
            }
        }
        writeln!(f, "{:?} {:?} lost {}", self.now, self.sent, self.lost)?;
        writeln!(f, "{:?} {:?}", self.todo, self.drops.each_ref().map(Drops::total))
    }
}
