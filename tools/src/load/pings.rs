//! Round trips inside lines. Each waits for its answer, so there is a thread for each that is
//! under way; in an open loop threads take the next due ping in turn.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use trunkline::{Failure, Handle};
use trunkline_proto::base::Chance;

use super::receiver::Received;
use super::sender::{Manner, Pace};
use super::span::{Pair, Span};
use crate::kernel;

/// Most pings under way.
pub(super) const MOST: u32 = 256;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of pings.
#[derive(Debug, Default)]
pub(super) struct Pinged {
    /// Pings of the time that is measured.
    pub(super) sent: u64,
    /// Answers to them.
    pub(super) received: Received,
    /// Failures, by code.
    pub(super) failed: BTreeMap<String, u64>,
}

/// Pings from all nodes, until the run is over. `nodes` are the senders with their pairs.
#[must_use]
pub(super) fn run(nodes: &[(Handle, Vec<&Pair>)], span: &Span, how: &Manner, seed: u64) -> Pinged {
    let routes: Vec<(&Handle, &Pair)> =
        nodes.iter().flat_map(|(handle, pairs)| pairs.iter().map(move |p| (handle, *p))).collect();
    let threads = match how.pace {
        Pace::Open { .. } => MOST / 4,
        Pace::Closed { window } => window.saturating_mul(u32::try_from(routes.len()).unwrap_or(1)),
    };
    let tickets = AtomicU64::new(0);
    let start = span.now();
    let mut all = Pinged::default();
    thread::scope(|scope| {
        let one = |i: u32| {
            let (routes, tickets) = (&routes, &tickets);
            let chance = Chance::from_number(seed.wrapping_add(u64::from(i)));
            scope.spawn(move || pinger(routes, span, how, chance, (start, tickets)))
        };
        let pingers: Vec<_> = (0..threads.clamp(1, MOST)).map(one).collect();
        for pinger in pingers {
            let Ok(one) = pinger.join() else { continue };
            all.sent += one.sent;
            all.received.add(&one.received);
            for (code, count) in one.failed {
                *all.failed.entry(code).or_default() += count;
            }
        }
    });
    all
}

fn pinger(
    routes: &[(&Handle, &Pair)],
    span: &Span,
    how: &Manner,
    mut chance: Chance,
    (start, tickets): (u64, &AtomicU64),
) -> Pinged {
    let _ = kernel::wake_on_time();
    let mut done = Pinged::default();
    loop {
        let ticket = tickets.fetch_add(1, Ordering::Relaxed);
        let due = match how.pace {
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            #[expect(clippy::cast_sign_loss, reason = "exact for hours of nanoseconds")]
            Pace::Open { interval } => start + (ticket as f64 * interval) as u64,
            Pace::Closed { .. } => span.now(),
        };
        if !span.wait_until(due) || span.claim(1) == 0 {
            return done;
        }
        let route = usize::try_from(ticket).ok().and_then(|t| t.checked_rem(routes.len()));
        let Some((handle, pair)) = route.and_then(|r| routes.get(r)) else { return done };
        let size = how.size.draw(&mut chance).unwrap_or(0);
        let priority = how.priority.draw(&mut chance).unwrap_or_default();
        pair.sent.fetch_add(1, Ordering::Relaxed);
        let answer = handle.ping(pair.to, priority, size, PATIENCE);
        let measured = span.measures(due);
        done.sent += u64::from(measured);
        match answer {
            Ok(_) => {
                pair.arrived(1, 1);
                let (now, level) = (span.now(), usize::from(priority.level()));
                if (span.begins()..span.ends()).contains(&now) {
                    done.received.came_in_time(level);
                }
                if measured {
                    done.received.measured += 1;
                    done.received.took(level, now.saturating_sub(due));
                }
            }
            Err(Failure::Code { code, .. }) => {
                *done.failed.entry(code.label().to_owned()).or_default() += 1;
            }
            Err(Failure::Busy) => *done.failed.entry("busy".to_owned()).or_default() += 1,
        }
    }
}
