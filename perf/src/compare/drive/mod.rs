//! The load drivers of this program: one thread that sends, and one that receives for all pairs.

pub(super) mod mqtt;
pub(super) mod nats;
pub(super) mod reference;
pub(super) mod stalled;
pub(super) mod tcp;
pub(super) mod turn;
pub(super) mod udp;

use std::io;

use trunkline_drive::{Outcome, Run};
use trunkline_perf::{Usage, used};

/// What came of a run, and what the peer used meanwhile.
#[derive(Debug)]
pub(super) struct Measured {
    /// What came.
    pub(super) outcome: Outcome,
    /// Processor seconds of the peer's processes.
    pub(super) cpu: f64,
    /// MiB they held at most.
    pub(super) peak: f64,
}

/// Watches over a run and the peer's processes.
pub(super) fn watch(run: &Run, processes: &[u32]) -> Measured {
    let (outcome, before, after) = run.watch(|| used(processes));
    Measured::new(outcome, before, after)
}

impl Measured {
    /// From how things stood when measuring began and ended.
    pub(super) fn new(outcome: Outcome, before: Usage, after: Usage) -> Self {
        Self { outcome, cpu: after.cpu - before.cpu, peak: after.peak }
    }
}

/// Whatever went wrong with a thread.
pub(super) fn joined(thread: std::thread::ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the driver panicked")))
}
