//! A relay and forwarding node for private encrypted meshes.

pub mod config;
pub mod control;
