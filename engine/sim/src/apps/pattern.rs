//! Bytes that say where they belong.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes in front of a stream's pattern: its number and how many follow.
pub(crate) const HEADER: u64 = 16;

/// Eight bytes of pattern `id`, from place `8 × word`.
const fn word(id: u64, word: u64) -> [u8; 8] {
    let x = (id ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word;
    let x = (x ^ (x >> 31)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (x ^ (x >> 32)).to_le_bytes()
}

/// The bytes of pattern `id` from `start`, `length` of them.
pub(crate) fn bytes(id: u64, start: u64, length: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(length + 16);
    let skip = usize::try_from(start % 8).unwrap_or(0);
    let mut at = start / 8;
    while out.len() < length + skip {
        out.put_slice(&word(id, at));
        at += 1;
    }
    out.freeze().slice(skip..skip + length)
}

/// The first of `got`, which lies at `start` of pattern `id`, that is wrong.
pub(crate) fn first_wrong(id: u64, start: u64, got: &[u8]) -> Option<u64> {
    let wanted = bytes(id, start, got.len());
    let at = wanted.iter().zip(got).position(|(w, g)| w != g)?;
    Some(start + at as u64)
}

/// What a stream begins with.
pub(crate) fn header(number: u64, length: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(16);
    out.put_u64(number);
    out.put_u64(length);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_the_same_from_wherever_it_is_read() {
        let whole = bytes(7, 0, 100);
        for start in 0..50 {
            assert_eq!(bytes(7, start as u64, 50)[..], whole[start..start + 50]);
        }
        assert_ne!(bytes(8, 0, 100), whole);
        assert_eq!(first_wrong(7, 3, &whole[3..]), None);
        assert_eq!(first_wrong(7, 4, &whole[3..]), Some(4));
    }
}
