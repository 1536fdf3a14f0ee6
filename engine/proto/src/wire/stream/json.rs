//! Stream packets as JSON (PROTOCOL §5.6.6): the same values as the compact forms carry.
//!
//! ```text
//!   DATA   {"stream":4,"seq":0,"stamp":9,"type":"sock","sock":"[::1]:22","p":3,"credit":16384,
//!           "end":true,"short":true} payload
//!   ACK    {"stream":4,"ack":2300,"credit":264444,"stamp":9,"delay":1500,"range":[[3448,4596]]}
//!   RESET  {"stream":4,"err":6,"final":2300,"sending":true,"reading":true,"answer":true,
//!           "reason":"refused"}
//! ```
//!
//! Nothing gets in here that the compact form could not say: every bound of it holds. A key of
//! this list where it means nothing makes a packet malformed, like an unknown flag does; keys
//! that are not of this list are ignored.

use super::varint::VARINT_MAX;
use super::{
    Ack, AckRanges, Data, DataHeader, Echo, OpenInfo, OpenWhat, RANGES_MAX, REASON_MAX, Reset,
    Source, StreamPacket, TARGET_MAX, clip,
};
use crate::base::{DropReason, Priority};
use crate::wire::packet::{Packet, quoted};

/// Which keys mean something in which kind of packet, `stream` apart.
const DATA: &[&str] = &["seq", "stamp", "end", "short", "type"];
const OPEN: &[&str] = &["p", "credit", "sock"];
const ACK: &[&str] = &["ack", "credit", "stamp", "delay", "range"];
const RESET: &[&str] = &["err", "final", "sending", "reading", "answer", "reason"];

impl<'p> StreamPacket<'p> {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// As [`Self::decode`]; a key that is missing, or whose value the compact form could not
    /// carry, is [`DropReason::Malformed`].
    pub fn from_json(packet: &'p Packet<'_>) -> Result<Self, DropReason> {
        let fields = Fields(packet);
        let kinds = ["seq", "ack", "err"].map(|key| packet.get(key).is_some());
        match kinds {
            [true, false, false] => fields.data().map(Self::Data).and_then(Self::checked_end),
            [false, true, false] => fields.ack().map(Self::Ack),
            [false, false, true] => fields.reset().map(Self::Reset),
            [false, false, false] => Err(DropReason::UnknownKind),
            // One packet is one thing.
            _ => Err(DropReason::Malformed),
        }
    }

    /// The JSON form: the text that stands before [`Self::payload`]. It may be longer than a
    /// packet's JSON can be: 32 ranges with positions beyond 10^17 are, and texts full of
    /// control characters.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Data(data) => data.header.to_json(),
            Self::Ack(ack) => ack.to_json(),
            Self::Reset(reset) => reset.to_json(),
        }
    }
}

impl DataHeader<'_> {
    fn to_json(self) -> String {
        let mut out =
            format!(r#"{{"stream":{},"seq":{},"stamp":{}"#, self.id, self.offset, self.stamp);
        if let Some(open) = self.open {
            match open.what {
                OpenWhat::Generic => out.push_str(r#","type":"generic""#),
                OpenWhat::Sock(target) => {
                    out.push_str(r#","type":"sock","sock":"#);
                    out.push_str(&quoted(target));
                }
                OpenWhat::Req => out.push_str(r#","type":"req""#),
            }
            out.push_str(&format!(r#","p":{},"credit":{}"#, open.priority.level(), open.credit));
        }
        push_flag(&mut out, "end", self.fin);
        push_flag(&mut out, "short", self.short);
        out.push('}');
        out
    }
}

impl Ack<'_> {
    fn to_json(self) -> String {
        let mut out =
            format!(r#"{{"stream":{},"ack":{},"credit":{}"#, self.id, self.cumulative, self.credit);
        if let Some(Echo { stamp, delay_us }) = self.echo {
            out.push_str(&format!(r#","stamp":{stamp},"delay":{delay_us}"#));
        }
        let ranges: Vec<_> = self.ranges.iter().map(|(s, e)| format!("[{s},{e}]")).collect();
        if !ranges.is_empty() {
            out.push_str(&format!(r#","range":[{}]"#, ranges.join(",")));
        }
        out.push('}');
        out
    }
}

impl Reset<'_> {
    fn to_json(self) -> String {
        let mut out =
            format!(r#"{{"stream":{},"err":{},"final":{}"#, self.id, self.code, self.final_offset);
        push_flag(&mut out, "sending", self.sending);
        push_flag(&mut out, "reading", self.reading);
        push_flag(&mut out, "answer", self.answer);
        let reason = clip(self.reason);
        if !reason.is_empty() {
            out.push_str(&format!(r#","reason":{}"#, quoted(reason)));
        }
        out.push('}');
        out
    }
}

fn push_flag(out: &mut String, key: &str, flag: bool) {
    if flag {
        out.push_str(&format!(r#","{key}":true"#));
    }
}

/// The keys of one packet, each read as what it must be.
struct Fields<'p, 'a>(&'p Packet<'a>);

impl<'p> Fields<'p, '_> {
    fn data(&self) -> Result<Data<'p>, DropReason> {
        let opens = self.0.get("type").is_some();
        self.only(&[DATA, if opens { OPEN } else { &[] }])?;
        let header = DataHeader {
            id: self.varint("stream")?,
            offset: self.varint("seq")?,
            stamp: self.0.need("stamp")?,
            open: if opens { Some(self.open()?) } else { None },
            fin: self.0.flag("end")?,
            short: self.0.flag("short")?,
        };
        Ok(Data { header, payload: self.0.body })
    }

    fn open(&self) -> Result<OpenInfo<'p>, DropReason> {
        let what = match (self.text("type", usize::MAX)?, self.0.get("sock")) {
            ("generic", None) => OpenWhat::Generic,
            ("req", None) => OpenWhat::Req,
            ("sock", _) => OpenWhat::Sock(self.text("sock", TARGET_MAX)?),
            ("generic" | "req", _) => return Err(DropReason::Malformed),
            _ => return Err(DropReason::UnknownKind),
        };
        if what == OpenWhat::Sock("") {
            return Err(DropReason::Malformed);
        }
        let priority = Priority::new(self.0.need("p")?).ok_or(DropReason::Malformed)?;
        Ok(OpenInfo { what, priority, credit: self.varint("credit")? })
    }

    fn ack(&self) -> Result<Ack<'p>, DropReason> {
        self.only(&[ACK])?;
        self.no_body()?;
        let cumulative = self.varint("ack")?;
        let echo = match (self.0.get("stamp"), self.0.get("delay")) {
            (None, None) => None,
            _ => Some(Echo { stamp: self.0.need("stamp")?, delay_us: self.varint("delay")? }),
        };
        Ok(Ack {
            id: self.varint("stream")?,
            cumulative,
            credit: self.varint("credit")?,
            echo,
            ranges: self.ranges(cumulative)?,
        })
    }

    fn ranges(&self, cumulative: u64) -> Result<AckRanges<'p>, DropReason> {
        if self.0.get("range").is_none() {
            return Ok(AckRanges::EMPTY);
        }
        let pairs = self.0.pairs("range").ok_or(DropReason::Malformed)?;
        let (mut rest, mut count) = (pairs, 0);
        while let Some(((start, end), behind)) = rest.split_first() {
            count += 1;
            if count > RANGES_MAX {
                return Err(DropReason::Oversized);
            }
            if start <= cumulative || end <= start || end > VARINT_MAX {
                return Err(DropReason::Malformed);
            }
            rest = behind;
        }
        Ok(AckRanges(Source::Json(pairs)))
    }

    fn reset(&self) -> Result<Reset<'p>, DropReason> {
        self.only(&[RESET])?;
        self.no_body()?;
        let (sending, reading) = (self.0.flag("sending")?, self.0.flag("reading")?);
        if !sending && !reading {
            return Err(DropReason::Malformed);
        }
        Ok(Reset {
            id: self.varint("stream")?,
            sending,
            reading,
            answer: self.0.flag("answer")?,
            code: self.0.need("err")?,
            final_offset: self.varint("final")?,
            reason: match self.0.get("reason") {
                None => "",
                Some(_) => self.text("reason", REASON_MAX)?,
            },
        })
    }

    /// Refuses keys that mean something elsewhere and nothing here.
    fn only(&self, lists: &[&[&str]]) -> Result<(), DropReason> {
        let stray = |key: &&str| {
            !lists.iter().any(|known| known.contains(key)) && self.0.get(key).is_some()
        };
        if [DATA, OPEN, ACK, RESET].into_iter().flatten().any(stray) {
            return Err(DropReason::Malformed);
        }
        Ok(())
    }

    const fn no_body(&self) -> Result<(), DropReason> {
        if self.0.body.is_empty() { Ok(()) } else { Err(DropReason::Malformed) }
    }

    /// A number that a varint carries.
    fn varint(&self, key: &str) -> Result<u64, DropReason> {
        self.0.number(key).filter(|n| *n <= VARINT_MAX).ok_or(DropReason::Malformed)
    }

    fn text(&self, key: &str, most: usize) -> Result<&'p str, DropReason> {
        let text = self.0.text(key).ok_or(DropReason::Malformed)?;
        if text.len() > most { Err(DropReason::Oversized) } else { Ok(text) }
    }
}
