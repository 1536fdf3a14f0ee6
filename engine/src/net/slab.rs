//! Where received datagrams land: slabs cut into slots, used again without asking for memory.
//!
//! Owns the memory and the counters of receipt; it never calls the system and never looks into a
//! datagram. [`super::udp`] offers its slots to the kernel and hands what came on to the shard.
//!
//! A slab is one allocation. Each slot cut from it is a frame with the rest of its room still
//! attached, so that a seal may grow in place. A small remainder, the anchor, stays here; when it
//! is the only part left, the last frame of the slab has been dropped and the whole room is cut
//! again. Frames that stay away for long cost a new slab, never a stall: the oldest anchor is let
//! go, and its memory is freed with its last frame.
//!
//! With coalesced receipt (`UDP_GRO`) a slot takes a whole run of datagrams. A long run is handed
//! out in pieces of its slot (no copy, but no spare room either); a short one is copied to slots of
//! its datagrams' size, because a few hundred bytes must not keep 64 KiB alive.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::BytesMut;

use super::sys::{Arrival, BATCH, RecvScratch};

/// Room of one datagram slot in bytes. Longer datagrams are dropped and counted as truncated,
/// unless receipt is coalesced: then the larger datagrams that were tried are never answered, and
/// packets are made for paths of 1,500 bytes.
pub const SLOT_BYTES: usize = 2048;
/// Room of a slot for a datagram as jumbo frames carry them.
const JUMBO_BYTES: usize = 9_216;
/// Room of a slot for a coalesced run: more than the largest IP packet.
const RUN_BYTES: usize = 65_536;
/// Runs cut from one slab. A frame that is kept for long keeps its slab, so that these are no larger
/// than those of single datagrams.
const RUNS_PER_SLAB: usize = SLOT_BYTES * BATCH / RUN_BYTES;
/// Runs received per call. Each may bring 64 datagrams, and untouched pages cost no memory.
const RUN_SLOTS: usize = 16;
/// Runs shorter than this are copied out of their slot.
const COPY_BELOW: usize = RUN_BYTES / 4;
/// Slabs kept for use again. For single datagrams that is 16 × 64 × 2 KiB = 2 MiB, or 1,024
/// datagrams on their way inside the node before new memory is asked for.
const KEPT_SLABS: usize = 16;
/// Left over from each slab, so that its anchor is never an empty handle.
const ANCHOR_BYTES: usize = 64;

/// Slots of one size and the slabs they come from.
struct Slots {
    slot_bytes: usize,
    per_slab: usize,
    anchors: VecDeque<BytesMut>,
    free: Vec<BytesMut>,
    /// What the kernel is offered; refilled one by one as slots leave.
    offered: Vec<BytesMut>,
}

impl Slots {
    fn new(slot_bytes: usize, per_slab: usize) -> Self {
        let (anchors, free, offered) = (VecDeque::new(), Vec::new(), Vec::new());
        Slots { slot_bytes, per_slab, anchors, free, offered }
    }

    /// An empty slot.
    fn take(&mut self) -> BytesMut {
        if self.free.is_empty() {
            self.cut_slab();
        }
        self.free.pop().unwrap_or_else(|| BytesMut::with_capacity(self.slot_bytes))
    }

    /// Cuts a slab into free slots: one whose frames have all come back, else a new one.
    fn cut_slab(&mut self) {
        let bytes = self.slot_bytes * self.per_slab + ANCHOR_BYTES;
        let mut slab = self.reclaim(bytes).unwrap_or_else(|| BytesMut::with_capacity(bytes));
        for _ in 0..self.per_slab {
            let rest = slab.split_off(self.slot_bytes);
            self.free.push(std::mem::replace(&mut slab, rest));
        }
        self.anchors.push_back(slab);
        if self.anchors.len() > KEPT_SLABS {
            self.anchors.pop_front();
        }
    }

    /// Looks for a slab nobody else holds a part of, the oldest first.
    fn reclaim(&mut self, bytes: usize) -> Option<BytesMut> {
        for _ in 0..self.anchors.len() {
            let mut anchor = self.anchors.pop_front()?;
            if anchor.try_reclaim(bytes) {
                return Some(anchor);
            }
            self.anchors.push_back(anchor);
        }
        None
    }

    /// At most `count` slots for the kernel to fill.
    fn offer(&mut self, count: usize) -> &mut [BytesMut] {
        while self.offered.len() < count {
            let slot = self.take();
            self.offered.push(slot);
        }
        let count = count.min(self.offered.len());
        self.offered.get_mut(..count).unwrap_or_default()
    }

    /// Takes slot `index` of the offer away, with what landed in it, and puts an empty one in its
    /// place.
    fn remove(&mut self, index: usize) -> BytesMut {
        let fresh = self.take();
        self.offered
            .get_mut(index)
            .map_or_else(BytesMut::new, |slot| std::mem::replace(slot, fresh))
    }
}

/// What became of received datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecvCounters {
    /// Handed over.
    pub datagrams: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Dropped: longer than [`SLOT_BYTES`].
    pub truncated: u64,
    /// Dropped: nothing in it.
    pub empty: u64,
    /// Dropped: no internet address as the sender.
    pub unaddressed: u64,
    /// Runs the kernel had coalesced.
    pub runs: u64,
    /// System calls that brought something.
    pub calls: u64,
}

/// The receiving side's memory; one per receiving thread.
pub struct RecvBuffers {
    singles: Slots,
    jumbos: Slots,
    runs: Slots,
    scratch: RecvScratch,
    counters: RecvCounters,
}

impl Default for RecvBuffers {
    fn default() -> Self {
        Self::new()
    }
}

impl RecvBuffers {
    /// Buffers that take their memory on first use.
    pub fn new() -> Self {
        RecvBuffers {
            singles: Slots::new(SLOT_BYTES, BATCH),
            jumbos: Slots::new(JUMBO_BYTES, SLOT_BYTES * BATCH / JUMBO_BYTES),
            runs: Slots::new(RUN_BYTES, RUNS_PER_SLAB),
            scratch: RecvScratch::new(),
            counters: RecvCounters::default(),
        }
    }

    /// What became of everything received through these buffers.
    pub fn counters(&self) -> RecvCounters {
        self.counters
    }

    /// Slots for the next call, for at most `max` datagrams.
    pub(super) fn offer(
        &mut self,
        max: usize,
        coalesced: bool,
    ) -> (&mut [BytesMut], &mut RecvScratch) {
        let slots = if coalesced {
            self.runs.offer(RUN_SLOTS.min(max))
        } else {
            self.singles.offer(BATCH.min(max))
        };
        (slots, &mut self.scratch)
    }

    /// Hands over what landed in the first `received` slots of the offer. Returns the number of
    /// datagrams, dropped ones included.
    pub(super) fn deliver(
        &mut self,
        received: usize,
        coalesced: bool,
        on_datagram: &mut impl FnMut(SocketAddr, BytesMut),
    ) -> usize {
        self.counters.calls += 1;
        let mut taken = 0;
        for index in 0..received {
            let Some(arrival) = self.scratch.arrival(index) else { break };
            let slots = if coalesced { &mut self.runs } else { &mut self.singles };
            let Some(slot) = slots.offered.get_mut(index) else { break };
            if let Some(from) = Self::acceptable(&mut self.counters, &arrival, slot) {
                if coalesced {
                    taken += self.deliver_run(index, from, arrival.segment, on_datagram);
                } else {
                    let frame = self.singles.remove(index);
                    self.count_and_hand(from, frame, on_datagram);
                    taken += 1;
                }
            } else {
                slot.clear();
                taken += 1;
            }
        }
        taken
    }

    /// The sender of what is in `slot`, unless it must be dropped, which is counted.
    fn acceptable(
        counters: &mut RecvCounters,
        arrival: &Arrival,
        slot: &BytesMut,
    ) -> Option<SocketAddr> {
        if arrival.truncated {
            counters.truncated += 1;
            return None;
        }
        if slot.is_empty() {
            counters.empty += 1;
            return None;
        }
        if arrival.from.is_none() {
            counters.unaddressed += 1;
        }
        arrival.from
    }

    /// Hands over the datagrams of one coalesced slot.
    fn deliver_run(
        &mut self,
        index: usize,
        from: SocketAddr,
        segment: Option<usize>,
        on_datagram: &mut impl FnMut(SocketAddr, BytesMut),
    ) -> usize {
        let Some(length) = self.runs.offered.get(index).map(BytesMut::len) else { return 0 };
        let segment = segment.unwrap_or(length).clamp(1, length.max(1));
        self.counters.runs += u64::from(segment < length);
        let mut taken = 0;
        if length >= COPY_BELOW || segment > JUMBO_BYTES {
            let mut run = self.runs.remove(index);
            while run.len() > segment {
                let frame = run.split_to(segment);
                self.count_and_hand(from, frame, on_datagram);
                taken += 1;
            }
            self.count_and_hand(from, run, on_datagram);
            return taken + 1;
        }
        let Some(run) = self.runs.offered.get_mut(index) else { return 0 };
        for piece in run.chunks(segment) {
            let fits = piece.len() <= SLOT_BYTES;
            let mut frame = if fits { self.singles.take() } else { self.jumbos.take() };
            frame.extend_from_slice(piece);
            self.counters.datagrams += 1;
            self.counters.bytes += piece.len() as u64;
            on_datagram(from, frame);
            taken += 1;
        }
        run.clear();
        taken
    }

    fn count_and_hand(
        &mut self,
        from: SocketAddr,
        frame: BytesMut,
        on_datagram: &mut impl FnMut(SocketAddr, BytesMut),
    ) {
        self.counters.datagrams += 1;
        self.counters.bytes += frame.len() as u64;
        on_datagram(from, frame);
    }
}
