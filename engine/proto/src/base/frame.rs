//! Frames: bytes on their way out, in buffers that return to a pool by themselves.
//!
//! A [`FramePool`] owns slabs; a [`Frame`] is a slice cut from one, with room in front for every
//! header a path may want and room behind for a tag, so that headers are written and packets
//! encrypted where the payload already lies. When the last slice of a slab is dropped, whoever
//! drops it, the slab can be used again: in steady state nothing is allocated.
//!
//! ```text
//!   |<--- HEADROOM --->|<----- payload ----->|<- TAILROOM ->|
//!   0                start                  end
//! ```

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

/// Room in front of a payload: link header 4, package header 56, line id and counter 24, and
/// some to spare.
pub const HEADROOM: usize = 96;

/// Room behind a payload: the tag of a sealed packet.
pub const TAILROOM: usize = 16;

/// A payload with room around it.
#[derive(Debug)]
pub struct Frame {
    buf: BytesMut,
    start: usize,
    end: usize,
}

impl Frame {
    /// A frame of its own, outside any pool, for what is rare.
    #[must_use]
    pub fn copied(payload: &[u8]) -> Self {
        let mut buf = BytesMut::with_capacity(HEADROOM + payload.len() + TAILROOM);
        buf.put_bytes(0, HEADROOM);
        buf.put_slice(payload);
        buf.put_bytes(0, TAILROOM);
        Self { buf, start: HEADROOM, end: HEADROOM + payload.len() }
    }

    /// The payload with all headers put in front of it so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.buf.get(self.start..self.end).unwrap_or_default()
    }

    /// The payload, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.buf.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there is no payload.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Puts a header in front. False, and nothing done, if there is no room left.
    #[must_use]
    pub fn push_front(&mut self, header: &[u8]) -> bool {
        let Some(start) = self.start.checked_sub(header.len()) else { return false };
        let Some(room) = self.buf.get_mut(start..self.start) else { return false };
        room.copy_from_slice(header);
        self.start = start;
        true
    }

    /// Puts a tag behind. False, and nothing done, if there is no room left.
    #[must_use]
    pub fn push_back(&mut self, tag: &[u8]) -> bool {
        let end = self.end + tag.len();
        let Some(room) = self.buf.get_mut(self.end..end) else { return false };
        room.copy_from_slice(tag);
        self.end = end;
        true
    }

    /// The finished bytes, without the unused room.
    #[must_use]
    pub fn into_bytes(mut self) -> BytesMut {
        self.buf.truncate(self.end);
        let _room = self.buf.split_to(self.start.min(self.buf.len()));
        self.buf
    }

    /// The finished bytes, shared.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        self.into_bytes().freeze()
    }
}

/// Slabs looked at on either side of those that rest, to find one that is free.
const LOOKS: usize = 3;

/// Slabs that come back when everything cut from them is gone.
#[derive(Debug)]
pub struct FramePool {
    slab: BytesMut,
    resting: VecDeque<BytesMut>,
    slab_bytes: usize,
    most: usize,
    allocated: u64,
}

impl FramePool {
    /// A pool of slabs of `slab_bytes`, of which at most `most` are kept for reuse. Nothing is
    /// allocated yet.
    #[must_use]
    pub fn new(slab_bytes: usize, most: usize) -> Self {
        Self {
            slab: BytesMut::new(),
            resting: VecDeque::with_capacity(most + 1),
            slab_bytes,
            most,
            allocated: 0,
        }
    }

    /// A buffer with at least `room` bytes of spare capacity and no content. What is written to
    /// it must be cut off with `split` or `split_to` before the next call.
    pub fn spare(&mut self, room: usize) -> &mut BytesMut {
        // Whatever a failed user left must not become the beginning of the next one's.
        self.slab.clear();
        let spent = self.slab_bytes.saturating_sub(self.slab.capacity());
        if spent >= self.slab_bytes / 4 {
            // If all of it is gone it begins anew: no memory is as near to the processor.
            let _ = self.slab.try_reclaim(self.slab_bytes);
        }
        if self.slab.capacity() < room {
            self.turn_over(room);
        }
        &mut self.slab
    }

    /// A frame whose payload `write` puts into the given buffer, at most `room` bytes of it.
    /// `None` if `write` returns `None`; then nothing is used up.
    pub fn frame<T>(
        &mut self,
        room: usize,
        write: impl FnOnce(&mut BytesMut) -> Option<T>,
    ) -> Option<(Frame, T)> {
        let slab = self.spare(HEADROOM + room + TAILROOM);
        slab.clear();
        slab.put_bytes(0, HEADROOM);
        let Some(value) = write(slab) else {
            slab.clear();
            return None;
        };
        let end = slab.len();
        slab.put_bytes(0, TAILROOM);
        Some((Frame { buf: slab.split(), start: HEADROOM, end }, value))
    }

    /// How many slabs were ever allocated: does not grow in steady state.
    #[must_use]
    pub const fn allocated(&self) -> u64 {
        self.allocated
    }

    fn turn_over(&mut self, room: usize) {
        let size = self.slab_bytes.max(room);
        let spent = core::mem::take(&mut self.slab);
        if spent.capacity() > 0 || self.allocated > 0 {
            self.resting.push_back(spent);
        }
        // Of the last ones the processor may still have something, the oldest are the likeliest to be
        // free; looking at a few bounds the work.
        let count = self.resting.len();
        let newest = (count.saturating_sub(LOOKS)..count).rev();
        for at in newest.chain(0..LOOKS.min(count.saturating_sub(LOOKS))) {
            let free = self.resting.get_mut(at).is_some_and(|slab| {
                slab.clear();
                slab.try_reclaim(size)
            });
            if free {
                self.slab = self.resting.remove(at).unwrap_or_default();
                return;
            }
        }
        while self.resting.len() > self.most {
            self.resting.pop_front();
        }
        self.allocated += 1;
        self.slab = BytesMut::with_capacity(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_tags_grow_around_the_payload() {
        let mut f = Frame::copied(b"payload");
        assert!(f.push_front(b"head") && f.push_back(&[9; 16]));
        assert!(!f.push_back(b"x"), "no room behind the tag");
        assert!(!f.push_front(&[0; HEADROOM]), "no room in front");
        assert_eq!(&f.freeze()[..], [b"headpayload".as_slice(), &[9; 16]].concat());
    }

    #[test]
    fn slabs_come_back_when_their_frames_are_gone() {
        let mut pool = FramePool::new(4_096, 8);
        let mut queue = VecDeque::new();
        for round in 0..10_000u32 {
            let write = |b: &mut BytesMut| {
                b.put_bytes(7, 500);
                Some(())
            };
            queue.push_back(pool.frame(500, write).unwrap().0);
            if queue.len() > 10 {
                queue.pop_front();
            }
            if round == 1_000 {
                queue.shrink_to_fit();
            }
        }
        assert!(pool.allocated() < 9, "{} slabs for a backlog of two", pool.allocated());
    }

    #[test]
    fn a_slab_of_which_all_is_gone_begins_anew_and_else_the_newest_free_one_is_taken() {
        let mut pool = FramePool::new(4_096, 8);
        let mut take = || {
            let slab = pool.spare(1_024);
            slab.put_bytes(7, 1_024);
            slab.split()
        };
        let first = take();
        let start = first.as_ptr();
        assert_ne!(take().as_ptr(), start, "the first is not gone");
        drop(first);
        assert_eq!(take().as_ptr(), start);
        // Three slabs, full: the first two are let go, the second last.
        let mut all: Vec<_> = (0..12).map(|_| take()).collect();
        let second = all[4].as_ptr();
        all.drain(..8);
        assert_eq!(take().as_ptr(), second);
        assert_eq!(pool.allocated(), 3);
    }

    #[test]
    fn a_frame_not_written_uses_nothing_up() {
        let mut pool = FramePool::new(4_096, 8);
        for _ in 0..1_000 {
            assert!(pool.frame(100, |_| None::<()>).is_none());
        }
        assert_eq!(pool.allocated(), 1);
    }
}
