//! Frames told apart in what is written to a link, for those who watch: the checkers and the
//! forger. The receiving node tells them apart itself, by its own code.

use bytes::{Buf, Bytes, BytesMut};
use trunkline_proto::wire::link::LinkHeader;

/// Collects bytes until a frame is whole.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    partial: BytesMut,
    /// Bytes no frame begins with: a node would never write them.
    pub(crate) broken: bool,
}

impl Framer {
    /// Whether the last frame was whole.
    pub(crate) fn is_between(&self) -> bool {
        self.partial.is_empty() && !self.broken
    }

    /// Takes bytes and hands out the frames that became whole.
    pub(crate) fn take(&mut self, mut bytes: Bytes, mut frame: impl FnMut(LinkHeader, Bytes)) {
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(&bytes);
            bytes = self.partial.split().freeze();
        }
        loop {
            match LinkHeader::peek(&bytes) {
                Ok(Some(header)) if bytes.len() >= header.frame_len() => {
                    frame(header, bytes.slice(..header.frame_len()));
                    bytes.advance(header.frame_len());
                }
                Ok(_) => break,
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
        self.partial.extend_from_slice(&bytes);
    }
}
