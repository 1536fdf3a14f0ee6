//! Mailboxes: bounded queues between threads that wake a sleeper once, not per item.
//!
//! Owns the two lanes and the protocol that decides when a wake-up is due. It never blocks and
//! never grows; a full lane gives the item back, and whoever pushed decides what is dropped. Fed by
//! any thread, emptied by the one whose poller the wake-up reaches.
//!
//! A queue hop costs some 20 ns and a wake-up some 6 µs, so a wake-up is issued only to a receiver
//! that sleeps or is about to. The receiver says so by arming a flag *before* it looks at the lanes
//! for the last time; a sender looks at the flag *after* its item is in a lane:
//!
//! ```text
//!   receiver                         sender
//!   armed := true                    item into lane
//!   ── fence ──                      ── fence ──
//!   lanes empty?  no: armed := false  armed?  and swap(false) was true: wake
//!                 yes: sleep
//! ```
//!
//! The two fences put these four steps in one order: either the receiver sees the item or the
//! sender sees the flag, never neither. Of several senders only the one whose swap found the flag
//! wakes. The tests in `doze` walk through every interleaving of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::ArrayQueue;

use super::doze::Doze;

/// What makes a sleeping receiver look at its mailbox. Must be callable at any time, and must take
/// effect even when the receiver is not asleep yet.
pub trait Wake: Send + Sync {
    /// Wakes the receiver.
    fn wake(&self);
}

impl Wake for mio::Waker {
    fn wake(&self) {
        // It fails only when its poller is gone, and nobody is left to wake then.
        let _ = mio::Waker::wake(self);
    }
}

impl<W: Wake + ?Sized> Wake for Arc<W> {
    fn wake(&self) {
        (**self).wake();
    }
}

/// Which of a mailbox's queues an item takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Emptied first: control, replies, whatever must overtake.
    Urgent,
    /// Everything else.
    Ordinary,
}

struct Shared<T> {
    urgent: ArrayQueue<T>,
    ordinary: ArrayQueue<T>,
    doze: Doze,
    /// The receiver is gone.
    closed: AtomicBool,
    wake: Box<dyn Wake>,
}

impl<T> Shared<T> {
    fn lane(&self, lane: Lane) -> &ArrayQueue<T> {
        match lane {
            Lane::Urgent => &self.urgent,
            Lane::Ordinary => &self.ordinary,
        }
    }
}

/// Makes mailboxes.
pub struct Mailbox;

impl Mailbox {
    /// A mailbox holding at most `urgent` and `ordinary` items (at least one each), whose sleeping
    /// receiver is woken by `wake`.
    #[allow(clippy::new_ret_no_self, reason = "a mailbox is its two ends")]
    pub fn new<T: Send>(
        urgent: usize,
        ordinary: usize,
        wake: impl Wake + 'static,
    ) -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Shared {
            urgent: ArrayQueue::new(urgent.max(1)),
            ordinary: ArrayQueue::new(ordinary.max(1)),
            doze: Doze::new(),
            closed: AtomicBool::new(false),
            wake: Box::new(wake),
        });
        (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
    }
}

/// The end that puts items in; as many clones as there are threads.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Send> Sender<T> {
    /// Puts an item in and wakes the receiver if it sleeps.
    ///
    /// # Errors
    /// The item, when the lane is full or the receiver gone.
    pub fn push(&self, lane: Lane, item: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(item);
        }
        self.shared.lane(lane).push(item)?;
        self.notify();
        Ok(())
    }

    /// Moves items from the front of `items` into the lane, with one look at the sleeper for all of
    /// them. Returns how many went; the rest found no room.
    pub fn push_all(&self, lane: Lane, items: &mut VecDeque<T>) -> usize {
        if self.is_closed() {
            return 0;
        }
        let queue = self.shared.lane(lane);
        let mut pushed = 0;
        while let Some(item) = items.pop_front() {
            if let Err(item) = queue.push(item) {
                items.push_front(item);
                break;
            }
            pushed += 1;
        }
        if pushed > 0 {
            self.notify();
        }
        pushed
    }

    /// Whether the receiver is gone. What is pushed from then on comes back.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }

    /// Items waiting in a lane; a guess while others push and pop.
    pub fn len(&self, lane: Lane) -> usize {
        self.shared.lane(lane).len()
    }

    /// Whether a lane looks empty.
    pub fn is_empty(&self, lane: Lane) -> bool {
        self.shared.lane(lane).is_empty()
    }

    fn notify(&self) {
        if self.shared.doze.must_wake() {
            self.shared.wake.wake();
        }
    }
}

/// The end that takes items out. There is exactly one.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// The next item, urgent ones first. Within a lane, what one thread pushed comes in its order.
    pub fn pop(&mut self) -> Option<T> {
        self.shared.urgent.pop().or_else(|| self.shared.ordinary.pop())
    }

    /// The next urgent item; for looking in between while working through ordinary ones.
    pub fn pop_urgent(&mut self) -> Option<T> {
        self.shared.urgent.pop()
    }

    /// Announces sleep. True: both lanes are empty, and any push from now on wakes. False: there is
    /// something to do, and nothing has been announced.
    #[must_use = "sleeping in spite of false loses the items until the next push"]
    pub fn prepare_sleep(&mut self) -> bool {
        self.shared
            .doze
            .prepare(|| self.shared.urgent.is_empty() && self.shared.ordinary.is_empty())
    }

    /// Says that the receiver is up, whatever woke it, so that pushes meanwhile wake nobody. Not
    /// calling it costs a wake-up for nothing, never an item.
    pub fn woke(&mut self) {
        self.shared.doze.end();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // Items may hold buffers and replies others wait for. One pushed at this very moment stays
        // until the last sender is dropped.
        while self.pop().is_some() {}
    }
}
