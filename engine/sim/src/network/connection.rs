//! A link's connection as TCP makes it: bytes in order and whole, or an end.
//!
//! Each direction is an [`Emulator`] that loses nothing. How much the two kernels hold is
//! bounded, so that a slow wire or a reader that does not read is felt by the writer. A cut is
//! silent: nothing comes out until it is mended, and TCP would have sent it again by then. A
//! process that dies resets; what was under way is lost.

use bytes::Bytes;
use trunkline_proto::base::{Chance, Instant, LinkId};

use super::framer::Framer;
use crate::emulator::{Conditions, Emulator, Item};

/// What travels on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    /// Bytes.
    Bytes(Bytes),
    /// The end, in order or not.
    End,
}

impl Item for Segment {
    fn size(&self) -> usize {
        match self {
            Self::Bytes(b) => b.len(),
            Self::End => 0,
        }
    }

    fn flip_bit(&mut self, _: u64) {}
}

/// One direction.
pub(crate) struct Pipe {
    wire: Emulator<Segment>,
    inside: usize,
    window: usize,
    /// The writer found no room and wants to know when there is some.
    pub(crate) blocked: bool,
    /// The reader reads nothing until then.
    pub(crate) deaf_until: Instant,
    /// Nothing more may be written.
    ended: bool,
    /// When the agenda looks at it next.
    scheduled: Option<Instant>,
    /// Frames as they are written, for those who watch.
    pub(crate) framer: Framer,
}

impl Pipe {
    fn new(conditions: Conditions, window: usize, chance: Chance) -> Self {
        Self {
            wire: Emulator::new(conditions, chance),
            inside: 0,
            window,
            blocked: false,
            deaf_until: Instant::ZERO,
            ended: false,
            scheduled: None,
            framer: Framer::default(),
        }
    }

    /// Bytes that may be written now.
    pub(crate) const fn room(&self) -> usize {
        if self.ended { 0 } else { self.window.saturating_sub(self.inside) }
    }

    /// Whether nothing more may be written.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Writes.
    pub(crate) fn push(&mut self, now: Instant, segment: Segment) {
        if self.ended {
            return;
        }
        self.ended = matches!(segment, Segment::End);
        self.inside += segment.size();
        self.wire.push(now, segment);
    }

    /// What arrived. Nothing while the reader does not read.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Segment> {
        if self.deaf_until > now {
            return None;
        }
        let segment = self.wire.pop(now)?;
        self.inside -= segment.size();
        Some(segment)
    }

    /// When to look again, if the agenda does not yet.
    pub(crate) fn schedule(&mut self) -> Option<Instant> {
        let due = self.wire.deadline()?.max(self.deaf_until);
        let news = self.scheduled.is_none_or(|s| due < s);
        news.then(|| *self.scheduled.insert(due))
    }

    /// The agenda looks.
    pub(crate) fn looked(&mut self, now: Instant) {
        self.scheduled = self.scheduled.filter(|s| *s > now);
    }

    /// What the wire does from now on.
    pub(crate) fn set_conditions(&mut self, now: Instant, conditions: Conditions) {
        self.wire.set_conditions(now, conditions);
    }

    /// Loses what is inside, and ends.
    fn reset(&mut self, now: Instant) {
        self.wire.cut();
        self.wire.heal();
        self.inside = 0;
        self.ended = false;
        self.push(now, Segment::End);
    }
}

/// Who is at one end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// Which node; none if somebody hostile.
    pub(crate) node: Option<usize>,
    /// Which run of it.
    pub(crate) run: u32,
    /// What it calls the link.
    pub(crate) link: LinkId,
    /// Whether the node still has it.
    pub(crate) open: bool,
}

/// One connection.
pub(crate) struct Connection {
    /// The one who dialled, the one who accepted.
    pub(crate) ends: [End; 2],
    /// From the one who dialled, from the one who accepted.
    pub(crate) pipes: [Pipe; 2],
    /// Over which edge; none for somebody hostile.
    pub(crate) edge: Option<usize>,
}

impl Connection {
    pub(crate) fn new(
        ends: [End; 2],
        edge: Option<usize>,
        conditions: Conditions,
        window: usize,
        chance: &mut Chance,
    ) -> Self {
        let pipes = [0, 1].map(|_| Pipe::new(conditions, window, chance.fork()));
        Self { ends, pipes, edge }
    }

    /// Whether somebody still has it.
    pub(crate) fn is_open(&self) -> bool {
        self.ends.iter().any(|e| e.open && e.node.is_some())
    }

    /// One end closes: what it wrote still arrives, then the end; what comes is refused.
    pub(crate) fn close(&mut self, now: Instant, end: usize) {
        self.ends[end].open = false;
        self.pipes[end].push(now, Segment::End);
    }

    /// One end's process died.
    pub(crate) fn reset(&mut self, now: Instant, end: usize) {
        self.ends[end].open = false;
        self.pipes[end].reset(now);
    }
}
