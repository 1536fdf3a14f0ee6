//! `trunkline demo`: the main job, shown on this machine in under a minute.

use crate::demo;
use crate::failure::Failure;

/// Show a tunnel through a relay, with urgent traffic overtaking bulk, on this machine
///
/// Starts three nodes as separate processes: A and B, each linked by TLS to the relay R only. An
/// ordinary HTTP client fetches a large file from a web server behind B through a port of A,
/// while urgent messages cross the same path. Needs no configuration, uses loopback only and
/// leaves nothing behind.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, the result for a program:
  trunkline demo --json | tail -n 1")]
pub struct Args {
    /// Print the result as one JSON object in the last line
    #[arg(long)]
    json: bool,
    /// How much is fetched
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(256..=16_384))]
    mib: u64,
}

/// Runs the command.
///
/// # Errors
/// If a node cannot be started, or something did not come out as it should.
pub fn run(args: Args) -> Result<(), Failure> {
    demo::run(args.mib, args.json)
}
