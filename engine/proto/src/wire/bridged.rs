//! Datagrams that a relay carries between two ends of a line it cannot read (PROTOCOL §3.5).
//!
//! ```text
//!   0 LENGTH u16 = 0   2 kind = 2   3 priority u8   4 line id (16)   20 a whole datagram
//! ```
//!
//! The id is the relay's on the way to it, and the receiver's on the way from it: the relay
//! writes the other id over its own and sends the same bytes on. What is inside is a sealed packet
//! or an open, and never another of these.

use crate::base::{DropReason, LineId, Priority};

/// Bytes in front of what is carried.
pub const HEADER: usize = 20;

/// A datagram that says nothing: it opens a way through the sender's NAT, and is dropped.
pub const NOTHING: [u8; 3] = [0, 0, 0];

const KIND: u8 = 2;

/// What stands in front of what is carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// How urgent; the relay queues by it.
    pub priority: Priority,
    /// The receiver's name for the bridge.
    pub line: LineId,
}

impl Header {
    /// The header.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let bytes = [0, 0, KIND, self.priority.level()].into_iter().chain(self.line.0);
        out.iter_mut().zip(bytes).for_each(|(o, b)| *o = b);
        out
    }

    /// Reads the header. `Ok(None)` if the datagram is of another kind.
    ///
    /// # Errors
    /// [`DropReason::Truncated`], or [`DropReason::Malformed`] for a priority there is not.
    pub fn parse(datagram: &[u8]) -> Result<Option<Self>, DropReason> {
        if datagram.first_chunk() != Some(&[0, 0, KIND]) {
            return Ok(None);
        }
        let head = datagram.first_chunk::<HEADER>().ok_or(DropReason::Truncated)?;
        let &[_, _, _, priority, ref line @ ..] = head;
        Ok(Some(Self {
            priority: Priority::new(priority).ok_or(DropReason::Malformed)?,
            line: LineId(*line.first_chunk().ok_or(DropReason::Truncated)?),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn s22_any_bytes_decode_or_are_refused(
            tail in prop::collection::vec(any::<u8>(), 0..40), ours: bool
        ) {
            let mut bytes = if ours { vec![0, 0, KIND] } else { Vec::new() };
            bytes.extend(tail);
            if let Ok(Some(head)) = Header::parse(&bytes) {
                let emitted = head.emit();
                prop_assert_eq!(emitted.as_slice(), &bytes[..HEADER]);
            }
        }
    }

    #[test]
    fn s22_a_bridged_datagram_is_no_sealed_packet_and_no_json() {
        let head = Header { priority: Priority::DEFAULT, line: LineId([0xab; 16]) }.emit();
        assert_eq!(head[..4], [0, 0, 2, 3]);
        let long = [&head[..], &[0; 40]].concat();
        assert!(super::super::sealed::Header::parse(&long).is_err());
        assert_eq!(Header::parse(&NOTHING), Ok(None));
        assert_eq!(Header::parse(&head[..19]), Err(DropReason::Truncated));
    }
}
