//! The only place that asks the machine for the time.

use std::time::{SystemTime, UNIX_EPOCH};

use trunkline_proto::base::{Instant, Wall};

/// Monotone time since the node's start, and the calendar.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// Starts at zero, now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place")]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// Microseconds since the start.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The calendar.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place")]
    pub fn wall() -> Wall {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Wall::from_secs(since.as_secs())
    }
}
