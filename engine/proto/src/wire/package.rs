//! Packages: what travels from node to node over links (PROTOCOL §6.3).
//!
//! ```text
//!  link header   0 length u16   2 kind u8   3 lane u8
//!  package       4 version and flags   5 ttl   6 content   7 zero   8 sequence letters (4)
//!               12 destination (16)   28 source (16)   44 message id u64
//!               52 total length u32   56 offset u32   60 body
//! ```
//!
//! The 60 bytes are all a hop reads, and the TTL is all it may change. Everything else is
//! authenticated by the session of sender and receiver when the body is sealed: the associated
//! data is the frame from its kind up to the sealed bytes, with the TTL read as zero.
//!
//! A message larger than a frame is cut into packages that share a message id; `total` and
//! `offset` say which part this is. A sealed package uses the message id as packet counter.

mod json;
mod returned;

pub use super::sequence::Sequence;
pub use returned::{Code, Echo, Return, echo};

use crate::base::{Address, DropReason, LineId, Priority};

/// The kind of a link frame that carries a package.
pub const LINK_KIND: u8 = 6;
/// Bytes of the link header.
pub const LINK_HEADER: usize = 4;
/// Bytes in front of a body, the link header included.
pub const HEADER: usize = 60;
/// Bytes in front of the sealed bytes of a sealed package.
pub const SEALED_HEADER: usize = HEADER + LineId::LEN;

const VERSION: u8 = 1;
const AT_LANE: usize = 3;
const AT_VERSION: usize = 4;
const AT_TTL: usize = 5;
const AT_DESTINATION: usize = 12;
const AT_MESSAGE: usize = 44;
const FLAG_REPLY: u8 = 1;
/// Associated data starts at the kind: the length is implied by what authenticates.
const AT_AUTHENTICATED: usize = 2;

/// What the body of a package is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Content {
    /// A message, or a part of one, packed by the sequence.
    Message = 0,
    /// A packet of the switch outside any line: an open, its answer, a cookie.
    Switch = 1,
    /// A sealed packet of a line: line id, ciphertext, tag.
    Sealed = 2,
    /// Something of ours came back ([`Return`]).
    Return = 3,
    /// A question how far a package gets; answered with a return wherever it ends.
    Probe = 4,
}

impl Content {
    const fn parse(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Message,
            1 => Self::Switch,
            2 => Self::Sealed,
            3 => Self::Return,
            4 => Self::Probe,
            _ => return None,
        })
    }
}

/// The outer header, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// How urgent.
    pub priority: Priority,
    /// An answer to something of the receiver's.
    pub reply: bool,
    /// Hops left.
    pub ttl: u8,
    /// What the body is.
    pub content: Content,
    /// Which builders made it.
    pub sequence: Sequence,
    /// Where it goes.
    pub destination: Address,
    /// Where it came from.
    pub source: Address,
    /// Which message, or which counter of a session.
    pub message: u64,
    /// Bytes of the whole message.
    pub total: u32,
    /// Where in the message this body lies.
    pub offset: u32,
}

impl Header {
    /// Reads the header of `frame`, a whole link frame of [`LINK_KIND`].
    ///
    /// # Errors
    /// [`DropReason::Truncated`], [`DropReason::UnknownKind`] for another version or content.
    pub fn parse(frame: &[u8]) -> Result<Self, DropReason> {
        let (head, _) = frame.split_first_chunk::<HEADER>().ok_or(DropReason::Truncated)?;
        let &[_, _, _, lane, version, ttl, content, _, ..] = head;
        if version >> 4 != VERSION {
            return Err(DropReason::UnknownKind);
        }
        Ok(Self {
            priority: Priority::from_low_bits(lane),
            reply: version & FLAG_REPLY != 0,
            ttl,
            content: Content::parse(content).ok_or(DropReason::UnknownKind)?,
            sequence: Sequence(take::<8, 4>(head)),
            destination: Address::new(take::<12, 16>(head)),
            source: Address::new(take::<28, 16>(head)),
            message: u64::from_be_bytes(take::<44, 8>(head)),
            total: u32::from_be_bytes(take::<52, 4>(head)),
            offset: u32::from_be_bytes(take::<56, 4>(head)),
        })
    }

    /// The link header and this header, for a body of `body` bytes.
    ///
    /// # Errors
    /// [`DropReason::Oversized`] if the frame would not fit its length field.
    pub fn emit(&self, body: usize) -> Result<[u8; HEADER], DropReason> {
        let length =
            u16::try_from(HEADER - LINK_HEADER + body).map_err(|_| DropReason::Oversized)?;
        let mut out = [0; HEADER];
        put::<0, 2>(&mut out, length.to_be_bytes());
        put::<2, 4>(
            &mut out,
            [LINK_KIND, self.priority.level(), VERSION << 4 | u8::from(self.reply), self.ttl],
        );
        put::<6, 1>(&mut out, [self.content as u8]);
        put::<8, 4>(&mut out, self.sequence.0);
        put::<12, 16>(&mut out, *self.destination.as_bytes());
        put::<28, 16>(&mut out, *self.source.as_bytes());
        put::<44, 8>(&mut out, self.message.to_be_bytes());
        put::<52, 4>(&mut out, self.total.to_be_bytes());
        put::<56, 4>(&mut out, self.offset.to_be_bytes());
        Ok(out)
    }
}

fn take<const AT: usize, const N: usize>(head: &[u8; HEADER]) -> [u8; N] {
    head.get(AT..AT + N).and_then(|s| s.try_into().ok()).unwrap_or([0; N])
}

fn put<const AT: usize, const N: usize>(out: &mut [u8; HEADER], bytes: [u8; N]) {
    if let Some(room) = out.get_mut(AT..AT + N) {
        room.copy_from_slice(&bytes);
    }
}

/// What a hop needs of a frame, read without decoding the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transit<'a> {
    /// Where it goes.
    pub destination: &'a [u8; Address::LEN],
    /// Its lane byte: the priority in the low three bits.
    pub lane: u8,
    /// Hops left.
    pub ttl: u8,
}

impl<'a> Transit<'a> {
    /// Reads what a hop needs of a whole link frame of [`LINK_KIND`].
    ///
    /// # Errors
    /// [`DropReason::Truncated`], or [`DropReason::UnknownKind`] for another version.
    pub fn peek(frame: &'a [u8]) -> Result<Self, DropReason> {
        let (head, _) = frame.split_first_chunk::<HEADER>().ok_or(DropReason::Truncated)?;
        let &[_, _, _, lane, version, ttl, ..] = head;
        if version >> 4 != VERSION {
            return Err(DropReason::UnknownKind);
        }
        let destination = head
            .get(AT_DESTINATION..)
            .and_then(|d| d.first_chunk())
            .ok_or(DropReason::Truncated)?;
        Ok(Self { destination, lane, ttl })
    }
}

/// Takes one hop off the TTL of a frame that [`Transit::peek`] accepted, in place.
pub fn spend_hop(frame: &mut [u8]) {
    if let Some(ttl) = frame.get_mut(AT_TTL) {
        *ttl = ttl.saturating_sub(1);
    }
}

/// Splits a sealed frame into associated data, line id and sealed bytes, with the TTL set to
/// zero in place as both ends read it.
#[must_use]
pub fn split_sealed(frame: &mut [u8]) -> Option<(&[u8], LineId, &mut [u8])> {
    *frame.get_mut(AT_TTL)? = 0;
    let (head, sealed) = frame.split_at_mut_checked(SEALED_HEADER)?;
    let line = LineId(head.get(HEADER..)?.try_into().ok()?);
    Some((head.get(AT_AUTHENTICATED..)?, line, sealed))
}

/// The associated data of a sealed package with this header, emitted with TTL zero.
#[must_use]
pub fn associated_data(header: &[u8; HEADER], line: LineId) -> [u8; SEALED_HEADER - 2] {
    let mut out = [0; SEALED_HEADER - 2];
    let (head, id) = out.split_at_mut(HEADER - AT_AUTHENTICATED);
    head.copy_from_slice(header.get(AT_AUTHENTICATED..).unwrap_or_default());
    if let Some(ttl) = head.get_mut(AT_TTL - AT_AUTHENTICATED) {
        *ttl = 0;
    }
    id.copy_from_slice(&line.0);
    out
}

/// Numbers a finished package that is not sealed.
pub fn set_message(frame: &mut [u8], message: u64) {
    if let Some(place) = frame.get_mut(AT_MESSAGE..).and_then(|f| f.first_chunk_mut()) {
        *place = message.to_be_bytes();
    }
}

/// Sets the hops a finished package may take. What is authenticated does not change by it.
pub fn set_ttl(frame: &mut [u8], ttl: u8) {
    if let Some(place) = frame.get_mut(AT_TTL) {
        *place = ttl;
    }
}

/// The lane byte of a frame, for changing its priority before it is sealed.
#[must_use]
pub fn lane_of(frame: &[u8]) -> Priority {
    Priority::from_low_bits(frame.get(AT_LANE).copied().unwrap_or(0))
}

/// Whether a frame says it is of this version; anything else is not forwarded.
#[must_use]
pub fn is_current(frame: &[u8]) -> bool {
    frame.get(AT_VERSION).is_some_and(|v| v >> 4 == VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            priority: Priority::HIGHEST,
            reply: true,
            ttl: 9,
            content: Content::Sealed,
            sequence: Sequence::MA,
            destination: Address::new([0xd; 16]),
            source: Address::new([0x5; 16]),
            message: 0x0102_0304_0506_0708,
            total: 70_000,
            offset: 16_000,
        }
    }

    #[test]
    fn n6_a_hop_reads_and_changes_only_what_it_may() {
        let mut frame = header().emit(3).unwrap().to_vec();
        frame.extend_from_slice(b"abc");
        let seen = Transit::peek(&frame).unwrap();
        assert_eq!((seen.destination, seen.ttl, seen.lane & 7), (&[0xd; 16], 9, 7));
        spend_hop(&mut frame);
        assert_eq!(Header::parse(&frame).unwrap(), Header { ttl: 8, ..header() });
        set_message(&mut frame, 7);
        assert_eq!(Header::parse(&frame).unwrap(), Header { ttl: 8, message: 7, ..header() });
        set_message(&mut frame[..50], 8);
        assert_eq!(Header::parse(&frame).unwrap().message, 7, "no room for it");
    }

    #[test]
    fn n16_both_ends_authenticate_the_same_bytes_whatever_the_ttl() {
        let line = LineId([3; 16]);
        let head = header().emit(16 + 5).unwrap();
        let expected = associated_data(&head, line);
        for ttl in [0, 1, 200] {
            let mut frame = [head.as_slice(), &line.0, b"hello"].concat();
            frame[AT_TTL] = ttl;
            let (ad, id, sealed) = split_sealed(&mut frame).unwrap();
            assert_eq!((ad, id, &*sealed), (expected.as_slice(), line, b"hello".as_slice()));
        }
    }

    #[test]
    fn n4_golden_header() {
        let text: String = header().emit(0).unwrap().iter().map(|b| format!("{b:02x}")).collect();
        let golden = concat!(
            "0038060711090200",
            "4d410000",
            "0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d",
            "05050505050505050505050505050505",
            "0102030405060708",
            "00011170",
            "00003e80"
        );
        assert_eq!(text, golden);
    }

    #[test]
    fn truncation_at_every_length_is_refused() {
        let frame = header().emit(0).unwrap();
        for n in 0..HEADER {
            assert_eq!(Header::parse(&frame[..n]), Err(DropReason::Truncated));
            assert_eq!(Transit::peek(&frame[..n]), Err(DropReason::Truncated));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Transit::peek(&bytes);
            if let Ok(h) = Header::parse(&bytes) {
                let emitted = h.emit(0).unwrap();
                prop_assert_eq!(Header::parse(&emitted), Ok(h));
            }
            let mut bytes = bytes;
            let _ = split_sealed(&mut bytes);
        }
    }
}
