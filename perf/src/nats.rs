//! `nats`: two nodes behind two real NATs, for every pair of kinds: how soon they reach each other,
//! and by which way they end up. Prints a table in Markdown. Needs root; `perf/nats.sh` runs it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use trunkline_sim::emulator::Conditions;
use trunkline_tools::lab::strangers::{Met, Options, Place};
use trunkline_tools::lab::{Lab, LabError, Nat};

/// Measure how two nodes meet behind every pair of NATs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Milliseconds from each guest to the middle, each way; 0 for as fast as the machine
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=500))]
    delay: u64,
    /// Percent lost of what crosses each guest's way, each way; needs a delay
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Seconds a pair has to become direct
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=300))]
    patience: u64,
    /// Only pairs with one of these kinds on both sides
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<String>,
    /// How often each pair meets; the slowest counts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
}

const KINDS: [Nat; 7] =
    [Nat::Open, Nat::Firewall, Nat::Full, Nat::Address, Nat::Port, Nat::Symmetric, Nat::Bare];

/// Places that are no pair of single gates.
const OTHERS: [Place; 7] = [
    Place::Household(Nat::Port),
    Place::Household(Nat::Symmetric),
    Place::Customers(Nat::Port),
    Place::Doubled([Nat::Port, Nat::Port], Nat::Port),
    Place::Doubled([Nat::Port, Nat::Symmetric], Nat::Port),
    Place::Doubled([Nat::Port, Nat::Symmetric], Nat::Address),
    Place::Carrier([Nat::Port, Nat::Port], Nat::Port),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if Lab::new().is_err() {
        return ExitCode::FAILURE;
    }
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("nats: {failed} pairs did not meet");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("nats: {error}");
            ExitCode::FAILURE
        }
    }
}

fn places(only: &[String]) -> Vec<Place> {
    let wanted = |n: &Nat| only.is_empty() || only.iter().any(|k| k == n.label());
    let kinds: Vec<Nat> = KINDS.into_iter().filter(wanted).collect();
    let pairs = kinds.iter().flat_map(|a| kinds.iter().map(|b| Place::Apart(*a, *b)));
    pairs.chain(OTHERS.into_iter().filter(|_| only.is_empty())).collect()
}

/// Prints a row for each place, and says how many did not meet.
fn run(arguments: &Arguments) -> Result<usize, LabError> {
    println!("| who asks is behind | who is asked | first byte, ms | ends | after, ms |");
    println!("| --- | --- | ---: | --- | ---: |");
    let far = (arguments.delay > 0).then(|| Conditions {
        delay: Duration::from_millis(arguments.delay),
        loss_ppm: (arguments.loss.clamp(0.0, 100.0) * 10_000.0) as u32,
        ..Conditions::default()
    });
    let options = Options { far, ..Options::default() };
    let mut failed = 0;
    for place in places(&arguments.kinds) {
        let mut worst: Option<Met> = None;
        for _ in 0..arguments.rounds {
            let Ok(mut lab) = Lab::new() else { return Ok(failed) };
            let strangers = lab.strangers(place, &options)?;
            let met = strangers.meet(Duration::from_secs(arguments.patience));
            if met.first.is_none() {
                eprintln!("{place:?}: {}", strangers.account());
            }
            let rank = |m: &Met| (m.first.is_none(), !m.is_direct(), m.settled);
            if worst.as_ref().is_none_or(|w| rank(w) < rank(&met)) {
                worst = Some(met);
            }
        }
        let Some(met) = worst else { continue };
        failed += usize::from(met.first.is_none());
        let [a, b] = place.labels();
        let ms = |d: Duration| format!("{:.0}", d.as_secs_f64() * 1e3);
        let first = met.first.map_or_else(|| "never".to_owned(), ms);
        println!("| {a} | {b} | {first} | {} | {} |", ends(&met), ms(met.settled));
    }
    Ok(failed)
}

fn ends(met: &Met) -> String {
    match (met.first, met.is_direct(), met.is_bridged()) {
        (None, ..) => "not at all".to_owned(),
        (_, true, _) => "direct".to_owned(),
        (_, _, true) => "relayed".to_owned(),
        _ => met.ways.join(" / "),
    }
}
