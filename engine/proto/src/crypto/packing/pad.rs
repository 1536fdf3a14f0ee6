//! *P*, the example of a further builder: zeros behind a message, so that its length tells less
//! (PROTOCOL §6.6.3). Makes sense with A only: who can read a message sees where its zeros begin.
//!
//! The length of what was padded in front, the bytes, then zeros up to the next size class.
//! Classes are 64 bytes and from there on four for each doubling, so that at most a quarter is
//! added and a length tells no more than its class.

use bytes::{BufMut, BytesMut};

use super::{Builder, Built, Unpackable, put_length, take_length};

/// The smallest class.
const SMALLEST: usize = 64;

/// The builder P.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pad;

/// The size of the class that a length falls into.
fn class(length: usize) -> usize {
    if length <= SMALLEST {
        return SMALLEST;
    }
    let step = 1 << (usize::BITS - (length - 1).leading_zeros()).saturating_sub(3);
    length.div_ceil(step).saturating_mul(step)
}

impl Builder for Pad {
    fn letter(&self) -> u8 {
        b'P'
    }

    fn rank(&self) -> u8 {
        128
    }

    fn protects(&self) -> bool {
        true
    }

    fn pack(&self, input: &[u8], out: &mut BytesMut) -> Built {
        let whole = class(4 + input.len());
        out.reserve(whole);
        put_length(input.len(), out);
        out.put_slice(input);
        out.put_bytes(0, whole.saturating_sub(out.len()));
        Built::Kept
    }

    fn unpack(&self, input: &[u8], most: usize, out: &mut BytesMut) -> Result<(), Unpackable> {
        let (length, rest) = take_length(input)?;
        if length > most {
            return Err(Unpackable::TooLarge);
        }
        let (bytes, zeros) = rest.split_at_checked(length).ok_or(Unpackable::Broken)?;
        if input.len() != class(4 + length) || zeros.iter().any(|b| *b != 0) {
            return Err(Unpackable::Broken);
        }
        out.put_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n14_a_padded_length_tells_only_its_class() {
        let mut classes = std::collections::BTreeSet::new();
        for length in 0..100_000 {
            let class = class(length);
            assert!(class >= length && (class == SMALLEST || class <= length + length / 4));
            assert_eq!(super::class(class), class, "a class is in itself");
            classes.insert(class);
        }
        assert!(classes.len() < 50, "{}", classes.len());
    }
}
