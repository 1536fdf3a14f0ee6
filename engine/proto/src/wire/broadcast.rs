//! Broadcasts: frames that go to every node of the mesh (PROTOCOL §6.9).
//!
//! ```text
//!  link header   0 length u16   2 kind 7   3 lane u8
//!                4 ttl u8, not signed
//!  signed from   5 version u8   6 priority u8   7 zero   8 sequence letters (4)
//!               12 origin (16)  28 boot epoch u64   36 sequence u64
//!               44 payload      end - 64 signature (not part of what is signed)
//! ```
//!
//! One frame at most, so that nobody has to put parts together for everybody. The TTL is all that a
//! hop changes, and stands in front of what is signed, so that the signed bytes are one piece.
//! Owns the format; who may send how much, and what is a repetition, is [`crate::mesh`]'s matter.

use bytes::{BufMut, Bytes, BytesMut};

use super::link::{FRAME_MAX, HEADER_LEN, LinkHeader, LinkKind};
use super::package::Sequence;
use crate::base::{Address, BootEpoch, DropReason, Priority};

const VERSION: u8 = 1;
const AT_TTL: usize = 4;
const AT_SIGNED: usize = 5;
const SIGNATURE: usize = 64;
/// Bytes in front of the payload, the link header included.
pub const HEADER: usize = 44;
/// Most bytes of a payload.
pub const PAYLOAD_MAX: usize = FRAME_MAX - HEADER - SIGNATURE;

/// A broadcast as it travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broadcast<'a> {
    /// Hops left; anybody on the way may have changed it.
    pub ttl: u8,
    /// How urgent.
    pub priority: Priority,
    /// Which builders made the payload.
    pub letters: Sequence,
    /// Who sends it to all.
    pub origin: Address,
    /// Which run of the origin.
    pub epoch: BootEpoch,
    /// The origin's number for it in that run.
    pub sequence: u64,
    /// What it is about.
    pub payload: &'a [u8],
    signed: &'a [u8],
    signature: &'a [u8; SIGNATURE],
}

impl<'a> Broadcast<'a> {
    /// Reads a whole frame.
    ///
    /// # Errors
    /// `Truncated`, `UnknownKind` for another version, `Malformed` for bytes that must be zero, a
    /// lane that is not the priority, or letters that no broadcast may have.
    pub fn parse(frame: &'a [u8]) -> Result<Self, DropReason> {
        let (head, rest) = frame.split_first_chunk::<HEADER>().ok_or(DropReason::Truncated)?;
        let (payload, signature) = rest.split_last_chunk().ok_or(DropReason::Truncated)?;
        let &[_, _, _, lane, ttl, version, priority, zero, ref fields @ ..] = head;
        if version != VERSION {
            return Err(DropReason::UnknownKind);
        }
        let priority = Priority::new(priority).ok_or(DropReason::Malformed)?;
        let (letters, fields) = fields.split_first_chunk().ok_or(DropReason::Truncated)?;
        let (origin, fields) = fields.split_first_chunk().ok_or(DropReason::Truncated)?;
        let (epoch, fields) = fields.split_first_chunk().ok_or(DropReason::Truncated)?;
        let sequence = fields.first_chunk().ok_or(DropReason::Truncated)?;
        if zero != 0 || lane != priority.level() || !is_for_all(letters) {
            return Err(DropReason::Malformed);
        }
        Ok(Self {
            ttl,
            priority,
            letters: Sequence(*letters),
            origin: Address::new(*origin),
            epoch: BootEpoch(u64::from_be_bytes(*epoch)),
            sequence: u64::from_be_bytes(*sequence),
            payload,
            signed: frame.get(AT_SIGNED..frame.len() - SIGNATURE).unwrap_or_default(),
            signature,
        })
    }

    /// What the origin signed.
    #[must_use]
    pub const fn signed(&self) -> &'a [u8] {
        self.signed
    }

    /// Its signature.
    #[must_use]
    pub const fn signature(&self) -> &'a [u8; SIGNATURE] {
        self.signature
    }
}

/// Whether a payload for everybody may be packed so: bytes first, capital letters from the front, and
/// nothing sealed, for there is nobody to share a key with.
fn is_for_all(letters: &[u8; 4]) -> bool {
    let packed = letters.split(|l| *l == 0).next().unwrap_or_default();
    let (used, rest) = letters.split_at(packed.len());
    used.first() == Some(&b'M')
        && used.iter().skip(1).all(|l| l.is_ascii_uppercase() && !matches!(l, b'M' | b'A'))
        && rest.iter().all(|l| *l == 0)
}

/// A broadcast to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Hops it may take.
    pub ttl: u8,
    /// How urgent.
    pub priority: Priority,
    /// Which builders made the payload.
    pub letters: Sequence,
    /// Who sends it.
    pub origin: Address,
    /// Which run of it.
    pub epoch: BootEpoch,
    /// Its number in that run.
    pub sequence: u64,
    /// What it is about.
    pub payload: &'a [u8],
}

impl Draft<'_> {
    /// The whole frame, signed by `sign`.
    ///
    /// # Errors
    /// `Oversized` for more than [`PAYLOAD_MAX`] bytes, `Malformed` for letters that no broadcast
    /// may have.
    pub fn sign(&self, sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE]) -> Result<Bytes, DropReason> {
        if !is_for_all(&self.letters.0) {
            return Err(DropReason::Malformed);
        }
        let length = HEADER - HEADER_LEN + self.payload.len() + SIGNATURE;
        let header = LinkHeader::new(LinkKind::Broadcast, self.priority, length)?;
        let mut out = BytesMut::with_capacity(header.frame_len());
        out.put_slice(&header.emit());
        out.put_slice(&[self.ttl, VERSION, self.priority.level(), 0]);
        out.put_slice(&self.letters.0);
        out.put_slice(self.origin.as_bytes());
        out.put_u64(self.epoch.0);
        out.put_u64(self.sequence);
        out.put_slice(self.payload);
        let signature = sign(out.get(AT_SIGNED..).unwrap_or_default());
        out.put_slice(&signature);
        Ok(out.freeze())
    }
}

/// Takes one hop off the TTL of a frame that [`Broadcast::parse`] accepted, in place. False if none
/// is left for another one: then it goes no further.
#[must_use]
pub fn spend_hop(frame: &mut [u8]) -> bool {
    let Some(ttl) = frame.get_mut(AT_TTL) else { return false };
    *ttl = ttl.saturating_sub(1);
    *ttl > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draft(payload: &[u8]) -> Draft<'_> {
        Draft {
            ttl: 16,
            priority: Priority::new(5).unwrap(),
            letters: Sequence(*b"MZ\0\0"),
            origin: Address::new([9; 16]),
            epoch: BootEpoch(4),
            sequence: 6,
            payload,
        }
    }

    #[test]
    fn n7_a_broadcast_reads_back() {
        let mut seen = Vec::new();
        let sign = |b: &[u8]| {
            seen = b.to_vec();
            [7; 64]
        };
        let frame = draft(b"hello").sign(sign).unwrap();
        let b = Broadcast::parse(&frame).unwrap();
        assert_eq!((b.signed(), b.signature()), (&seen[..], &[7; 64]));
        assert_eq!((b.payload, b.ttl, b.priority.level()), (&b"hello"[..], 16, 5));
        assert_eq!((b.letters, b.origin), (Sequence(*b"MZ\0\0"), Address::new([9; 16])));
        assert_eq!((b.epoch, b.sequence), (BootEpoch(4), 6));
    }

    #[test]
    fn n7_a_hop_changes_the_ttl_and_nothing_that_is_signed() {
        let frame = draft(b"hello").sign(|_| [7; 64]).unwrap();
        let mut passed = frame.to_vec();
        for ttl in (1..16).rev() {
            assert!(spend_hop(&mut passed));
            let b = Broadcast::parse(&passed).unwrap();
            assert_eq!((b.ttl, b.signed()), (ttl, Broadcast::parse(&frame).unwrap().signed()));
        }
        assert!(!spend_hop(&mut passed) && !spend_hop(&mut passed));
    }

    #[test]
    fn n7_broadcasts_that_must_not_be_are_refused() {
        for letters in [*b"MA\0\0", *b"Z\0\0\0", *b"M\0Z\0", *b"mz\0\0", *b"MM\0\0", [0; 4]] {
            let letters = Sequence(letters);
            let refused = Draft { letters, ..draft(b"") }.sign(|_| [0; 64]);
            assert_eq!(refused, Err(DropReason::Malformed), "{letters:?}");
        }
        let most = vec![0; PAYLOAD_MAX + 1];
        assert_eq!(draft(&most).sign(|_| [0; 64]), Err(DropReason::Oversized));
        assert_eq!(draft(&most[1..]).sign(|_| [0; 64]).unwrap().len(), FRAME_MAX);
        let frame = draft(b"x").sign(|_| [0; 64]).unwrap();
        let with = |at: usize, byte: u8| {
            let mut f = frame.to_vec();
            f[at] = byte;
            Broadcast::parse(&f).err()
        };
        assert_eq!(with(5, 2), Some(DropReason::UnknownKind));
        for (at, byte) in [(3, 4), (6, 8), (7, 1), (8, b'A'), (9, b'A'), (11, b'Z')] {
            assert_eq!(with(at, byte), Some(DropReason::Malformed), "{at}");
        }
        for n in 0..HEADER + SIGNATURE {
            assert_eq!(Broadcast::parse(&frame[..n]), Err(DropReason::Truncated));
        }
    }

    proptest! {
        #[test]
        fn n7_any_bytes_are_a_broadcast_or_a_drop(
            start in prop::collection::vec(any::<u8>(), 0..200), shape: bool,
        ) {
            let mut bytes = start;
            if shape && bytes.len() > 12 {
                bytes[3..12].copy_from_slice(&[3, 9, 1, 3, 0, b'M', b'Z', 0, 0]);
            }
            if let Ok(b) = Broadcast::parse(&bytes) {
                let Broadcast { ttl, priority, letters, origin, epoch, sequence, payload, .. } = b;
                let again = Draft { ttl, priority, letters, origin, epoch, sequence, payload };
                let again = again.sign(|signed| {
                    assert_eq!(signed, b.signed());
                    *b.signature()
                });
                prop_assert_eq!(&again.unwrap()[HEADER_LEN..], &bytes[HEADER_LEN..]);
            }
        }
    }
}
