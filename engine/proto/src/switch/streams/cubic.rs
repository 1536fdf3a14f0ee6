//! CUBIC (RFC 9438) with HyStart++ (RFC 9406), in whole numbers so that a seed repeats anywhere.
//!
//! ```text
//!               delay grows                five calm rounds
//!   SlowStart ─────────────> Conservative ─────────────────> Avoidance <──┐ loss: window × 0.7,
//!       │  ^                  │   │                            ^   │      │ × 0.85 without a queue
//!       │  └──────────────────┘   │ loss                       │   └──────┘
//!       │   delay falls again     └────────────────────────────┤
//!       └── loss ──────────────────────────────────────────────┘
//!   a stall (nothing came back) and a new path lead to SlowStart from anywhere
//! ```
//!
//! Rounds end when a packet sent after the round began is acknowledged; echoed stamps tell.

use core::time::Duration;

use super::congestion::{AckSample, Congestion, initial_window, spread};
use crate::base::Instant;

/// The standard controller.
#[derive(Debug)]
pub struct Cubic {
    packet: u64,
    most: u64,
    window: u64,
    threshold: u64,
    phase: Phase,
    round: Round,
    /// When the last congestion was answered.
    answered: Option<Instant>,
    /// Where things stood before the last congestion, in case it was none.
    before: Option<(u64, u64, u64)>,
    w_max: u64,
    delay: Delay,
}

/// What the path's delay says about its queue.
#[derive(Debug, Clone, Copy, Default)]
struct Delay {
    least: Option<Duration>,
    smoothed: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    SlowStart,
    Conservative { baseline: Duration, rounds: u32 },
    Avoidance(Option<Epoch>),
}

/// One stretch of CUBIC growth, from its first acknowledgement on.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    began: Instant,
    /// Milliseconds from `began` until the old maximum is reached again.
    k_ms: u64,
    origin: u64,
    /// What Reno would have, in 1/1000 bytes.
    reno_milli: u64,
    /// Growth below one byte, in 1/1000 bytes.
    spare_milli: u64,
}

/// The delay of this round trip's packets beside the last one's.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    began: Instant,
    least: Option<Duration>,
    last: Option<Duration>,
    samples: u64,
}

/// The segments of the TCP that shares the path: what the window grows by is counted in these.
const SEGMENT: u64 = 1_448;
const CONSERVATIVE_ROUNDS: u32 = 5;
const CONSERVATIVE_DIVISOR: u64 = 4;
const SAMPLES: u64 = 8;
const DELAY_LEAST: Duration = Duration::from_millis(4);
const DELAY_MOST: Duration = Duration::from_millis(16);

impl Cubic {
    /// A controller for packets of at most `packet` bytes and never more than `most` bytes on
    /// their way.
    #[must_use]
    pub fn new(packet: u64, most: u64) -> Self {
        let packet = packet.max(1);
        Self {
            packet,
            most,
            window: initial_window(packet).min(most),
            threshold: u64::MAX,
            phase: Phase::SlowStart,
            round: Round::default(),
            answered: None,
            before: None,
            w_max: 0,
            delay: Delay::default(),
        }
    }

    fn least(&self) -> u64 {
        self.packet.saturating_mul(2)
    }

    /// What growth is counted in. A path loses packets, not bytes, and a window settles at the
    /// root of (growth × packet): packets smaller than TCP's must grow by more of them to get the
    /// same share of bytes beside it. Larger ones need no less than their own size to grow at all.
    fn unit(&self) -> u64 {
        (SEGMENT * SEGMENT / self.packet).clamp(self.packet, self.packet.saturating_mul(2))
    }

    fn set_window(&mut self, window: u64) {
        self.window = window.min(self.most).max(self.least());
    }

    /// Slow start and its conservative sequel; ends when delay says that a queue builds up.
    fn start(&mut self, s: &AckSample) {
        let grown = match self.phase {
            Phase::Conservative { .. } => s.bytes / CONSERVATIVE_DIVISOR,
            _ => s.bytes,
        };
        self.set_window(self.window.saturating_add(grown));
        if self.window >= self.threshold {
            self.phase = Phase::Avoidance(None);
            return;
        }
        if let Some(rtt) = s.rtt {
            self.round.least = Some(self.round.least.map_or(rtt, |l| l.min(rtt)));
            self.round.samples += 1;
        }
        // Small windows yield few samples a round; large packets keep windows small in packets.
        let enough = SAMPLES.min(self.window / self.packet / 4).max(2);
        if let (Some(least), Some(last)) = (self.round.least, self.round.last)
            && self.round.samples >= enough
        {
            let allowed = (last / 8).clamp(DELAY_LEAST, DELAY_MOST);
            match self.phase {
                Phase::SlowStart if least >= last + allowed => {
                    self.phase = Phase::Conservative { baseline: least, rounds: 0 };
                }
                Phase::Conservative { baseline, .. } if least < baseline => {
                    self.phase = Phase::SlowStart;
                }
                _ => {}
            }
        }
        self.end_round(s);
    }

    fn end_round(&mut self, s: &AckSample) {
        if s.sent.is_none_or(|sent| sent < self.round.began) {
            return;
        }
        let last = self.round.least.or(self.round.last);
        self.round = Round { began: s.now, least: None, last, samples: 0 };
        if let Phase::Conservative { rounds, .. } = &mut self.phase {
            *rounds += 1;
            if *rounds >= CONSERVATIVE_ROUNDS {
                self.threshold = self.window;
                self.phase = Phase::Avoidance(None);
            }
        }
    }

    fn new_epoch(&self, now: Instant) -> Epoch {
        let gap = self.w_max.saturating_sub(self.window);
        // K = cbrt(gap / (0.4 units)) seconds; in ms³ that is gap × 10⁹ × 10/4 / unit.
        let cubed = u128::from(gap) * 2_500_000_000 / u128::from(self.unit());
        Epoch {
            began: now,
            k_ms: cube_root(u64::try_from(cubed).unwrap_or(u64::MAX)),
            origin: self.window.max(self.w_max),
            reno_milli: self.window.saturating_mul(1_000),
            spare_milli: 0,
        }
    }

    /// Congestion avoidance: the cubic curve, or Reno where Reno is faster.
    fn avoid(&mut self, s: &AckSample, epoch: Option<Epoch>) {
        let mut e = epoch.unwrap_or_else(|| self.new_epoch(s.now));
        let at = s.now.since(e.began).saturating_add(s.smoothed);
        let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX).min(1_000_000);
        let target = e.curve(at_ms, self.unit()).clamp(self.window, self.window / 2 * 3);
        let grown_milli = u128::from(target - self.window) * u128::from(s.bytes) * 1_000
            / u128::from(self.window.max(1));
        e.spare_milli += u64::try_from(grown_milli).unwrap_or(0);
        let mut window = self.window.saturating_add(e.spare_milli / 1_000);
        e.spare_milli %= 1_000;
        // Reno with the same backoff: 3 × 0.3 / 1.7 units a round until the old maximum.
        let alpha = if e.reno_milli / 1_000 >= self.w_max { 1_000 } else { 529 };
        let reno =
            u128::from(s.bytes) * u128::from(self.unit()) * alpha / u128::from(self.window.max(1));
        e.reno_milli = e.reno_milli.saturating_add(u64::try_from(reno).unwrap_or(0));
        window = window.max(e.reno_milli / 1_000);
        self.phase = Phase::Avoidance(Some(e));
        self.set_window(window);
    }
}

impl Delay {
    /// No queue has built up, so a loss tells of chance more likely than of congestion, and half
    /// the answer will do: the thought of TCP Veno. A path whose delay has grown for another
    /// reason only gets the full answer.
    fn is_of_an_empty_path(&self) -> bool {
        let slack = |least: Duration| (least / 16).max(Duration::from_micros(500));
        self.least.is_some_and(|least| self.smoothed <= least + slack(least))
    }
}

impl Epoch {
    /// The window `at_ms` milliseconds into the epoch.
    fn curve(&self, at_ms: u64, unit: u64) -> u64 {
        let cube = |d: u64| {
            let d = u128::from(d);
            u64::try_from(d * d * d * u128::from(unit) * 4 / 10_000_000_000).unwrap_or(u64::MAX)
        };
        if at_ms >= self.k_ms {
            self.origin.saturating_add(cube(at_ms - self.k_ms))
        } else {
            self.origin.saturating_sub(cube(self.k_ms - at_ms))
        }
    }
}

impl Congestion for Cubic {
    fn window(&self) -> u64 {
        self.window
    }

    fn pacing(&self, smoothed: Duration) -> u64 {
        // While the window doubles, a rate that only keeps up with it would hold it back.
        let percent = if matches!(self.phase, Phase::SlowStart) { 200 } else { 125 };
        spread(self.window, percent, smoothed)
    }

    fn on_ack(&mut self, s: &AckSample) {
        if let Some(rtt) = s.rtt {
            let least = self.delay.least.map_or(rtt, |l| l.min(rtt));
            self.delay = Delay { least: Some(least), smoothed: s.smoothed };
        }
        // What was sent before the window was cut says nothing about the window now.
        let old = matches!((s.sent, self.answered), (Some(sent), Some(at)) if sent <= at);
        if old || !s.limited || s.bytes == 0 {
            return;
        }
        match self.phase {
            Phase::Avoidance(epoch) => self.avoid(s, epoch),
            _ => self.start(s),
        }
    }

    fn on_loss(&mut self, now: Instant) {
        self.answered = Some(now);
        self.before = Some((self.window, self.threshold, self.w_max));
        // Fast convergence: who comes later gets room.
        self.w_max = if self.window < self.w_max { self.window / 20 * 17 } else { self.window };
        let left = if self.delay.is_of_an_empty_path() { 85 } else { 70 };
        self.set_window(self.window / 100 * left);
        self.threshold = self.window;
        self.phase = Phase::Avoidance(None);
    }

    fn on_false_loss(&mut self) {
        if let Some((window, threshold, w_max)) = self.before.take() {
            self.set_window(window.max(self.window));
            (self.threshold, self.w_max) = (threshold, w_max);
            self.phase =
                if self.window < threshold { Phase::SlowStart } else { Phase::Avoidance(None) };
        }
    }

    fn on_stall(&mut self, now: Instant) {
        self.before = self.before.or(Some((self.window, self.threshold, self.w_max)));
        self.answered = Some(now);
        self.w_max = self.w_max.max(self.window);
        self.threshold = (self.window / 10 * 7).max(self.least());
        self.window = self.least();
        self.phase = Phase::SlowStart;
        self.round = Round { began: now, ..Round::default() };
    }

    fn on_resume(&mut self, now: Instant, paused: Duration) {
        let first = initial_window(self.packet).min(self.most);
        if paused > Duration::from_secs(1) && self.window > first {
            self.threshold = self.threshold.min(self.window.max(first));
            self.window = first.max(self.window / 2);
        }
        // The curve must not run on while nobody sends.
        match &mut self.phase {
            Phase::Avoidance(Some(e)) => e.began = (e.began + paused).min(now),
            Phase::Avoidance(None) => {}
            _ => self.round = Round { began: now, ..Round::default() },
        }
    }

    fn set_packet(&mut self, bytes: u64) {
        self.packet = bytes.max(1);
        self.set_window(self.window);
    }

    fn reset(&mut self, now: Instant) {
        *self = Self::new(self.packet, self.most);
        self.answered = Some(now);
    }
}

/// The largest number whose cube is at most `n`.
fn cube_root(n: u64) -> u64 {
    let mut root = 0u64;
    for bit in (0..22).rev() {
        let next = root | 1 << bit;
        if u128::from(next) * u128::from(next) * u128::from(next) <= u128::from(n) {
            root = next;
        }
    }
    root
}

#[cfg(test)]
mod tests;
