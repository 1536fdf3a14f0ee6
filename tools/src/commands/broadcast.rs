//! `trunkline broadcast`: a message to whoever takes it at all nodes.

use trunkline::control::messages::{BroadcastAsk, Sent, encode};
use trunkline::control::protocol::Act;
use trunkline_proto::wire::sequence::Sequence;

use super::message::{Content, Label};
use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print;

/// Say something to a namespace at every node of the mesh
///
/// Whoever listens to the namespace hears it once, at each node that is in reach by links. It is
/// signed and not sealed, so that nodes on the way can read it; nothing comes back, and who is out
/// of reach does not hear it later. At most 50 a second, of about 16,000 bytes each.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, and what runs on any other node to hear it:
  trunkline broadcast shop.news \"closed on Monday\"
  trunkline listen shop.news")]
pub struct Args {
    #[command(flatten)]
    label: Label,
    /// How to pack it: M, then Z to compress, P to pad; as the node does if none
    #[arg(long, value_name = "LETTERS")]
    sequence: Option<Sequence>,
    /// Also for those who listen at this node
    #[arg(long)]
    here: bool,
    #[command(flatten)]
    content: Content,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be asked, or cannot say it.
pub fn run(args: Args) -> Result<(), Failure> {
    let ask = BroadcastAsk {
        namespace: args.label.namespace.to_string(),
        target: args.label.target.map(|t| t.to_string()),
        record: args.label.record.to_string(),
        payload: encode(&args.content.read()?),
        priority: args.label.priority,
        sequence: args.sequence.map(|s| s.to_string()),
        here: args.here,
    };
    let mut client = args.node.connect()?;
    let sent: Sent = client.ask(Act::Broadcast(ask), |_: serde_json::Value| {})?;
    if args.json { print::json(&sent) } else { print::line("said") }
}
