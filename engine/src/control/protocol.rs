//! The words spoken over the control socket: one JSON object a line.
//!
//! ```text
//! → {"id":1,"do":"ping","hashname":"00…","count":3}
//! ← {"id":1,"event":{"seq":1,"rtt_us":412,"way":"direct 192.0.2.7:42424"}}
//! ← {"id":1,"event":{…}}
//! ← {"id":1,"ok":{"sent":3,"received":3,…}}        or  {"id":1,"error":{"code":"no-route",…}}
//! ```
//!
//! Requests on one connection are answered one after another. Unknown fields are ignored and
//! absent ones have defaults, in both directions, so that a command and a node of different
//! versions understand each other. What is reported stands in [`super::report`]. Only shapes
//! here: nothing reads or writes a socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::finding::{SeekAsk, WhyAsk};
use super::mesh::{LinkAddAsk, LinkCloseAsk, LinkCostAsk, RoutesAsk};
use super::messages::{BroadcastAsk, ListenAsk, MessageAsk, ReplyAsk};

/// The longest request, with its line feed: a message of the largest size in Base64, and more.
pub const LONGEST_REQUEST: usize = 2 << 20;

/// The longest answer a command accepts, with its line feed.
pub const LONGEST_ANSWER: usize = 64 << 20;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the asker, repeated in every answer.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub act: Act,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Act {
    /// How the node is. Answered by a [`super::report::StatusReport`].
    Status,
    /// Round trips to a hashname. Each probe is a [`Probe`] event; answered by a [`PingSummary`].
    Ping(PingAsk),
    /// The way to a hashname. Each hop is a [`Hop`] event; answered by a [`TraceReport`].
    Trace(TraceAsk),
    /// A local port that leads to a target behind a hashname, until the asker hangs up. Announced
    /// by a [`ProxyOpened`] event; never answered unless it fails.
    Proxy(ProxyAsk),
    /// A local port whose connections are HTTP connections to a hashname; otherwise as
    /// [`Act::Proxy`].
    Http(HttpAsk),
    /// Sends a message. Answered by a [`super::messages::Sent`] when it was handed over.
    Send(MessageAsk),
    /// Asks by a message. Answered by a [`super::messages::Heard`], the reply.
    Request(MessageAsk),
    /// Says something to all nodes. Answered by a [`super::messages::Sent`].
    Broadcast(BroadcastAsk),
    /// Takes messages until the asker hangs up. Each is a [`super::messages::Listened`] event, and
    /// so is that it begins; never answered unless it fails.
    Listen(ListenAsk),
    /// Answers a message that somebody listened to.
    Reply(ReplyAsk),
    /// Why the line to a hashname is as it is. Answered by a [`super::finding::WhyReport`].
    Why(WhyAsk),
    /// Who is nearest to something. Answered by a [`super::finding::SeekReport`].
    Seek(SeekAsk),
    /// What the gatekeeper goes by and has decided. Answered by a [`super::gate::GateReport`].
    Gate,
    /// The links, connected or not. Answered by a [`super::mesh::LinksReport`].
    Links,
    /// Opens a link. Answered by `{}`.
    LinkAdd(LinkAddAsk),
    /// Closes a link. Answered by `{}`.
    LinkClose(LinkCloseAsk),
    /// Gives a link another cost. Answered by `{}`.
    LinkCost(LinkCostAsk),
    /// The nodes, in reach or not. Answered by a [`super::mesh::NodesReport`].
    Nodes,
    /// The routes. Answered by a [`super::mesh::RoutesReport`].
    Routes(RoutesAsk),
    /// Something with the members of the space, if the node is an operator. Answered by a
    /// [`MemberList`] of those it is about.
    Operator(OperatorAsk),
    /// Lets the node drain and end. Answered by `{}` before it does.
    Stop,
}

/// See [`Act::Ping`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingAsk {
    /// Whom, 64 hex digits.
    pub hashname: String,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// From one sending to the next.
    #[serde(default = "second")]
    pub interval_ms: u64,
    /// At which priority, 0 to 7; the mesh's default if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// How long an answer may take before the probe counts as lost.
    #[serde(default = "patience")]
    pub timeout_ms: u64,
}

impl PingAsk {
    /// The most probes in one request.
    pub const MOST: u32 = 1_000_000;
    /// The longest interval and the longest timeout.
    pub const LONGEST_MS: u64 = 60_000;

    /// One probe to `hashname`, waiting for the default time.
    #[must_use]
    pub fn once(hashname: String) -> Self {
        let (count, interval_ms, timeout_ms) = (one(), second(), patience());
        Self { hashname, count, interval_ms, priority: None, timeout_ms }
    }
}

const fn one() -> u32 {
    1
}

const fn second() -> u64 {
    1_000
}

const fn patience() -> u64 {
    5_000
}

/// See [`Act::Trace`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceAsk {
    /// Whom, 64 hex digits.
    pub hashname: String,
    /// How long a hop's answer may take.
    #[serde(default = "patience")]
    pub timeout_ms: u64,
}

/// See [`Act::Proxy`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyAsk {
    /// Who reaches the target for us, 64 hex digits.
    pub hashname: String,
    /// What is reached from there, `HOST:PORT`.
    pub target: String,
    /// Where local programs connect; port 0 takes any free one.
    pub listen: SocketAddr,
}

/// See [`Act::Http`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAsk {
    /// Who answers, 64 hex digits.
    pub hashname: String,
    /// Where the local program connects; port 0 takes any free one.
    pub listen: SocketAddr,
}

/// See [`Act::Operator`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum OperatorAsk {
    /// Makes the owner of a record a member, or changes the terms of one.
    Add {
        /// The record as `trunkline keys show --record` prints it.
        record: String,
        /// What its vouchers allow, as words.
        #[serde(default)]
        allow: Vec<String>,
        /// For how long a voucher is made.
        valid_s: u64,
    },
    /// Strikes a member off.
    Remove {
        /// Whom, 64 hex digits.
        hashname: String,
    },
    /// Members in the order of their hashnames.
    List {
        /// Behind which one; from the first if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
        /// How many at most; [`Self::MOST_LISTED`] are the most.
        most: usize,
    },
}

impl OperatorAsk {
    /// The most members in one answer: some 300 bytes each.
    pub const MOST_LISTED: usize = 10_000;
}

/// Members, in the order of their hashnames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberList {
    /// Each of them.
    pub members: Vec<MemberReport>,
}

/// A member as an operator's directory has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberReport {
    /// Who.
    pub hashname: String,
    /// The serial of its record.
    pub serial: u64,
    /// What its vouchers allow, as words.
    pub allow: Vec<String>,
    /// For how long a voucher is made.
    pub valid_s: u64,
    /// When the newest voucher ends, in seconds since 1970.
    pub voucher_expires: u64,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The request's.
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Something on the way; more follows.
    Event(serde_json::Value),
    /// Done; the last line of this id.
    Ok(serde_json::Value),
    /// Failed; the last line of this id.
    Error(Fault),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Fault {
    /// For programs: one of the constants of [`codes`], or the label of a drop reason.
    pub code: String,
    /// For people: what happened, to what, and what to do.
    pub message: String,
    /// What else is known: the limit, how much of it is used, when to try again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl Fault {
    /// A fault of one of the [`codes`].
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: BTreeMap::new() }
    }

    /// The fault with one more detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.details.insert(key.to_owned(), value.to_string());
        self
    }
}

/// The codes of faults. Drop reasons' labels are used as they are.
pub mod codes {
    /// The request is not JSON, not a request, or a value in it is impossible.
    pub const BAD_REQUEST: &str = "bad-request";
    /// The node is no operator, or does not know the member.
    pub const NO_MEMBER: &str = "no-member";
    /// The directory of members cannot be changed or read so.
    pub const DIRECTORY: &str = "directory";
    /// More connections or requests than the node serves at a time.
    pub const BUSY: &str = "busy";
    /// No link has that name or number.
    pub const NO_LINK: &str = "no-link";
    /// No way to that hashname is known.
    pub const NO_ROUTE: &str = "no-route";
    /// Nobody answered in time.
    pub const TIMEOUT: &str = "timeout";
    /// The other side said no.
    pub const REFUSED: &str = "refused";
    /// The local address cannot be listened on.
    pub const ADDRESS: &str = "address";
    /// There is no message of that number to be answered.
    pub const NO_MESSAGE: &str = "no-message";
    /// The node is stopping.
    pub const STOPPING: &str = "shutting-down";
    /// Something of the node itself failed.
    pub const INTERNAL: &str = "internal";
}

/// One probe of a ping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// Counted from 1.
    pub seq: u32,
    /// The round trip; none if it was lost.
    pub rtt_us: Option<u64>,
    /// The way it took: `direct ADDRESS` or `mesh via NAME`.
    pub way: String,
    /// Why it was lost, if that is known.
    pub lost: Option<String>,
}

/// The end of a ping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PingSummary {
    /// Probes sent.
    pub sent: u32,
    /// Probes answered.
    pub received: u32,
    /// The fastest round trip; this and the others are none without an answer.
    pub min_us: Option<u64>,
    /// The middle round trip.
    pub p50_us: Option<u64>,
    /// 99 of 100 were faster.
    pub p99_us: Option<u64>,
    /// The slowest round trip.
    pub max_us: Option<u64>,
}

impl PingSummary {
    /// The summary of `sent` probes with these round trips.
    #[must_use]
    pub fn of(sent: u32, mut rtts_us: Vec<u64>) -> Self {
        rtts_us.sort_unstable();
        let last = rtts_us.len().saturating_sub(1);
        // Nearest rank: an observed round trip, never an invented one between two.
        let rank = |percent: usize| rtts_us.get((rtts_us.len() * percent).div_ceil(100).max(1) - 1);
        Self {
            sent,
            received: u32::try_from(rtts_us.len()).unwrap_or(u32::MAX),
            min_us: rtts_us.first().copied(),
            p50_us: rank(50).copied(),
            p99_us: rank(99).copied(),
            max_us: rtts_us.get(last).copied(),
        }
    }
}

/// One hop of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hop {
    /// Counted from 1; the last one is the destination.
    pub number: u8,
    /// Who.
    pub hashname: String,
    /// Its name, if it announces one.
    pub name: Option<String>,
    /// The cost of the link that leads to it from the hop before.
    pub cost: u32,
    /// The round trip from here; none if it did not answer.
    pub rtt_us: Option<u64>,
}

/// The end of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceReport {
    /// Every hop in order.
    pub hops: Vec<Hop>,
    /// The sum of the links' costs.
    pub cost: u64,
    /// Whether the destination answered.
    pub reached: bool,
    /// The way lines to it take: `direct ADDRESS` or `mesh via NAME`.
    pub way: String,
}

/// A proxy that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyOpened {
    /// Where local programs connect.
    pub listening: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(json: &str, request: &Request) {
        assert_eq!(&serde_json::from_str::<Request>(json).unwrap(), request);
        assert_eq!(serde_json::to_string(request).unwrap(), json);
    }

    #[test]
    fn requests_look_as_documented() {
        same(r#"{"id":1,"do":"status"}"#, &Request { id: 1, act: Act::Status });
        let ask = TraceAsk { hashname: "ab".into(), timeout_ms: 9 };
        same(
            r#"{"id":2,"do":"trace","hashname":"ab","timeout_ms":9}"#,
            &Request { id: 2, act: Act::Trace(ask) },
        );
        let listen = "127.0.0.1:0".parse().unwrap();
        let ask = ProxyAsk { hashname: "ab".into(), target: "localhost:22".into(), listen };
        same(
            r#"{"id":3,"do":"proxy","hashname":"ab","target":"localhost:22","listen":"127.0.0.1:0"}"#,
            &Request { id: 3, act: Act::Proxy(ask) },
        );
        let ask = HttpAsk { hashname: "ab".into(), listen };
        same(
            r#"{"id":4,"do":"http","hashname":"ab","listen":"127.0.0.1:0"}"#,
            &Request { id: 4, act: Act::Http(ask) },
        );
    }

    #[test]
    fn requests_to_an_operator_look_as_documented() {
        let act = |ask| Request { id: 1, act: Act::Operator(ask) };
        same(
            r#"{"id":1,"do":"operator","act":"add","record":"AQ","allow":["proxy"],"valid_s":60}"#,
            &act(OperatorAsk::Add {
                record: "AQ".into(),
                allow: vec!["proxy".into()],
                valid_s: 60,
            }),
        );
        same(
            r#"{"id":1,"do":"operator","act":"remove","hashname":"ab"}"#,
            &act(OperatorAsk::Remove { hashname: "ab".into() }),
        );
        same(
            r#"{"id":1,"do":"operator","act":"list","most":5}"#,
            &act(OperatorAsk::List { after: None, most: 5 }),
        );
    }

    #[test]
    fn requests_about_the_mesh_look_as_documented() {
        let request = |act| Request { id: 1, act };
        same(r#"{"id":1,"do":"links"}"#, &request(Act::Links));
        same(r#"{"id":1,"do":"nodes"}"#, &request(Act::Nodes));
        same(r#"{"id":1,"do":"routes"}"#, &request(Act::Routes(RoutesAsk::default())));
        let ask = RoutesAsk { hashname: Some("ab".into()) };
        same(r#"{"id":1,"do":"routes","hashname":"ab"}"#, &request(Act::Routes(ask)));
        let ask = LinkAddAsk {
            address: "a.example".into(),
            hashname: "ab".into(),
            name: None,
            transport: None,
            cost: Some(5),
        };
        same(
            r#"{"id":1,"do":"link-add","address":"a.example","hashname":"ab","cost":5}"#,
            &request(Act::LinkAdd(ask)),
        );
        let ask = LinkCloseAsk { link: "a.example".into() };
        same(r#"{"id":1,"do":"link-close","link":"a.example"}"#, &request(Act::LinkClose(ask)));
        let ask = LinkCostAsk { link: "3".into(), cost: 7 };
        same(r#"{"id":1,"do":"link-cost","link":"3","cost":7}"#, &request(Act::LinkCost(ask)));
    }

    #[test]
    fn absent_fields_have_defaults_and_unknown_ones_are_ignored() {
        let json = r#"{"id":1,"do":"ping","hashname":"ab","of-the-future":true}"#;
        let Request { act: Act::Ping(ask), .. } = serde_json::from_str(json).unwrap() else {
            panic!("a ping")
        };
        assert_eq!(ask, PingAsk::once("ab".into()));
    }

    #[test]
    fn answers_look_as_documented() {
        for json in [
            r#"{"id":1,"event":{"seq":1}}"#,
            r#"{"id":1,"ok":{}}"#,
            r#"{"id":1,"error":{"code":"no-route","message":"m"}}"#,
        ] {
            let answer: Answer = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&answer).unwrap(), json);
        }
    }

    #[test]
    fn a_summary_reports_round_trips_that_happened() {
        let summary = PingSummary::of(4, vec![30, 10, 20]);
        assert_eq!((summary.sent, summary.received), (4, 3));
        assert_eq!(
            (summary.min_us, summary.p50_us, summary.p99_us, summary.max_us),
            (Some(10), Some(20), Some(30), Some(30))
        );
        assert_eq!(PingSummary::of(1, vec![]).p50_us, None);
    }
}
