//! Sockets as bytes on streams: who may be reached, and in which words it is asked and refused.
//!
//! The sockets themselves belong to the runtime; this room only judges.

pub mod targets;

pub use targets::{AllowList, Refusal, Rule};
