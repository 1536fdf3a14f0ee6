//! `trunkline-load`: the traffic generator. The work is in `trunkline_tools::load`.

use std::process::ExitCode;

use clap::Parser;
use trunkline_tools::load::{self, Cli};

fn main() -> ExitCode {
    match load::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("trunkline-load: {failure}");
            ExitCode::FAILURE
        }
    }
}
