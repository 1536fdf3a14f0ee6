//! One seed, or many.

use core::time::Duration;

use trunkline_proto::base::Instant;

use crate::checks::Violation;
use crate::scenario::{Mood, Scenario};
use crate::world::World;

/// How to run a seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Keep everything that was said, not only the end of it.
    pub verbose: bool,
    /// Run it twice and compare.
    pub twice: bool,
}

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// How hard the world was.
    pub mood: Mood,
    /// Nodes and links.
    pub nodes: usize,
    /// Links between them.
    pub links: usize,
    /// Two runs of a seed have this in common.
    pub hash: u64,
    /// What was noted.
    pub events: u64,
    /// Datagrams delivered.
    pub datagrams: u64,
    /// Packages written to links.
    pub packages: u64,
    /// Pieces of links' bytes delivered.
    pub segments: u64,
    /// Faults that were made.
    pub faults: u64,
    /// Attacks that were made.
    pub attacks: u64,
    /// Streams opened.
    pub streams: u64,
    /// Questions and messages.
    pub questions: u64,
    /// Time that passed in the world.
    pub time: Duration,
    /// What was violated, if anything was.
    pub violation: Option<Violation>,
    /// The end of the story; all of it if that was asked for.
    pub story: Vec<String>,
}

impl Report {
    /// Whether nothing was violated.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.violation.is_none()
    }
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, options: Options) -> Report {
    let mut report = once(seed, options.verbose);
    if options.twice && report.is_ok() {
        let again = once(seed, false);
        if again.hash != report.hash {
            report.violation = Some(Violation {
                check: "repeats",
                at: Instant::ZERO + report.time,
                node: None,
                text: "two runs of the seed differ".into(),
            });
        }
    }
    report
}

/// Runs `count` seeds from `first` on, one after the other as they are asked for.
pub fn seeds(first: u64, count: u64, options: Options) -> impl Iterator<Item = Report> {
    (first..first.saturating_add(count)).map(move |seed| run(seed, options))
}

fn once(seed: u64, verbose: bool) -> Report {
    let scenario = Scenario::draw(seed);
    let (mood, nodes, links) = (scenario.mood, scenario.nodes.len(), scenario.edges.len());
    let mut world = World::new(scenario, seed, verbose);
    let violation = world.run();
    let (events, datagrams, segments) = world.trace.counts();
    let opened = world.apps.streams.iter().filter(|s| s.opened.is_some()).count();
    let asked = world.apps.asks.iter().filter(|a| a.asked.is_some()).count();
    Report {
        seed,
        mood,
        nodes,
        links,
        hash: world.trace.hash(),
        events,
        datagrams,
        packages: world.watch.packages.count,
        segments,
        faults: world.faults,
        attacks: world.attacks,
        streams: opened as u64,
        questions: asked as u64,
        time: world.now.since(Instant::ZERO),
        story: if verbose { world.trace.story() } else { world.trace.tail() },
        violation,
    }
}
