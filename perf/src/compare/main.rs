//! `compare`: our relay, its peers and the least that forwarding costs, side by side on one machine.
//!
//! ```text
//!   plan (works, shapes) ──► contend (starts and drives each contender) ──► record ──► report
//!                              place: programs, processors      drive: load of our own
//! ```
//!
//! `perf/compare` builds and installs what this needs and runs it. Contenders take turns within a
//! round, so that what else the machine does meets all alike.

mod aims;
mod contend;
mod contender;
mod drive;
mod figures;
mod machine;
mod place;
mod plan;
mod record;
mod report;
mod turn;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use contend::tunnel;
use contender::Peer;
use machine::Machine;
use place::Place;
use plan::{Case, Work};
use record::Measurement;
use report::Setting;
use turn::Turn;

/// Compare our relay with its peers and with the least that forwarding costs.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    arguments: Arguments,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Become another program, on one processor or on all
    #[command(hide = true)]
    Start {
        #[arg(long)]
        cpu: Option<usize>,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, clap::Args)]
struct Arguments {
    /// What says most, in a few minutes
    #[arg(long)]
    quick: bool,
    /// Print a line of JSON for each measurement and no tables
    #[arg(long)]
    json: bool,
    /// Only these works
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Work>,
    /// Only these peers, beside the baselines and ours
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Rounds [default: 3; with --quick, 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Seconds measured each time [default: 2; with --quick, 1]
    #[arg(long)]
    seconds: Option<f64>,
    /// Write the tables to this file
    #[arg(long)]
    results: Option<PathBuf>,
    /// Write the tables from the lines of JSON that an earlier run printed, and measure nothing
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Hold a lock on this file while measuring, so that others who do so take turns
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// The processor of what is measured
    #[arg(long, default_value_t = 1)]
    relay_cpu: usize,
    /// The processor of everything else
    #[arg(long, default_value_t = 0)]
    load_cpu: usize,
    /// Where peers were installed
    #[arg(long, default_value = "target/peers")]
    peers_directory: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.part {
        Some(Part::Start { cpu, program, arguments }) => Err(format!(
            "{}: {}",
            program.display(),
            place::become_pinned(cpu, &program, &arguments)
        )),
        None => compare(&cli.arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), String> {
    let scratch = tempfile::Builder::new().prefix("trunkline-compare-").tempdir();
    let scratch = scratch.map_err(|e| format!("no place for configurations: {e}"))?;
    end_cleanly(scratch.path().to_owned())?;
    let place = place(arguments, scratch.path().to_owned())?;
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for peer in Peer::ALL {
        let ours = matches!(peer, Peer::Baseline | Peer::Trunkline);
        if !ours && !arguments.peers.is_empty() && !arguments.peers.contains(&peer) {
            continue;
        }
        match peer.find(&place) {
            Ok(()) => present.push((peer, peer.version(&place))),
            Err(why) => {
                eprintln!("MISSING: {why}");
                missing.push((peer, why));
            }
        }
    }
    for name in tunnel::missing(&place) {
        eprintln!("MISSING: {name}, a tunnel (perf/peers.sh {name})");
    }
    let measurements = match &arguments.from {
        Some(file) => read(file)?,
        None => {
            let who: Vec<Peer> = present.iter().map(|(p, _)| *p).collect();
            measure(arguments, &place, &who)?
        }
    };
    if arguments.json {
        return Ok(());
    }
    let setting = Setting { machine: Machine::look(), command: command(), present, missing };
    let text = report::whole(&measurements, &setting);
    match &arguments.results {
        Some(file) => std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display())),
        None => std::io::stdout().write_all(text.as_bytes()).map_err(|e| e.to_string()),
    }
}

/// How `perf/compare` was called, as far as it says something of the figures.
fn command() -> String {
    let own = |word: &String| !word.contains('/');
    let words: Vec<String> = std::env::args().skip(1).filter(own).collect();
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|w| {
            !matches!(*w, "--from" | "--json" | "--lock" | "--peers-directory" | "--results")
        })
        .collect();
    std::iter::once("perf/compare").chain(words).collect::<Vec<_>>().join(" ")
}

/// Removes what is not to stay when somebody ends this; what it started ends with it.
fn end_cleanly(scratch: PathBuf) -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| e.to_string())?;
    let watch = move || {
        if signals.forever().next().is_some() {
            let _ = std::fs::remove_dir_all(&scratch);
            std::process::exit(130);
        }
    };
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(watch).map(drop).map_err(|e| e.to_string())
}

fn place(arguments: &Arguments, scratch: PathBuf) -> Result<Place, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let ours = own.parent().ok_or("this program is nowhere")?.to_owned();
    let keys = arguments.peers_directory.join("keys");
    std::fs::create_dir_all(&keys).map_err(|e| format!("{}: {e}", keys.display()))?;
    place::stay_on(arguments.load_cpu)
        .map_err(|e| format!("processor {}: {e} (see --load-cpu)", arguments.load_cpu))?;
    Ok(Place {
        ours,
        peers: arguments.peers_directory.clone(),
        scratch,
        keys,
        relay_cpu: arguments.relay_cpu,
        load_cpu: arguments.load_cpu,
        started: place::Started::default(),
        seconds: arguments.seconds.unwrap_or(if arguments.quick { 1.0 } else { 2.0 }),
    })
}

fn read(file: &PathBuf) -> Result<Vec<Measurement>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let line = |l: &str| serde_json::from_str(l).map_err(|e| format!("{}: {e}", file.display()));
    text.lines().map(line).collect()
}

fn measure(arguments: &Arguments, place: &Place, who: &[Peer]) -> Result<Vec<Measurement>, String> {
    let mut cases = plan::cases(arguments.quick);
    let wanted = |work| arguments.only.is_empty() || arguments.only.contains(&work);
    cases.retain(|c| wanted(c.work));
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 });
    let mut turn = Turn::new(arguments.lock.as_deref())?;
    let mut all = Vec::new();
    for round in 1..=rounds {
        for case in &cases {
            for contender in case.contenders.iter().filter(|c| who.contains(&c.peer())) {
                turn.take()?;
                let measurement = one(*contender, case, place, round);
                show(&measurement, arguments.json)?;
                all.push(measurement);
            }
        }
        if !arguments.quick && wanted(Work::Tunnel) {
            tunnels(arguments, place, round, &mut turn, &mut all)?;
        }
    }
    Ok(all)
}

fn tunnels(
    arguments: &Arguments,
    place: &Place,
    round: u32,
    turn: &mut Turn,
    all: &mut Vec<Measurement>,
) -> Result<(), String> {
    let missing = tunnel::missing(place);
    for (name, label) in tunnel::TUNNELS.iter().filter(|(name, _)| !missing.contains(name)) {
        turn.take()?;
        for measurement in tunnel::measure(place, name, label, round) {
            show(&measurement, arguments.json)?;
            all.push(measurement);
        }
    }
    Ok(())
}

fn one(contender: contender::Contender, case: &Case, place: &Place, round: u32) -> Measurement {
    let outcome = contender::measure(contender, case, place);
    let failed = outcome.as_ref().err().cloned();
    Measurement {
        work: case.work,
        case: case.name(),
        contender: record::label(contender),
        baseline: record::label(case.baseline),
        round,
        figures: outcome.unwrap_or_default(),
        failed,
        commands: place.started.take(),
    }
}

/// Says how it stands, on standard error, or on standard output for programs.
fn show(m: &Measurement, json: bool) -> Result<(), String> {
    if json {
        let line = serde_json::to_string(m).map_err(|e| e.to_string())?;
        return writeln!(std::io::stdout(), "{line}").map_err(|e| e.to_string());
    }
    let figures = m.figures.iter().map(|(k, v)| format!("{} {}", figures::number(*v), k.label()));
    let said = m.failed.clone().unwrap_or_else(|| figures.collect::<Vec<_>>().join(", "));
    eprintln!("{} {} | {} | {said}", m.round, m.case, m.contender);
    Ok(())
}
