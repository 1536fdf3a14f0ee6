//! The mesh: nodes, the links between them, and the way from each to each.

pub mod routes;
