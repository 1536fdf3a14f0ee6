//! Packing: a message to bytes and back, by the builders its sequence names (PROTOCOL §6.6).
//!
//! *M* is the envelope and the record written one after the other, *A* the line; between them
//! stand the builders of a [`Registry`]. A packed body says in front which builders made it, so
//! that inside a line the letters are sealed with it:
//!
//! ```text
//!   count u8   letters   what the builders made of (envelope, record)
//! ```
//!
//! Packing by *M* alone copies no record: the head is written once, the record follows it from
//! where it lies. Unpacking is done under a cap, whatever a body claims, and undoes only letters
//! that were checked before. Knows no peers and sends nothing; [`choice`] says which sequence.

pub mod choice;
mod compress;
mod pad;

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::wire::envelope::{ENVELOPE_MAX, Envelope};
use crate::wire::package::Code;
use crate::wire::sequence::{Builders, LETTERS, NotASequence, Sequence};

pub use compress::Compress;
pub use pad::Pad;

/// Bytes in front of what the builders made, at most.
pub const HEAD_MAX: usize = 1 + LETTERS;

/// What a builder did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Built {
    /// The output is to be used; its letter goes into the sequence.
    Kept,
    /// It would not help: the input is to be used, without the letter.
    Skipped,
}

/// One way to turn bytes into others and back. Registered under a letter.
pub trait Builder: core::fmt::Debug + Send + Sync {
    /// The letter it goes by, A to Z, but neither M nor A.
    fn letter(&self) -> u8;

    /// Where in a sequence it stands: letters of a sequence rise in rank. Z has 64, P 128.
    fn rank(&self) -> u8;

    /// Whether a receiver can insist on it. A builder that may skip its work cannot be one.
    fn protects(&self) -> bool;

    /// Appends the packed form of `input` to `out`, which is empty.
    fn pack(&self, input: &[u8], out: &mut BytesMut) -> Built;

    /// Appends what `input` was to `out`, which is empty: at most `most` bytes, and no more
    /// memory than a few times that, whatever `input` claims.
    ///
    /// # Errors
    /// [`Unpackable`].
    fn unpack(&self, input: &[u8], most: usize, out: &mut BytesMut) -> Result<(), Unpackable>;
}

/// Why a body could not be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unpackable {
    /// Shorter than it says, or not what its builder makes.
    #[error("its bytes are not what its builder makes")]
    Broken,
    /// Its letters are no sequence, or in an order that makes no sense.
    #[error("its letters are no sequence")]
    Letters,
    /// Its letters are not those of the header, or say A outside of a line, or do not inside.
    #[error("its letters are not those it came under")]
    Mismatch,
    /// A builder this node does not have.
    #[error("this node has no builder {}", char::from(*.0))]
    Unknown(u8),
    /// More than this node takes.
    #[error("it unpacks to more than this node takes")]
    TooLarge,
}

impl Unpackable {
    /// What its sender is told.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::TooLarge => Code::TooLarge,
            _ => Code::CannotUnpack,
        }
    }
}

/// Why a sequence cannot be used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPackable {
    /// Its letters are no sequence.
    #[error(transparent)]
    Form(#[from] NotASequence),
    /// A builder this node does not have.
    #[error("this node has no builder {}", char::from(*.0))]
    Unknown(u8),
    /// In this order one builder undoes what the other is for.
    #[error("{} makes no sense behind {}", char::from(*.1), char::from(*.0))]
    Order(u8, u8),
}

/// Why a builder is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRegistered {
    /// Not A to Z, or one of the two that every node has.
    #[error("a builder is named by a letter other than M and A")]
    Letter,
    /// Another one has the letter.
    #[error("the letter {} is taken", char::from(*.0))]
    Taken(u8),
}

/// How a body came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Came {
    /// Inside a line.
    Sealed,
    /// In a package whose header had these letters.
    Plain(Sequence),
}

/// A packed message: `head`, then `body`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// What stands in front.
    pub head: Bytes,
    /// What follows.
    pub body: Bytes,
    /// The letters it says.
    pub sequence: Sequence,
}

/// The builders a node has.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// By letter.
    builders: [Option<Arc<dyn Builder>>; 26],
}

const fn index(letter: u8) -> usize {
    letter.wrapping_sub(b'A') as usize
}

impl Registry {
    /// M, A and Z, and the example P.
    #[must_use]
    pub fn standard() -> Self {
        let mut registry = Self::default();
        let standard: [Arc<dyn Builder>; 2] = [Arc::new(Compress), Arc::new(Pad)];
        for builder in standard {
            if let Some(place) = registry.builders.get_mut(index(builder.letter())) {
                *place = Some(builder);
            }
        }
        registry
    }

    /// Adds a builder.
    ///
    /// # Errors
    /// [`NotRegistered`].
    pub fn register(&mut self, builder: Arc<dyn Builder>) -> Result<(), NotRegistered> {
        let letter = builder.letter();
        if !letter.is_ascii_uppercase() || matches!(letter, b'M' | b'A') {
            return Err(NotRegistered::Letter);
        }
        let place = self.builders.get_mut(index(letter)).ok_or(NotRegistered::Letter)?;
        if place.is_some() {
            return Err(NotRegistered::Taken(letter));
        }
        *place = Some(builder);
        Ok(())
    }

    fn get(&self, letter: u8) -> Option<&Arc<dyn Builder>> {
        self.builders.get(index(letter))?.as_ref()
    }

    /// The builders there are, M and A among them.
    #[must_use]
    pub fn letters(&self) -> Builders {
        let all = self.builders.iter().flatten().map(|b| b.letter());
        all.fold(Sequence::MA.builders(), Builders::with)
    }

    /// Those a receiver can insist on.
    #[must_use]
    pub fn protecting(&self) -> Builders {
        let all = self.builders.iter().flatten().filter(|b| b.protects());
        all.map(|b| b.letter()).fold(Builders::NONE.with(b'A'), Builders::with)
    }

    fn rank(&self, letter: u8) -> Option<u16> {
        match letter {
            b'M' => Some(0),
            b'A' => Some(u16::MAX),
            _ => self.get(letter).map(|b| u16::from(b.rank()) + 1),
        }
    }

    /// This sequence, if it is one, of builders there are, in an order that makes sense.
    ///
    /// # Errors
    /// [`NotPackable`].
    pub fn judge(&self, sequence: Sequence) -> Result<Sequence, NotPackable> {
        let sequence = sequence.check()?;
        let mut last: Option<(u8, u16)> = None;
        for letter in sequence.letters() {
            let rank = self.rank(*letter).ok_or(NotPackable::Unknown(*letter))?;
            if let Some((before, _)) = last.filter(|(_, r)| *r >= rank) {
                return Err(NotPackable::Order(before, *letter));
            }
            last = Some((*letter, rank));
        }
        Ok(sequence)
    }

    /// The sequence of all these builders, in the order that makes sense; none if one is missing
    /// or they are too many.
    #[must_use]
    pub fn sequence_of(&self, builders: Builders) -> Option<Sequence> {
        let ranked = builders.letters().map(|l| Some((self.rank(l)?, l)));
        let mut ranked: Vec<(u16, u8)> = ranked.collect::<Option<_>>()?;
        ranked.sort_unstable();
        let letters: Vec<u8> = ranked.into_iter().map(|(_, letter)| letter).collect();
        Sequence::of(&letters).ok()
    }

    /// Whether nothing but *M* and *A* is in a sequence, so that [`head`] is all there is to do.
    #[must_use]
    pub fn is_bare(sequence: Sequence) -> bool {
        Sequence::MA.builders().covers(sequence.builders())
    }

    /// Packs a message. A builder that does not help, or that this node lacks, is left out, and so
    /// is its letter: whether it may be, was decided with the sequence.
    #[must_use]
    pub fn pack(&self, sequence: Sequence, envelope: &Envelope, record: &Bytes) -> Packed {
        if Self::is_bare(sequence) {
            return Packed { head: head(sequence, envelope), body: record.clone(), sequence };
        }
        let mut body = BytesMut::with_capacity(ENVELOPE_MAX + record.len());
        envelope.emit(&mut body);
        body.put_slice(record);
        let mut kept = sequence;
        for letter in sequence.letters().iter().filter(|l| !matches!(l, b'M' | b'A')) {
            let mut out = BytesMut::new();
            match self.get(*letter).map(|b| b.pack(&body, &mut out)) {
                Some(Built::Kept) => body = out,
                Some(Built::Skipped) | None => kept = kept.without(*letter),
            }
        }
        let mut head = BytesMut::with_capacity(HEAD_MAX);
        put_letters(kept, &mut head);
        Packed { head: head.freeze(), body: body.freeze(), sequence: kept }
    }

    /// Unpacks a body: its letters, and envelope and record as they were written.
    ///
    /// # Errors
    /// [`Unpackable`].
    pub fn unpack(
        &self,
        mut body: Bytes,
        came: Came,
        most: usize,
    ) -> Result<(Sequence, Bytes), Unpackable> {
        let (&count, rest) = body.split_first().ok_or(Unpackable::Broken)?;
        let count = usize::from(count);
        if count > LETTERS {
            return Err(Unpackable::Letters);
        }
        let letters = rest.get(..count).ok_or(Unpackable::Broken)?;
        let sequence = Sequence::of(letters).map_err(|_| Unpackable::Letters)?;
        body.advance(1 + count);
        let fits = match came {
            Came::Sealed => sequence.is_sealed(),
            Came::Plain(header) => header == sequence && !sequence.is_sealed(),
        };
        if !fits {
            return Err(Unpackable::Mismatch);
        }
        self.judge(sequence).map_err(|why| match why {
            NotPackable::Unknown(letter) => Unpackable::Unknown(letter),
            NotPackable::Form(_) | NotPackable::Order(..) => Unpackable::Letters,
        })?;
        let mut bytes = body;
        for letter in sequence.letters().iter().rev().filter(|l| !matches!(l, b'M' | b'A')) {
            let builder = self.get(*letter).ok_or(Unpackable::Unknown(*letter))?;
            let mut out = BytesMut::new();
            builder.unpack(&bytes, most, &mut out)?;
            bytes = out.freeze();
        }
        if bytes.len() > most {
            return Err(Unpackable::TooLarge);
        }
        Ok((sequence, bytes))
    }
}

/// What stands in front of a record that is packed by *M*, or by *M* and the line.
#[must_use]
pub fn head(sequence: Sequence, envelope: &Envelope) -> Bytes {
    let mut head = BytesMut::with_capacity(HEAD_MAX + ENVELOPE_MAX);
    put_letters(sequence, &mut head);
    envelope.emit(&mut head);
    head.freeze()
}

fn put_letters(sequence: Sequence, out: &mut BytesMut) {
    let letters = sequence.letters();
    out.put_u8(u8::try_from(letters.len()).unwrap_or(0));
    out.put_slice(letters);
}

/// A length in front of what a builder makes.
fn put_length(length: usize, out: &mut BytesMut) {
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

fn take_length(input: &[u8]) -> Result<(usize, &[u8]), Unpackable> {
    let (length, rest) = input.split_first_chunk::<4>().ok_or(Unpackable::Broken)?;
    Ok((u32::from_be_bytes(*length) as usize, rest))
}

#[cfg(test)]
mod tests;
