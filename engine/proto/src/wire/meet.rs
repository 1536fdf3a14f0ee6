//! The packets by which hashnames find each other: JSON inside a line, and two of them outside
//! (PROTOCOL §5.14).
//!
//! ```text
//!   {"op":7,"who":HASH}                               what is the key of this?
//!   {"key":7,"seq":0,"of":2} bytes…                   a part of it      {"key":7,"err":"unknown"}
//!   {"seek":7,"to":HASH}                              who is near this?
//!   {"see":7,"near":["HASH,192.0.2.1,42424","HASH"]}  these are
//!   {"pop":HASH,"at":["192.0.2.1:42424"]}             tell it that I come from there
//!   {"popping":HASH,"at":[…]}                         it comes from there: let it in
//!   {"popped":HASH,"at":[…]}                          it is let in; come to there
//!   {"bridge":HASH,"line":ID}                         carry packets between us; mine say this
//!   {"bridging":HASH}                                 it asks for that
//!   {"bridged":HASH,"line":ID,"rate":N,"for":S}       carried if they say this   {…,"err":"full"}
//! ```
//!
//! Reading checks form and bounds; whom to believe is not known here.

use core::fmt::Write;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::packet::{self, Action, Packet, Place};
use crate::base::{DropReason, Hashname, LineId};

/// Most hashnames one answer to a seek names.
pub const NEAR: usize = 8;
/// Most addresses one packet offers.
pub const ADDRESSES: usize = 4;
/// Most parts of an answer with a key.
pub const PARTS: u8 = 4;
/// Bytes of a key in one part: with what is around it, it fits every path.
pub const PART: usize = 960;

/// A hashname somebody has a line with, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Near {
    /// Who.
    pub who: Hashname,
    /// Where it is reached by whoever told, if that is an address.
    pub at: Option<SocketAddr>,
}

/// Why something was not done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum No {
    /// Nobody here knows that hashname.
    Unknown,
    /// The asker may not ask this.
    Refused,
    /// The number of bridges, or of questions, is at its limit.
    Full,
    /// The asker asks too often.
    Rate,
    /// The other end did not agree in time.
    Silent,
    /// Its time is up.
    Over,
}

impl No {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Unknown, Self::Refused, Self::Full, Self::Rate, Self::Silent, Self::Over];

    /// The word that travels, and that users see.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::Full => "full",
            Self::Rate => "rate",
            Self::Silent => "silent",
            Self::Over => "over",
        }
    }
}

/// What a bridge grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// What packets to the bridge say.
    pub line: LineId,
    /// Bytes a second it carries each way.
    pub rate: u64,
    /// Seconds it lasts.
    pub seconds: u64,
}

/// One packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// A question for a key.
    Op {
        /// The asker's number.
        id: u64,
        /// Whose key.
        who: Hashname,
        /// Outside a line: which part of it.
        seq: Option<u8>,
    },
    /// A part of the answer.
    Key {
        /// The asker's number.
        id: u64,
        /// Which part, of how many, and its bytes; or why there is none.
        part: Result<(u8, u8, Bytes), No>,
    },
    /// Who is near this?
    Seek {
        /// The asker's number.
        id: u64,
        /// Near what.
        to: Hashname,
        /// Outside a line: through whom the asker knows of the receiver.
        via: Option<Hashname>,
    },
    /// These are.
    See {
        /// The asker's number.
        id: u64,
        /// Nearest first.
        near: Vec<Near>,
    },
    /// Tell that hashname that I come from there.
    Pop {
        /// Whom.
        who: Hashname,
        /// Addresses of the sender.
        at: Vec<SocketAddr>,
    },
    /// It comes from there.
    Popping {
        /// Who.
        who: Hashname,
        /// Its addresses.
        at: Vec<SocketAddr>,
    },
    /// It is let in.
    Popped {
        /// Who lets in.
        who: Hashname,
        /// Its addresses.
        at: Vec<SocketAddr>,
    },
    /// Carry packets between the sender and that hashname.
    Bridge {
        /// The other end.
        who: Hashname,
        /// What packets carried to the sender are to say.
        line: LineId,
    },
    /// That hashname asks for a bridge to the receiver.
    Bridging {
        /// Who.
        who: Hashname,
    },
    /// The bridge is there, or is not.
    Bridged {
        /// The other end.
        who: Hashname,
        /// What it grants, or why there is none.
        grant: Result<Grant, No>,
    },
}

impl Word {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] if a key is missing or its value impossible,
    /// [`DropReason::Unhandled`] for a packet that is none of these.
    pub fn from_json(packet: &Packet<'_>) -> Result<Self, DropReason> {
        let name = |key| packet.text(key).and_then(|t| t.parse().ok()).ok_or(DropReason::Malformed);
        let line = || {
            let id = packet.text("line").and_then(packet::from_hex);
            id.map(LineId).ok_or(DropReason::Malformed)
        };
        Ok(match packet.action(Place::Line) {
            Action::Op => {
                let seq = packet.get("seq").map(|_| packet.need("seq")).transpose()?;
                Self::Op { id: packet.need("op")?, who: name("who")?, seq }
            }
            Action::Key => Self::Key { id: packet.need("key")?, part: part(packet)? },
            Action::Seek => {
                let via = packet.get("via").map(|_| name("via")).transpose()?;
                Self::Seek { id: packet.need("seek")?, to: name("to")?, via }
            }
            Action::See => Self::See { id: packet.need("see")?, near: near(packet)? },
            Action::Pop => Self::Pop { who: name("pop")?, at: addresses(packet)? },
            Action::Popping => Self::Popping { who: name("popping")?, at: addresses(packet)? },
            Action::Popped => Self::Popped { who: name("popped")?, at: addresses(packet)? },
            Action::Bridge => Self::Bridge { who: name("bridge")?, line: line()? },
            Action::Bridging => Self::Bridging { who: name("bridging")? },
            Action::Bridged => {
                let grant = match no(packet)? {
                    Some(no) => Err(no),
                    None => Ok(Grant {
                        line: line()?,
                        rate: packet.need("rate")?,
                        seconds: packet.need("for")?,
                    }),
                };
                Self::Bridged { who: name("bridged")?, grant }
            }
            _ => return Err(DropReason::Unhandled),
        })
    }

    /// The packet.
    #[must_use]
    pub fn emit(&self) -> Bytes {
        let mut body: &[u8] = &[];
        let json = match self {
            Self::Op { id, who, seq: None } => format!(r#"{{"op":{id},"who":"{who}"}}"#),
            Self::Op { id, who, seq: Some(seq) } => {
                format!(r#"{{"op":{id},"who":"{who}","seq":{seq}}}"#)
            }
            Self::Key { id, part: Ok((seq, of, bytes)) } => {
                body = bytes;
                format!(r#"{{"key":{id},"seq":{seq},"of":{of}}}"#)
            }
            Self::Key { id, part: Err(no) } => {
                format!(r#"{{"key":{id},"err":"{}"}}"#, no.label())
            }
            Self::Seek { id, to, via: None } => format!(r#"{{"seek":{id},"to":"{to}"}}"#),
            Self::Seek { id, to, via: Some(via) } => {
                format!(r#"{{"seek":{id},"to":"{to}","via":"{via}"}}"#)
            }
            Self::See { id, near } => {
                let near = near.iter().map(|n| match n.at {
                    Some(at) => format!("{},{},{}", n.who, at.ip(), at.port()),
                    None => n.who.to_string(),
                });
                format!(r#"{{"see":{id},"near":{}}}"#, list(near))
            }
            Self::Pop { who, at } => with_addresses("pop", who, at),
            Self::Popping { who, at } => with_addresses("popping", who, at),
            Self::Popped { who, at } => with_addresses("popped", who, at),
            Self::Bridge { who, line } => {
                format!(r#"{{"bridge":"{who}","line":"{}"}}"#, packet::hex(&line.0))
            }
            Self::Bridging { who } => format!(r#"{{"bridging":"{who}"}}"#),
            Self::Bridged { who, grant: Ok(Grant { line, rate, seconds }) } => format!(
                r#"{{"bridged":"{who}","line":"{}","rate":{rate},"for":{seconds}}}"#,
                packet::hex(&line.0)
            ),
            Self::Bridged { who, grant: Err(no) } => {
                format!(r#"{{"bridged":"{who}","err":"{}"}}"#, no.label())
            }
        };
        let mut out = BytesMut::with_capacity(2 + json.len() + body.len());
        // The longest of these, eight IPv6 hashnames, is far below the limit.
        let _fits = packet::emit(&json, &mut out);
        out.put_slice(body);
        out.freeze()
    }
}

/// Whether a packet of ours, emitted by [`Word::emit`], is an answer: nobody owes one for it.
#[must_use]
pub fn is_answer(packet: &[u8]) -> bool {
    const ANSWERS: [&[u8]; 4] = [b"{\"key\":", b"{\"see\":", b"{\"popped\":", b"{\"bridged\":"];
    packet.get(2..).is_some_and(|json| ANSWERS.iter().any(|a| json.starts_with(a)))
}

/// The parts in which an answer with a key travels.
pub fn parts(id: u64, papers: &Bytes) -> impl Iterator<Item = Word> + '_ {
    let of = u8::try_from(papers.len().div_ceil(PART).max(1)).unwrap_or(u8::MAX);
    (0..of).map(move |seq| {
        let start = usize::from(seq) * PART;
        let bytes = papers.slice(start..papers.len().min(start + PART));
        Word::Key { id, part: Ok((seq, of, bytes)) }
    })
}

fn with_addresses(key: &str, who: &Hashname, at: &[SocketAddr]) -> String {
    let at = list(at.iter().take(ADDRESSES).map(SocketAddr::to_string));
    format!(r#"{{"{key}":"{who}","at":{at}}}"#)
}

fn list(texts: impl Iterator<Item = String>) -> String {
    let mut out = String::from("[");
    for (i, text) in texts.enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\"{text}\"");
    }
    out.push(']');
    out
}

fn no(packet: &Packet<'_>) -> Result<Option<No>, DropReason> {
    if packet.get("err").is_none() {
        return Ok(None);
    }
    let word = packet.text("err").ok_or(DropReason::Malformed)?;
    // A reason of a later version is a refusal all the same.
    Ok(Some(No::ALL.into_iter().find(|n| n.label() == word).unwrap_or(No::Refused)))
}

fn part(packet: &Packet<'_>) -> Result<Result<(u8, u8, Bytes), No>, DropReason> {
    if let Some(no) = no(packet)? {
        return Ok(Err(no));
    }
    let (seq, of) = (packet.need::<u8>("seq")?, packet.need::<u8>("of")?);
    let whole = seq.checked_add(1) == Some(of) || packet.body.len() == PART;
    if seq >= of || of > PARTS || packet.body.is_empty() || packet.body.len() > PART || !whole {
        return Err(DropReason::Malformed);
    }
    Ok(Ok((seq, of, Bytes::copy_from_slice(packet.body))))
}

fn near(packet: &Packet<'_>) -> Result<Vec<Near>, DropReason> {
    let texts = packet.texts("near").ok_or(DropReason::Malformed)?;
    let mut near = Vec::new();
    for text in texts {
        let mut fields = text.split(',');
        let who = fields.next().and_then(|t| t.parse().ok()).ok_or(DropReason::Malformed)?;
        let at = match (fields.next(), fields.next(), fields.next()) {
            (None, ..) => None,
            (Some(ip), Some(port), None) => {
                let ip = ip.parse().map_err(|_| DropReason::Malformed)?;
                let port = port.parse().map_err(|_| DropReason::Malformed)?;
                Some(SocketAddr::new(ip, port))
            }
            _ => return Err(DropReason::Malformed),
        };
        if near.len() >= NEAR {
            return Err(DropReason::Malformed);
        }
        near.push(Near { who, at });
    }
    Ok(near)
}

fn addresses(packet: &Packet<'_>) -> Result<Vec<SocketAddr>, DropReason> {
    let texts = packet.texts("at").ok_or(DropReason::Malformed)?;
    let mut at = Vec::new();
    for text in texts {
        if at.len() >= ADDRESSES {
            return Err(DropReason::Malformed);
        }
        at.push(text.parse().map_err(|_| DropReason::Malformed)?);
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Word, DropReason> {
        let mut raw = bytes.to_vec();
        Word::from_json(&Packet::decode(&mut raw)?)
    }

    fn json(text: &str, body: &[u8]) -> Result<Word, DropReason> {
        let mut raw = Vec::new();
        packet::emit(text, &mut raw).unwrap();
        raw.extend_from_slice(body);
        read(&raw)
    }

    fn name() -> impl Strategy<Value = Hashname> {
        any::<[u8; 32]>().prop_map(Hashname::new)
    }

    fn socket() -> impl Strategy<Value = SocketAddr> {
        any::<(std::net::IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    fn line() -> impl Strategy<Value = LineId> {
        any::<[u8; 16]>().prop_map(LineId)
    }

    fn reason() -> impl Strategy<Value = No> {
        prop::sample::select(&No::ALL[..])
    }

    fn word() -> impl Strategy<Value = Word> {
        let at = || prop::collection::vec(socket(), 0..=ADDRESSES);
        let near = (name(), prop::option::of(socket())).prop_map(|(who, at)| Near { who, at });
        let grant = (line(), any::<u64>(), any::<u64>()).prop_map(|(line, rate, seconds)| Grant {
            line,
            rate,
            seconds,
        });
        prop_oneof![
            (any::<u64>(), name(), any::<Option<u8>>()).prop_map(|(id, who, seq)| Word::Op {
                id,
                who,
                seq
            }),
            (any::<u64>(), 1..=PARTS, 1..=PART).prop_map(|(id, of, last)| {
                Word::Key { id, part: Ok((of - 1, of, vec![7; last].into())) }
            }),
            (any::<u64>(), reason()).prop_map(|(id, no)| Word::Key { id, part: Err(no) }),
            (any::<u64>(), name(), prop::option::of(name())).prop_map(|(id, to, via)| Word::Seek {
                id,
                to,
                via
            }),
            (any::<u64>(), prop::collection::vec(near, 0..=NEAR))
                .prop_map(|(id, near)| Word::See { id, near }),
            (name(), at()).prop_map(|(who, at)| Word::Pop { who, at }),
            (name(), at()).prop_map(|(who, at)| Word::Popping { who, at }),
            (name(), at()).prop_map(|(who, at)| Word::Popped { who, at }),
            (name(), line()).prop_map(|(who, line)| Word::Bridge { who, line }),
            name().prop_map(|who| Word::Bridging { who }),
            (name(), grant).prop_map(|(who, grant)| Word::Bridged { who, grant: Ok(grant) }),
            (name(), reason()).prop_map(|(who, no)| Word::Bridged { who, grant: Err(no) }),
        ]
    }

    proptest! {
        #[test]
        fn s21_written_words_read_back_and_fit_every_path(word in word()) {
            let bytes = word.emit();
            prop_assert!(bytes.len() <= 1_168, "{}", bytes.len());
            prop_assert_eq!(read(&bytes), Ok(word));
        }

        #[test]
        fn s17_a_key_in_parts_is_its_parts(papers in prop::collection::vec(any::<u8>(), 1..2_000)) {
            let papers = Bytes::from(papers);
            let mut joined = Vec::new();
            for word in parts(7, &papers) {
                let Ok(Word::Key { id: 7, part: Ok((_, _, bytes)) }) = read(&word.emit()) else {
                    panic!("{word:?}");
                };
                joined.extend_from_slice(&bytes);
            }
            prop_assert_eq!(joined, papers.to_vec());
        }

        #[test]
        fn s2_any_json_reads_or_is_refused(text in r#"[\[\]{}",:0-9a-f\. opkeysekp]{0,200}"#) {
            let _ = json(&text, b"");
        }
    }

    #[test]
    fn s21_lying_forms_are_refused() {
        let h = "ab".repeat(32);
        let cases = [
            format!(r#"{{"op":1,"who":"{}"}}"#, &h[1..]),
            r#"{"op":1}"#.into(),
            format!(r#"{{"op":"1","who":"{h}"}}"#),
            r#"{"key":1,"seq":2,"of":2}"#.into(),
            r#"{"key":1,"seq":0,"of":9}"#.into(),
            r#"{"key":1,"seq":0}"#.into(),
            r#"{"key":1,"seq":0,"of":2}"#.into(),
            format!(r#"{{"seek":1,"to":"{h}","via":7}}"#),
            format!(r#"{{"see":1,"near":["{h},1.2.3.4"]}}"#),
            format!(r#"{{"see":1,"near":["{h},1.2.3.4,5,6"]}}"#),
            format!(r#"{{"see":1,"near":["{h},1.2.3.4,65536"]}}"#),
            format!(r#"{{"see":1,"near":[["{h}"]]}}"#),
            format!(r#"{{"see":1,"near":[{}]}}"#, vec![format!("\"{h}\""); 9].join(",")),
            format!(r#"{{"pop":"{h}"}}"#),
            format!(r#"{{"pop":"{h}","at":["localhost:5"]}}"#),
            format!(r#"{{"pop":"{h}","at":[{}]}}"#, [r#""1.2.3.4:5""#; 5].join(",")),
            format!(r#"{{"bridge":"{h}","line":"00"}}"#),
            format!(r#"{{"bridged":"{h}","err":7}}"#),
            format!(r#"{{"bridged":"{h}","line":"{}","rate":1}}"#, &h[..32]),
        ];
        for text in cases {
            assert_eq!(json(&text, b"x"), Err(DropReason::Malformed), "{text}");
        }
        let later = json(&format!(r#"{{"bridged":"{h}","err":"tired"}}"#), b"");
        assert!(matches!(later, Ok(Word::Bridged { grant: Err(No::Refused), .. })), "{later:?}");
    }
}
