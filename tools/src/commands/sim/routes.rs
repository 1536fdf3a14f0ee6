//! `trunkline sim routes`: a mesh that grows, and what its changes take and cost.

use serde::Serialize;
use trunkline_proto::base::Instant;
use trunkline_sim::routes::{self, Effect, Plan, Stage};

use crate::clock::Clock;
use crate::failure::Failure;
use crate::print;

/// Simulate a mesh that grows, and measure how changes reach all route tables
///
/// Each node runs the real routing with real signatures. At 10, 100 and 1,000 nodes the mesh is given
/// a rest, a link is cut and raised, a cost changed, a node added, another taken away and
/// brought back; after each the time to the last table and the announcements of all are counted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline sim routes --nodes 100

A thousand nodes verify some millions of signatures: several minutes.")]
pub(super) struct Args {
    /// How many nodes in the end
    #[arg(long, value_name = "N", default_value_t = 100)]
    nodes: usize,
    /// Links to earlier nodes that each newcomer makes
    #[arg(long, value_name = "N", default_value_t = 3)]
    links: usize,
    /// Newcomers a second
    #[arg(long, value_name = "N", default_value_t = 50)]
    joins: u64,
    /// Draws everything; the same seed always does the same
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON object for each size
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    nodes: usize,
    links: usize,
    event: &'static str,
    settled_ms: u128,
    announcements: u64,
    bytes: u64,
}

/// Runs the command.
///
/// # Errors
/// If printing fails, or a route is not the cheapest.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let clock = Clock::start();
    let nodes = args.nodes.clamp(2, 5_000);
    let links = args.links.clamp(1, 16);
    let plan = Plan { seed: args.seed, nodes, links, joins: args.joins.clamp(1, 1_000) };
    let stages = routes::run(plan);
    let lines: Vec<Line> = stages.iter().flat_map(lines).collect();
    if args.json {
        lines.iter().try_for_each(print::json)?;
    } else {
        table(&stages, &lines, clock.now().since(Instant::ZERO).as_secs_f64())?;
    }
    let wrong: usize = stages.iter().map(|s| s.wrong).sum();
    if wrong > 0 {
        return Err(Failure::Other(format!("{wrong} routes are not the cheapest")));
    }
    Ok(())
}

fn lines(stage: &Stage) -> impl Iterator<Item = Line> + '_ {
    let line = |(event, effect): (&'static str, Effect)| Line {
        nodes: stage.nodes,
        links: stage.links,
        event,
        settled_ms: effect.settled.as_millis(),
        announcements: effect.frames,
        bytes: effect.bytes,
    };
    std::iter::once(("grown to this", stage.grown)).chain(stage.changes.iter().copied()).map(line)
}

fn table(stages: &[Stage], lines: &[Line], real_s: f64) -> Result<(), Failure> {
    let mut table = print::Table::new(&[
        "nodes",
        "links",
        "what",
        "all tables after",
        "announcements",
        "bytes",
        "a node",
    ]);
    for l in lines {
        table.row([
            l.nodes.to_string(),
            l.links.to_string(),
            l.event.to_owned(),
            format!("{} ms", l.settled_ms),
            l.announcements.to_string(),
            print::size(l.bytes),
            print::size(l.bytes / (l.nodes as u64).max(1)),
        ]);
    }
    table.print()?;
    for s in stages {
        let each = s.at_rest / (s.nodes as u64).max(1) / 10;
        print::line(&format!(
            "{} nodes at rest: {} a node and minute",
            s.nodes,
            print::size(each)
        ))?;
    }
    print::line(&format!("real time {real_s:.1} s"))
}
