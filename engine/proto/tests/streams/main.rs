//! The streams of a line, through their public doors: two ends, a network of virtual time between
//! them, one seed for everything that is left to chance.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod bounds;
mod delivery;
mod ends;
mod goodput;
mod hostile;
mod json;
mod lies;
mod minimal;
mod pair;
mod recovery;
mod wire;
