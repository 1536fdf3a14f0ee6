//! Which stream ids were used, after their streams are gone: two bits for each of the last
//! 4,096 ids of either side.
//!
//! A repeated packet of a stream that ended in order must be acknowledged again, one of a stream
//! that was reset must be answered with a reset, and an id never seen may open a stream; packets
//! of one line overtake each other, so "higher than before" does not tell them apart.

/// Ids remembered per side.
pub(super) const SPAN: u64 = 4_096;
const WORDS: usize = 64;

/// What is known of an id that has no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// Never used.
    New,
    /// Its stream ended in order in both directions.
    Closed,
    /// Its stream was reset, or it is too long ago to say.
    Reset,
}

/// The ids of one side, by their number (id / 2).
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// One past the highest number used.
    next: u64,
    bits: Option<Box<Bits>>,
}

#[derive(Debug)]
struct Bits {
    used: [u64; WORDS],
    reset: [u64; WORDS],
}

impl Memory {
    /// No number below this one is used from now on.
    pub(super) fn start_at(&mut self, number: u64) {
        self.next = self.next.max(number);
    }

    pub(super) fn past(&self, number: u64) -> Past {
        if number >= self.next {
            return Past::New;
        }
        let Some(bits) = self.bits.as_ref().filter(|_| self.next - number <= SPAN) else {
            return Past::Reset;
        };
        match (get(&bits.used, number), get(&bits.reset, number)) {
            (false, _) => Past::New,
            (true, false) => Past::Closed,
            (true, true) => Past::Reset,
        }
    }

    /// `number` is used by a stream from now on.
    pub(super) fn used(&mut self, number: u64) {
        let bits =
            self.bits.get_or_insert_with(|| Box::new(Bits { used: [0; WORDS], reset: [0; WORDS] }));
        if number >= self.next {
            // Clears what the window moves over; all of it after a long jump.
            let from = self.next.max(number.saturating_sub(SPAN - 1));
            for n in from..=number {
                set(&mut bits.used, n, false);
                set(&mut bits.reset, n, false);
            }
            self.next = number + 1;
        }
        if self.next - number <= SPAN {
            set(&mut bits.used, number, true);
        }
    }

    /// The stream of `number` was reset.
    pub(super) fn reset(&mut self, number: u64) {
        self.used(number);
        if let Some(bits) = self.bits.as_mut().filter(|_| self.next - number <= SPAN) {
            set(&mut bits.reset, number, true);
        }
    }

    /// The next number that is higher than all used.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }
}

fn place(number: u64) -> (usize, u64) {
    let bit = number % SPAN;
    (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
}

fn get(words: &[u64; WORDS], number: u64) -> bool {
    let (word, mask) = place(number);
    words.get(word).is_some_and(|w| w & mask != 0)
}

fn set(words: &mut [u64; WORDS], number: u64, on: bool) {
    let (word, mask) = place(number);
    if let Some(w) = words.get_mut(word) {
        *w = if on { *w | mask } else { *w & !mask };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_ids_are_remembered_across_gaps_and_long_jumps() {
        let mut m = Memory::default();
        assert_eq!(m.past(0), Past::New);
        m.used(5);
        m.reset(2);
        assert_eq!(
            [2, 3, 5, 6].map(|n| m.past(n)),
            [Past::Reset, Past::New, Past::Closed, Past::New]
        );
        m.used(5 + SPAN - 1);
        assert_eq!(m.past(5), Past::Closed);
        m.used(5 + SPAN);
        assert_eq!(m.past(5), Past::Reset);
        assert_eq!(m.past(6), Past::New);
        m.used(1 << 40);
        assert_eq!(m.past(5 + SPAN), Past::Reset);
        assert_eq!(m.past((1 << 40) - 1), Past::New);
        assert_eq!(m.next(), (1 << 40) + 1);
    }
}
