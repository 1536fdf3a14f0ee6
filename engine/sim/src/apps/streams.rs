//! Streams as applications use them: opened by one, taken by another, written and read by both.

use bytes::Bytes;
use trunkline_proto::base::{Hashname, Instant, Wall};
use trunkline_proto::shard::Shard;
use trunkline_proto::stage::streams::StreamKey;
use trunkline_proto::switch::streams::{Code, Open, ReadState, StreamEvent, WriteError};

use super::pattern::{self, HEADER};
use super::{Apps, Place};
use crate::draw::ms;
use crate::scenario::StreamSpec;
use crate::trace::Trace;

/// What an application says when it has had enough.
const ENOUGH: Code = Code(300);
/// Bytes written or read at a time.
const PIECE: usize = 16 << 10;
/// Bytes a slow reader takes before it naps.
const SIP: u64 = 4 << 10;

/// How an end of a stream came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HalfEnd {
    /// In order, both ways.
    Closed,
    /// Out of order.
    Reset(Code),
    /// The application gave up.
    GaveUp,
    /// The process died.
    Died,
}

/// One end of a stream.
#[derive(Debug)]
pub(crate) struct Half {
    pub(crate) place: Place,
    key: StreamKey,
    peer: Hashname,
    /// Which stream; the one that took it knows once it has read the beginning.
    pub(crate) number: Option<usize>,
    pub(crate) opener: bool,
    header: Vec<u8>,
    /// Bytes read and written, the beginning included.
    pub(crate) read: u64,
    pub(crate) written: u64,
    finished: bool,
    pub(crate) saw_end: bool,
    /// Everything written was acknowledged, the end included.
    pub(crate) acked: bool,
    pub(crate) end: Option<HalfEnd>,
    nap_after: u64,
}

/// A stream of the scenario.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) spec: StreamSpec,
    /// When it was opened, if it was.
    pub(crate) opened: Option<Instant>,
    /// The opener's end and the other.
    pub(crate) halves: [Option<usize>; 2],
    /// How often each node had died when it was opened.
    pub(crate) deaths: (u32, u32),
}

impl Streamed {
    pub(crate) const fn new(spec: &StreamSpec) -> Self {
        Self { spec: *spec, opened: None, halves: [None; 2], deaths: (0, 0) }
    }
}

impl Apps {
    pub(super) fn open(
        &mut self,
        place: Place,
        shard: &mut Shard,
        (world, now, wall): (Instant, Instant, Wall),
        number: usize,
        trace: &mut Trace,
    ) {
        let spec = self.streams[number].spec;
        let peer = self.hashname(spec.to);
        let opened = shard.open_stream(now, wall, peer, Open::Generic, spec.priority);
        trace.say(world, place.node, format!("opens stream {number} to n{}: {opened:?}", spec.to));
        let Ok(key) = opened else { return };
        let half = self.enter(place, key, peer, Some(number));
        let stream = &mut self.streams[number];
        stream.opened = Some(world);
        stream.halves[0] = Some(half);
        stream.deaths = (self.deaths[spec.from], self.deaths[spec.to]);
        self.ready.entry(place).or_default().insert(key);
    }

    fn enter(
        &mut self,
        place: Place,
        key: StreamKey,
        peer: Hashname,
        number: Option<usize>,
    ) -> usize {
        self.halves.push(Half {
            place,
            key,
            peer,
            number,
            opener: number.is_some(),
            header: Vec::new(),
            read: 0,
            written: 0,
            finished: false,
            saw_end: false,
            acked: false,
            end: None,
            nap_after: SIP,
        });
        self.open.insert((place, key), self.halves.len() - 1);
        self.halves.len() - 1
    }

    /// A node tells of a stream.
    pub(crate) fn stream(
        &mut self,
        place: Place,
        shard: &Shard,
        world: Instant,
        key: StreamKey,
        event: StreamEvent,
        trace: &mut Trace,
    ) {
        if let StreamEvent::Opened { open, .. } = &event {
            if *open != Open::Generic {
                self.blame("streams", world, place.node, format!("opened as {open:?}"));
            }
            let Some(peer) = shard.stream_peer(key) else { return };
            self.enter(place, key, peer, None);
        }
        let Some(&at) = self.open.get(&(place, key)) else { return };
        let half = &mut self.halves[at];
        match event {
            StreamEvent::Finished(_) => half.acked = true,
            StreamEvent::Closed(_) => self.close(place, key, HalfEnd::Closed),
            StreamEvent::Reset { code, reason, .. } => {
                let number = half.number;
                trace.say(world, place.node, format!("stream {number:?} reset: {code:?} {reason}"));
                self.close(place, key, HalfEnd::Reset(code));
            }
            StreamEvent::Stopped { code, .. } => {
                self.blame("streams", world, place.node, format!("stopped with {code:?}"));
            }
            _ => {
                self.ready.entry(place).or_default().insert(key);
            }
        }
    }

    fn close(&mut self, place: Place, key: StreamKey, end: HalfEnd) {
        if let Some(at) = self.open.remove(&(place, key)) {
            self.halves[at].end = Some(end);
        }
        if let Some(ready) = self.ready.get_mut(&place) {
            ready.remove(&key);
        }
        if let Some(naps) = self.naps.get_mut(&place) {
            naps.retain(|(_, k)| *k != key);
        }
    }

    /// Lets the applications of a seat read and write. True if they did anything.
    pub(crate) fn pump(
        &mut self,
        place: Place,
        shard: &mut Shard,
        (world, now): (Instant, Instant),
        trace: &mut Trace,
    ) -> bool {
        if let Some(naps) = self.naps.get_mut(&place) {
            while let Some((_, key)) = naps.first().copied().filter(|(at, _)| *at <= world) {
                naps.pop_first();
                self.ready.entry(place).or_default().insert(key);
            }
        }
        let ready = self.ready.remove(&place).unwrap_or_default();
        let some = !ready.is_empty();
        for key in ready {
            self.write(place, shard, key);
            self.read(place, shard, world, key);
            // Reading the beginning is what tells the other end what to write.
            self.write(place, shard, key);
            self.give_up(place, shard, (world, now), key, trace);
        }
        some
    }

    fn write(&mut self, place: Place, shard: &mut Shard, key: StreamKey) {
        let Some(&at) = self.open.get(&(place, key)) else { return };
        let half = &mut self.halves[at];
        let Some(number) = half.number else { return };
        let spec = self.streams[number].spec;
        let length = if half.opener { spec.there } else { spec.back };
        let id = pattern_of(number, half.opener);
        while half.written < HEADER + length {
            let mut piece = if half.written < HEADER {
                let from = usize::try_from(half.written).unwrap_or(0);
                pattern::header(number as u64, length).slice(from..)
            } else {
                let left = usize::try_from(HEADER + length - half.written).unwrap_or(PIECE);
                pattern::bytes(id, half.written - HEADER, left.min(PIECE))
            };
            match shard.write_stream(key, &mut piece) {
                Ok(taken) => half.written += taken as u64,
                Err(WriteError::Blocked) => return,
                Err(_) => return,
            }
            if !piece.is_empty() {
                return;
            }
        }
        if !half.finished {
            half.finished = true;
            shard.finish_stream(key);
        }
    }

    fn read(&mut self, place: Place, shard: &mut Shard, world: Instant, key: StreamKey) {
        while let Some(&at) = self.open.get(&(place, key)) {
            let half = &mut self.halves[at];
            let slow = half.number.is_some_and(|n| self.streams[n].spec.slow);
            if slow && half.read >= half.nap_after {
                half.nap_after = half.read + SIP;
                self.naps.entry(place).or_default().insert((world + ms(20), key));
                return;
            }
            match shard.read_stream(key, if slow { 4 << 10 } else { PIECE }) {
                Ok(ReadState::Data(bytes)) => {
                    if let Some(text) = self.check(at, &bytes) {
                        self.blame("streams", world, place.node, text);
                    }
                }
                Ok(ReadState::End) => {
                    if let Some(text) = self.check_end(at) {
                        self.blame("streams", world, place.node, text);
                    }
                    return;
                }
                Ok(ReadState::Pending) | Err(_) => return,
            }
        }
    }

    /// What is wrong with bytes that arrived.
    fn check(&mut self, at: usize, bytes: &Bytes) -> Option<String> {
        let half = &mut self.halves[at];
        let mut rest = &bytes[..];
        if half.header.len() < 16 {
            let taken = rest.len().min(16 - half.header.len());
            half.header.extend_from_slice(&rest[..taken]);
            half.read += taken as u64;
            rest = &rest[taken..];
            if half.header.len() < 16 {
                return None;
            }
            if let Some(text) = self.recognise(at) {
                return Some(text);
            }
        }
        let half = &mut self.halves[at];
        let number = half.number?;
        let length = u64::from_be_bytes(*half.header.last_chunk()?);
        let start = half.read - HEADER;
        half.read += rest.len() as u64;
        if half.read > HEADER + length {
            return Some(format!("stream {number} brings more than its {length} bytes"));
        }
        let wrong = pattern::first_wrong(pattern_of(number, !half.opener), start, rest)?;
        Some(format!("byte {wrong} of stream {number} is wrong"))
    }

    /// The beginning is there: which stream is it?
    fn recognise(&mut self, at: usize) -> Option<String> {
        let half = &self.halves[at];
        let number = half.header.first_chunk().map_or(u64::MAX, |c| u64::from_be_bytes(*c));
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let (opener, peer, node) = (half.opener, half.peer, half.place.node);
        let Some(spec) = self.streams.get(number).map(|s| s.spec) else {
            return Some(format!("a stream says it is number {number}"));
        };
        if opener {
            let right = half.number == Some(number);
            return (!right).then(|| format!("stream {:?} answers as {number}", half.number));
        }
        if spec.to != node || self.hashname(spec.from) != peer {
            return Some(format!("stream {number} came to n{node} from {peer:?}"));
        }
        if self.streams[number].halves[1].replace(at).is_some() {
            return Some(format!("stream {number} came twice"));
        }
        self.halves[at].number = Some(number);
        None
    }

    fn check_end(&mut self, at: usize) -> Option<String> {
        let half = &mut self.halves[at];
        half.saw_end = true;
        let (key, place, read) = ((half.place, half.key), half.place, half.read);
        let length = half.header.last_chunk().map_or(u64::MAX, |c| u64::from_be_bytes(*c));
        if let Some(ready) = self.ready.get_mut(&place) {
            ready.remove(&key.1);
        }
        let whole = self.halves[at].header.len() == 16 && read == HEADER + length;
        (!whole).then(|| format!("stream {:?} ended after {read} bytes", self.halves[at].number))
    }

    fn give_up(
        &mut self,
        place: Place,
        shard: &mut Shard,
        (world, now): (Instant, Instant),
        key: StreamKey,
        trace: &mut Trace,
    ) {
        let Some(&at) = self.open.get(&(place, key)) else { return };
        let half = &self.halves[at];
        let Some(number) = half.number.filter(|_| half.opener) else { return };
        let limit = self.streams[number].spec.reset_after;
        if limit.is_some_and(|limit| half.read + half.written >= limit) {
            shard.reset_stream(now, key, ENOUGH, "enough");
            trace.say(world, place.node, format!("gives up stream {number}"));
            self.close(place, key, HalfEnd::GaveUp);
        }
    }
}

/// The pattern of a direction of a stream.
const fn pattern_of(number: usize, from_opener: bool) -> u64 {
    (number as u64) * 2 + from_opener as u64
}
