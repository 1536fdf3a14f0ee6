//! How a stream leaves: in order, reset from here or from there, with the line.
//!
//! Whatever way it goes, everything it held is given back to the line: windows, budgets, places in
//! queues, its wake-up. Its last events are still told; its id is remembered
//! ([`super::memory`]).

use super::stream::{AckDebt, Flags, Notice};
use super::{Answer, Code, Pending, Stream, StreamEvent, Streams, next_event};
use crate::base::{DropReason, Instant};

impl Streams {
    /// The line is gone: every stream ends with `code`, and nothing is sent.
    pub fn fail_all(&mut self, code: Code) {
        for slot in self.table.slots() {
            self.fail(slot, code, "");
        }
        self.answers.clear();
    }

    /// Resets the stream in `slot` from this side: it gives up all it holds and stays only to
    /// repeat its RESET.
    pub(super) fn leave(&mut self, now: Instant, slot: u32, code: Code, reason: &str) {
        let Some(stream) = self.table.get_mut(slot) else { return };
        let (sends, flies) = (stream.send.held(), stream.send.flight.counted());
        let (holds, pieces) = (stream.recv.outstanding(), stream.recv.fragments());
        stream.send.stop(code);
        stream.recv.stop();
        self.send_pool.moved(sends, 0);
        self.receive_pool.moved(holds, 0);
        self.path.in_flight = self.path.in_flight.saturating_sub(flies);
        self.fragments = self.fragments.saturating_sub(pieces);
        if !stream.news.is_empty() {
            self.events.retain(|e| !matches!(e, Pending::Of(s) if *s == slot));
            if stream.news.has(Flags::OPENED) {
                self.events.extend(next_event(stream).map(Pending::Last));
            }
            stream.news = Flags::default();
        }
        self.queues.remove(stream, slot);
        stream.queued = Flags::default();
        stream.write_waits = false;
        stream.debt = AckDebt::default();
        stream.loss_at = None;
        stream.notice =
            Some(Notice { whole: true, code, reason: reason.into(), tries: 0, again_at: None });
        self.queues.want_control(stream, slot, Flags::NOTICE);
        self.settle(now, slot);
    }

    /// Forgets the stream in `slot`, which ended in order.
    pub(super) fn close(&mut self, slot: u32) {
        let Some(stream) = self.remove(slot) else { return };
        if stream.queued.has(Flags::ACK) || stream.debt.packets > 0 {
            let cumulative = stream.recv.acknowledged();
            let stamp = stream.debt.newest;
            self.answer(Answer::Ack { id: stream.id.0, cumulative, stamp });
        }
        self.events.push_back(Pending::Last(StreamEvent::Closed(stream.id)));
    }

    /// Forgets the stream in `slot`, which ended out of order; tells, unless it was leaving.
    pub(super) fn fail(&mut self, slot: u32, code: Code, reason: &str) {
        let Some(stream) = self.remove(slot) else { return };
        self.memory_of(stream.id.0).reset(stream.id.0 >> 1);
        if !stream.is_leaving() {
            let event = StreamEvent::Reset { id: stream.id, code, reason: reason.into() };
            self.events.push_back(Pending::Last(event));
        }
    }

    /// Takes the stream in `slot` out of everything; tells what was not yet told and still matters.
    fn remove(&mut self, slot: u32) -> Option<Box<Stream>> {
        let mut stream = self.table.remove(slot)?;
        let queued = stream.queued;
        self.queues.remove(&mut stream, slot);
        stream.queued = queued;
        self.wakes.remove(&mut stream, slot);
        self.send_pool.moved(stream.send.held(), 0);
        self.receive_pool.moved(stream.recv.outstanding(), 0);
        self.path.in_flight = self.path.in_flight.saturating_sub(stream.send.flight.counted());
        self.fragments = self.fragments.saturating_sub(stream.recv.fragments());
        if !stream.news.is_empty() {
            self.events.retain(|e| !matches!(e, Pending::Of(s) if *s == slot));
            stream.news.take(Flags::READABLE);
            stream.news.take(Flags::WRITABLE);
            while let Some(event) = next_event(&mut stream) {
                self.events.push_back(Pending::Last(event));
            }
        }
        Some(stream)
    }

    /// The peer broke a bound: ends the stream in `slot` and says so to both sides.
    pub(super) fn break_off(&mut self, now: Instant, slot: u32) -> DropReason {
        if let Some(stream) = self.table.get(slot) {
            let (id, code) = (stream.id, Code::LIMIT_BROKEN);
            let tell = !stream.is_leaving();
            self.leave(now, slot, code, "limit broken");
            if tell {
                let event = StreamEvent::Reset { id, code, reason: "limit broken".into() };
                self.events.push_back(Pending::Last(event));
            }
        }
        DropReason::LimitBroken
    }
}
