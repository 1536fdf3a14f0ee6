//! Reading fixed fields one after another, without an index that could be wrong.

use crate::base::DropReason;

/// The bytes of a body not read yet.
pub(in crate::wire) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(in crate::wire) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes.
    pub(in crate::wire) fn array<const N: usize>(&mut self) -> Result<[u8; N], DropReason> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(DropReason::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    /// The next `n` bytes.
    pub(in crate::wire) fn take(&mut self, n: usize) -> Result<&'a [u8], DropReason> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(DropReason::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    pub(in crate::wire) fn u8(&mut self) -> Result<u8, DropReason> {
        self.array().map(u8::from_be_bytes)
    }

    pub(in crate::wire) fn u16(&mut self) -> Result<u16, DropReason> {
        self.array().map(u16::from_be_bytes)
    }

    pub(in crate::wire) fn u32(&mut self) -> Result<u32, DropReason> {
        self.array().map(u32::from_be_bytes)
    }

    pub(in crate::wire) fn u64(&mut self) -> Result<u64, DropReason> {
        self.array().map(u64::from_be_bytes)
    }

    /// All that is left.
    pub(in crate::wire) const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Nothing may be left: a format says all there is, or two readers could disagree.
    pub(in crate::wire) const fn end(self) -> Result<(), DropReason> {
        if self.0.is_empty() { Ok(()) } else { Err(DropReason::Malformed) }
    }
}
