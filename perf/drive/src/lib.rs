//! What every load driver of the comparison shares, whatever its peer speaks: how much may be on
//! its way, when a message is due, what came, and how long it took.
//!
//! ```text
//!   send (one thread) ──► peer ──► receiver (threads of the driver's) ──► arrived, took
//!                  Run: window or rate, counts, latencies
//!                       watch (the thread that measures)
//! ```
//!
//! Drivers are in this workspace ([`compare`](../compare)) or, where a peer's own client has to be
//! built, programs of their own (`perf/iroh`, `perf/zenoh`), which [`tell`] what they saw.

mod run;
mod tell;

pub use run::{Outcome, Run};
pub use tell::{BEGIN, tell};

/// What is sent, how and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Load {
    /// Bytes of a message
    #[arg(long, default_value_t = 300)]
    pub size: usize,
    /// Senders, each with a receiver of its own
    #[arg(long, default_value_t = 1)]
    pub pairs: usize,
    /// Messages in one write of a sender
    #[arg(long, default_value_t = 1)]
    pub group: usize,
    /// Closed loop: messages on their way at most, of all pairs together
    #[arg(long, default_value_t = 1_024)]
    pub window: u64,
    /// Open loop: messages a second, of all pairs together, one at a time
    #[arg(long)]
    pub rate: Option<u64>,
    /// Seconds before measuring begins
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Seconds measured
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
}
