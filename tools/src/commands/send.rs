//! `trunkline send`: a message to whoever takes it at another node.

use trunkline::control::messages::Sent;
use trunkline::control::protocol::Act;

use super::message::{Content, How};
use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print;

/// Send a message to a namespace of a hashname
///
/// It is at hand there for whoever subscribed to the namespace, at most once. This command waits
/// until it was handed over, and says so; if it comes back, it says why and which node said so.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, and what the other side runs to see it:
  trunkline send HASHNAME shop.orders \"two loaves\"
  trunkline listen shop.orders

Exit code 1 means that it was not handed over: the reason has one of the codes no-route, node-down,
ttl-expired, queue-full, refused, unknown-target, cannot-unpack, no-key, sequence-too-weak,
too-large, shutting-down, timed-out.")]
pub struct Args {
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    content: Content,
    /// Do not wait until it was handed over; if it comes back, nobody hears of it
    #[arg(long)]
    no_wait: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be asked, or the message came back.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut ask = args.how.ask(&args.content)?;
    ask.no_wait = args.no_wait;
    let mut client = args.node.connect()?;
    let sent: Sent = client.ask(Act::Send(ask), |_: serde_json::Value| {})?;
    match (args.json, sent.delivered) {
        (true, _) => print::json(&sent),
        (false, true) => {
            print::line(&format!("delivered after {}", print::round_trip(sent.took_us)))
        }
        (false, false) => print::line("sent"),
    }
}
