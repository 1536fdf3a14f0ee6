//! How much may be on its way: the seam between the streams and a congestion controller.
//!
//! The streams of a line share one controller and count its bytes in flight themselves; a
//! controller only says how large the window is. Never knows streams or packets.

use core::fmt;
use core::time::Duration;

use super::bbr::Bbr;
use super::cubic::Cubic;
use crate::base::Instant;

/// What one acknowledgement says to a controller.
#[derive(Clone, Copy, Debug)]
pub struct AckSample {
    /// When it came.
    pub now: Instant,
    /// Bytes it newly acknowledged.
    pub bytes: u64,
    /// When the packet it answers was sent, if it says so.
    pub sent: Option<Instant>,
    /// The round trip of that packet, if it could be measured.
    pub rtt: Option<Duration>,
    /// The smoothed round trip.
    pub smoothed: Duration,
    /// Whether the window has held the senders back of late. A window nobody fills must not grow.
    pub limited: bool,
    /// Bytes still on their way.
    pub in_flight: u64,
}

/// A congestion controller. Sizes are in bytes of stream packets.
pub trait Congestion: Send + fmt::Debug {
    /// The most that may be on its way.
    fn window(&self) -> u64;
    /// Bytes a second at which the window may leave; a path's first round trips have to fill the
    /// window to learn anything, so by default a quarter more than drains it in a round trip.
    fn pacing(&self, smoothed: Duration) -> u64 {
        spread(self.window(), 125, smoothed)
    }
    /// Something was acknowledged.
    fn on_ack(&mut self, sample: &AckSample);
    /// So many bytes were taken for lost, for a controller that weighs them.
    fn on_lost(&mut self, _bytes: u64) {}
    /// Packets were lost that were sent after the last such call: a new congestion.
    fn on_loss(&mut self, now: Instant);
    /// The losses of the last congestion turned out to be late packets.
    fn on_false_loss(&mut self);
    /// Nothing has come back for several round trips.
    fn on_stall(&mut self, now: Instant);
    /// Sending resumes after a pause of `paused`.
    fn on_resume(&mut self, now: Instant, paused: Duration);
    /// The largest packet changed.
    fn set_packet(&mut self, bytes: u64);
    /// Another path: start over.
    fn reset(&mut self, now: Instant);
}

/// The controllers there are to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CongestionKind {
    /// [`Cubic`]: what most of the Internet uses; fair beside it.
    Cubic,
    /// [`Bbr`]: a model of the path, for paths that lose packets at random.
    Bbr,
    /// [`Fixed`]: none, for the notes' floor, whose window counts packets of each stream.
    Fixed,
}

impl CongestionKind {
    /// A controller for packets of at most `packet` bytes and never more than `most` bytes on
    /// their way.
    #[must_use]
    pub fn controller(self, packet: u64, most: u64) -> Box<dyn Congestion> {
        match self {
            Self::Cubic => Box::new(Cubic::new(packet, most)),
            Self::Bbr => Box::new(Bbr::new(packet, most)),
            Self::Fixed => Box::new(Fixed { most }),
        }
    }
}

/// No controller: the window is as large as the limits let it be.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    /// The window in bytes.
    pub most: u64,
}

impl Congestion for Fixed {
    fn window(&self) -> u64 {
        self.most
    }
    fn pacing(&self, _: Duration) -> u64 {
        u64::MAX
    }
    fn on_ack(&mut self, _: &AckSample) {}
    fn on_loss(&mut self, _: Instant) {}
    fn on_false_loss(&mut self) {}
    fn on_stall(&mut self, _: Instant) {}
    fn on_resume(&mut self, _: Instant, _: Duration) {}
    fn set_packet(&mut self, _: u64) {}
    fn reset(&mut self, _: Instant) {}
}

/// The window to begin with: ten packets, at least 64 KiB where packets are large anyway
/// (RFC 6928 for the former; a path with large packets is a mesh route over TCP, or one of jumbo
/// frames).
#[must_use]
pub fn initial_window(packet: u64) -> u64 {
    let ten = packet.saturating_mul(10);
    if packet > 4_096 { ten.clamp(64 * 1024, 256 * 1024) } else { ten }
}

/// `percent` hundredths of `bytes` in each `round_trip`, in bytes a second.
#[must_use]
pub fn spread(bytes: u64, percent: u64, round_trip: Duration) -> u64 {
    let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(percent.saturating_mul(10_000)) / micros
}
