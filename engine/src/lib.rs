//! Trunkline as a library: the runtime around `trunkline-proto`, and the API to embed a node.
//!
//! [`Engine::start`] runs a node on threads of its own; its [`Handle`] opens tunnels, sends
//! messages, asks for round trips and routes, and tells how the node is. [`config`] reads the
//! one file a deployed node has, [`control`] is how its owner talks to it, [`net`] holds the
//! sockets and [`runtime`] the threads.
#![deny(unsafe_code)]

mod builder;
mod callbacks;
pub mod config;
pub mod control;
mod engine;
mod handle;
#[cfg(feature = "http")]
pub mod http;
mod inbox;
pub mod net;
mod owner;
pub mod runtime;
mod setup;
mod stream;

pub use builder::{BuildError, Builder, KeySource};
pub use callbacks::{
    AnonPacket, CallbackCounters, Callbacks, LinePacket, MOST_SERVED, OpQuestion, StateChange,
};
pub use engine::{Engine, StartError};
pub use handle::{Failure, Handle, Hop, SendOptions, Tunnel};
pub use inbox::Inbox;
pub use owner::Owner;
pub use setup::{Dial, Listener, Setup, SetupError};
pub use stream::{
    FIRST_OWN_CODE, Stream, StreamError, StreamListener, StreamOptions, StreamReader, StreamWriter,
};
pub use trunkline_proto as proto;
pub use trunkline_proto::base::{Hashname, Priority, Space};
pub use trunkline_proto::crypto::Identity;
