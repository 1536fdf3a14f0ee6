//! Late choice past the socket: how much of a link's backlog the kernel may hold.
//!
//! What the kernel holds can no longer be overtaken, so on a link that is the bottleneck it should
//! hold just enough to keep it busy. How much that is follows from how fast the link drains while
//! frames wait for it, which is measured here, and from its round trip:
//!
//! - *unsent*: half a millisecond of what it drains, kept exactly ([`Transport::set_exact`]);
//! - *held*, unsent or unacknowledged: two round trips of it, which is what congestion control
//!   needs to find out whether there is more, and half a millisecond for wake-ups. The queues of
//!   network cards and of routers that buffer too much are made of this.
//!
//! A link may be full without a frame ever waiting for it here: one that takes as fast as another
//! link brings, and has been handed more at once after a pause of its thread, keeps that burst in the
//! kernel or in a network card for as long as neither rate changes. Nothing blocks, but round trips
//! grow. So a link whose round trips say that bytes wait in it is bounded as well, by what it carried
//! while some were on their way.
//!
//! Links of 2 Gbit/s and more, and longer ones than the bound can reach, are left to the kernel. The
//! bound never chokes a link that could go faster: what drains in two round trips is twice what it
//! did in the one before, so bound and rate double together until the link is the limit again.

use std::time::Duration;

use trunkline_proto::base::Instant;

use crate::net::Transport;
use crate::net::tcp::{self, Pace};

/// Least and most bytes the kernel may hold unsent for one link.
const UNSENT: (u64, u64) = (4 << 10, 1 << 20);
/// What it may hold unsent before anything was measured.
const UNSENT_FIRST: u32 = 32 << 10;
/// Below this limit it is worth holding the kernel to it exactly.
const EXACT: u32 = 128 << 10;
/// A link that drains so many bytes a millisecond (2 Gbit/s) is no narrow one: bounding it costs
/// more wake-ups than it saves anybody time.
const NARROW: u64 = 250_000;
/// Least bytes the kernel may hold: a few segments, with its own records of them.
const HELD_LEAST: u64 = 16 << 10;
/// The shortest time that is measured.
const SPAN: Duration = Duration::from_millis(20);
/// The longest one between two looks at a link that does not block, and the least bytes it must have
/// carried in it: what carries less does not wait for itself.
const SEEN: (Duration, u64) = (Duration::from_secs(1), 32 << 10);
/// What a round trip may last beyond twice the least one before bytes count as waiting on the path.
const QUEUED: Duration = Duration::from_micros(500);

/// What the kernel may hold of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    /// Bytes not sent yet.
    unsent: u32,
    /// Bytes not acknowledged yet, unsent ones included; `None` leaves it to the kernel.
    held: Option<usize>,
}

impl Bounds {
    /// For a link that drains so many bytes a millisecond.
    fn of(bytes_per_ms: u64, pace: &Pace) -> Self {
        let unsent = (bytes_per_ms / 2).clamp(UNSENT.0, UNSENT.1);
        let us = micros(pace.least_round_trip).saturating_mul(2).saturating_add(500);
        let held = (bytes_per_ms.saturating_mul(us) / 1_000).max(few(pace));
        let held = usize::try_from(held).ok();
        let held = held.filter(|h| *h <= tcp::HELD_MAX && bytes_per_ms < NARROW);
        Self { unsent: u32::try_from(unsent).unwrap_or(u32::MAX), held }
    }

    /// For a link that never blocked and carried so many bytes while it was busy for so long, if its
    /// round trips say that bytes wait in it.
    fn if_queued(pace: &Pace, carried: u64, busy: Duration) -> Option<Self> {
        let rate = per_ms(carried, busy);
        let waits = pace.round_trip.saturating_sub(pace.least_round_trip * 2);
        let queued = waits > QUEUED && rate.saturating_mul(micros(waits)) / 1_000 >= few(pace);
        queued.then(|| Self::of(rate, pace))
    }

    /// Whether the difference is worth telling the kernel.
    fn differs(&self, from: &Self) -> bool {
        let far = |a: u64, b: u64| a > b / 2 * 3 || a < b / 3 * 2;
        let held = match (self.held, from.held) {
            (Some(a), Some(b)) => far(a as u64, b as u64),
            (a, b) => a != b,
        };
        held || far(self.unsent.into(), from.unsent.into())
    }
}

/// What is known of how fast one link drains, and what the kernel was told.
#[derive(Debug)]
pub(super) struct Late {
    bounds: Bounds,
    /// Since when the link has been the bottleneck, and what it has taken from then on.
    backlog: Option<(Instant, u64)>,
    /// When the kernel was last asked about a link that was not, and what it said;
    seen: (Instant, Pace),
    /// what the link has taken from then on.
    offered: u64,
}

impl Late {
    /// Bounds for a connection nothing is known of.
    pub(super) fn new(transport: &Transport) -> Self {
        let _ = tcp::set_unsent_limit(transport.socket(), UNSENT_FIRST);
        let bounds = Bounds { unsent: UNSENT_FIRST, held: None };
        Self { bounds, backlog: None, seen: (Instant::ZERO, Pace::default()), offered: 0 }
    }

    /// Most bytes worth offering in one write.
    pub(super) const fn budget(&self) -> usize {
        self.bounds.unsent as usize
    }

    /// The link has taken so many bytes.
    pub(super) const fn took(&mut self, bytes: usize) {
        self.offered += bytes as u64;
        if let Some((_, taken)) = &mut self.backlog {
            *taken += bytes as u64;
        }
    }

    /// Nothing waits for the link any more: it is not the bottleneck, unless its round trips say so.
    pub(super) fn drained(&mut self, now: Instant, transport: &mut Transport) {
        self.backlog = None;
        let (before, last) = self.seen;
        let elapsed = now.since(before);
        if self.offered < SEEN.1 || elapsed < SPAN {
            return;
        }
        // Whatever is said now, asked again when as much has been taken.
        self.offered = 0;
        let Ok(pace) = tcp::pace(transport.socket()) else { return };
        if elapsed <= SEEN.0 {
            let busy = pace.busy.saturating_sub(last.busy);
            if busy < SPAN {
                return;
            }
            let carried = pace.acknowledged.saturating_sub(last.acknowledged);
            if let Some(bounds) = Bounds::if_queued(&pace, carried, busy) {
                self.tell(bounds, transport);
            }
        }
        self.seen = (now, pace);
    }

    /// The link takes no more for now. Measures, and tells the kernel when that has changed much.
    pub(super) fn blocked(&mut self, now: Instant, transport: &mut Transport) {
        let Some((since, taken)) = self.backlog else {
            self.backlog = Some((now, 0));
            return;
        };
        let elapsed = now.since(since);
        if elapsed < SPAN {
            return;
        }
        let pace = tcp::pace(transport.socket()).unwrap_or_default();
        if elapsed < pace.least_round_trip {
            return;
        }
        self.backlog = Some((now, 0));
        self.tell(Bounds::of(per_ms(taken, elapsed), &pace), transport);
    }

    /// Tells the kernel, if it is worth it.
    fn tell(&mut self, bounds: Bounds, transport: &mut Transport) {
        if !bounds.differs(&self.bounds) {
            return;
        }
        let socket = transport.socket();
        let _ = tcp::set_unsent_limit(socket, bounds.unsent);
        if bounds.held != self.bounds.held {
            // Not oftener: giving back what is not bounded would shrink what the kernel grew.
            let _ = tcp::bound_held(socket, bounds.held);
        }
        transport.set_exact(bounds.unsent < EXACT);
        self.bounds = bounds;
    }
}

/// Bytes that are no queue: a few, and two segments, since who has not got more may acknowledge them
/// when it suits. Between programs of one machine segments have 64 KiB, and are acknowledged when
/// they are read.
fn few(pace: &Pace) -> u64 {
    HELD_LEAST.max(2 * pace.segment)
}

/// Bytes a millisecond.
fn per_ms(bytes: u64, elapsed: Duration) -> u64 {
    bytes.saturating_mul(1_000) / micros(elapsed).max(1)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MBIT_PER_MS: u64 = 125;

    /// A path of Ethernet that takes so long for a round trip, nothing waiting.
    fn pace(least_round_trip: Duration) -> Pace {
        Pace { segment: 1_448, round_trip: least_round_trip, least_round_trip, ..Pace::default() }
    }

    fn held(mbit: u64, round_trip_ms: u64) -> Option<usize> {
        Bounds::of(mbit * MBIT_PER_MS, &pace(Duration::from_millis(round_trip_ms))).held
    }

    #[test]
    fn b3_a_narrow_link_holds_little_however_slow() {
        assert_eq!(held(1, 0), Some(16 << 10));
        assert_eq!(held(1_000, 0), Some(62_500));
        assert_eq!(Bounds::of(0, &pace(Duration::ZERO)).unsent, 4 << 10);
    }

    #[test]
    fn b3_wide_or_long_links_are_left_to_the_kernel() {
        assert_eq!(held(2_000, 0), None);
        assert_eq!(held(1_000, 50), None);
        let widest = Bounds::of(u64::MAX, &pace(Duration::MAX));
        assert_eq!(widest, Bounds { unsent: 1 << 20, held: None });
    }

    #[test]
    fn b3_a_bound_grows_with_the_rate_it_allows() {
        let (round_trip, mut rate) = (Duration::from_millis(10), 1_600);
        while let Some(held) = Bounds::of(rate, &pace(round_trip)).held {
            let allowed = held as u64 / 10;
            assert!(allowed >= 2 * rate, "{allowed} bytes/ms after {rate}");
            rate = allowed;
        }
    }

    #[test]
    fn b3_a_link_that_never_blocks_is_bounded_once_its_round_trips_grow() {
        let (least, busy) = (Duration::from_micros(50), Duration::from_millis(40));
        let bounds = |mbit: u64, us| {
            let pace = Pace { round_trip: Duration::from_micros(us), ..pace(least) };
            Bounds::if_queued(&pace, 40 * mbit * MBIT_PER_MS, busy)
        };
        assert_eq!(bounds(1_000, 600), None);
        assert_eq!(bounds(1_000, 700), Some(Bounds::of(1_000 * MBIT_PER_MS, &pace(least))));
        // Acknowledged when it suits: 3 Mbit/s, and 40 ms late.
        assert_eq!(bounds(3, 40_000), None);
        assert_eq!(bounds(3, 50_000), Some(Bounds::of(3 * MBIT_PER_MS, &pace(least))));
    }

    #[test]
    fn b3_two_segments_that_are_acknowledged_when_they_are_read_are_no_queue() {
        let near = Pace { segment: 65_483, ..pace(Duration::from_micros(20)) };
        let after = |us| Pace { round_trip: Duration::from_micros(us), ..near };
        // 100 MB a second, the reader a millisecond late, and two.
        let (carried, busy) = (100_000 * 40, Duration::from_millis(40));
        assert_eq!(Bounds::if_queued(&after(1_000), carried, busy), None);
        let bounds = Bounds::if_queued(&after(2_000), carried, busy);
        assert_eq!(bounds.and_then(|b| b.held), Some(2 * 65_483));
    }

    #[test]
    fn b3_the_kernel_is_told_of_large_changes_only() {
        let told = Bounds { unsent: 30_000, held: Some(60_000) };
        let with = |unsent, held| Bounds { unsent, held };
        assert!(!with(31_000, Some(55_000)).differs(&told));
        assert!(with(60_000, Some(60_000)).differs(&told));
        assert!(with(30_000, Some(30_000)).differs(&told));
        assert!(with(30_000, None).differs(&told));
    }
}
