//! `trunkline request`: a message and its reply.

use trunkline::control::messages::{Heard, decode};
use trunkline::control::protocol::Act;

use super::message::{Content, How};
use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print;

/// Send a message and print its reply
///
/// The reply is printed as it came, nothing added. It travels at the highest priority, and inside
/// the line if the request did.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, and what answers it on the other side:
  trunkline request HASHNAME clock \"what time is it?\"
  trunkline listen clock --exec date

Exit code 1 means that there is no reply: the reason has one of the codes of `trunkline send`.")]
pub struct Args {
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    content: Content,
    /// Print one JSON object with the reply, its payload in Base64
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be asked, or there is no reply.
pub fn run(args: Args) -> Result<(), Failure> {
    let ask = args.how.ask(&args.content)?;
    let mut client = args.node.connect()?;
    let reply: Heard = client.ask(Act::Request(ask), |_: serde_json::Value| {})?;
    if args.json {
        return print::json(&reply);
    }
    let payload = decode(&reply.payload).map_err(|fault| Failure::Node(fault.into()))?;
    print::bytes(&payload)
}
