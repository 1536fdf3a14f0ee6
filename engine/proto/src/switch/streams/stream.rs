//! One stream: its two halves, what it owes the peer, and when it wants to be woken.
//!
//! ```text
//!            write … finish              read … end
//!   Sending ────────────────> over   Receiving ────> over      both over: closed
//!
//!   any state ── reset here ──> Leaving ── answered, or long unanswered ──> gone
//!   any state ── reset there, dead, limit broken ──> gone
//! ```
//!
//! Owns everything that concerns one stream alone. What streams share (the window, the
//! budgets, the queues) belongs to [`super::Streams`], which passes in what is needed.

use core::time::Duration;

use super::kinds::{Code, Open, StreamId};
use super::limits::{INITIAL_CREDIT, StreamLimits};
use super::recv::RecvHalf;
use super::rtt::Rtt;
use super::send::SendHalf;
use crate::base::{Instant, Priority};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) open: Open,
    pub(super) priority: Priority,
    pub(super) opening: Opening,
    pub(super) send: SendHalf,
    pub(super) recv: RecvHalf,
    pub(super) debt: AckDebt,
    /// How long the peer has owed an answer; nothing if it owes none.
    pub(super) silence: Option<Silence>,
    /// A RESET that is repeated until it is answered.
    pub(super) notice: Option<Notice>,
    /// When a packet will be taken for lost.
    pub(super) loss_at: Option<Instant>,
    /// When the misses timer ticks.
    pub(super) misses_at: Option<Instant>,
    /// How many misses may still be repeated before it ticks again.
    pub(super) repeats_left: u32,
    /// The wake-up that stands in the timer table; never later than [`Self::wakes_at`].
    pub(super) registered: Option<Instant>,
    /// In which queues the stream stands.
    pub(super) queued: Flags,
    /// Which events wait to be taken.
    pub(super) news: Flags,
    /// A write was refused for want of room.
    pub(super) write_waits: bool,
}

/// How far the peer knows of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// The peer opened it.
    Theirs,
    /// Opened here and not sent yet.
    Unsent,
    /// Sent; every packet repeats what the stream is for.
    Sent,
    /// The peer has acknowledged something.
    Heard,
}

/// What must be acknowledged.
#[derive(Debug, Default)]
pub(super) struct AckDebt {
    /// Packets since the last ACK.
    pub(super) packets: u32,
    /// Those of them that brought nothing new.
    pub(super) duplicates: u32,
    /// The newest stamp among them, and when it came.
    pub(super) newest: Option<(u32, Instant)>,
    /// When the ACK goes out at the latest.
    pub(super) due: Option<Instant>,
}

/// The peer owes an answer.
#[derive(Debug)]
pub(super) struct Silence {
    /// Last ACK, or when the answer became owing.
    pub(super) heard: Instant,
    /// First packet on its way, last probe or last progress; probes count from here.
    pub(super) last: Instant,
    /// Probes without progress, which double the wait.
    pub(super) backoff: u32,
    /// Probes without any ACK.
    pub(super) unanswered: u32,
}

/// A RESET of our own making.
#[derive(Debug)]
pub(super) struct Notice {
    /// The whole stream ends; otherwise only our reading.
    pub(super) whole: bool,
    pub(super) code: Code,
    pub(super) reason: Box<str>,
    /// Times sent.
    pub(super) tries: u32,
    /// When it is sent again.
    pub(super) again_at: Option<Instant>,
}

/// A few named bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) const CONTROL: u8 = 1;
    pub(super) const RESEND: u8 = 2;
    pub(super) const FRESH: u8 = 4;
    pub(super) const PROBE: u8 = 8;
    /// An ACK is wanted (the stream then stands in the control queue).
    pub(super) const ACK: u8 = 16;
    /// A RESET is wanted (likewise).
    pub(super) const NOTICE: u8 = 32;

    pub(super) const OPENED: u8 = 1;
    pub(super) const READABLE: u8 = 2;
    pub(super) const WRITABLE: u8 = 4;
    pub(super) const FINISHED: u8 = 8;
    pub(super) const STOPPED: u8 = 16;

    /// Sets `bit`; false if it was set.
    pub(super) const fn raise(&mut self, bit: u8) -> bool {
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new
    }

    /// Clears `bit`; true if it was set.
    pub(super) const fn take(&mut self, bit: u8) -> bool {
        let was = self.0 & bit != 0;
        self.0 &= !bit;
        was
    }

    pub(super) const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Stream {
    /// A stream that this side opens, with `granted` credit told along with the opening.
    pub(super) fn opened_here(
        id: StreamId,
        open: Open,
        priority: Priority,
        limits: &StreamLimits,
    ) -> Self {
        Self::new(id, open, priority, Opening::Unsent, limits, INITIAL_CREDIT)
    }

    /// A stream that the peer opened, telling us `credit`.
    pub(super) fn opened_there(
        id: StreamId,
        open: Open,
        priority: Priority,
        limits: &StreamLimits,
        credit: u64,
    ) -> Self {
        Self::new(id, open, priority, Opening::Theirs, limits, credit)
    }

    fn new(
        id: StreamId,
        open: Open,
        priority: Priority,
        opening: Opening,
        limits: &StreamLimits,
        credit: u64,
    ) -> Self {
        Self {
            id,
            open,
            priority,
            opening,
            send: SendHalf::new(credit.max(INITIAL_CREDIT)),
            recv: RecvHalf::new(limits, INITIAL_CREDIT),
            debt: AckDebt::default(),
            silence: None,
            notice: None,
            loss_at: None,
            misses_at: None,
            repeats_left: 0,
            registered: None,
            queued: Flags::default(),
            news: Flags::default(),
            write_waits: false,
        }
    }

    /// This side is resetting the stream; nobody here uses it any more.
    pub(super) fn is_leaving(&self) -> bool {
        self.notice.as_ref().is_some_and(|n| n.whole)
    }

    /// Both directions ended in order.
    pub(super) fn is_over(&self) -> bool {
        self.notice.is_none() && self.send.is_over() && self.recv.is_over()
    }

    /// Something was sent that the peer has not answered.
    pub(super) fn expects_answer(&self) -> bool {
        !self.is_leaving()
            && (!self.send.flight.is_empty()
                || self.opening == Opening::Sent
                || self.send.waits_for_credit())
    }

    /// A DATA packet is about to go out. What follows others on their way does not put off the
    /// probe for them: a writer that trickles would never probe.
    pub(super) fn note_sent(&mut self, now: Instant) {
        if let Some(silence) = self.silence.as_mut().filter(|_| !self.send.flight.is_flying()) {
            silence.last = now;
        }
        if self.opening == Opening::Unsent {
            self.opening = Opening::Sent;
        }
    }

    /// An ACK came; `progress` if it said something new.
    pub(super) fn note_heard(&mut self, now: Instant, progress: bool) {
        let opened = self.opening == Opening::Sent;
        if opened {
            self.opening = Opening::Heard;
        }
        if let Some(silence) = &mut self.silence {
            silence.heard = now;
            silence.unanswered = 0;
            if progress || opened {
                silence.backoff = 0;
                silence.last = now;
            }
        }
    }

    /// Silence begins when the peer comes to owe an answer and ends when it owes none.
    pub(super) fn note_owing(&mut self, now: Instant) {
        if !self.expects_answer() {
            self.silence = None;
        } else if self.silence.is_none() {
            self.silence = Some(Silence { heard: now, last: now, backoff: 0, unanswered: 0 });
        }
    }

    /// When to probe, or to repeat misses, if the peer owes an answer. What is known to be lost waits for the
    /// window, not for the peer.
    pub(super) fn probe_at(&self, rtt: &Rtt, limits: &StreamLimits) -> Option<Instant> {
        if limits.misses.is_some() {
            return self.misses_at;
        }
        let silence = self.silence.as_ref()?;
        if !self.send.flight.is_empty() && !self.send.flight.is_flying() {
            return None;
        }
        Some(silence.last + backed_off(rtt, limits, silence.backoff))
    }

    /// When this stream wants to be looked at.
    pub(super) fn wakes_at(&self, rtt: &Rtt, limits: &StreamLimits) -> Option<Instant> {
        [
            self.debt.due,
            self.loss_at,
            self.probe_at(rtt, limits),
            self.notice.as_ref().and_then(|n| n.again_at),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// The wait before the next probe or repetition after `failures` of them.
pub(super) fn backed_off(rtt: &Rtt, limits: &StreamLimits, failures: u32) -> Duration {
    let base = rtt.probe_after(limits.ack_delay);
    base.saturating_mul(1 << failures.min(16)).min(limits.probe_max.max(base))
}
