//! What all threads of a run share: the clock, the time that is measured, and the pairs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use trunkline_proto::base::Hashname;

use crate::clock::Clock;

/// Waits shorter than this, in nanoseconds, are spent asking again: waking up takes longer.
const SHORT: u64 = 20_000;

/// When what is measured begins and ends.
#[derive(Debug)]
pub(super) struct Span {
    clock: Clock,
    /// Messages due from here on are measured, in nanoseconds of the clock,
    from: u64,
    /// and from here on none is sent.
    until: u64,
    over: AtomicBool,
    /// Messages that may yet be sent.
    left: AtomicU64,
}

impl Span {
    /// A run whose measuring begins at `from` and ends at `until` nanoseconds of `clock`, or
    /// after `count` messages.
    #[must_use]
    pub(super) fn new(clock: Clock, from: u64, until: u64, count: Option<u64>) -> Self {
        let left = AtomicU64::new(count.unwrap_or(u64::MAX));
        Self { clock, from, until, over: AtomicBool::new(false), left }
    }

    /// Nanoseconds now.
    #[must_use]
    pub(super) fn now(&self) -> u64 {
        self.clock.nanos()
    }

    /// When measuring begins.
    #[must_use]
    pub(super) const fn begins(&self) -> u64 {
        self.from
    }

    /// When it ends at the latest.
    #[must_use]
    pub(super) const fn ends(&self) -> u64 {
        self.until
    }

    /// Whether a message due at `due` is measured.
    #[must_use]
    pub(super) const fn measures(&self, due: u64) -> bool {
        due >= self.from
    }

    /// Whether nothing is to be sent any more.
    #[must_use]
    pub(super) fn is_over(&self, now: u64) -> bool {
        now >= self.until || self.over.load(Ordering::Relaxed)
    }

    /// Waits for a moment. False when the run is over before it.
    #[must_use]
    pub(super) fn wait_until(&self, due: u64) -> bool {
        loop {
            let now = self.now();
            if self.is_over(now.max(due)) {
                return false;
            }
            match due.saturating_sub(now) {
                0 => return true,
                short if short < SHORT => std::hint::spin_loop(),
                // Not in one piece, so that a run that is ended ends.
                long => thread::park_timeout(Duration::from_nanos((long - SHORT / 2).min(1 << 26))),
            }
        }
    }

    /// Ends it before its time.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Takes up to `count` of the messages that may yet be sent; takes the last ones and it is
    /// over.
    pub(super) fn claim(&self, count: u32) -> u32 {
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |l| {
                Some(l.saturating_sub(u64::from(count)))
            })
            .unwrap_or(0);
        if before <= u64::from(count) {
            self.end();
        }
        u32::try_from(before.min(u64::from(count))).unwrap_or(count)
    }
}

/// A sender and one of its receivers.
#[derive(Debug)]
pub(super) struct Pair {
    /// To whom.
    pub(super) to: Hashname,
    /// Its number at the receiver: what its messages' flows are made of.
    pub(super) number: u32,
    /// Messages handed to the sender's node.
    pub(super) sent: AtomicU64,
    /// Messages that came, once each.
    pub(super) arrived: AtomicU64,
    /// Messages up to the newest that came, whether they came or not.
    settled: AtomicU64,
    /// Who waits for room in the window.
    driver: Mutex<Option<Thread>>,
}

impl Pair {
    /// A pair that has sent nothing.
    #[must_use]
    pub(super) const fn new(to: Hashname, number: u32) -> Self {
        let [sent, arrived, settled] = [const { AtomicU64::new(0) }; 3];
        Self { to, number, sent, arrived, settled, driver: Mutex::new(None) }
    }

    /// Has the calling thread woken at the next arrival.
    pub(super) fn wake_me(&self) {
        *self.driver.lock() = Some(std::thread::current());
    }

    /// Notes so many arrivals, which make so many messages settled, and wakes who waits.
    pub(super) fn arrived(&self, count: u64, settled: u64) {
        self.arrived.fetch_add(count, Ordering::Relaxed);
        self.settled.fetch_add(settled, Ordering::Relaxed);
        if let Some(thread) = self.driver.lock().take() {
            thread.unpark();
        }
    }

    /// How many messages are settled.
    #[must_use]
    pub(super) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// Messages that are not settled yet: what fills a window. One that is lost leaves it when a
    /// later one comes.
    #[must_use]
    pub(super) fn on_their_way(&self) -> u64 {
        self.sent.load(Ordering::Relaxed).saturating_sub(self.settled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_ends_the_run_when_it_is_used_up() {
        let span = Span::new(Clock::start(), 0, u64::MAX, Some(10));
        assert_eq!((span.claim(8), span.is_over(0)), (8, false));
        assert_eq!((span.claim(8), span.is_over(0)), (2, true));
        assert_eq!(span.claim(8), 0);
    }
}
