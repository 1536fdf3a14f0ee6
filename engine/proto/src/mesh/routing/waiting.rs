//! Announcements that came too early: their origin has spoken too often, or their neighbour has
//! used up its budget of signatures.
//!
//! They wait unverified, the latest of each origin *and neighbour*: what a neighbour forges can
//! only displace what the same neighbour sent. Nothing is lost by waiting, only by lack of room.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::base::{Address, DropReason, Instant};
use crate::wire::announce::{AnnouncementHead, Order};

/// Most that wait for one neighbour,
const PER_NEIGHBOUR: usize = 512;
/// and in all,
const IN_ALL: usize = 4_096;
/// and the same in bytes: of hubs fewer.
const PER_NEIGHBOUR_BYTES: usize = 2 << 20;
const IN_ALL_BYTES: usize = 16 << 20;

#[derive(Debug)]
struct Held {
    until: Instant,
    order: Order,
    body: Bytes,
}

/// What waits for one neighbour.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    count: usize,
    bytes: usize,
}

/// What waits, by who brought it and whose it is.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    held: BTreeMap<(Address, Address), Held>,
    /// When, and which. One per entry of `held`.
    dues: BTreeMap<(Instant, Address, Address), ()>,
    taken: BTreeMap<Address, Taken>,
    bytes: usize,
}

impl Waiting {
    /// Keeps an announcement until then.
    ///
    /// # Errors
    /// `StaleAnnouncement` if a later one waits, `RateLimited` if there is no room.
    pub(super) fn put(
        &mut self,
        until: Instant,
        from: Address,
        head: &AnnouncementHead,
        body: &[u8],
    ) -> Result<(), DropReason> {
        let key = (from, head.origin);
        let before = self.held.get(&key);
        if before.is_some_and(|held| held.order >= head.order) {
            return Err(DropReason::StaleAnnouncement);
        }
        let freed = before.map_or(0, |held| held.body.len());
        let mut taken = self.taken.get(&from).copied().unwrap_or_default();
        taken.bytes = taken.bytes - freed + body.len();
        let bytes = self.bytes - freed + body.len();
        if taken.bytes > PER_NEIGHBOUR_BYTES || bytes > IN_ALL_BYTES {
            return Err(DropReason::RateLimited);
        }
        let body = Bytes::copy_from_slice(body);
        if let Some(held) = self.held.get_mut(&key) {
            (held.order, held.body) = (head.order, body);
        } else {
            if taken.count >= PER_NEIGHBOUR || self.held.len() >= IN_ALL {
                return Err(DropReason::RateLimited);
            }
            taken.count += 1;
            self.dues.insert((until, from, head.origin), ());
            self.held.insert(key, Held { until, order: head.order, body });
        }
        self.taken.insert(from, taken);
        self.bytes = bytes;
        Ok(())
    }

    /// How many wait that this neighbour brought.
    pub(super) fn count(&self, from: &Address) -> usize {
        self.taken.get(from).map_or(0, |taken| taken.count)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.dues.first_key_value().map(|((until, ..), ())| *until)
    }

    /// The next whose time has come: who brought it, and what.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Address, Bytes)> {
        let entry = self.dues.first_entry().filter(|e| e.key().0 <= now)?;
        let ((_, from, origin), ()) = entry.remove_entry();
        let held = self.held.remove(&(from, origin))?;
        debug_assert!(held.until <= now);
        self.bytes -= held.body.len();
        if let Some(taken) = self.taken.get_mut(&from) {
            taken.count -= 1;
            taken.bytes -= held.body.len();
            if taken.count == 0 {
                self.taken.remove(&from);
            }
        }
        Some((from, held.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::BootEpoch;
    use core::time::Duration;

    fn head(origin: u16, sequence: u64) -> AnnouncementHead {
        let mut address = [0; 16];
        address[..2].copy_from_slice(&origin.to_be_bytes());
        let order = Order { serial: 1, epoch: BootEpoch(1), sequence };
        AnnouncementHead { origin: Address::new(address), order }
    }

    #[test]
    fn n11_the_latest_of_each_neighbour_waits() {
        let (a, b) = (Address::new([0xa; 16]), Address::new([0xb; 16]));
        let until = Instant::ZERO + Duration::from_secs(1);
        let mut w = Waiting::default();
        assert_eq!(w.put(until, a, &head(1, 5), b"a5"), Ok(()));
        assert_eq!(w.put(until, a, &head(1, 4), b"a4"), Err(DropReason::StaleAnnouncement));
        assert_eq!(w.put(until, b, &head(1, 99), b"forged"), Ok(()));
        assert_eq!(w.put(until, a, &head(1, 6), b"a6"), Ok(()));
        assert_eq!(w.take_due(Instant::ZERO), None);
        assert_eq!(w.due(), Some(until));
        let rest: Vec<Bytes> = core::iter::from_fn(|| w.take_due(until)).map(|t| t.1).collect();
        assert_eq!(rest, [&b"a6"[..], b"forged"]);
        assert!(w.held.is_empty() && w.taken.is_empty() && w.due().is_none());
        assert_eq!(w.bytes, 0);
    }

    #[test]
    fn n11_one_neighbour_cannot_take_all_the_room() {
        let mut w = Waiting::default();
        let put = |w: &mut Waiting, n: u8, origin| {
            w.put(Instant::ZERO, Address::new([n; 16]), &head(origin, 1), b"")
        };
        let took = (0..2_000).filter(|origin| put(&mut w, 1, *origin).is_ok()).count();
        assert_eq!(took, PER_NEIGHBOUR);
        assert_eq!(put(&mut w, 2, 1), Ok(()));
        for n in 3..100 {
            let took = (0..600).filter(|origin| put(&mut w, n, *origin).is_ok()).count();
            assert!(took <= PER_NEIGHBOUR);
        }
        assert_eq!(w.held.len(), IN_ALL);
    }

    #[test]
    fn n11_what_waits_is_bounded_in_bytes_as_well() {
        let mut w = Waiting::default();
        let large = vec![7; 32_000];
        let mut put = |n: u8, origin, order, body: &[u8]| {
            w.put(Instant::ZERO, Address::new([n; 16]), &head(origin, order), body)
        };
        let took = (0..500).filter(|origin| put(1, *origin, 1, &large).is_ok()).count();
        assert_eq!(took, PER_NEIGHBOUR_BYTES / large.len());
        assert_eq!(put(1, 0, 2, b"little"), Ok(()), "one that takes less room than the one before");
        assert_eq!(put(1, 499, 1, &large[..31_000]), Ok(()), "and leaves it to another");
        for n in 2..20 {
            let _ = (0..500).filter(|origin| put(n, *origin, 1, &large).is_ok()).count();
        }
        assert!(w.bytes <= IN_ALL_BYTES && w.bytes > IN_ALL_BYTES - large.len());
        while w.take_due(Instant::ZERO).is_some() {}
        assert_eq!((w.bytes, w.taken.len()), (0, 0));
    }
}
