//! When routes are computed: soon after a change, seldom when changes do not end.
//!
//! A change waits for the debounce time, so that changes that come together share a computation.
//! While one computation follows another within a second, the wait doubles, up to sixteen times;
//! a mesh in which something always flaps does not keep every node computing. A lost link of
//! this node itself does not wait: packages are about to be sent into it.

use core::time::Duration;

use crate::base::Instant;

/// Computations closer than this make the wait double.
const RESTLESS: Duration = Duration::from_secs(1);
/// Most doublings.
const DOUBLINGS: u32 = 4;
/// Least time between computations that do not wait.
const BREATH: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Schedule {
    debounce: Duration,
    doublings: u32,
    due: Option<Instant>,
    last: Option<Instant>,
}

impl Schedule {
    pub(super) const fn new(debounce: Duration) -> Self {
        Self { debounce, doublings: 0, due: None, last: None }
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something changed somewhere.
    pub(super) fn want(&mut self, now: Instant) {
        if self.due.is_none() {
            let restless = self.last.is_some_and(|last| now.since(last) < RESTLESS);
            self.doublings = if restless { (self.doublings + 1).min(DOUBLINGS) } else { 0 };
            // The first change after a rest waits the plain time, and so does the second.
            let wait = self.debounce * (1 << self.doublings.saturating_sub(1));
            self.due = Some(now + wait);
        }
    }

    /// Something changed here.
    pub(super) fn want_at_once(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| now.max(last + BREATH));
        self.due = Some(self.due.map_or(earliest, |due| due.min(earliest)));
    }

    /// Whether to compute now; if so it counts as done.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.due.take_if(|due| now >= *due).is_some();
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn n10_changes_that_come_together_share_a_computation() {
        let mut s = Schedule::new(10 * MS);
        let start = Instant::ZERO + 1_000 * MS;
        (0..8).for_each(|n| s.want(start + MS * n));
        assert!(!s.take_due(start + 9 * MS));
        assert!(s.take_due(start + 10 * MS) && !s.take_due(start + 10 * MS));
        assert_eq!(s.due(), None);
    }

    #[test]
    fn n10_endless_changes_are_computed_ever_more_seldom_and_rest_heals() {
        let mut s = Schedule::new(10 * MS);
        let mut now = Instant::ZERO;
        let mut runs = 0;
        for _ in 0..10_000 {
            now += MS;
            s.want(now);
            runs += u32::from(s.take_due(now));
        }
        assert!((110..150).contains(&runs), "{runs} runs in 10 s");
        let rested = now + 2_000 * MS;
        s.take_due(rested);
        let rested = rested + 2_000 * MS;
        s.want(rested);
        assert_eq!(s.due(), Some(rested + 10 * MS));
    }

    #[test]
    fn n2_a_lost_link_is_computed_at_once_but_not_without_breath() {
        let mut s = Schedule::new(10 * MS);
        let now = Instant::ZERO + 50 * MS;
        s.want(now);
        s.want_at_once(now);
        assert!(s.take_due(now));
        s.want_at_once(now + MS);
        assert!(!s.take_due(now + MS));
        assert_eq!(s.due(), Some(now + 2 * MS));
    }
}
