//! A controller that models the path instead of waiting for losses, after
//! draft-ietf-ccwg-bbr: the rate is the most that was delivered of late, the window two of the
//! products of that rate and the least round trip. In whole numbers, so that a seed repeats.
//!
//! ```text
//!             rate no longer grows,             queue gone
//!   Startup ── or loss with a queue ──> Drain ─────────────> Cruise: probe up, drain, six calm
//!                                                               │  ^     round trips, in turn
//!                             no least round trip for 10 s      v  │
//!                                                            ProbeRtt: 200 ms with half a product
//! ```
//!
//! What differs from the draft: losses bound the window only where the delay shows a queue, or
//! where a fifth of a round is lost. A path that loses at random would otherwise be left idle,
//! which is what this controller is there for. The price is what it is for every such controller:
//! beside CUBIC it takes most of a path whose queue is short, so it is a choice and no default.
//! One history of acknowledgements stands in for
//! what the draft notes for each packet; echoed stamps say which entry a packet belongs to.

use core::time::Duration;
use std::collections::VecDeque;

use super::congestion::{AckSample, Congestion, initial_window, spread};
use crate::base::Instant;

/// Rounds for which a delivery rate is remembered.
const RATE_ROUNDS: usize = 10;
/// How long the least round trip is believed.
const LEAST_FOR: Duration = Duration::from_secs(10);
/// How long the queue is left empty to measure it anew.
const PROBE_RTT_FOR: Duration = Duration::from_millis(200);
/// Percent of the rate at which packets leave while the rate is searched for: 4 × ln 2.
const STARTUP_GAIN: u64 = 277;
/// The reciprocal, to drain what that has left in the queue.
const DRAIN_GAIN: u64 = 35;
/// Percent of the rate in each round trip of a cycle.
const CYCLE: [u64; 8] = [125, 75, 100, 100, 100, 100, 100, 100];
/// Rounds without a quarter more rate after which the path is full.
const FULL_ROUNDS: u32 = 3;
/// Percent of a round's packets whose loss is congestion if there is a queue.
const LOSS_WITH_QUEUE: u64 = 2;
/// The same without one: no link loses so much by chance.
const LOSS_ANYHOW: u64 = 20;
/// Acknowledgements remembered; thinned out to some 32 a round trip, so these last for four.
const HISTORY: usize = 128;

/// The model-based controller.
#[derive(Debug)]
pub struct Bbr {
    packet: u64,
    most: u64,
    phase: Phase,
    /// Bytes that have arrived.
    delivered: u64,
    history: VecDeque<Delivery>,
    round: Round,
    /// The best delivery rate of each of the last rounds, in bytes a second.
    rates: [u64; RATE_ROUNDS],
    least: Option<(Duration, Instant)>,
    /// The best rate when it last grew by a quarter, and rounds since.
    full: (u64, u32),
    /// What losses with a queue leave of the window.
    bound: u64,
    /// The bound before the last congestion, in case it was none.
    bound_before: u64,
    /// Nothing has come back for several round trips.
    stalled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Startup,
    Drain,
    Cruise { step: usize, since: Instant },
    ProbeRtt { until: Option<Instant>, full: bool },
}

/// How much had arrived at a moment.
#[derive(Debug, Clone, Copy)]
struct Delivery {
    at: Instant,
    delivered: u64,
    /// When the packet was sent that was acknowledged then.
    sent: Instant,
}

/// A round trip, as packets count it.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    count: u64,
    began: Instant,
    lost: u64,
    acked: u64,
    /// The least round trip of this round: above the path's, a queue stands.
    least: Option<Duration>,
}

impl Bbr {
    /// A controller for packets of at most `packet` bytes and never more than `most` bytes on
    /// their way.
    #[must_use]
    pub fn new(packet: u64, most: u64) -> Self {
        Self {
            packet: packet.max(1),
            most,
            phase: Phase::Startup,
            delivered: 0,
            history: VecDeque::new(),
            round: Round::default(),
            rates: [0; RATE_ROUNDS],
            least: None,
            full: (0, 0),
            bound: u64::MAX,
            bound_before: u64::MAX,
            stalled: false,
        }
    }

    /// The most that was delivered of late, in bytes a second.
    fn rate(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(0)
    }

    /// `percent` of what fits the path without a queue; nothing before anything was measured.
    fn product(&self, percent: u64) -> Option<u64> {
        let (least, _) = self.least?;
        let rate = self.rate();
        if rate == 0 {
            return None;
        }
        let micros = u64::try_from(least.as_micros()).unwrap_or(u64::MAX);
        Some(rate.saturating_mul(micros) / 1_000_000 * percent / 100)
    }

    fn floor(&self) -> u64 {
        self.packet.saturating_mul(4)
    }

    /// The rate at which what `s` acknowledges was delivered, if the history tells.
    fn delivery_rate(&mut self, s: &AckSample) -> Option<u64> {
        let sent = s.sent?;
        while self.history.get(1).is_some_and(|d| d.at <= sent) {
            self.history.pop_front();
        }
        let before = self.history.front().filter(|d| d.at <= sent)?;
        // Neither a train of ACKs nor one of packets may pass for a fast path.
        let took = s.now.since(before.at).max(sent.since(before.sent));
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        if self.least.is_some_and(|(least, _)| took < least) {
            return None;
        }
        Some((self.delivered - before.delivered).saturating_mul(1_000_000) / micros)
    }

    /// Keeps the history: thinned out, bounded, and with an entry to begin from.
    fn note_delivery(&mut self, s: &AckSample) {
        let spacing = s.smoothed / 32;
        let due = self.history.back().is_none_or(|last| s.now.since(last.at) >= spacing);
        let (Some(sent), true) = (s.sent, due) else { return };
        if self.history.len() >= HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Delivery { at: s.now, delivered: self.delivered, sent });
    }

    fn note_rate(&mut self, s: &AckSample, rate: u64) {
        // Who has too little to send proves nothing about the path, unless it was fast.
        if s.limited || rate > self.rate() {
            let place = usize::try_from(self.round.count % RATE_ROUNDS as u64).unwrap_or(0);
            if let Some(best) = self.rates.get_mut(place) {
                *best = rate.max(*best);
            }
        }
    }

    fn note_round_trip(&mut self, s: &AckSample) {
        let Some(rtt) = s.rtt else { return };
        self.round.least = Some(self.round.least.map_or(rtt, |l| l.min(rtt)));
        match self.least {
            Some((least, _)) if rtt > least => {}
            _ => self.least = Some((rtt, s.now)),
        }
    }

    /// Whether this round's packets have stood in a queue.
    fn queued(&self) -> bool {
        let (Some((least, _)), Some(now)) = (self.least, self.round.least) else { return false };
        now > least + (least / 8).max(Duration::from_millis(2))
    }

    /// Whether this round's losses are more than chance.
    fn lost_too_much(&self) -> bool {
        let percent = if self.queued() { LOSS_WITH_QUEUE } else { LOSS_ANYHOW };
        let all = self.round.lost + self.round.acked;
        self.round.lost > self.packet * 6 && self.round.lost * 100 > all * percent
    }

    /// Ends the round if `s` is of a packet sent in it.
    fn end_round(&mut self, s: &AckSample) {
        if s.sent.is_none_or(|sent| sent < self.round.began) {
            return;
        }
        let too_much = self.lost_too_much();
        if too_much {
            // No lower than what the path demonstrably holds.
            let least = self.product(100).unwrap_or(0).max(self.floor());
            self.bound_before = self.bound;
            self.bound = (self.bound.min(self.window()) / 10 * 7).max(least);
        } else if s.limited && self.bound < u64::MAX {
            self.bound = self.bound.saturating_add(self.bound / 16).max(self.bound + self.packet);
        }
        if self.phase == Phase::Startup && s.limited {
            let rate = self.rate();
            let (base, rounds) = self.full;
            self.full = if rate >= base / 4 * 5 { (rate, 0) } else { (base, rounds + 1) };
            if self.full.1 >= FULL_ROUNDS || too_much {
                self.phase = Phase::Drain;
            }
        }
        self.round = Round { count: self.round.count + 1, began: s.now, ..Round::default() };
        let place = usize::try_from(self.round.count % RATE_ROUNDS as u64).unwrap_or(0);
        // What is older is forgotten, unless nothing newer is known.
        let last = self.rate();
        if let Some(oldest) = self.rates.get_mut(place) {
            *oldest = 0;
        }
        if self.rate() == 0
            && let Some(oldest) = self.rates.get_mut(place)
        {
            *oldest = last;
        }
    }

    /// Moves through the phases.
    fn advance(&mut self, s: &AckSample) {
        let Some((least, measured)) = self.least else { return };
        match self.phase {
            Phase::Startup => {}
            Phase::Drain => {
                if self.product(100).is_none_or(|p| s.in_flight <= p) {
                    self.phase = Phase::Cruise { step: 2, since: s.now };
                }
            }
            Phase::Cruise { step, since } => {
                let product = self.product(100).unwrap_or(0);
                // The drain ends as soon as the queue is gone.
                let over = s.now.since(since) >= least || step == 1 && s.in_flight <= product;
                if over {
                    self.phase = Phase::Cruise { step: (step + 1) % CYCLE.len(), since: s.now };
                }
            }
            Phase::ProbeRtt { until, full } => match until {
                None if s.in_flight <= self.window() + self.packet => {
                    let until = Some(s.now + PROBE_RTT_FOR.max(least));
                    self.phase = Phase::ProbeRtt { until, full };
                }
                Some(at) if s.now >= at => {
                    self.least = Some((s.rtt.unwrap_or(least), s.now));
                    self.phase =
                        if full { Phase::Cruise { step: 2, since: s.now } } else { Phase::Startup };
                }
                _ => {}
            },
        }
        let probing = matches!(self.phase, Phase::ProbeRtt { .. });
        if !probing && s.now.since(measured) > LEAST_FOR {
            let full = self.phase != Phase::Startup;
            self.phase = Phase::ProbeRtt { until: None, full };
        }
    }
}

impl Congestion for Bbr {
    fn window(&self) -> u64 {
        let window = match (self.stalled, self.phase, self.product(200)) {
            (true, ..) => self.floor(),
            (_, _, None) => initial_window(self.packet),
            (_, Phase::ProbeRtt { .. }, Some(two)) => two / 4,
            // What a batch of ACKs or a late timer holds back must not stop the sender.
            (_, _, Some(two)) => two + self.rate() / 250 + self.packet * 8,
        };
        window.min(self.bound).max(self.floor()).min(self.most)
    }

    fn pacing(&self, smoothed: Duration) -> u64 {
        let rate = self.rate();
        if rate == 0 {
            return spread(initial_window(self.packet), STARTUP_GAIN, smoothed);
        }
        let percent = match self.phase {
            Phase::Startup => STARTUP_GAIN,
            Phase::Drain => DRAIN_GAIN,
            Phase::Cruise { step, .. } => CYCLE.get(step).copied().unwrap_or(100),
            Phase::ProbeRtt { .. } => 100,
        };
        rate.saturating_mul(percent) / 100
    }

    fn on_ack(&mut self, s: &AckSample) {
        self.stalled = false;
        self.delivered += s.bytes;
        self.round.acked += s.bytes;
        self.note_round_trip(s);
        if let Some(rate) = self.delivery_rate(s) {
            self.note_rate(s, rate);
        }
        self.note_delivery(s);
        self.end_round(s);
        self.advance(s);
    }

    fn on_lost(&mut self, bytes: u64) {
        self.round.lost += bytes;
    }

    fn on_loss(&mut self, _: Instant) {}

    fn on_false_loss(&mut self) {
        self.round.lost = 0;
        self.bound = self.bound.max(self.bound_before);
    }

    fn on_stall(&mut self, _: Instant) {
        self.stalled = true;
    }

    fn on_resume(&mut self, now: Instant, paused: Duration) {
        // Silence is no old round trip: the queue was empty, and need not be emptied.
        if paused > Duration::from_secs(1)
            && let Some((_, at)) = &mut self.least
        {
            *at = now;
        }
        self.history.clear();
    }

    fn set_packet(&mut self, bytes: u64) {
        self.packet = bytes.max(1);
    }

    fn reset(&mut self, _: Instant) {
        *self = Self::new(self.packet, self.most);
    }
}

#[cfg(test)]
mod tests;
