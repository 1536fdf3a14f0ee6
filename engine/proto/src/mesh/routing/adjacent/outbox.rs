//! What one neighbour still has to be sent: slots of the database, each at most once.

use std::collections::VecDeque;

use super::Slot;

/// The slot's content shall be sent.
const WANTED: u8 = 1;
/// The slot stands in the row of news.
const IN_NEWS: u8 = 2;
/// The slot stands in the row of gaps.
const IN_GAPS: u8 = 4;

/// At most 9 bytes an origin, whatever happens to it how often.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    marks: Vec<u8>,
    news: VecDeque<Slot>,
    gaps: VecDeque<Slot>,
}

impl Outbox {
    pub(super) fn news(&mut self, slot: Slot) {
        if self.mark(slot, IN_NEWS) {
            self.news.push_back(slot);
        }
    }

    pub(super) fn gap(&mut self, slot: Slot) {
        if self.marks.get(slot as usize).is_some_and(|m| m & WANTED != 0) {
            return;
        }
        if self.mark(slot, IN_GAPS) {
            self.gaps.push_back(slot);
        }
    }

    /// Not wanted any more. Its place in a row stays until its turn comes.
    pub(super) fn forget(&mut self, slot: Slot) {
        if let Some(mark) = self.marks.get_mut(slot as usize) {
            *mark &= !WANTED;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.news.is_empty() && self.gaps.is_empty()
    }

    pub(super) fn next_news(&mut self) -> Option<Slot> {
        next(&mut self.marks, &mut self.news, IN_NEWS)
    }

    pub(super) fn next_gap(&mut self) -> Option<Slot> {
        next(&mut self.marks, &mut self.gaps, IN_GAPS)
    }

    /// Wants the slot; true if it does not stand in that row yet.
    fn mark(&mut self, slot: Slot, row: u8) -> bool {
        let at = slot as usize;
        if self.marks.len() <= at {
            self.marks.resize(at + 1, 0);
        }
        let Some(mark) = self.marks.get_mut(at) else { return false };
        let fresh = *mark & row == 0;
        *mark |= WANTED | row;
        fresh
    }
}

fn next(marks: &mut [u8], row: &mut VecDeque<Slot>, in_row: u8) -> Option<Slot> {
    while let Some(slot) = row.pop_front() {
        let Some(mark) = marks.get_mut(slot as usize) else { continue };
        let wanted = *mark & WANTED != 0;
        *mark &= !(in_row | WANTED);
        if wanted {
            return Some(slot);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn n11_news_go_first_and_nothing_twice() {
        let mut o = Outbox::default();
        o.gap(1);
        o.gap(2);
        o.news(2);
        o.news(3);
        o.news(3);
        o.gap(3);
        o.forget(9);
        let order: Vec<Slot> =
            core::iter::from_fn(|| o.next_news().or_else(|| o.next_gap())).collect();
        assert_eq!(order, [2, 3, 1]);
        assert!(o.is_empty());
    }

    #[test]
    fn n11_what_came_back_from_the_neighbour_is_not_sent_to_it() {
        let mut o = Outbox::default();
        o.news(1);
        o.forget(1);
        assert_eq!(o.next_news(), None);
        o.news(1);
        o.forget(1);
        o.news(1);
        assert_eq!((o.next_news(), o.next_news()), (Some(1), None));
    }

    proptest! {
        #[test]
        fn n11_it_never_holds_more_than_there_are_slots(
            steps in prop::collection::vec((0u8..5, 0u32..8), 0..300),
        ) {
            let mut o = Outbox::default();
            let mut wanted = std::collections::BTreeSet::new();
            for (what, slot) in steps {
                match what {
                    0 => { o.news(slot); wanted.insert(slot); }
                    1 => { o.gap(slot); wanted.insert(slot); }
                    2 => { o.forget(slot); wanted.remove(&slot); }
                    3 => { if let Some(s) = o.next_news() { prop_assert!(wanted.remove(&s)); } }
                    _ => { if let Some(s) = o.next_gap() { prop_assert!(wanted.remove(&s)); } }
                }
                prop_assert!(o.news.len() <= 8 && o.gaps.len() <= 8);
            }
            let mut rest: Vec<Slot> =
                core::iter::from_fn(|| o.next_news().or_else(|| o.next_gap())).collect();
            rest.sort_unstable();
            prop_assert_eq!(rest, wanted.into_iter().collect::<Vec<_>>());
        }
    }
}
