//! Priority lanes: eight levels and one above them for control traffic, with a bit mask of the ones
//! that hold something.
//!
//! Strict order between lanes: the highest that holds something first. Within a lane fair shares:
//! whoever fills it, each [`Source`] gets as many bytes as the others (`lanes/fair.rs`), and what is
//! from one source leaves in the order in which it came. `Lanes::share` can promise lower levels
//! a part of what leaves all the same (`lanes/share.rs`).
//!
//! Bounded in bytes and items per lane and in bytes in all. When a bound is hit, the newest of the
//! largest source of the lowest level goes: if that is the newcomer's, the newcomer.
//!
//! Nothing here knows what it orders, what time it is, or when a socket has room.

mod fair;
mod share;

use core::cell::Cell;

use fair::{Ring, Short};
use share::Share;

use super::id::{LinkId, Priority};

/// Where something waits: a level of the data path, or above them all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// A level of the data path.
    Data(Priority),
    /// Heartbeats, announcements and what keeps the node alive.
    Control,
}

/// How many lanes there are.
pub const LANES: usize = 9;

impl Lane {
    /// All of them, from the least urgent.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..LANES).map(Self::at)
    }

    /// Its place, counted from the least urgent.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Data(p) => p.level() as usize,
            Self::Control => LANES - 1,
        }
    }

    /// The lane at `index`, counted from the least urgent.
    fn at(index: usize) -> Self {
        u8::try_from(index).ok().and_then(Priority::new).map_or(Self::Control, Self::Data)
    }
}

/// Whose bytes they are that wait: who fills a lane shares it with the others that do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Source(u32);

impl Source {
    /// This node's own. No link lives long enough to get this number.
    pub const OWN: Self = Self(u32::MAX);

    /// What came in over a link.
    #[must_use]
    pub const fn link(link: LinkId) -> Self {
        Self(link.0)
    }
}

/// What can wait in a lane: something with a size.
pub trait Weight {
    /// Its size in bytes.
    fn bytes(&self) -> usize;
}

/// The bounds of [`Lanes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneBounds {
    /// Bytes in one lane.
    pub lane_bytes: usize,
    /// Items in one lane.
    pub lane_items: usize,
    /// Bytes in all lanes together.
    pub all_bytes: usize,
}

/// Nine lanes and the mask of the non-empty ones.
#[derive(Debug)]
pub struct Lanes<T> {
    rings: [Ring<T>; LANES],
    waiting: u16,
    bytes: usize,
    bounds: LaneBounds,
    share: Share,
    /// The number of the last walk.
    walk: Cell<u64>,
}

impl<T: Weight> Lanes<T> {
    /// Empty lanes within `bounds`. Nothing is allocated yet.
    #[must_use]
    pub fn new(bounds: LaneBounds) -> Self {
        let rings = core::array::from_fn(|_| Ring::default());
        let (share, walk) = (Share::default(), Cell::new(0));
        Self { rings, waiting: 0, bytes: 0, bounds, share, walk }
    }

    /// Promises each level that waits so many of a hundred bytes, whatever waits above it; with
    /// none, as lanes are made, order is strict. Control traffic is above this as above all.
    #[must_use]
    pub fn with_share(mut self, percent: u8) -> Self {
        self.share = Share::new(percent);
        self
    }

    /// Puts `item` behind what `lane` has from `source`. Whatever does not fit any more goes to
    /// `dropped`: the item itself, or newer ones of lower lanes or larger sources, which make room
    /// for it.
    pub fn push(&mut self, lane: Lane, source: Source, item: T, mut dropped: impl FnMut(Lane, T)) {
        let (index, size) = (lane.index(), item.bytes());
        let bounds = self.bounds;
        let whole = bounds.lane_bytes.min(bounds.all_bytes);
        if size > whole || bounds.lane_items == 0 {
            return dropped(lane, item);
        }
        loop {
            let Some(ring) = self.rings.get(index) else { return };
            let (low, short) = if ring.bytes + size > bounds.lane_bytes {
                (index, Short::Bytes)
            } else if ring.items >= bounds.lane_items {
                (index, Short::Items)
            } else if self.bytes + size > bounds.all_bytes {
                (self.waiting.trailing_zeros() as usize, Short::Bytes)
            } else {
                break;
            };
            let newcomer = (low == index).then_some((source, size));
            let victim = if low > index { None } else { self.drop_newest(low, short, newcomer) };
            match victim {
                Some(victim) => dropped(Lane::at(low), victim),
                None => return dropped(lane, item),
            }
        }
        if let Some(ring) = self.rings.get_mut(index) {
            ring.push(source, item, size);
        }
        self.bytes += size;
        self.waiting |= 1 << index;
    }

    /// What [`Self::pop`] would take.
    pub fn peek(&mut self) -> Option<(Lane, &T)> {
        let index = self.share.choose(self.waiting)?;
        let item = self.rings.get_mut(index)?.peek()?;
        Some((Lane::at(index), item))
    }

    /// Takes out what leaves next.
    pub fn pop(&mut self) -> Option<(Lane, T)> {
        let index = self.share.choose(self.waiting)?;
        let item = self.rings.get_mut(index)?.pop()?;
        self.left(index, item.bytes(), true);
        Some((Lane::at(index), item))
    }

    /// Makes what leaves next smaller: a part of it has left. If all of it has, it is gone.
    #[inline]
    pub fn shrink(&mut self, cut: impl FnOnce(Lane, &mut T)) {
        let Some(index) = self.share.choose(self.waiting) else { return };
        let Some(ring) = self.rings.get_mut(index) else { return };
        let gone = ring.shrink(|item| cut(Lane::at(index), item));
        self.left(index, gone, true);
    }

    /// Gives to `each` what waits, in the order in which it will leave if nothing else comes, as
    /// long as it wants more.
    #[inline]
    pub fn walk<'a>(&'a self, mut each: impl FnMut(&'a T) -> bool) {
        // The first is 1: at 0 are rings and flows that no walk has come to.
        let number = self.walk.get() + 1;
        self.walk.set(number);
        let mut waiting = self.waiting;
        if !self.share.is_strict() {
            return self.walk_shares(number, each);
        }
        while let Some(index) = share::highest(waiting) {
            waiting &= !(1 << index);
            let Some(ring) = self.rings.get(index) else { return };
            if let Some(all) = ring.alone() {
                for item in all {
                    if !each(item) {
                        return;
                    }
                }
                continue;
            }
            while let Some((item, last)) = ring.step(number) {
                if !each(item) {
                    return;
                }
                if last {
                    break;
                }
            }
        }
    }

    /// The same where lower levels have been promised something.
    fn walk_shares<'a>(&'a self, number: u64, mut each: impl FnMut(&'a T) -> bool) {
        let (mut waiting, mut share) = (self.waiting, self.share);
        while let Some(index) = share.choose(waiting) {
            let step = self.rings.get(index).and_then(|ring| ring.step(number));
            let Some((item, last)) = step else { return };
            share.sent(index, item.bytes(), waiting);
            if last {
                waiting &= !(1 << index);
            }
            if !each(item) {
                return;
            }
        }
    }

    /// Everything that waits, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.rings.iter().flat_map(Ring::iter)
    }

    /// Takes everything out, as it would leave.
    pub fn drain(&mut self) -> impl Iterator<Item = (Lane, T)> + '_ {
        core::iter::from_fn(|| self.pop())
    }

    /// The most urgent lane that holds something.
    #[must_use]
    pub fn highest(&self) -> Option<Lane> {
        share::highest(self.waiting).map(Lane::at)
    }

    /// Bytes waiting in all lanes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Bytes and items waiting in one lane.
    #[must_use]
    pub fn depth(&self, lane: Lane) -> (usize, usize) {
        self.rings.get(lane.index()).map_or((0, 0), |r| (r.bytes, r.items))
    }

    /// Drops the newest item of the largest source of a lane. A newcomer counts with what it
    /// brings: if it is the largest, nothing is dropped.
    fn drop_newest(
        &mut self,
        index: usize,
        short: Short,
        newcomer: Option<(Source, usize)>,
    ) -> Option<T> {
        let victim = self.rings.get_mut(index)?.drop_newest(short, newcomer)?;
        self.left(index, victim.bytes(), false);
        Some(victim)
    }

    /// Notes that `size` bytes are gone from a lane, sent or not.
    #[inline]
    fn left(&mut self, index: usize, size: usize, sent: bool) {
        if sent {
            self.share.sent(index, size, self.waiting);
        }
        if self.rings.get(index).is_some_and(|ring| ring.items == 0) {
            self.waiting &= !(1 << index);
        }
        self.bytes = self.bytes.saturating_sub(size);
    }
}

#[cfg(test)]
mod tests;
