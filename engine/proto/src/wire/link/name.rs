//! What a node says about itself in hellos and announcements: name, capabilities, costs.

use core::fmt;
use core::num::NonZeroU32;

/// Whether a byte may stand in a name or a goodbye: printable ASCII, space included. Nothing
/// else, so that no neighbour can write control sequences into anybody's terminal or log.
pub(super) const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// The bytes as text, if all are printable.
pub(super) fn printable(bytes: &[u8]) -> Option<&str> {
    if bytes.iter().all(|b| is_printable(*b)) { core::str::from_utf8(bytes).ok() } else { None }
}

/// A node's name, for people: at most 32 printable ASCII bytes, not unique, proved by nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NodeName {
    len: u8,
    bytes: [u8; Self::MAX],
}

impl NodeName {
    /// Most bytes.
    pub const MAX: usize = 32;

    /// A name, if the bytes are at most 32 and printable ASCII. May be empty.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        printable(text)?;
        let mut name = Self { len: u8::try_from(text.len()).ok()?, bytes: [0; Self::MAX] };
        name.bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(name)
    }

    /// The bytes.
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

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What a node can do, one bit each. The mesh carries the bits; the rooms that own a feature
/// define them. Unknown bits are passed on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Whether all bits of `wanted` are set.
    #[must_use]
    pub const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// The cost of sending over a link, in one direction: an integer, at least 1, so that every hop
/// comes nearer and no path of cheapest hops can turn in a circle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(NonZeroU32);

impl Cost {
    /// The least cost.
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// A cost, unless it is 0.
    #[must_use]
    pub const fn new(cost: u32) -> Option<Self> {
        match NonZeroU32::new(cost) {
            Some(c) => Some(Self(c)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n12_a_name_is_short_and_printable() {
        assert_eq!(NodeName::new(b"core router 1").unwrap().as_str(), "core router 1");
        assert_eq!(NodeName::new(b"").unwrap(), NodeName::default());
        assert!(NodeName::new(&[b'x'; 32]).is_some());
        for bad in [&[b'x'; 33][..], &[b'x'; 300], b"a\nb", b"\x1b[31m", "é".as_bytes(), b"\x7f"] {
            assert_eq!(NodeName::new(bad), None);
        }
    }

    #[test]
    fn n10_a_cost_is_never_zero() {
        assert_eq!(Cost::new(0), None);
        assert_eq!(Cost::new(1), Some(Cost::ONE));
        assert_eq!(core::mem::size_of::<Option<Cost>>(), 4);
    }
}
