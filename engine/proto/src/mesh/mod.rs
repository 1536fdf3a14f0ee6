//! The mesh: nodes, the links between them, and the way from each to each.
//!
//! From the bottom: [`link`] proves and watches one adjacency; [`database`] holds what every node
//! says about its links and which of its words is the latest; [`routes`] makes the next hop for
//! every destination from that; [`broadcast`] knows what was said to all before; [`routing`] is the
//! node's part in it all: it announces, spreads, ages and recomputes. None of them knows sockets, threads or clocks.

pub mod broadcast;
pub mod database;
pub mod link;
mod pace;
pub mod routes;
pub mod routing;

pub use link::{
    Cause, LinkDownReason, LinkOutput, LinkPeer, LinkSession, LinkTerms, Side, Transport,
};
pub use routes::{Hop, LocalLink, Planner, Reach, RouteTable, Word};
pub use routing::{
    Arrival, LinkStatus, NodeStatus, Obstacle, Route, Routing, RoutingOutput, Spread, Way,
};

#[cfg(test)]
pub(crate) mod tests;
