//! Which lane is next: the highest, unless a lower one has been promised a part and waits for it.

use super::{LANES, Lane};

/// The credit at which a level sends before its turn, and twice that the most it saves up: one
/// large frame, in hundredths of a byte.
const CREDIT: i64 = 100 * (16 << 10);

/// What lower levels are promised while higher ones have something to send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    /// Of a hundred bytes of data.
    percent: u8,
    /// In hundredths of a byte, what each level may send before its turn. Below zero after a run
    /// larger than what it had saved.
    credit: [i64; LANES],
}

impl Share {
    pub(super) fn new(percent: u8) -> Self {
        Self { percent, ..Self::default() }
    }

    /// Whether nothing is promised.
    pub(super) const fn is_strict(&self) -> bool {
        self.percent == 0
    }

    /// The lane that sends next.
    #[inline]
    pub(super) fn choose(&self, waiting: u16) -> Option<usize> {
        let top = highest(waiting)?;
        if self.is_strict() || top == Lane::Control.index() {
            return Some(top);
        }
        Some(self.saved(waiting, top))
    }

    /// The highest level under `top` that has saved up enough, else `top`.
    fn saved(&self, waiting: u16, top: usize) -> usize {
        let saved = |(i, credit): &(usize, &i64)| waiting & 1 << i != 0 && **credit >= CREDIT;
        let lower = self.credit.iter().enumerate().take(top);
        lower.rev().find(saved).map_or(top, |(i, _)| i)
    }

    /// `bytes` left lane `index` while these waited, it among them.
    #[inline]
    pub(super) fn sent(&mut self, index: usize, bytes: usize, waiting: u16) {
        if !self.is_strict() {
            self.settle(index, bytes, waiting);
        }
    }

    fn settle(&mut self, index: usize, bytes: usize, waiting: u16) {
        let data = waiting & !(1 << Lane::Control.index());
        let Some(top) = highest(data) else { return };
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / 128);
        for (i, credit) in self.credit.iter_mut().enumerate() {
            if i >= top || data & 1 << i == 0 {
                // What has nothing to send, or the first turn, saves nothing up.
                *credit = (*credit).min(0);
            } else if index <= top {
                *credit = credit.saturating_add(bytes * i64::from(self.percent)).min(2 * CREDIT);
            }
            if i == index && i < top {
                *credit = credit.saturating_sub(bytes * 100);
            }
        }
    }
}

/// The place of the highest bit.
pub(super) const fn highest(waiting: u16) -> Option<usize> {
    match waiting {
        0 => None,
        _ => Some((u16::BITS - 1 - waiting.leading_zeros()) as usize),
    }
}
