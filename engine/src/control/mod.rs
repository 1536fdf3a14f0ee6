//! How a node's owner talks to it: a Unix socket that only its user can open, JSON lines.
//!
//! ```text
//! trunkline status ─► client ══ control socket ══► server ─► ControlTarget (the engine)
//!                                  protocol · report
//! ```
//!
//! Away from the packet path: one small thread accepts, each client has its own. The engine
//! implements [`ControlTarget`]; nothing here knows how a node works.

pub mod client;
pub mod finding;
pub mod gate;
pub mod members;
pub mod mesh;
pub mod messages;
pub mod path;
pub mod protocol;
pub mod report;
mod server;
mod socket;

pub use client::{Client, ClientError};
pub use server::{ControlServer, ControlTarget, Listening, MOST_CLIENTS, OpenProxy};
pub use socket::ControlError;
pub(crate) use socket::answers as is_answered;
