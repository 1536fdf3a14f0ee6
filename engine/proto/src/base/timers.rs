//! One deadline for each of many slots, and the next of them all.

use std::collections::BTreeSet;

use super::Instant;

/// Deadlines by slot number. A slot has at most one; setting it again replaces it.
#[derive(Debug, Default)]
pub struct Timers {
    by_time: BTreeSet<(Instant, u32)>,
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
        let Some(held) = self.by_slot.get_mut(index) else { return };
        if *held == deadline {
            return;
        }
        if let Some(old) = core::mem::replace(held, deadline) {
            self.by_time.remove(&(old, slot));
        }
        if let Some(new) = deadline {
            self.by_time.insert((new, slot));
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
        self.by_time.first().map(|(t, _)| *t)
    }

    /// Takes a slot whose deadline is due, earliest first.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let &(deadline, slot) = self.by_time.first()?;
        if deadline > now {
            return None;
        }
        self.by_time.remove(&(deadline, slot));
        if let Some(held) = self.by_slot.get_mut(slot as usize) {
            *held = None;
        }
        Some(slot)
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
}
