//! What handles and workers share of messages.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::channel::Sender as Reply;
use parking_lot::{Mutex, RwLock};
use trunkline_proto::message::{Incoming as Message, Returned, SubscriptionId};
use trunkline_proto::wire::package::Code;

use crate::inbox::Inbox;

/// Messages that are waited for.
const WAITED_FOR: usize = 65_536;

/// What became of a message that somebody waits for.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The reply to a request.
    Replied(Box<Message>),
    /// It came back, or was handed over.
    Back(Returned),
}

/// Who gets the messages of a subscription.
#[derive(Clone)]
pub(crate) enum Sink {
    /// Whoever looks into it.
    Inbox(Arc<Inbox>),
    /// The callback of this place in the list of those for messages.
    Callback(usize),
}

/// The messages of a node, as far as its threads share them.
pub(crate) struct Post {
    sinks: RwLock<HashMap<SubscriptionId, Sink>>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Reply<Outcome>>>,
    /// Messages sent without waiting that came back, by the number of the code.
    came_back: [AtomicU64; Code::ALL.len() + 1],
    /// Messages that found no room at their subscriber.
    overflowed: AtomicU64,
}

impl Default for Post {
    fn default() -> Self {
        Self {
            sinks: RwLock::default(),
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            came_back: std::array::from_fn(|_| AtomicU64::new(0)),
            overflowed: AtomicU64::new(0),
        }
    }
}

impl Post {
    /// A number for a new subscriber; none if there are `most` already.
    pub(crate) fn subscribe(&self, sink: Sink, most: usize) -> Option<SubscriptionId> {
        let mut sinks = self.sinks.write();
        if sinks.len() >= most {
            return None;
        }
        let id = SubscriptionId(self.next.fetch_add(1, Ordering::Relaxed));
        sinks.insert(id, sink);
        Some(id)
    }

    /// Nobody takes messages by this number any more.
    pub(crate) fn unsubscribe(&self, id: SubscriptionId) {
        self.sinks.write().remove(&id);
    }

    /// Who takes messages by this number.
    pub(crate) fn sink(&self, id: SubscriptionId) -> Option<Sink> {
        self.sinks.read().get(&id).cloned()
    }

    /// Waits for what becomes of a message. False if too many are waited for.
    pub(crate) fn expect(&self, id: u64, reply: Reply<Outcome>) -> bool {
        let mut waiting = self.waiting.lock();
        let room = waiting.len() < WAITED_FOR;
        if room {
            waiting.insert(id, reply);
        }
        room
    }

    pub(crate) fn forget(&self, id: u64) {
        self.waiting.lock().remove(&id);
    }

    /// The reply to a request came.
    pub(crate) fn replied(&self, id: u64, message: Message) {
        if let Some(reply) = self.waiting.lock().remove(&id) {
            // Who gave up waiting needs no answer.
            let _ = reply.try_send(Outcome::Replied(Box::new(message)));
        }
    }

    /// A message came back, or was handed over. Given back if nobody waits for it.
    pub(crate) fn came_back(&self, back: Returned) -> Result<(), Returned> {
        let mut waiting = self.waiting.lock();
        // Whoever waits for a reply hears of a message that was handed over, and waits on.
        let reply = match back.code {
            Code::Arrived => waiting.get(&back.id).cloned(),
            _ => waiting.remove(&back.id),
        };
        drop(waiting);
        if let Some(reply) = reply {
            let _ = reply.try_send(Outcome::Back(back));
            return Ok(());
        }
        if let Some(count) = self.came_back.get(back.code as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Err(back)
    }

    /// How many messages sent without waiting came back with this code.
    pub(crate) fn count(&self, code: Code) -> u64 {
        self.came_back.get(code as usize).map_or(0, |c| c.load(Ordering::Relaxed))
    }

    /// Messages found no room.
    pub(crate) fn overflow(&self, count: usize) {
        self.overflowed.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// How many messages found no room.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// No more messages will come.
    pub(crate) fn close(&self) {
        for sink in self.sinks.read().values() {
            if let Sink::Inbox(inbox) = sink {
                inbox.close();
            }
        }
        self.waiting.lock().clear();
    }
}
