//! The link frame: what travels between two neighbouring nodes (PROTOCOL §6.1 and §6.2).
//!
//! ```text
//! 0        2      3      4
//! | length | kind | lane | body, `length` bytes ...
//! ```
//!
//! Owns the header and the bodies of the frames a link speaks for itself: hello, proof,
//! heartbeat, echo, goodbye. Never looks into packages, whose bytes belong to `wire::package`,
//! nor into announcements and digests ([`super::announce`]) or broadcasts ([`super::broadcast`]). Knows no keys, states or timers:
//! the order of frames is [`crate::mesh`]'s matter.

mod fields;
mod hello;
mod name;

pub(super) use fields::Fields;
pub use hello::{Hello, TRANSCRIPT_LABEL, Transcript};
pub use name::{Capabilities, Cost, NodeName};

use bytes::{BufMut, Bytes, BytesMut};

use crate::base::{DropReason, Priority};

/// Bytes of a link header.
pub const HEADER_LEN: usize = 4;
/// Largest frame, header included.
pub const FRAME_MAX: usize = 16_384;
/// Largest frame that is neither a package, a broadcast nor an announcement, header included.
pub const CONTROL_MAX: usize = 4_096;
/// Largest frame of an announcement, header included: a hub names all its neighbours in one.
pub const ANNOUNCEMENT_FRAME_MAX: usize = 32_768;
/// Largest text of a goodbye.
pub const GOODBYE_TEXT_MAX: usize = 128;
/// Bytes of a proof: an Ed25519 signature.
pub const PROOF_LEN: usize = 64;

/// What a link frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum LinkKind {
    /// Who speaks, and on which terms ([`Hello`]). First frame of each side.
    Hello = 1,
    /// A signature over the [`Transcript`]. Second frame of each side.
    Proof = 2,
    /// A time stamp to be echoed.
    Heartbeat = 3,
    /// The time stamp of a heartbeat, returned.
    HeartbeatEcho = 4,
    /// A signed announcement ([`super::announce::Announcement`]).
    Announcement = 5,
    /// A package.
    Package = 6,
    /// Something for every node of the mesh ([`super::broadcast::Broadcast`]).
    Broadcast = 7,
    /// Why the sender closes the link ([`Goodbye`]). Last frame.
    Goodbye = 8,
    /// What the sender's link-state database holds ([`super::announce::Digest`]).
    Digest = 9,
}

impl LinkKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Hello,
        Self::Proof,
        Self::Heartbeat,
        Self::HeartbeatEcho,
        Self::Announcement,
        Self::Package,
        Self::Broadcast,
        Self::Goodbye,
        Self::Digest,
    ];

    /// The kind with this number.
    #[must_use]
    pub const fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Hello,
            2 => Self::Proof,
            3 => Self::Heartbeat,
            4 => Self::HeartbeatEcho,
            5 => Self::Announcement,
            6 => Self::Package,
            7 => Self::Broadcast,
            8 => Self::Goodbye,
            9 => Self::Digest,
            _ => return None,
        })
    }

    /// Whether frames of this kind wait in the lane of their priority.
    #[must_use]
    pub const fn has_lane(self) -> bool {
        matches!(self, Self::Package | Self::Broadcast)
    }

    /// Largest frame of this kind, header included.
    #[must_use]
    pub const fn frame_max(self) -> usize {
        match self {
            Self::Package | Self::Broadcast => FRAME_MAX,
            Self::Announcement => ANNOUNCEMENT_FRAME_MAX,
            _ => CONTROL_MAX,
        }
    }
}

/// The first four bytes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkHeader {
    /// What the body is.
    pub kind: LinkKind,
    /// The lane of a package or broadcast; the lowest for every other kind, which all go before
    /// these.
    pub lane: Priority,
    /// Bytes after the header.
    pub body_len: u16,
}

impl LinkHeader {
    /// Reads the header at the start of `bytes`; `None` while fewer than four bytes are there.
    ///
    /// # Errors
    /// `UnknownKind`, `Oversized` for the kind, `Malformed` for bits that must be zero. After an
    /// error the byte stream has lost its framing and the link must be closed.
    pub fn peek(bytes: &[u8]) -> Result<Option<Self>, DropReason> {
        let Some(&[hi, lo, kind, lane]) = bytes.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let kind = LinkKind::from_number(kind).ok_or(DropReason::UnknownKind)?;
        let lane = match kind {
            kind if kind.has_lane() => Priority::new(lane),
            _ => Some(Priority::LOWEST).filter(|_| lane == 0),
        }
        .ok_or(DropReason::Malformed)?;
        let header = Self { kind, lane, body_len: u16::from_be_bytes([hi, lo]) };
        if header.frame_len() > kind.frame_max() {
            return Err(DropReason::Oversized);
        }
        Ok(Some(header))
    }

    /// Header and body, in bytes.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        HEADER_LEN + usize::from(self.body_len)
    }

    /// The header's bytes.
    #[must_use]
    pub const fn emit(&self) -> [u8; HEADER_LEN] {
        let [hi, lo] = self.body_len.to_be_bytes();
        [hi, lo, self.kind as u8, self.lane.level()]
    }

    /// A header for `body_len` bytes of `kind`; `lane` counts for packages and broadcasts only.
    ///
    /// # Errors
    /// `Oversized` for the kind.
    pub fn new(kind: LinkKind, lane: Priority, body_len: usize) -> Result<Self, DropReason> {
        if HEADER_LEN + body_len > kind.frame_max() {
            return Err(DropReason::Oversized);
        }
        let lane = if kind.has_lane() { lane } else { Priority::LOWEST };
        let body_len = u16::try_from(body_len).map_err(|_| DropReason::Oversized)?;
        Ok(Self { kind, lane, body_len })
    }
}

/// A whole control frame around `body`.
///
/// # Errors
/// `Oversized` if it would exceed [`CONTROL_MAX`].
pub fn control_frame(kind: LinkKind, body: &[u8]) -> Result<Bytes, DropReason> {
    let header = LinkHeader::new(kind, Priority::LOWEST, body.len())?;
    let mut out = BytesMut::with_capacity(header.frame_len());
    out.put_slice(&header.emit());
    out.put_slice(body);
    Ok(out.freeze())
}

/// The body of a heartbeat and of its echo: the sender's clock in microseconds, low 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp(pub u32);

impl Stamp {
    /// Reads a heartbeat's or echo's body.
    ///
    /// # Errors
    /// `Truncated` or `Malformed` unless it is exactly four bytes.
    pub fn parse(body: &[u8]) -> Result<Self, DropReason> {
        let mut fields = Fields::new(body);
        let stamp = fields.u32()?;
        fields.end()?;
        Ok(Self(stamp))
    }

    /// The whole frame: a heartbeat, or the echo of one.
    #[must_use]
    pub fn frame(self, kind: LinkKind) -> Bytes {
        // Four bytes always fit.
        control_frame(kind, &self.0.to_be_bytes()).unwrap_or_default()
    }
}

/// The last frame of a link: a code from `mesh::LinkDownReason::code` and, for people,
/// at most [`GOODBYE_TEXT_MAX`] printable ASCII bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Goodbye<'a> {
    /// Why.
    pub code: u16,
    /// For the other side's log.
    pub text: &'a str,
}

impl<'a> Goodbye<'a> {
    /// Reads a goodbye's body.
    ///
    /// # Errors
    /// `Truncated`, `Oversized`, or `Malformed` for a text that could upset a terminal.
    pub fn parse(body: &'a [u8]) -> Result<Self, DropReason> {
        let mut fields = Fields::new(body);
        let code = fields.u16()?;
        let text = fields.rest();
        if text.len() > GOODBYE_TEXT_MAX {
            return Err(DropReason::Oversized);
        }
        Ok(Self { code, text: name::printable(text).ok_or(DropReason::Malformed)? })
    }

    /// The whole frame; what is too long or not printable in the text is left out.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        let text = self.text.bytes().filter(|b| name::is_printable(*b)).take(GOODBYE_TEXT_MAX);
        let body: Vec<u8> = self.code.to_be_bytes().into_iter().chain(text).collect();
        // 130 bytes always fit.
        control_frame(LinkKind::Goodbye, &body).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Limits;
    use proptest::prelude::*;

    #[test]
    fn n2_a_header_reads_back_and_needs_four_bytes() {
        for kind in LinkKind::ALL {
            let h = LinkHeader::new(kind, Priority::HIGHEST, 300).unwrap();
            assert_eq!(LinkHeader::peek(&h.emit()), Ok(Some(h)));
            assert_eq!(LinkHeader::peek(&h.emit()[..3]), Ok(None));
            assert_eq!(h.lane == Priority::HIGHEST, kind.has_lane());
        }
        assert_eq!(LinkHeader::peek(&[]), Ok(None));
    }

    #[test]
    fn n2_headers_out_of_bounds_are_refused() {
        let peek = |b: [u8; 4]| LinkHeader::peek(&b).unwrap_err();
        assert_eq!(peek([0, 0, 0, 0]), DropReason::UnknownKind);
        assert_eq!(peek([0, 0, 10, 0]), DropReason::UnknownKind);
        assert_eq!(peek([0, 0, 3, 1]), DropReason::Malformed);
        assert_eq!(peek([0, 0, 6, 8]), DropReason::Malformed);
        assert_eq!(peek([0, 0, 7, 8]), DropReason::Malformed);
        assert_eq!(peek([0x0f, 0xfd, 9, 0]), DropReason::Oversized);
        assert_eq!(peek([0x7f, 0xfd, 5, 0]), DropReason::Oversized);
        assert_eq!(peek([0x3f, 0xfd, 6, 0]), DropReason::Oversized);
        assert!(LinkHeader::peek(&[0x3f, 0xfc, 6, 7]).unwrap().is_some());
        assert_eq!(control_frame(LinkKind::Digest, &[0; 4_093]), Err(DropReason::Oversized));
    }

    #[test]
    fn n2_the_formats_allow_what_the_limits_promise() {
        let limits = Limits::default();
        assert_eq!(limits.frame, FRAME_MAX);
    }

    #[test]
    fn n13_heartbeats_are_exactly_four_bytes() {
        let frame = Stamp(0x0102_0304).frame(LinkKind::Heartbeat);
        assert_eq!(&frame[..], &[0, 4, 3, 0, 1, 2, 3, 4]);
        assert_eq!(Stamp::parse(&frame[4..]), Ok(Stamp(0x0102_0304)));
        assert_eq!(Stamp::parse(&[1, 2, 3]), Err(DropReason::Truncated));
        assert_eq!(Stamp::parse(&[1, 2, 3, 4, 5]), Err(DropReason::Malformed));
    }

    #[test]
    fn n2_a_goodbye_carries_no_terminal_controls() {
        let frame = Goodbye { code: 7, text: "bye \u{1b}[2J\nall" }.frame();
        assert_eq!(Goodbye::parse(&frame[4..]), Ok(Goodbye { code: 7, text: "bye [2Jall" }));
        assert_eq!(Goodbye::parse(b"\0\x01a\x1bb"), Err(DropReason::Malformed));
        assert_eq!(Goodbye::parse(&[b'a'; 131]), Err(DropReason::Oversized));
        assert_eq!(Goodbye::parse(&[0]), Err(DropReason::Truncated));
    }

    proptest! {
        #[test]
        fn n2_any_bytes_are_a_header_or_a_drop(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(h)) = LinkHeader::peek(&bytes) {
                prop_assert_eq!(&h.emit()[..], &bytes[..4]);
                prop_assert!(h.frame_len() <= FRAME_MAX);
            }
            let _ = Hello::parse(&bytes);
            let _ = Goodbye::parse(&bytes);
            let _ = Stamp::parse(&bytes);
        }
    }
}
