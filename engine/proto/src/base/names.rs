//! The names messages are addressed by: namespaces, targets in them, records.
//!
//! Held inline and compared by value, so that neither reading one from a packet nor looking one
//! up in a rule allocates. Text forms are for configuration, commands and logs.

use core::fmt;
use core::str::FromStr;

/// The longest namespace, target or text id, in bytes.
pub const NAME_MAX: usize = 64;

/// A place at a node that takes messages: 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`.
///
/// Unique within a node. A target within a namespace is named alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace {
    /// The name, zeros after it: comparing the bytes compares the names.
    bytes: [u8; NAME_MAX],
    len: u8,
}

/// Why a text names neither a namespace nor a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a namespace is named by 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'")]
pub struct NotAName;

impl Namespace {
    /// The name of nothing: no text reads as it, and no packet.
    pub(crate) const NONE: Self = Self { bytes: [0; NAME_MAX], len: 0 };

    /// The namespace of that name.
    ///
    /// # Errors
    /// [`NotAName`] if the name is empty, too long or has other characters.
    pub fn new(name: &str) -> Result<Self, NotAName> {
        Self::from_bytes(name.as_bytes())
    }

    /// The namespace of that name, from bytes of the network.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn from_bytes(name: &[u8]) -> Result<Self, NotAName> {
        if name.is_empty() || !name.iter().all(Self::allows) {
            return Err(NotAName);
        }
        let (bytes, len) = inline(name).ok_or(NotAName)?;
        Ok(Self { bytes, len })
    }

    /// Whether a byte may be part of a name.
    #[must_use]
    pub const fn allows(byte: &u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(*byte, b'.' | b'_' | b'-')
    }

    /// The name as bytes (ASCII).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Namespace {
    type Err = NotAName;
    fn from_str(s: &str) -> Result<Self, NotAName> {
        Self::new(s)
    }
}

/// Which kind of record a message carries: a number for speed, a text to be read, a UUID to be
/// unique. Ids of different kinds are different, whatever they look like: 7 is not "7".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordId {
    /// A number.
    Integer(u64),
    /// A text.
    Text(RecordText),
    /// A UUID, as its 16 bytes.
    Uuid([u8; 16]),
}

/// The text of a [`RecordId`]: 1 to 64 bytes of printable ASCII without the space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordText {
    bytes: [u8; NAME_MAX],
    len: u8,
}

/// Why a text is no record id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a record id is a number, a UUID, or 1 to 64 printable characters without a space; \"7\" in quotes is the text"
)]
pub struct NotARecordId;

impl RecordText {
    /// The text of these bytes.
    ///
    /// # Errors
    /// [`NotARecordId`] if they are none, too many, or not printable ASCII.
    pub fn from_bytes(text: &[u8]) -> Result<Self, NotARecordId> {
        if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
            return Err(NotARecordId);
        }
        let (bytes, len) = inline(text).ok_or(NotARecordId)?;
        Ok(Self { bytes, len })
    }

    /// The text as bytes (ASCII).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl RecordId {
    /// A text id.
    ///
    /// # Errors
    /// [`NotARecordId`].
    pub fn text(text: &str) -> Result<Self, NotARecordId> {
        RecordText::from_bytes(text.as_bytes()).map(Self::Text)
    }
}

impl From<u64> for RecordId {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

/// As it is written by people: digits are a number, 36 characters in the form of a UUID are one,
/// anything in quotes and everything else is a text.
impl FromStr for RecordId {
    type Err = NotARecordId;
    fn from_str(s: &str) -> Result<Self, NotARecordId> {
        if let Some(quoted) = s.strip_prefix('"').and_then(|s| s.strip_suffix('"')) {
            return Self::text(quoted);
        }
        if !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) {
            return s.parse().map(Self::Integer).map_err(|_| NotARecordId);
        }
        uuid(s.as_bytes()).map_or_else(|| Self::text(s), |bytes| Ok(Self::Uuid(bytes)))
    }
}

/// Reads back as the same id.
impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(n) => write!(f, "{n}"),
            Self::Text(text) if text.as_str().parse() == Ok(*self) => f.write_str(text.as_str()),
            Self::Text(text) => write!(f, "\"{}\"", text.as_str()),
            Self::Uuid(bytes) => bytes.iter().enumerate().try_for_each(|(i, b)| {
                let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
                write!(f, "{dash}{b:02x}")
            }),
        }
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for RecordText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn inline(text: &[u8]) -> Option<([u8; NAME_MAX], u8)> {
    let mut bytes = [0; NAME_MAX];
    bytes.get_mut(..text.len())?.copy_from_slice(text);
    Some((bytes, u8::try_from(text.len()).ok()?))
}

/// The bytes of a UUID written in its usual form, 8-4-4-4-12 hex digits.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let dashes = [8, 13, 18, 23];
    let in_form = text.len() == 36
        && text.iter().enumerate().all(|(i, c)| dashes.contains(&i) == (*c == b'-'));
    if !in_form {
        return None;
    }
    let mut digits = text.iter().filter(|c| **c != b'-').map(|c| char::from(*c).to_digit(16));
    let mut out = [0; 16];
    for byte in &mut out {
        *byte = u8::try_from(digits.next()?? << 4 | digits.next()??).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn n21_a_namespace_has_one_spelling_and_a_bound() {
        assert_eq!(Namespace::new("shop.Orders-2_x").unwrap().as_str(), "shop.Orders-2_x");
        assert_ne!(Namespace::new("a").unwrap(), Namespace::new("A").unwrap());
        for wrong in ["", " a", "a/b", "ä", "a\0", &"x".repeat(65)] {
            assert_eq!(Namespace::new(wrong), Err(NotAName), "{wrong:?}");
        }
        assert!(Namespace::new(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn n21_record_ids_are_numbers_texts_or_uuids_and_never_mixed_up() {
        let uuid = "be125fa3-b4a7-493c-ad9a-5fa1a23be84d";
        assert_eq!("73265".parse(), Ok(RecordId::Integer(73_265)));
        assert_eq!("\"73265\"".parse(), RecordId::text("73265"));
        assert_eq!("TestPing".parse(), RecordId::text("TestPing"));
        assert!(matches!(uuid.parse(), Ok(RecordId::Uuid([0xbe, 0x12, ..]))));
        assert!(matches!(uuid.replace('f', "g").parse(), Ok(RecordId::Text(_))));
        for wrong in ["", "a b", "\"\"", "\n", "99999999999999999999", &"x".repeat(65)] {
            assert_eq!(wrong.parse::<RecordId>(), Err(NotARecordId), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn n21_every_record_id_reads_back_from_its_text(
            n in any::<u64>(), bytes in any::<[u8; 16]>(), text in "[!-~]{1,64}",
        ) {
            let text = RecordId::text(&text).unwrap();
            for id in [RecordId::Integer(n), RecordId::Uuid(bytes), text] {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }

        #[test]
        fn any_text_is_an_id_or_refused(text in ".{0,80}") {
            let _ = text.parse::<RecordId>();
            let _ = text.parse::<Namespace>();
        }
    }
}
