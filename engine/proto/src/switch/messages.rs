//! Messages larger than a packet: put together again, within bounds (PROTOCOL §5.3).
//!
//! Parts may come in any order and twice. Memory is bounded over all senders: a message claims
//! its whole size when its first part comes, the oldest unfinished one goes when there is no
//! room, and none stays longer than [`PATIENCE`].

use core::time::Duration;
use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::base::{Address, DropReason, Instant};

/// How long a message may take to become whole.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Most messages being put together.
pub const MOST: usize = 256;

#[derive(Debug)]
struct Unfinished {
    from: Address,
    sealed: bool,
    id: u64,
    since: Instant,
    bytes: BytesMut,
    /// Where the parts that came begin and end, merged and sorted.
    have: Vec<(u32, u32)>,
}

/// Most separate pieces of one message: more means a sender that cuts it into crumbs.
const PIECES: usize = 1_024;

/// Messages waiting for their other parts.
#[derive(Debug)]
pub struct Assembly {
    unfinished: VecDeque<Unfinished>,
    held: usize,
    most_bytes: usize,
    largest: usize,
}

impl Assembly {
    /// Holds at most `most_bytes` bytes of unfinished messages, none larger than `largest`.
    #[must_use]
    pub const fn new(most_bytes: usize, largest: usize) -> Self {
        Self { unfinished: VecDeque::new(), held: 0, most_bytes, largest }
    }

    /// Takes a part; gives the whole message when it was the last one missing.
    ///
    /// # Errors
    /// [`DropReason::Oversized`] for a message over the limit, [`DropReason::Malformed`] for
    /// parts that contradict each other.
    #[allow(clippy::too_many_arguments)] // the fields of one header
    pub fn take(
        &mut self,
        now: Instant,
        from: Address,
        sealed: bool,
        id: u64,
        total: u32,
        offset: u32,
        part: Bytes,
    ) -> Result<Option<Bytes>, DropReason> {
        self.expire(now);
        let size = total as usize;
        let end = u64::from(offset) + part.len() as u64;
        if size > self.largest {
            return Err(DropReason::Oversized);
        }
        let end = u32::try_from(end).ok().filter(|e| *e <= total).ok_or(DropReason::Malformed)?;
        if offset == 0 && end == total {
            return Ok(Some(part));
        }
        if part.is_empty() {
            return Err(DropReason::Malformed);
        }
        let same = |u: &Unfinished| u.from == from && u.sealed == sealed && u.id == id;
        let at = match self.unfinished.iter().position(same) {
            Some(at) => at,
            None => self.begin(now, from, sealed, id, size),
        };
        let message = self.unfinished.get_mut(at).ok_or(DropReason::TableFull)?;
        if message.bytes.len() != size || message.have.len() > PIECES {
            return Err(DropReason::Malformed);
        }
        let room = message.bytes.get_mut(offset as usize..end as usize);
        room.ok_or(DropReason::Malformed)?.copy_from_slice(&part);
        merge(&mut message.have, (offset, end));
        if message.have.as_slice() != [(0, total)] {
            return Ok(None);
        }
        self.held -= size;
        Ok(self.unfinished.remove(at).map(|m| m.bytes.freeze()))
    }

    fn begin(&mut self, now: Instant, from: Address, sealed: bool, id: u64, size: usize) -> usize {
        while self.held + size > self.most_bytes || self.unfinished.len() >= MOST {
            let Some(oldest) = self.unfinished.pop_front() else { break };
            self.held -= oldest.bytes.len();
        }
        self.held += size;
        let bytes = BytesMut::zeroed(size);
        self.unfinished.push_back(Unfinished {
            from,
            sealed,
            id,
            since: now,
            bytes,
            have: Vec::new(),
        });
        self.unfinished.len() - 1
    }

    fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.unfinished.front() {
            if now.since(oldest.since) < PATIENCE {
                break;
            }
            self.held -= oldest.bytes.len();
            self.unfinished.pop_front();
        }
    }
}

/// Adds a piece to sorted, disjoint pieces and keeps them so.
fn merge(have: &mut Vec<(u32, u32)>, (mut start, mut end): (u32, u32)) {
    have.retain(|&(s, e)| {
        let apart = e < start || s > end;
        if !apart {
            start = start.min(s);
            end = end.max(e);
        }
        apart
    });
    let at = have.partition_point(|&(s, _)| s < start);
    have.insert(at, (start, end));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FROM: Address = Address::new([1; 16]);

    fn take(
        a: &mut Assembly,
        t: u64,
        id: u64,
        total: u32,
        offset: u32,
        part: &[u8],
    ) -> Result<Option<Bytes>, DropReason> {
        let now = Instant::from_micros(t);
        a.take(now, FROM, true, id, total, offset, Bytes::copy_from_slice(part))
    }

    #[test]
    fn n5_parts_that_lie_about_their_message_are_refused() {
        let mut a = Assembly::new(1_000, 500);
        assert_eq!(take(&mut a, 0, 1, 501, 0, b"x"), Err(DropReason::Oversized));
        assert_eq!(take(&mut a, 0, 1, 3, 2, b"xy"), Err(DropReason::Malformed));
        assert_eq!(take(&mut a, 0, 1, 3, u32::MAX, b"xy"), Err(DropReason::Malformed));
        assert_eq!(take(&mut a, 0, 1, 3, 0, b"x"), Ok(None));
        assert_eq!(take(&mut a, 0, 1, 4, 1, b"x"), Err(DropReason::Malformed));
    }

    #[test]
    fn n5_unfinished_messages_hold_the_bound() {
        let mut a = Assembly::new(1_000, 500);
        for id in 0..10_000 {
            assert_eq!(take(&mut a, 0, id, 400, 0, b"x"), Ok(None));
            assert!(a.held <= 1_000 && a.unfinished.len() <= 2);
        }
        assert_eq!(take(&mut a, 20_000_000, 1, 4, 0, b"abcd").unwrap().unwrap(), "abcd");
        assert_eq!(a.held, 0);
    }

    proptest! {
        #[test]
        fn n5_a_message_comes_out_once_and_whole_however_its_parts_come(
            payload in prop::collection::vec(any::<u8>(), 2..400),
            cuts in prop::collection::vec(0usize..400, 0..8),
            order in any::<u64>()
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c % payload.len()).collect();
            cuts.extend([0, payload.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let mut parts: Vec<(usize, usize)> = cuts.windows(2).map(|w| (w[0], w[1])).collect();
            let n = parts.len();
            parts.rotate_left((order as usize) % n);
            let repeated = parts[0];
            parts.insert(n / 2, repeated);
            let mut a = Assembly::new(1_000, 500);
            let mut got = Vec::new();
            for (s, e) in parts {
                let total = u32::try_from(payload.len()).unwrap();
                if let Some(m) = take(&mut a, 0, 5, total, u32::try_from(s).unwrap(), &payload[s..e]).unwrap() {
                    got.push(m);
                }
            }
            prop_assert!(!got.is_empty());
            prop_assert!(got.iter().all(|g| g[..] == payload[..]));
        }
    }
}
