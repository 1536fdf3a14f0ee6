//! Packets inside a line, by kind (PROTOCOL §5.1 to §5.4).
//!
//! The first byte says the kind. 0x00 to 0x0f begin a packet with JSON (`packet`), 0x10 to 0x1f
//! belong to streams (`stream`), the rest is here:
//!
//! ```text
//!   ping     0x20 token u64 padding…       pong  0x21 token u64 padding…  (as long as the ping)
//!   message  0x22 flags u8  id u64  total u32  offset u32  bytes…
//!   close    0x23 code u8
//!   try      0x24 token u64  padding (19…)      does this path work?  answered the way it came
//!   tried    0x25 token u64  family u8  port u16  address (16)        where the try came from
//!   returned 0x26 code u8  rule u16  id u64            a message in this line came back
//! ```
//!
//! The JSON form of each says the same:
//!
//! ```text
//!   {"ping":7} padding…   {"pong":7} padding…   {"close":11}
//!   {"message":7,"total":5,"offset":0,"reply":true} bytes…
//!   {"returned":7,"code":5,"rule":3}
//!   {"try":7} padding…   {"tried":7,"at":"192.0.2.1:42424"}
//! ```
//!
//! Packets that hashnames find each other with have JSON only (`meet`), and so have applications'.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

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
const TRY: u8 = 0x24;
const TRIED: u8 = 0x25;
const RETURNED: u8 = 0x26;

/// Bytes of a try at least, and of its answer: nobody gets more back than came.
pub const TRY_LEN: usize = 28;

/// Bytes of a return inside a line: fewer than any part of a message has.
pub const RETURNED_LEN: usize = 12;

/// A message in this line came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Back {
    /// The sender's number for the message.
    pub id: u64,
    /// Why: one of [`super::package::Code`].
    pub code: u8,
    /// Which of the receiver's rules refused it, counted from 1; 0 if none did.
    pub rule: u16,
}

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
    /// Does the path this came by work? To be answered by the same path.
    Try(u64),
    /// It does, and this is where the try came from, if it came as a datagram.
    Tried(u64, Option<SocketAddr>),
    /// A message of ours came back from the peer.
    Returned(Back),
    /// One of the packets by which hashnames find each other, to be read by `meet`.
    Meet,
    /// Nothing the switch knows: the application's.
    App,
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
            TRY if rest.len() >= TRY_LEN - 1 => Self::Try(number(rest)?),
            TRIED => tried(rest)?,
            RETURNED => returned(rest)?,
            _ => return Err(DropReason::UnknownKind),
        })
    }

    /// Whether whoever sends this packet counts on hearing something soon: silence then means that
    /// the path or the peer is gone.
    #[must_use]
    pub fn expects_answer(packet: &[u8]) -> bool {
        packet.first().is_some_and(|kind| match *kind {
            0..STREAM_FIRST => !super::meet::is_answer(packet),
            super::stream::KIND_DATA | PING | MESSAGE => true,
            _ => false,
        })
    }

    /// Reads what a packet with JSON is. [`Inner::Stream`] and [`Inner::Meet`] say no more than
    /// that.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] if a key is missing or its value impossible.
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
            Action::Returned => Self::Returned(Back {
                id: packet.need("returned")?,
                code: packet.need("code")?,
                rule: match packet.get("rule") {
                    None => 0,
                    Some(_) => packet.need("rule")?,
                },
            }),
            Action::Try if packet.body.len() >= TRY_LEN - 9 => Self::Try(packet.need("try")?),
            Action::Try => return Err(DropReason::Malformed),
            Action::Tried => {
                let at = match packet.get("at") {
                    None => None,
                    Some(_) => {
                        let at = packet.text("at").and_then(|t| t.parse().ok());
                        Some(at.and_then(plain).ok_or(DropReason::Malformed)?)
                    }
                };
                Self::Tried(packet.need("tried")?, at)
            }
            Action::Key
            | Action::Op
            | Action::Seek
            | Action::See
            | Action::Pop
            | Action::Popping
            | Action::Popped
            | Action::Bridge
            | Action::Bridging
            | Action::Bridged => Self::Meet,
            _ => Self::App,
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

    /// Writes the return of a message.
    #[must_use]
    pub fn returned(back: Back) -> [u8; RETURNED_LEN] {
        let mut out = [0; RETURNED_LEN];
        let head = [RETURNED, back.code].into_iter().chain(back.rule.to_be_bytes());
        fill(&mut out, head.chain(back.id.to_be_bytes()));
        out
    }

    /// The id of the message that a packet in its compact form is part of.
    #[must_use]
    pub fn message_id(packet: &[u8]) -> Option<u64> {
        let &[MESSAGE, _, ref rest @ ..] = packet else { return None };
        rest.first_chunk().map(|id| u64::from_be_bytes(*id))
    }

    /// Writes a try.
    #[must_use]
    pub fn probe(token: u64) -> [u8; TRY_LEN] {
        let mut out = [0; TRY_LEN];
        fill(&mut out, [TRY].into_iter().chain(token.to_be_bytes()));
        out
    }

    /// Writes the answer to a try that came from `at`.
    #[must_use]
    pub fn probed(token: u64, at: Option<SocketAddr>) -> [u8; TRY_LEN] {
        let (family, port, ip) = match at.map(|a| (a.ip().to_canonical(), a.port())) {
            None => (0, 0, [0; 16]),
            Some((IpAddr::V4(ip), port)) => (4, port, ip.to_ipv6_mapped().octets()),
            Some((IpAddr::V6(ip), port)) => (6, port, ip.octets()),
        };
        let mut out = [0; TRY_LEN];
        let head = [TRIED].into_iter().chain(token.to_be_bytes()).chain([family]);
        fill(&mut out, head.chain(port.to_be_bytes()).chain(ip));
        out
    }

    /// The packet that ends a line.
    #[must_use]
    pub const fn close(code: u8) -> [u8; 2] {
        [CLOSE, code]
    }
}

fn fill(out: &mut [u8], bytes: impl Iterator<Item = u8>) {
    out.iter_mut().zip(bytes).for_each(|(o, b)| *o = b);
}

/// An address as the compact form can say it: without scope or flow.
fn plain(at: SocketAddr) -> Option<SocketAddr> {
    let written = SocketAddr::new(at.ip(), at.port());
    (written == at && at.ip().to_canonical() == at.ip()).then_some(at)
}

fn tried(rest: &[u8]) -> Result<Inner, DropReason> {
    let rest: &[u8; TRY_LEN - 1] = rest.try_into().map_err(|_| DropReason::Malformed)?;
    let (token, rest) = rest.split_first_chunk().ok_or(DropReason::Truncated)?;
    let &[family, p0, p1, ref ip @ ..] = rest else { return Err(DropReason::Truncated) };
    let ip = Ipv6Addr::from(*ip.first_chunk::<16>().ok_or(DropReason::Truncated)?);
    let port = u16::from_be_bytes([p0, p1]);
    let at = match (family, ip.to_ipv4_mapped()) {
        (0, _) if port == 0 && ip.is_unspecified() => None,
        (4, Some(ip)) => Some((ip, port).into()),
        (6, None) => Some((ip, port).into()),
        _ => return Err(DropReason::Malformed),
    };
    Ok(Inner::Tried(u64::from_be_bytes(*token), at))
}

fn returned(rest: &[u8]) -> Result<Inner, DropReason> {
    let rest: &[u8; RETURNED_LEN - 1] = rest.try_into().map_err(|_| DropReason::Malformed)?;
    let (&[code, r0, r1], id) = rest.split_first_chunk().ok_or(DropReason::Truncated)?;
    let (id, rule) = (number(id)?, u16::from_be_bytes([r0, r1]));
    Ok(Inner::Returned(Back { id, code, rule }))
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
        let back = Back { id: 7, code: 5, rule: 300 };
        assert_eq!(Inner::parse(&Inner::returned(back)), Ok(Inner::Returned(back)));
        assert_eq!((Inner::message_id(&message), Inner::message_id(&ping)), (Some(3), None));
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
        use DropReason::{BadJson, Malformed};
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
            (r#"{"returned":1}"#, Malformed),
            (r#"{"returned":1,"code":256}"#, Malformed),
            (r#"{"returned":1,"code":5,"rule":65536}"#, Malformed),
            (r#"{"try":1}"#, Malformed),
            (r#"{"tried":1,"at":"nowhere"}"#, Malformed),
            (r#"{"tried":1,"at":"[fe80::1%1]:5"}"#, Malformed),
            (r#"{"tried":1,"at":"[::ffff:1.2.3.4]:5"}"#, Malformed),
            ("", BadJson),
        ];
        for (text, reason) in cases {
            assert_eq!(json(text, b"1234"), Err(reason), "{text}");
        }
    }

    #[test]
    fn s2_what_the_switch_does_not_know_is_the_applications() {
        for text in [r#"{"open":1}"#, r#"{"_app":1}"#, "{}", r#"{"to":"all","weight":3}"#] {
            assert_eq!(json(text, b""), Ok(Inner::App), "{text}");
        }
        assert_eq!(json(r#"{"seek":1,"ping":7}"#, b""), Ok(Inner::Meet), "the first key decides");
    }

    #[test]
    fn s22_an_answer_to_a_try_is_no_longer_than_the_try() {
        let at = Some(([192, 0, 2, 1], 42_424).into());
        assert_eq!(Inner::probe(7).len(), Inner::probed(7, at).len());
        assert_eq!(Inner::parse(&Inner::probe(7)[..27]), Err(DropReason::UnknownKind), "short");
    }

    proptest! {
        #[test]
        fn s22_tries_and_their_answers_read_back_in_both_forms(
            token: u64, v6: bool, ip: [u8; 16], port: u16, none: bool
        ) {
            let ip = if v6 { IpAddr::from(ip) } else { IpAddr::from([ip[0], ip[1], ip[2], ip[3]]) };
            let at = (!none).then_some(SocketAddr::new(ip.to_canonical(), port));
            prop_assert_eq!(Inner::parse(&Inner::probe(token)), Ok(Inner::Try(token)));
            let compact = Inner::parse(&Inner::probed(token, at));
            prop_assert_eq!(compact, Ok(Inner::Tried(token, at)));
            let at = at.map_or(String::new(), |a| format!(r#","at":"{a}""#));
            prop_assert_eq!(json(&format!(r#"{{"tried":{token}{at}}}"#), b""), compact);
            prop_assert_eq!(json(&format!(r#"{{"try":{token}}}"#), &[0; 19]), Ok(Inner::Try(token)));
        }

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
