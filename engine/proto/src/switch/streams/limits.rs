//! Every bound of the streams of one line, with what it can pin in memory.

use core::time::Duration;

use super::congestion::CongestionKind;

/// Credit every direction has before its receiver has spoken; part of the protocol, so that the
/// first packets need no answer.
pub const INITIAL_CREDIT: u64 = 16 * 1024;

/// Bounds of all streams of one line. The fields may be set one by one; [`Default`] is meant
/// for the open Internet.
///
/// At the very most one line pins, with the defaults: received 16 MiB + 1,024 × 16 KiB = 32 MiB
/// of window, times four for the buffers behind it (a payload that fills less than a quarter of
/// the largest packet is copied out), sent 16 MiB + 1,024 × 16 KiB = 32 MiB, and 5 MiB of
/// bookkeeping. A line without streams pins 1.6 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Streams at once, whoever opened them. 1,024 × ~0.7 KiB = 0.7 MiB.
    pub streams: usize,
    /// Bytes of a stream that may be on their way or unread, at first. Doubles when the sender
    /// says that this held it back while the reader kept up.
    pub window: u64,
    /// The most that grows to. 4 MiB is 670 Mbit/s at 50 ms.
    pub window_max: u64,
    /// All windows of the line beyond [`INITIAL_CREDIT`] each. One stream gets at most half of
    /// what is left, so that slow readers cannot starve the others.
    pub line_window: u64,
    /// Bytes a stream holds unsent or unacknowledged, at first; then twice the congestion window.
    pub send_buffer: u64,
    /// The most that grows to.
    pub send_buffer_max: u64,
    /// All send buffers of the line beyond 16 KiB each, shared as `line_window` is.
    pub line_send_buffer: u64,
    /// Bytes on their way, all streams together, whatever the congestion window says.
    pub in_flight: u64,
    /// What decides how much of that may be on its way.
    pub congestion: CongestionKind,
    /// Packets of one stream on their way or missed. Only tiny ones are ever so many: 16,384 ×
    /// ~70 bytes = 1.1 MiB.
    pub packets: usize,
    /// Pieces of one stream held because something before them is missing: a 4 MiB window of
    /// 1,150-byte packets. 4,096 × ~100 bytes = 400 KiB.
    pub fragments: usize,
    /// The same over all streams of the line. 16,384 × ~100 bytes = 1.6 MiB.
    pub line_fragments: usize,
    /// Packets that are acknowledged together.
    pub ack_every: u32,
    /// Packets without anything new after which an acknowledgement goes out.
    pub ack_duplicates: u32,
    /// Whether packets beyond a gap, or into one, are acknowledged at once.
    pub ack_gaps: bool,
    /// Whether a stream that owes an acknowledgement sends it along with data.
    pub ack_beside_data: bool,
    /// The longest an acknowledgement waits for company.
    pub ack_delay: Duration,
    /// What is missed is repeated by this clock; by round trips if there is none.
    pub misses: Option<MissesTimer>,
    /// Assumed until a round trip has been measured.
    pub initial_rtt: Duration,
    /// The longest pause between two probes.
    pub probe_max: Duration,
    /// A stream is dead when nothing was acknowledged for this long,
    pub dead_after: Duration,
    /// and more than this many probes were sent meanwhile, or one packet was repeated more often.
    pub dead_probes: u32,
    /// RESET and ACK answers waiting to be sent for streams that are gone. 64 × 48 bytes = 3 KiB.
    pub answers: usize,
    /// RESET answers a second.
    pub resets_per_second: u32,
}

/// The notes' clock for repeating what is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissesTimer {
    /// How often it ticks while something is unanswered.
    pub every: Duration,
    /// How many of the missed packets it repeats, the oldest first.
    pub first: u32,
}

impl StreamLimits {
    /// The least that streams may do, by the constants of the notes this protocol goes back to: a
    /// window of 100 packets, acknowledgements by count, and every five seconds the first five
    /// misses. Both ends may have different limits; a peer with these is understood by any other.
    ///
    /// A line pins at most 1,024 streams × (100 pieces + 100 packets) and the windows above.
    #[must_use]
    pub fn minimal() -> Self {
        Self {
            window_max: 256 * 1024,
            send_buffer_max: 256 * 1024,
            congestion: CongestionKind::Fixed,
            packets: 100,
            fragments: 100,
            ack_every: 31,
            ack_duplicates: 5,
            ack_gaps: false,
            ack_beside_data: true,
            // The notes confirm what is left by what the other direction sends; where it is silent
            // a second must do.
            ack_delay: Duration::from_secs(1),
            misses: Some(MissesTimer { every: Duration::from_secs(5), first: 5 }),
            ..Self::default()
        }
    }
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            streams: 1_024,
            window: 256 * 1024,
            window_max: 4 << 20,
            line_window: 16 << 20,
            send_buffer: 256 * 1024,
            send_buffer_max: 4 << 20,
            line_send_buffer: 16 << 20,
            in_flight: 4 << 20,
            congestion: CongestionKind::Cubic,
            packets: 16_384,
            fragments: 4_096,
            line_fragments: 16_384,
            ack_every: 2,
            ack_duplicates: 1,
            ack_gaps: true,
            ack_beside_data: false,
            ack_delay: Duration::from_millis(5),
            misses: None,
            initial_rtt: Duration::from_millis(333),
            probe_max: Duration::from_secs(10),
            dead_after: Duration::from_secs(60),
            dead_probes: 3,
            answers: 64,
            resets_per_second: 100,
        }
    }
}

/// A budget that many share: everyone has a floor of their own, and beyond it nobody grows to
/// more than half of what is left. However many hold all they can, something is left for the next.
#[derive(Debug)]
pub(super) struct Pool {
    total: u64,
    used: u64,
}

impl Pool {
    pub(super) const FLOOR: u64 = INITIAL_CREDIT;

    pub(super) const fn new(total: u64) -> Self {
        Self { total, used: 0 }
    }

    /// The most that anyone may grow to now.
    pub(super) const fn most(&self) -> u64 {
        Self::FLOOR.saturating_add(self.total.saturating_sub(self.used) / 2)
    }

    /// Someone's holding went from `before` to `after`.
    pub(super) fn moved(&mut self, before: u64, after: u64) {
        let beyond = |held: u64| held.saturating_sub(Self::FLOOR);
        self.used = self.used.saturating_add(beyond(after)).saturating_sub(beyond(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s24_a_pool_leaves_something_for_everyone() {
        let mut pool = Pool::new(16 << 20);
        let mut held = [0u64; 50];
        for _ in 0..100 {
            for h in &mut held {
                let most = pool.most().min(4 << 20).max(*h);
                assert!(most >= Pool::FLOOR);
                pool.moved(*h, most);
                *h = most;
                assert!(pool.used <= 16 << 20);
            }
        }
        pool.moved(held[0], 0);
        assert!(pool.most() > 64 * 1024, "{held:?}");
        for h in &held[1..] {
            pool.moved(*h, 0);
        }
        assert_eq!(pool.used, 0);
    }
}
