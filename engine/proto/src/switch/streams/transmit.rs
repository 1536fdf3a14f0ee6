//! What goes out: one packet at a time, the most pressing first.
//!
//! 1. answers for streams that are gone,
//! 2. ACKs and RESETs,
//! 3. probes, which may exceed the window by two packets,
//! 4. by priority: what was lost, then what is new; within a priority the streams take turns.
//!
//! The first packet that the window or the pacer holds back ends the round: nothing less urgent
//! slips past.

use bytes::{BufMut, BytesMut};

use super::congestion::Congestion;
use super::handle::stamp_of;
use super::kinds::Code;
use super::pacing::Pacer;
use super::queues::Lanes;
use super::recovery::Flight;
use super::rtt::Rtt;
use super::send::Cut;
use super::stream::{Flags, Opening, Stream, backed_off};
use super::{Answer, MIN_PACKET, Open, Streams};
use crate::base::{Instant, Priority};
use crate::wire::stream::{
    Ack, AckRanges, DataHeader, Echo, OpenInfo, OpenWhat, RANGES_MAX, Reset, VARINT_MAX,
};

/// What an attempt to send came to.
enum Attempt {
    /// A packet is in the buffer.
    Sent,
    /// There is nothing to send.
    Nothing,
    /// The window is full, or its time has not come.
    Held,
}

impl Streams {
    /// Appends one packet of at most `max` bytes to `out`, which should have the room, and says
    /// with which priority it travels; `None` if nothing is to be sent now, or `max` is below
    /// [`MIN_PACKET`]. Packets are never larger than the line's largest packet.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut BytesMut,
        max: usize,
    ) -> Option<Priority> {
        let room = max.min(self.max_packet);
        if room < MIN_PACKET {
            return None;
        }
        if let Some(answer) = self.answers.pop_front() {
            answer.emit(now, out);
            return Some(Priority::HIGHEST);
        }
        while let Some(slot) = self.queues.control.front().copied() {
            if self.send_control(now, slot, out, room) {
                return Some(Priority::HIGHEST);
            }
            self.queues.control.pop_front();
        }
        while let Some(slot) = self.queues.probes.pop_front() {
            if let Some(priority) = self.send_probe(now, slot, out, room) {
                return Some(priority);
            }
        }
        self.pacer.wake();
        while let Some(priority) = Lanes::highest(&self.queues.resend, &self.queues.fresh) {
            match self.send_lane(now, priority, out, room) {
                Attempt::Sent => return Some(priority),
                Attempt::Held => {
                    self.path.limited = true;
                    return None;
                }
                Attempt::Nothing => {}
            }
        }
        self.path.limited = false;
        None
    }

    /// Sends the ACK, else the RESET, that the stream in `slot` owes. False if it owes none; it
    /// then leaves the control queue.
    fn send_control(&mut self, now: Instant, slot: u32, out: &mut BytesMut, room: usize) -> bool {
        let Some(stream) = self.table.get_mut(slot) else { return false };
        if stream.queued.take(Flags::ACK) {
            let credit = stream.recv.grant(&mut self.receive_pool);
            let debt = core::mem::take(&mut stream.debt);
            let echo = debt.newest.map(|(stamp, came)| echo(now, stamp, came));
            let mut ack = Ack {
                id: stream.id.0,
                cumulative: stream.recv.acknowledged(),
                credit,
                echo,
                ranges: AckRanges::EMPTY,
            };
            let mut runs = [(0, 0); RANGES_MAX];
            let (mut left, mut count) = (room.saturating_sub(ack.len_without_ranges()), 0);
            for (run, news) in runs.iter_mut().zip(stream.recv.news()) {
                let Some(rest) = left.checked_sub(ack.range_len(news)) else { break };
                (*run, left) = (news, rest);
                count += 1;
            }
            ack.ranges = AckRanges::new(runs.get(..count).unwrap_or(&[]));
            ack.emit(out);
            self.counts.acks_sent += 1;
            return true;
        }
        if stream.queued.take(Flags::NOTICE)
            && let Some(notice) = &mut stream.notice
        {
            let wait = backed_off(&self.rtt, &self.limits, notice.tries);
            notice.tries += 1;
            notice.again_at = Some(now + wait);
            Reset {
                id: stream.id.0,
                sending: notice.whole,
                reading: true,
                answer: false,
                code: notice.code.0,
                final_offset: stream.send.final_offset(),
                reason: &notice.reason,
            }
            .emit(out);
            self.settle(now, slot);
            return true;
        }
        stream.queued.take(Flags::CONTROL);
        false
    }

    /// Sends something the peer must answer: what is lost, else an empty packet.
    fn send_probe(
        &mut self,
        now: Instant,
        slot: u32,
        out: &mut BytesMut,
        room: usize,
    ) -> Option<Priority> {
        let stream = self.table.get_mut(slot)?;
        stream.queued.take(Flags::PROBE);
        let priority = stream.priority;
        let over = (self.max_packet as u64).saturating_mul(2);
        match self.send_again(now, slot, out, room, over) {
            Attempt::Sent => return Some(priority),
            Attempt::Held => return None,
            Attempt::Nothing => {}
        }
        let credit = self.credit_of(slot);
        let stream = self.table.get_mut(slot).filter(|s| s.expects_answer())?;
        let cut = Cut { offset: stream.send.next(), len: 0, fin: false, short: false };
        stream.note_sent(now);
        let header = data_header(stream, now, cut, credit);
        header.emit(out);
        self.counts.packets_sent += 1;
        self.path.sent = now;
        self.settle(now, slot);
        Some(priority)
    }

    /// One turn of one stream of this priority.
    fn send_lane(
        &mut self,
        now: Instant,
        priority: Priority,
        out: &mut BytesMut,
        room: usize,
    ) -> Attempt {
        if let Some(slot) = self.queues.resend.front(priority) {
            let attempt = self.send_again(now, slot, out, room, 0);
            match attempt {
                Attempt::Sent => self.queues.resend.next(priority, true),
                Attempt::Held => {}
                Attempt::Nothing => {
                    self.queues.resend.next(priority, false);
                    if let Some(stream) = self.table.get_mut(slot) {
                        stream.queued.take(Flags::RESEND);
                    }
                }
            }
            return attempt;
        }
        let Some(slot) = self.queues.fresh.front(priority) else { return Attempt::Nothing };
        let attempt = self.send_fresh(now, slot, out, room);
        match attempt {
            Attempt::Sent => self.queues.fresh.next(priority, true),
            Attempt::Held => {}
            Attempt::Nothing => {
                self.queues.fresh.next(priority, false);
                if let Some(stream) = self.table.get_mut(slot) {
                    stream.queued.take(Flags::FRESH);
                }
            }
        }
        attempt
    }

    /// Sends what the stream in `slot` lost, if the window and `over` bytes beyond it allow.
    fn send_again(
        &mut self,
        now: Instant,
        slot: u32,
        out: &mut BytesMut,
        room: usize,
        over: u64,
    ) -> Attempt {
        let credit = self.credit_of(slot);
        let window = self.congestion.window().saturating_add(over);
        let packet = self.max_packet as u64;
        let Some(stream) = self.table.get_mut(slot) else { return Attempt::Nothing };
        if self.limits.misses.is_some() && stream.repeats_left == 0 {
            return Attempt::Nothing;
        }
        let Some((start, _)) = stream.send.flight.next_lost() else {
            stream.repeats_left = 0;
            return Attempt::Nothing;
        };
        let probe = Cut { offset: start, len: 0, fin: false, short: false };
        let header = data_header(stream, now, probe, credit).len();
        let Some(cut) = stream.send.again(room.saturating_sub(header)) else {
            return Attempt::Nothing;
        };
        let cost = Flight::cost(cut.offset, cut.end());
        if self.path.in_flight > 0 && self.path.in_flight + cost > window {
            return Attempt::Held;
        }
        // A probe breaks a silence, in which the pacer has nothing to spread.
        if over == 0 && !in_pace(&mut self.pacer, &*self.congestion, &self.rtt, now, packet, cost) {
            return Attempt::Held;
        }
        stream.note_sent(now);
        data_header(stream, now, cut, credit).emit(out);
        stream.send.copy(cut, out);
        stream.send.sent_again(cut, now);
        stream.repeats_left = stream.repeats_left.saturating_sub(1);
        self.counts.bytes_resent += cut.len as u64;
        self.note_departure(now, slot, cost);
        Attempt::Sent
    }

    /// Sends the next new bytes, the end or the opening of the stream in `slot`.
    fn send_fresh(&mut self, now: Instant, slot: u32, out: &mut BytesMut, room: usize) -> Attempt {
        let credit = self.credit_of(slot);
        let window = self.congestion.window();
        let packet = self.max_packet as u64;
        let Some(stream) = self.table.get_mut(slot) else { return Attempt::Nothing };
        if stream.send.flight.is_full(self.limits.packets) && stream.send.fresh(1).is_some() {
            self.index_is_full(now, slot);
            return Attempt::Nothing;
        }
        let empty = Cut { offset: stream.send.next(), len: 0, fin: false, short: false };
        let header = data_header(stream, now, empty, credit).len();
        let Some(cut) = stream.send.fresh(room.saturating_sub(header)) else {
            if stream.opening != Opening::Unsent {
                // Whoever waits for credit alone must ask for it one day.
                self.settle(now, slot);
                return Attempt::Nothing;
            }
            stream.note_sent(now);
            data_header(stream, now, empty, credit).emit(out);
            self.note_departure(now, slot, 0);
            return Attempt::Sent;
        };
        let cost = Flight::cost(cut.offset, cut.end());
        if self.path.in_flight > 0 && self.path.in_flight + cost > window
            || !in_pace(&mut self.pacer, &*self.congestion, &self.rtt, now, packet, cost)
        {
            return Attempt::Held;
        }
        stream.note_sent(now);
        data_header(stream, now, cut, credit).emit(out);
        stream.send.copy(cut, out);
        stream.send.sent_fresh(cut, now);
        self.counts.bytes_sent += cut.len as u64;
        self.note_departure(now, slot, cost);
        Attempt::Sent
    }

    /// A DATA packet that counts `cost` leaves.
    fn note_departure(&mut self, now: Instant, slot: u32, cost: u64) {
        if self.path.in_flight == 0 && cost > 0 {
            self.congestion.on_resume(now, now.since(self.path.sent.max(self.path.heard)));
        }
        self.counts.packets_sent += 1;
        self.pacer.spend(cost);
        self.path.in_flight += cost;
        self.path.sent = now;
        if self.limits.ack_beside_data
            && let Some(stream) = self.table.get_mut(slot).filter(|s| s.debt.packets > 0)
        {
            self.queues.want_control(stream, slot, Flags::ACK);
        }
        self.settle(now, slot);
    }

    /// The credit that an opening tells the peer.
    fn credit_of(&mut self, slot: u32) -> u64 {
        let Some(stream) = self.table.get_mut(slot) else { return 0 };
        match stream.opening {
            Opening::Unsent | Opening::Sent => stream.recv.grant(&mut self.receive_pool),
            Opening::Theirs | Opening::Heard => 0,
        }
    }
}

/// The header of `cut`, with the opening while the peer may not have heard of it.
fn data_header(stream: &Stream, now: Instant, cut: Cut, credit: u64) -> DataHeader<'_> {
    let open = match stream.opening {
        Opening::Unsent | Opening::Sent => {
            let what = match &stream.open {
                Open::Generic => OpenWhat::Generic,
                Open::Sock(target) => OpenWhat::Sock(target),
                Open::Req => OpenWhat::Req,
            };
            Some(OpenInfo { what, priority: stream.priority, credit })
        }
        Opening::Theirs | Opening::Heard => None,
    };
    DataHeader {
        id: stream.id.0,
        offset: cut.offset,
        stamp: stamp_of(now),
        open,
        fin: cut.fin,
        short: cut.short,
    }
}

/// Whether a packet of `cost` bytes may leave at `now`, as far as its pace goes.
fn in_pace(
    pacer: &mut Pacer,
    congestion: &dyn Congestion,
    rtt: &Rtt,
    now: Instant,
    packet: u64,
    cost: u64,
) -> bool {
    if pacer.is_stale(now) {
        let smoothed = rtt.smoothed();
        pacer.fill(now, congestion.pacing(smoothed), packet, smoothed);
    }
    pacer.allows(cost)
}

fn echo(now: Instant, stamp: u32, came: Instant) -> Echo {
    let delay = u64::try_from(now.since(came).as_micros()).unwrap_or(VARINT_MAX);
    Echo { stamp, delay_us: delay.min(VARINT_MAX) }
}

impl Answer {
    fn emit(self, now: Instant, out: &mut impl BufMut) {
        match self {
            Self::Ack { id, cumulative, stamp } => Ack {
                id,
                cumulative,
                credit: cumulative,
                echo: stamp.map(|(stamp, came)| echo(now, stamp, came)),
                ranges: AckRanges::EMPTY,
            }
            .emit(out),
            Self::Reset { id, sending, reading, code: Code(code), final_offset } => {
                let reason = "";
                Reset { id, sending, reading, answer: true, code, final_offset, reason }.emit(out);
            }
        }
    }
}
