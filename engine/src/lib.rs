//! The runtime of Trunkline: threads, sockets and the embedding API around `trunkline-proto`.
#![deny(unsafe_code)]

pub mod net;
pub mod runtime;
