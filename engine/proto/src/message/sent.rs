//! What left of late: so that a return is believed once, and only for something of ours.
//!
//! A ring by message number, as numbers follow each other. What is overwritten or past its time
//! cannot come back any more. Allocated with the first message.

use core::time::Duration;

use crate::base::{Address, Instant};

/// Messages remembered. × 40 bytes = 2.5 MiB, for partitions that send.
const MOST: usize = 65_536;
/// How long a message may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Left {
    id: u64,
    to: Address,
    at: Instant,
    sealed: bool,
    out: bool,
}

/// The ring.
#[derive(Debug, Default)]
pub(super) struct Sent {
    ring: Vec<Left>,
}

fn place(id: u64) -> usize {
    // MOST is a power of two that any usize holds.
    usize::try_from(id & (MOST as u64 - 1)).unwrap_or(0)
}

impl Sent {
    /// A message leaves.
    pub(super) fn left(&mut self, now: Instant, id: u64, to: Address, sealed: bool) {
        if self.ring.is_empty() {
            let none = Left {
                id: 0,
                to: Address::new([0; 16]),
                at: Instant::ZERO,
                sealed: false,
                out: false,
            };
            self.ring = vec![none; MOST];
        }
        if let Some(place) = self.ring.get_mut(place(id)) {
            *place = Left { id, to, at: now, sealed, out: true };
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
            && left.to == *to
            && (sealed || !left.sealed)
            && now.since(left.at) < PATIENCE;
        left.out &= !known;
        known
    }
}
