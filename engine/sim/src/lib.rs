//! A world of Trunkline nodes in one thread, from a seed and without a clock.
//!
//! Every node is made of the real shards of its plan, driven at the seam where the runtime's
//! threads drive them. What the runtime has around them is emulated: mailboxes, sockets, links,
//! time. One seed draws who there is, what they do and what goes wrong, and repeats all of it.
//!
//! * [`run`] runs one seed, [`seeds`] many; a [`Report`] says what happened and what was violated
//! * [`emulator`] is one direction of a path, also used outside of simulations
#![forbid(unsafe_code)]

mod agenda;
mod apps;
mod checks;
mod draw;
pub mod emulator;
mod forger;
pub mod mesh;
mod network;
mod node;
mod people;
pub mod routes;
mod run;
mod scenario;
mod trace;
mod world;

pub use checks::Violation;
pub use people::{PEOPLE, person};
pub use run::{Options, Report, run, seeds};
pub use scenario::Mood;
