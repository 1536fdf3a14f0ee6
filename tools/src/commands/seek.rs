//! `trunkline seek`: who is nearest to something in the mesh of hashnames.

use trunkline::control::finding::{SeekAsk, SeekReport};
use trunkline::control::protocol::Act;

use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print;

/// Find the hashnames of the space that are nearest to a hash, or to any text
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline seek \"the kitchen printer\"

A text of 64 hex digits is taken as it is; of any other the SHA-256 is. The nearest come first, by
XOR distance.")]
pub struct Args {
    /// 64 hex digits, or any text
    what: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be asked, or has nobody to ask.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut client = args.node.connect()?;
    let ask = SeekAsk { what: args.what };
    let report: SeekReport = client.ask(Act::Seek(ask), |_: serde_json::Value| {})?;
    if args.json {
        return print::json(&report);
    }
    report.hashnames.iter().try_for_each(|hashname| print::line(hashname))
}
