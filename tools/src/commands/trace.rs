//! `trunkline trace`: the way to a hashname, hop by hop.

use std::time::Duration;

use trunkline::control::protocol::{Act, Hop, PingAsk, TraceAsk, TraceReport};
use trunkline_proto::base::Hashname;

use super::ping::time;
use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print::{self, Table};

/// Show each hop of the way to a hashname, with its cost and round trip
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline trace HASHNAME

Exit code 1 means that the hashname was not reached.")]
pub struct Args {
    /// Whom, 64 hex digits
    hashname: Hashname,
    /// How long a hop's answer may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be asked, knows no way, or the hashname was not reached.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut client = args.node.connect()?;
    let timeout_ms = u64::try_from(args.timeout.as_millis()).unwrap_or(PingAsk::LONGEST_MS);
    let ask = TraceAsk { hashname: args.hashname.to_string(), timeout_ms };
    let report: TraceReport = client.ask(Act::Trace(ask), |_: Hop| {})?;
    if args.json {
        print::json(&report)?;
    } else {
        show(&report)?;
    }
    if report.reached { Ok(()) } else { Err(Failure::Told) }
}

fn show(report: &TraceReport) -> Result<(), Failure> {
    let mut table = Table::new(&["hop", "node", "name", "cost", "round trip"]);
    for hop in &report.hops {
        table.row([
            hop.number.to_string(),
            super::short(&hop.hashname),
            hop.name.clone().unwrap_or_else(|| "-".to_owned()),
            hop.cost.to_string(),
            hop.rtt_us.map_or_else(|| "no answer".to_owned(), |us| print::round_trip(Some(us))),
        ]);
    }
    table.print()?;
    let reached = if report.reached { "reached" } else { "not reached" };
    let way = if report.way.is_empty() { "none" } else { &report.way };
    let (hops, cost) = (report.hops.len(), report.cost);
    print::line(&format!("{reached}, {hops} hops, cost {cost}; lines take: {way}"))
}
