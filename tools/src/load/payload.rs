//! What every message begins with, and the judging of what arrives by it.
//!
//! ```text
//!   0 flow u32    4 sequence u64    12 due u64 (ns)    20 anything
//! ```
//!
//! A *flow* is what must arrive in order: one pair's messages of one priority. Each has its own
//! sequence. A message that comes late is reordered, one that comes twice duplicated; what never
//! comes is what is missing in the end.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of the header, and so of the smallest message.
pub(super) const HEADER: usize = 20;
/// How far behind the newest a message is still told from a repetition.
const BEHIND: u64 = 1 << 16;
/// Messages share pieces of memory of this size.
const SLAB: usize = 256 << 10;

/// The header of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// Which flow.
    pub(super) flow: u32,
    /// Which message of it, from 0.
    pub(super) sequence: u64,
    /// When it was due, in nanoseconds of the run's clock.
    pub(super) due: u64,
}

impl Stamp {
    /// Writes it over the first bytes of a message.
    pub(super) fn write(&self, message: &mut [u8]) {
        if let Some(header) = message.first_chunk_mut::<HEADER>() {
            let mut rest = &mut header[..];
            rest.put_u32_le(self.flow);
            rest.put_u64_le(self.sequence);
            rest.put_u64_le(self.due);
        }
    }

    /// Reads the header of a message.
    #[must_use]
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let (flow, rest) = message.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let due = rest.first_chunk()?;
        Some(Self {
            flow: u32::from_le_bytes(*flow),
            sequence: u64::from_le_bytes(*sequence),
            due: u64::from_le_bytes(*due),
        })
    }
}

/// Makes messages.
#[derive(Debug, Default)]
pub(super) struct Press {
    slab: BytesMut,
}

impl Press {
    /// A message of `size` bytes, at least [`HEADER`].
    pub(super) fn print(&mut self, stamp: Stamp, size: usize) -> Bytes {
        let size = size.max(HEADER);
        if self.slab.capacity() < size {
            self.slab = BytesMut::with_capacity(SLAB.max(size));
        }
        self.slab.put_u32_le(stamp.flow);
        self.slab.put_u64_le(stamp.sequence);
        self.slab.put_u64_le(stamp.due);
        self.slab.put_bytes(0x5a, size - HEADER);
        self.slab.split().freeze()
    }
}

/// What a message was, beside the others of its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// The newest so far; so many between it and the one before have not come.
    InOrder {
        /// So many.
        skipped: u64,
    },
    /// A newer one came before.
    Reordered,
    /// It had come before, or is too old to tell.
    Duplicate,
}

/// What has arrived of one flow.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// One more than the newest.
    next: u64,
    /// Which of the last ones came, a bit each, at its sequence modulo [`BEHIND`]. Made when the
    /// first gap shows.
    seen: Option<Box<[u64]>>,
}

impl Sequence {
    /// Notes a message.
    pub(super) fn note(&mut self, sequence: u64) -> Arrival {
        if sequence == self.next && self.seen.is_none() {
            self.next += 1;
            return Arrival::InOrder { skipped: 0 };
        }
        let next = self.next;
        let seen = self.seen.get_or_insert_with(|| {
            // Up to here everything came.
            vec![u64::MAX; usize::try_from(BEHIND / 64).unwrap_or(0)].into()
        });
        if sequence >= next {
            // What was skipped has not come; more than a whole round of it is forgotten.
            for skipped in next.max((sequence + 1).saturating_sub(BEHIND))..sequence {
                mark(seen, skipped, false);
            }
            mark(seen, sequence, true);
            self.next = sequence + 1;
            return Arrival::InOrder { skipped: sequence - next };
        }
        if next - sequence > BEHIND || mark(seen, sequence, true) {
            return Arrival::Duplicate;
        }
        Arrival::Reordered
    }
}

/// Sets a bit and gives back what it was.
fn mark(seen: &mut [u64], sequence: u64, value: bool) -> bool {
    let place = sequence % BEHIND;
    let bit = 1u64 << (place % 64);
    let Some(word) = usize::try_from(place / 64).ok().and_then(|i| seen.get_mut(i)) else {
        return false;
    };
    let before = *word & bit != 0;
    *word = if value { *word | bit } else { *word & !bit };
    before
}

#[cfg(test)]
mod tests {
    use super::*;
    use Arrival::{Duplicate, Reordered};

    const IN_ORDER: Arrival = Arrival::InOrder { skipped: 0 };

    #[test]
    fn a_stamp_survives_the_way() {
        let stamp = Stamp { flow: 7, sequence: 1 << 40, due: 123_456_789 };
        let mut press = Press::default();
        for size in [HEADER, 300, 1 << 20, 64] {
            let message = press.print(stamp, size);
            assert_eq!((message.len(), Stamp::read(&message)), (size, Some(stamp)));
        }
        assert_eq!(Stamp::read(&[0; HEADER - 1]), None);
    }

    #[test]
    fn order_gaps_and_repetitions_are_told_apart() {
        let mut s = Sequence::default();
        let noted: Vec<_> = [0, 1, 4, 2, 2, 3, 0, 5, 4].map(|n| s.note(n)).into();
        let expected = [
            IN_ORDER,
            IN_ORDER,
            Arrival::InOrder { skipped: 2 },
            Reordered,
            Duplicate,
            Reordered,
            Duplicate,
            IN_ORDER,
            Duplicate,
        ];
        assert_eq!(noted, expected);
    }

    #[test]
    fn a_gap_of_any_width_is_told_within_bounds() {
        let mut s = Sequence::default();
        assert_eq!(s.note(10 * BEHIND), Arrival::InOrder { skipped: 10 * BEHIND });
        assert_eq!(s.note(10 * BEHIND - 1), Reordered);
        assert_eq!(s.note(9 * BEHIND), Duplicate, "too old to tell");
        assert_eq!(s.note(9 * BEHIND + 1), Reordered);
        for n in 10 * BEHIND + 1..12 * BEHIND {
            assert_eq!(s.note(n), IN_ORDER);
            assert_eq!(s.note(n), Duplicate);
        }
    }
}
