//! Whether the path swallows what is large and lets the rest through (PROTOCOL §4.8, 8).
//!
//! A path may change to one that takes smaller datagrams only. What says so is that large packets
//! are lost one after the other and none that was sent later arrives. A burst lost in a full queue
//! looks the same for a moment if a large packet did not follow it, so the suspicion is nothing but
//! a reason to go back to the small ones and to try the large anew: that is the line's matter,
//! which this file knows nothing of.

use super::recovery::{Gain, Losses};
use crate::base::Instant;

/// Payload from beyond which a packet does not fit every path (PROTOCOL §3.4: 1,188 bytes inside the
/// line), and from beyond which it does not fit Ethernet. What arrives of the one kind says nothing
/// of the other.
const LARGE: [u64; 2] = [1_188, 1_428];
/// So many losses in a row are suspicious.
const SUSPICIOUS: u32 = 4;
/// A loss found by silence stands for more than one: few packets are sent in it.
const BY_SILENCE: u32 = 2;

/// The large among some packets, for each of the sizes [`LARGE`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Large([Packets; LARGE.len()]);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Packets {
    count: u32,
    /// When the newest was sent, at the latest.
    newest: Option<Instant>,
}

impl Large {
    /// A packet of so much payload is one of them.
    pub(super) fn note(&mut self, payload: u64, sent: Instant) {
        for (packets, over) in self.0.iter_mut().zip(LARGE) {
            if payload > over {
                packets.count = packets.count.saturating_add(1);
                packets.newest = packets.newest.max(Some(sent));
            }
        }
    }
}

/// What became of large packets, all streams of the line together.
#[derive(Debug)]
pub(super) struct Sizes([Fate; LARGE.len()]);

/// What became of those of one size.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// When the newest that is known to have arrived was sent.
    arrived: Instant,
    /// How many sent after it were lost.
    lost: u32,
}

impl Fate {
    /// Nothing is known yet of what is sent from now on.
    const fn from(now: Instant) -> Self {
        Self { arrived: now, lost: 0 }
    }
}

impl Sizes {
    pub(super) const fn new(now: Instant) -> Self {
        Self([Fate::from(now); LARGE.len()])
    }

    pub(super) fn arrived(&mut self, gain: &Gain) {
        for (fate, packets) in self.0.iter_mut().zip(gain.large.0) {
            if let Some(sent) = packets.newest.filter(|sent| *sent >= fate.arrived) {
                *fate = Fate::from(sent);
            }
        }
    }

    pub(super) fn lost(&mut self, losses: &Losses) {
        self.lose(&losses.large, 1);
    }

    /// The oldest packet on its way was taken for lost because nothing answered.
    pub(super) fn lost_in_silence(&mut self, oldest: &Large) {
        self.lose(oldest, BY_SILENCE);
    }

    fn lose(&mut self, lost: &Large, weight: u32) {
        for (fate, packets) in self.0.iter_mut().zip(lost.0) {
            if packets.newest.is_some_and(|sent| sent > fate.arrived) {
                fate.lost = fate.lost.saturating_add(packets.count.saturating_mul(weight));
            }
        }
    }

    /// Whether the path may swallow what is large. Said once; what is sent from now on counts anew.
    pub(super) fn take_suspicion(&mut self, now: Instant) -> bool {
        let suspicious = self.0.iter().any(|fate| fate.lost >= SUSPICIOUS);
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

    /// So many packets of this payload.
    fn packets(payload: u64, count: u32, newest: u32) -> Large {
        let mut large = Large::default();
        (0..count).for_each(|_| large.note(payload, at(newest)));
        large
    }

    fn losses_of(payload: u64, count: u32, newest: u32) -> Losses {
        Losses { large: packets(payload, count, newest), ..Losses::default() }
    }

    fn losses(count: u32, newest: u32) -> Losses {
        losses_of(1_400, count, newest)
    }

    fn gain(payload: u64, sent: u32) -> Gain {
        Gain { large: packets(payload, 1, sent), ..Gain::default() }
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
        sizes.arrived(&gain(1_400, 11));
        sizes.lost(&losses(50, 10));
        assert!(!sizes.take_suspicion(at(20)));
        // Nor is what came before one.
        sizes.lost(&losses(3, 12));
        sizes.arrived(&gain(1_400, 13));
        sizes.lost(&losses(3, 14));
        assert!(!sizes.take_suspicion(at(20)));
    }

    #[test]
    fn s22_jumbo_packets_lost_in_a_row_are_whatever_arrives_that_is_smaller() {
        let mut sizes = Sizes::new(at(0));
        for ms in (0..40).step_by(10) {
            assert!(!sizes.take_suspicion(at(ms)));
            sizes.arrived(&gain(1_400, ms + 2));
            sizes.lost(&losses_of(8_700, 1, ms + 1));
        }
        assert!(sizes.take_suspicion(at(50)));
        sizes.lost(&losses_of(8_700, 3, 61));
        sizes.arrived(&gain(8_700, 62));
        sizes.lost(&losses_of(8_700, 3, 63));
        assert!(!sizes.take_suspicion(at(70)));
    }

    #[test]
    fn s22_two_large_packets_that_nothing_answers_are() {
        let mut sizes = Sizes::new(at(0));
        sizes.lost_in_silence(&Large::default());
        sizes.lost_in_silence(&packets(1_400, 1, 1));
        assert!(!sizes.take_suspicion(at(2)));
        sizes.lost_in_silence(&packets(1_400, 1, 3));
        assert!(sizes.take_suspicion(at(4)));
    }
}
