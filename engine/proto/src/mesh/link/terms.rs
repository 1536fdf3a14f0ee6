//! What a link session is told and what it tells.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use super::LinkDownReason;
use crate::base::{BootEpoch, Hashname};
use crate::crypto::{KeyRecord, SpaceRules};
use crate::wire::link::{Capabilities, Cost, NodeName};

/// Which end of the transport this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// This end opened it.
    Dialed {
        /// Who must answer, if that is known.
        expect: Option<Hashname>,
    },
    /// The other end opened it.
    Accepted,
}

/// What carries the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TLS 1.3 with a raw public key or certificate on both sides.
    Tls {
        /// The Ed25519 key the peer proved to TLS. Must be its record's signing key.
        peer_key: [u8; 32],
        /// Exported from the session, so that no proof can be carried over from another.
        binding: [u8; 32],
    },
    /// Nothing. The handshake is authentic; what follows is neither secret nor protected.
    Plain,
}

/// What this node says in its hello.
#[derive(Clone, Debug)]
pub struct LinkTerms {
    /// What sending over this link costs.
    pub cost: Cost,
    /// This node's name.
    pub name: NodeName,
    /// What this node can do.
    pub capabilities: Capabilities,
    /// A heartbeat goes out after this long without sending, 1 ms to 10 s.
    pub heartbeat: Duration,
    /// Who belongs to the space of this node, and what the node shows of itself.
    pub space: Arc<SpaceRules>,
}

/// The other end of a link, as it proved to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkPeer {
    /// Who it is.
    pub record: Arc<KeyRecord>,
    /// Which of its runs.
    pub epoch: BootEpoch,
    /// What it calls itself.
    pub name: NodeName,
    /// What it can do.
    pub capabilities: Capabilities,
    /// What sending to this node costs it.
    pub cost: Cost,
    /// What it showed for admittance to a closed space; empty for none.
    pub voucher: Bytes,
}

/// What a session wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkOutput {
    /// Write this frame, ahead of all packages.
    Send(Bytes),
    /// The peer is proved. Once at most.
    Up(Box<LinkPeer>),
    /// The link is over: close the transport when what was sent before is written. Once, last.
    Down(LinkDownReason),
}
