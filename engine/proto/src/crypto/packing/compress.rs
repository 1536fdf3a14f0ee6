//! *Z*: LZ4 (PROTOCOL §6.6.2). The length of what was compressed in front, then one LZ4 block.
//!
//! Kept only if it is smaller. The length is a claim: it is held against the cap and against what
//! a block of that size can hold at all before any memory is taken, and a block that does not
//! fill exactly that much is refused.

use bytes::BytesMut;

use super::{Builder, Built, Unpackable, put_length, take_length};

/// The most bytes one byte of an LZ4 block stands for: a match continued by a length of 255.
const RATIO: usize = 255;
/// What a block may hold besides: its first token and match.
const BESIDES: usize = 64;
/// Shorter ones cannot win anything.
const WORTH: usize = 16;

/// The builder Z.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compress;

impl Builder for Compress {
    fn letter(&self) -> u8 {
        b'Z'
    }

    fn rank(&self) -> u8 {
        64
    }

    fn protects(&self) -> bool {
        false
    }

    fn pack(&self, input: &[u8], out: &mut BytesMut) -> Built {
        if input.len() < WORTH {
            return Built::Skipped;
        }
        put_length(input.len(), out);
        let before = out.len();
        out.resize(before + lz4_flex::block::get_maximum_output_size(input.len()), 0);
        let room = out.get_mut(before..).unwrap_or_default();
        match lz4_flex::block::compress_into(input, room) {
            Ok(size) if before + size < input.len() => {
                out.truncate(before + size);
                Built::Kept
            }
            _ => Built::Skipped,
        }
    }

    fn unpack(&self, input: &[u8], most: usize, out: &mut BytesMut) -> Result<(), Unpackable> {
        let (length, block) = take_length(input)?;
        if length > most {
            return Err(Unpackable::TooLarge);
        }
        if length > block.len().saturating_mul(RATIO).saturating_add(BESIDES) {
            return Err(Unpackable::Broken);
        }
        out.resize(length, 0);
        match lz4_flex::block::decompress_into(block, out) {
            Ok(size) if size == length => Ok(()),
            _ => Err(Unpackable::Broken),
        }
    }
}
