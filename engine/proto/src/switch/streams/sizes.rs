//! Whether the path swallows what is large and lets the rest through (PROTOCOL §4.8, 8).
//!
//! A path may change to one that takes smaller datagrams only. What says so is that large packets
//! are lost one after the other and none that was sent later arrives. A burst lost in a full queue
//! looks the same for a moment if a large packet did not follow it, so the suspicion is nothing but
//! a reason to go back to the small ones and to try the large anew: that is the line's matter,
//! which this file knows nothing of.

use super::recovery::{Gain, Losses};
use crate::base::Instant;

/// Payload of a packet that does not fit every path (PROTOCOL §3.4: 1,188 bytes inside the line).
pub(super) const LARGE: u64 = 1_188;
/// So many losses in a row are suspicious.
const SUSPICIOUS: u32 = 4;
/// A loss found by silence stands for more than one: few packets are sent in it.
const BY_SILENCE: u32 = 2;

/// What became of large packets, all streams of the line together.
#[derive(Debug)]
pub(super) struct Sizes {
    /// When the newest that is known to have arrived was sent.
    arrived: Instant,
    /// How many sent after it were lost.
    lost: u32,
}

impl Sizes {
    pub(super) const fn new(now: Instant) -> Self {
        Self { arrived: now, lost: 0 }
    }

    pub(super) fn arrived(&mut self, gain: &Gain) {
        if let Some(sent) = gain.large.filter(|sent| *sent >= self.arrived) {
            *self = Self { arrived: sent, lost: 0 };
        }
    }

    pub(super) fn lost(&mut self, losses: &Losses) {
        if losses.newest_large.is_some_and(|sent| sent > self.arrived) {
            self.lost = self.lost.saturating_add(losses.large);
        }
    }

    /// The oldest packet on its way, sent then, was taken for lost because nothing answered.
    pub(super) fn lost_in_silence(&mut self, sent: Option<Instant>) {
        if sent.is_some_and(|sent| sent > self.arrived) {
            self.lost = self.lost.saturating_add(BY_SILENCE);
        }
    }

    /// Whether the path may swallow what is large. Said once; what is sent from now on counts anew.
    pub(super) fn take_suspicion(&mut self, now: Instant) -> bool {
        let suspicious = self.lost >= SUSPICIOUS;
        if suspicious {
            *self = Self::new(now);
        }
        suspicious
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Instant {
        Instant::from_micros(1) + MS * ms
    }

    fn losses(large: u32, newest: u32) -> Losses {
        Losses { large, newest_large: Some(at(newest)), ..Losses::default() }
    }

    #[test]
    fn s22_large_packets_lost_in_a_row_are_suspicious_once() {
        let mut sizes = Sizes::new(at(0));
        sizes.lost(&losses(3, 10));
        assert!(!sizes.take_suspicion(at(20)));
        sizes.lost(&losses(1, 12));
        assert!(sizes.take_suspicion(at(21)));
        assert!(!sizes.take_suspicion(at(22)));
        sizes.lost(&losses(9, 20));
        assert!(!sizes.take_suspicion(at(23)), "sent before that was said");
    }

    #[test]
    fn s22_a_burst_of_losses_is_not_if_a_large_packet_sent_later_arrived() {
        let mut sizes = Sizes::new(at(0));
        sizes.arrived(&Gain { large: Some(at(11)), ..Gain::default() });
        sizes.lost(&losses(50, 10));
        assert!(!sizes.take_suspicion(at(20)));
        // Nor is what came before one.
        sizes.lost(&losses(3, 12));
        sizes.arrived(&Gain { large: Some(at(13)), ..Gain::default() });
        sizes.lost(&losses(3, 14));
        assert!(!sizes.take_suspicion(at(20)));
    }

    #[test]
    fn s22_two_large_packets_that_nothing_answers_are() {
        let mut sizes = Sizes::new(at(0));
        sizes.lost_in_silence(None);
        sizes.lost_in_silence(Some(at(1)));
        assert!(!sizes.take_suspicion(at(2)));
        sizes.lost_in_silence(Some(at(3)));
        assert!(sizes.take_suspicion(at(4)));
    }
}
