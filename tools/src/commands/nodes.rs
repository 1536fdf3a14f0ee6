//! `trunkline nodes`: who there is in the mesh, in reach or not.

use trunkline::control::mesh::NodesReport;
use trunkline::control::protocol::Act;
use trunkline::control::report::NodeReport;

use super::short;
use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print::{self, Table};

/// Show all nodes of the mesh, what reaching each costs, and why some are not reached
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline nodes
  trunkline nodes --json | jq '.nodes[] | select(.obstacle)'

Not reached: `one-sided`, no link of it is announced by both ends; `apart`, it hangs together with
others, but not with this node; `no-announcement`, others name it and it says nothing; `expired`, it
has said nothing for too long. `trunkline routes HASHNAME` says more.")]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be asked.
pub fn run(args: Args) -> Result<(), Failure> {
    let report: NodesReport = args.node.connect()?.ask(Act::Nodes, |_: serde_json::Value| {})?;
    if args.json { print::json(&report) } else { show(&report.nodes) }
}

fn show(nodes: &[NodeReport]) -> Result<(), Failure> {
    let mut table = Table::new(&["node", "name", "cost", "hops", "next", "neighbours", "heard"]);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for n in nodes {
        let heard = n.name.is_some();
        table.row([
            short(&n.hashname),
            or_none(n.name.clone()),
            n.cost.map_or_else(|| or_none(n.obstacle.clone()), |c| c.to_string()),
            or_none(n.hops.map(|h| h.to_string())),
            or_none(n.next.as_deref().map(short)),
            if heard { n.neighbours.len().to_string() } else { "-".to_owned() },
            if heard { format!("{} ago", print::span(n.heard_ms)) } else { "-".to_owned() },
        ]);
    }
    table.print()
}
