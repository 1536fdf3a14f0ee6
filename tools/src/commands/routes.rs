//! `trunkline routes`: which way packages take, and why.

use trunkline::control::mesh::{RouteReport, RoutesAsk, RoutesReport};
use trunkline::control::protocol::Act;
use trunkline_proto::base::Hashname;

use super::short;
use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print::{self, Table};

/// Show the route to every node; or to one, with the other ways, or why there is none
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline routes
  trunkline routes HASHNAME

The cheapest way is taken; of those that cost the same the one with the fewest hops, then the one
whose first node has the lowest address.")]
pub struct Args {
    /// To whom, 64 hex digits
    hashname: Option<Hashname>,
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
    let ask = RoutesAsk { hashname: args.hashname.map(|h| h.to_string()) };
    let mut client = args.node.connect()?;
    let report: RoutesReport = client.ask(Act::Routes(ask), |_: serde_json::Value| {})?;
    if args.json {
        return print::json(&report);
    }
    match (args.hashname, report.routes.as_slice()) {
        (Some(_), [route]) => one(route),
        (_, routes) => all(routes),
    }
}

fn path(route: &RouteReport) -> String {
    let names: Vec<String> = route.path.iter().map(|n| short(n)).collect();
    names.join(" > ")
}

fn all(routes: &[RouteReport]) -> Result<(), Failure> {
    if routes.is_empty() {
        return print::line("no other node is known");
    }
    let mut table = Table::new(&["to", "name", "cost", "hops", "link", "path"]);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for r in routes {
        table.row([
            short(&r.hashname),
            or_none(r.name.clone()),
            r.cost.map_or_else(|| or_none(r.obstacle.clone()), |c| c.to_string()),
            if r.path.is_empty() { "-".to_owned() } else { r.path.len().to_string() },
            or_none(r.link.map(|l| l.to_string())),
            path(r),
        ]);
    }
    table.print()
}

fn one(route: &RouteReport) -> Result<(), Failure> {
    let name = route.name.as_ref().map_or_else(String::new, |n| format!("  {n}"));
    let to = short(&route.hashname);
    let why = route.why.clone().unwrap_or_default();
    let Some(cost) = route.cost else {
        let obstacle = route.obstacle.as_ref().map_or_else(String::new, |o| format!("  {o}"));
        return print::line(&format!("{to}{name}{obstacle}\n{why}"));
    };
    print::line(&format!("{to}{name}  cost {cost}\npath  {}\n{why}", path(route)))?;
    let mut table = Table::new(&["link", "neighbour", "cost", ""]);
    for way in &route.ways {
        table.row([
            way.link.to_string(),
            short(&way.neighbour),
            way.cost.to_string(),
            if way.in_use { "in use" } else { "" }.to_owned(),
        ]);
    }
    table.print()
}
