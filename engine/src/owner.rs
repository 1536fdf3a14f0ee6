//! A node as its owner sees it over the control socket: the engine's side of
//! [`ControlTarget`].

mod advice;
mod finding;
mod mesh;
mod messages;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use trunkline_proto::base::{Hashname, Lane, LinkId, Namespace, Priority};
use trunkline_proto::crypto::{SpaceRules, voucher};
use trunkline_proto::gate::Hits;
use trunkline_proto::mesh::{Reach, RouteTable};
use trunkline_proto::message::Outbound;
use trunkline_proto::stage::levels::Level;
use trunkline_proto::switch::Path;
use trunkline_proto::switch::State;
use trunkline_proto::switch::streams::{Open, StreamStatus};
use trunkline_proto::wire::package::Code;

use crate::config::{Gate, HostPort};
use crate::control::finding::{SeekReport, WhyReport};
use crate::control::gate::GateReport;
use crate::control::members;
use crate::control::mesh::{
    LinkAddAsk, LinkCloseAsk, LinkCostAsk, LinksReport, NodesReport, RoutesReport,
};
use crate::control::messages::{Heard, Judged, Sent};
use crate::control::protocol::{
    Fault, Hop, MemberList, OperatorAsk, PingAsk, PingSummary, Probe, TraceAsk, TraceReport, codes,
};
use crate::control::report::{
    LevelReport, LineReport, LinkReport, MOST_LISTED, NodeReport, ProxyReport, StatusReport,
    StreamReport, Totals, Traffic, WorkerReport,
};
use crate::control::{ControlTarget, Listening, OpenProxy};
use crate::directory::Register;
use crate::handle::{Failure, Handle, Tunnel};
use crate::runtime::clock::Clock;
use crate::runtime::letters::{DialReport, Report};
use crate::setup::Setup;
use messages::Unanswered;

/// Bytes of a ping's packet.
const PING_BYTES: usize = 64;

/// Answers the owner's requests.
#[derive(Debug)]
pub struct Owner {
    handle: Handle,
    name: String,
    listening: Vec<String>,
    space: Arc<SpaceRules>,
    register: Option<Arc<Register>>,
    gate: Gate,
    clock: Clock,
    /// Messages somebody listened to that want an answer.
    unanswered: Arc<Mutex<Unanswered>>,
    stop: Mutex<bool>,
    stopped: Condvar,
}

impl Owner {
    /// The owner's view of a node started with `setup`, listening at these addresses.
    #[must_use]
    pub fn new(handle: Handle, setup: &Setup, udp: &[SocketAddr], links: &[SocketAddr]) -> Self {
        let udp = udp.iter().map(|a| format!("udp {a}"));
        let listeners = setup.listeners.iter().zip(links);
        let links = listeners.map(|(l, a)| format!("{} {a}", l.transport));
        Self {
            handle,
            name: setup.name.clone(),
            listening: udp.chain(links).collect(),
            space: setup.space.clone(),
            register: setup.register.clone(),
            gate: setup.gate.clone(),
            clock: Clock::start(),
            unanswered: Arc::default(),
            stop: Mutex::new(false),
            stopped: Condvar::new(),
        }
    }

    /// Waits as [`Self::wait`], but no longer than `patience`. Says whether the node is to end.
    pub fn wait_for(&self, patience: Duration) -> bool {
        let mut stop = self.stop.lock();
        !self.stopped.wait_while_for(&mut stop, |stop| !*stop, patience).timed_out()
    }

    /// Waits until the owner, or a signal by [`ControlTarget::stop`], wants the node to end.
    pub fn wait(&self) {
        let mut stop = self.stop.lock();
        self.stopped.wait_while(&mut stop, |stop| !*stop);
    }

    fn routes(&self) -> Option<Arc<RouteTable>> {
        let reports = self.handle.report().ok()?;
        reports.into_iter().find_map(|r| r.routes)
    }
}

fn fault(failure: Failure, whom: &Hashname) -> Fault {
    let short = whom.short();
    match failure {
        Failure::Code { code: Code::TimedOut, .. } => {
            Fault::new(codes::TIMEOUT, format!("{short} did not answer in time; is it running?"))
        }
        Failure::Code { code: Code::NoRoute, .. } => Fault::new(
            codes::NO_ROUTE,
            format!("no way to {short} is known: `trunkline why {whom}` says what to do"),
        ),
        Failure::Code { code, by, .. } => {
            let by = by.map_or_else(|| "this node".to_owned(), |b| format!("{b:?}"));
            Fault::new(code.label(), format!("{short}: {} (said by {by})", code.label()))
        }
        Failure::Busy => Fault::new(codes::BUSY, "this node is busy or stopping; try again"),
    }
}

impl ControlTarget for Owner {
    fn status(&self) -> StatusReport {
        let reports = self.handle.report().unwrap_or_default();
        let record = self.handle.identity().record();
        let mut status = StatusReport {
            hashname: self.handle.hashname().to_string(),
            name: self.name.clone(),
            space: self.handle.identity().space().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: millis(self.clock.now().since(trunkline_proto::base::Instant::ZERO)),
            record_expires: record.expiry().as_secs(),
            closed: self.space.is_closed(),
            voucher_expires: voucher::parse(&self.space.our_voucher())
                .ok()
                .map(|claim| claim.expiry.as_secs()),
            listening: self.listening.clone(),
            placement: format!("{:?}", self.handle.plan().placement()).to_lowercase(),
            ..StatusReport::default()
        };
        let routes = reports.iter().find_map(|r| r.routes.clone());
        for report in &reports {
            self.add(&mut status, report, routes.as_deref());
        }
        self.add_waiting_links(&mut status, &reports);
        status.totals.links_up = count(status.links.iter().filter(|l| l.state == "up").count());
        status.totals.lines = count(status.lines.len());
        let direct = status.lines.iter().filter(|l| l.way.starts_with("direct"));
        status.totals.lines_direct = count(direct.count());
        status.totals.streams = count(status.streams.len());
        status.totals.nodes = count(status.nodes.len());
        status.lines.truncate(MOST_LISTED);
        status.nodes.truncate(MOST_LISTED);
        status.streams.truncate(MOST_LISTED);
        status
    }

    fn ping(
        &self,
        to: Hashname,
        ask: &PingAsk,
        tell: &mut dyn FnMut(Probe) -> ControlFlow<()>,
    ) -> Result<PingSummary, Fault> {
        let priority = ask.priority.and_then(Priority::new).unwrap_or_default();
        let patience = Duration::from_millis(ask.timeout_ms);
        let interval = Duration::from_millis(ask.interval_ms);
        let mut rtts = Vec::new();
        let mut sent = 0;
        for seq in 1..=ask.count {
            let start = self.clock.now();
            sent += 1;
            let result = self.handle.ping(to, priority, PING_BYTES, patience);
            if seq == 1
                && let Err(failure @ Failure::Code { code: Code::NoRoute, .. }) = result
            {
                return Err(fault(failure, &to));
            }
            let rtt_us = result.as_ref().ok().map(|rtt| micros(*rtt));
            rtts.extend(rtt_us);
            let lost = result.err().map(|failure| failure.to_string());
            let way = if seq == 1 || lost.is_some() { self.way(&to) } else { String::new() };
            if tell(Probe { seq, rtt_us, way, lost }).is_break() {
                break;
            }
            if seq < ask.count {
                let elapsed = self.clock.now().since(start);
                std::thread::park_timeout(interval.saturating_sub(elapsed));
            }
        }
        Ok(PingSummary::of(sent, rtts))
    }

    fn trace(
        &self,
        to: Hashname,
        ask: &TraceAsk,
        tell: &mut dyn FnMut(Hop) -> ControlFlow<()>,
    ) -> Result<TraceReport, Fault> {
        let patience = Duration::from_millis(ask.timeout_ms);
        let routes = self.routes();
        let cost_to = |node| match routes.as_ref().and_then(|r| r.reach(&node)) {
            Some(Reach::Through(hop)) => hop.cost,
            _ => 0,
        };
        let mut hops = Vec::new();
        let mut so_far = 0;
        let names = self.names();
        let found = self.handle.trace(to, patience, |number, hop| {
            let total = cost_to(hop.node);
            let cost = u32::try_from(total.saturating_sub(so_far)).unwrap_or(u32::MAX);
            so_far = so_far.max(total);
            let hashname = routes.as_ref().and_then(|r| r.hashname(&hop.node));
            let hop = Hop {
                number,
                hashname: hashname.map(|h| h.to_string()).unwrap_or_default(),
                name: hashname.and_then(|h| names.get(&h).cloned()),
                cost,
                rtt_us: hop.rtt.map(micros),
            };
            let _ = tell(hop.clone());
            hops.push(hop);
        });
        let found = found.map_err(|failure| fault(failure, &to))?;
        let reached = found.last().is_some_and(|hop| hop.arrived);
        Ok(TraceReport { hops, cost: so_far, reached, way: self.way(&to) })
    }

    fn proxy(
        &self,
        to: Hashname,
        target: HostPort,
        listen: SocketAddr,
    ) -> Result<Box<dyn OpenProxy>, Fault> {
        let opened = self.handle.proxy(to, &target.to_string(), listen);
        let tunnel = opened.map_err(|error| {
            Fault::new(codes::ADDRESS, format!("cannot listen at {listen}: {error}"))
        })?;
        Ok(Box::new(Opened(tunnel)))
    }

    fn http(&self, to: Hashname, listen: SocketAddr) -> Result<Box<dyn OpenProxy>, Fault> {
        let opened = self.handle.http_proxy(to, listen);
        let tunnel = opened.map_err(|error| {
            Fault::new(codes::ADDRESS, format!("cannot listen at {listen}: {error}"))
        })?;
        Ok(Box::new(Opened(tunnel)))
    }

    fn why(&self, to: Hashname) -> WhyReport {
        self.why_it_is(to)
    }

    fn seek(&self, what: &str) -> Result<SeekReport, Fault> {
        self.look_around(what)
    }

    fn gate(&self) -> GateReport {
        let mut hits = Hits::default();
        for report in self.handle.report().unwrap_or_default() {
            hits.merge(&report.gate);
        }
        GateReport::of(&self.gate, &hits)
    }

    fn links(&self) -> LinksReport {
        self.list_links()
    }

    fn nodes(&self) -> Result<NodesReport, Fault> {
        self.list_nodes()
    }

    fn routes_to(&self, to: Option<Hashname>) -> Result<RoutesReport, Fault> {
        self.list_routes(to)
    }

    fn link_add(&self, to: Hashname, ask: &LinkAddAsk) -> Result<(), Fault> {
        self.open_link(to, ask)
    }

    fn link_close(&self, ask: &LinkCloseAsk) -> Result<(), Fault> {
        self.close_link(ask)
    }

    fn link_cost(&self, ask: &LinkCostAsk) -> Result<(), Fault> {
        self.change_cost(ask)
    }

    fn send(&self, message: &Judged, wait: bool) -> Result<Sent, Fault> {
        self.send_message(message, wait)
    }

    fn broadcast(&self, what: &Outbound, record: Bytes, here: bool) -> Result<Sent, Fault> {
        self.say_to_all(what, record, here)
    }

    fn request(&self, message: &Judged) -> Result<Heard, Fault> {
        self.ask_by_message(message)
    }

    fn listen(
        &self,
        namespace: Namespace,
        target: Option<Namespace>,
    ) -> Result<Box<dyn Listening>, Fault> {
        self.listen_to(namespace, target)
    }

    fn reply(&self, number: u64, record: Bytes) -> Result<(), Fault> {
        self.answer_message(number, record)
    }

    fn operator(&self, ask: &OperatorAsk) -> Result<MemberList, Fault> {
        let register = self.register.as_ref().ok_or_else(|| {
            Fault::new(codes::NO_MEMBER, "this node is no operator: node.directory makes it one")
        })?;
        members::act(register, ask)
    }

    fn stop(&self) {
        *self.stop.lock() = true;
        self.stopped.notify_all();
    }
}

struct Opened(Tunnel);

impl OpenProxy for Opened {
    fn listening(&self) -> SocketAddr {
        self.0.local_addr()
    }
}

/// Putting the workers' reports together.
impl Owner {
    fn names(&self) -> BTreeMap<Hashname, String> {
        let reports = self.handle.report().unwrap_or_default();
        let nodes = reports.into_iter().filter_map(|r| r.mesh).flatten();
        nodes.map(|n| (n.hashname, n.name.as_str().to_owned())).collect()
    }

    /// The way packets to `peer` take.
    fn way(&self, peer: &Hashname) -> String {
        let reports = self.handle.report().unwrap_or_default();
        let routes = reports.iter().find_map(|r| r.routes.clone());
        let contact = reports.iter().flat_map(|r| &r.contacts).find(|c| c.hashname == *peer);
        contact.and_then(|c| c.path).map(|p| way(p, peer, routes.as_deref())).unwrap_or_default()
    }

    fn add(&self, status: &mut StatusReport, report: &Report, routes: Option<&RouteTable>) {
        for (reason, n) in report.drops.iter() {
            *status.drops.entry(reason.label().to_owned()).or_default() += n;
        }
        self.add_links(status, report);
        for c in report.contacts.iter().filter(|c| c.state != State::Unknown) {
            if matches!(c.state, State::Resolved | State::Seen) {
                continue;
            }
            status.lines.push(LineReport {
                hashname: c.hashname.to_string(),
                state: c.state.label().to_owned(),
                way: c.path.map(|p| way(p, &c.hashname, routes)).unwrap_or_default(),
                datagram_bytes: c.datagram.map(|n| n as u64),
                idle_ms: c.silent.map_or(0, millis),
                ..LineReport::default()
            });
        }
        for peer in &report.peers {
            let name = peer.hashname.to_string();
            if let Some(line) = status.lines.iter_mut().find(|l| l.hashname == name) {
                line.rtt_us = peer.stats.round_trip_least.map(|_| micros(peer.stats.round_trip));
                line.streams = u32::try_from(peer.stats.streams).unwrap_or(u32::MAX);
                line.resent_bytes = peer.stats.bytes_resent;
                line.in_flight_bytes = peer.stats.in_flight;
                line.window_bytes = peer.stats.window;
            }
            status.streams.extend(peer.streams.iter().map(|s| stream(&name, s)));
        }
        for node in report.mesh.iter().flatten() {
            status.nodes.push(node_report(node, routes));
        }
        for (listen, peer, target, accepted) in &report.proxies {
            status.proxies.push(ProxyReport {
                listen: listen.to_string(),
                hashname: peer.to_string(),
                target: target.clone(),
                accepted: *accepted,
            });
        }
        let forwarded = report.forwarded.clone().unwrap_or_default();
        let Totals { forwarded: total, .. } = &mut status.totals;
        total.packets += forwarded.packages;
        total.bytes += forwarded.bytes;
        status.workers.push(WorkerReport {
            name: format!("trunkline-{}", report.seat),
            rounds: report.rounds,
            forwarded: forwarded.packages,
            runs: forwarded.runs,
            tunnels: report.tunnels.open,
        });
    }

    fn add_links(&self, status: &mut StatusReport, report: &Report) {
        let names: BTreeMap<LinkId, &DialReport> =
            report.dials.iter().filter_map(|d| Some((d.link?, d))).collect();
        for (link, dial, remote, tls) in &report.links {
            let dialled = names.get(&link.link);
            let name = dial.and_then(|i| self.handle.shared().dialled.get(i)).map(|(n, _)| n);
            status.totals.received.packets += link.frames;
            status.totals.received.bytes += link.bytes;
            status.links.push(LinkReport {
                name: name.unwrap_or_else(|| remote.to_string()),
                hashname: link.peer.map(|p| p.to_string()).unwrap_or_default(),
                address: remote.to_string(),
                transport: if *tls { "tls" } else { "plain" }.to_owned(),
                outgoing: dial.is_some(),
                state: if link.peer.is_some() { "up" } else { "greeting" }.to_owned(),
                cost: link.cost,
                rtt_us: link.rtt.map(micros),
                received: Traffic { packets: link.frames, bytes: link.bytes },
                losses: dialled.map_or(0, |d| d.losses),
                last_error: dialled.and_then(|d| d.last_error.clone()),
                id: link.link.0,
                ..LinkReport::default()
            });
        }
        for written in &report.written {
            let sent = Traffic { packets: written.frames, bytes: written.bytes };
            status.totals.sent.packets += sent.packets;
            status.totals.sent.bytes += sent.bytes;
            if let Some(link) = status.links.iter_mut().find(|l| l.id == written.link.0) {
                link.sent = sent;
                link.queued_bytes = count(written.waiting);
                link.dropped = written.dropped;
                link.levels = written.levels.iter().map(level).collect();
            }
        }
    }

    /// Configured links without a connection: they are the ones an owner asks about.
    fn add_waiting_links(&self, status: &mut StatusReport, reports: &[Report]) {
        let waiting = reports.iter().flat_map(|r| &r.dials);
        for dial in waiting.filter(|d| d.retry_in.is_some()) {
            let Some((name, hashname)) = self.handle.shared().dialled.get(dial.index) else {
                continue;
            };
            status.links.push(LinkReport {
                name,
                hashname: hashname.to_string(),
                outgoing: true,
                state: "waiting".to_owned(),
                losses: dial.losses,
                last_error: dial.last_error.clone(),
                retry_ms: dial.retry_in.map(millis),
                ..LinkReport::default()
            });
        }
    }
}

/// One priority of a link.
fn level((lane, (bytes, runs), level): &(Lane, (usize, usize), Level)) -> LevelReport {
    LevelReport {
        priority: match lane {
            Lane::Data(priority) => priority.level().to_string(),
            Lane::Control => "control".to_owned(),
        },
        queued_bytes: count(*bytes),
        queued_runs: count(*runs),
        sent: Traffic { packets: level.frames, bytes: level.bytes },
        dropped: level.dropped,
        wait_mean_us: level.waits.mean().map(micros),
        wait_p99_us: level.waits.percentile(99).map(micros),
        wait_max_us: level.waits.max().map(micros),
    }
}

fn way(path: Path, peer: &Hashname, routes: Option<&RouteTable>) -> String {
    match path {
        Path::Direct(address) => format!("direct {address}"),
        Path::Bridge(bridge) => format!("bridge at {}", bridge.relay),
        Path::Mesh => {
            let hops = routes.and_then(|r| r.path(&peer.address())).unwrap_or_default();
            match hops.as_slice() {
                [] => "mesh, no route now".to_owned(),
                [_] => "mesh, neighbour".to_owned(),
                [first, ..] => {
                    let name = routes.and_then(|r| r.hashname(first));
                    let name = name.map_or_else(|| format!("{first:?}"), |h| h.short());
                    format!("mesh via {name}, {} hops", hops.len())
                }
            }
        }
    }
}

fn stream(hashname: &str, s: &StreamStatus) -> StreamReport {
    StreamReport {
        hashname: hashname.to_owned(),
        id: s.id.0,
        purpose: match &s.open {
            Open::Generic => "generic".to_owned(),
            Open::Sock(target) => format!("sock {target}"),
            Open::Req => "req".to_owned(),
        },
        opened_here: s.opened_here,
        priority: s.priority.level(),
        written_bytes: s.written,
        acked_bytes: s.acknowledged,
        received_bytes: s.received,
        read_bytes: s.read,
    }
}

fn node_report(
    node: &trunkline_proto::mesh::NodeStatus,
    routes: Option<&RouteTable>,
) -> NodeReport {
    let path = routes.and_then(|r| r.path(&node.hashname.address()));
    let next = path.as_ref().and_then(|p| p.first()).and_then(|n| routes?.hashname(n));
    let name_of = |address| match routes.and_then(|r| r.hashname(&address)) {
        Some(hashname) => hashname.to_string(),
        None => format!("{address:?}"),
    };
    NodeReport {
        hashname: node.hashname.to_string(),
        name: Some(node.name.as_str().to_owned()),
        cost: match node.reach {
            Reach::Here => Some(0),
            Reach::Through(hop) => Some(hop.cost),
            Reach::Apart | Reach::Unlinked => None,
        },
        hops: path.and_then(|p| u8::try_from(p.len()).ok()),
        next: next.map(|h| h.to_string()),
        obstacle: match node.reach {
            Reach::Here | Reach::Through(_) => None,
            Reach::Apart => Some("apart".to_owned()),
            Reach::Unlinked => Some("one-sided".to_owned()),
        },
        neighbours: node.neighbours.iter().map(|n| (name_of(n.address), n.cost.get())).collect(),
        heard_ms: millis(node.age),
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
