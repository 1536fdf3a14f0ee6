//! What left of late: so that a return is believed once, and only for something of ours.
//!
//! A ring by message number, as numbers follow each other. What is overwritten or past its time
//! cannot come back any more. Allocated with the first message.

use core::time::Duration;

use crate::base::{Address, Instant};

/// Messages remembered. × 24 bytes = 1.5 MiB, for partitions that send.
const MOST: usize = 65_536;
/// How long a message may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default)]
struct Left {
    id: u64,
    /// The first half of the address: there is no finding another hashname with the same.
    to: [u8; 8],
    /// In whole seconds.
    at: u32,
    sealed: bool,
    out: bool,
}

/// The ring.
#[derive(Debug, Default)]
pub(super) struct Sent {
    ring: Vec<Left>,
}

fn place(id: u64) -> usize {
    usize::try_from(id % MOST as u64).unwrap_or(0)
}

fn half(address: &Address) -> [u8; 8] {
    address.as_bytes().first_chunk().copied().unwrap_or_default()
}

fn seconds(at: Instant) -> u32 {
    u32::try_from(at.since(Instant::ZERO).as_secs()).unwrap_or(u32::MAX)
}

impl Sent {
    /// A message leaves.
    pub(super) fn left(&mut self, now: Instant, id: u64, to: Address, sealed: bool) {
        if self.ring.is_empty() {
            self.ring = vec![Left::default(); MOST];
        }
        if let Some(place) = self.ring.get_mut(place(id)) {
            *place = Left { id, to: half(&to), at: seconds(now), sealed, out: true };
        }
    }

    /// Nothing more is to be heard of a message.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(left) = self.ring.get_mut(place(id)).filter(|l| l.id == id) {
            left.out = false;
        }
    }

    /// A message is said to come back from this node, proved or not. True if it is out, was for
    /// that node and was as proved; once.
    pub(super) fn take(&mut self, now: Instant, id: u64, to: &Address, sealed: bool) -> bool {
        let Some(left) = self.ring.get_mut(place(id)) else { return false };
        let known = left.out
            && left.id == id
            && left.to == half(to)
            && (sealed || !left.sealed)
            && u64::from(seconds(now).saturating_sub(left.at)) < PATIENCE.as_secs();
        left.out &= !known;
        known
    }
}
