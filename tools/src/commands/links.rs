//! `trunkline links`: the links of a node, and opening, closing and pricing them while it runs.

use trunkline::control::mesh::{LinkAddAsk, LinkCloseAsk, LinkCostAsk, LinksReport};
use trunkline::control::protocol::Act;
use trunkline::control::report::LinkReport;
use trunkline_proto::base::Hashname;

use super::short;
use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print::{self, Table};

/// Show the links to neighbours; open, close or price one
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Example:
  trunkline links
  trunkline links add relay.example.org HASHNAME --cost 5
  trunkline links cost relay.example.org 20
  trunkline links close relay.example.org

Of several links to one neighbour the cheapest carries; the others are spare. A link that comes and
goes again and again is held down until it has stayed up for a while, unless it is the only way.
What is changed here holds until the node ends; the configuration says what it begins with."
)]
pub struct Args {
    #[command(subcommand)]
    act: Option<What>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Add(AddArgs),
    Close(CloseArgs),
    Cost(CostArgs),
}

/// Open a link and keep it up
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline links add relay.example.org:42424 HASHNAME --name relay")]
struct AddArgs {
    /// Where the neighbour listens, HOST or HOST:PORT
    address: String,
    /// Who has to answer, 64 hex digits
    hashname: Hashname,
    /// What to call the link; its address if nothing is said
    #[arg(long)]
    name: Option<String>,
    /// What sending over it costs, at least 1
    #[arg(long)]
    cost: Option<u32>,
    /// Over plain TCP: both sides are proved, what they say is not protected
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Close a link; one that this node calls is called no more
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline links close relay

A neighbour that calls this node calls again: close its link there.")]
struct CloseArgs {
    /// The name or the number of the link
    link: String,
    #[command(flatten)]
    node: WhichNode,
}

/// Give sending over a link another cost
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline links cost relay 20

The other direction costs what the other side says.")]
struct CostArgs {
    /// The name or the number of the link
    link: String,
    /// The cost, at least 1
    cost: u32,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be asked, or does not do it.
pub fn run(args: Args) -> Result<(), Failure> {
    let quiet = |node: &WhichNode, act| -> Result<(), Failure> {
        let _: serde_json::Value = node.connect()?.ask(act, |_: serde_json::Value| {})?;
        Ok(())
    };
    match args.act {
        Some(What::Add(add)) => {
            let ask = LinkAddAsk {
                address: add.address,
                hashname: add.hashname.to_string(),
                name: add.name,
                transport: add.plain.then(|| "plain".to_owned()),
                cost: add.cost,
            };
            quiet(&add.node, Act::LinkAdd(ask))
        }
        Some(What::Close(close)) => {
            quiet(&close.node, Act::LinkClose(LinkCloseAsk { link: close.link }))
        }
        Some(What::Cost(cost)) => {
            let ask = LinkCostAsk { link: cost.link, cost: cost.cost };
            quiet(&cost.node, Act::LinkCost(ask))
        }
        None => {
            let mut client = args.node.connect()?;
            let report: LinksReport = client.ask(Act::Links, |_: serde_json::Value| {})?;
            if args.json { print::json(&report) } else { show(&report.links) }
        }
    }
}

fn show(links: &[LinkReport]) -> Result<(), Failure> {
    if links.is_empty() {
        return print::line("no links");
    }
    let mut table = Table::new(&[
        "number", "name", "node", "address", "over", "state", "cost", "rtt", "up for", "note",
    ]);
    for l in links {
        let retry = l.retry_ms.map(|ms| format!("next attempt in {}", print::span(ms)));
        let losses = (l.losses > 0).then(|| format!("lost {} times", l.losses));
        let down = l.held_down.then(|| "came and went too often".to_owned());
        let notes = [l.last_error.clone(), retry, losses, down];
        let connected = l.state != "waiting";
        table.row([
            if connected { l.id.to_string() } else { "-".to_owned() },
            l.name.clone(),
            short(&l.hashname),
            if connected { l.address.clone() } else { "-".to_owned() },
            if connected { l.transport.clone() } else { "-".to_owned() },
            state(l).to_owned(),
            if connected { l.cost.to_string() } else { "-".to_owned() },
            print::round_trip(l.rtt_us),
            l.up_ms.map_or_else(|| "-".to_owned(), print::span),
            notes.into_iter().flatten().collect::<Vec<_>>().join("; "),
        ]);
    }
    table.print()
}

fn state(l: &LinkReport) -> &str {
    match l.state.as_str() {
        "up" if l.held_down => "held down",
        "up" if l.in_use => "in use",
        "up" => "spare",
        other => other,
    }
}
