//! The protocols of Trunkline: every rule about bytes, states and timers, and nothing else.
//!
//! This package knows no socket, thread, clock, environment or global randomness. Time comes
//! in as an argument, chance from a seed given at construction, bytes through calls. One seed
//! replays everything, which is what `trunkline-sim` does.
//!
//! Floors, from the ground up; a room imports only from floors below its own, and rooms on one
//! floor do not know each other:
//!
//! 1. [`base`]: time, ids, limits, priority lanes, frames and pools, drop reasons
//! 2. [`wire`]: every byte format · [`crypto`]: identities, key records, opens, sessions
//! 3. [`switch`]: hashnames, lines, streams · [`mesh`]: links, link state, routes ·
//!    [`message`]: messages and who takes them · [`gate`]: which are welcome ·
//!    [`proxy`]: sockets as bytes on streams
//! 4. [`stage`]: classify, streams, routing, forward, seal
//! 5. [`shard`]: what one thread runs; composition only
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::cast_possible_truncation
    )
)]

pub mod base;
pub mod crypto;
pub mod gate;
pub mod mesh;
pub mod message;
pub mod proxy;
pub mod shard;
pub mod stage;
pub mod switch;
pub mod wire;
