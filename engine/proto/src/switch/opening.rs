//! Opening a line: one handshake of ours under way (PROTOCOL §4.2).
//!
//! The same bytes are repeated until an answer comes or patience ends, to the known addresses
//! first and over the mesh as well from the third time on, so that a direct path wins when there
//! is one and nobody waits long when there is none. A cookie is put in when one is asked for.

use core::time::Duration;
use std::net::SocketAddr;

use crate::base::{Chance, Instant, Limits};
use crate::crypto::PendingOpen;

/// First wait before the open is repeated; doubles up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// Longest wait between two repetitions.
const LAST_WAIT: Duration = Duration::from_secs(4);
/// From this attempt on the mesh is used beside known addresses.
const MESH_FROM: u32 = 2;

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

/// Where to send the open this time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Targets {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) mesh: bool,
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

    /// The next attempt, if it is time.
    pub(super) fn attempt(
        &mut self,
        now: Instant,
        addresses: &[SocketAddr],
        reachable: bool,
        chance: &mut Chance,
    ) -> Option<Targets> {
        if now < self.next {
            return None;
        }
        let mesh = reachable && (addresses.is_empty() || self.attempts >= MESH_FROM);
        let wait = FIRST_WAIT.saturating_mul(1 << self.attempts.min(8)).min(LAST_WAIT);
        let quarter = u64::try_from(wait.as_micros() / 4).unwrap_or(0);
        let jitter = Duration::from_micros(chance.below(quarter + 1));
        self.attempts += 1;
        self.next = now + wait + jitter;
        Some(Targets { addresses: addresses.to_vec(), mesh })
    }
}
