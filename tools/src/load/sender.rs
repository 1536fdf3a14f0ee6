//! Sending: one thread for each sending node, in groups, when they are due or there is room.
//!
//! In an open loop the k-th group of a sender is due at k times its interval, whatever happened
//! before. A sender that falls behind sends late, and the lateness counts as latency: nothing is
//! left out because the system was slow (no coordinated omission).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use trunkline::{Handle, Outbound, Sequence};
use trunkline_proto::base::{Chance, Namespace, Priority};

use super::mix::Mix;
use super::payload::{Press, Stamp};
use super::span::{Pair, Span};
use crate::kernel;

/// How many priorities there are, and so flows of a pair.
pub(super) const LEVELS: usize = Priority::HIGHEST.level() as usize + 1;
/// How long a window may stand still before what is in it counts as lost.
const STALL: u64 = 1_000_000_000;

/// Which kind of record the messages carry.
pub(super) const RECORD: u64 = 1;

/// Where the messages go at their receivers.
#[must_use]
pub(super) fn namespace() -> Namespace {
    // The name is a constant that is one.
    Namespace::new("load").expect("a name")
}

/// When messages are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// A group every so many nanoseconds.
    Open {
        /// From one group to the next.
        interval: f64,
    },
    /// As long as fewer than so many messages of a pair are on their way.
    Closed {
        /// So many.
        window: u32,
    },
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// When.
    pub(super) pace: Pace,
    /// Messages handed over together.
    pub(super) group: u32,
    /// How large they are.
    pub(super) size: Mix<usize>,
    /// How urgent they are.
    pub(super) priority: Mix<Priority>,
    /// Inside lines.
    pub(super) sealed: bool,
}

/// What a sender did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// Messages of the time that is measured.
    pub(super) measured: u64,
    /// All messages.
    pub(super) all: u64,
    /// How often a window stood still until it was given up.
    pub(super) stalls: u64,
    /// How often the node's queue was full.
    pub(super) refused: u64,
}

impl Sent {
    /// Adds what another sender did.
    pub(super) const fn add(&mut self, other: &Self) {
        self.measured += other.measured;
        self.all += other.all;
        self.stalls += other.stalls;
        self.refused += other.refused;
    }
}

/// One sender.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    handle: Handle,
    span: &'a Span,
    pairs: Vec<Outlet<'a>>,
    how: Manner,
    chance: Chance,
    press: Press,
    /// Messages of one group that were not taken yet, by priority.
    waiting: [VecDeque<Bytes>; LEVELS],
    done: Sent,
}

/// A pair, seen from its sender.
#[derive(Debug)]
struct Outlet<'a> {
    pair: &'a Pair,
    sequences: [u64; LEVELS],
    /// Messages given up as lost.
    lost: u64,
    /// How many were settled when it was last looked, and when that changed.
    seen: (u64, u64),
}

impl<'a> Sender<'a> {
    /// A sender to these pairs.
    #[must_use]
    pub(super) fn new(
        handle: Handle,
        span: &'a Span,
        pairs: impl Iterator<Item = &'a Pair>,
        how: Manner,
        chance: Chance,
    ) -> Self {
        let outlet = |pair| Outlet { pair, sequences: [0; LEVELS], lost: 0, seen: (0, 0) };
        Self {
            handle,
            span,
            pairs: pairs.map(outlet).collect(),
            how,
            chance,
            press: Press::default(),
            waiting: Default::default(),
            done: Sent::default(),
        }
    }

    /// Sends until the run is over.
    #[must_use]
    pub(super) fn run(mut self) -> Sent {
        // Refused or not, latencies tell.
        let _ = kernel::wake_on_time();
        match self.how.pace {
            Pace::Open { interval } => self.open_loop(interval),
            Pace::Closed { window } => self.closed_loop(window),
        }
        self.done
    }

    fn open_loop(&mut self, interval: f64) {
        let start = self.span.now();
        for k in 0u64.. {
            // Multiplied and not added up, so that no rounding gathers.
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            #[expect(clippy::cast_sign_loss, reason = "exact for hours of nanoseconds")]
            let due = start + (k as f64 * interval) as u64;
            let Some(index) = usize::try_from(k).ok().and_then(|k| k.checked_rem(self.pairs.len()))
            else {
                return;
            };
            if !self.span.wait_until(due) {
                return;
            }
            self.print(index, due, self.how.group);
            self.hand_over(index);
        }
    }

    fn closed_loop(&mut self, window: u32) {
        let group = self.how.group.min(window);
        while !self.span.is_over(self.span.now()) {
            let mut sent = false;
            for index in 0..self.pairs.len() {
                let now = self.span.now();
                let Some(outlet) = self.pairs.get_mut(index) else { return };
                if outlet.has_room(now, window, group, &mut self.done.stalls) {
                    self.print(index, now, group);
                    self.hand_over(index);
                    sent = true;
                }
            }
            if !sent {
                self.wait_for_room(window, group);
            }
        }
    }

    fn wait_for_room(&mut self, window: u32, group: u32) {
        self.pairs.iter().for_each(|o| o.pair.wake_me());
        let now = self.span.now();
        let stalls = &mut self.done.stalls;
        if !self.pairs.iter_mut().any(|o| o.has_room(now, window, group, stalls)) {
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Makes a group of messages for a pair.
    fn print(&mut self, index: usize, due: u64, group: u32) {
        let count = self.span.claim(group);
        let Some(outlet) = self.pairs.get_mut(index) else { return };
        for _ in 0..count {
            let size = self.how.size.draw(&mut self.chance).unwrap_or(0);
            let level = self.how.priority.draw(&mut self.chance).unwrap_or_default().level();
            let slot = usize::from(level);
            let next = outlet.sequences.get_mut(slot).zip(self.waiting.get_mut(slot));
            let Some((sequence, waiting)) = next else { return };
            let flow = flow(outlet.pair.number, level);
            waiting.push_back(self.press.print(Stamp { flow, sequence: *sequence, due }, size));
            *sequence += 1;
        }
        outlet.pair.sent.fetch_add(u64::from(count), Ordering::Relaxed);
        self.done.all += u64::from(count);
        self.done.measured += u64::from(count) * u64::from(self.span.measures(due));
    }

    /// Gives the node what waits for it, the most urgent first, however long that takes.
    fn hand_over(&mut self, index: usize) {
        let Some(to) = self.pairs.get(index).map(|o| o.pair.to) else { return };
        for (level, waiting) in (0..=Priority::HIGHEST.level()).zip(&mut self.waiting).rev() {
            let priority = Priority::from_low_bits(level);
            let mut what = Outbound::to(namespace(), RECORD.into());
            what.priority = priority;
            what.sequence = Some(if self.how.sealed { Sequence::MA } else { Sequence::M });
            while !waiting.is_empty() {
                self.handle.send_many(to, &what, waiting);
                if !waiting.is_empty() {
                    self.done.refused += 1;
                    if self.span.is_over(self.span.now()) {
                        self.done.measured -= (waiting.len() as u64).min(self.done.measured);
                        self.done.all -= waiting.len() as u64;
                        waiting.clear();
                        return;
                    }
                    thread::park_timeout(Duration::from_micros(50));
                }
            }
        }
    }
}

impl Outlet<'_> {
    fn has_room(&mut self, now: u64, window: u32, group: u32, stalls: &mut u64) -> bool {
        let settled = self.pair.settled();
        if settled != self.seen.0 {
            self.seen = (settled, now);
        }
        let away = self.pair.on_their_way().saturating_sub(self.lost);
        if away + u64::from(group) <= u64::from(window) {
            self.seen.1 = now;
            return true;
        }
        let stalled = now.saturating_sub(self.seen.1) > STALL;
        if stalled {
            *stalls += 1;
            self.lost += away;
            self.seen.1 = now;
        }
        stalled
    }
}

/// The flow of a pair's messages of one priority.
#[must_use]
pub(super) fn flow(number: u32, level: u8) -> u32 {
    number * LEVELS as u32 + u32::from(level)
}
