//! Messages on their way from the workers to whoever subscribed.
//!
//! Workers put in what a round brought, all at once; the application takes all that is there. So
//! a message costs a move, and the lock and the wake-up are shared by a round's messages. Bounded
//! in number and bytes: what the application does not take in time goes back to its sender, the
//! newest first, so that what it has taken before stays in order.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use trunkline_proto::message::Incoming as Message;

/// Messages that wait for the application. × ~150 bytes = 10 MiB, and what they hold:
const MOST: usize = 65_536;
/// at most so many bytes, and one message more.
const MOST_BYTES: usize = 64 << 20;

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    /// How many wait for one.
    waiting: usize,
    /// The node is gone, or nobody subscribes any more.
    closed: bool,
}

/// What waits for one subscriber.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Inbox {
    /// Puts in messages, as far as there is room; what is left in `messages` found none.
    pub(crate) fn put(&self, messages: &mut Vec<Message>) {
        let mut state = self.state.lock();
        let mut taken = 0;
        for message in messages.iter() {
            if state.messages.len() + taken >= MOST || state.bytes >= MOST_BYTES {
                break;
            }
            state.bytes += message.size();
            taken += 1;
        }
        state.messages.extend(messages.drain(..taken));
        let wake = state.waiting > 0;
        drop(state);
        if wake {
            self.arrived.notify_all();
        }
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Whether no more will come.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// The state once there is a message, `patience` ended or no more will come.
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

    /// The next message; `None` when `patience` ends first or no more will come.
    pub(crate) fn next(&self, patience: Duration) -> Option<Message> {
        let mut state = self.wait(patience);
        let message = state.messages.pop_front()?;
        state.bytes = state.bytes.saturating_sub(message.size());
        Some(message)
    }

    /// Appends all messages that are there to `taken`, waiting for the first one at most for
    /// `patience`. Gives back how many.
    pub(crate) fn take(&self, taken: &mut Vec<Message>, patience: Duration) -> usize {
        let mut state = self.wait(patience);
        let count = state.messages.len();
        taken.extend(state.messages.drain(..));
        state.bytes = 0;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_proto::base::{Hashname, Namespace};
    use trunkline_proto::message::{Room, Settings, Taken};
    use trunkline_proto::wire::envelope::Envelope;

    /// A message of this node to itself is one like any other.
    fn message(id: u64, size: usize) -> Message {
        let us = Hashname::new([1; 32]);
        let mut room = Room::new(us.address(), Settings::default(), &Default::default());
        let namespace = Namespace::new("a").unwrap();
        let all = trunkline_proto::message::Subscription {
            id: trunkline_proto::message::SubscriptionId(1),
            namespace,
            target: None,
        };
        room.subscribe(all).unwrap();
        let envelope = Envelope::new(namespace, 1.into());
        let own = room.own(us, (id, Default::default()), &envelope, &vec![0; size].into());
        let Taken::Delivered(message) = own else { panic!("{own:?}") };
        message
    }

    fn put(inbox: &Inbox, ids: std::ops::Range<u64>) -> usize {
        let one = message(0, 0);
        let numbered = |id| {
            let mut message = one.clone();
            message.id = id;
            message
        };
        let mut messages: Vec<_> = ids.map(numbered).collect();
        inbox.put(&mut messages);
        messages.len()
    }

    #[test]
    fn c6_messages_are_taken_in_order_one_by_one_or_all_at_once() {
        let inbox = Inbox::default();
        assert_eq!(put(&inbox, 0..3), 0);
        assert_eq!(inbox.next(Duration::ZERO).map(|m| m.id), Some(0));
        let mut taken = Vec::new();
        assert_eq!(inbox.take(&mut taken, Duration::ZERO), 2);
        assert_eq!(taken.iter().map(|m| m.id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(inbox.next(Duration::from_millis(1)), None);
    }

    #[test]
    fn c6_what_nobody_takes_is_bounded_in_number_and_bytes() {
        let inbox = Inbox::default();
        let most = MOST as u64;
        assert_eq!(put(&inbox, 0..most - 1), 0);
        assert_eq!(put(&inbox, 0..3), 2);
        assert_eq!(inbox.next(Duration::ZERO).map(|m| m.id), Some(0));
        assert_eq!(put(&inbox, 0..3), 2);
        let inbox = Inbox::default();
        let mut large = vec![message(1, 1_000_000); 100];
        inbox.put(&mut large);
        assert_eq!(large.len(), 100 - MOST_BYTES.div_ceil(1_000_000));
        assert!(inbox.next(Duration::ZERO).is_some() && inbox.next(Duration::ZERO).is_some());
        inbox.put(&mut large);
        assert_eq!(large.len(), 98 - MOST_BYTES.div_ceil(1_000_000));
    }

    #[test]
    fn c6_a_waiting_application_learns_that_the_node_is_gone() {
        let inbox = Inbox::default();
        inbox.close();
        assert_eq!(inbox.next(Duration::from_secs(3_600)), None);
    }
}
