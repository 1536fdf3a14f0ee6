//! A mesh of many switches that find each other, from a seed and in virtual time.
//!
//! Each switch runs the real [`Meeting`](trunkline_proto::switch::meet::Meeting). The partition
//! around it is modelled: lines have numbers in place of keys, but are opened, renewed, retired,
//! doubted and moved by the rules and times of the switch, through NATs, over bridges, with delay
//! and loss. So a thousand of them fit into one thread.
//!
//! * `world` lets time pass: joins, departures, datagrams, wake-ups
//! * `node`, `due`, `hears`, `contact` are one switch; `nat` stands in front of it
//! * `malice` is what hostile ones answer
//! * `lookups` asks and compares with what is true

mod contact;
mod due;
mod hears;
mod lookups;
mod malice;
mod nat;
mod node;
mod packets;
mod world;

use core::time::Duration;

pub use lookups::{Finds, Minute, Nearests};
pub use packets::Packets;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Draws everything.
    pub seed: u64,
    /// Switches at once.
    pub nodes: usize,
    /// They join over this time,
    pub joining: Duration,
    /// have this long to settle,
    pub settling: Duration,
    /// and are measured for this long.
    pub measuring: Duration,
    /// So many of a hundred are replaced by others in an hour, from the end of joining on.
    pub churn: u64,
    /// So many of a hundred are hostile.
    pub hostile: u64,
    /// So many of a hundred are behind NATs, a third of these behind symmetric ones.
    pub natted: u64,
    /// So many of a million datagrams are lost.
    pub loss: u32,
    /// Look-ups of each kind a second.
    pub rate: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: 1_000,
            joining: secs(120),
            settling: secs(180),
            measuring: secs(600),
            churn: 0,
            hostile: 0,
            natted: 50,
            loss: 2_000,
            rate: 4,
        }
    }
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// After the last had joined, until almost every look-up succeeded and went on to.
    pub converged: Option<Duration>,
    /// Look-ups for the nearest while measured.
    pub nearests: Nearests,
    /// Lines found to a given hashname while measured.
    pub finds: Finds,
    /// Minute by minute, from the beginning.
    pub minutes: Vec<Minute>,
    /// Packets sent while measured, by what they hold.
    pub packets: Packets,
    /// The number of live switches times the minutes they were measured.
    pub switch_minutes: f64,
    /// Lines of a switch at the end: the fewest, the median, the most.
    pub lines: [usize; 3],
    /// Hashnames seen and remembered, likewise.
    pub seen: [usize; 3],
    /// Contacts, likewise.
    pub contacts: [usize; 3],
    /// Searches under way, likewise.
    pub searches: [usize; 3],
    /// Two runs of one plan have this in common.
    pub events: u64,
}

/// Runs a plan.
#[must_use]
pub fn run(plan: Plan) -> Report {
    world::World::new(plan).run()
}

/// A part of so much, in percent.
#[must_use]
pub fn percent(part: u64, of: u64) -> f64 {
    if of == 0 { 100.0 } else { part as f64 * 100.0 / of as f64 }
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
