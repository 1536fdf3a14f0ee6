//! What arrives: DATA, ACK and RESET packets of the line's peer.
//!
//! The peer is authenticated and not trusted: whatever contradicts what it was told, or what it
//! said before, ends the stream it concerns and is reported as [`DropReason::LimitBroken`].
//! Nothing is stored for a packet that is refused, and never is more answered than came.

use core::time::Duration;

use bytes::Bytes;

use super::memory::Past;
use super::recovery::Losses;
use super::recv::Refusal;
use super::stream::{Flags, Opening, Stream};
use super::{AckSample, Answer, Code, Open, StreamId, Streams};
use crate::base::{DropReason, Instant};
use crate::wire::stream::{Ack, Data, Echo, OpenWhat, Reset, StreamPacket};

/// Echoes older than this measure something else than a path.
const ECHO_MOST: Duration = Duration::from_secs(60);
/// The reordering window is never shorter: threads and queues shuffle packets by this much.
const REORDER_LEAST: Duration = Duration::from_micros(500);
/// Quarters of the least round trip that the reordering window grows to.
const PATIENCE_MOST: u32 = 8;
/// Congestions without a false loss after which the reordering window shrinks again.
const CALM_AFTER: u32 = 16;

impl Streams {
    /// Takes one decrypted stream packet. The payload of DATA is kept where it is, so `inner`
    /// should be as large as its buffer, give or take. An error says that, and why, the packet
    /// did nothing beyond what was necessary to refuse it.
    pub fn handle_packet(&mut self, now: Instant, inner: Bytes) -> Result<(), DropReason> {
        match StreamPacket::decode(&inner)? {
            StreamPacket::Data(data) => {
                let start = inner.len() - data.payload.len();
                self.handle_data(now, &data, inner.slice(start..))
            }
            StreamPacket::Ack(ack) => self.handle_ack(now, &ack),
            StreamPacket::Reset(reset) => self.handle_reset(now, &reset),
        }
    }

    fn handle_data(
        &mut self,
        now: Instant,
        data: &Data<'_>,
        payload: Bytes,
    ) -> Result<(), DropReason> {
        self.counts.packets_received += 1;
        let slot = match self.table.slot(StreamId(data.header.id)) {
            Some(slot) => slot,
            None => self.admit(now, data)?,
        };
        let line_room = self.limits.line_fragments.saturating_sub(self.fragments);
        let Some(stream) = self.table.get_mut(slot) else { return Err(DropReason::UnknownStream) };
        if stream.recv.is_stopped() {
            return Ok(());
        }
        let room = line_room.min(self.limits.fragments.saturating_sub(stream.recv.fragments()));
        let sparse = payload.len().saturating_mul(4) < self.max_packet;
        let (held, pieces) = (stream.recv.outstanding(), stream.recv.fragments());
        let (h, most) = (&data.header, self.limits.window_max);
        let arrival = match stream.recv.accept(h.offset, payload, h.fin, sparse, room, most) {
            Ok(arrival) => arrival,
            Err(Refusal::TooManyPieces) => return Err(DropReason::QueueFull),
            Err(Refusal::LimitBroken) => return Err(self.break_off(now, slot)),
        };
        self.counts.bytes_received += arrival.fresh;
        if h.short {
            stream.recv.held_back();
        }
        self.receive_pool.moved(held, stream.recv.outstanding());
        self.fragments = (self.fragments + stream.recv.fragments()).saturating_sub(pieces);
        if arrival.readable {
            Self::tell(&mut self.events, stream, slot, Flags::READABLE);
        }
        let debt = &mut stream.debt;
        debt.packets += 1;
        debt.duplicates += u32::from(arrival.duplicate);
        if debt.newest.is_none_or(|(old, _)| h.stamp.wrapping_sub(old) < 1 << 31) {
            debt.newest = Some((h.stamp, now));
        }
        if h.fin
            || arrival.gap && self.limits.ack_gaps
            || debt.duplicates >= self.limits.ack_duplicates
            || debt.packets >= self.limits.ack_every
            || stream.recv.credit_is_due(&self.receive_pool)
        {
            self.queues.want_control(stream, slot, Flags::ACK);
        } else if debt.due.is_none() && !stream.queued.has(Flags::ACK) {
            debt.due = Some(now + self.limits.ack_delay);
        }
        self.settle(now, slot);
        Ok(())
    }

    /// A DATA packet of a stream that is not there: opens it, or says why not.
    fn admit(&mut self, now: Instant, data: &Data<'_>) -> Result<u32, DropReason> {
        let (id, number) = (data.header.id, data.header.id >> 1);
        let own = id & 1 == self.own;
        let (code, drop) = match (self.memory_of(id).past(number), data.header.open) {
            (Past::New, Some(info)) if !own => {
                let full = self.table.len() >= self.limits.streams
                    || self.events.len() >= self.limits.streams.saturating_mul(2);
                if !full {
                    let open = match info.what {
                        OpenWhat::Generic => Open::Generic,
                        OpenWhat::Sock(target) => Open::Sock(target.into()),
                        OpenWhat::Req => Open::Req,
                    };
                    let (id, priority) = (StreamId(id), info.priority);
                    let stream =
                        Stream::opened_there(id, open, priority, &self.limits, info.credit);
                    return self.admitted(stream).ok_or(DropReason::TableFull);
                }
                self.theirs.reset(number);
                (Code::TOO_MANY, DropReason::LimitBroken)
            }
            (Past::New, _) if own => (Code::LIMIT_BROKEN, DropReason::LimitBroken),
            (Past::Closed, _) => {
                let stamp = Some((data.header.stamp, now));
                let cumulative = data.end().unwrap_or(0);
                self.answer(Answer::Ack { id, cumulative, stamp });
                return Err(DropReason::UnknownStream);
            }
            (Past::New | Past::Reset, _) => (Code::UNKNOWN, DropReason::UnknownStream),
        };
        self.answer_reset(now, id, code);
        Err(drop)
    }

    fn admitted(&mut self, stream: Stream) -> Option<u32> {
        let number = stream.id.0 >> 1;
        self.receive_pool.moved(0, stream.recv.outstanding());
        let slot = self.table.insert(stream)?;
        self.theirs.used(number);
        self.counts.opened += 1;
        if let Some(stream) = self.table.get_mut(slot) {
            Self::tell(&mut self.events, stream, slot, Flags::OPENED);
        }
        Some(slot)
    }

    /// Answers for a stream that is not here, at a bounded rate.
    fn answer_reset(&mut self, now: Instant, id: u64, code: Code) {
        let budget = &mut self.resets;
        if now.since(budget.filled) >= Duration::from_secs(1) {
            budget.filled = now;
            budget.left = self.limits.resets_per_second;
        }
        if let Some(left) = budget.left.checked_sub(1) {
            budget.left = left;
            let (sending, reading) = (true, true);
            self.answer(Answer::Reset { id, sending, reading, code, final_offset: 0 });
        }
    }

    fn handle_ack(&mut self, now: Instant, ack: &Ack<'_>) -> Result<(), DropReason> {
        let slot = self.table.slot(StreamId(ack.id)).ok_or(DropReason::UnknownStream)?;
        let window = self.reorder_window();
        let echo = ack.echo.and_then(|e| self.read_echo(now, e));
        let Some(stream) = self.table.get_mut(slot) else { return Err(DropReason::UnknownStream) };
        if stream.is_leaving() {
            return Ok(());
        }
        let top = ack.ranges.iter().map(|r| r.1).max().unwrap_or(0).max(ack.cumulative);
        if top > stream.send.next() || stream.opening == Opening::Unsent {
            return Err(self.break_off(now, slot));
        }
        let counted = stream.send.flight.counted();
        let stamp = echo.map(|(sent, elapsed, _)| (sent, elapsed));
        let gain = stream.send.flight.acknowledge(ack.cumulative, ack.ranges.iter(), stamp);
        let progress = stream.send.set_credit(ack.credit) | gain.any;
        let first = stream.opening == Opening::Sent;
        stream.note_heard(now, progress);
        if first && stream.notice.is_some() {
            self.queues.want_control(stream, slot, Flags::NOTICE);
        }
        let losses = stream.send.flight.find_lost(now, window);
        stream.loss_at = losses.next_at;
        if losses.packets > 0 {
            self.queues.want_resend(stream, slot);
        }
        self.queues.want_fresh(stream, slot);
        self.path.in_flight =
            (self.path.in_flight + stream.send.flight.counted()).saturating_sub(counted);
        let held = stream.send.held();
        if stream.send.release() {
            Self::tell(&mut self.events, stream, slot, Flags::FINISHED);
        }
        self.send_pool.moved(held, stream.send.held());
        self.path.heard = now;
        self.path.sizes.arrived(&gain);
        if let Some((_, elapsed, delay)) = echo.filter(|_| progress || first) {
            self.rtt.sample(elapsed, delay.min(self.limits.ack_delay));
        }
        self.note_losses(now, &losses);
        self.note_gain(now, gain.counted, gain.false_losses, echo);
        if gain.any {
            self.wake_writers(slot);
        }
        self.settle(now, slot);
        Ok(())
    }

    /// When the echoed packet was sent, how long ago that is and how long the peer kept it;
    /// nothing if it is not of this path, or of a moment after everything that was sent: a peer
    /// that invents stamps must not make the path look short.
    fn read_echo(&self, now: Instant, echo: Echo) -> Option<(Instant, Duration, Duration)> {
        let elapsed = Duration::from_micros(u64::from(stamp_of(now).wrapping_sub(echo.stamp)));
        let sent = now - elapsed;
        let real = sent >= self.path.since && sent <= self.path.sent;
        (real && elapsed <= ECHO_MOST && now.since(sent) == elapsed)
            .then(|| (sent, elapsed, Duration::from_micros(echo.delay_us)))
    }

    pub(super) fn reorder_window(&self) -> Duration {
        if self.limits.misses.is_some() {
            // Whatever the peer's ranges leave out is a miss; repeating it takes its time anyway.
            return Duration::ZERO;
        }
        let quarter = self.rtt.least().unwrap_or(self.rtt.smoothed()) / 4;
        (quarter * self.path.patience).min(self.rtt.smoothed()).max(REORDER_LEAST)
    }

    /// Tells the controller of losses, once for each congestion.
    pub(super) fn note_losses(&mut self, now: Instant, losses: &Losses) {
        self.counts.packets_lost += losses.packets;
        self.path.sizes.lost(losses);
        if losses.bytes > 0 {
            self.congestion.on_lost(losses.bytes);
        }
        if losses.newest.is_some_and(|sent| sent > self.path.answered) {
            self.path.answered = now;
            self.path.suspected = 0;
            self.path.calm += 1;
            if self.path.calm >= CALM_AFTER {
                self.path.patience = 1;
            }
            self.congestion.on_loss(now);
        }
        self.path.suspected += losses.packets;
    }

    fn note_gain(
        &mut self,
        now: Instant,
        bytes: u64,
        false_losses: u64,
        echo: Option<(Instant, Duration, Duration)>,
    ) {
        if false_losses > 0 {
            self.counts.packets_lost_falsely += false_losses;
            self.path.patience = (self.path.patience + 1).min(PATIENCE_MOST);
            self.path.calm = 0;
            let suspected = self.path.suspected;
            self.path.suspected = suspected.saturating_sub(false_losses);
            if suspected > 0 && self.path.suspected == 0 {
                self.congestion.on_false_loss();
            }
        }
        if bytes > 0 {
            self.congestion.on_ack(&AckSample {
                now,
                bytes,
                sent: echo.map(|e| e.0),
                rtt: echo.map(|(_, elapsed, delay)| elapsed.saturating_sub(delay)),
                smoothed: self.rtt.smoothed(),
                limited: self.path.limited,
                in_flight: self.path.in_flight,
            });
        }
    }

    /// Room came free: tells the writer of `slot`, and one more that waits for the line's budget.
    fn wake_writers(&mut self, slot: u32) {
        self.wake_writer(slot);
        if let Some(next) = self.queues.blocked.pop_front() {
            self.queues.blocked.push_back(next);
            self.wake_writer(next);
        }
    }

    fn wake_writer(&mut self, slot: u32) {
        let window = self.congestion.window();
        let Some(stream) = self.table.get_mut(slot).filter(|s| s.write_waits) else { return };
        let held = stream.send.held();
        let most = super::send_room(&self.limits, &self.send_pool, window);
        // Not for every few bytes: a quarter of the buffer is worth a wake-up.
        if most.saturating_sub(held) >= most / 4 {
            stream.write_waits = false;
            self.queues.blocked.retain(|s| *s != slot);
            Self::tell(&mut self.events, stream, slot, Flags::WRITABLE);
        }
    }

    fn handle_reset(&mut self, now: Instant, reset: &Reset<'_>) -> Result<(), DropReason> {
        let (id, code) = (reset.id, Code(reset.code));
        let Some(slot) = self.table.slot(StreamId(id)) else {
            return self.reset_of_unknown(now, reset);
        };
        let Some(stream) = self.table.get_mut(slot) else { return Err(DropReason::UnknownStream) };
        let whole = reset.sending && reset.reading;
        if reset.answer {
            // To our own reset; or the peer says that it knows no such stream.
            let moot = stream.send.is_over() && stream.recv.is_over();
            match &stream.notice {
                Some(notice) if notice.whole => self.fail(slot, code, reset.reason),
                Some(_) if !whole || moot => {
                    stream.notice = None;
                    stream.queued.take(Flags::NOTICE);
                    self.settle(now, slot);
                }
                _ => self.fail(slot, code, reset.reason),
            }
            return Ok(());
        }
        let broken = reset.sending && stream.recv.contradicts(reset.final_offset);
        let final_offset = stream.send.final_offset();
        if reset.sending {
            self.fail(slot, code, reset.reason);
        } else {
            self.stopped(now, slot, code);
        }
        let (sending, reading) = (reset.reading, reset.sending);
        self.answer(Answer::Reset { id, sending, reading, code, final_offset });
        if broken { Err(DropReason::LimitBroken) } else { Ok(()) }
    }

    fn reset_of_unknown(&mut self, now: Instant, reset: &Reset<'_>) -> Result<(), DropReason> {
        let (id, number) = (reset.id, reset.id >> 1);
        if reset.answer {
            return Err(DropReason::UnknownStream);
        }
        let own = id & 1 == self.own;
        match self.memory_of(id).past(number) {
            Past::New if own => return Err(DropReason::LimitBroken),
            // It overtook the opening; it will be repeated.
            Past::New if !reset.sending => return Err(DropReason::UnknownStream),
            // Its opening may still come, late; it must not open anything then.
            Past::New => self.theirs.reset(number),
            Past::Reset => {}
            Past::Closed => {
                // All that was sent had arrived; the peer need not think otherwise.
                let (code, sending) = (Code(reset.code), reset.reading);
                let answer =
                    Answer::Reset { id, sending, reading: !sending, code, final_offset: 0 };
                self.answer(answer);
                return Ok(());
            }
        }
        self.answer_reset(now, id, Code(reset.code));
        Ok(())
    }

    /// The peer reads no more of the stream in `slot`.
    fn stopped(&mut self, now: Instant, slot: u32, code: Code) {
        let Some(stream) = self.table.get_mut(slot) else { return };
        if stream.send.is_over() || stream.is_leaving() {
            return;
        }
        let (held, counted) = (stream.send.held(), stream.send.flight.counted());
        stream.send.stop(code);
        stream.loss_at = None;
        self.send_pool.moved(held, 0);
        self.path.in_flight = self.path.in_flight.saturating_sub(counted);
        Self::tell(&mut self.events, stream, slot, Flags::STOPPED);
        self.settle(now, slot);
    }
}

/// The stamp of packets made at `now`.
pub(super) fn stamp_of(now: Instant) -> u32 {
    u32::try_from(now.as_micros() & u64::from(u32::MAX)).unwrap_or(0)
}
