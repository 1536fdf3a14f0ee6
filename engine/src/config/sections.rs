//! From the sections of the file to the model, section by section in the order of the example.
//!
//! Every reader asks for all of its keys before it gives up, so that one run reports everything.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trunkline_proto::base::Hashname;
use trunkline_proto::crypto::SpaceRules;

use super::gate;
use super::limits;
use super::messages;
use super::model::{
    Config, Control, DEFAULT_PORT, Gateway, Http, Link, LinkListener, Listen, Log, LogFormat,
    LogLevel, Mesh, Node, Operator, Peer, Placement, PlacementMode, Proxy, RecordSource, Sock,
    Space, Transport,
};
use super::read::{Raw, Section, closest};
use super::rules::{HostPort, TargetRule};

/// Listening sockets of one kind.
const MOST_LISTENERS: usize = 64;
/// Threads of one kind.
const MOST_THREADS: u64 = 256;
/// Entries of the allow-list, addresses of a peer.
const MOST_ENTRIES: usize = 1_024;
/// Lines a node may aim at: each costs some 4 KiB and two packets in 25 s.
const MOST_LEVEL: u64 = 2_000;
/// Bridges of one node, 160 bytes for each of its two ends.
const MOST_BRIDGES: u64 = 100_000;
/// Bytes a second of one bridge, one way.
const BRIDGE_RATE: (u64, u64) = (1 << 10, 10 << 30);
/// How long one is granted: short enough to be rid of it, long enough to be asked for again.
const BRIDGE_TIME: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(86_400));
/// `[[link]]`, `[[peer]]` and `[[proxy]]` sections, each.
const MOST_SECTIONS: usize = 4_096;

/// Reads the whole file; none if something without a default is missing or wrong. Relative paths
/// start from `base`.
pub(super) fn read(mut root: Section<'_, '_>, base: &Path) -> Option<Config> {
    let node = node(root.section("node"), base);
    let mut space = space(root.section("space"));
    let operators = root.sections("operator", SpaceRules::MOST_OPERATORS);
    space.operators = all(operators, |s| operator(s, base));
    let listen = listen(root.section("listen"));
    let links = all(root.sections("link", MOST_SECTIONS), link);
    let peers = all(root.sections("peer", MOST_SECTIONS), |s| peer(s, base));
    let mesh = mesh(root.section("mesh"));
    let gate = gate::read(root.section("gate"), &links);
    let messages = messages::read(root.section("messages"));
    let sock = sock(root.section("sock"));
    let proxies = all(root.sections("proxy", MOST_SECTIONS), proxy);
    let http = http(root.section("http"));
    let gateway = gateway(root.section("gateway"));
    let control = control(root.section("control"), base);
    let placement = placement(root.section("placement"));
    let mut section = root.section("limits");
    let limits = limits::read(&mut section);
    section.finish();
    let log = log(root.section("log"));
    root.finish();
    let node = node?;
    Some(Config {
        node,
        space,
        listen,
        links,
        peers,
        mesh,
        gate,
        messages,
        sock,
        proxies,
        http,
        gateway,
        control,
        placement,
        limits,
        log,
    })
}

pub(super) fn all<'r, 't, T>(
    sections: Vec<Section<'r, 't>>,
    read: impl Fn(Section<'r, 't>) -> Option<T>,
) -> Vec<T> {
    // A section that is wrong has been reported, and then no configuration comes out of it.
    sections.into_iter().filter_map(read).collect()
}

fn node(mut s: Section<'_, '_>, base: &Path) -> Option<Node> {
    let name = s.take("name", name);
    let why = "write keys = \"FILE\"; `trunkline keys new` makes one";
    let keys = s.need("keys", why, |r| path(r, base));
    let state_dir = s.take("state_dir", |r| path(r, base));
    let voucher = s.take("voucher", |r| path(r, base));
    let directory = s.take("directory", |r| path(r, base));
    s.finish();
    Some(Node { name, keys: keys?, state_dir, voucher, directory })
}

fn space(mut s: Section<'_, '_>) -> Space {
    let closed = s.take("closed", |r| r.flag()).unwrap_or_default();
    s.finish();
    Space { closed, operators: Vec::new() }
}

fn operator(mut s: Section<'_, '_>, base: &Path) -> Option<Operator> {
    let hashname = s.need("hashname", "who it is, 64 hex digits", hashname);
    let address = s.take("address", host_port);
    let record = record(&mut s, base);
    s.finish();
    Some(Operator { hashname: hashname?, address, record: record? })
}

fn listen(mut s: Section<'_, '_>) -> Listen {
    let Listen { mut udp, mut links } = Listen::default();
    if let Some(addresses) = s.list("udp", MOST_LISTENERS, listening) {
        udp = addresses;
    }
    for (key, transport) in [("tls", Transport::Tls), ("plain", Transport::Plain)] {
        if let Some(addresses) = s.list(key, MOST_LISTENERS, listening) {
            links.retain(|l| l.transport != transport);
            links.extend(addresses.into_iter().map(|address| LinkListener { address, transport }));
        }
    }
    let mut seen: Vec<SocketAddr> = Vec::new();
    for address in links.iter().map(|l| l.address).filter(|a| a.port() != 0) {
        if seen.contains(&address) {
            s.report(format!("{address} is listed twice; one TCP port is either tls or plain"));
        }
        seen.push(address);
    }
    s.finish();
    Listen { udp, links }
}

fn link(mut s: Section<'_, '_>) -> Option<Link> {
    let given = s.take("name", name);
    let address = s.need("address", "where the neighbour listens, HOST:PORT", host_port);
    let hashname = s.need("hashname", "who must answer there, 64 hex digits", hashname);
    let transport = s.take("transport", |r| word(r, Transport::ALL, Transport::word));
    let cost = s.take("cost", |r| {
        let cost = r.number(1..=u64::from(Link::MAX_COST))?;
        u32::try_from(cost).map_err(|e| e.to_string())
    });
    s.finish();
    let address = address?;
    Some(Link {
        name: given.unwrap_or_else(|| address.to_string()),
        address,
        hashname: hashname?,
        transport: transport.unwrap_or_default(),
        cost: cost.unwrap_or(Link::DEFAULT_COST),
    })
}

fn peer(mut s: Section<'_, '_>, base: &Path) -> Option<Peer> {
    let hashname = s.need("hashname", "who it is, 64 hex digits", hashname);
    let record = record(&mut s, base);
    let addresses = s.list("addresses", MOST_ENTRIES, host_port).unwrap_or_default();
    if record == Some(None) && addresses.is_empty() {
        s.report(
            "needs its key record: record = \"...\" or record_file = \"FILE\", or addresses to ask it \
             for at",
        );
    }
    let introducer = s.take("introducer", |r| r.flag()).unwrap_or_default();
    s.finish();
    Some(Peer { hashname: hashname?, record: record?, addresses, introducer })
}

fn mesh(mut s: Section<'_, '_>) -> Mesh {
    let usual = Mesh::default();
    let spacer = s.take("spacer", |r| r.flag()).unwrap_or_default();
    let mut count = |key, most| {
        let n = s.take(key, |r| r.number(0..=most));
        n.and_then(|n| usize::try_from(n).ok())
    };
    let level = count("level", MOST_LEVEL).unwrap_or(usual.level);
    let bridges = count("bridges", MOST_BRIDGES).unwrap_or(usual.bridges);
    let bridge_rate = s.take("bridge_rate", |r| limits::bytes(r, BRIDGE_RATE.0, BRIDGE_RATE.1));
    let bridge_time = s.take("bridge_time", |r| limits::time(r, BRIDGE_TIME.0, BRIDGE_TIME.1));
    s.finish();
    Mesh {
        spacer,
        level,
        bridges,
        bridge_rate: bridge_rate.unwrap_or(usual.bridge_rate),
        bridge_time: bridge_time.unwrap_or(usual.bridge_time),
    }
}

/// The key record of a section, if it has one; none if it cannot be told which.
fn record(s: &mut Section<'_, '_>, base: &Path) -> Option<Option<RecordSource>> {
    let inline = s.take("record", |r| r.text().map(str::to_owned));
    match (inline, s.take("record_file", |r| path(r, base))) {
        (Some(_), Some(_)) => {
            s.report("has both record and record_file; keep one of them");
            None
        }
        (Some(text), None) => Some(Some(RecordSource::Inline(text))),
        (None, file) => Some(file.map(RecordSource::File)),
    }
}

fn sock(mut s: Section<'_, '_>) -> Sock {
    let rule = |r: &Raw<'_>| r.text()?.parse::<TargetRule>().map_err(|e| e.to_string());
    let allow = s.list("allow", MOST_ENTRIES, rule).unwrap_or_default();
    s.finish();
    Sock { allow }
}

fn proxy(mut s: Section<'_, '_>) -> Option<Proxy> {
    let hashname = s.need("hashname", "who reaches the target, 64 hex digits", hashname);
    let target = s.need("target", "what is reached from there, HOST:PORT", |r| {
        r.text()?.parse::<HostPort>().map_err(|e| e.to_string())
    });
    let listen = s.need("listen", "where local programs connect, IP:PORT", listening);
    s.finish();
    Some(Proxy { hashname: hashname?, target: target?, listen: listen? })
}

fn http(mut s: Section<'_, '_>) -> Http {
    let backend = s.take("backend", |r| r.text()?.parse::<HostPort>().map_err(|e| e.to_string()));
    let pass_host = s.take("pass_host", |r| r.flag());
    s.finish();
    Http { backend, pass_host: pass_host.unwrap_or_default() }
}

fn gateway(mut s: Section<'_, '_>) -> Gateway {
    let listen = s.take("listen", listening);
    let names = s.section("names").entries(MOST_ENTRIES, |name, raw| {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let edges = name.starts_with('-') || name.ends_with('-');
        if name.is_empty() || name.len() > 63 || edges || !name.chars().all(letter) {
            return Err("as a part of a host name: a to z, 0 to 9 and -, at most 63".to_owned());
        }
        hashname(raw)
    });
    if let Some(address) = listen.filter(|a| !a.ip().to_canonical().is_loopback()) {
        s.report(format!("{address}: the gateway is for this machine, listen on 127.0.0.1"));
    }
    s.finish();
    Gateway { listen, names }
}

fn control(mut s: Section<'_, '_>, base: &Path) -> Control {
    let socket = s.take("socket", |r| {
        let path = path(r, base)?;
        crate::control::path::fits(&path)?;
        Ok::<_, String>(path)
    });
    s.finish();
    Control { socket }
}

fn placement(mut s: Section<'_, '_>) -> Placement {
    let mode = s.take("mode", |r| word(r, PlacementMode::ALL, PlacementMode::word));
    let mut threads = |key| {
        let n = s.take(key, |r| r.number(0..=MOST_THREADS));
        n.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
    };
    let placement = Placement {
        mode: mode.unwrap_or_default(),
        workers: threads("workers"),
        streams: threads("streams"),
        forwarders: threads("forwarders"),
        writers: threads("writers"),
    };
    let own = placement.streams + placement.forwarders + placement.writers;
    if placement.mode == PlacementMode::Collapsed && own > 0 {
        s.report("streams, forwarders and writers have no threads in collapsed placement; leave them out or choose mode = \"spread\"");
    }
    s.finish();
    placement
}

fn log(mut s: Section<'_, '_>) -> Log {
    let level = s.take("level", |r| word(r, LogLevel::ALL, LogLevel::word));
    let format = s.take("format", |r| word(r, LogFormat::ALL, LogFormat::word));
    s.finish();
    Log { level: level.unwrap_or_default(), format: format.unwrap_or_default() }
}

/// A name for people: short, and harmless in a table, a log line or a URL.
fn name(raw: &Raw<'_>) -> Result<String, String> {
    let text = raw.text()?;
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(fine) {
        return Err("a name is 1 to 64 letters, digits and - _ . :".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn hashname(raw: &Raw<'_>) -> Result<Hashname, String> {
    let text = raw.text()?;
    text.parse().map_err(|e| format!("{e}, this is {} characters", text.chars().count()))
}

fn path(raw: &Raw<'_>, base: &Path) -> Result<PathBuf, String> {
    match raw.text()? {
        "" => Err("expected a path".to_owned()),
        text if text.contains('\0') => Err("a path has no NUL in it".to_owned()),
        text => Ok(base.join(text)),
    }
}

fn listening(raw: &Raw<'_>) -> Result<SocketAddr, String> {
    let text = raw.text()?;
    text.parse::<SocketAddr>().map_err(|_| {
        format!("`{text}` is not an address to listen on; write IP:PORT, 0.0.0.0 for all")
    })
}

fn host_port(raw: &Raw<'_>) -> Result<HostPort, String> {
    HostPort::parse(raw.text()?, Some(DEFAULT_PORT)).map_err(|e| e.to_string())
}

pub(super) fn word<T: Copy>(
    raw: &Raw<'_>,
    all: &'static [T],
    show: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    let text = raw.text()?;
    let words: Vec<&'static str> = all.iter().map(|w| show(*w)).collect();
    if let Some(found) = all.iter().find(|w| show(**w) == text) {
        return Ok(*found);
    }
    let hint = closest(text, &words).map(|w| format!("; did you mean `{w}`?")).unwrap_or_default();
    Err(format!("`{text}` is not one of {}{hint}", words.join(", ")))
}
