//! Spreads a window over its round trip: a bucket that fills at the controller's rate.
//!
//! A window that leaves as one burst fills the queue in front of the slowest hop and loses its
//! own tail there; spread out, the same window finds the queue nearly empty. The bucket holds
//! what a timer of one millisecond may be late for, so pacing costs at most a thousand wake-ups a
//! second, and none where it could not matter: a round trip below [`LEAST_ROUND_TRIP`] or a rate
//! above [`MOST_RATE`] is shorter than any timer and leaves unpaced.

use core::time::Duration;

use crate::base::Instant;

/// Packets that may leave at once after a pause: an initial window.
const BURST_PACKETS: u64 = 10;
/// What the bucket holds at least, as time at its rate: a timer of 1 ms, and as much for the
/// thread to be late.
const BURST: Duration = Duration::from_millis(4);
/// How long it is worth waiting for: pollers count in whole milliseconds.
const QUANTUM: Duration = Duration::from_millis(1);
/// Paths shorter than this are not paced.
const LEAST_ROUND_TRIP: Duration = Duration::from_millis(1);
/// Bytes a second beyond which nothing is paced: 2 Gbit/s.
const MOST_RATE: u64 = 250_000_000;

/// Parts of a byte that the bucket counts in, so that filling it often loses nothing.
const PARTS: u64 = 1_000_000;

/// When the next packet may leave.
#[derive(Debug)]
pub(super) struct Pacer {
    /// What may leave now, in millionths of a byte.
    tokens: u64,
    filled: Instant,
    /// Bytes a second when the bucket was last filled; none if nothing is held back.
    rate: Option<u64>,
    /// When enough will be there; set while something waits for it.
    until: Option<Instant>,
}

impl Pacer {
    /// A bucket that is full once it knows its rate.
    pub(super) const fn new() -> Self {
        Self { tokens: u64::MAX, filled: Instant::ZERO, rate: None, until: None }
    }

    /// Whether time has passed since the bucket was last filled, and the rate may have changed.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        now > self.filled
    }

    /// Fills the bucket up to `now` at `rate` bytes a second, for packets of at most `packet`
    /// bytes on a path of `round_trip`.
    pub(super) fn fill(&mut self, now: Instant, rate: u64, packet: u64, round_trip: Duration) {
        let elapsed = now.since(self.filled);
        self.filled = now;
        if rate >= MOST_RATE || round_trip < LEAST_ROUND_TRIP {
            self.rate = None;
            self.tokens = u64::MAX;
            return;
        }
        let rate = rate.max(1);
        self.rate = Some(rate);
        let most = packet.saturating_mul(BURST_PACKETS * PARTS).max(over(rate, BURST));
        self.tokens = self.tokens.saturating_add(over(rate, elapsed)).min(most);
    }

    /// Whether a packet of `cost` bytes may leave now; if not, remembers when to ask again.
    pub(super) fn allows(&mut self, cost: u64) -> bool {
        let cost = cost.saturating_mul(PARTS);
        let Some(rate) = self.rate.filter(|_| self.tokens < cost) else {
            self.until = None;
            return true;
        };
        // More than the one packet, so that a wake-up is worth its while.
        let wanted = cost.max(over(rate, QUANTUM)) - self.tokens;
        self.until = Some(self.filled + Duration::from_micros(wanted.div_ceil(rate)));
        false
    }

    /// A packet of `cost` bytes leaves, allowed or not.
    pub(super) const fn spend(&mut self, cost: u64) {
        if self.rate.is_some() {
            self.tokens = self.tokens.saturating_sub(cost.saturating_mul(PARTS));
        }
    }

    /// When what was not allowed may be tried again.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Nobody waits any more, or the wait is over.
    pub(super) const fn wake(&mut self) {
        self.until = None;
    }
}

/// What `rate` bytes a second are in `time`, in millionths of a byte.
fn over(rate: u64, time: Duration) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    rate.saturating_mul(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn paced() -> (Pacer, Instant) {
        let now = Instant::from_micros(5_000_000);
        let mut pacer = Pacer::new();
        pacer.fill(now, 12_500_000, 1_000, 50 * MS);
        (pacer, now)
    }

    #[test]
    fn s23_a_paced_sender_keeps_to_its_rate_however_late_its_timer_is() {
        for late in [0, 300, 1_000, 2_000] {
            let (mut pacer, begin) = paced();
            let (mut now, mut sent) = (begin, 0u64);
            while now < begin + Duration::from_secs(1) {
                while pacer.allows(1_000) {
                    pacer.spend(1_000);
                    sent += 1_000;
                }
                now = pacer.until().unwrap() + Duration::from_micros(late);
                pacer.fill(now, 12_500_000, 1_000, 50 * MS);
            }
            assert!((12_450_000..12_600_000).contains(&sent), "{sent} with timers {late} us late");
        }
    }

    #[test]
    fn s23_a_burst_after_a_pause_is_bounded() {
        let (mut pacer, mut now) = paced();
        now += Duration::from_secs(3_600);
        pacer.fill(now, 12_500_000, 1_000, 50 * MS);
        let burst = (0..).take_while(|_| {
            pacer.allows(1_000) && {
                pacer.spend(1_000);
                true
            }
        });
        assert_eq!(burst.count(), 50);
        // At a slow rate an initial window leaves at once, and then each packet in its time.
        pacer.fill(now + Duration::from_secs(60), 10_000, 1_000, 50 * MS);
        let burst = (0..).take_while(|_| {
            pacer.allows(1_000) && {
                pacer.spend(1_000);
                true
            }
        });
        assert_eq!(burst.count(), 10);
        assert_eq!(pacer.until(), Some(now + Duration::from_millis(60_100)));
    }

    #[test]
    fn s23_short_and_fast_paths_are_not_paced() {
        let now = Instant::from_micros(5_000_000);
        for (rate, round_trip) in [(12_500_000, MS / 2), (MOST_RATE, 50 * MS)] {
            let mut pacer = Pacer::new();
            pacer.fill(now, rate, 1_000, round_trip);
            for _ in 0..100_000 {
                assert!(pacer.allows(1_000));
                pacer.spend(1_000);
            }
            assert_eq!(pacer.until(), None);
        }
    }
}
