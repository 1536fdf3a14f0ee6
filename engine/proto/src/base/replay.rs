//! The window that accepts every counter at most once (RFC 6479's scheme).
//!
//! A ring of bits over the last [`WINDOW`] counters. Advancing clears whole words, so a packet
//! costs a few instructions however far it jumps. A counter is marked only after its packet
//! authenticated: [`ReplayWindow::accept`] is called last.

const WORDS: usize = 128;
const WORD_BITS: u64 = 64;

/// Bits held. One word is always being refilled, so [`WINDOW`] of them can be relied on.
const BITS: u64 = WORDS as u64 * WORD_BITS;

/// How far behind the newest counter a packet may arrive.
pub const WINDOW: u64 = BITS - WORD_BITS;

/// Remembers which of the last 8,192 counters were accepted. 1 KiB.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    /// One past the highest counter accepted; 0 when none was.
    next: u64,
    words: Box<[u64; WORDS]>,
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self { next: 0, words: Box::new([0; WORDS]) }
    }
}

impl ReplayWindow {
    /// Whether `counter` could still be accepted. Cheap, for before the cipher's work.
    #[must_use]
    pub fn may_accept(&self, counter: u64) -> bool {
        if counter >= self.next {
            return counter != u64::MAX;
        }
        if self.next - 1 - counter > WINDOW {
            return false;
        }
        self.word(counter) & (1 << (counter % WORD_BITS)) == 0
    }

    /// Accepts `counter` once: true the first time, false if seen before or too old.
    #[must_use]
    pub fn accept(&mut self, counter: u64) -> bool {
        if !self.may_accept(counter) {
            return false;
        }
        if counter >= self.next {
            let newest = self.next.saturating_sub(1) / WORD_BITS;
            let wanted = counter / WORD_BITS;
            let steps = (wanted - newest).min(WORDS as u64);
            for step in 0..steps {
                *self.word_mut((wanted - step) * WORD_BITS) = 0;
            }
            self.next = counter + 1;
        }
        *self.word_mut(counter) |= 1 << (counter % WORD_BITS);
        true
    }

    #[allow(clippy::cast_possible_truncation)] // the index is below WORDS
    const fn index(counter: u64) -> usize {
        ((counter / WORD_BITS) % WORDS as u64) as usize
    }

    fn word(&self, counter: u64) -> u64 {
        self.words.get(Self::index(counter)).copied().unwrap_or(u64::MAX)
    }

    fn word_mut(&mut self, counter: u64) -> &mut u64 {
        // The remainder is always in range; `first_mut` is never taken.
        let words = self.words.as_mut_slice();
        let i = Self::index(counter).min(WORDS - 1);
        #[allow(clippy::indexing_slicing)] // bounded on the line above
        &mut words[i]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn s20_each_counter_is_accepted_once_in_any_order() {
        for order in [(0..5_000).collect::<Vec<u64>>(), (0..5_000).rev().collect()] {
            let mut w = ReplayWindow::default();
            let fresh = order.iter().filter(|c| w.accept(**c)).count();
            assert_eq!(fresh, 5_000);
            assert!(order.iter().all(|c| !w.accept(*c)));
        }
    }

    #[test]
    fn s20_a_jump_forgets_what_fell_out_and_nothing_else() {
        let mut w = ReplayWindow::default();
        assert!(w.accept(10) && w.accept(10 + WINDOW));
        assert!(!w.accept(10) && w.accept(11));
        assert!(w.accept(1 << 40) && !w.accept(12));
        assert!(!w.accept(u64::MAX), "the last counter would wrap the window");
    }

    proptest! {
        #[test]
        fn s20_agrees_with_a_set_and_a_bound(steps in prop::collection::vec((any::<bool>(), 0u64..20_000), 1..400)) {
            let mut w = ReplayWindow::default();
            let mut seen = HashSet::new();
            let mut highest = None::<u64>;
            let mut base = 0u64;
            for (jump, n) in steps {
                base += u64::from(jump) * n;
                let counter = base + n % 300;
                let old = highest.is_some_and(|h| h > counter && h - counter > WINDOW);
                let expected = !old && !seen.contains(&counter);
                prop_assert_eq!(w.accept(counter), expected);
                if expected {
                    seen.insert(counter);
                    highest = Some(highest.map_or(counter, |h| h.max(counter)));
                }
            }
        }
    }
}
