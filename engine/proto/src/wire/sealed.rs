//! Sealed packets of a line as datagrams, in their compact form (PROTOCOL §3.3).
//!
//! ```text
//!   0 LENGTH u16 = 0   2 kind = 1   3 priority u8   4 line id (16)   20 counter u64   28 sealed
//! ```
//!
//! LENGTH 0 says that no JSON follows; the JSON form of the same packet is
//! `{"sline":"<line id in hex>","n":<counter>,"p":<priority>}` with the sealed bytes as BODY.
//! Either way the 28 bytes of the compact header are the associated data.

use super::packet::{self, Packet};
use crate::base::{DropReason, LineId, Priority};

/// Bytes in front of the sealed bytes.
pub const HEADER: usize = 28;
/// Bytes of the tag that ends the sealed bytes.
pub const TAG: usize = 16;

const KIND: u8 = 1;

/// What stands in front of the sealed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// How urgent; on a datagram only the receiver's queues see it.
    pub priority: Priority,
    /// The receiver's name for the line.
    pub line: LineId,
    /// The packet's number, never used twice with one key.
    pub counter: u64,
}

impl Header {
    /// The compact header, which is also the associated data.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let bytes = [0, 0, KIND, self.priority.level()]
            .into_iter()
            .chain(self.line.0)
            .chain(self.counter.to_be_bytes());
        out.iter_mut().zip(bytes).for_each(|(o, b)| *o = b);
        out
    }

    /// The JSON form: the text that stands before the sealed bytes.
    #[must_use]
    pub fn to_json(&self) -> String {
        let hex = packet::hex(&self.line.0);
        format!("{{\"sline\":\"{hex}\",\"n\":{},\"p\":{}}}", self.counter, self.priority.level())
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] if a key is missing or its value impossible.
    pub fn from_json(packet: &Packet<'_>) -> Result<Self, DropReason> {
        let line = packet.text("sline").and_then(packet::from_hex).ok_or(DropReason::Malformed)?;
        let counter = packet.need("n")?;
        let priority = Priority::new(packet.need("p")?).ok_or(DropReason::Malformed)?;
        Ok(Self { priority, line: LineId(line), counter })
    }

    /// Reads the compact form. `Ok(None)` if the datagram has JSON.
    ///
    /// # Errors
    /// [`DropReason::Truncated`] or [`DropReason::UnknownKind`].
    pub fn parse(datagram: &[u8]) -> Result<Option<Self>, DropReason> {
        let (length, _) = datagram.split_first_chunk::<2>().ok_or(DropReason::Truncated)?;
        if *length != [0, 0] {
            return Ok(None);
        }
        let (head, _) = datagram.split_first_chunk::<HEADER>().ok_or(DropReason::Truncated)?;
        let &[_, _, kind, priority, ref rest @ ..] = head;
        if kind != KIND || priority > Priority::HIGHEST.level() {
            return Err(DropReason::UnknownKind);
        }
        let (line, counter) = rest.split_first_chunk::<16>().ok_or(DropReason::Truncated)?;
        let counter = counter.first_chunk::<8>().ok_or(DropReason::Truncated)?;
        Ok(Some(Self {
            priority: Priority::from_low_bits(priority),
            line: LineId(*line),
            counter: u64::from_be_bytes(*counter),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn s20_both_forms_decode_to_the_same_value(id in any::<[u8; 16]>(), counter in any::<u64>(), level in 0u8..8) {
            let priority = Priority::new(level).unwrap();
            let h = Header { priority, line: LineId(id), counter };
            let mut json = Vec::new();
            packet::emit(&h.to_json(), &mut json).unwrap();
            json.extend_from_slice(b"sealed");
            prop_assert_eq!(Header::parse(&json), Ok(None));
            let p = Packet::decode(&mut json).unwrap();
            prop_assert_eq!(p.body, b"sealed");
            prop_assert_eq!(Header::from_json(&p), Ok(h));
            prop_assert_eq!(Header::parse(&h.emit()), Ok(Some(h)));
        }
    }

    #[test]
    fn s20_golden_header() {
        let h = Header { priority: Priority::DEFAULT, line: LineId([0xab; 16]), counter: 258 };
        let text: String = h.emit().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(text, "00000103abababababababababababababababab0000000000000102");
        assert_eq!(Header::parse(&h.emit()), Ok(Some(h)));
    }

    #[test]
    fn s1_truncation_at_every_length_is_refused() {
        let h = Header { priority: Priority::DEFAULT, line: LineId([1; 16]), counter: 1 }.emit();
        for n in 0..HEADER {
            assert_eq!(Header::parse(&h[..n]), Err(DropReason::Truncated), "{n}");
        }
    }

    proptest! {
        #[test]
        fn s1_any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some(h)) = Header::parse(&bytes) {
                let emitted = h.emit();
                prop_assert_eq!(emitted.as_slice(), &bytes[..HEADER]);
            }
        }
    }
}
