//! Opening a line: one handshake of ours under way (PROTOCOL §4.2).
//!
//! The same bytes are repeated until an answer comes or patience ends, on every path that is known:
//! the first answer is a line, and better paths are found while it runs. A cookie is put in when
//! one is asked for.

use super::paths::Path;
use crate::base::{Chance, Instant, Limits};
use crate::crypto::PendingOpen;
use core::time::Duration;

/// First wait before the open is repeated; doubles up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// Longest wait between two repetitions.
const LAST_WAIT: Duration = Duration::from_secs(4);
/// From this attempt on a renewal uses more than the path in use.
const ALL_FROM: u32 = 2;

/// A handshake of ours, waiting for its answer.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) pending: PendingOpen,
    /// Which of our line ids the answer will name.
    pub(super) generation: u32,
    started: Instant,
    attempts: u32,
    next: Instant,
}

impl Opening {
    pub(super) const fn new(now: Instant, pending: PendingOpen, generation: u32) -> Self {
        Self { pending, generation, started: now, attempts: 0, next: now }
    }

    /// When to repeat, or to give up.
    pub(super) const fn deadline(&self) -> Instant {
        self.next
    }

    /// Sooner, because something changed: a cookie came, a path appeared.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    pub(super) fn is_hopeless(&self, now: Instant, limits: &Limits) -> bool {
        now.since(self.started) >= limits.open_timeout
    }

    /// Whether it was sent before and not answered.
    pub(super) const fn is_repeated(&self) -> bool {
        self.attempts >= 2
    }

    /// The next attempt, if it is time: which of `paths` to send it on, the best first. A first
    /// open takes all of them, and the line moves to a better one later. What renews the keys of
    /// a line takes the path in use, and others only when nothing comes back: it neither makes a
    /// line worse nor sends to every address the peer was ever said to have.
    pub(super) fn attempt(
        &mut self,
        now: Instant,
        paths: Vec<Path>,
        in_use: Option<Path>,
        chance: &mut Chance,
    ) -> Option<Vec<Path>> {
        if now < self.next {
            return None;
        }
        let paths = match in_use {
            Some(path) if self.attempts < ALL_FROM => vec![path],
            _ => paths,
        };
        let wait = FIRST_WAIT.saturating_mul(1 << self.attempts.min(8)).min(LAST_WAIT);
        let quarter = u64::try_from(wait.as_micros() / 4).unwrap_or(0);
        let jitter = Duration::from_micros(chance.below(quarter + 1));
        self.attempts += 1;
        self.next = now + wait + jitter;
        Some(paths)
    }
}
