//! Where the streams of a line stand: the table by id, the queues for sending, the wake-ups.
//!
//! Owns order, never what is sent. Each stream stands at most once in each queue (its flags
//! say where), so every queue is bounded by the number of streams.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::kinds::StreamId;
use super::stream::{Flags, Stream};
use crate::base::{Instant, Priority};

/// The streams, in slots that their queues name.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Box<Stream>>>,
    free: Vec<u32>,
    /// Ordered, so that nobody can choose collisions and a seed repeats.
    ids: BTreeMap<u64, u32>,
    /// The last one looked up: packets come in trains.
    recent: Option<(u64, u32)>,
}

impl Table {
    pub(super) fn slot(&mut self, id: StreamId) -> Option<u32> {
        if let Some((_, slot)) = self.recent.filter(|r| r.0 == id.0) {
            return Some(slot);
        }
        let slot = *self.ids.get(&id.0)?;
        self.recent = Some((id.0, slot));
        Some(slot)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Stream> {
        self.slots.get(usize::try_from(slot).ok()?)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Stream> {
        self.slots.get_mut(usize::try_from(slot).ok()?)?.as_deref_mut()
    }

    pub(super) fn by_id(&self, id: StreamId) -> Option<&Stream> {
        self.get(*self.ids.get(&id.0)?)
    }

    /// `None` if the slots are used up, which the limit on streams prevents.
    pub(super) fn insert(&mut self, stream: Stream) -> Option<u32> {
        let id = stream.id.0;
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else {
            let slot = u32::try_from(self.slots.len()).ok()?;
            self.slots.push(None);
            slot
        };
        *self.slots.get_mut(usize::try_from(slot).ok()?)? = Some(Box::new(stream));
        self.ids.insert(id, slot);
        Some(slot)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Stream>> {
        let stream = self.slots.get_mut(usize::try_from(slot).ok()?)?.take()?;
        self.ids.remove(&stream.id.0);
        self.recent = None;
        self.free.push(slot);
        Some(stream)
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.ids.values().filter_map(|slot| self.get(*slot))
    }

    pub(super) fn slots(&self) -> Vec<u32> {
        self.ids.values().copied().collect()
    }
}

/// A queue of streams for each priority.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    queues: [VecDeque<u32>; 8],
    filled: u8,
}

impl Lanes {
    pub(super) fn push(&mut self, priority: Priority, slot: u32) {
        if let Some(queue) = self.queues.get_mut(usize::from(priority.level())) {
            queue.push_back(slot);
            self.filled |= 1 << priority.level();
        }
    }

    /// The highest priority with a stream waiting, among those in `of`.
    pub(super) const fn highest(a: &Self, b: &Self) -> Option<Priority> {
        let filled = a.filled | b.filled;
        if filled == 0 {
            return None;
        }
        // At most 7, for eight bits.
        Some(Priority::from_low_bits((7 - filled.leading_zeros()).to_le_bytes()[0]))
    }

    pub(super) fn front(&self, priority: Priority) -> Option<u32> {
        self.queues.get(usize::from(priority.level()))?.front().copied()
    }

    /// Takes the front out; `back` puts it at the end instead.
    pub(super) fn next(&mut self, priority: Priority, back: bool) {
        let Some(queue) = self.queues.get_mut(usize::from(priority.level())) else { return };
        if let Some(slot) = queue.pop_front()
            && back
        {
            queue.push_back(slot);
        }
        if queue.is_empty() {
            self.filled &= !(1 << priority.level());
        }
    }

    pub(super) fn remove(&mut self, priority: Priority, slot: u32) {
        if let Some(queue) = self.queues.get_mut(usize::from(priority.level())) {
            queue.retain(|s| *s != slot);
            if queue.is_empty() {
                self.filled &= !(1 << priority.level());
            }
        }
    }
}

/// All queues for sending.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// Streams that owe an ACK or a RESET.
    pub(super) control: VecDeque<u32>,
    /// Streams that break a silence.
    pub(super) probes: VecDeque<u32>,
    /// Streams with something lost.
    pub(super) resend: Lanes,
    /// Streams with something new.
    pub(super) fresh: Lanes,
    /// Streams whose writer waits for the line's budget.
    pub(super) blocked: VecDeque<u32>,
}

impl Queues {
    /// `stream` wants an ACK or a RESET sent, as `what` says.
    pub(super) fn want_control(&mut self, stream: &mut Stream, slot: u32, what: u8) {
        stream.queued.raise(what);
        if what == Flags::ACK {
            stream.debt.due = None;
        }
        if stream.queued.raise(Flags::CONTROL) {
            self.control.push_back(slot);
        }
    }

    pub(super) fn want_resend(&mut self, stream: &mut Stream, slot: u32) {
        if stream.queued.raise(Flags::RESEND) {
            self.resend.push(stream.priority, slot);
        }
    }

    pub(super) fn want_fresh(&mut self, stream: &mut Stream, slot: u32) {
        if stream.queued.raise(Flags::FRESH) {
            self.fresh.push(stream.priority, slot);
        }
    }

    pub(super) fn want_probe(&mut self, stream: &mut Stream, slot: u32) {
        if stream.queued.raise(Flags::PROBE) {
            self.probes.push_back(slot);
        }
    }

    /// Takes `stream` out of every queue.
    pub(super) fn remove(&mut self, stream: &mut Stream, slot: u32) {
        if stream.queued.take(Flags::CONTROL) {
            self.control.retain(|s| *s != slot);
        }
        if stream.queued.take(Flags::PROBE) {
            self.probes.retain(|s| *s != slot);
        }
        if stream.queued.take(Flags::RESEND) {
            self.resend.remove(stream.priority, slot);
        }
        if stream.queued.take(Flags::FRESH) {
            self.fresh.remove(stream.priority, slot);
        }
        if stream.write_waits {
            self.blocked.retain(|s| *s != slot);
        }
    }
}

/// When streams want to be woken. Each stands here at most once; a wish that moves later
/// leaves the entry alone and is looked at when the entry fires, so that the common case (a
/// packet pushes its stream's probe further out) costs nothing.
#[derive(Debug, Default)]
pub(super) struct Wakes(BTreeSet<(Instant, u32)>);

impl Wakes {
    /// `stream` wants to be woken at `at`.
    pub(super) fn set(&mut self, stream: &mut Stream, slot: u32, at: Option<Instant>) {
        let Some(at) = at else { return };
        if let Some(old) = stream.registered {
            if old <= at {
                return;
            }
            self.0.remove(&(old, slot));
        }
        self.0.insert((at, slot));
        stream.registered = Some(at);
    }

    pub(super) fn remove(&mut self, stream: &mut Stream, slot: u32) {
        if let Some(old) = stream.registered.take() {
            self.0.remove(&(old, slot));
        }
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.0.first().map(|w| w.0)
    }

    /// Takes out one entry that is due at `now`.
    pub(super) fn due(&mut self, now: Instant) -> Option<u32> {
        let first = *self.0.first().filter(|w| w.0 <= now)?;
        self.0.remove(&first);
        Some(first.1)
    }
}
