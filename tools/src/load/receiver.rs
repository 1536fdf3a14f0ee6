//! Receiving: one thread for each receiving node, judging what arrives by its stamp.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use trunkline::{Message, Subscription};

use super::payload::{Arrival, Sequence, Stamp};
use super::sender::LEVELS;
use super::span::{Pair, Span};

/// The longest latency told apart from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;
/// How often a receiver without messages looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// What receivers got.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Messages of the time that is measured, once each.
    pub(super) measured: u64,
    /// Of these, such that came after a newer one of their flow.
    pub(super) reordered: u64,
    /// Messages that came again.
    pub(super) duplicated: u64,
    /// Messages that are none of this run's.
    pub(super) strange: u64,
    /// By priority, once something of it came.
    pub(super) levels: [Option<Level>; LEVELS],
}

/// What came of one priority.
#[derive(Clone, Debug)]
pub(super) struct Level {
    /// Messages that came while it was measured, whenever they were due.
    pub(super) in_time: u64,
    /// From when they were due, in nanoseconds.
    pub(super) latency: Histogram<u64>,
}

/// A histogram of latencies.
pub(super) fn histogram() -> Histogram<u64> {
    // The bounds are constants that the histogram takes; it grows where they are wrong.
    let mut latency = Histogram::new_with_max(LONGEST, 3).unwrap_or_else(|_| no_histogram());
    latency.auto(true);
    latency
}

fn no_histogram() -> Histogram<u64> {
    // Three digits are within what the histogram allows, so this is its only way.
    Histogram::new(3).expect("three digits are allowed")
}

impl Received {
    /// Adds what another receiver got.
    pub(super) fn add(&mut self, other: &Self) {
        self.measured += other.measured;
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
        self.strange += other.strange;
        for (level, other) in self.levels.iter_mut().zip(&other.levels) {
            match (level, other) {
                (_, None) => {}
                (Some(level), Some(other)) => {
                    level.in_time += other.in_time;
                    // Both have the same bounds, or grow.
                    let _ = level.latency.add(&other.latency);
                }
                (level @ None, Some(other)) => *level = Some(other.clone()),
            }
        }
    }

    /// Notes that something of a priority came while it was measured.
    pub(super) fn came_in_time(&mut self, level: usize) {
        if let Some(level) = self.level(level) {
            level.in_time += 1;
        }
    }

    /// Notes how long something of a priority took from when it was due.
    pub(super) fn took(&mut self, level: usize, nanos: u64) {
        if let Some(level) = self.level(level) {
            level.latency.saturating_record(nanos.clamp(1, LONGEST));
        }
    }

    fn level(&mut self, level: usize) -> Option<&mut Level> {
        let level = self.levels.get_mut(level)?;
        Some(level.get_or_insert_with(|| Level { in_time: 0, latency: histogram() }))
    }

    /// The latencies of all priorities.
    pub(super) fn latency(&self) -> Histogram<u64> {
        let mut all = histogram();
        for level in self.levels.iter().flatten() {
            // All have the same bounds, or grow.
            let _ = all.add(&level.latency);
        }
        all
    }
}

/// One receiver.
#[derive(Debug)]
pub(super) struct Receiver<'a> {
    inbox: Subscription,
    span: &'a Span,
    /// By their numbers here.
    pairs: Vec<&'a Pair>,
    flows: Vec<Sequence>,
    got: Received,
}

impl<'a> Receiver<'a> {
    /// A receiver of these pairs, in the order of their numbers.
    #[must_use]
    pub(super) fn new(inbox: Subscription, span: &'a Span, pairs: Vec<&'a Pair>) -> Self {
        let mut flows = Vec::new();
        flows.resize_with(pairs.len() * LEVELS, Sequence::default);
        Self { inbox, span, pairs, flows, got: Received::default() }
    }

    /// Receives until told to end.
    #[must_use]
    pub(super) fn run(mut self, end: &AtomicBool) -> Received {
        let mut messages = Vec::new();
        while !end.load(Ordering::Relaxed) {
            if self.inbox.take(&mut messages, LOOK) > 0 {
                self.judge(&mut messages);
            }
        }
        self.got
    }

    fn judge(&mut self, messages: &mut Vec<Message>) {
        let now = self.span.now();
        // Neighbours are usually of one pair: they are noted together.
        let (mut number, mut came, mut settled) = (0, 0, 0);
        for message in messages.drain(..) {
            let Some((of, arrival)) = self.note(now, &message) else {
                self.got.strange += 1;
                continue;
            };
            if of != number {
                self.arrived(number, came, settled);
                (number, came, settled) = (of, 0, 0);
            }
            match arrival {
                Arrival::InOrder { skipped } => (came, settled) = (came + 1, settled + skipped + 1),
                Arrival::Reordered => came += 1,
                Arrival::Duplicate => {}
            }
        }
        self.arrived(number, came, settled);
    }

    /// Which pair it is of, and how it came.
    fn note(&mut self, now: u64, message: &Message) -> Option<(usize, Arrival)> {
        let stamp = Stamp::read(message.record_bytes())?;
        let flow = usize::try_from(stamp.flow).ok()?;
        let arrival = self.flows.get_mut(flow)?.note(stamp.sequence);
        let measured = self.span.measures(stamp.due);
        if arrival != Arrival::Duplicate && (self.span.begins()..self.span.ends()).contains(&now) {
            self.got.came_in_time(flow % LEVELS);
        }
        if arrival == Arrival::Duplicate {
            self.got.duplicated += 1;
        } else if measured {
            self.got.measured += 1;
            self.got.reordered += u64::from(arrival == Arrival::Reordered);
            self.got.took(flow % LEVELS, now.saturating_sub(stamp.due));
        }
        Some((flow / LEVELS, arrival))
    }

    fn arrived(&self, number: usize, came: u64, settled: u64) {
        if let Some(pair) = self.pairs.get(number).filter(|_| came > 0) {
            pair.arrived(came, settled);
        }
    }
}
