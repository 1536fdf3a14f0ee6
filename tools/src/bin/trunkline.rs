//! The node and its command line. See `trunkline --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    trunkline_tools::cli::main()
}
