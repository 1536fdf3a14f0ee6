//! Which positions of a stream are known: disjoint ranges in ascending order, never touching.
//!
//! The receiver keeps what has arrived beyond a gap, the sender what was acknowledged there.
//! Owns no bound: the receiver bounds it by its pieces, the sender by what it has sent.

use std::collections::VecDeque;

/// A set of positions as half-open ranges.
#[derive(Debug, Default)]
pub(super) struct RangeSet {
    runs: VecDeque<(u64, u64)>,
}

impl RangeSet {
    /// Adds `start..end` and calls `fresh` with each part that was not in the set, ascending.
    pub(super) fn insert(&mut self, start: u64, end: u64, mut fresh: impl FnMut(u64, u64)) {
        if start >= end {
            return;
        }
        // Nearly always the newest positions are the highest.
        match self.runs.back_mut() {
            Some(last) if last.1 < start => {
                fresh(start, end);
                self.runs.push_back((start, end));
                return;
            }
            Some(last) if last.0 <= start => {
                if last.1 < end {
                    fresh(last.1, end);
                    last.1 = end;
                }
                return;
            }
            None => {
                fresh(start, end);
                self.runs.push_back((start, end));
                return;
            }
            Some(_) => {}
        }
        self.merge(start, end, fresh);
    }

    /// The general case of [`Self::insert`].
    fn merge(&mut self, start: u64, end: u64, mut fresh: impl FnMut(u64, u64)) {
        let first = self.runs.partition_point(|r| r.1 < start);
        // ACKs repeat what they said before.
        if self.runs.get(first).is_some_and(|r| r.0 <= start && end <= r.1) {
            return;
        }
        let (mut from, mut to, mut at, mut last) = (start, end, start, first);
        while let Some(run) = self.runs.get(last).filter(|r| r.0 <= end) {
            if at < run.0 {
                fresh(at, run.0);
            }
            at = at.max(run.1);
            from = from.min(run.0);
            to = to.max(run.1);
            last += 1;
        }
        if at < end {
            fresh(at, end);
        }
        if first == last {
            self.runs.insert(first, (from, to));
        } else {
            if let Some(run) = self.runs.get_mut(first) {
                *run = (from, to);
            }
            self.runs.drain(first + 1..last);
        }
    }

    /// Forgets everything below `upto`.
    pub(super) fn remove_below(&mut self, upto: u64) {
        while let Some(run) = self.runs.front_mut() {
            if run.1 > upto {
                run.0 = run.0.max(upto);
                return;
            }
            self.runs.pop_front();
        }
    }

    /// Whether all of `start..end` is in the set.
    pub(super) fn contains(&self, start: u64, end: u64) -> bool {
        let at = self.runs.partition_point(|r| r.1 < end);
        self.runs.get(at).is_some_and(|r| r.0 <= start && end <= r.1)
    }

    /// How many ranges these are.
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.runs = VecDeque::new();
    }

    /// The ranges, beginning with the one that holds `position` and going down, then from the
    /// top: a receiver with more gaps than fit one ACK tells the latest news first.
    pub(super) fn around(&self, position: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let split = self.runs.partition_point(|r| r.0 <= position);
        let low = self.runs.range(..split).rev();
        let high = self.runs.range(split..).rev();
        low.chain(high).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Chance;

    #[test]
    fn s23_ranges_agree_with_a_bitmap() {
        let mut chance = Chance::from_number(7);
        for _ in 0..200 {
            let mut set = RangeSet::default();
            let mut bits = [false; 64];
            for _ in 0..chance.below(40) {
                let start = chance.below(64);
                let end = (start + chance.below(12)).min(64);
                let mut told = Vec::new();
                set.insert(start, end, |a, b| told.extend(a..b));
                let new: Vec<u64> = (start..end).filter(|i| !bits[*i as usize]).collect();
                assert_eq!(told, new);
                bits[start as usize..end as usize].fill(true);
                if chance.below(8) == 0 {
                    let upto = chance.below(64);
                    set.remove_below(upto);
                    bits[..upto as usize].fill(false);
                }
                for a in 0..64u64 {
                    let b = (a + 1 + chance.below(9)).min(64);
                    assert_eq!(set.contains(a, b), (a..b).all(|i| bits[i as usize]));
                }
                assert!(set.runs.iter().zip(set.runs.iter().skip(1)).all(|(x, y)| x.1 < y.0));
            }
        }
    }

    #[test]
    fn s23_the_range_last_touched_is_told_first() {
        let mut set = RangeSet::default();
        for r in [(10, 20), (30, 40), (50, 60)] {
            set.insert(r.0, r.1, |_, _| ());
        }
        assert_eq!(set.around(35).collect::<Vec<_>>(), [(30, 40), (10, 20), (50, 60)]);
    }
}
