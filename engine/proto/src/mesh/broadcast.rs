//! Which broadcasts were heard before (N8; PROTOCOL §6.9).
//!
//! Owns a window for each origin that sends any, and the rates: of each origin, and of the
//! signatures that are verified. Knows no links; [`super::routing`] spreads.
//!
//! **Order.** A broadcast belongs to a run of its origin, by record serial and boot epoch, as
//! announcements do. What belongs to an earlier run than the window or the origin's announcement is a
//! replay, whatever it says. Within the run the last [`SPAN`] numbers are told apart bit by bit;
//! what lies before them counts as heard.
//!
//! **Room.** At most as many windows as origins may be known. They outlive announcements, so that an
//! origin that was away is not heard twice; when there is no room the one unused for longest goes.

use core::time::Duration;
use std::collections::BTreeMap;

use super::pace::{Pace, Rate};
use crate::base::{Address, BootEpoch, DropReason, Instant};

/// Numbers told apart behind the greatest one: ten seconds of an origin at the default rate.
pub const SPAN: u64 = 512;
const WORDS: usize = 9;

/// A run of an origin; the greater is the later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Run {
    /// Of its record.
    pub serial: u64,
    /// Drawn at its start, or gone on from.
    pub epoch: BootEpoch,
}

/// The numbers of one run that were heard. As in RFC 6479, one word is always being refilled.
#[derive(Clone, Debug)]
struct Window {
    run: Run,
    /// One past the greatest number heard.
    next: u64,
    words: [u64; WORDS],
    pace: Pace,
    used: Instant,
}

impl Window {
    const fn new(run: Run, pace: Pace) -> Self {
        Self { run, next: 0, words: [0; WORDS], pace, used: Instant::ZERO }
    }

    fn heard(&self, sequence: u64) -> bool {
        if sequence >= self.next {
            return sequence == u64::MAX;
        }
        let bit = self.words.get(place(sequence)).is_some_and(|w| w & mask(sequence) != 0);
        bit || self.next - 1 - sequence >= SPAN
    }

    fn note(&mut self, sequence: u64) {
        if sequence >= self.next {
            let newest = self.next.saturating_sub(1) / 64;
            let steps = (sequence / 64 - newest).min(WORDS as u64);
            for step in 0..steps {
                if let Some(word) = self.words.get_mut(place((sequence / 64 - step) * 64)) {
                    *word = 0;
                }
            }
            self.next = sequence.saturating_add(1);
        }
        if let Some(word) = self.words.get_mut(place(sequence)) {
            *word |= mask(sequence);
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // below WORDS
const fn place(sequence: u64) -> usize {
    (sequence / 64 % WORDS as u64) as usize
}

const fn mask(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

/// What was heard of all origins. About 150 bytes an origin.
#[derive(Debug)]
pub struct Heard {
    windows: BTreeMap<Address, Window>,
    most: usize,
    rate: Option<Rate>,
    verifying: Pace,
}

/// Signatures of broadcasts verified in all: a quarter of a processor at 60 µs each.
const VERIFYING: Rate = Rate { interval: Duration::from_micros(250), burst: 512 };

/// So many a second and at once; `None` for none at all.
pub(super) fn rate(per_second: u32, burst: u32) -> Option<Rate> {
    let interval = Duration::from_secs(1).checked_div(per_second)?;
    Some(Rate { interval, burst })
}

impl Heard {
    /// Nothing heard yet; at most `origins` are remembered, each of which may send `per_second`.
    #[must_use]
    pub fn new(origins: usize, per_second: u32) -> Self {
        // Ways differ: what its origin spread over a second may come in half of one.
        let rate = rate(per_second, per_second.saturating_mul(2));
        Self { windows: BTreeMap::new(), most: origins, rate, verifying: Pace::default() }
    }

    /// Whether a broadcast is news, by what it says and without looking at its signature.
    ///
    /// # Errors
    /// `Duplicate` if it was heard, `Replayed` if it belongs to an earlier run, `RateLimited` if the
    /// origin has sent too much, or too many signatures were looked at.
    pub fn judge(
        &self,
        now: Instant,
        origin: &Address,
        run: Run,
        sequence: u64,
    ) -> Result<(), DropReason> {
        let rate = self.rate.ok_or(DropReason::RateLimited)?;
        if let Some(window) = self.windows.get(origin) {
            if run < window.run {
                return Err(DropReason::Replayed);
            }
            if run == window.run && window.heard(sequence) {
                return Err(DropReason::Duplicate);
            }
            if !window.pace.allows(now, rate) {
                return Err(DropReason::RateLimited);
            }
        }
        if sequence == u64::MAX {
            return Err(DropReason::Malformed);
        }
        if self.verifying.allows(now, VERIFYING) { Ok(()) } else { Err(DropReason::RateLimited) }
    }

    /// A signature was verified.
    pub fn verified(&mut self, now: Instant) {
        self.verifying.note(now, VERIFYING, 1);
    }

    /// Notes a broadcast that was judged news and is its origin's.
    pub fn note(&mut self, now: Instant, origin: Address, run: Run, sequence: u64) {
        if !self.windows.contains_key(&origin) && self.windows.len() >= self.most {
            let oldest = self.windows.iter().min_by_key(|(_, w)| w.used).map(|(a, _)| *a);
            oldest.and_then(|a| self.windows.remove(&a));
        }
        let window =
            self.windows.entry(origin).or_insert_with(|| Window::new(run, Pace::default()));
        if run > window.run {
            *window = Window::new(run, window.pace);
        }
        window.note(sequence);
        window.used = now;
        if let Some(rate) = self.rate {
            window.pace.note(now, rate, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn run(serial: u64, epoch: u64) -> Run {
        Run { serial, epoch: BootEpoch(epoch) }
    }

    fn at(n: u16) -> Address {
        let mut a = [0; 16];
        a[..2].copy_from_slice(&n.to_be_bytes());
        Address::new(a)
    }

    #[test]
    fn n8_earlier_runs_are_replays_and_later_ones_begin_anew() {
        let now = Instant::from_micros(1_000_000);
        let mut h = Heard::new(10, 50);
        h.note(now, at(1), run(1, 9), 5);
        for (run, sequence, expected) in [
            (run(1, 9), 5, Err(DropReason::Duplicate)),
            (run(1, 9), 4, Ok(())),
            (run(1, 8), 6, Err(DropReason::Replayed)),
            (run(1, 10), 5, Ok(())),
            (run(2, 1), 5, Ok(())),
            (run(2, 1), u64::MAX, Err(DropReason::Malformed)),
        ] {
            assert_eq!(h.judge(now, &at(1), run, sequence), expected, "{run:?} {sequence}");
        }
        h.note(now, at(1), run(2, 1), 5);
        assert_eq!(h.judge(now, &at(1), run(1, 10), 6), Err(DropReason::Replayed));
        assert_eq!(h.judge(now, &at(1), run(2, 1), 4), Ok(()));
    }

    #[test]
    fn n8_an_origin_is_held_to_its_rate_and_the_table_to_its_size() {
        let now = Instant::from_micros(10_000_000);
        let mut h = Heard::new(3, 50);
        let mut passed = 0;
        for ms in 0..10_000 {
            let now = now + Duration::from_millis(ms);
            if h.judge(now, &at(1), run(1, 1), ms).is_ok() {
                h.note(now, at(1), run(1, 1), ms);
                passed += 1;
            }
        }
        assert!((500..=610).contains(&passed), "{passed} in ten seconds");
        for n in 2..100 {
            h.note(now + Duration::from_secs(u64::from(n)), at(n), run(1, 1), 1);
            assert!(h.windows.len() <= 3);
        }
        assert!(h.windows.contains_key(&at(99)) && !h.windows.contains_key(&at(1)));
        let mut silent = Heard::new(3, 0);
        assert_eq!(silent.judge(now, &at(1), run(1, 1), 1), Err(DropReason::RateLimited));
        silent.note(now, at(1), run(1, 1), 1);
    }

    proptest! {
        #[test]
        fn n8_no_number_is_news_twice_and_none_within_the_span_is_lost(
            numbers in prop::collection::vec(prop_oneof![0u64..700, 0u64..5_000, Just(u64::MAX - 1)], 0..400),
        ) {
            let mut window = Window::new(run(1, 1), Pace::default());
            let (mut heard, mut greatest) = (BTreeSet::new(), None);
            for n in numbers {
                let news = !window.heard(n);
                let within = greatest.is_none_or(|g: u64| n > g || g - n < SPAN);
                prop_assert_eq!(news, within && !heard.contains(&n), "{}", n);
                if news {
                    window.note(n);
                    heard.insert(n);
                    greatest = greatest.max(Some(n));
                }
                prop_assert!(window.heard(n));
            }
        }
    }
}
