//! `tunnelload`: what a TCP tunnel costs, whoever made it.
//!
//! ```text
//!   connections ──► tunnel (its processes on a processor of their own) ──► target, here
//! ```
//!
//! `bulk` fills connections, `new` makes one after the other and waits for an echo of one byte,
//! `copy` is a tunnel that only copies: the least that one costs. The target counts what it
//! reads, so that what counts has crossed. Processor time is that of the named processes and all
//! their descendants, those that have ended included.

mod copy;
mod load;
mod target;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measure a TCP tunnel.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Fill connections: Gbit/s and processor seconds per GiB
    Bulk(Load),
    /// Make connections: how many a second, and processor milliseconds for each
    New(Load),
    /// Be a tunnel that copies, until killed
    Copy {
        /// Where to listen
        listen: SocketAddr,
        /// Where what connects is taken
        target: SocketAddr,
    },
}

/// What is measured.
#[derive(Debug, clap::Args)]
struct Load {
    /// The tunnel's near end
    #[arg(long)]
    through: SocketAddr,
    /// Where the tunnel leads; the target listens there
    #[arg(long)]
    target: SocketAddr,
    /// Connections at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    connections: u16,
    /// Seconds measured, after half a second to warm up
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The tunnel's processes
    #[arg(long, value_delimiter = ',')]
    processes: Vec<u32>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().act {
        Act::Bulk(load) => load::bulk(&load),
        Act::New(load) => load::new(&load),
        Act::Copy { listen, target } => copy::run(listen, target),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tunnelload: {error}");
            ExitCode::FAILURE
        }
    }
}
