//! `trunkline config`: the documented example.

use trunkline::config::Config;

use crate::failure::Failure;
use crate::print;

/// Show what can be configured
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trunkline config example > relay.toml")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print a configuration file that explains every option and its default
    #[command(after_help = "Example:\n  trunkline config example > relay.toml")]
    Example,
}

/// Runs the command.
///
/// # Errors
/// If nobody reads the output.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.what {
        What::Example => print::line(Config::example().trim_end()),
    }
}
