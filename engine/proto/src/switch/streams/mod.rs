//! The streams of one line: bytes in order, exactly once, while the line lives (PROTOCOL §5.5 to
//! §5.13).
//!
//! [`Streams`] is a state machine. The line above it seals what [`Streams::poll_transmit`] writes,
//! hands decrypted packets to [`Streams::handle_packet`], and says what time it is. Packets may be
//! lost, repeated and overtaken on the way, and the largest packet may change at any time.
//! Nothing here knows sockets, keys, hashnames or what the bytes mean.
//!
//! ```text
//!  write ─> send ─ cut ─> transmit ─> packets ─> handle ─┬─ DATA ─> recv ─> read
//!            ^                                           ├─ ACK ──> recovery, congestion
//!            └── lost, room ── recovery <────────────────┴─ RESET ─> gone
//! ```
//!
//! One congestion window and one round trip serve all streams of the line; each stream finds its
//! own losses, since packets of different priority overtake each other on purpose. A stream lasts
//! until both directions have ended: whoever only reads must still finish. After any
//! call that takes `now`, or changes a stream, ask: [`Streams::poll_transmit`] until it yields
//! nothing, [`Streams::poll_event`] likewise, then [`Streams::deadline`].

mod bbr;
mod congestion;
mod cubic;
mod ending;
mod handle;
mod kinds;
mod limits;
mod memory;
mod misses;
mod pacing;
mod queues;
mod ranges;
mod recovery;
mod recv;
mod rtt;
mod send;
mod sizes;
mod status;
mod stream;
mod timing;
mod transmit;

use std::collections::VecDeque;

use bytes::Bytes;

pub use bbr::Bbr;
pub use congestion::{AckSample, Congestion, CongestionKind, Fixed, initial_window, spread};
pub use cubic::Cubic;
pub use kinds::{
    Code, Open, OpenError, ReadError, ReadState, Side, StreamEvent, StreamId, StreamStats,
    StreamStatus, UnknownStream, WriteError,
};
pub use limits::{INITIAL_CREDIT, MissesTimer, StreamLimits};

use crate::base::{Instant, Priority};
use crate::wire::stream::{DATA_HEADER_MAX, TARGET_MAX, VARINT_MAX, clip};
use limits::Pool;
use memory::Memory;
use pacing::Pacer;
use queues::{Queues, Table, Wakes};
use rtt::Rtt;
use sizes::Sizes;
use stream::{Flags, Notice, Opening, Stream};

/// The smallest largest packet there is: the largest header and a little payload.
pub const MIN_PACKET: usize = DATA_HEADER_MAX + 33;

/// All streams of one line.
#[derive(Debug)]
pub struct Streams {
    limits: StreamLimits,
    /// 0 or 1: what the ids opened here are modulo 2.
    own: u64,
    max_packet: usize,
    table: Table,
    ours: Memory,
    theirs: Memory,
    queues: Queues,
    wakes: Wakes,
    events: VecDeque<Pending>,
    answers: VecDeque<Answer>,
    resets: ResetBudget,
    congestion: Box<dyn Congestion>,
    pacer: Pacer,
    rtt: Rtt,
    path: Path,
    /// Receive windows given out.
    receive_pool: Pool,
    /// Bytes held for sending.
    send_pool: Pool,
    /// Pieces behind gaps, all streams.
    fragments: usize,
    counts: StreamStats,
}

/// What is known of the path beside its round trip.
#[derive(Debug)]
struct Path {
    /// Echoes of packets sent before this belong to another path.
    since: Instant,
    /// Bytes on their way.
    in_flight: u64,
    /// The window held something back when it was last asked.
    limited: bool,
    /// The last ACK on any stream.
    heard: Instant,
    /// The last DATA packet on any stream.
    sent: Instant,
    /// When the last congestion was answered: losses of packets sent before belong to it.
    answered: Instant,
    /// The reordering window is this many quarters of the least round trip.
    patience: u32,
    /// Congestions since a packet was last taken for lost falsely.
    calm: u32,
    /// Packets taken for lost in the last congestion and not shown to have arrived.
    suspected: u64,
    /// What became of large packets.
    sizes: Sizes,
}

/// An event to be told.
#[derive(Debug)]
enum Pending {
    /// Whatever the stream's flags say.
    Of(u32),
    /// The last word on a stream that is gone.
    Last(StreamEvent),
}

/// A packet to be sent for a stream that is gone or never was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Ack { id: u64, cumulative: u64, stamp: Option<(u32, Instant)> },
    Reset { id: u64, sending: bool, reading: bool, code: Code, final_offset: u64 },
}

/// How many RESET answers may still be sent now.
#[derive(Debug)]
struct ResetBudget {
    left: u32,
    filled: Instant,
}

impl Streams {
    /// No streams yet, on a line whose largest stream packet has `max_packet` bytes (at least
    /// [`MIN_PACKET`] is assumed). `side` must differ between the two ends.
    #[must_use]
    pub fn new(limits: StreamLimits, side: Side, max_packet: usize) -> Self {
        let max_packet = max_packet.max(MIN_PACKET);
        let congestion = limits.congestion.controller(max_packet as u64, limits.in_flight);
        Self {
            own: side.first(),
            max_packet,
            table: Table::default(),
            ours: Memory::default(),
            theirs: Memory::default(),
            queues: Queues::default(),
            wakes: Wakes::default(),
            events: VecDeque::new(),
            answers: VecDeque::new(),
            resets: ResetBudget { left: limits.resets_per_second, filled: Instant::ZERO },
            congestion,
            pacer: Pacer::new(),
            rtt: Rtt::new(limits.initial_rtt),
            path: Path {
                since: Instant::ZERO,
                in_flight: 0,
                limited: false,
                heard: Instant::ZERO,
                sent: Instant::ZERO,
                answered: Instant::ZERO,
                patience: 1,
                calm: 0,
                suspected: 0,
                sizes: Sizes::new(Instant::ZERO),
            },
            receive_pool: Pool::new(limits.line_window),
            send_pool: Pool::new(limits.line_send_buffer),
            fragments: 0,
            counts: StreamStats::default(),
            limits,
        }
    }

    /// Replaces the congestion controller; for a line that has not sent anything yet.
    pub fn set_congestion(&mut self, congestion: Box<dyn Congestion>) {
        self.congestion = congestion;
    }

    /// Opens a stream. The peer hears of it with the next packet, written to or not.
    pub fn open(&mut self, open: Open, priority: Priority) -> Result<StreamId, OpenError> {
        if let Open::Sock(target) = &open
            && !(1..=TARGET_MAX).contains(&target.len())
        {
            return Err(OpenError::BadTarget);
        }
        if self.table.len() >= self.limits.streams {
            return Err(OpenError::TooMany);
        }
        let number = self.ours.next();
        let id = number.checked_mul(2).map(|n| n + self.own).filter(|n| *n <= VARINT_MAX);
        let id = StreamId(id.ok_or(OpenError::Exhausted)?);
        let mut stream = Stream::opened_here(id, open, priority, &self.limits);
        self.receive_pool.moved(0, stream.recv.outstanding());
        stream.recv.grant(&mut self.receive_pool);
        let slot = self.table.insert(stream).ok_or(OpenError::TooMany)?;
        self.ours.used(number);
        self.counts.opened += 1;
        if let Some(stream) = self.table.get_mut(slot) {
            self.queues.want_fresh(stream, slot);
        }
        Ok(id)
    }

    /// Takes the front of `data`, as much as there is room for, without copying; says how many
    /// bytes. An empty `data` is taken whole.
    pub fn write(&mut self, id: StreamId, data: &mut Bytes) -> Result<usize, WriteError> {
        let slot = self.table.slot(id).ok_or(WriteError::Unknown)?;
        let window = self.congestion.window();
        let Some(stream) = self.table.get_mut(slot).filter(|s| !s.is_leaving()) else {
            return Err(WriteError::Unknown);
        };
        let held = stream.send.held();
        let most = send_room(&self.limits, &self.send_pool, window);
        let taken = stream.send.write(data, most);
        self.send_pool.moved(held, stream.send.held());
        if matches!(taken, Ok(1..)) {
            self.queues.want_fresh(stream, slot);
        }
        if (taken == Err(WriteError::Blocked) || !data.is_empty() && taken.is_ok())
            && !stream.write_waits
        {
            stream.write_waits = true;
            self.queues.blocked.push_back(slot);
        }
        taken
    }

    /// Nothing more will be written; the peer sees the end after the last byte. Reading goes on.
    pub fn finish(&mut self, id: StreamId) -> Result<(), UnknownStream> {
        let slot = self.live(id)?;
        if let Some(stream) = self.table.get_mut(slot)
            && stream.send.finish()
        {
            self.queues.want_fresh(stream, slot);
        }
        Ok(())
    }

    /// Reads no more: drops what is held and tells the peer, whose writer hears `code`. Writing
    /// goes on.
    pub fn stop(&mut self, now: Instant, id: StreamId, code: Code) -> Result<(), UnknownStream> {
        let slot = self.live(id)?;
        let Some(stream) = self.table.get_mut(slot) else { return Err(UnknownStream) };
        if stream.recv.is_stopped() {
            return Ok(());
        }
        let complete = stream.recv.is_complete();
        let (held, pieces) = (stream.recv.outstanding(), stream.recv.fragments());
        stream.recv.stop();
        self.receive_pool.moved(held, 0);
        self.fragments = self.fragments.saturating_sub(pieces);
        if !complete {
            stream.notice =
                Some(Notice { whole: false, code, reason: "".into(), tries: 0, again_at: None });
            // The peer must know the stream before it can be told to stop.
            if matches!(stream.opening, Opening::Theirs | Opening::Heard) {
                self.queues.want_control(stream, slot, Flags::NOTICE);
            }
        }
        self.settle(now, slot);
        Ok(())
    }

    /// Ends the stream in both directions at once: what is held is dropped, the peer hears `code`
    /// and at most 128 bytes of `reason`. The id is unknown here from now on.
    pub fn reset(
        &mut self,
        now: Instant,
        id: StreamId,
        code: Code,
        reason: &str,
    ) -> Result<(), UnknownStream> {
        let slot = self.live(id)?;
        self.leave(now, slot, code, clip(reason));
        Ok(())
    }

    /// The next bytes in order, at most `max`, without copying. Reading gives the peer credit,
    /// so ask [`Self::poll_transmit`] afterwards.
    pub fn read(&mut self, id: StreamId, max: usize) -> Result<ReadState, ReadError> {
        let slot = self.table.slot(id).ok_or(ReadError::Unknown)?;
        let Some(stream) = self.table.get_mut(slot).filter(|s| !s.is_leaving()) else {
            return Err(ReadError::Unknown);
        };
        if stream.recv.is_stopped() {
            return Err(ReadError::Stopped);
        }
        let held = stream.recv.outstanding();
        let state = stream.recv.read(max);
        self.receive_pool.moved(held, stream.recv.outstanding());
        if stream.recv.credit_is_due(&self.receive_pool) {
            self.queues.want_control(stream, slot, Flags::ACK);
        }
        if state == ReadState::End && stream.is_over() {
            self.close(slot);
        }
        Ok(state)
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        loop {
            let slot = match self.events.front()? {
                Pending::Last(_) => {
                    let Some(Pending::Last(event)) = self.events.pop_front() else { return None };
                    return Some(event);
                }
                Pending::Of(slot) => *slot,
            };
            let event = self.table.get_mut(slot).and_then(next_event);
            if self.table.get(slot).is_none_or(|s| s.news.is_empty()) {
                self.events.pop_front();
            }
            if event.is_some() {
                return event;
            }
        }
    }

    /// The largest stream packet of the path changed, in bytes. What was sent is cut anew if it
    /// must be sent again. If it is smaller now, what is on its way may never arrive: streams that
    /// wait for an answer ask for one at once, within the new size.
    pub fn set_max_packet(&mut self, bytes: usize) {
        let before = core::mem::replace(&mut self.max_packet, bytes.max(MIN_PACKET));
        self.congestion.set_packet(self.max_packet as u64);
        if self.max_packet >= before || self.limits.misses.is_some() {
            return;
        }
        for slot in self.table.slots() {
            let Some(stream) = self.table.get_mut(slot).filter(|s| s.silence.is_some()) else {
                continue;
            };
            let counted = stream.send.flight.counted();
            stream.send.flight.lose_oldest();
            let after = stream.send.flight.counted();
            self.path.in_flight = (self.path.in_flight + after).saturating_sub(counted);
            self.queues.want_resend(stream, slot);
            self.queues.want_probe(stream, slot);
        }
    }

    /// Whether large packets, and only they, seem to be lost on this path. Said once.
    pub fn take_suspicion(&mut self, now: Instant) -> bool {
        self.path.sizes.take_suspicion(now)
    }

    /// The line goes another way: round trip and window start over, the data stays. What is on
    /// its way on the old path may still arrive and no longer counts as on its way.
    pub fn path_changed(&mut self, now: Instant) {
        self.rtt.reset();
        self.congestion.reset(now);
        self.pacer = Pacer::new();
        self.path.since = now;
        self.path.in_flight = 0;
        self.path.answered = now;
        self.path.patience = 1;
        self.path.suspected = 0;
        self.path.sizes = Sizes::new(now);
        for slot in self.table.slots() {
            if let Some(stream) = self.table.get_mut(slot) {
                stream.send.flight.leave_path();
                stream.loss_at = None;
                stream.silence = None;
            }
            self.settle(now, slot);
        }
    }

    /// The slot of a stream that is not being reset here.
    fn live(&mut self, id: StreamId) -> Result<u32, UnknownStream> {
        let slot = self.table.slot(id).ok_or(UnknownStream)?;
        let live = self.table.get(slot).is_some_and(|s| !s.is_leaving());
        if live { Ok(slot) } else { Err(UnknownStream) }
    }

    /// Tells that `bit` happened to the stream in `slot`.
    fn tell(events: &mut VecDeque<Pending>, stream: &mut Stream, slot: u32, bit: u8) {
        if stream.news.is_empty() {
            events.push_back(Pending::Of(slot));
        }
        stream.news.raise(bit);
    }

    const fn memory_of(&mut self, id: u64) -> &mut Memory {
        if id & 1 == self.own { &mut self.ours } else { &mut self.theirs }
    }

    /// Queues an answer if there is room for it.
    fn answer(&mut self, answer: Answer) {
        if self.answers.len() < self.limits.answers && self.answers.back() != Some(&answer) {
            self.answers.push_back(answer);
        }
    }
}

/// How many bytes a stream may hold for sending: twice what the window lets out, so that the next
/// window's worth is there when this one is acknowledged.
fn send_room(limits: &StreamLimits, pool: &Pool, window: u64) -> u64 {
    let wanted = window.saturating_mul(2).max(limits.send_buffer).min(limits.send_buffer_max);
    wanted.min(pool.most())
}

/// Takes the next untold event of `stream`.
fn next_event(stream: &mut Stream) -> Option<StreamEvent> {
    let id = stream.id;
    if stream.news.take(Flags::OPENED) {
        let (open, priority) = (stream.open.clone(), stream.priority);
        return Some(StreamEvent::Opened { id, open, priority });
    }
    if stream.news.take(Flags::STOPPED) {
        return Some(StreamEvent::Stopped { id, code: stream.send.stop_code() });
    }
    [
        (Flags::READABLE, StreamEvent::Readable(id)),
        (Flags::WRITABLE, StreamEvent::Writable(id)),
        (Flags::FINISHED, StreamEvent::Finished(id)),
    ]
    .into_iter()
    .find_map(|(bit, event)| stream.news.take(bit).then_some(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s24_a_line_and_a_stream_cost_what_the_limits_say() {
        let line = size_of::<Streams>() + size_of::<Cubic>();
        let stream = size_of::<Stream>();
        println!("line {line}, stream {stream}");
        assert!(line <= 1_792, "{line}");
        assert!(stream <= 704, "{stream}");
    }
}
