//! `trunkline sim mesh`: many switches that find each other, from a seed.

use core::time::Duration;

use serde::Serialize;
use trunkline_proto::base::Instant;
use trunkline_sim::mesh::{self, Plan, Report};

use crate::clock::Clock;
use crate::failure::Failure;
use crate::print;

/// Simulate a mesh of many switches that find each other
///
/// Each runs the real code that seeks, introduces and keeps lines; keys are numbers. Look-ups for
/// the nearest hashnames are compared with brute force, lines to given hashnames are asked for,
/// and packets are counted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, a thousand switches at rest, and with 20 % of them replaced in an hour, and with 20 %
that lie:
  trunkline sim mesh
  trunkline sim mesh --churn 20 --minutes 30
  trunkline sim mesh --hostile 20")]
pub(super) struct Args {
    /// How many switches
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    nodes: usize,
    /// Measure for so long, after two minutes of joining and three of settling
    #[arg(long, value_name = "N", default_value_t = 5)]
    minutes: u64,
    /// So many percent of them are replaced in an hour
    #[arg(long, value_name = "PERCENT", default_value_t = 0)]
    churn: u64,
    /// So many percent of them are hostile
    #[arg(long, value_name = "PERCENT", default_value_t = 0)]
    hostile: u64,
    /// So many percent of them are behind NATs
    #[arg(long, value_name = "PERCENT", default_value_t = 50)]
    nat: u64,
    /// Draws everything; the same seed always does the same
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Look-ups of each kind a second
    #[arg(long, value_name = "N", default_value_t = 4)]
    rate: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Summary {
    nodes: usize,
    seed: u64,
    converged_s: Option<f64>,
    nearest_asked: u64,
    nearest_percent: f64,
    nearest_exact_percent: f64,
    nearest_of_eight_percent: f64,
    lines_asked: u64,
    lines_found_percent: f64,
    line_s: f64,
    line_longest_s: f64,
    packets_per_switch_and_minute: f64,
    real_s: f64,
}

/// Runs the command.
///
/// # Errors
/// If printing fails.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let clock = Clock::start();
    let plan = Plan {
        seed: args.seed,
        nodes: args.nodes.max(2),
        measuring: Duration::from_secs(args.minutes.max(1) * 60),
        churn: args.churn.min(10_000),
        hostile: args.hostile.min(90),
        natted: args.nat.min(100),
        rate: args.rate.clamp(1, 1_000),
        ..Plan::default()
    };
    let report = mesh::run(plan);
    let real_s = clock.now().since(Instant::ZERO).as_secs_f64();
    if args.json { print::json(&summary(&plan, &report, real_s)) } else { table(&report, real_s) }
}

fn summary(plan: &Plan, report: &Report, real_s: f64) -> Summary {
    let (n, f) = (report.nearests, report.finds);
    Summary {
        nodes: plan.nodes,
        seed: plan.seed,
        converged_s: report.converged.map(|c| c.as_secs_f64()),
        nearest_asked: n.asked,
        nearest_percent: n.success(),
        nearest_exact_percent: mesh::percent(n.exact, n.asked),
        nearest_of_eight_percent: mesh::percent(n.hits, n.best),
        lines_asked: f.asked,
        lines_found_percent: f.success(),
        line_s: f.took.as_secs_f64() / f.found.max(1) as f64,
        line_longest_s: f.longest.as_secs_f64(),
        packets_per_switch_and_minute: report.packets.all() as f64 / report.switch_minutes,
        real_s,
    }
}

fn table(report: &Report, real_s: f64) -> Result<(), Failure> {
    let (n, f) = (report.nearests, report.finds);
    let mut table = print::Table::new(&[]);
    let converged = report.converged.map_or("not".to_owned(), |c| format!("{} s", c.as_secs()));
    table.pair("converged after", converged);
    let eight = mesh::percent(n.hits, n.best);
    let exact = mesh::percent(n.exact, n.asked);
    table.pair(
        "nearest found",
        format!(
            "{:.1} % of {}; {eight:.1} % of the eight nearest, {exact:.1} % without a gap",
            n.success(),
            n.asked
        ),
    );
    let mean = |total: Duration, of: u64| total.as_secs_f64() / of.max(1) as f64;
    table.pair("time for it", format!("{:.2} s", mean(n.took, n.asked)));
    table.pair("lines found", format!("{:.1} % of {}", f.success(), f.asked));
    let longest = f.longest.as_secs_f64();
    table.pair("time for it", format!("{:.2} s, at most {longest:.2} s", mean(f.took, f.found)));
    let p = report.packets;
    let each = |count: u64| format!("{:.1}", count as f64 / report.switch_minutes);
    table.pair("packets a switch and minute", each(p.all()));
    for (what, count) in [
        ("pings and pongs", p.pings),
        ("opens and answers", p.opens),
        ("seeks and answers", p.seeks),
        ("keys", p.keys),
        ("introductions", p.pops),
        ("bridges", p.bridges),
        ("tries", p.tries),
        ("punches", p.loose),
        ("carried", p.carried),
    ] {
        table.pair(&format!("  {what}"), each(count));
    }
    let spread = |[least, median, most]: [usize; 3]| format!("{median} ({least} to {most})");
    table.pair("lines", spread(report.lines));
    table.pair("hashnames seen", spread(report.seen));
    table.pair("contacts", spread(report.contacts));
    table.pair("searches under way", spread(report.searches));
    table.pair("real time", format!("{real_s:.1} s"));
    table.print()
}
