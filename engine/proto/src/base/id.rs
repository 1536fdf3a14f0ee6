//! The names things have inside a node. Text forms exist at the edges only.

use core::fmt;
use core::str::FromStr;

/// The fingerprint of a participant's public key within a space: 32 bytes (PROTOCOL §2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hashname([u8; 32]);

impl Hashname {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// A hashname from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 bytes, by which package headers name a node.
    #[must_use]
    pub fn address(&self) -> Address {
        let mut a = [0; 16];
        a.copy_from_slice(self.0.first_chunk::<16>().unwrap_or(&[0; 16]));
        Address(a)
    }

    /// The first eight hex digits, for logs and tables where people tell a few nodes apart.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for Hashname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Hashname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// Why a text is not a hashname.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hashname is 64 hex digits")]
pub struct NotAHashname;

impl FromStr for Hashname {
    type Err = NotAHashname;
    fn from_str(s: &str) -> Result<Self, NotAHashname> {
        let digits = s.as_bytes();
        if digits.len() != 64 {
            return Err(NotAHashname);
        }
        let mut out = [0u8; 32];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let &[hi, lo] = pair else { return Err(NotAHashname) };
            *byte = hex_digit(hi).ok_or(NotAHashname)? << 4 | hex_digit(lo).ok_or(NotAHashname)?;
        }
        Ok(Self(out))
    }
}

const fn hex_digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

/// A node in a package header: the first 16 bytes of its hashname.
///
/// Half the bytes on every package, and still out of reach of a chosen collision: 128 bits of
/// SHA-256 over a key that must also sign. The link-state database refuses a second hashname
/// with an address it already holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 16]);

impl Address {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// An address from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Which of `partitions` owns a hashname, by its address. A hash already, so its bits are even;
/// who grinds keys to crowd one partition crowds only its own neighbours there.
#[must_use]
pub fn partition(address: &Address, partitions: u16) -> u16 {
    let tail = address.0.last_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b));
    u16::try_from(tail % u64::from(partitions.max(1))).unwrap_or(0)
}

/// A line as its receiver named it: opaque and unguessable outside, and inside one AES block away
/// from shard and slot (see `crypto::line_id`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub [u8; 16]);

impl LineId {
    /// Length in bytes.
    pub const LEN: usize = 16;
}

impl fmt::Debug for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The name of a space: 1 to 64 of `a-z`, `0-9`, `.` and `-`.
///
/// Part of every hashname of the space, so one spelling only: there are no capitals to fold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space {
    /// The name, zeros after it: comparing the bytes compares the names.
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl Space {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The space of that name.
    ///
    /// # Errors
    /// [`NotASpace`] if the name is empty, too long or has other characters.
    pub fn new(name: &str) -> Result<Self, NotASpace> {
        Self::from_bytes(name.as_bytes())
    }

    /// The space of that name, from bytes of the network.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn from_bytes(name: &[u8]) -> Result<Self, NotASpace> {
        let fits = |c: &u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
        let mut bytes = [0; Self::MAX_LEN];
        let len = u8::try_from(name.len()).map_err(|_| NotASpace)?;
        let room = bytes.get_mut(..name.len()).ok_or(NotASpace)?;
        if len == 0 || !name.iter().all(fits) {
            return Err(NotASpace);
        }
        room.copy_from_slice(name);
        Ok(Self { bytes, len })
    }

    /// The name as bytes (ASCII).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text does not name a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a space is named by 1 to 64 of a-z, 0-9, '.' and '-'")]
pub struct NotASpace;

impl FromStr for Space {
    type Err = NotASpace;
    fn from_str(s: &str) -> Result<Self, NotASpace> {
        Self::new(s)
    }
}

/// One adjacency of the mesh within this process; never on the wire, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u32);

/// A random number a node draws at every start. Tells a restart from a repetition without
/// asking a clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BootEpoch(pub u64);

/// How urgent a packet is: 0 to 7, 7 first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Priority(u8);

impl Priority {
    /// The least urgent.
    pub const LOWEST: Self = Self(0);
    /// What is not said otherwise.
    pub const DEFAULT: Self = Self(3);
    /// The most urgent; replies and error returns travel here.
    pub const HIGHEST: Self = Self(7);

    /// A priority from its number, if it is one.
    #[must_use]
    pub const fn new(level: u8) -> Option<Self> {
        if level <= 7 { Some(Self(level)) } else { None }
    }

    /// The priority in the low three bits of `byte`.
    #[must_use]
    pub const fn from_low_bits(byte: u8) -> Self {
        Self(byte & 7)
    }

    /// 0 to 7.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashnames_read_back_what_they_print() {
        let h = Hashname::new(core::array::from_fn(|i| i as u8 * 7));
        assert_eq!(h.to_string().parse::<Hashname>(), Ok(h));
        assert_eq!(h.to_string().to_uppercase().parse::<Hashname>(), Ok(h));
        for bad in ["", "00", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert_eq!(bad.parse::<Hashname>(), Err(NotAHashname), "{bad}");
        }
    }

    #[test]
    fn s4_a_space_has_one_spelling() {
        for good in ["a", "home.example-1", &"x".repeat(64)] {
            assert_eq!(Space::new(good).unwrap().to_string(), good);
        }
        for bad in ["", "Home", "a b", "a_b", "ä", "a\0", &"x".repeat(65), &"x".repeat(300)] {
            assert_eq!(bad.parse::<Space>(), Err(NotASpace), "{bad}");
        }
        assert!(Space::new("a").unwrap() < Space::new("ab").unwrap());
    }

    #[test]
    fn a_priority_is_one_of_eight() {
        assert_eq!(Priority::new(7), Some(Priority::HIGHEST));
        assert_eq!(Priority::new(8), None);
        assert_eq!(Priority::from_low_bits(0xff), Priority::HIGHEST);
    }
}
