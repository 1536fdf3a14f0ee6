//! Fair shares among those who fill a lane: deficit round robin, in bytes.
//!
//! ```text
//!   Ring    sources  [Own,  –,  3,   9 ]       places, in a circle; – is empty
//!           flows    [ ▪▪▪      ▪    ▪▪▪▪]     oldest first
//!                           turn ▲
//! ```
//!
//! A flow is what one source has in one lane; it has a place while it holds something. In its turn
//! it gets [`QUANTUM`] bytes more to send, sends while the next item fits, and keeps the rest for its
//! next turn. So among flows that always have something, none is ahead of another by more than a
//! quantum and the largest item. A newcomer takes the empty place whose turn comes last, so that
//! nobody gains by leaving and coming back. A flow that is alone sends without any of this.

use core::cell::Cell;
use std::collections::VecDeque;

use super::{Source, Weight};

/// What a flow may send more in each of its turns: the largest frame of a link.
const QUANTUM: usize = 16 << 10;
/// Places that a ring keeps when it is empty, and the items that each keeps room for: 16 × 128 × 56
/// bytes = 112 KiB a lane that has been in such use, so that a steady state allocates nothing.
const KEPT: (usize, usize) = (16, 128);

/// Which bound was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    Bytes,
    Items,
}

/// One lane.
#[derive(Debug)]
pub(super) struct Ring<T> {
    /// Who has something here, by place: apart from the flows, to be looked through fast.
    sources: Vec<Option<Source>>,
    flows: Vec<Flow<T>>,
    /// How many have something.
    filled: usize,
    turn: Turn,
    pub(super) bytes: usize,
    pub(super) items: usize,
    look: Cell<Look>,
}

/// Whose turn it is: of somebody who has something, if anybody has.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    place: usize,
    /// It has its quantum for this turn.
    granted: bool,
}

/// What one source has in one lane.
#[derive(Debug)]
struct Flow<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// What it may still send in its turn.
    deficit: usize,
    ahead: Cell<Ahead>,
}

/// Where a walk is in a ring, if it is the walk of this number.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    walk: u64,
    turn: Turn,
    /// Items it has not come to yet.
    left: usize,
}

/// Where a walk is in a flow, if it is the walk of this number.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    walk: u64,
    item: usize,
    deficit: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        let (sources, flows, look) = (Vec::new(), Vec::new(), Cell::default());
        Self { sources, flows, filled: 0, turn: Turn::default(), bytes: 0, items: 0, look }
    }
}

impl<T> Default for Flow<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: 0, deficit: 0, ahead: Cell::default() }
    }
}

impl<T: Weight> Ring<T> {
    /// Puts an item of `size` bytes behind what `source` has here.
    #[inline]
    pub(super) fn push(&mut self, source: Source, item: T, size: usize) {
        let place = self.place_of(source).unwrap_or_else(|| self.begin(source));
        let Some(flow) = self.flows.get_mut(place) else { return };
        flow.items.push_back(item);
        flow.bytes += size;
        self.bytes += size;
        self.items += 1;
    }

    /// What leaves next.
    pub(super) fn peek(&mut self) -> Option<&T> {
        self.settle();
        self.flows.get(self.turn.place)?.items.front()
    }

    /// Takes out what leaves next.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.settle();
        let place = self.turn.place;
        let flow = self.flows.get_mut(place)?;
        let item = flow.items.pop_front()?;
        let size = item.bytes();
        flow.deficit = flow.deficit.saturating_sub(size);
        self.took(place, size);
        Some(item)
    }

    /// Makes what leaves next smaller; if nothing of it is left, it is gone. Gives back by how much.
    #[inline]
    pub(super) fn shrink(&mut self, cut: impl FnOnce(&mut T)) -> usize {
        self.settle();
        let place = self.turn.place;
        let Some(flow) = self.flows.get_mut(place) else { return 0 };
        let Some(item) = flow.items.front_mut() else { return 0 };
        let before = item.bytes();
        cut(item);
        let after = item.bytes();
        let gone = before.saturating_sub(after);
        flow.deficit = flow.deficit.saturating_sub(gone);
        if after == 0 {
            flow.items.pop_front();
            self.took(place, gone);
        } else {
            flow.bytes = flow.bytes.saturating_sub(gone);
            self.bytes = self.bytes.saturating_sub(gone);
        }
        gone
    }

    /// Takes out the newest item of the largest flow, by what is short. A newcomer counts with what
    /// it brings, and if it is the largest, nothing is taken out.
    pub(super) fn drop_newest(
        &mut self,
        short: Short,
        newcomer: Option<(Source, usize)>,
    ) -> Option<T> {
        let measure = |flow: &Flow<T>| match short {
            Short::Bytes => flow.bytes,
            Short::Items => flow.items.len(),
        };
        let mut own = 0;
        if let Some((source, size)) = newcomer {
            let (brings, all) = match short {
                Short::Bytes => (size, self.bytes),
                Short::Items => (1, self.items),
            };
            let place = self.place_of(source);
            own = brings + place.and_then(|place| self.flows.get(place)).map_or(0, measure);
            // Half of all or more: no need to look at the others.
            if own * 2 >= all + brings {
                return None;
            }
        }
        let largest = self.flows.iter().enumerate().max_by_key(|(_, flow)| measure(flow));
        let (place, _) = largest.filter(|(_, flow)| measure(flow) > own)?;
        let item = self.flows.get_mut(place)?.items.pop_back()?;
        self.took(place, item.bytes());
        Some(item)
    }

    /// Everything, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.flows.iter().flat_map(|flow| &flow.items)
    }

    /// Where `source` has something.
    #[inline]
    fn place_of(&self, source: Source) -> Option<usize> {
        if self.sources.get(self.turn.place).is_some_and(|s| *s == Some(source)) {
            return Some(self.turn.place);
        }
        match self.filled {
            0 => None,
            _ => self.sources.iter().position(|s| *s == Some(source)),
        }
    }

    /// A place for a newcomer: of the empty ones the one whose turn comes last.
    fn begin(&mut self, source: Source) -> usize {
        let empty = |s: &Option<Source>| s.is_none();
        let (before, after) = self.sources.split_at(self.turn.place.min(self.sources.len()));
        let place = match before.iter().rposition(empty) {
            _ if self.filled == 0 => before.len(),
            Some(place) => place,
            None => before.len() + after.iter().rposition(empty).unwrap_or(after.len()),
        };
        if place == self.flows.len() {
            self.flows.push(Flow::default());
            self.sources.push(None);
        }
        if let Some((known, flow)) = self.sources.get_mut(place).zip(self.flows.get_mut(place)) {
            *known = Some(source);
            flow.deficit = 0;
        }
        if self.filled == 0 {
            self.turn = Turn { place, granted: false };
        }
        self.filled += 1;
        place
    }

    /// Notes that an item of `size` bytes was taken out of the flow at `place`.
    #[inline]
    fn took(&mut self, place: usize, size: usize) {
        self.bytes = self.bytes.saturating_sub(size);
        self.items = self.items.saturating_sub(1);
        let Some(flow) = self.flows.get_mut(place) else { return };
        flow.bytes = flow.bytes.saturating_sub(size);
        if flow.items.is_empty() {
            self.end(place);
        }
    }

    /// A flow has nothing left.
    fn end(&mut self, place: usize) {
        if let Some((source, flow)) = self.sources.get_mut(place).zip(self.flows.get_mut(place)) {
            *source = None;
            if flow.items.capacity() > KEPT.1 {
                flow.items.shrink_to(KEPT.1);
            }
        }
        self.filled = self.filled.saturating_sub(1);
        if self.filled == 0 {
            if self.flows.len() > KEPT.0 {
                self.flows.truncate(KEPT.0);
                self.sources.truncate(KEPT.0);
                self.turn = Turn::default();
            }
        } else if self.turn.place == place {
            self.turn = Turn { place: following(&self.sources, place), granted: false };
        }
    }

    /// Passes the turn on until it is somebody's who can send.
    #[inline]
    fn settle(&mut self) {
        if self.filled > 1 {
            let Self { sources, flows, turn, .. } = self;
            advance(turn, sources, |place, granted| {
                let flow = flows.get_mut(place)?;
                let size = flow.items.front()?.bytes();
                flow.deficit = flow.deficit.saturating_add(granted);
                Some(size <= flow.deficit)
            });
        }
    }

    /// What the walk of this number comes to next, and whether it is the last here: takes the same
    /// steps as taking things out, and leaves them in.
    pub(super) fn step(&self, walk: u64) -> Option<(&T, bool)> {
        let mut look = self.look.get();
        if look.walk != walk {
            look = Look { walk, turn: self.turn, left: self.items };
        }
        if self.filled > 1 {
            advance(&mut look.turn, &self.sources, |place, granted| {
                let flow = self.flows.get(place)?;
                let mut ahead = flow.ahead(walk);
                let size = flow.items.get(ahead.item)?.bytes();
                ahead.deficit = ahead.deficit.saturating_add(granted);
                flow.ahead.set(ahead);
                Some(size <= ahead.deficit)
            });
        }
        let flow = self.flows.get(look.turn.place)?;
        let mut ahead = flow.ahead(walk);
        let item = flow.items.get(ahead.item)?;
        ahead.item += 1;
        ahead.deficit = ahead.deficit.saturating_sub(item.bytes());
        flow.ahead.set(ahead);
        look.left = look.left.saturating_sub(1);
        self.look.set(look);
        Some((item, look.left == 0))
    }

    /// All items in their order, if they are of one source.
    #[inline]
    pub(super) fn alone(&self) -> Option<&VecDeque<T>> {
        let flow = self.flows.get(self.turn.place).filter(|_| self.filled == 1)?;
        Some(&flow.items)
    }
}

impl<T> Flow<T> {
    /// Where the walk of this number is in it.
    const fn ahead(&self, walk: u64) -> Ahead {
        let ahead = self.ahead.get();
        if ahead.walk == walk { ahead } else { Ahead { walk, item: 0, deficit: self.deficit } }
    }
}

/// The next place after `place` where somebody has something.
fn following(sources: &[Option<Source>], place: usize) -> usize {
    let (before, after) = sources.split_at((place + 1).min(sources.len()));
    match after.iter().position(Option::is_some) {
        Some(next) => before.len() + next,
        None => before.iter().position(Option::is_some).unwrap_or(0),
    }
}

/// Passes the turn on until it is somebody's who can send. `may_send` grants the flow at a place so
/// much more and says whether its next item fits then; none if it has no next item.
fn advance(
    turn: &mut Turn,
    sources: &[Option<Source>],
    mut may_send: impl FnMut(usize, usize) -> Option<bool>,
) {
    let mut empty = 0;
    // What is granted adds up, so somebody can send in the end, unless nobody has anything.
    while empty <= sources.len() {
        match may_send(turn.place, if turn.granted { 0 } else { QUANTUM }) {
            Some(true) => {
                turn.granted = true;
                return;
            }
            Some(false) => empty = 0,
            None => empty += 1,
        }
        *turn = Turn { place: following(sources, turn.place), granted: false };
    }
}
