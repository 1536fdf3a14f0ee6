//! Connections to neighbours: dialled, accepted, read and written.
//!
//! The reading half of a link lives on the thread that reads it, the writing half on the thread
//! of its writer; in a collapsed plan both are the same thread. Frames and priorities are the
//! shard's business: here bytes go in and out.
//!
//! ```text
//!   dial / accept ─► handshake ─► open ─► closed ─► (dialled ones: wait, dial again)
//! ```

mod readers;
mod writers;

use std::net::SocketAddr;

use mio::Token;
use trunkline_proto::base::LinkId;
use trunkline_proto::mesh as session;
use trunkline_proto::wire::link::Cost;

use crate::net::Transport;

pub use readers::{Moved, Readers};
pub use writers::{PIECES, Writers};

/// A connection that is gone.
#[derive(Debug)]
pub struct Closed {
    /// Which link.
    pub link: LinkId,
    /// Which of the configured links it was.
    pub dial: Option<usize>,
    /// Its token, free again.
    pub token: Token,
    /// Where it led.
    pub remote: SocketAddr,
    /// Why.
    pub why: String,
}

/// A new connection.
pub struct Connection {
    /// Its transport, not yet shaken hands on.
    pub transport: Transport,
    /// Who called whom.
    pub side: session::Side,
    /// Our cost of sending there.
    pub cost: Cost,
    /// The port of ours it was accepted at; none if we called.
    pub port: Option<u16>,
    /// Which of the configured links this is.
    pub dial: Option<usize>,
    /// Where it leads.
    pub remote: SocketAddr,
}
