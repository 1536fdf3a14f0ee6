//! Numbers in stream packets: one to eight bytes each, and the reader that checks every length.

use bytes::BufMut;

use crate::base::DropReason;

/// Largest number a varint carries: 62 bits.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// Bytes that `value` takes as a varint: 1, 2, 4 or 8.
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// Two high bits say the length, the rest is the number, big-endian. Larger numbers than a
/// varint holds are never made; one would be written as the largest.
pub(super) fn put_varint(out: &mut impl BufMut, value: u64) {
    let value = value.min(VARINT_MAX);
    match varint_len(value) {
        1 => out.put_u8(u8::try_from(value).unwrap_or(0)),
        2 => out.put_u16(u16::try_from(value).unwrap_or(0) | 0x4000),
        4 => out.put_u32(u32::try_from(value).unwrap_or(0) | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}

/// What is left of the packet.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], DropReason> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(DropReason::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DropReason> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(DropReason::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DropReason> {
        self.array::<1>().map(|[b]| b)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DropReason> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DropReason> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn varint(&mut self) -> Result<u64, DropReason> {
        let first = *self.0.first().ok_or(DropReason::Truncated)?;
        let value = match first >> 6 {
            0 => u64::from(self.u8()?),
            1 => u64::from(self.u16()? & 0x3fff),
            2 => u64::from(self.u32()? & 0x3fff_ffff),
            _ => u64::from_be_bytes(self.array()?) & VARINT_MAX,
        };
        // One encoding per value, so that equal packets are equal bytes.
        if varint_len(value) == 1 << (first >> 6) { Ok(value) } else { Err(DropReason::Malformed) }
    }

    pub(super) fn end(&self) -> Result<(), DropReason> {
        if self.0.is_empty() { Ok(()) } else { Err(DropReason::Malformed) }
    }
}
