//! Threads, and what passes between them.
//!
//! A [`worker`] is one thread: a poller, the stages the plan seats there, and the sockets that
//! belong to them. Workers reach each other through [`mailbox`]es only. [`links`] are the
//! connections to neighbours, [`tunnels`] local TCP connections carried by streams, `pipes` the
//! streams applications hold, [`clock`] is the one place that asks the machine for the time.

pub mod clock;
mod doze;
mod late;
pub mod letters;
pub mod links;
pub mod mailbox;
mod nap;
pub(crate) mod pipe;
pub(crate) mod pipes;
pub mod tunnels;
pub mod worker;
