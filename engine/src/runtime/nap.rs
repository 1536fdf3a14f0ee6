//! When a worker rests for a moment although it could go on.
//!
//! A fast relay with neighbours that write message by message wakes for each of them: the wake-up,
//! the read and the write cost ten times what the message does, and every write of the neighbour
//! pays for waking it. So when much comes in small pieces, and only then, the worker rests after a
//! round, and the next one finds what has come meanwhile.
//!
//! Under light load nothing waits: below [`BUSY`] packages a second there are no naps. Nor are
//! there any when pieces are large, as then neighbours batch, or this worker has enough to do.
//!
//! With many links a short nap gathers nothing for any of them: a hundred links that bring a package
//! each every millisecond are a round of a hundred reads, whatever came in 100 µs. So where a round
//! brings a few packages a link, the nap is [`SHARE`] times as long as the round was. Whoever asks is
//! answered later by about as much as the round makes everybody wait anyway, and the worker is busy
//! for a third of the time instead of for all of it. A round that also brought something else than
//! packages of links, datagrams or what programs wrote into tunnels, is not followed by a long nap:
//! what comes there is paced by those who wait for it. Letters do not count, nor do they end a nap:
//! what programs write into pipes, HTTP among it, may wait for the whole of it.

use std::time::Duration;

use trunkline_proto::base::Instant;

use super::links::Moved;

/// Packages a second from which on naps are worth their delay.
const BUSY: u64 = 50_000;
/// Over which time they are counted, in microseconds.
const WINDOW: u64 = 2_000;
/// Packages of one link in one round from which on it needs no nap.
const ENOUGH: u32 = 32;
/// The same for a nap that is longer than the shortest.
const FEW: u32 = 8;
/// How long the shortest and the longest nap are meant to be. The kernel makes them about 60 µs
/// longer.
const NAP: (Duration, Duration) = (Duration::from_micros(100), Duration::from_micros(1_500));
/// How many times a round a nap lasts when links brought few packages each.
const SHARE: u32 = 2;

/// Counts what came and decides.
#[derive(Debug)]
pub(crate) struct Nap {
    since: Instant,
    packages: u64,
    busy: bool,
}

impl Nap {
    /// A worker that has had nothing to do.
    pub(crate) const fn new() -> Self {
        Self { since: Instant::ZERO, packages: 0, busy: false }
    }

    /// How long to rest after a round that began at `now`, took so long, and in which links brought
    /// `moved`, and other ways something, too, if `beside`.
    pub(crate) fn after(
        &mut self,
        now: Instant,
        took: impl FnOnce() -> Duration,
        moved: Moved,
        beside: bool,
    ) -> Option<Duration> {
        self.packages += u64::from(moved.packages);
        let elapsed = now.as_micros().saturating_sub(self.since.as_micros());
        if elapsed >= WINDOW {
            self.busy = self.packages * 1_000_000 / elapsed >= BUSY;
            (self.since, self.packages) = (now, 0);
        }
        let below = |a_link: u32| moved.packages < moved.links.saturating_mul(a_link);
        if !self.busy || moved.packages == 0 || !below(ENOUGH) {
            return None;
        }
        let long = below(FEW) && !beside;
        Some(if long { (took() * SHARE).clamp(NAP.0, NAP.1) } else { NAP.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Naps taken while `packages` come over one link every `every` microseconds for 100 ms.
    fn naps(every: u64, packages: u32) -> usize {
        let mut nap = Nap::new();
        let moved = Moved { links: 1, packages };
        let rounds = (1..=100_000 / every).map(|i| Instant::from_micros(1_000_000 + i * every));
        rounds.filter(|now| nap.after(*now, || Duration::ZERO, moved, false).is_some()).count()
    }

    #[test]
    fn c8_nothing_waits_under_light_load() {
        assert_eq!(naps(200, 1), 0, "5,000 a second");
        assert_eq!(naps(25, 1), 0, "40,000 a second");
    }

    #[test]
    fn c8_much_in_small_pieces_is_gathered() {
        assert!(naps(5, 1) > 15_000, "200,000 a second");
        assert!(naps(160, 16) > 600, "it goes on while naps gather");
    }

    #[test]
    fn c8_much_in_large_pieces_needs_no_nap() {
        assert_eq!(naps(50, 64), 0);
    }

    #[test]
    fn c8_a_burst_after_silence_does_not_wait() {
        let mut nap = Nap::new();
        let burst = Moved { links: 1, packages: 1 };
        let later = |i: u64| Instant::from_micros(5_000_000 + i);
        assert!((0..100).all(|i| nap.after(later(i), || Duration::ZERO, burst, false).is_none()));
    }

    #[test]
    fn c8_rounds_of_many_links_that_bring_little_make_longer_naps() {
        let besides = |beside, links, packages, took| {
            let mut nap = Nap::new();
            let moved = Moved { links, packages };
            let rounds = (0..10).map(|i| Instant::from_micros(9_000_000 + i * 1_000));
            let took = || Duration::from_micros(took);
            let naps = rounds.map(|now| nap.after(now, took, moved, beside));
            naps.last().flatten().map(|nap| nap.as_micros())
        };
        let after = |links, packages, took| besides(false, links, packages, took);
        assert_eq!(after(100, 200, 700), Some(1_400));
        assert_eq!(after(100, 200, 900), Some(1_500), "and no longer ones than that");
        assert_eq!(after(1, 2, 10), None, "2,000 a second");
        assert_eq!(after(10, 100, 700), Some(100), "ten packages a link");
        assert_eq!(after(10, 70, 20), Some(100));
        assert_eq!(after(10, 320, 700), None);
        assert_eq!(besides(true, 100, 200, 700), Some(100), "datagrams came, too");
    }
}
