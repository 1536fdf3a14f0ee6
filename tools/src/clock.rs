//! The one place where these tools ask the machine for the time.

use trunkline_proto::base::Instant;

/// A monotone clock that begins when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(std::time::Instant);

impl Clock {
    /// A clock that now shows [`Instant::ZERO`].
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock the others are given")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn nanos(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The time since the start, in whole microseconds.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }
}
