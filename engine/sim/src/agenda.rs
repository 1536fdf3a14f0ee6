//! What is to happen when: the world's events in order of time, and of arrival at one time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use trunkline_proto::base::Instant;

/// Something to be looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    /// A thread of a node wakes up.
    Seat { node: usize, seat: usize },
    /// A link's direction may have something that arrived.
    Pipe { connection: usize, from: usize },
    /// A UDP path may have something that arrived.
    Udp { from: usize, to: usize },
    /// A node dials, or sees what became of it; of that run of the node.
    Dial { node: usize, dial: usize, run: u32 },
    /// The scenario's next entry is due.
    Act(usize),
    /// The checkers look around.
    Look,
}

/// The world's agenda.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    number: u64,
}

impl Agenda {
    /// Puts an event down.
    pub(crate) fn at(&mut self, at: Instant, event: Event) {
        self.number += 1;
        self.heap.push(Reverse((at, self.number, event)));
    }

    /// The next event up to `end`.
    pub(crate) fn next(&mut self, end: Instant) -> Option<(Instant, Event)> {
        let due = self.heap.peek().is_some_and(|Reverse((at, ..))| *at <= end);
        if !due {
            return None;
        }
        let Reverse((at, _, event)) = self.heap.pop()?;
        Some((at, event))
    }
}
