//! Why links end, in words both sides share (PROTOCOL §6.2.4).

use core::fmt;

/// Why a side ends a link. The numbers travel in goodbyes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
#[non_exhaustive]
pub enum Cause {
    /// The node stops or starts anew.
    Stopping = 1,
    /// It speaks another version.
    Version = 2,
    /// Its key record does not verify or has expired.
    BadRecord = 3,
    /// It lives in another space.
    WrongSpace = 4,
    /// It is not the hashname that was dialed.
    WrongPeer = 5,
    /// It proved another key to TLS than its record names.
    WrongKey = 6,
    /// It is this very node.
    Oneself = 7,
    /// Its proof does not verify.
    BadProof = 8,
    /// The handshake took longer than its deadline.
    Slow = 9,
    /// Nothing was heard for several heartbeats.
    Silent = 10,
    /// It broke the protocol.
    Violation = 11,
    /// No room for another link or neighbour.
    Full = 12,
    /// The owner of this side does not admit it.
    NotAdmitted = 13,
    /// Another link to the same node takes its place.
    Replaced = 14,
    /// The link is no longer wanted here.
    Unwanted = 15,
    /// It does not take what it is sent.
    Stalled = 16,
}

impl Cause {
    /// Every cause, by number.
    pub const ALL: [Self; 16] = [
        Self::Stopping,
        Self::Version,
        Self::BadRecord,
        Self::WrongSpace,
        Self::WrongPeer,
        Self::WrongKey,
        Self::Oneself,
        Self::BadProof,
        Self::Slow,
        Self::Silent,
        Self::Violation,
        Self::Full,
        Self::NotAdmitted,
        Self::Replaced,
        Self::Unwanted,
        Self::Stalled,
    ];

    /// The number in a goodbye.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The cause with this number, if this node knows it.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.code() == code)
    }

    /// The words for status and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::Version => "other version",
            Self::BadRecord => "bad key record",
            Self::WrongSpace => "wrong space",
            Self::WrongPeer => "not the hashname expected",
            Self::WrongKey => "not the key of the record",
            Self::Oneself => "connected to itself",
            Self::BadProof => "bad proof",
            Self::Slow => "handshake too slow",
            Self::Silent => "silent",
            Self::Violation => "protocol violation",
            Self::Full => "full",
            Self::NotAdmitted => "not admitted",
            Self::Replaced => "replaced",
            Self::Unwanted => "not wanted",
            Self::Stalled => "stalled",
        }
    }
}

/// How a link ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkDownReason {
    /// This side ended it.
    Here(Cause),
    /// The other side said goodbye. The code is often a [`Cause`]'s, the text is printable.
    There {
        /// Why, see [`Cause::from_code`].
        code: u16,
        /// What it said besides.
        text: String,
    },
}

impl LinkDownReason {
    /// The number of the cause.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Here(cause) => cause.code(),
            Self::There { code, .. } => *code,
        }
    }
}

impl fmt::Display for LinkDownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(cause) => write!(f, "ended here: {}", cause.label()),
            Self::There { code, text } => {
                let label = Cause::from_code(*code).map_or("unknown cause", Cause::label);
                write!(f, "ended by the peer: {label} ({code}) {text}")
            }
        }
    }
}
