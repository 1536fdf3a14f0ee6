//! Builder sequences: which builders packed a body, as letters in the order of application
//! (PROTOCOL §6.6).
//!
//! *M* writes a message to bytes, so it begins every sequence; *A* is the line between sender and
//! receiver, so nothing follows it. *Z* compresses. Other letters are those of builders that a
//! node has besides. A [`Sequence`] read from a header is only four bytes until
//! [`Sequence::check`] has looked at it.

use core::fmt;
use core::str::FromStr;

/// Most letters of a sequence.
pub const LETTERS: usize = 4;

/// The builders applied to a body, as letters in the order of application, zero-padded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sequence(pub [u8; LETTERS]);

/// Why letters are no sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotASequence {
    /// None, or too many.
    #[error("a sequence has 1 to 4 letters")]
    Length,
    /// Not A to Z, or something behind the end.
    #[error("builders are named by the letters A to Z")]
    Letter,
    /// Nothing else makes bytes of a message.
    #[error("a sequence begins with M: nothing else makes bytes of a message")]
    First,
    /// Twice the same.
    #[error("no builder is applied twice")]
    Twice,
    /// What is sealed cannot be packed further.
    #[error("A comes last: what is sealed is not packed further")]
    Last,
}

impl Sequence {
    /// Only written to bytes.
    pub const M: Self = Self(*b"M\0\0\0");
    /// Written to bytes and sealed.
    pub const MA: Self = Self(*b"MA\0\0");
    /// Written to bytes and compressed.
    pub const MZ: Self = Self(*b"MZ\0\0");
    /// Written to bytes, compressed and sealed.
    pub const MZA: Self = Self(*b"MZA\0");

    /// The sequence of these letters.
    ///
    /// # Errors
    /// [`NotASequence`].
    pub fn of(letters: &[u8]) -> Result<Self, NotASequence> {
        let mut held = [0; LETTERS];
        held.get_mut(..letters.len()).ok_or(NotASequence::Length)?.copy_from_slice(letters);
        if letters.contains(&0) {
            return Err(NotASequence::Letter);
        }
        Self(held).check()
    }

    /// This sequence, if it is one: *M* first, *A* last, no letter twice, nothing behind the end.
    ///
    /// # Errors
    /// [`NotASequence`].
    pub fn check(self) -> Result<Self, NotASequence> {
        let letters = self.letters();
        if letters.is_empty() {
            return Err(NotASequence::Length);
        }
        let rest = self.0.get(letters.len()..).unwrap_or_default();
        if !letters.iter().all(u8::is_ascii_uppercase) || rest.iter().any(|b| *b != 0) {
            return Err(NotASequence::Letter);
        }
        if letters.first() != Some(&b'M') {
            return Err(NotASequence::First);
        }
        let mut seen = Builders::NONE;
        for letter in letters {
            if seen.has(*letter) {
                return Err(NotASequence::Twice);
            }
            seen = seen.with(*letter);
        }
        if self.has(b'A') && letters.last() != Some(&b'A') {
            return Err(NotASequence::Last);
        }
        Ok(self)
    }

    /// The letters, in the order of application.
    #[must_use]
    pub fn letters(&self) -> &[u8] {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(LETTERS);
        self.0.get(..end).unwrap_or_default()
    }

    /// Whether a builder is part of it.
    #[must_use]
    pub fn has(&self, letter: u8) -> bool {
        self.letters().contains(&letter)
    }

    /// Whether it ends in the line between sender and receiver.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.has(b'A')
    }

    /// The same without one builder.
    #[must_use]
    pub fn without(&self, letter: u8) -> Self {
        let mut out = [0; LETTERS];
        let kept = self.letters().iter().filter(|l| **l != letter);
        out.iter_mut().zip(kept).for_each(|(o, l)| *o = *l);
        Self(out)
    }

    /// Its letters as a set.
    #[must_use]
    pub fn builders(&self) -> Builders {
        self.letters().iter().fold(Builders::NONE, |all, letter| all.with(*letter))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letters().iter().try_for_each(|l| write!(f, "{}", l.escape_ascii()))
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sequence {
    type Err = NotASequence;
    fn from_str(s: &str) -> Result<Self, NotASequence> {
        Self::of(s.as_bytes())
    }
}

/// A set of builders: bit 0 is A, bit 25 is Z.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Builders(pub u32);

impl Builders {
    /// No builder.
    pub const NONE: Self = Self(0);
    /// What every node has: M, Z and A.
    pub const BASIC: Self = Self(1 << 12 | 1 << 25 | 1);
    /// Every letter there is.
    pub const ALL: Self = Self((1 << 26) - 1);

    /// This set and one builder more. What is no letter adds nothing.
    #[must_use]
    pub const fn with(self, letter: u8) -> Self {
        match letter {
            b'A'..=b'Z' => Self(self.0 | 1 << (letter - b'A')),
            _ => self,
        }
    }

    /// Whether a builder is in it.
    #[must_use]
    pub const fn has(self, letter: u8) -> bool {
        letter.is_ascii_uppercase() && self.0 & (1 << (letter.wrapping_sub(b'A') & 31)) != 0
    }

    /// Whether everything of another set is in it.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in it and not in another.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The letters, ascending.
    pub fn letters(self) -> impl Iterator<Item = u8> {
        (b'A'..=b'Z').filter(move |letter| self.has(*letter))
    }
}

/// How a node packs and what it takes, as it announces it to all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackTerms {
    /// What it can unpack.
    pub builders: Builders,
    /// How it likes to be sent to, where the sender has nothing else to go by.
    pub preferred: Sequence,
    /// What it takes must be packed by all of these.
    pub least: Sequence,
}

impl PackTerms {
    /// Of a node that says nothing: what every node has, and no wishes.
    pub const BASIC: Self =
        Self { builders: Builders::BASIC, preferred: Sequence::M, least: Sequence::M };

    /// Whether it makes sense: both sequences are such and of builders it has.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let sound = |s: Sequence| s.check().is_ok() && self.builders.covers(s.builders());
        Builders::ALL.covers(self.builders)
            && self.builders.covers(Sequence::MA.builders())
            && sound(self.preferred)
            && sound(self.least)
    }
}

impl Default for PackTerms {
    fn default() -> Self {
        Self::BASIC
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn n14_any_order_that_makes_sense_and_no_nonsense() {
        for good in ["M", "MA", "MZ", "MZA", "MPA", "MZPA", "MQZX"] {
            assert_eq!(good.parse::<Sequence>().unwrap().to_string(), good);
        }
        let cases = [
            ("", NotASequence::Length),
            ("MBCDE", NotASequence::Length),
            ("m", NotASequence::Letter),
            ("M1", NotASequence::Letter),
            ("M\0A", NotASequence::Letter),
            ("A", NotASequence::First),
            ("ZM", NotASequence::First),
            ("MM", NotASequence::Twice),
            ("MZZ", NotASequence::Twice),
            ("MAZ", NotASequence::Last),
        ];
        for (wrong, why) in cases {
            assert_eq!(wrong.parse::<Sequence>(), Err(why), "{wrong:?}");
        }
        assert_eq!(Sequence(*b"M\0A\0").check(), Err(NotASequence::Letter));
    }

    #[test]
    fn n3_terms_that_contradict_themselves_are_none() {
        let of = |builders, preferred: &str, least: &str| PackTerms {
            builders,
            preferred: preferred.parse().unwrap(),
            least: least.parse().unwrap(),
        };
        assert!(PackTerms::BASIC.is_sound());
        assert!(of(Builders::BASIC.with(b'P'), "MZPA", "MPA").is_sound());
        assert!(!of(Builders::BASIC, "MPA", "M").is_sound(), "a builder it has not");
        assert!(!of(Sequence::M.builders(), "M", "M").is_sound(), "no lines");
        assert!(!of(Builders(u32::MAX), "M", "M").is_sound(), "bits that are no letters");
    }

    proptest! {
        #[test]
        fn n14_any_four_bytes_are_a_sequence_or_refused(bytes in any::<[u8; 4]>()) {
            if let Ok(s) = Sequence(bytes).check() {
                prop_assert_eq!(s.to_string().parse(), Ok(s));
                prop_assert_eq!(s.builders().letters().count(), s.letters().len());
            }
        }
    }
}
