//! `trunkline why`: why a line to a hashname is, or is not, as it should be.

use std::time::Duration;

use trunkline::control::finding::{WhyAsk, WhyReport};
use trunkline::control::protocol::Act;
use trunkline_proto::base::Hashname;

use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print::{self, Table};

/// Show which ways to a hashname were tried, what became of them, and what comes next
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline why HASHNAME

Shows the state of the line, each way that was tried with its answer, the addresses known, the
relays asked to carry, the search for it, and what stands in front of this node.")]
pub struct Args {
    /// Whom, 64 hex digits
    hashname: Hashname,
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
    let mut client = args.node.connect()?;
    let ask = WhyAsk { hashname: args.hashname.to_string() };
    let report: WhyReport = client.ask(Act::Why(ask), |_: serde_json::Value| {})?;
    if args.json { print::json(&report) } else { show(&report) }
}

fn show(why: &WhyReport) -> Result<(), Failure> {
    let key = if why.key { "known" } else { "not known" };
    print::line(&format!("{}  {}, key {key}", super::short(&why.hashname), why.state))?;
    if !why.way.is_empty() {
        let idle = why.idle_ms.map_or_else(String::new, |ms| format!(", heard {} ago", ago(ms)));
        let most = why
            .datagram_bytes
            .map_or_else(String::new, |n| format!(", datagrams of up to {n} bytes"));
        print::line(&format!("line takes  {}{most}{idle}", why.way))?;
    }
    let list = |title: &str, items: &[String]| match items {
        [] => print::line(&format!("{title}  none")),
        items => print::line(&format!("{title}  {}", items.join(", "))),
    };
    list("addresses ", &why.addresses)?;
    if let Some(search) = &why.search {
        let left = search.left_ms.map_or_else(String::new, |ms| format!(", {} left", ago(ms)));
        print::line(&format!("search      {}{left}", search.state))?;
        if !search.vias.is_empty() {
            let vias: Vec<String> = search.vias.iter().map(|v| super::short(v)).collect();
            list("known to  ", &vias)?;
        }
    }
    for bridge in &why.bridges {
        let relay = super::short(&bridge.relay);
        print::line(&format!("bridge      over {relay}: {}", bridge.state))?;
    }
    let retry =
        why.retry_ms.map_or_else(|| "nothing by itself".to_owned(), |ms| format!("in {}", ago(ms)));
    print::line(&format!("next step   {retry}"))?;
    print::line(&format!("this node   NAT {}", why.nat))?;
    list("seen at   ", &why.seen_at)?;
    let told = || why.advice.iter().try_for_each(|a| print::line(&format!("what to do  {a}")));
    if why.paths.is_empty() {
        return told();
    }
    let mut table = Table::new(&["way tried", "result", "round trip", "last tried"]);
    for path in &why.paths {
        table.row([
            path.path.clone(),
            path.result.clone(),
            path.rtt_us.map_or_else(|| "-".to_owned(), |us| print::round_trip(Some(us))),
            format!("{} ago", ago(path.ago_ms)),
        ]);
    }
    table.print()?;
    told()
}

fn ago(ms: u64) -> String {
    let time = Duration::from_millis(ms);
    if ms < 10_000 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} s", time.as_secs())
    }
}
