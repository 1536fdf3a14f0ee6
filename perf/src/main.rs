//! `tcpcopy`: the least that forwarding frames over TCP can cost on a machine, as the measure for
//! what a relay costs.
//!
//! One thread reads frames from one connection, looks at each one's length, copies it and writes
//! it to another connection. No addresses, no priorities, no fairness, no accounting. It runs as
//! a process of its own; the generator and the sink run here, so that its processor time is its
//! own. Frames are as long as the node's for the same payload.

mod copy;
mod load;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// What frames carry beside the payload: the node's link header and package header.
const HEADERS: usize = 60;

/// Measure what copying frames from one TCP connection to another costs.
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
    /// Copy frames until standard input ends
    #[command(hide = true)]
    Copy,
}

/// What is measured.
#[derive(Debug, clap::Args)]
struct Arguments {
    /// Bytes of payload
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=16_000))]
    size: u16,
    /// Frames in one write of the generator
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    group: u16,
    /// Frames on their way at most
    #[arg(long, default_value_t = 2_048)]
    window: u32,
    /// Seconds measured, after half a second to warm up
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The processor the copy runs on (by `taskset`); the rest runs where this process does
    #[arg(long)]
    pin_copy: Option<usize>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.part {
        Some(Part::Copy) => copy::run(),
        None => load::run(&cli.arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcpcopy: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn frame(&self) -> usize {
        HEADERS + usize::from(self.size)
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.1, 600.0))
    }
}
