//! What subscribers hold.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trunkline_proto::message::{Incoming as Message, SubscriptionId};

use crate::handle::{Failure, Handle};
use crate::inbox::Inbox;

/// Messages to a namespace of this node, for as long as it lives. What is not taken in time goes
/// back to its sender: 65,536 messages, or 64 MiB, wait at most.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) handle: Handle,
    pub(crate) id: SubscriptionId,
    pub(crate) inbox: Arc<Inbox>,
}

impl Subscription {
    /// The next message, in order of arrival; `None` when `patience` ends first or the node is
    /// gone.
    #[must_use]
    pub fn next(&self, patience: Duration) -> Option<Incoming> {
        let message = self.inbox.next(patience)?;
        Some(Incoming { message, handle: self.handle.clone() })
    }

    /// The next message, if one is there.
    #[must_use]
    pub fn try_next(&self) -> Option<Incoming> {
        self.next(Duration::ZERO)
    }

    /// Appends all messages that are there to `taken`, waiting for the first one at most for
    /// `patience`. Gives back how many; 0 when `patience` ended or the node is gone. Answered with
    /// [`Handle::reply`].
    pub fn take(&self, taken: &mut Vec<Message>, patience: Duration) -> usize {
        self.inbox.take(taken, patience)
    }

    /// Whether no more messages will come: the node is gone, or [`Self::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Lets everyone who waits for a message go, from any thread.
    pub fn close(&self) {
        self.inbox.close();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.inbox.close();
        self.handle.unsubscribe(self.id);
    }
}

/// A message that arrived, and the means to answer it.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub(crate) message: Message,
    pub(crate) handle: Handle,
}

impl Incoming {
    /// Answers it: at the highest priority, and packed by what protected it. Who sent no request
    /// gets it all the same and gives it back, for nobody there waits for it.
    ///
    /// # Errors
    /// [`Failure::Busy`], when this node's own queue is full: try again.
    pub fn reply(&self, record: impl Into<Bytes>) -> Result<u64, Failure> {
        self.handle.reply(&self.message, record)
    }

    /// The message without the means to answer it.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.message
    }
}

impl Deref for Incoming {
    type Target = Message;
    fn deref(&self) -> &Message {
        &self.message
    }
}
