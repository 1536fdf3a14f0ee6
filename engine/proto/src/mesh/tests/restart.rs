//! Nodes that start again, and nodes that run twice (N11).
