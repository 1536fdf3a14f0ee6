//! The writer's half of a link: frames in priority lanes until the socket takes them.
//!
//! Late choice: what leaves next is decided when the socket has room, frame by frame. A frame
//! that the socket took half of is finished first, whatever has become more urgent, because the
//! other end is in the middle of it.
//!
//! A [`Run`] is several frames in one piece of memory, as they were received together for one
//! next hop at one priority: queued, written and released as one. Within a priority, the links that
//! runs came in by share the link they leave by (`base/lanes.rs`).
//!
//! Counts for each level what left, what was dropped and how long things waited. Time is that of the
//! round in which something was queued and written: nobody looks at a clock for a frame.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::levels::Level;
use crate::base::lanes::Weight;
use crate::base::{DropReason, Drops, Instant, LANES, Lane, LaneBounds, Lanes, Limits, Source};

/// Runs that may wait in a lane as slices of the buffers they came in.
const DEEP: usize = 16;
/// A run of fewer bytes pins much more than it is worth.
const SMALL: usize = 64 << 10;

/// Whole frames, one after the other.
#[derive(Clone, Debug)]
pub struct Run {
    /// The frames' bytes.
    pub bytes: Bytes,
    /// How many frames.
    pub frames: u32,
    /// Whose they are, for fair shares.
    pub source: Source,
}

impl Run {
    /// A single frame of our own.
    #[must_use]
    pub const fn one(bytes: Bytes) -> Self {
        Self { bytes, frames: 1, source: Source::OWN }
    }
}

/// A run, and since when it waits.
#[derive(Debug)]
struct Waiting {
    run: Run,
    since: Instant,
}

impl Weight for Waiting {
    fn bytes(&self) -> usize {
        self.run.bytes.len()
    }
}

/// Counters of one link's outgoing side.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Frames that were to be written: those written, dropped, and held still.
    pub queued: u64,
    /// Frames written whole.
    pub frames: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Frames dropped instead.
    pub drops: Drops,
}

/// What one link still has to send.
#[derive(Debug)]
pub struct Outgoing {
    /// The rest of a frame the socket took part of.
    unfinished: Bytes,
    lanes: Lanes<Waiting>,
    counters: Sent,
    levels: [Level; LANES],
}

impl Outgoing {
    /// Nothing to send yet, within the limits' bounds for a lane and four full lanes in all; where
    /// lower levels are promised a part, each has room of its own.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let lanes = if limits.lower_share == 0 { 4 } else { LANES };
        let bounds = LaneBounds {
            lane_bytes: limits.lane_bytes,
            lane_items: limits.lane_items,
            all_bytes: limits.lane_bytes.saturating_mul(lanes),
        };
        let lanes = Lanes::new(bounds).with_share(limits.lower_share);
        let (unfinished, counters) = (Bytes::new(), Sent::default());
        Self { unfinished, lanes, counters, levels: Default::default() }
    }

    /// Queues a run. `dropped` gets what did not fit or had to make room, frames whole.
    ///
    /// A run behind sixteen others is copied if it is small: its memory is a slice of a buffer
    /// many times its size, and a queue that stands still would hold all of it.
    pub fn push(
        &mut self,
        now: Instant,
        lane: Lane,
        mut run: Run,
        mut dropped: impl FnMut(Lane, Run),
    ) {
        if self.lanes.depth(lane).1 >= DEEP && run.bytes.len() < SMALL {
            run.bytes = Bytes::copy_from_slice(&run.bytes);
        }
        self.counters.queued += u64::from(run.frames);
        let Self { counters, levels, lanes, .. } = self;
        let source = run.source;
        lanes.push(lane, source, Waiting { run, since: now }, |lane, waiting| {
            let frames = u64::from(waiting.run.frames);
            counters.drops.add(DropReason::QueueFull, frames);
            count(levels, lane, |level| level.dropped += frames);
            dropped(lane, waiting.run);
        });
    }

    /// Whether everything has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unfinished.is_empty() && self.lanes.is_empty()
    }

    /// Bytes not yet written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.unfinished.len() + self.lanes.bytes()
    }

    /// Frames not yet written whole. Counts them, so not for every packet.
    #[must_use]
    pub fn frames_held(&self) -> u64 {
        let runs = self.lanes.iter().map(|waiting| u64::from(waiting.run.frames));
        u64::from(!self.unfinished.is_empty()) + runs.sum::<u64>()
    }

    /// Bytes and runs waiting in one lane.
    #[must_use]
    pub fn depth(&self, lane: Lane) -> (usize, usize) {
        self.lanes.depth(lane)
    }

    /// The counters so far.
    #[must_use]
    pub const fn counters(&self) -> &Sent {
        &self.counters
    }

    /// What each lane has sent, dropped and kept waiting so far, from the least urgent.
    pub fn levels(&self) -> impl DoubleEndedIterator<Item = (Lane, &Level)> {
        Lane::all().zip(&self.levels)
    }

    /// What should be written next, most urgent first: at most as many pieces as `slices` has
    /// room for and about `budget` bytes (the last piece is cut to it). Returns how many pieces.
    pub fn gather<'a>(&'a self, budget: usize, slices: &mut [IoSlice<'a>]) -> usize {
        let mut left = budget;
        let mut used = 0;
        let mut put = |piece: &'a Bytes| {
            let Some(slot) = slices.get_mut(used).filter(|_| left > 0) else { return false };
            let cut = piece.get(..left).unwrap_or(piece);
            *slot = IoSlice::new(cut);
            left -= cut.len();
            used += 1;
            true
        };
        if self.unfinished.is_empty() || put(&self.unfinished) {
            self.lanes.walk(|waiting| put(&waiting.run.bytes));
        }
        used
    }

    /// Notes that the first `written` bytes of what [`Self::gather`] gave were taken. Nothing may
    /// be queued between the two.
    pub fn consume(&mut self, now: Instant, mut written: usize) {
        self.counters.bytes += written as u64;
        let first = written.min(self.unfinished.len());
        if first > 0 {
            self.unfinished.advance(first);
            written -= first;
            self.counters.frames += u64::from(self.unfinished.is_empty());
        }
        let Self { lanes, unfinished, counters, levels, .. } = self;
        while written > 0 && !lanes.is_empty() {
            lanes.shrink(|lane, Waiting { run, since }| {
                let (frames, bytes) = if run.bytes.len() > written {
                    let (frames, bytes) = cut(run, written, unfinished);
                    counters.frames += u64::from(frames) - u64::from(!unfinished.is_empty());
                    written = 0;
                    (frames, bytes)
                } else {
                    let whole = (run.frames, run.bytes.len());
                    counters.frames += u64::from(run.frames);
                    written -= run.bytes.len();
                    run.bytes.clear();
                    whole
                };
                count(levels, lane, |level| level.left(frames, bytes, now.since(*since)));
            });
        }
    }

    /// Gives everything up, for a link that is gone. `dropped` gets every run.
    pub fn abandon(&mut self, mut dropped: impl FnMut(Lane, Run)) {
        let torn = !core::mem::take(&mut self.unfinished).is_empty();
        let drops = &mut self.counters.drops;
        drops.add(DropReason::LinkDown, u64::from(torn));
        for (lane, Waiting { run, .. }) in self.lanes.drain() {
            drops.add(DropReason::LinkDown, u64::from(run.frames));
            dropped(lane, run);
        }
    }
}

/// Counts something of a lane.
fn count(levels: &mut [Level; LANES], lane: Lane, add: impl FnOnce(&mut Level)) {
    if let Some(level) = levels.get_mut(lane.index()) {
        add(level);
    }
}

/// Takes off a run what is gone with its first `written` bytes: frames that are done, and the one in
/// the middle, the rest of which is now `unfinished`. Gives back how many frames and bytes that is.
fn cut(run: &mut Run, written: usize, unfinished: &mut Bytes) -> (u32, usize) {
    let (mut done, mut frames) = (0, 0);
    while done < written {
        let length = frame_length(run.bytes.get(done..).unwrap_or_default());
        if done + length > written {
            let end = (done + length).min(run.bytes.len());
            *unfinished = run.bytes.slice(written..end);
            done = end;
        } else {
            done += length;
        }
        frames += 1;
    }
    let done = done.min(run.bytes.len());
    run.bytes.advance(done);
    run.frames = run.frames.saturating_sub(frames);
    (frames, done)
}

/// Length of the frame that begins here, header included: never zero, so that walks end.
fn frame_length(bytes: &[u8]) -> usize {
    let body = bytes.first_chunk().map_or(0, |b| u16::from_be_bytes(*b));
    usize::from(body) + crate::wire::package::LINK_HEADER
}

#[cfg(test)]
mod tests;
