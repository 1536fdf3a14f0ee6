//! Switches and wires between them that a test holds in its hands. Virtual time, no sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "a test may fail loudly"
)]

mod crowds;
mod ends;
mod lines;
