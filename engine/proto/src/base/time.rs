//! Time as the protocols see it: an argument, never a question to the machine.
//!
//! [`Instant`] is monotone and starts wherever its owner says; two nodes' instants mean nothing
//! to each other. [`Wall`] is the calendar and only bounds the life of records; an hour of
//! disagreement is tolerated (see [`Wall::TOLERANCE`]).

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// A point in monotone time, in microseconds since the owner's start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The owner's start.
    pub const ZERO: Self = Self(0);

    /// The instant `micros` microseconds after the owner's start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the owner's start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time since `earlier`, zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    /// Parts of a microsecond count as a whole one: at `a + d`, `d` has passed since `a`. A timer
    /// set for then would otherwise be due before its time, and again at once, for ever.
    fn add(self, rhs: Duration) -> Self {
        let part = u64::from(!rhs.subsec_nanos().is_multiple_of(1_000));
        Self(self.0.saturating_add(micros(rhs)).saturating_add(part))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(micros(rhs)))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Whole microseconds of a duration, saturating.
fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

/// The calendar, in seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Wall(u64);

impl Wall {
    /// How far two honest calendars may disagree: wrong clocks have locked peers of such systems
    /// out, so nothing is judged more finely than this.
    pub const TOLERANCE: Duration = Duration::from_secs(3_600);

    /// The moment `secs` seconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// Seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This moment and `d` more.
    #[must_use]
    pub const fn after(self, d: Duration) -> Self {
        Self(self.0.saturating_add(d.as_secs()))
    }

    /// Whether something that ends at `expiry` has ended for sure, with [`Self::TOLERANCE`].
    #[must_use]
    pub const fn is_past(self, expiry: Self) -> bool {
        self.0 > expiry.0.saturating_add(Self::TOLERANCE.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate_instead_of_wrapping() {
        let t = Instant::from_micros(5);
        assert_eq!(t - Duration::from_secs(1), Instant::ZERO);
        assert_eq!(
            Instant::from_micros(u64::MAX) + Duration::from_secs(1),
            Instant::from_micros(u64::MAX)
        );
        assert_eq!(Instant::ZERO.since(t), Duration::ZERO);
    }

    #[test]
    fn a_duration_has_passed_when_it_is_added() {
        for nanos in [0, 1, 500, 999, 1_000, 1_001, 3_000_000_500] {
            let d = Duration::from_nanos(nanos);
            assert!((Instant::ZERO + d).since(Instant::ZERO) >= d, "{nanos}");
        }
    }

    #[test]
    fn expiry_tolerates_an_hour_of_disagreement() {
        let expiry = Wall::from_secs(10_000);
        assert!(!Wall::from_secs(13_600).is_past(expiry));
        assert!(Wall::from_secs(13_601).is_past(expiry));
    }
}
