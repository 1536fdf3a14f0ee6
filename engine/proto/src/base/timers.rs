//! One deadline for each of many slots, and the next of them all.

use std::collections::BTreeSet;

use super::Instant;

/// Deadlines by slot number. A slot has at most one; setting it again replaces it.
#[derive(Debug, Default)]
pub struct Timers {
    alarms: Alarms<u32>,
    by_slot: Vec<Option<Instant>>,
}

impl Timers {
    /// Sets or, with `None`, removes the deadline of `slot`. Slots are small numbers: memory
    /// grows with the largest one.
    pub fn set(&mut self, slot: u32, deadline: Option<Instant>) {
        let index = slot as usize;
        if index >= self.by_slot.len() {
            if deadline.is_none() {
                return;
            }
            self.by_slot.resize(index + 1, None);
        }
        if let Some(held) = self.by_slot.get_mut(index) {
            self.alarms.set(slot, held, deadline);
        }
    }

    /// The deadline of one slot.
    #[must_use]
    pub fn of(&self, slot: u32) -> Option<Instant> {
        self.by_slot.get(slot as usize).copied().flatten()
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.alarms.next()
    }

    /// Takes a slot whose deadline is due, earliest first.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let slot = self.alarms.pop_due(now)?;
        if let Some(held) = self.by_slot.get_mut(slot as usize) {
            *held = None;
        }
        Some(slot)
    }
}

/// Deadlines of many that keep their own: whoever has one holds what is set for it, and changes that
/// through [`Self::set`] and [`Self::arm`] only.
#[derive(Debug)]
pub struct Alarms<K> {
    by_time: BTreeSet<(Instant, K)>,
}

impl<K: Ord> Default for Alarms<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Alarms<K> {
    /// Sets or, with `None`, removes the alarm of `key`, of which `held` was set so far.
    pub fn set(&mut self, key: K, held: &mut Option<Instant>, deadline: Option<Instant>) {
        if *held == deadline {
            return;
        }
        if let Some(old) = core::mem::replace(held, deadline) {
            self.by_time.remove(&(old, key));
        }
        if let Some(new) = deadline {
            self.by_time.insert((new, key));
        }
    }

    /// As [`Self::set`] for deadlines that mostly move on before they come: one that moved to later
    /// keeps its alarm, and whoever is told by [`Self::pop_due`] looks whether it is time, and arms
    /// again. To move costs nothing until then.
    pub fn arm(&mut self, key: K, held: &mut Option<Instant>, deadline: Option<Instant>) {
        let early = held.is_some_and(|at| deadline.is_some_and(|new| at <= new));
        if !early {
            self.set(key, held, deadline);
        }
    }

    /// The earliest alarm.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one whose alarm has come, earliest first. Its owner notes that none is set any more.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let &(at, key) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.remove(&(at, key));
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_and_the_last_setting_counts() {
        let at = Instant::from_micros;
        let mut t = Timers::default();
        t.set(3, Some(at(30)));
        t.set(1, Some(at(10)));
        t.set(2, Some(at(20)));
        t.set(1, Some(at(40)));
        t.set(2, None);
        t.set(9, None);
        assert_eq!(t.next(), Some(at(30)));
        assert_eq!(t.pop_due(at(29)), None);
        assert_eq!(
            (t.pop_due(at(50)), t.pop_due(at(50)), t.pop_due(at(50))),
            (Some(3), Some(1), None)
        );
    }

    #[test]
    fn an_alarm_comes_at_its_first_deadline_and_moves_to_earlier_ones_only() {
        let at = Instant::from_micros;
        let mut alarms = Alarms::default();
        let (mut one, mut two) = (None, None);
        alarms.arm(1, &mut one, Some(at(10)));
        alarms.arm(2, &mut two, Some(at(20)));
        alarms.arm(1, &mut one, Some(at(30)));
        assert_eq!((one, alarms.next()), (Some(at(10)), Some(at(10))));
        assert_eq!((alarms.pop_due(at(9)), alarms.pop_due(at(10))), (None, Some(1)));
        one = None;
        alarms.arm(1, &mut one, Some(at(30)));
        alarms.arm(2, &mut two, Some(at(15)));
        assert_eq!(alarms.next(), Some(at(15)));
        alarms.arm(2, &mut two, None);
        assert_eq!((two, alarms.next()), (None, Some(at(30))));
        assert_eq!((alarms.pop_due(at(30)), alarms.pop_due(at(30))), (Some(1), None));
    }
}
