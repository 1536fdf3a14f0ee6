//! One run: what its sender, its receivers and the one who measures share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::Load;

/// How long nothing may come before what is on its way counts as lost.
const STALL: u64 = 200_000_000;
/// Waits shorter than this, in nanoseconds, are spent asking again: waking up takes longer.
const SHORT: u64 = 60_000;
/// The longest latency told apart from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// What came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Seconds measured.
    pub seconds: f64,
    /// Messages sent in that time.
    pub sent: u64,
    /// Messages that came in that time.
    pub arrived: u64,
    /// Median, 99th and 99.9th percentile of the time from when a message was due to when it
    /// came, in microseconds; only of an open loop.
    pub latency_us: Option<[f64; 3]>,
}

/// A run that has not ended.
#[derive(Debug)]
pub struct Run {
    load: Load,
    start: Instant,
    sent: AtomicU64,
    arrived: AtomicU64,
    measuring: AtomicBool,
    over: AtomicBool,
    latency: Mutex<Histogram<u64>>,
}

impl Run {
    /// A run that begins now.
    ///
    /// # Panics
    /// Never: the histogram's bounds are constants that it takes.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock of the run")]
    pub fn new(load: Load) -> Self {
        let latency = Histogram::new_with_max(LONGEST, 3).expect("bounds it takes");
        Self {
            load,
            start: Instant::now(),
            sent: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            measuring: AtomicBool::new(false),
            over: AtomicBool::new(false),
            latency: Mutex::new(latency),
        }
    }

    /// What is sent.
    #[must_use]
    pub const fn load(&self) -> &Load {
        &self.load
    }

    /// Whether receivers are to read when messages were due, and say how long they [took](Self::took).
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.load.rate.is_some()
    }

    /// Whether the run has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// So many more messages came.
    pub fn arrived(&self, count: u64) {
        self.arrived.fetch_add(count, Ordering::Relaxed);
    }

    /// A message came that begins with when it was due.
    pub fn took(&self, message: &[u8]) {
        let Some(due) = message.first_chunk() else { return };
        if self.measuring.load(Ordering::Relaxed) {
            let nanos = self.nanos().saturating_sub(u64::from_le_bytes(*due));
            let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
            latency.saturating_record(nanos.clamp(1, LONGEST));
        }
    }

    /// Sends until the run is over: gives `write` the pair whose turn it is and, in an open loop,
    /// what the one message has to begin with. Without it, `write` sends a group.
    ///
    /// # Errors
    /// What `write` says, unless the run was over.
    pub fn send(
        &self,
        mut write: impl FnMut(usize, Option<[u8; 8]>) -> io::Result<()>,
    ) -> io::Result<()> {
        let pairs = self.load.pairs.max(1);
        let mut next = (0..pairs).cycle();
        let mut written = |stamp| match write(next.next().unwrap_or(0), stamp) {
            Err(e) if !self.is_over() => Err(e),
            _ => Ok(()),
        };
        match self.load.rate {
            Some(rate) => self.open_loop(rate, |due| written(Some(due.to_le_bytes()))),
            None => self.closed_loop(|| written(None)),
        }
    }

    fn open_loop(&self, rate: u64, mut write: impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
        let start = self.nanos();
        for k in 0.. {
            let due = start + k * 1_000_000_000 / rate.max(1);
            if !self.wait_until(due) {
                break;
            }
            write(due)?;
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn closed_loop(&self, mut write: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        let group = self.load.group.max(1) as u64;
        let window = self.load.window.max(group);
        // What was given up counts as if it had come.
        let (mut sent, mut lost, mut since) = (0u64, 0u64, self.nanos());
        let mut seen = 0;
        while !self.is_over() {
            let arrived = self.arrived.load(Ordering::Relaxed);
            if sent.saturating_sub(arrived + lost) + group > window {
                if arrived != seen {
                    (seen, since) = (arrived, self.nanos());
                } else if self.nanos() - since > STALL {
                    lost = sent.saturating_sub(arrived);
                }
                thread::yield_now();
                continue;
            }
            write()?;
            sent += group;
            self.sent.store(sent, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Waits for a moment. False when the run is over before it.
    fn wait_until(&self, due: u64) -> bool {
        while !self.is_over() {
            match due.saturating_sub(self.nanos()) {
                0 => return true,
                short if short < SHORT => std::hint::spin_loop(),
                // Not in one piece, so that a run that is ended ends.
                long => pause(Duration::from_nanos((long - SHORT / 2).min(1 << 26))),
            }
        }
        false
    }

    /// Waits until the warm-up is over, measures, and ends the run. `look` is asked when measuring
    /// begins and when it ends.
    pub fn watch<T>(&self, mut look: impl FnMut() -> T) -> (Outcome, T, T) {
        pause(Duration::from_secs_f64(self.load.warm_up.clamp(0.0, 60.0)));
        let counts = || {
            let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
            (self.nanos(), count(&self.sent), count(&self.arrived))
        };
        let (looked, before) = (look(), counts());
        self.measuring.store(true, Ordering::Relaxed);
        pause(Duration::from_secs_f64(self.load.seconds.clamp(0.1, 600.0)));
        let (after, looked_again) = (counts(), look());
        self.end();
        let outcome = Outcome {
            seconds: Duration::from_nanos(after.0 - before.0).as_secs_f64(),
            sent: after.1 - before.1,
            arrived: after.2 - before.2,
            latency_us: self.latencies(),
        };
        (outcome, looked, looked_again)
    }

    fn latencies(&self) -> Option<[f64; 3]> {
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |q| Duration::from_nanos(latency.value_at_quantile(q)).as_secs_f64() * 1e6;
        (!latency.is_empty()).then(|| [at(0.5), at(0.99), at(0.999)])
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Waits in full, whatever wakes the thread.
#[expect(clippy::disallowed_methods, reason = "what passes is what is measured")]
fn pause(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load {
        let (warm_up, seconds) = (0.0, 0.1);
        Load { size: 8, pairs: 2, group: 4, window: 8, rate: None, warm_up, seconds }
    }

    #[test]
    fn a_closed_loop_keeps_within_its_window_and_goes_round_its_pairs() {
        let run = Run::new(load());
        let mut written = Vec::new();
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                run.send(|pair, stamp| {
                    written.push((pair, stamp));
                    Ok(())
                })
            });
            while run.sent.load(Ordering::Relaxed) < 8 {
                thread::yield_now();
            }
            run.end();
            assert!(sending.join().is_ok_and(|r| r.is_ok()));
        });
        assert_eq!(written, [(0, None), (1, None)], "8 of 8 are on their way, none came");
    }

    #[test]
    fn an_open_loop_sends_when_messages_are_due_and_their_time_is_told() {
        let run = Run::new(Load { rate: Some(1_000), ..load() });
        let (outcome, sum, _) = thread::scope(|scope| {
            scope.spawn(|| {
                run.send(|_, stamp| {
                    run.arrived(1);
                    run.took(&stamp.unwrap_or_default());
                    Ok(())
                })
            });
            run.watch(|| 0)
        });
        assert_eq!(sum, 0);
        assert!(outcome.arrived > 10 && outcome.arrived <= 130, "{outcome:?}");
        let [p50, p99, most] = outcome.latency_us.expect("latencies");
        assert!(p50 <= p99 && p99 <= most, "{outcome:?}");
    }

    #[test]
    fn what_never_comes_is_given_up() {
        let run = Run::new(Load { seconds: 0.5, ..load() });
        let (outcome, ..) = thread::scope(|scope| {
            scope.spawn(|| run.send(|_, _| Ok(())));
            run.watch(|| ())
        });
        assert_eq!(outcome.arrived, 0);
        assert!(run.sent.load(Ordering::Relaxed) > 8, "{outcome:?}");
    }
}
