//! The demonstration: three node processes, a web server behind one, a client before another.
//!
//! ```text
//!   HTTP client ─► A ══TLS══► R ══TLS══► B ─► HTTP server
//!                  └── one line A–B, which R forwards and cannot read ──┘
//! ```
//!
//! Everything is measured from outside, as a user would: the client is a plain HTTP client, the
//! nodes are asked over their control sockets, processor time comes from the system.

mod bulk;
mod nodes;
mod report;

use std::time::Duration;

use trunkline::control::protocol::{Act, Hop, PingAsk, PingSummary, Probe, TraceAsk, TraceReport};
use trunkline::control::report::StatusReport;

use crate::failure::Failure;
use nodes::{Mesh, Node};
use report::{Measured, Report};

/// Urgent messages measured at idle.
const IDLE_PINGS: u32 = 1_000;
/// From one urgent message to the next.
const INTERVAL: Duration = Duration::from_millis(1);
/// The priority of urgent messages.
const URGENT: u8 = 7;

/// Runs the demonstration with `mib` MiB.
///
/// # Errors
/// If something cannot be started, or did not come out as it should.
pub(crate) fn run(mib: u64, json: bool) -> Result<(), Failure> {
    let say = |text: &str| {
        if !json {
            eprintln!("  {text}");
        }
    };
    say("making three identities (RSA 3072) and starting A, R and B …");
    let server = bulk::Server::start(mib << 20)?;
    let mesh = Mesh::start(server.address())?;
    let (a, relay, b) = (&mesh.a, &mesh.relay, &mesh.b);
    say("waiting for A and B to find each other through R …");
    wait_for_way(a, b)?;
    say("measuring urgent messages at idle …");
    let idle = ping(a, b, IDLE_PINGS)?;
    let way: TraceReport = trace(a, b)?;
    say(&format!("fetching {mib} MiB over HTTP through A, R and B …"));
    let mut proxy = a.proxy(b, server.address())?;
    let cpu_before = relay.cpu_seconds()?;
    let fetch = bulk::Fetch::start(proxy.address(), !json)?;
    let mut loaded = Vec::new();
    let (mut sent, mut answered) = (0, 0);
    while !fetch.is_done() {
        let summary = ping_each(a, b, 50, &mut loaded)?;
        sent += summary.sent;
        answered += summary.received;
    }
    let fetched = fetch.finish()?;
    let cpu = relay.cpu_seconds()? - cpu_before;
    let seen: StatusReport = relay.ask(Act::Status)?;
    proxy.close();
    let loaded = PingSummary::of(sent, loaded);
    let lost = u64::from(sent - answered) + u64::from(idle.sent - idle.received);
    let measured = Measured {
        hops: way.hops.len(),
        bytes: fetched.bytes,
        expected: server.digest(),
        digest: fetched.digest,
        seconds: fetched.seconds,
        relay_cpu: cpu,
        idle,
        loaded,
        lost,
    };
    let report = Report::new(&measured);
    report.print(json, &way, &seen, a.hashname(), b.hashname())?;
    mesh.stop()?;
    if report.ok { Ok(()) } else { Err(Failure::Other("the demonstration did not succeed".into())) }
}

/// The first ping opens the line; it waits for the route, which takes a moment.
fn wait_for_way(a: &Node, b: &Node) -> Result<(), Failure> {
    for _ in 0..100 {
        if ping(a, b, 1).is_ok_and(|s| s.received == 1) {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    Err(Failure::Other("A does not reach B through R; see the nodes' logs above".into()))
}

fn ask(b: &Node, count: u32) -> Act {
    Act::Ping(PingAsk {
        count,
        interval_ms: u64::try_from(INTERVAL.as_millis()).unwrap_or(1),
        priority: Some(URGENT),
        ..PingAsk::once(b.hashname().to_owned())
    })
}

fn ping(a: &Node, b: &Node, count: u32) -> Result<PingSummary, Failure> {
    Ok(a.connect()?.ask(ask(b, count), |_: Probe| {})?)
}

fn ping_each(a: &Node, b: &Node, count: u32, rtts: &mut Vec<u64>) -> Result<PingSummary, Failure> {
    Ok(a.connect()?.ask(ask(b, count), |probe: Probe| rtts.extend(probe.rtt_us))?)
}

fn trace(a: &Node, b: &Node) -> Result<TraceReport, Failure> {
    let ask = TraceAsk { hashname: b.hashname().to_owned(), timeout_ms: 5_000 };
    Ok(a.connect()?.ask(Act::Trace(ask), |_: Hop| {})?)
}
