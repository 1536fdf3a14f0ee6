//! Trunkline as a library: the runtime around `trunkline-proto`, and the API to embed a node.
//!
//! [`Engine::builder`] describes a node and starts it on threads of its own; its [`Handle`] opens
//! streams and tunnels, asks peers over HTTP, sends messages, asks for round trips and routes,
//! and tells how the node is. The guide `docs/guides/embed.md` goes through it, and
//! `engine/examples` has programs that run.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use trunkline::Engine;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (address, peer) = ("192.0.2.1", trunkline::Hashname::new([0; 32]));
//! let engine = Engine::builder().space("home").link(address, peer).start()?;
//! let mut stream = engine.handle().stream(peer)?;
//! stream.write_all(b"good day")?;
//! stream.finish();
//! let mut answer = Vec::new();
//! stream.read_to_end(&mut answer)?;
//! # Ok(())
//! # }
//! ```
//!
//! Beside that, [`config`] reads the one file a deployed node has, [`control`] is how its owner
//! talks to it, [`directory`] is what an operator answers from, [`net`] holds the sockets and
//! [`runtime`] the threads.
//!
//! | feature | brings |
//! | --- | --- |
//! | `http`, on by default | the module `http`: services, clients, the gateway; and `tokio` |
//! | `tokio` | [`Stream`] as `AsyncRead` and `AsyncWrite` |
#![deny(unsafe_code)]

mod builder;
mod callbacks;
mod changes;
pub mod config;
pub mod control;
pub mod directory;
mod engine;
mod handle;
#[cfg(feature = "http")]
pub mod http;
mod inbox;
mod meeting;
mod messages;
pub mod net;
mod owner;
pub mod runtime;
mod setup;
mod stream;

pub use builder::{BuildError, Builder, KeySource};
pub use callbacks::{
    AnonPacket, CallbackCounters, Callbacks, LinePacket, MOST_SERVED, StateChange,
};
pub use changes::{MeshChange, MeshChanges};
pub use engine::{Engine, StartError};
pub use handle::links::LinkError;
pub use handle::{Failure, Handle, Hop, Tunnel};
pub use messages::{Incoming, Message, Outbound, Returned, Subscription};
pub use owner::Owner;
pub use setup::{Dial, Known, Listener, OperatorAt, Setup, SetupError};
pub use stream::{
    FIRST_OWN_CODE, Stream, StreamError, StreamListener, StreamOptions, StreamReader, StreamWriter,
};
pub use trunkline_proto as proto;
pub use trunkline_proto::base::{Hashname, Namespace, Priority, RecordId, Space};
pub use trunkline_proto::crypto::Identity;
pub use trunkline_proto::wire::package::Code;
pub use trunkline_proto::wire::sequence::Sequence;

/// The guide's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/embed.md")]
struct Guide;
