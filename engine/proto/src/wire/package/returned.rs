//! Returns: something came back, why, and by whose rule (PROTOCOL §6.4).
//!
//! Owns the codes, which users see too, and the body of a package that brings one back. Returns
//! from inside a line are packets of [`crate::wire::inner`]. Judges form only.

use super::Content;
use crate::base::{Address, DropReason};

/// Why something came back. The numbers are the wire's and the users' (PROTOCOL §6.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Code {
    /// No node on the way knows a route.
    NoRoute = 1,
    /// The next node went away with it.
    NodeDown = 2,
    /// Too many hops.
    TtlExpired = 3,
    /// A queue on the way was full.
    QueueFull = 4,
    /// Refused by the receiver's rules.
    Refused = 5,
    /// The receiver has nobody for it: no such namespace, or no such target there.
    UnknownTarget = 6,
    /// The receiver could not unpack it.
    CannotUnpack = 7,
    /// There is no session that could open it.
    NoKey = 8,
    /// Packed more weakly than the receiver accepts.
    SequenceTooWeak = 9,
    /// Larger than the receiver takes.
    TooLarge = 10,
    /// The node is stopping.
    ShuttingDown = 11,
    /// No answer in time. Raised by the sender's own node only.
    TimedOut = 12,
    /// Not an error: the probe arrived, or the message was handed over.
    Arrived = 13,
}

impl Code {
    /// Every code, in the order of its number.
    pub const ALL: [Self; 13] = [
        Self::NoRoute,
        Self::NodeDown,
        Self::TtlExpired,
        Self::QueueFull,
        Self::Refused,
        Self::UnknownTarget,
        Self::CannotUnpack,
        Self::NoKey,
        Self::SequenceTooWeak,
        Self::TooLarge,
        Self::ShuttingDown,
        Self::TimedOut,
        Self::Arrived,
    ];

    /// The word users see.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoRoute => "no-route",
            Self::NodeDown => "node-down",
            Self::TtlExpired => "ttl-expired",
            Self::QueueFull => "queue-full",
            Self::Refused => "refused",
            Self::UnknownTarget => "unknown-target",
            Self::CannotUnpack => "cannot-unpack",
            Self::NoKey => "no-key",
            Self::SequenceTooWeak => "sequence-too-weak",
            Self::TooLarge => "too-large",
            Self::ShuttingDown => "shutting-down",
            Self::TimedOut => "timed-out",
            Self::Arrived => "arrived",
        }
    }

    /// The code of this number.
    #[must_use]
    pub fn parse(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|c| *c as u8 == byte)
    }
}

/// The body of a [`Content::Return`]: what came back and why. The package's message id is the
/// one of what came back; nothing of its payload returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Return {
    /// Why.
    pub code: Code,
    /// What it was.
    pub content: Content,
    /// Where it was going.
    pub destination: Address,
    /// Where in its message it lay.
    pub offset: u32,
    /// Which of the receiver's rules refused it, counted from 1; 0 if none did.
    pub rule: u16,
    /// How what came back began, behind its header.
    pub echo: Echo,
}

/// The first bytes behind the header of what came back, zeros behind a shorter one. Of a sealed
/// package they are the beginning of a line id, which nobody knows who did not see the package:
/// returns made up by others are told from true ones by it.
pub type Echo = [u8; 8];

/// The [`Echo`] of what begins with these bytes.
#[must_use]
pub fn echo(body: &[u8]) -> Echo {
    let mut out = Echo::default();
    out.iter_mut().zip(body).for_each(|(o, b)| *o = *b);
    out
}

impl Return {
    /// Bytes of the body. With its header a return is no longer than the shortest sealed package.
    pub const LEN: usize = 32;

    /// Reads a body.
    ///
    /// # Errors
    /// [`DropReason::Truncated`], or [`DropReason::Malformed`] for an unknown code or content.
    pub fn parse(body: &[u8]) -> Result<Self, DropReason> {
        let (b, _) = body.split_first_chunk::<{ Self::LEN }>().ok_or(DropReason::Truncated)?;
        let &[code, content, ref rest @ ..] = b;
        let (destination, rest) = rest.split_first_chunk::<16>().ok_or(DropReason::Truncated)?;
        let (offset, rest) = rest.split_first_chunk::<4>().ok_or(DropReason::Truncated)?;
        let (rule, rest) = rest.split_first_chunk::<2>().ok_or(DropReason::Truncated)?;
        let echo = rest.first_chunk().ok_or(DropReason::Truncated)?;
        Ok(Self {
            code: Code::parse(code).ok_or(DropReason::Malformed)?,
            content: Content::parse(content).ok_or(DropReason::Malformed)?,
            destination: Address::new(*destination),
            offset: u32::from_be_bytes(*offset),
            rule: u16::from_be_bytes(*rule),
            echo: *echo,
        })
    }

    /// The body's bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let parts = [self.code as u8, self.content as u8]
            .into_iter()
            .chain(*self.destination.as_bytes())
            .chain(self.offset.to_be_bytes())
            .chain(self.rule.to_be_bytes())
            .chain(self.echo);
        out.iter_mut().zip(parts).for_each(|(o, b)| *o = b);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn n21_returns_read_back() {
        for (code, rule) in Code::ALL.into_iter().zip(0..) {
            let r = Return {
                code,
                content: Content::Message,
                destination: Address::new([7; 16]),
                offset: 5,
                rule: rule * 5_000,
                echo: echo(b"abc"),
            };
            assert_eq!(Return::parse(&r.emit()), Ok(r));
        }
    }

    #[test]
    fn n21_a_return_is_no_longer_than_the_shortest_sealed_package() {
        let shortest = crate::wire::package::SEALED_HEADER + 1 + crate::wire::sealed::TAG;
        assert!(crate::wire::package::HEADER + Return::LEN <= shortest);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_return_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(r) = Return::parse(&bytes) {
                prop_assert_eq!(&r.emit()[..], &bytes[..Return::LEN]);
            }
        }
    }
}
