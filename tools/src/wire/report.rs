//! What a wire says at its end, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trunkline_sim::emulator::Statistics;

/// What became of the frames of one direction.
/// `entered + duplicated == delivered + lost + dropped + held`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direction {
    /// Frames that came in.
    pub entered: u64,
    /// Bytes that came in, Ethernet headers included.
    pub entered_bytes: u64,
    /// Frames that went out.
    pub delivered: u64,
    /// Bytes that went out.
    pub delivered_bytes: u64,
    /// Frames lost by chance.
    pub lost: u64,
    /// Frames for which the queue had no room.
    pub dropped: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Frames that went out after a later one.
    pub reordered: u64,
    /// Frames with a flipped bit.
    pub corrupted: u64,
    /// Frames still on the way at the end.
    pub held: u64,
    /// Of the delivered frames, those the device did not take, as when it is down.
    pub refused: u64,
}

impl Direction {
    pub(super) const fn new(s: &Statistics, held: u64, refused: u64) -> Self {
        Self {
            entered: s.entered,
            entered_bytes: s.entered_bytes,
            delivered: s.delivered,
            delivered_bytes: s.delivered_bytes,
            lost: s.lost,
            dropped: s.dropped,
            duplicated: s.duplicated,
            reordered: s.reordered,
            corrupted: s.corrupted,
            held,
            refused,
        }
    }
}

/// How much later than due frames went out, because the program ran late: the error of the
/// emulated delay. A measurement is worth as much as this is small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lateness {
    /// Frames it was measured on.
    pub frames: u64,
    /// Microseconds, all frames together.
    pub sum_us: u64,
    /// Microseconds, the worst frame.
    pub worst_us: u64,
    /// Frames later than a millisecond.
    pub over_1ms: u64,
}

impl Lateness {
    pub(super) fn record(&mut self, late: Duration) {
        let late = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.frames += 1;
        self.sum_us = self.sum_us.saturating_add(late);
        self.worst_us = self.worst_us.max(late);
        self.over_1ms += u64::from(late > 1_000);
    }

    /// The mean in microseconds.
    #[must_use]
    pub const fn mean_us(&self) -> u64 {
        match self.sum_us.checked_div(self.frames) {
            Some(mean) => mean,
            None => 0,
        }
    }
}

/// The statistics of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How long it ran.
    pub seconds: f64,
    /// From the first device to the second.
    pub a_to_b: Direction,
    /// From the second device to the first.
    pub b_to_a: Direction,
    /// How late frames went out.
    pub late: Lateness,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ran for {:.3} s", self.seconds)?;
        for (name, d) in [("a to b", &self.a_to_b), ("b to a", &self.b_to_a)] {
            writeln!(
                f,
                "{name}: {} frames in ({} bytes), {} out ({} bytes), {} lost, {} dropped by the \
                 queue, {} duplicated, {} reordered, {} corrupted, {} held, {} refused",
                d.entered,
                d.entered_bytes,
                d.delivered,
                d.delivered_bytes,
                d.lost,
                d.dropped,
                d.duplicated,
                d.reordered,
                d.corrupted,
                d.held,
                d.refused
            )?;
        }
        let (late, mean) = (&self.late, self.late.mean_us());
        let (worst, over) = (late.worst_us, late.over_1ms);
        write!(f, "late by {mean} µs on average, {worst} µs at worst, {over} by more than 1 ms")
    }
}
