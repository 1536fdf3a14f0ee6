//! What a link is asked to do, to what, and what it did: the vocabulary of the emulator.

use core::num::NonZeroU64;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

/// What a link can carry.
pub trait Item: Clone {
    /// Its size on the wire in bytes.
    fn size(&self) -> usize;

    /// Flips one bit, chosen by `draw`. Nothing happens to an empty item.
    fn flip_bit(&mut self, draw: u64);
}

impl Item for Vec<u8> {
    fn size(&self) -> usize {
        self.len()
    }

    fn flip_bit(&mut self, draw: u64) {
        flip(self, draw);
    }
}

impl Item for Bytes {
    fn size(&self) -> usize {
        self.len()
    }

    fn flip_bit(&mut self, draw: u64) {
        let mut own = BytesMut::from(&self[..]);
        flip(&mut own, draw);
        *self = own.freeze();
    }
}

fn flip(bytes: &mut [u8], draw: u64) {
    let place = usize::try_from(draw >> 3).unwrap_or(0).checked_rem(bytes.len()).unwrap_or(0);
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << (draw & 7);
    }
}

/// What a link does to the items it carries. The default is a perfect link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// The least time in flight.
    pub delay: Duration,
    /// The most that comes on top of `delay`, drawn evenly for each item.
    pub jitter: Duration,
    /// Items lost, in parts per million.
    pub loss_ppm: u32,
    /// Items held back so that later ones may overtake, in parts per million.
    pub reorder_ppm: u32,
    /// How long such an item is held back.
    pub reorder_by: Duration,
    /// Items sent twice, in parts per million.
    pub duplicate_ppm: u32,
    /// Items of which one bit is flipped, in parts per million.
    pub corrupt_ppm: u32,
    /// Bytes a second; `None` for no bound.
    pub rate_bytes_per_s: Option<NonZeroU64>,
    /// Bytes that may wait behind the item being sent.
    pub queue_bytes: usize,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss_ppm: 0,
            reorder_ppm: 0,
            reorder_by: Duration::ZERO,
            duplicate_ppm: 0,
            corrupt_ppm: 0,
            rate_bytes_per_s: None,
            queue_bytes: 256 << 10,
        }
    }
}

/// What became of a pushed item. For whoever runs the link: a sender on a real one is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It will come out.
    Queued,
    /// It will not.
    Dropped(Reason),
}

/// Why an item will not come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Chance, as `loss_ppm` asks.
    Lost,
    /// The link is cut.
    Cut,
    /// No room behind those that wait.
    QueueFull,
}

/// Counts since the start. At any time
/// `entered + duplicated == delivered + lost + dropped + held`, where `held` is
/// [`Emulator::held`](super::Emulator::held).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Items pushed.
    pub entered: u64,
    /// Bytes pushed.
    pub entered_bytes: u64,
    /// Items popped.
    pub delivered: u64,
    /// Bytes popped.
    pub delivered_bytes: u64,
    /// Items lost by chance or to a cut.
    pub lost: u64,
    /// Items for which the queue had no room.
    pub dropped: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Items that came out after one that had entered later.
    pub reordered: u64,
    /// Items of which a bit was flipped.
    pub corrupted: u64,
}
