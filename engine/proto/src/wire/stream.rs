//! Stream packets inside a line (PROTOCOL §5.6): DATA, ACK and RESET.
//!
//! Owns the bytes: reading borrows and checks every length, writing emits into given room, and
//! each format says its exact length beforehand. Never knows streams, windows or time; what
//! the numbers mean is the business of [`crate::switch::streams`].
//!
//! One stream packet fills one sealed packet, so the payload of DATA and the reason of RESET
//! run to the end and carry no length. Every value has exactly one encoding; what is not it is
//! [`DropReason::Malformed`]. The JSON form of the same values is read by
//! [`StreamPacket::from_json`].

mod json;
mod varint;

use bytes::BufMut;

use super::packet::Pairs;
use crate::base::{DropReason, Priority};

use varint::{Reader, put_varint};
pub use varint::{VARINT_MAX, varint_len};

/// First byte of a DATA packet.
pub const KIND_DATA: u8 = 0x10;
/// First byte of an ACK packet.
pub const KIND_ACK: u8 = 0x11;
/// First byte of a RESET packet.
pub const KIND_RESET: u8 = 0x12;

/// Most bytes of a socket target.
pub const TARGET_MAX: usize = 255;
/// Most bytes of a reset's reason.
pub const REASON_MAX: usize = 128;
/// Most selective ranges in one ACK.
pub const RANGES_MAX: usize = 32;
/// Most bytes of a DATA packet before its payload: 1 + 1 + 8 + 8 + 4 + 1 + 8 + 1 + 255.
pub const DATA_HEADER_MAX: usize = 32 + TARGET_MAX;

const DATA_OPEN: u8 = 1;
const DATA_FIN: u8 = 2;
const DATA_SHORT: u8 = 4;
const ACK_ECHO: u8 = 1;
const OPEN_SOCK: u8 = 1;
const OPEN_REQ: u8 = 2;

/// A stream packet of any kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamPacket<'a> {
    /// A piece of a stream, an opening, an end or a probe.
    Data(Data<'a>),
    /// What has arrived and how much more may come.
    Ack(Ack<'a>),
    /// An end that is not in order, or the answer to one.
    Reset(Reset<'a>),
}

/// A DATA packet: its header and the bytes from `header.offset` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Data<'a> {
    /// What stands before the payload.
    pub header: DataHeader<'a>,
    /// Bytes of the stream; may be empty.
    pub payload: &'a [u8],
}

/// A DATA packet without its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataHeader<'a> {
    /// The stream.
    pub id: u64,
    /// Offset of the first payload byte.
    pub offset: u64,
    /// The sender's clock when this packet was made, in microseconds, modulo 2^32.
    pub stamp: u32,
    /// What the stream is for; on every packet until the opener has heard an ACK.
    pub open: Option<OpenInfo<'a>>,
    /// The stream ends after this payload.
    pub fin: bool,
    /// The sender has more, and too little credit for another full packet of it.
    pub short: bool,
}

/// What an opener says of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenInfo<'a> {
    /// What the stream is for.
    pub what: OpenWhat<'a>,
    /// The priority both directions travel with.
    pub priority: Priority,
    /// How many bytes the accepting side may send before it hears an ACK.
    pub credit: u64,
}

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenWhat<'a> {
    /// The application's own.
    Generic,
    /// A TCP connection to this target: 1 to 255 bytes.
    Sock(&'a str),
    /// HTTP requests and their responses.
    Req,
}

/// An ACK packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// The stream.
    pub id: u64,
    /// Everything below has arrived. The end of a stream counts as one position after its last
    /// byte, so an acknowledged end shows as the stream's length plus one.
    pub cumulative: u64,
    /// The stream may be sent up to this offset (its end needs no credit).
    pub credit: u64,
    /// Which packet made this ACK; none if the ACK only gives credit.
    pub echo: Option<Echo>,
    /// What has arrived beyond `cumulative`.
    pub ranges: AckRanges<'a>,
}

/// The packet an ACK answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// The stamp of the newest DATA packet since the last ACK.
    pub stamp: u32,
    /// How long that packet waited for this ACK, in microseconds.
    pub delay_us: u64,
}

/// Up to [`RANGES_MAX`] half-open ranges of positions, in any order.
#[derive(Clone, Copy)]
pub struct AckRanges<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// To be written.
    Runs(&'a [(u64, u64)]),
    /// Read and checked: what is left, and what starts count from.
    Wire(&'a [u8], u64),
    /// Read from JSON and checked: what is left.
    Json(Pairs<'a>),
}

/// A RESET packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset<'a> {
    /// The stream.
    pub id: u64,
    /// The sender's own direction ends at `final_offset`; nothing is sent again.
    pub sending: bool,
    /// The sender reads no more.
    pub reading: bool,
    /// An answer to a RESET or to a packet of an unknown stream; never answered itself.
    pub answer: bool,
    /// Why, as a number.
    pub code: u16,
    /// One past the last byte the sender has ever sent on this stream.
    pub final_offset: u64,
    /// Why, for people: at most [`REASON_MAX`] bytes.
    pub reason: &'a str,
}

impl<'a> StreamPacket<'a> {
    /// Reads one stream packet that fills `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let mut r = Reader::new(bytes);
        match r.u8()? {
            KIND_DATA => DataHeader::decode(&mut r)
                .map(|header| Self::Data(Data { header, payload: r.rest() }))
                .and_then(Self::checked_end),
            KIND_ACK => Ack::decode(&mut r).map(Self::Ack),
            KIND_RESET => Reset::decode(&mut r).map(Self::Reset),
            _ => Err(DropReason::UnknownKind),
        }
    }

    /// Exact length in bytes of the compact form.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.header.len() + data.payload.len(),
            Self::Ack(ack) => ack.len(),
            Self::Reset(reset) => reset.len(),
        }
    }

    /// Never: a packet has at least six bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the compact form, payload and all.
    pub fn emit(&self, out: &mut impl BufMut) {
        match self {
            Self::Data(data) => {
                data.header.emit(out);
                out.put_slice(data.payload);
            }
            Self::Ack(ack) => ack.emit(out),
            Self::Reset(reset) => reset.emit(out),
        }
    }

    /// What follows the JSON form; empty but for DATA.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        match self {
            Self::Data(data) => data.payload,
            Self::Ack(_) | Self::Reset(_) => &[],
        }
    }

    /// A DATA packet must end below the largest position, its end mark included.
    fn checked_end(self) -> Result<Self, DropReason> {
        match self {
            Self::Data(d) if d.end().is_none() => Err(DropReason::LimitBroken),
            other => Ok(other),
        }
    }
}

impl Data<'_> {
    /// One past the last position of this packet: its bytes, and one for the end mark. `None`
    /// if that is beyond what a varint carries.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        let len =
            u64::try_from(self.payload.len()).ok()?.checked_add(u64::from(self.header.fin))?;
        self.header.offset.checked_add(len).filter(|e| *e <= VARINT_MAX)
    }
}

impl<'a> DataHeader<'a> {
    /// Exact length of the header in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        let open = self.open.map_or(0, |o| {
            1 + varint_len(o.credit)
                + match o.what {
                    OpenWhat::Generic | OpenWhat::Req => 0,
                    OpenWhat::Sock(target) => 1 + target.len().min(TARGET_MAX),
                }
        });
        2 + varint_len(self.id) + varint_len(self.offset) + 4 + open
    }

    /// Never: a header has at least eight bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the header; the payload goes behind it.
    pub fn emit(&self, out: &mut impl BufMut) {
        let mut flags = 0;
        if self.open.is_some() {
            flags |= DATA_OPEN;
        }
        if self.fin {
            flags |= DATA_FIN;
        }
        if self.short {
            flags |= DATA_SHORT;
        }
        out.put_u8(KIND_DATA);
        out.put_u8(flags);
        put_varint(out, self.id);
        put_varint(out, self.offset);
        out.put_u32(self.stamp);
        let Some(open) = self.open else { return };
        let level = open.priority.level() << 4;
        match open.what {
            OpenWhat::Generic => {
                out.put_u8(level);
                put_varint(out, open.credit);
            }
            OpenWhat::Req => {
                out.put_u8(level | OPEN_REQ);
                put_varint(out, open.credit);
            }
            OpenWhat::Sock(target) => {
                out.put_u8(level | OPEN_SOCK);
                put_varint(out, open.credit);
                let target = target.as_bytes();
                let target = target.get(..TARGET_MAX).unwrap_or(target);
                out.put_u8(u8::try_from(target.len()).unwrap_or(u8::MAX));
                out.put_slice(target);
            }
        }
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, DropReason> {
        let flags = r.u8()?;
        if flags & !(DATA_OPEN | DATA_FIN | DATA_SHORT) != 0 {
            return Err(DropReason::Malformed);
        }
        Ok(Self {
            id: r.varint()?,
            offset: r.varint()?,
            stamp: r.u32()?,
            open: if flags & DATA_OPEN == 0 { None } else { Some(OpenInfo::decode(r)?) },
            fin: flags & DATA_FIN != 0,
            short: flags & DATA_SHORT != 0,
        })
    }
}

impl<'a> OpenInfo<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DropReason> {
        let first = r.u8()?;
        if first & 0x80 != 0 {
            return Err(DropReason::Malformed);
        }
        let credit = r.varint()?;
        let what = match first & 0x0f {
            0 => OpenWhat::Generic,
            OPEN_SOCK => {
                let len = usize::from(r.u8()?);
                if len == 0 {
                    return Err(DropReason::Malformed);
                }
                let target = core::str::from_utf8(r.take(len)?);
                OpenWhat::Sock(target.map_err(|_| DropReason::Malformed)?)
            }
            OPEN_REQ => OpenWhat::Req,
            _ => return Err(DropReason::UnknownKind),
        };
        Ok(Self { what, priority: Priority::from_low_bits(first >> 4), credit })
    }
}

impl<'a> Ack<'a> {
    /// Exact length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len_without_ranges() + self.ranges.iter().map(|r| self.range_len(r)).sum::<usize>()
    }

    /// Never: an ACK has at least six bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Exact length in bytes of this ACK if it had no ranges.
    #[must_use]
    pub fn len_without_ranges(&self) -> usize {
        let echo = self.echo.map_or(0, |e| 4 + varint_len(e.delay_us));
        3 + varint_len(self.id) + varint_len(self.cumulative) + varint_len(self.credit) + echo
    }

    /// Exact length in bytes that `range` takes within this ACK.
    #[must_use]
    pub fn range_len(&self, (start, end): (u64, u64)) -> usize {
        varint_len(start.saturating_sub(self.cumulative)) + varint_len(end.saturating_sub(start))
    }

    /// Writes the packet. Every range must be non-empty and begin beyond `cumulative`.
    pub fn emit(&self, out: &mut impl BufMut) {
        out.put_u8(KIND_ACK);
        out.put_u8(if self.echo.is_some() { ACK_ECHO } else { 0 });
        put_varint(out, self.id);
        put_varint(out, self.cumulative);
        put_varint(out, self.credit);
        if let Some(echo) = self.echo {
            out.put_u32(echo.stamp);
            put_varint(out, echo.delay_us);
        }
        out.put_u8(u8::try_from(self.ranges.iter().count()).unwrap_or(u8::MAX));
        for (start, end) in self.ranges.iter() {
            put_varint(out, start.saturating_sub(self.cumulative));
            put_varint(out, end.saturating_sub(start));
        }
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, DropReason> {
        let flags = r.u8()?;
        if flags & !ACK_ECHO != 0 {
            return Err(DropReason::Malformed);
        }
        let (id, cumulative, credit) = (r.varint()?, r.varint()?, r.varint()?);
        let echo = if flags & ACK_ECHO == 0 {
            None
        } else {
            Some(Echo { stamp: r.u32()?, delay_us: r.varint()? })
        };
        let count = usize::from(r.u8()?);
        if count > RANGES_MAX {
            return Err(DropReason::Oversized);
        }
        let ranges = AckRanges(Source::Wire(r.rest(), cumulative));
        for _ in 0..count {
            let (ahead, len) = (r.varint()?, r.varint()?);
            let end = cumulative.saturating_add(ahead).saturating_add(len);
            if ahead == 0 || len == 0 || end > VARINT_MAX {
                return Err(DropReason::Malformed);
            }
        }
        r.end()?;
        Ok(Self { id, cumulative, credit, echo, ranges })
    }
}

impl<'a> AckRanges<'a> {
    /// No ranges.
    pub const EMPTY: Self = Self(Source::Runs(&[]));

    /// The first [`RANGES_MAX`] of `runs`, each (first position, one past the last).
    #[must_use]
    pub fn new(runs: &'a [(u64, u64)]) -> Self {
        Self(Source::Runs(runs.get(..RANGES_MAX).unwrap_or(runs)))
    }

    /// The ranges as (first position, one past the last).
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + 'a {
        let mut source = self.0;
        core::iter::from_fn(move || source.next())
    }
}

impl Source<'_> {
    fn next(&mut self) -> Option<(u64, u64)> {
        match self {
            Self::Runs(runs) => {
                let (first, rest) = runs.split_first()?;
                *runs = rest;
                Some(*first)
            }
            Self::Wire(bytes, base) => {
                let mut r = Reader::new(bytes);
                let start = base.saturating_add(r.varint().ok()?);
                let end = start.saturating_add(r.varint().ok()?);
                *bytes = r.rest();
                Some((start, end))
            }
            Self::Json(pairs) => {
                let (first, rest) = pairs.split_first()?;
                *pairs = rest;
                Some(first)
            }
        }
    }
}

impl PartialEq for AckRanges<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for AckRanges<'_> {}

impl core::fmt::Debug for AckRanges<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

const RESET_SENDING: u8 = 1;
const RESET_READING: u8 = 2;
const RESET_ANSWER: u8 = 4;

impl<'a> Reset<'a> {
    /// Exact length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        4 + varint_len(self.id) + varint_len(self.final_offset) + clip(self.reason).len()
    }

    /// Never: a RESET has at least six bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the packet; a reason that is too long is cut at a character.
    pub fn emit(&self, out: &mut impl BufMut) {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out.put_u8(KIND_RESET);
        out.put_u8(
            flag(self.sending, RESET_SENDING)
                | flag(self.reading, RESET_READING)
                | flag(self.answer, RESET_ANSWER),
        );
        put_varint(out, self.id);
        out.put_u16(self.code);
        put_varint(out, self.final_offset);
        out.put_slice(clip(self.reason).as_bytes());
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, DropReason> {
        let flags = r.u8()?;
        let scope = flags & (RESET_SENDING | RESET_READING);
        if flags & !(RESET_SENDING | RESET_READING | RESET_ANSWER) != 0 || scope == 0 {
            return Err(DropReason::Malformed);
        }
        let (id, code, final_offset) = (r.varint()?, r.u16()?, r.varint()?);
        if r.rest().len() > REASON_MAX {
            return Err(DropReason::Oversized);
        }
        let reason = core::str::from_utf8(r.rest()).map_err(|_| DropReason::Malformed)?;
        Ok(Self {
            id,
            sending: flags & RESET_SENDING != 0,
            reading: flags & RESET_READING != 0,
            answer: flags & RESET_ANSWER != 0,
            code,
            final_offset,
            reason,
        })
    }
}

/// The longest start of `reason` that fits a RESET and ends at a character.
#[must_use]
pub fn clip(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or("")
}
