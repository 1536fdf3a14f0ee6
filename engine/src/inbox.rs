//! Messages on their way from the workers to the application.
//!
//! Workers put in what a round brought, all at once; the application takes all that is there. So
//! a message costs a move, and the lock and the wake-up are shared by a round's messages. Bounded:
//! what the application does not take in time is counted and dropped, the newest first, so that
//! what it has taken before stays in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use trunkline_proto::switch::Message;

/// Messages that wait for the application. × ~100 bytes = 6 MiB, and what they hold.
const MOST: usize = 65_536;

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    /// How many wait for one.
    waiting: usize,
    /// The node is gone.
    closed: bool,
}

/// The workers' end.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Arrivals {
    /// Puts in everything, as far as there is room, and leaves `messages` empty. Gives back how
    /// many did not fit.
    pub(crate) fn put(&self, messages: &mut Vec<Message>) -> usize {
        let mut state = self.state.lock();
        let room = MOST - state.messages.len().min(MOST);
        let over = messages.len().saturating_sub(room);
        state.messages.extend(messages.drain(..).take(room));
        messages.clear();
        let wake = state.waiting > 0;
        drop(state);
        if wake {
            self.arrived.notify_all();
        }
        over
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    /// The state once there is a message, `patience` ended or the node is gone.
    fn wait(&self, patience: Duration) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.messages.is_empty() && !state.closed && !patience.is_zero() {
            state.waiting += 1;
            let nothing = |s: &mut State| s.messages.is_empty() && !s.closed;
            self.arrived.wait_while_for(&mut state, nothing, patience);
            state.waiting -= 1;
        }
        state
    }
}

/// Messages that arrived, in order of arrival. All clones share them: each is taken once.
#[derive(Clone, Debug)]
pub struct Inbox(pub(crate) Arc<Arrivals>);

impl Inbox {
    /// The next message; `None` when `patience` ends first or the node is gone.
    #[must_use]
    pub fn next(&self, patience: Duration) -> Option<Message> {
        self.0.wait(patience).messages.pop_front()
    }

    /// The next message, if one is there.
    #[must_use]
    pub fn try_next(&self) -> Option<Message> {
        self.next(Duration::ZERO)
    }

    /// Appends all messages that are there to `taken`, waiting for the first one at most for
    /// `patience`. Gives back how many; 0 when `patience` ended or the node is gone.
    pub fn take(&self, taken: &mut Vec<Message>, patience: Duration) -> usize {
        let mut state = self.0.wait(patience);
        let count = state.messages.len();
        taken.extend(state.messages.drain(..));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use trunkline_proto::base::{Address, Priority};

    fn message(id: u64) -> Message {
        Message {
            from: Address::new([1; 16]),
            priority: Priority::DEFAULT,
            reply: false,
            sealed: true,
            id,
            payload: Bytes::new(),
        }
    }

    fn put(arrivals: &Arrivals, ids: std::ops::Range<u64>) -> usize {
        let mut messages: Vec<_> = ids.map(message).collect();
        let over = arrivals.put(&mut messages);
        assert!(messages.is_empty());
        over
    }

    #[test]
    fn c6_messages_are_taken_in_order_one_by_one_or_all_at_once() {
        let inbox = Inbox(Arc::default());
        assert_eq!(put(&inbox.0, 0..3), 0);
        assert_eq!(inbox.try_next().map(|m| m.id), Some(0));
        let mut taken = Vec::new();
        assert_eq!(inbox.take(&mut taken, Duration::ZERO), 2);
        assert_eq!(taken.iter().map(|m| m.id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(inbox.next(Duration::from_millis(1)), None);
    }

    #[test]
    fn c6_what_nobody_takes_is_bounded_and_counted() {
        let inbox = Inbox(Arc::default());
        let most = MOST as u64;
        assert_eq!(put(&inbox.0, 0..most - 1), 0);
        assert_eq!(put(&inbox.0, 0..3), 2);
        assert_eq!(inbox.try_next().map(|m| m.id), Some(0));
        assert_eq!(put(&inbox.0, 0..3), 2);
    }

    #[test]
    fn c6_a_waiting_application_learns_that_the_node_is_gone() {
        let inbox = Inbox(Arc::default());
        inbox.0.close();
        assert_eq!(inbox.next(Duration::from_secs(3_600)), None);
    }
}
