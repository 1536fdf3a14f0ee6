//! The writer's half of a link: frames in priority lanes until the socket takes them.
//!
//! Late choice: what leaves next is decided when the socket has room, frame by frame. A frame
//! that the socket took half of is finished first, whatever has become more urgent, because the
//! other end is in the middle of it.
//!
//! A [`Run`] is several frames in one piece of memory, as they were received together for one
//! next hop at one priority: queued, written and released as one.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::base::lanes::Weight;
use crate::base::{DropReason, Drops, Lane, LaneBounds, Lanes, Limits};

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
}

impl Run {
    /// A single frame.
    #[must_use]
    pub const fn one(bytes: Bytes) -> Self {
        Self { bytes, frames: 1 }
    }
}

impl Weight for Run {
    fn bytes(&self) -> usize {
        self.bytes.len()
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
    lanes: Lanes<Run>,
    counters: Sent,
}

impl Outgoing {
    /// Nothing to send yet, within the limits' bounds for a lane and four full lanes in all.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let bounds = LaneBounds {
            lane_bytes: limits.lane_bytes,
            lane_items: limits.lane_items,
            all_bytes: limits.lane_bytes.saturating_mul(4),
        };
        Self { unfinished: Bytes::new(), lanes: Lanes::new(bounds), counters: Sent::default() }
    }

    /// Queues a run. `dropped` gets what did not fit or had to make room, frames whole.
    ///
    /// A run behind sixteen others is copied if it is small: its memory is a slice of a buffer
    /// many times its size, and a queue that stands still would hold all of it.
    pub fn push(&mut self, lane: Lane, mut run: Run, mut dropped: impl FnMut(Lane, Run)) {
        if self.lanes.depth(lane).1 >= DEEP && run.bytes.len() < SMALL {
            run.bytes = Bytes::copy_from_slice(&run.bytes);
        }
        self.counters.queued += u64::from(run.frames);
        let drops = &mut self.counters.drops;
        self.lanes.push(lane, run, |lane, run| {
            drops.add(DropReason::QueueFull, u64::from(run.frames));
            dropped(lane, run);
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
        let runs = self.lanes.iter().map(|run| u64::from(run.frames));
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

    /// What should be written next, most urgent first: at most as many pieces as `slices` has
    /// room for and about `budget` bytes (the last piece is cut to it). Returns how many pieces.
    pub fn gather<'a>(&'a self, budget: usize, slices: &mut [IoSlice<'a>]) -> usize {
        let mut left = budget;
        let mut used = 0;
        let first = Some(&self.unfinished).filter(|u| !u.is_empty());
        let pieces = first.into_iter().chain(self.lanes.iter().map(|run| &run.bytes));
        for (slot, piece) in slices.iter_mut().zip(pieces) {
            if left == 0 {
                break;
            }
            let cut = piece.get(..left).unwrap_or(piece);
            *slot = IoSlice::new(cut);
            left -= cut.len();
            used += 1;
        }
        used
    }

    /// Notes that the first `written` bytes of what [`Self::gather`] gave were taken.
    pub fn consume(&mut self, mut written: usize) {
        self.counters.bytes += written as u64;
        let first = written.min(self.unfinished.len());
        if first > 0 {
            self.unfinished.advance(first);
            written -= first;
            self.counters.frames += u64::from(self.unfinished.is_empty());
        }
        while written > 0 {
            let Some((lane, mut run)) = self.lanes.pop() else { return };
            if run.bytes.len() <= written {
                written -= run.bytes.len();
                self.counters.frames += u64::from(run.frames);
                continue;
            }
            self.cut(lane, &mut run, written);
            return;
        }
    }

    /// Splits a run of which `written` bytes are gone: whole frames are done, a frame in the
    /// middle is to be finished, the others return to their lane.
    fn cut(&mut self, lane: Lane, run: &mut Run, written: usize) {
        let (mut done, mut frames) = (0, 0);
        while done < written {
            let length = frame_length(run.bytes.get(done..).unwrap_or_default());
            if done + length > written {
                let end = (done + length).min(run.bytes.len());
                self.unfinished = run.bytes.slice(written..end);
                done = end;
            } else {
                done += length;
                self.counters.frames += 1;
            }
            frames += 1;
        }
        run.bytes.advance(done.min(run.bytes.len()));
        run.frames = run.frames.saturating_sub(frames);
        if !run.bytes.is_empty() {
            self.lanes.put_back(lane, run.clone());
        }
    }

    /// Gives everything up, for a link that is gone. `dropped` gets every run.
    pub fn abandon(&mut self, mut dropped: impl FnMut(Lane, Run)) {
        let torn = !core::mem::take(&mut self.unfinished).is_empty();
        let drops = &mut self.counters.drops;
        drops.add(DropReason::LinkDown, u64::from(torn));
        for (lane, run) in self.lanes.drain() {
            drops.add(DropReason::LinkDown, u64::from(run.frames));
            dropped(lane, run);
        }
    }
}

/// Length of the frame that begins here, header included: never zero, so that walks end.
fn frame_length(bytes: &[u8]) -> usize {
    let body = bytes.first_chunk().map_or(0, |b| u16::from_be_bytes(*b));
    usize::from(body) + crate::wire::package::LINK_HEADER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Priority;
    use proptest::prelude::*;

    fn frame(tag: u8, body: usize) -> Vec<u8> {
        let mut f = u16::try_from(body).unwrap().to_be_bytes().to_vec();
        f.extend_from_slice(&[6, tag]);
        f.resize(4 + body, tag);
        f
    }

    fn run(frames: &[Vec<u8>]) -> Run {
        Run { bytes: Bytes::from(frames.concat()), frames: u32::try_from(frames.len()).unwrap() }
    }

    fn data(level: u8) -> Lane {
        Lane::Data(Priority::new(level).unwrap())
    }

    /// Writes `chunk` bytes at a time and returns the tags of the frames in order of arrival.
    fn drain(out: &mut Outgoing, chunk: usize, mut between: impl FnMut(&mut Outgoing)) -> Vec<u8> {
        let mut wire = Vec::new();
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); 8];
            let used = out.gather(chunk, &mut slices);
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|s| s.to_vec()).collect();
            assert!(!bytes.is_empty() && bytes.len() <= chunk);
            out.consume(bytes.len());
            wire.extend(bytes);
            between(out);
        }
        let mut tags = Vec::new();
        while !wire.is_empty() {
            let length = frame_length(&wire);
            assert!(wire[4..length].iter().all(|b| *b == wire[3]), "a frame was torn");
            tags.push(wire[3]);
            wire.drain(..length);
        }
        tags
    }

    #[test]
    fn n18_an_urgent_frame_waits_for_the_frame_being_written_and_no_other() {
        let mut out = Outgoing::new(&Limits::default());
        out.push(data(3), run(&[frame(1, 100), frame(2, 100), frame(3, 100)]), |_, _| panic!());
        let mut urgent = Some(run(&[frame(9, 20)]));
        let tags = drain(&mut out, 50, |o| {
            if let Some(u) = urgent.take() {
                o.push(data(7), u, |_, _| panic!());
            }
        });
        assert_eq!(tags, [1, 9, 2, 3]);
        assert_eq!(out.counters().frames, 4);
    }

    #[test]
    fn c3_what_is_gathered_is_the_memory_that_was_queued() {
        let mut out = Outgoing::new(&Limits::default());
        let r = run(&[frame(1, 50), frame(2, 50)]);
        let range = r.bytes.as_ptr_range();
        out.push(data(3), r, |_, _| panic!());
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(out.gather(1 << 20, &mut slices), 1);
        assert!(range.contains(&slices[0].as_ptr()) && slices[0].len() == 108);
    }

    #[test]
    fn a_frame_torn_by_the_end_of_its_link_is_counted_as_dropped() {
        let mut out = Outgoing::new(&Limits::default());
        out.push(data(3), run(&[frame(1, 50), frame(2, 50), frame(3, 50)]), |_, _| panic!());
        out.consume(54 + 10);
        let balance = |o: &Outgoing| (o.counters().queued, o.counters().frames, o.frames_held());
        assert_eq!(balance(&out), (3, 1, 2));
        out.abandon(|_, _| {});
        assert_eq!((balance(&out), out.counters().drops.total()), ((3, 1, 0), 2));
    }

    #[test]
    fn a_link_that_is_gone_names_every_frame_it_takes_along() {
        let mut out = Outgoing::new(&Limits::default());
        out.push(data(3), run(&[frame(1, 50), frame(2, 50)]), |_, _| panic!());
        let mut frames = 0;
        out.abandon(|_, r| frames += r.frames);
        assert_eq!((frames, out.counters().drops.of(DropReason::LinkDown)), (2, 2));
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn n18_no_frame_is_torn_however_the_socket_takes_them(
            sizes in prop::collection::vec((0u8..8, prop::collection::vec(0usize..300, 1..5)), 1..20),
            chunk in 1usize..700
        ) {
            let mut out = Outgoing::new(&Limits::default());
            let mut total = 0u64;
            for (level, bodies) in &sizes {
                let frames: Vec<_> = bodies.iter().map(|b| frame(*level, *b)).collect();
                total += frames.len() as u64;
                out.push(data(*level), run(&frames), |_, _| panic!());
            }
            let tags = drain(&mut out, chunk, |_| {});
            prop_assert_eq!(tags.len() as u64, total);
            prop_assert_eq!(out.counters().frames, total);
        }
    }
}
