//! Trunkline as a library: the runtime around `trunkline-proto`, and the API to embed a node.
//!
//! [`Engine::start`] runs a node on threads of its own; its [`Handle`] opens tunnels, sends
//! messages, asks for round trips and routes, and tells how the node is. [`config`] reads the
//! one file a deployed node has, [`control`] is how its owner talks to it, [`directory`] is what
//! an operator answers from, [`net`] holds the sockets and [`runtime`] the threads.
#![deny(unsafe_code)]

pub mod config;
pub mod control;
pub mod directory;
mod engine;
mod handle;
mod inbox;
mod meeting;
pub mod net;
mod owner;
pub mod runtime;
mod setup;

pub use engine::{Engine, StartError};
pub use handle::{Failure, Handle, Hop, SendOptions, Tunnel};
pub use inbox::Inbox;
pub use owner::Owner;
pub use setup::{Dial, Known, Listener, OperatorAt, Setup, SetupError};
pub use trunkline_proto as proto;
