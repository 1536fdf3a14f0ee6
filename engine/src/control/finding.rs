//! What is asked and answered about finding hashnames: why a line to one is, or is not, as it
//! should be, and who is nearest to something. Shapes only; the engine fills them.

use serde::{Deserialize, Serialize};

/// See [`super::protocol::Act::Why`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyAsk {
    /// Whom, 64 hex digits.
    pub hashname: String,
}

/// All that a node knows of the way to a hashname.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WhyReport {
    /// Whom.
    pub hashname: String,
    /// `unknown`, `seen`, `resolving`, `resolved`, `connecting` or `connected`.
    pub state: String,
    /// The way its packets take; empty without a line.
    pub way: String,
    /// The most bytes of a datagram to it, as UDP counts them; none unless the line goes direct.
    pub datagram_bytes: Option<u64>,
    /// Since the last packet from it; none without a line.
    pub idle_ms: Option<u64>,
    /// Whether its key is known.
    pub key: bool,
    /// Ways that were tried, the one in use included.
    pub paths: Vec<PathTried>,
    /// Addresses it may be at.
    pub addresses: Vec<String>,
    /// Relays asked to carry packets to it.
    pub bridges: Vec<BridgeAsked>,
    /// What the search for it does, or how the last one ended.
    pub search: Option<SearchState>,
    /// When something is tried again by itself.
    pub retry_ms: Option<u64>,
    /// Where others say this node is.
    pub seen_at: Vec<String>,
    /// What stands in front of this node: `unknown`, `none`, `cone` or `symmetric`.
    pub nat: String,
    /// What its owner can do, in words; nothing where all is as good as it gets.
    pub advice: Vec<String>,
}

/// One way that was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathTried {
    /// `direct ADDRESS`, `bridge at ADDRESS` or `mesh …`.
    pub path: String,
    /// `answers`, `waiting` or `silent`.
    pub result: String,
    /// The round trip, if it answers.
    pub rtt_us: Option<u64>,
    /// Since it was last tried.
    pub ago_ms: u64,
}

/// A relay that was asked to carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BridgeAsked {
    /// Which.
    pub relay: String,
    /// `carries`, `asked`, or why it does not: `unknown`, `refused`, `full`, `rate`, `silent`,
    /// `over`.
    pub state: String,
}

/// How a search stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchState {
    /// What it waits for, or how it ended.
    pub state: String,
    /// Hashnames that have a line to the one sought.
    pub vias: Vec<String>,
    /// When it is given up; none if it ended.
    pub left_ms: Option<u64>,
}

/// See [`super::protocol::Act::Seek`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeekAsk {
    /// 64 hex digits, or any text, whose SHA-256 is taken.
    pub what: String,
}

/// The hashnames nearest to something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeekReport {
    /// Near what, 64 hex digits.
    pub to: String,
    /// Nearest first.
    pub hashnames: Vec<String>,
}
