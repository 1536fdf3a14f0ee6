//! The envelope: what a message says of itself, in front of its record (PROTOCOL §6.7).
//!
//! ```text
//!   0 version u8   1 flags u8   2 record id   then namespace, target, correlation, record
//!   record id    0 u64  |  1 len text  |  2 uuid (16)
//!   namespace    len u8, 1 to 64 bytes; the target alike, if there is one
//!   correlation  u64, if there is one: the number of the message this answers
//! ```
//!
//! Sender, receiver, priority, time to live, message id and sequence are not here: they are what
//! carries the message, and whoever carries it has proved or checked them already. The record is
//! opaque. At most [`ENVELOPE_MAX`] bytes, held without allocation.

use crate::base::names::{NAME_MAX, RecordText};
use crate::base::{DropReason, Namespace, RecordId};

/// Bytes of the longest envelope.
pub const ENVELOPE_MAX: usize = 2 + 3 * (2 + NAME_MAX) + 8;

const VERSION: u8 = 1;
const WANTS_REPLY: u8 = 1;
const REPLY: u8 = 2;
const LOCAL: u8 = 4;
const TRACE: u8 = 8;
const TARGET: u8 = 16;
const CORRELATION: u8 = 32;
const KNOWN: u8 = WANTS_REPLY | REPLY | LOCAL | TRACE | TARGET | CORRELATION;

const INTEGER: u8 = 0;
const TEXT: u8 = 1;
const UUID: u8 = 2;

/// What kind of message it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Wants no answer.
    Notice,
    /// Wants an answer, which names this message's id.
    Request,
    /// Answers the message of this id.
    Reply(u64),
}

/// What a message says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// What kind of message.
    pub kind: Kind,
    /// Never leaves the node it was sent at.
    pub local: bool,
    /// The sender wants to be told when it was handed over.
    pub trace: bool,
    /// Which kind of record it carries.
    pub record: RecordId,
    /// Where at the receiver it goes.
    pub namespace: Namespace,
    /// To whom there.
    pub target: Option<Namespace>,
}

impl Envelope {
    /// A notice of a record to a namespace, with nothing special about it.
    #[must_use]
    pub const fn new(namespace: Namespace, record: RecordId) -> Self {
        Self { kind: Kind::Notice, local: false, trace: false, record, namespace, target: None }
    }

    /// Reads an envelope and says where the record behind it begins.
    ///
    /// # Errors
    /// `Truncated`, `UnknownKind` for another version or kind of id, `Malformed` for unknown or
    /// contradictory flags and names that are none.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), DropReason> {
        let &[version, flags, kind, ref rest @ ..] = bytes else {
            return Err(DropReason::Truncated);
        };
        if version != VERSION {
            return Err(DropReason::UnknownKind);
        }
        if flags & !KNOWN != 0 {
            return Err(DropReason::Malformed);
        }
        let mut rest = rest;
        let record = match kind {
            INTEGER => RecordId::Integer(u64::from_be_bytes(take(&mut rest)?)),
            TEXT => {
                let text = RecordText::from_bytes(counted(&mut rest)?);
                RecordId::Text(text.map_err(|_| DropReason::Malformed)?)
            }
            UUID => RecordId::Uuid(take(&mut rest)?),
            _ => return Err(DropReason::UnknownKind),
        };
        let namespace = name(&mut rest)?;
        let target = (flags & TARGET != 0).then(|| name(&mut rest)).transpose()?;
        let correlation = (flags & CORRELATION != 0).then(|| take(&mut rest)).transpose()?;
        let kind = kind_of(flags, correlation.map(u64::from_be_bytes))?;
        let (local, trace) = (flags & LOCAL != 0, flags & TRACE != 0);
        let envelope = Self { kind, local, trace, record, namespace, target };
        Ok((envelope, bytes.len() - rest.len()))
    }

    /// Writes it. The record follows.
    pub fn emit(&self, out: &mut impl bytes::BufMut) {
        let kind = match self.kind {
            Kind::Notice => 0,
            Kind::Request => WANTS_REPLY,
            Kind::Reply(_) => REPLY | CORRELATION,
        };
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = kind
            | flag(self.local, LOCAL)
            | flag(self.trace, TRACE)
            | flag(self.target.is_some(), TARGET);
        out.put_slice(&[VERSION, flags]);
        match &self.record {
            RecordId::Integer(n) => {
                out.put_u8(INTEGER);
                out.put_u64(*n);
            }
            RecordId::Text(text) => {
                out.put_u8(TEXT);
                put_counted(text.as_bytes(), out);
            }
            RecordId::Uuid(bytes) => {
                out.put_u8(UUID);
                out.put_slice(bytes);
            }
        }
        put_counted(self.namespace.as_bytes(), out);
        if let Some(target) = &self.target {
            put_counted(target.as_bytes(), out);
        }
        if let Kind::Reply(id) = self.kind {
            out.put_u64(id);
        }
    }
}

/// An envelope where it lies: checked like [`Envelope::parse`] does, and nothing copied. For most
/// messages it is looked at once, to find who takes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance<'a> {
    /// What kind of message.
    pub kind: Kind,
    /// Never leaves the node it was sent at.
    pub local: bool,
    /// The sender wants to be told when it was handed over.
    pub trace: bool,
    /// Where at the receiver it goes.
    pub namespace: &'a [u8],
    /// To whom there.
    pub target: Option<&'a [u8]>,
    /// Bytes of the envelope: the record begins there.
    pub length: usize,
}

impl<'a> Glance<'a> {
    /// Reads an envelope.
    ///
    /// # Errors
    /// As [`Envelope::parse`], and exactly then.
    pub fn at(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let &[version, flags, kind, ref rest @ ..] = bytes else {
            return Err(DropReason::Truncated);
        };
        if version != VERSION {
            return Err(DropReason::UnknownKind);
        }
        if flags & !KNOWN != 0 {
            return Err(DropReason::Malformed);
        }
        let mut rest = rest;
        match kind {
            INTEGER => {
                take::<8>(&mut rest)?;
            }
            TEXT => {
                bounded(counted(&mut rest)?, u8::is_ascii_graphic)?;
            }
            UUID => {
                take::<16>(&mut rest)?;
            }
            _ => return Err(DropReason::UnknownKind),
        }
        let namespace = bounded(counted(&mut rest)?, Namespace::allows)?;
        let target = if flags & TARGET == 0 {
            None
        } else {
            Some(bounded(counted(&mut rest)?, Namespace::allows)?)
        };
        let correlation = if flags & CORRELATION == 0 {
            None
        } else {
            Some(u64::from_be_bytes(take(&mut rest)?))
        };
        let kind = kind_of(flags, correlation)?;
        let (local, trace) = (flags & LOCAL != 0, flags & TRACE != 0);
        Ok(Self { kind, local, trace, namespace, target, length: bytes.len() - rest.len() })
    }
}

fn kind_of(flags: u8, correlation: Option<u64>) -> Result<Kind, DropReason> {
    match (flags & (WANTS_REPLY | REPLY), correlation) {
        (0, None) => Ok(Kind::Notice),
        (WANTS_REPLY, None) => Ok(Kind::Request),
        (REPLY, Some(id)) => Ok(Kind::Reply(id)),
        _ => Err(DropReason::Malformed),
    }
}

/// A name or a text as it lies, if it is one.
fn bounded(text: &[u8], allows: impl Fn(&u8) -> bool) -> Result<&[u8], DropReason> {
    let fine = !text.is_empty() && text.len() <= NAME_MAX && text.iter().all(allows);
    if fine { Ok(text) } else { Err(DropReason::Malformed) }
}

/// Names and texts have at most 64 bytes.
fn put_counted(bytes: &[u8], out: &mut impl bytes::BufMut) {
    out.put_u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.put_slice(bytes);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DropReason> {
    let (taken, after) = rest.split_first_chunk().ok_or(DropReason::Truncated)?;
    *rest = after;
    Ok(*taken)
}

fn counted<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DropReason> {
    let [length] = take(rest)?;
    let (taken, after) = rest.split_at_checked(usize::from(length)).ok_or(DropReason::Truncated)?;
    *rest = after;
    Ok(taken)
}

fn name(rest: &mut &[u8]) -> Result<Namespace, DropReason> {
    Namespace::from_bytes(counted(rest)?).map_err(|_| DropReason::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(envelope: &Envelope) -> Vec<u8> {
        let mut out = Vec::new();
        envelope.emit(&mut out);
        out
    }

    fn ns(name: &str) -> Namespace {
        Namespace::new(name).unwrap()
    }

    #[test]
    fn n21_flags_that_contradict_each_other_are_refused() {
        let request = Envelope { kind: Kind::Request, ..Envelope::new(ns("a"), 7u64.into()) };
        let good = written(&request);
        assert_eq!(Envelope::parse(&good), Ok((request, good.len())));
        for flags in [WANTS_REPLY | REPLY, REPLY, CORRELATION, WANTS_REPLY | CORRELATION, 64, 128] {
            let mut wrong = [&good[..], &[1; 100]].concat();
            wrong[1] = flags;
            assert_eq!(Envelope::parse(&wrong), Err(DropReason::Malformed), "{flags}");
        }
        for (at, value) in [(0, 2), (2, 3)] {
            let mut wrong = good.clone();
            wrong[at] = value;
            assert_eq!(Envelope::parse(&wrong), Err(DropReason::UnknownKind), "{at}");
        }
    }

    #[test]
    fn n21_the_longest_envelope_fits_its_bound_and_is_cut_nowhere() {
        let longest = ns(&"x".repeat(64));
        let envelope = Envelope {
            kind: Kind::Reply(u64::MAX),
            local: true,
            trace: true,
            record: RecordId::text(&"y".repeat(64)).unwrap(),
            namespace: longest,
            target: Some(longest),
        };
        let bytes = written(&envelope);
        assert!(bytes.len() <= ENVELOPE_MAX, "{}", bytes.len());
        for cut in 0..bytes.len() {
            assert_eq!(Envelope::parse(&bytes[..cut]), Err(DropReason::Truncated), "{cut}");
        }
    }

    fn any_envelope() -> impl Strategy<Value = Envelope> {
        let name = || "[A-Za-z0-9._-]{1,64}".prop_map(|n| ns(&n));
        let record = prop_oneof![
            any::<u64>().prop_map(RecordId::Integer),
            any::<[u8; 16]>().prop_map(RecordId::Uuid),
            "[!-~]{1,64}".prop_map(|t| RecordId::text(&t).unwrap()),
        ];
        let kind = prop_oneof![
            Just(Kind::Notice),
            Just(Kind::Request),
            any::<u64>().prop_map(Kind::Reply),
        ];
        (kind, any::<bool>(), any::<bool>(), record, name(), prop::option::of(name())).prop_map(
            |(kind, local, trace, record, namespace, target)| Envelope {
                kind,
                local,
                trace,
                record,
                namespace,
                target,
            },
        )
    }

    proptest! {
        #[test]
        fn n4_every_envelope_reads_back_with_its_record_behind_it(
            envelope in any_envelope(), record in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let mut bytes = written(&envelope);
            let head = bytes.len();
            bytes.extend_from_slice(&record);
            prop_assert_eq!(Envelope::parse(&bytes), Ok((envelope, head)));
            let seen = Glance::at(&bytes).unwrap();
            prop_assert_eq!(seen.namespace, envelope.namespace.as_bytes());
            prop_assert_eq!(seen.target, envelope.target.as_ref().map(Namespace::as_bytes));
        }

        #[test]
        fn n5_any_bytes_are_an_envelope_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..250)) {
            let glance = Glance::at(&bytes);
            match Envelope::parse(&bytes) {
                Ok((envelope, head)) => {
                    prop_assert_eq!(&written(&envelope)[..], &bytes[..head]);
                    let seen = glance.unwrap();
                    prop_assert_eq!(
                        (seen.kind, seen.local, seen.trace, seen.length),
                        (envelope.kind, envelope.local, envelope.trace, head)
                    );
                }
                Err(reason) => prop_assert_eq!(glance, Err(reason)),
            }
        }
    }
}
