//! Priority lanes: a ring for each of eight levels and one above them for control traffic, with a
//! bit mask of the ones that hold something.
//!
//! Strict order: the highest non-empty lane first, first in first out within a lane. Bounded in
//! bytes and items per lane and in all. When a bound is hit the newest of the lowest level goes:
//! if the newcomer is of the lowest level, it is the one.

use std::collections::VecDeque;

use super::id::Priority;

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
    const fn index(self) -> usize {
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

#[derive(Debug)]
struct Ring<T> {
    items: VecDeque<T>,
    bytes: usize,
}

/// Nine rings and the mask of the non-empty ones.
#[derive(Debug)]
pub struct Lanes<T> {
    rings: [Ring<T>; LANES],
    waiting: u16,
    bytes: usize,
    bounds: LaneBounds,
}

impl<T: Weight> Lanes<T> {
    /// Empty lanes within `bounds`. Nothing is allocated yet.
    #[must_use]
    pub fn new(bounds: LaneBounds) -> Self {
        let ring = |_| Ring { items: VecDeque::new(), bytes: 0 };
        Self { rings: core::array::from_fn(ring), waiting: 0, bytes: 0, bounds }
    }

    /// Puts `item` at the end of `lane`. Whatever does not fit any more goes to `dropped`: the
    /// item itself, or newer items of lower lanes that make room for it.
    pub fn push(&mut self, lane: Lane, item: T, mut dropped: impl FnMut(Lane, T)) {
        let size = item.bytes();
        let bounds = self.bounds;
        let Some(ring) = self.rings.get(lane.index()) else { return };
        let fits = ring.bytes + size <= bounds.lane_bytes && ring.items.len() < bounds.lane_items;
        if !fits || size > bounds.all_bytes {
            return dropped(lane, item);
        }
        while self.bytes + size > bounds.all_bytes {
            match self.lowest() {
                Some(low) if low < lane => {
                    if let Some(victim) = self.drop_newest(low) {
                        dropped(low, victim);
                    }
                }
                _ => return dropped(lane, item),
            }
        }
        if let Some(ring) = self.rings.get_mut(lane.index()) {
            ring.bytes += size;
            ring.items.push_back(item);
        }
        self.bytes += size;
        self.waiting |= 1 << lane.index();
    }

    /// Takes the oldest item of the most urgent lane.
    pub fn pop(&mut self) -> Option<(Lane, T)> {
        let lane = self.highest()?;
        let ring = self.rings.get_mut(lane.index())?;
        let item = ring.items.pop_front()?;
        self.left(lane, item.bytes());
        Some((lane, item))
    }

    /// Puts the rest of an item just popped back at the front of its lane, whatever the bounds:
    /// it was within them a moment ago.
    pub fn put_back(&mut self, lane: Lane, rest: T) {
        let size = rest.bytes();
        if let Some(ring) = self.rings.get_mut(lane.index()) {
            ring.bytes += size;
            ring.items.push_front(rest);
        }
        self.bytes += size;
        self.waiting |= 1 << lane.index();
    }

    /// Everything waiting, in the order in which it will leave.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.rings.iter().rev().flat_map(|r| r.items.iter())
    }

    /// Takes everything out, most urgent first.
    pub fn drain(&mut self) -> impl Iterator<Item = (Lane, T)> + '_ {
        core::iter::from_fn(|| self.pop())
    }

    /// The most urgent lane that holds something.
    #[must_use]
    pub fn highest(&self) -> Option<Lane> {
        let top = u16::BITS - self.waiting.leading_zeros();
        (top > 0).then(|| Lane::at(top as usize - 1))
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
        self.rings.get(lane.index()).map_or((0, 0), |r| (r.bytes, r.items.len()))
    }

    fn lowest(&self) -> Option<Lane> {
        (self.waiting != 0).then(|| Lane::at(self.waiting.trailing_zeros() as usize))
    }

    fn drop_newest(&mut self, lane: Lane) -> Option<T> {
        let item = self.rings.get_mut(lane.index())?.items.pop_back()?;
        self.left(lane, item.bytes());
        Some(item)
    }

    fn left(&mut self, lane: Lane, size: usize) {
        if let Some(ring) = self.rings.get_mut(lane.index()) {
            ring.bytes -= size;
            if ring.items.is_empty() {
                self.waiting &= !(1 << lane.index());
            }
        }
        self.bytes -= size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Clone)]
    struct Item(u32, usize);
    impl Weight for Item {
        fn bytes(&self) -> usize {
            self.1
        }
    }

    const SMALL: LaneBounds = LaneBounds { lane_bytes: 300, lane_items: 5, all_bytes: 600 };

    fn data(level: u8) -> Lane {
        Lane::Data(Priority::new(level).unwrap())
    }

    #[test]
    fn n18_the_highest_lane_leaves_first_and_each_in_order() {
        let mut lanes = Lanes::new(SMALL);
        let order = [(data(3), 1), (data(7), 2), (data(0), 3), (data(7), 4), (Lane::Control, 5)];
        for (lane, n) in order {
            lanes.push(lane, Item(n, 10), |_, _| panic!("fits"));
        }
        assert_eq!(lanes.iter().map(|i| i.0).collect::<Vec<_>>(), [5, 2, 4, 1, 3]);
        let left: Vec<u32> = lanes.drain().map(|(_, i)| i.0).collect();
        assert_eq!(left, [5, 2, 4, 1, 3]);
        assert!(lanes.is_empty() && lanes.bytes() == 0);
    }

    #[test]
    fn n18_room_is_made_by_the_newest_of_the_lowest_level() {
        let mut lanes = Lanes::new(SMALL);
        for n in 0..3 {
            lanes.push(data(0), Item(n, 100), |_, _| panic!("fits"));
            lanes.push(data(1), Item(10 + n, 100), |_, _| panic!("fits"));
        }
        let mut gone = Vec::new();
        lanes.push(data(7), Item(20, 150), |l, i| gone.push((l, i.0)));
        assert_eq!(gone, [(data(0), 2), (data(0), 1)]);
        gone.clear();
        lanes.push(data(0), Item(21, 150), |l, i| gone.push((l, i.0)));
        assert_eq!(gone, [(data(0), 21)], "a newcomer of the lowest level goes itself");
    }

    proptest! {
        #[test]
        fn n18_bounds_hold_and_nothing_is_lost_unnamed(
            steps in prop::collection::vec((0u8..9, 1usize..200, any::<bool>()), 1..200)
        ) {
            let mut lanes = Lanes::new(SMALL);
            let (mut pushed, mut dropped, mut popped) = (0, 0, 0);
            for (level, size, pop) in steps {
                let lane = Priority::new(level).map_or(Lane::Control, Lane::Data);
                pushed += 1;
                lanes.push(lane, Item(0, size), |_, _| dropped += 1);
                prop_assert!(lanes.bytes() <= SMALL.all_bytes);
                prop_assert!(lanes.depth(lane).0 <= SMALL.lane_bytes);
                prop_assert!(lanes.depth(lane).1 <= SMALL.lane_items);
                if pop && lanes.pop().is_some() {
                    popped += 1;
                }
            }
            prop_assert_eq!(pushed, dropped + popped + lanes.iter().count());
            prop_assert_eq!(lanes.bytes(), lanes.iter().map(Weight::bytes).sum::<usize>());
        }
    }
}
