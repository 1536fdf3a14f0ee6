//! What is asked and told of links, nodes and routes, and why they are as they are.
//!
//! Shapes only, as in [`super::protocol`]; the engine fills them.

use serde::{Deserialize, Serialize};

use super::report::{LinkReport, NodeReport};

/// Opens a link. Answered by `{}`; whether it comes up is seen in the list of links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkAddAsk {
    /// Where the neighbour listens, `HOST` or `HOST:PORT`.
    pub address: String,
    /// Who has to answer, 64 hex digits.
    pub hashname: String,
    /// What people call the link; its address if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `tls` or `plain`; `tls` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// What sending over it costs; the default of the configuration if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u32>,
}

/// Closes a link. Answered by `{}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCloseAsk {
    /// Its name or number.
    pub link: String,
}

/// Gives a link another cost. Answered by `{}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCostAsk {
    /// Its name or number.
    pub link: String,
    /// What sending over it is to cost.
    pub cost: u32,
}

/// All links, connected or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinksReport {
    /// Each of them.
    pub links: Vec<LinkReport>,
}

/// All nodes, in reach or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodesReport {
    /// Each of them, this one included, ascending by address.
    pub nodes: Vec<NodeReport>,
}

/// Asks for routes. Answered by a [`RoutesReport`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutesAsk {
    /// To which node, 64 hex digits, with reasons; to all of them if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashname: Option<String>,
}

/// Routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutesReport {
    /// One to each node, ascending by address.
    pub routes: Vec<RouteReport>,
}

/// The route to one node, or why there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteReport {
    /// To whom.
    pub hashname: String,
    /// Its name, if it announces one.
    pub name: Option<String>,
    /// The sum of the costs; none if there is no route.
    pub cost: Option<u64>,
    /// The nodes on the way, itself last.
    pub path: Vec<String>,
    /// The number of the link it begins with.
    pub link: Option<u32>,
    /// What the best way by each link costs, the one in use first; only when asked for one node.
    pub ways: Vec<WayReport>,
    /// Why there is no route: `unknown`, `expired`, `no-announcement`, `one-sided` or `apart`.
    pub obstacle: Option<String>,
    /// The same for people; only when asked for one node.
    pub why: Option<String>,
}

/// A way by one link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WayReport {
    /// The link's number.
    pub link: u32,
    /// The neighbour at its other end.
    pub neighbour: String,
    /// What the whole way costs.
    pub cost: u64,
    /// Packages take it.
    pub in_use: bool,
}
