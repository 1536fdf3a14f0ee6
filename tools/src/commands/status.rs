//! `trunkline status`: how a node is, for people; all there is, for programs.
//!
//! What is zero and unremarkable is left out for people; `--json` has everything.

use trunkline::control::protocol::Act;
use trunkline::control::report::{
    LevelReport, LineReport, LinkReport, NodeReport, ProxyReport, StatusReport, StreamReport,
    Traffic, WorkerReport,
};
use trunkline_proto::base::Wall;

use super::short;
use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print::{self, Table};

/// Show how the node is: links, lines, nodes, streams, proxies, drops, threads
///
/// Links that are not up say why and when the next attempt is; lines say which way their packets
/// take.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, the reasons for which packets were dropped:
  trunkline status --json | jq .drops")]
pub struct Args {
    /// Print everything as one JSON object
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
    let report: StatusReport = args.node.connect()?.ask(Act::Status, |(): ()| {})?;
    if args.json {
        return print::json(&report);
    }
    about(&report)?;
    section("links", report.totals.links_up, &report.links, links)?;
    let busy: Vec<_> = report.links.iter().flat_map(busy_levels).collect();
    section("queues", 0, &busy, queues)?;
    section("lines", report.totals.lines, &report.lines, lines)?;
    section("nodes", report.totals.nodes, &report.nodes, nodes)?;
    section("streams", report.totals.streams, &report.streams, streams)?;
    let open = report.proxies.len().try_into().unwrap_or(u64::MAX);
    section("proxies", open, &report.proxies, proxies)?;
    drops(&report)?;
    let threads = report.workers.len().try_into().unwrap_or(u64::MAX);
    section("threads", threads, &report.workers, workers)
}

fn about(r: &StatusReport) -> Result<(), Failure> {
    let mut table = Table::new(&[]);
    table.pair("node", &r.name);
    table.pair("hashname", &r.hashname);
    table.pair("space", format!("{}{}", r.space, if r.closed { ", closed" } else { "" }));
    table
        .pair("running", format!("{}, process {}, {}", print::span(r.uptime_ms), r.pid, r.version));
    table.pair("record", print::date(Wall::from_secs(r.record_expires), print::now()));
    if let Some(expires) = r.voucher_expires {
        table.pair("voucher", print::date(Wall::from_secs(expires), print::now()));
    }
    table.pair("listening", r.listening.join(", "));
    table.pair("placement", &r.placement);
    let t = &r.totals;
    table.pair("received", traffic(t.received));
    table.pair("sent", traffic(t.sent));
    table.pair("forwarded", traffic(t.forwarded));
    table.print()
}

/// One part of the report, if there is anything in it.
fn section<T>(
    title: &str,
    total: u64,
    items: &[T],
    table: impl Fn(&[T]) -> Table,
) -> Result<(), Failure> {
    if items.is_empty() {
        return Ok(());
    }
    let shown = items.len();
    let count = match title {
        "links" => format!("{total} of {shown} up"),
        _ if u64::try_from(shown).is_ok_and(|shown| shown < total) => {
            format!("{shown} of {total} shown")
        }
        _ => shown.to_string(),
    };
    print::line(&format!("\n{title}: {count}"))?;
    table(items).print()
}

fn links(items: &[LinkReport]) -> Table {
    let mut table = Table::new(&[
        "name", "node", "address", "over", "state", "cost", "rtt", "sent", "received", "queued",
        "note",
    ]);
    for l in items {
        let retry = l.retry_ms.map(|ms| format!("next attempt in {}", print::span(ms)));
        let dropped = (l.dropped > 0).then(|| format!("{} dropped", l.dropped));
        let losses = (l.losses > 0).then(|| format!("lost {} times", l.losses));
        let notes = [l.last_error.clone(), retry, dropped, losses];
        table.row([
            l.name.clone(),
            short(&l.hashname),
            l.address.clone(),
            l.transport.clone(),
            l.state.clone(),
            l.cost.to_string(),
            print::round_trip(l.rtt_us),
            print::size(l.sent.bytes),
            print::size(l.received.bytes),
            print::size(l.queued_bytes),
            notes.into_iter().flatten().collect::<Vec<_>>().join("; "),
        ]);
    }
    table
}

/// The priorities of a link that have sent or held something.
fn busy_levels(link: &LinkReport) -> impl Iterator<Item = (&str, &LevelReport)> {
    let used = |l: &&LevelReport| l.sent.packets + l.dropped + l.queued_runs > 0;
    link.levels.iter().filter(used).map(|level| (link.name.as_str(), level))
}

fn queues(items: &[(&str, &LevelReport)]) -> Table {
    let mut table =
        Table::new(&["link", "priority", "sent", "queued", "dropped", "wait", "99 %", "longest"]);
    for (link, l) in items {
        table.row([
            (*link).to_owned(),
            l.priority.clone(),
            print::size(l.sent.bytes),
            print::size(l.queued_bytes),
            l.dropped.to_string(),
            print::round_trip(l.wait_mean_us),
            print::round_trip(l.wait_p99_us),
            print::round_trip(l.wait_max_us),
        ]);
    }
    table
}

fn lines(items: &[LineReport]) -> Table {
    let mut table =
        Table::new(&["node", "state", "way", "rtt", "idle", "streams", "resent", "in flight"]);
    for l in items {
        table.row([
            short(&l.hashname),
            l.state.clone(),
            l.way.clone(),
            print::round_trip(l.rtt_us),
            print::span(l.idle_ms),
            l.streams.to_string(),
            print::size(l.resent_bytes),
            format!("{} of {}", print::size(l.in_flight_bytes), print::size(l.window_bytes)),
        ]);
    }
    table
}

fn nodes(items: &[NodeReport]) -> Table {
    let mut table = Table::new(&["node", "name", "cost", "hops", "next", "neighbours", "heard"]);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for n in items {
        table.row([
            short(&n.hashname),
            or_none(n.name.clone()),
            n.cost.map_or_else(|| "unreachable".to_owned(), |c| c.to_string()),
            or_none(n.hops.map(|h| h.to_string())),
            or_none(n.next.as_deref().map(short)),
            n.neighbours.len().to_string(),
            format!("{} ago", print::span(n.heard_ms)),
        ]);
    }
    table
}

fn streams(items: &[StreamReport]) -> Table {
    let mut table =
        Table::new(&["node", "stream", "purpose", "opened", "priority", "sent", "received"]);
    for s in items {
        table.row([
            short(&s.hashname),
            s.id.to_string(),
            s.purpose.clone(),
            if s.opened_here { "here" } else { "there" }.to_owned(),
            s.priority.to_string(),
            format!("{} of {}", print::size(s.acked_bytes), print::size(s.written_bytes)),
            format!("{} of {}", print::size(s.read_bytes), print::size(s.received_bytes)),
        ]);
    }
    table
}

fn proxies(items: &[ProxyReport]) -> Table {
    let mut table = Table::new(&["listen", "node", "target", "accepted"]);
    for p in items {
        table.row([p.listen.clone(), short(&p.hashname), p.target.clone(), p.accepted.to_string()]);
    }
    table
}

fn drops(report: &StatusReport) -> Result<(), Failure> {
    let mut counted: Vec<_> = report.drops.iter().filter(|(_, n)| **n > 0).collect();
    if counted.is_empty() {
        return print::line("\ndrops: none");
    }
    counted.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let mut table = Table::new(&["reason", "packets"]);
    for (reason, n) in counted {
        table.pair(reason, n);
    }
    print::line("\ndrops:")?;
    table.print()
}

fn workers(items: &[WorkerReport]) -> Table {
    let mut table = Table::new(&["thread", "rounds", "forwarded", "in runs", "tunnels"]);
    for w in items {
        table.row([
            w.name.clone(),
            w.rounds.to_string(),
            w.forwarded.to_string(),
            w.runs.to_string(),
            w.tunnels.to_string(),
        ]);
    }
    table
}

fn traffic(t: Traffic) -> String {
    format!("{}, {} packets", print::size(t.bytes), t.packets)
}
