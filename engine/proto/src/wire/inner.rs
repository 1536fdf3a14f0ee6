//! Packets inside a line, by kind (PROTOCOL §5.1 to §5.4).
//!
//! The first byte says the kind. 0x00 to 0x0f begin a packet with JSON (`packet`), 0x10 to 0x1f
//! belong to streams (`stream`), the rest is here:
//!
//! ```text
//!   ping     0x20 token u64 padding…       pong  0x21 token u64 padding…  (as long as the ping)
//!   message  0x22 flags u8  id u64  total u32  offset u32  bytes…
//!   close    0x23 code u8
//! ```
//!
//! The JSON form of each says the same:
//!
//! ```text
//!   {"ping":7} padding…   {"pong":7} padding…   {"close":11}
//!   {"message":7,"total":5,"offset":0,"reply":true} bytes…
//! ```

use super::packet::{Action, Packet, Place};
use crate::base::DropReason;

/// First of the kinds that belong to streams.
pub const STREAM_FIRST: u8 = 0x10;
/// Last of the kinds that belong to streams.
pub const STREAM_LAST: u8 = 0x1f;
/// Bytes in front of a message's bytes.
pub const MESSAGE_HEADER: usize = 18;

/// Bytes of the smallest ping or pong.
pub const ECHO: usize = 9;

const PING: u8 = 0x20;
const PONG: u8 = 0x21;
const MESSAGE: u8 = 0x22;
const CLOSE: u8 = 0x23;

/// Which part of which message this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// An answer.
    pub reply: bool,
    /// The sender's number for the message.
    pub id: u64,
    /// Bytes of the whole message.
    pub total: u32,
    /// Where this part begins.
    pub offset: u32,
}

/// A packet inside a line, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inner {
    /// A packet with JSON, to be decoded and read by [`Inner::from_json`].
    Json,
    /// A packet of a stream.
    Stream,
    /// Please answer with the same token and length.
    Ping(u64),
    /// The answer.
    Pong(u64),
    /// Part of a message; its bytes begin at [`MESSAGE_HEADER`], or are the BODY behind JSON.
    Message(Part),
    /// The peer ends the line.
    Close(u8),
}

impl Inner {
    /// Reads what a packet is.
    ///
    /// # Errors
    /// [`DropReason::Truncated`], or [`DropReason::UnknownKind`].
    pub fn parse(packet: &[u8]) -> Result<Self, DropReason> {
        let (&kind, rest) = packet.split_first().ok_or(DropReason::Truncated)?;
        Ok(match kind {
            0..STREAM_FIRST => Self::Json,
            STREAM_FIRST..=STREAM_LAST => Self::Stream,
            PING => Self::Ping(number(rest)?),
            PONG => Self::Pong(number(rest)?),
            MESSAGE => Self::Message(part(rest)?),
            CLOSE => Self::Close(*rest.first().ok_or(DropReason::Truncated)?),
            _ => return Err(DropReason::UnknownKind),
        })
    }

    /// Whether whoever sends this packet counts on hearing something soon: silence then means that
    /// the path or the peer is gone.
    #[must_use]
    pub fn expects_answer(packet: &[u8]) -> bool {
        packet.first().is_some_and(|kind| {
            matches!(*kind, 0..STREAM_FIRST | super::stream::KIND_DATA | PING | MESSAGE)
        })
    }

    /// Reads what a packet with JSON is. [`Inner::Stream`] says no more than that.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] if a key is missing or its value impossible,
    /// [`DropReason::Unhandled`] if nothing here knows what it asks for.
    pub fn from_json(packet: &Packet<'_>) -> Result<Self, DropReason> {
        Ok(match packet.action(Place::Line) {
            Action::Stream => Self::Stream,
            Action::Ping => Self::Ping(packet.need("ping")?),
            Action::Pong => Self::Pong(packet.need("pong")?),
            Action::Close => Self::Close(packet.need("close")?),
            Action::Message => {
                let part = Part {
                    reply: packet.flag("reply")?,
                    id: packet.need("message")?,
                    total: packet.need("total")?,
                    offset: packet.need("offset")?,
                };
                Self::Message(part.holding(packet.body)?)
            }
            _ => return Err(DropReason::Unhandled),
        })
    }

    /// Writes a ping or a pong of `length` bytes in all (at least 9).
    pub fn echo(ping: bool, token: u64, length: usize, out: &mut impl bytes::BufMut) {
        out.put_u8(if ping { PING } else { PONG });
        out.put_u64(token);
        out.put_bytes(0, length.saturating_sub(ECHO));
    }

    /// Writes the header of a message part.
    pub fn message(part: Part, out: &mut impl bytes::BufMut) {
        out.put_u8(MESSAGE);
        out.put_u8(u8::from(part.reply));
        out.put_u64(part.id);
        out.put_u32(part.total);
        out.put_u32(part.offset);
    }

    /// The packet that ends a line.
    #[must_use]
    pub const fn close(code: u8) -> [u8; 2] {
        [CLOSE, code]
    }
}

fn number(bytes: &[u8]) -> Result<u64, DropReason> {
    bytes.first_chunk().map(|b| u64::from_be_bytes(*b)).ok_or(DropReason::Truncated)
}

fn part(rest: &[u8]) -> Result<Part, DropReason> {
    let (head, bytes) =
        rest.split_first_chunk::<{ MESSAGE_HEADER - 1 }>().ok_or(DropReason::Truncated)?;
    let &[flags, ref numbers @ ..] = head;
    let (id, numbers) = numbers.split_first_chunk().ok_or(DropReason::Truncated)?;
    let (total, numbers) = numbers.split_first_chunk().ok_or(DropReason::Truncated)?;
    let offset = numbers.first_chunk().ok_or(DropReason::Truncated)?;
    let part = Part {
        reply: flags & 1 != 0,
        id: u64::from_be_bytes(*id),
        total: u32::from_be_bytes(*total),
        offset: u32::from_be_bytes(*offset),
    };
    part.holding(bytes)
}

impl Part {
    /// This part, if `bytes` do not reach past the end of its message.
    fn holding(self, bytes: &[u8]) -> Result<Self, DropReason> {
        let end = u64::from(self.offset) + bytes.len() as u64;
        if end > u64::from(self.total) { Err(DropReason::Malformed) } else { Ok(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn written_packets_read_back() {
        let mut ping = Vec::new();
        Inner::echo(true, 7, 64, &mut ping);
        assert_eq!((ping.len(), Inner::parse(&ping)), (64, Ok(Inner::Ping(7))));
        let part = Part { reply: true, id: 3, total: 10, offset: 4 };
        let mut message = Vec::new();
        Inner::message(part, &mut message);
        assert_eq!(message.len(), MESSAGE_HEADER);
        message.extend_from_slice(b"123456");
        assert_eq!(Inner::parse(&message), Ok(Inner::Message(part)));
        message.push(b'7');
        assert_eq!(Inner::parse(&message), Err(DropReason::Malformed), "past its own total");
        assert_eq!(Inner::parse(&Inner::close(4)), Ok(Inner::Close(4)));
    }

    fn json(text: &str, body: &[u8]) -> Result<Inner, DropReason> {
        let mut raw = Vec::new();
        crate::wire::packet::emit(text, &mut raw).unwrap();
        raw.extend_from_slice(body);
        assert_eq!(Inner::parse(&raw), Ok(Inner::Json));
        Inner::from_json(&Packet::decode(&mut raw)?)
    }

    #[test]
    fn s20_json_inside_a_line_is_as_strict_as_the_compact_form() {
        use DropReason::{BadJson, Malformed, Unhandled};
        let cases = [
            (r#"{"ping":-1}"#, Malformed),
            (r#"{"ping":"7"}"#, Malformed),
            (r#"{"pong":1.5}"#, Malformed),
            (r#"{"close":256}"#, Malformed),
            (r#"{"close":true}"#, Malformed),
            (r#"{"message":1,"total":5}"#, Malformed),
            (r#"{"message":1,"offset":0}"#, Malformed),
            (r#"{"message":1,"total":4294967296,"offset":0}"#, Malformed),
            (r#"{"message":1,"total":5,"offset":0,"reply":1}"#, Malformed),
            (r#"{"message":1,"total":3,"offset":0}"#, Malformed),
            (r#"{"message":1,"total":9,"offset":6}"#, Malformed),
            (r#"{"message":1,"message":2,"total":9,"offset":0}"#, BadJson),
            (r#"{"open":1}"#, Unhandled),
            (r#"{"seek":1,"ping":7}"#, Unhandled),
            (r#"{"_app":1}"#, Unhandled),
            ("{}", Unhandled),
            ("", BadJson),
        ];
        for (text, reason) in cases {
            assert_eq!(json(text, b"1234"), Err(reason), "{text}");
        }
    }

    proptest! {
        #[test]
        fn s20_both_forms_are_the_same_packet(
            n: u64, code: u8, reply: bool, offset: u32,
            bytes in prop::collection::vec(any::<u8>(), 0..64), more in 0..1_000_u32,
        ) {
            let mut compact = Vec::new();
            Inner::echo(true, n, 9 + bytes.len(), &mut compact);
            prop_assert_eq!(json(&format!(r#"{{"ping":{n}}}"#), &bytes), Inner::parse(&compact));
            compact.clear();
            Inner::echo(false, n, 9, &mut compact);
            prop_assert_eq!(json(&format!(r#"{{"pong":{n},"_a":0}}"#), b""), Inner::parse(&compact));
            let close = json(&format!(r#"{{"close":{code}}}"#), b"");
            prop_assert_eq!(close, Inner::parse(&Inner::close(code)));
            // Some reach past their total: then both are refused.
            let total = offset.saturating_add(more / 8);
            compact.clear();
            Inner::message(Part { reply, id: n, total, offset }, &mut compact);
            compact.extend_from_slice(&bytes);
            let text = format!(
                r#"{{"reply":{reply},"offset":{offset},"total":{total},"message":{n}}}"#
            );
            prop_assert_eq!(json(&text, &bytes), Inner::parse(&compact));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Inner::parse(&bytes);
        }
    }
}
