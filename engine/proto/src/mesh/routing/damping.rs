//! Links that come and go again and again are not believed at once when they are back (N2; PROTOCOL
//! §7.6).
//!
//! ```text
//!   loss: penalty + 1,000, at most 10,000           every 8 s the penalty halves
//!   penalty ≥ 2,500: what comes up is held down  ──▶  penalty < 1,250: it counts again
//! ```
//!
//! After the third loss in a row a link has to stay up for some 8 s, after the tenth for 24. Held down
//! means that it is neither announced nor used; everything else goes on. **Damping never costs
//! reach:** only a link to a neighbour that is reached otherwise is held down, and when that other way is
//! gone, it counts at once. Owns the penalties, which outlive the links; who is held down is noted
//! with the links (`adjacent`).

use core::time::Duration;
use std::collections::BTreeMap;

use crate::base::{Address, Instant};

const LOSS: u32 = 1_000;
const MOST: u32 = 10_000;
const HOLD: u32 = 2_500;
const RELEASE: u32 = 1_250;
const HALF_LIFE: Duration = Duration::from_secs(8);
/// Neighbours with a penalty. The least goes first. × 48 bytes.
const REMEMBERED: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Penalty {
    points: u32,
    at: Instant,
    held: bool,
}

impl Penalty {
    /// What is left of it: halved for every half-life, and in between along a straight line.
    fn left(&self, now: Instant) -> u32 {
        let (age, life) = (now.since(self.at).as_micros(), HALF_LIFE.as_micros());
        let whole = u32::try_from(age / life).unwrap_or(u32::MAX);
        let points = self.points.checked_shr(whole).unwrap_or(0);
        let part = u128::from(points) * (age % life) / (2 * life);
        points - u32::try_from(part).unwrap_or(0)
    }

    /// When it falls below the point of release.
    fn released(&self) -> Instant {
        let (mut points, mut at) = (self.points, self.at);
        while points / 2 >= RELEASE {
            (points, at) = (points / 2, at + HALF_LIFE);
        }
        // points - points × t / (2 × life) < RELEASE
        let over = u64::from(points.saturating_sub(RELEASE)) + 1;
        let life = u64::try_from(HALF_LIFE.as_micros()).unwrap_or(u64::MAX);
        let wait = (2 * life).saturating_mul(over).div_ceil(u64::from(points).max(1));
        at + Duration::from_micros(wait)
    }
}

/// The penalties of neighbours that were lost lately.
#[derive(Debug, Default)]
pub(super) struct Damping {
    penalties: BTreeMap<Address, Penalty>,
    /// When the next one is released.
    due: Option<Instant>,
}

impl Damping {
    /// The link in use to a neighbour was lost.
    pub(super) fn lost(&mut self, now: Instant, neighbour: Address) {
        if !self.penalties.contains_key(&neighbour) && self.penalties.len() >= REMEMBERED {
            let least = self.penalties.iter().min_by_key(|(_, p)| p.left(now)).map(|(a, _)| *a);
            least.and_then(|a| self.penalties.remove(&a));
        }
        let before = self.penalties.get(&neighbour);
        let points = (before.map_or(0, |p| p.left(now)) + LOSS).min(MOST);
        let held = points >= HOLD || before.is_some_and(|p| p.held);
        self.penalties.insert(neighbour, Penalty { points, at: now, held });
        self.look();
    }

    /// Whether links to that neighbour are to be held down.
    pub(super) fn holds(&self, neighbour: &Address) -> bool {
        self.penalties.get(neighbour).is_some_and(|p| p.held)
    }

    /// The penalty of a neighbour.
    pub(super) fn penalty(&self, now: Instant, neighbour: &Address) -> u32 {
        self.penalties.get(neighbour).map_or(0, |p| p.left(now))
    }

    /// When the next one is released.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    fn look(&mut self) {
        self.due = self.penalties.values().filter(|p| p.held).map(Penalty::released).min();
    }

    /// The next one whose penalty is spent; forgets what is long past.
    pub(super) fn release(&mut self, now: Instant) -> Option<Address> {
        self.due.filter(|due| *due <= now)?;
        let over = |p: &Penalty| p.held && p.released() <= now;
        let (neighbour, penalty) = self.penalties.iter_mut().find(|(_, p)| over(p))?;
        penalty.held = false;
        let neighbour = *neighbour;
        self.penalties.retain(|_, p| p.held || p.left(now) >= LOSS / 100);
        self.look();
        Some(neighbour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn at(n: u16) -> Address {
        let mut a = [0; 16];
        a[..2].copy_from_slice(&n.to_be_bytes());
        Address::new(a)
    }

    /// After so many losses a second apart: how long it is held down, if it is.
    fn held(losses: u32) -> Option<Duration> {
        let (mut d, mut now) = (Damping::default(), Instant::ZERO);
        for _ in 0..losses {
            now += SEC;
            d.lost(now, at(1));
        }
        let due = d.due()?;
        assert!(d.holds(&at(1)) && d.release(due - Duration::from_micros(1)).is_none());
        assert!(d.penalty(due, &at(1)) < RELEASE);
        assert_eq!((d.release(due), d.holds(&at(1))), (Some(at(1)), false));
        Some(due.since(now))
    }

    #[test]
    fn n2_the_hold_down_grows_with_each_loss_up_to_its_most() {
        assert_eq!((held(1), held(2)), (None, None));
        let seconds: Vec<u64> = [3, 5, 8, 30].map(|n| held(n).unwrap().as_secs()).to_vec();
        assert!(seconds.windows(2).all(|w| w[0] < w[1]), "{seconds:?}");
        assert!((5..=12).contains(&seconds[0]) && seconds[3] <= 24, "{seconds:?}");
    }

    #[test]
    fn n2_losses_far_apart_are_no_flapping() {
        let (mut d, mut now) = (Damping::default(), Instant::ZERO);
        for _ in 0..100 {
            now += 15 * SEC;
            d.lost(now, at(1));
            assert!(!d.holds(&at(1)));
        }
    }

    #[test]
    fn n2_penalties_are_bounded_in_number() {
        let mut d = Damping::default();
        for n in 0..3_000 {
            d.lost(Instant::ZERO + SEC * u32::from(n), at(n));
            assert!(d.penalties.len() <= REMEMBERED);
        }
    }
}
