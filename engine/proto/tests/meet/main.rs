//! Hashnames that never met find each other, let each other in, and move their lines to the best
//! path there is: whole shards over a network with NATs, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail loudly"
)]

mod finding;
mod hostile;
mod moving;
mod reflection;
mod sizes;
mod upkeep;
mod world;
