//! The stream worker's stage: the streams of the lines of some partitions.
//!
//! Finds a line's [`Streams`], feeds it packets and time, and posts what it wants sealed back to
//! the line's partition. What an application does with a stream is a call here, on this thread.

use bytes::{Bytes, BytesMut};

use super::plan::{Plan, Role};
use super::post::{Post, Posts};
use crate::base::{
    Chance, DropReason, Drops, FramePool, Hashname, Instant, Keyed, Map, Priority, Timers,
};
use crate::switch::LineRef;
use crate::switch::streams::{
    Code as StreamCode, Open, OpenError, ReadError, ReadState, Side, StreamEvent, StreamId,
    StreamLimits, StreamStats, StreamStatus, Streams, WriteError,
};
use crate::wire::package::Code;

/// Most packets one peer's streams send in one round, so that others get their turn.
const ROUND: usize = 32;

/// A stream within this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamKey {
    /// Which peer of this worker.
    pub peer: u32,
    /// Which stream with that peer.
    pub id: StreamId,
}

#[derive(Debug)]
struct Peer {
    hashname: Hashname,
    line: Option<LineRef>,
    max_packet: usize,
    /// Made for the first stream: most lines of a node that is well known carry none.
    streams: Option<Box<Streams>>,
    dirty: bool,
    /// The partition was last told that a line is wanted.
    wanting: bool,
}

impl Peer {
    fn is_idle(&self) -> bool {
        self.streams.as_ref().is_none_or(|streams| streams.is_idle())
    }
}

/// One stream worker.
#[derive(Debug)]
pub struct StreamStage {
    us: Hashname,
    plan: Plan,
    limits: StreamLimits,
    peers: Vec<Option<Peer>>,
    free: Vec<u32>,
    by_name: Map<Hashname, u32>,
    by_line: Map<LineRef, u32>,
    dirty: Vec<u32>,
    timers: Timers,
    pool: FramePool,
    drops: Drops,
    /// Streams with new peers are numbered from here. A peer forgotten here may have kept its side
    /// of the line, and with it the numbers that were used.
    numbers: u64,
}

/// What status says of the streams with one peer.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// Who.
    pub hashname: Hashname,
    /// Numbers of the line's streams together.
    pub stats: StreamStats,
    /// Each stream.
    pub streams: Vec<StreamStatus>,
}

impl StreamStage {
    /// A worker without lines.
    #[must_use]
    pub fn new(us: Hashname, plan: Plan, limits: StreamLimits, chance: &mut Chance) -> Self {
        Self {
            us,
            plan,
            limits,
            peers: Vec::new(),
            free: Vec::new(),
            by_name: Keyed::map(chance),
            by_line: Keyed::map(chance),
            dirty: Vec::new(),
            timers: Timers::default(),
            pool: FramePool::new(1 << 20, 16),
            drops: Drops::default(),
            numbers: 0,
        }
    }

    /// Takes a post for a stream worker. Others are ignored: the plan never sends them here.
    pub fn handle(
        &mut self,
        now: Instant,
        post: Post,
        events: &mut impl FnMut(StreamKey, StreamEvent),
    ) {
        match post {
            Post::LineUp { line, peer, max_packet } => {
                let index = self.enter(peer);
                let Some(p) = self.peer(index) else { return };
                let old = p.line.replace(line);
                // It may have been wanted by streams that are gone; settling says so.
                p.wanting = true;
                p.max_packet = max_packet;
                if let Some(streams) = &mut p.streams {
                    streams.set_max_packet(max_packet);
                }
                if let Some(old) = old {
                    self.by_line.remove(&old);
                }
                self.by_line.insert(line, index);
                self.touch(index);
            }
            Post::LinePath { line, max_packet, moved } => {
                let Some(&index) = self.by_line.get(&line) else { return };
                let Some(p) = self.peer(index) else { return };
                p.max_packet = max_packet;
                if let Some(streams) = &mut p.streams {
                    streams.set_max_packet(max_packet);
                    if moved {
                        streams.path_changed(now);
                    }
                }
                self.touch(index);
            }
            Post::LineRests { peer } => {
                let Some(&index) = self.by_name.get(&peer) else { return };
                let Some(p) = self.peer(index) else { return };
                if let Some(line) = p.line.take() {
                    self.by_line.remove(&line);
                }
                self.forget_idle(index);
            }
            Post::LineDown { peer, code } => {
                let Some(&index) = self.by_name.get(&peer) else { return };
                let Some(p) = self.peer(index) else { return };
                if let Some(streams) = &mut p.streams {
                    streams.fail_all(line_code(code));
                }
                p.wanting = false;
                if let Some(line) = p.line.take() {
                    self.by_line.remove(&line);
                }
                self.drain_events(index, events);
                self.forget_idle(index);
            }
            Post::Stream { line, packet } => {
                let Some(&index) = self.by_line.get(&line) else {
                    return self.drops.count(DropReason::LineDown);
                };
                let Some(streams) = self.begin(index) else { return };
                let result = streams.handle_packet(now, packet);
                if let Err(reason) = result {
                    self.drops.count(reason);
                }
                self.touch(index);
            }
            _ => {}
        }
    }

    /// Opens a stream to a peer; [`Self::settle`] is to follow, and asks for a line if there is
    /// none.
    ///
    /// # Errors
    /// [`OpenError`], when there are too many.
    pub fn open(
        &mut self,
        peer: Hashname,
        open: Open,
        priority: Priority,
    ) -> Result<StreamKey, OpenError> {
        let index = self.enter(peer);
        let id = self.begin(index).ok_or(OpenError::TooMany)?.open(open, priority)?;
        self.touch(index);
        Ok(StreamKey { peer: index, id })
    }

    /// Gives bytes to a stream; what it took is gone from the front of `bytes`.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write(&mut self, key: StreamKey, bytes: &mut Bytes) -> Result<usize, WriteError> {
        let streams = self.streams(key.peer).ok_or(WriteError::Unknown)?;
        let taken = streams.write(key.id, bytes)?;
        self.touch(key.peer);
        Ok(taken)
    }

    /// Takes bytes that arrived.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&mut self, key: StreamKey, max: usize) -> Result<ReadState, ReadError> {
        let streams = self.streams(key.peer).ok_or(ReadError::Unknown)?;
        let state = streams.read(key.id, max)?;
        self.touch(key.peer);
        Ok(state)
    }

    /// Ends our half of a stream.
    pub fn finish(&mut self, key: StreamKey) {
        if let Some(streams) = self.streams(key.peer) {
            streams.finish(key.id).ok();
            self.touch(key.peer);
        }
    }

    /// Reads no more of a stream; the peer's writer hears of it.
    pub fn stop(&mut self, now: Instant, key: StreamKey) {
        if let Some(streams) = self.streams(key.peer) {
            streams.stop(now, key.id, StreamCode::CANCELLED).ok();
            self.touch(key.peer);
        }
    }

    /// Ends a stream at once, both halves.
    pub fn reset(&mut self, now: Instant, key: StreamKey, code: StreamCode, reason: &str) {
        if let Some(streams) = self.streams(key.peer) {
            streams.reset(now, key.id, code, reason).ok();
            self.touch(key.peer);
        }
    }

    /// Who a stream leads to.
    #[must_use]
    pub fn peer_of(&self, key: StreamKey) -> Option<Hashname> {
        self.peers.get(key.peer as usize)?.as_ref().map(|p| p.hashname)
    }

    /// Sends what may be sent and hands out what happened. True if some peer has more to send
    /// than its turn allowed: call again after others had theirs.
    pub fn settle(
        &mut self,
        now: Instant,
        out: &mut Posts,
        events: &mut impl FnMut(StreamKey, StreamEvent),
    ) -> bool {
        let mut more = Vec::new();
        while let Some(index) = self.dirty.pop() {
            if let Some(p) = self.peer(index) {
                p.dirty = false;
            }
            if self.transmit(now, index, out) {
                more.push(index);
            }
            self.drain_events(index, events);
            self.tell_need(index, out);
            let deadline = self.peer(index).filter(|p| p.line.is_some());
            let deadline = deadline.and_then(|p| p.streams.as_ref()?.deadline());
            self.timers.set(index, deadline);
            self.forget_idle(index);
        }
        let again = !more.is_empty();
        more.into_iter().for_each(|index| self.touch(index));
        again
    }

    /// Tells the partition whether a line is needed, when that has changed.
    fn tell_need(&mut self, index: u32, out: &mut Posts) {
        let Some(p) = self.peer(index) else { return };
        let needs = !p.is_idle();
        if core::mem::replace(&mut p.wanting, needs) == needs {
            return;
        }
        let peer = p.hashname;
        let post = if needs { Post::Want(peer) } else { Post::Unwant(peer) };
        out.push(Role::Partition(self.plan.partition_of(&peer.address())), post);
    }

    fn transmit(&mut self, now: Instant, index: u32, out: &mut Posts) -> bool {
        let Self { peers, pool, .. } = self;
        let Some(p) = peers.get_mut(index as usize).and_then(Option::as_mut) else { return false };
        let Some(line) = p.line else { return false };
        if p.streams.as_mut().is_some_and(|streams| streams.take_suspicion(now)) {
            out.push(Role::Partition(line.partition), Post::Narrow(line));
        }
        for _ in 0..ROUND {
            let Some(streams) = &mut p.streams else { return false };
            let max = p.max_packet;
            let write = |buffer: &mut BytesMut| streams.poll_transmit(now, buffer, max);
            let Some((frame, priority)) = pool.frame(max, write) else { return false };
            out.push(Role::Partition(line.partition), Post::Seal { line, priority, frame });
        }
        true
    }

    /// The next moment at which something happens by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Does what time demands; [`Self::settle`] is to follow.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(index) = self.timers.pop_due(now) {
            if let Some(streams) = self.streams(index) {
                streams.handle_timeout(now);
                self.touch(index);
            }
        }
    }

    /// Every peer with which there were streams, for status.
    pub fn report(&self) -> impl Iterator<Item = PeerReport> + '_ {
        let peers = self.peers.iter().flatten();
        peers.filter_map(|p| {
            let (hashname, streams) = (p.hashname, p.streams.as_ref()?);
            let each = streams.ids().filter_map(|id| streams.status(id)).collect();
            Some(PeerReport { hashname, stats: streams.stats(), streams: each })
        })
    }

    /// What was dropped here.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.drops
    }

    fn drain_events(&mut self, index: u32, events: &mut impl FnMut(StreamKey, StreamEvent)) {
        let Some(streams) = self.streams(index) else { return };
        while let Some(event) = streams.poll_event() {
            let key = StreamKey { peer: index, id: stream_of(&event) };
            events(key, event);
        }
    }

    fn peer(&mut self, index: u32) -> Option<&mut Peer> {
        self.peers.get_mut(index as usize)?.as_mut()
    }

    fn streams(&mut self, index: u32) -> Option<&mut Streams> {
        self.peer(index)?.streams.as_deref_mut()
    }

    /// The streams with a peer, made if there were none.
    fn begin(&mut self, index: u32) -> Option<&mut Streams> {
        let p = self.peers.get_mut(index as usize)?.as_mut()?;
        Some(p.streams.get_or_insert_with(|| {
            // The lower hashname numbers its streams evenly; both ends see the same order.
            let side = if self.us < p.hashname { Side::Even } else { Side::Odd };
            let mut streams = Streams::new(self.limits.clone(), side, p.max_packet);
            streams.number_from(self.numbers);
            Box::new(streams)
        }))
    }

    fn touch(&mut self, index: u32) {
        let Some(p) = self.peer(index) else { return };
        if !core::mem::replace(&mut p.dirty, true) {
            self.dirty.push(index);
        }
    }

    fn enter(&mut self, hashname: Hashname) -> u32 {
        if let Some(&index) = self.by_name.get(&hashname) {
            return index;
        }
        let max_packet = crate::switch::MAX_DATAGRAM / 2;
        let (line, streams) = (None, None);
        let peer = Peer { hashname, line, max_packet, streams, dirty: false, wanting: false };
        let index = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            u32::try_from(self.peers.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.peers.get_mut(index as usize) {
            *slot = Some(peer);
        }
        self.by_name.insert(hashname, index);
        index
    }

    /// A peer without a line and without streams is nobody.
    fn forget_idle(&mut self, index: u32) {
        let idle = |p: &Peer| p.line.is_none() && p.is_idle();
        let Some(slot) = self.peers.get_mut(index as usize) else { return };
        if let Some(gone) = slot.take_if(|p| idle(p)) {
            self.by_name.remove(&gone.hashname);
            let next = gone.streams.map_or(0, |streams| streams.next_number());
            self.numbers = self.numbers.max(next);
            self.timers.set(index, None);
            self.free.push(index);
        }
    }
}

/// The code streams end with when their line does.
const fn line_code(code: Code) -> StreamCode {
    match code {
        Code::Refused => StreamCode::REFUSED,
        _ => StreamCode::LINE_DOWN,
    }
}

/// Which stream an event is about.
const fn stream_of(event: &StreamEvent) -> StreamId {
    match event {
        StreamEvent::Opened { id, .. }
        | StreamEvent::Stopped { id, .. }
        | StreamEvent::Reset { id, .. }
        | StreamEvent::Readable(id)
        | StreamEvent::Writable(id)
        | StreamEvent::Finished(id)
        | StreamEvent::Closed(id) => *id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_streams_with_a_peer_that_was_forgotten_get_numbers_it_has_not_seen() {
        let [us, peer] = [1, 2].map(|n| Hashname::new([n; 32]));
        let (plan, limits) = (Plan::collapsed(1), StreamLimits::default());
        let mut stage = StreamStage::new(us, plan, limits, &mut Chance::from_number(1));
        let (mut posts, mut ids) = (Posts::default(), Vec::new());
        for _ in 0..3 {
            let key = stage.open(peer, Open::Generic, Priority::DEFAULT).unwrap();
            ids.push(key.id.0);
            stage.settle(Instant::ZERO, &mut posts, &mut |_, _| {});
            let down = Post::LineDown { peer, code: Code::TimedOut };
            stage.handle(Instant::ZERO, down, &mut |_, _| {});
            assert_eq!(stage.report().count(), 0, "forgotten");
        }
        assert_eq!(ids, [0, 2, 4]);
    }
}
