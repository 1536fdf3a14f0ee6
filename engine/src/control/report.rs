//! What a node reports about itself: what its owner wants to see, and why things are as they are.
//!
//! Counters stand here from the start, at zero, and move while a connection lives, not only when
//! it ends; a state that can fail carries its last error and the next attempt. Long lists are cut
//! and say so in their totals. Shapes only; the engine fills them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most lines, nodes and streams in one report; the totals count all.
pub const MOST_LISTED: usize = 1_000;

/// How the node is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusReport {
    /// Who it is, 64 hex digits.
    pub hashname: String,
    /// What people call it.
    pub name: String,
    /// The space it lives in.
    pub space: String,
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since its start.
    pub uptime_ms: u64,
    /// When its key record ends, in seconds since 1970.
    pub record_expires: u64,
    /// Whether an operator has to vouch for everybody in its space.
    pub closed: bool,
    /// When the voucher it shows ends, in seconds since 1970; none if it shows none.
    pub voucher_expires: Option<u64>,
    /// Where it listens, as `udp ADDRESS`, `tls ADDRESS` or `plain ADDRESS`.
    pub listening: Vec<String>,
    /// Its neighbours, connected or not.
    pub links: Vec<LinkReport>,
    /// Its sessions with other hashnames.
    pub lines: Vec<LineReport>,
    /// The nodes of the mesh and the ways to them.
    pub nodes: Vec<NodeReport>,
    /// Streams that are open.
    pub streams: Vec<StreamReport>,
    /// Local ports that lead to other hashnames.
    pub proxies: Vec<ProxyReport>,
    /// How many there are, beyond what is listed.
    pub totals: Totals,
    /// Packets that went no further, by reason; every reason is there.
    pub drops: BTreeMap<String, u64>,
    /// `collapsed` or `spread`.
    pub placement: String,
    /// The threads.
    pub workers: Vec<WorkerReport>,
}

/// What went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One neighbour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkReport {
    /// Its number in this process, never used again; 0 while there is no connection.
    pub id: u32,
    /// What people call it.
    pub name: String,
    /// Who it is; empty if it has not said so yet.
    pub hashname: String,
    /// Where it is.
    pub address: String,
    /// `tls` or `plain`.
    pub transport: String,
    /// Whether this side dialled.
    pub outgoing: bool,
    /// `connecting`, `greeting`, `up`, `waiting` (for the next attempt) or `closing`.
    pub state: String,
    /// What crossing it costs.
    pub cost: u32,
    /// The round trip of its heartbeats.
    pub rtt_us: Option<u64>,
    /// What was sent over it.
    pub sent: Traffic,
    /// What came over it.
    pub received: Traffic,
    /// Bytes waiting to be sent, of all priorities.
    pub queued_bytes: u64,
    /// What its full queues refused.
    pub dropped: u64,
    /// How often it was lost since the start.
    pub losses: u64,
    /// Why it was lost, or was not made, last.
    pub last_error: Option<String>,
    /// When the next attempt is made.
    pub retry_ms: Option<u64>,
    /// Whether it is the one that carries, of all links to that neighbour. This and what follows is
    /// told in the list of links only.
    pub in_use: bool,
    /// Whether it came and went so often that it does not count until it has stayed up for a while.
    pub held_down: bool,
    /// What its losses add up to; they fade.
    pub penalty: u32,
    /// Since it became part of the mesh.
    pub up_ms: Option<u64>,
    /// Its queues, from the most urgent; none while there is no connection.
    pub levels: Vec<LevelReport>,
}

/// One priority of one link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LevelReport {
    /// `7` to `0`, or `control` for what keeps the node alive.
    pub priority: String,
    /// Bytes waiting.
    pub queued_bytes: u64,
    /// Runs of frames waiting: frames that came together and leave together.
    pub queued_runs: u64,
    /// Frames that left the queue.
    pub sent: Traffic,
    /// Frames that a full queue refused, or that had to make room.
    pub dropped: u64,
    /// How long those that left had waited, in the mean; none before anything left.
    pub wait_mean_us: Option<u64>,
    /// At most so long waited 99 of 100, rounded up to a power of two.
    pub wait_p99_us: Option<u64>,
    /// The longest wait.
    pub wait_max_us: Option<u64>,
}

/// One session with another hashname.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LineReport {
    /// With whom.
    pub hashname: String,
    /// `unknown`, `seen`, `resolving`, `resolved`, `connecting` or `connected`.
    pub state: String,
    /// The way its packets take: `direct ADDRESS` or `mesh via NAME`.
    pub way: String,
    /// The most bytes of a datagram on that way, as UDP counts them; none unless it is direct.
    pub datagram_bytes: Option<u64>,
    /// The smoothed round trip.
    pub rtt_us: Option<u64>,
    /// Since the last packet from the other side.
    pub idle_ms: u64,
    /// Streams that are open in it.
    pub streams: u32,
    /// Payload bytes of its streams sent again.
    pub resent_bytes: u64,
    /// Bytes of its streams on their way, and how many the congestion controller allows.
    pub in_flight_bytes: u64,
    /// See `in_flight_bytes`.
    pub window_bytes: u64,
}

/// One node of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    /// Who.
    pub hashname: String,
    /// Its name, if it announces one.
    pub name: Option<String>,
    /// The sum of the costs to it; none if no way is known.
    pub cost: Option<u64>,
    /// How many links away.
    pub hops: Option<u8>,
    /// The neighbour that leads to it.
    pub next: Option<String>,
    /// Why no way is known: `expired`, `no-announcement`, `one-sided` or `apart`.
    pub obstacle: Option<String>,
    /// Its neighbours and its costs to them, as it announces them.
    pub neighbours: BTreeMap<String, u32>,
    /// Since its last announcement.
    pub heard_ms: u64,
}

/// One open stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamReport {
    /// With whom.
    pub hashname: String,
    /// Its number in the line.
    pub id: u64,
    /// What it carries: `sock TARGET`, or `generic`.
    pub purpose: String,
    /// Whether this node opened it.
    pub opened_here: bool,
    /// Its priority.
    pub priority: u8,
    /// Bytes taken from the application, and of those, acknowledged by the peer.
    pub written_bytes: u64,
    /// See `written_bytes`.
    pub acked_bytes: u64,
    /// Bytes received in order, and of those, taken by the application.
    pub received_bytes: u64,
    /// See `received_bytes`.
    pub read_bytes: u64,
}

/// One local port that leads to another hashname.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyReport {
    /// Where local programs connect.
    pub listen: String,
    /// Who reaches the target.
    pub hashname: String,
    /// What is reached from there.
    pub target: String,
    /// Connections accepted since the start.
    pub accepted: u64,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Links that are up.
    pub links_up: u64,
    /// Lines.
    pub lines: u64,
    /// Of those, connected directly; the others go through the mesh.
    pub lines_direct: u64,
    /// Nodes known.
    pub nodes: u64,
    /// Streams.
    pub streams: u64,
    /// What was received, of all links and lines.
    pub received: Traffic,
    /// What was sent, of all links and lines.
    pub sent: Traffic,
    /// What was sent on for third nodes.
    pub forwarded: Traffic,
}

/// One thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerReport {
    /// Its name, as the system's tools show it.
    pub name: String,
    /// Rounds of its loop.
    pub rounds: u64,
    /// Packages it sent on for third nodes, and the runs they left in; their ratio is the size
    /// of a batch.
    pub forwarded: u64,
    /// See `forwarded`.
    pub runs: u64,
    /// TCP connections it carries in streams.
    pub tunnels: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_another_version_is_understood() {
        let json = r#"{"name":"r","links":[{"name":"a","new":1}],"totals":{"lines":3},"more":[]}"#;
        let report: StatusReport = serde_json::from_str(json).unwrap();
        assert_eq!((report.links[0].name.as_str(), report.totals.lines), ("a", 3));
    }
}
