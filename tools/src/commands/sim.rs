//! `trunkline sim`: worlds of nodes in one thread, from seeds; a failure prints the seed.

mod mesh;
mod routes;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use trunkline_proto::base::Instant;
use trunkline_sim::{Mood, Options, Report};

use crate::clock::Clock;
use crate::failure::Failure;
use crate::print;

/// Simulate whole meshes from seeds and check what must hold
///
/// Each seed draws nodes, links, work, faults and attacks, runs them in virtual time on the real
/// protocol code, and checks every byte, packet and route. The same seed always does the same.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Example, two hundred worlds, then one of them again with its story:
  trunkline sim --seeds 200
  trunkline sim --seed 17 --verbose

Exit code 1 means that something did not hold; the output says what, and which seed repeats it.")]
pub struct Args {
    #[command(subcommand)]
    kind: Option<Kind>,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "seed")]
    first: u64,
    /// Only this seed, run twice and compared
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Run every seed twice and compare
    #[arg(long)]
    twice: bool,
    /// Seeds at once; as many as there are processors if not said
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Print one JSON object for each failure, then the summary
    #[arg(long)]
    json: bool,
    /// Print everything that is said in a world, not only the end of it
    #[arg(long)]
    verbose: bool,
}

/// Other simulations.
#[derive(Debug, clap::Subcommand)]
enum Kind {
    Mesh(mesh::Args),
    Routes(routes::Args),
}

/// What many seeds came to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    ok: bool,
    seeds: u64,
    failed: Vec<u64>,
    calm: u64,
    lossy: u64,
    rough: u64,
    events: u64,
    virtual_s: u64,
    datagrams: u64,
    segments: u64,
    packages: u64,
    faults: u64,
    attacks: u64,
    streams: u64,
    questions: u64,
    real_s: f64,
    seeds_per_s: f64,
    #[serde(skip)]
    checks: BTreeMap<&'static str, u64>,
}

/// What a failure says of itself.
#[derive(Debug, Serialize)]
struct Failed<'a> {
    seed: u64,
    check: &'a str,
    at_s: f64,
    node: Option<usize>,
    text: &'a str,
    repeat: String,
    story: &'a [String],
}

/// Runs the command.
///
/// # Errors
/// If something did not hold.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.kind {
        Some(Kind::Mesh(args)) => return mesh::run(args),
        Some(Kind::Routes(args)) => return routes::run(args),
        None => {}
    }
    let (first, count) = args.seed.map_or((args.first, args.seeds), |seed| (seed, 1));
    let options = Options { verbose: args.verbose, twice: args.twice || args.seed.is_some() };
    let clock = Clock::start();
    let bar = ProgressBar::new(count);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds, {per_sec}, {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let shared = Shared { next: AtomicU64::new(0), stop: AtomicBool::new(false) };
    let summary = Mutex::new(Summary::default());
    let told = Mutex::new(Ok(()));
    let jobs = args.jobs.unwrap_or_else(processors).clamp(1, 64);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(seed) = shared.next(first, count) {
                    let report = trunkline_sim::run(seed, options);
                    bar.inc(1);
                    let Ok(mut all) = summary.lock() else { return };
                    all.add(&report);
                    bar.set_message(format!("{} failed", all.failed.len()));
                    if let Err(failure) = bar.suspend(|| tell(&report, &args)) {
                        shared.stop.store(true, Ordering::Relaxed);
                        if let Ok(mut told) = told.lock() {
                            *told = Err(failure);
                        }
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    told.into_inner().unwrap_or(Ok(()))?;
    let mut summary = summary.into_inner().unwrap_or_default();
    summary.failed.sort_unstable();
    summary.ok = summary.failed.is_empty();
    summary.real_s = clock.now().since(Instant::ZERO).as_secs_f64();
    summary.seeds_per_s = summary.seeds as f64 / summary.real_s.max(0.001);
    if args.json {
        print::json(&summary)?
    } else {
        summary.print()?
    }
    if summary.ok { Ok(()) } else { Err(Failure::Told) }
}

/// What the threads share: which seed is next, and whether to go on.
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    fn next(&self, first: u64, count: u64) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < count && !self.stop.load(Ordering::Relaxed)).then(|| first + number)
    }
}

/// Says what a seed did, if there is something to say.
fn tell(report: &Report, args: &Args) -> Result<(), Failure> {
    let Some(violation) = &report.violation else {
        let story = args.verbose && !args.json;
        return report.story.iter().filter(|_| story).try_for_each(|l| print::line(l));
    };
    let (at_s, repeat) =
        (violation.at.as_micros() as f64 / 1e6, format!("trunkline sim --seed {}", report.seed));
    if args.json {
        return print::json(&Failed {
            seed: report.seed,
            check: violation.check,
            at_s,
            node: violation.node,
            text: &violation.text,
            repeat,
            story: &report.story,
        });
    }
    report.story.iter().try_for_each(|line| print::line(line))?;
    let node = violation.node.map(|n| format!(" at n{n}")).unwrap_or_default();
    print::line(&format!(
        "\nseed {}: {} does not hold{node}, after {at_s:.6} s of {:?} with {} nodes and {} links:",
        report.seed, violation.check, report.mood, report.nodes, report.links
    ))?;
    print::line(&format!("  {}\n  repeat it: {repeat}\n", violation.text))
}

impl Summary {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        match report.mood {
            Mood::Calm => self.calm += 1,
            Mood::Lossy => self.lossy += 1,
            Mood::Rough => self.rough += 1,
        }
        if let Some(violation) = &report.violation {
            self.failed.push(report.seed);
            *self.checks.entry(violation.check).or_default() += 1;
        }
        self.events += report.events;
        self.virtual_s += report.time.as_secs();
        self.datagrams += report.datagrams;
        self.segments += report.segments;
        self.packages += report.packages;
        self.faults += report.faults;
        self.attacks += report.attacks;
        self.streams += report.streams;
        self.questions += report.questions;
    }

    fn print(&self) -> Result<(), Failure> {
        let moods = format!("{} calm, {} lossy, {} rough", self.calm, self.lossy, self.rough);
        let mut table = print::Table::new(&[]);
        table.pair("seeds", format!("{} ({moods})", self.seeds));
        table.pair("failed", self.failed.len());
        table.pair("virtual time", format!("{} s", self.virtual_s));
        table.pair("events", self.events);
        let packets = format!(
            "{} datagrams, {} packages, {} pieces of links",
            self.datagrams, self.packages, self.segments
        );
        table.pair("packets", packets);
        table.pair("work", format!("{} streams, {} questions", self.streams, self.questions));
        table.pair("trouble", format!("{} faults, {} attacks", self.faults, self.attacks));
        let speed = format!("{:.1} s, {:.1} seeds a second", self.real_s, self.seeds_per_s);
        table.pair("real time", speed);
        for (check, count) in &self.checks {
            table.pair("did not hold", format!("{check} in {count} seeds"));
        }
        table.print()?;
        if !self.failed.is_empty() {
            let few: Vec<String> = self.failed.iter().take(30).map(u64::to_string).collect();
            print::line(&format!("failed seeds: {}", few.join(" ")))?;
        }
        Ok(())
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
