//! Messages of a round: kept until its end, then given to whoever subscribed, all at once.

use trunkline_proto::base::Instant;
use trunkline_proto::message::{Incoming as Message, SubscriptionId};
use trunkline_proto::shard::Input;
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;
use trunkline_proto::wire::package::Code;

use super::Worker;
use crate::messages::Sink;
use crate::runtime::clock::Clock;

/// Subscribers whose room for messages is kept from round to round.
const SINKS: usize = 16;

impl Worker {
    /// Keeps a message until the end of the round.
    pub(super) fn keep(&mut self, id: SubscriptionId, message: Message) {
        match self.arrived.iter_mut().find(|(held, _)| *held == id) {
            Some((_, messages)) => messages.push(message),
            None => self.arrived.push((id, vec![message])),
        }
    }

    /// Gives messages to a callback, and back those from the first one on that found no room: what
    /// was taken is the front, also if there is room again a moment later.
    fn call(&self, place: usize, messages: Vec<Message>) -> Vec<Message> {
        let mut messages = messages.into_iter();
        let refused =
            messages.by_ref().find_map(|m| self.shared.dispatch.message(place, Box::new(m)).err());
        refused.map(|m| *m).into_iter().chain(messages).collect()
    }

    /// Gives subscribers what a round brought. What finds no room goes back.
    pub(super) fn give_messages(&mut self, now: Instant) {
        for at in 0..self.arrived.len() {
            let Some((id, messages)) = self.arrived.get_mut(at) else { return };
            let (id, mut messages) = (*id, std::mem::take(messages));
            let count = messages.len();
            let traced = messages.iter().enumerate().filter(|(_, m)| m.trace);
            let traced: Vec<(usize, Message)> = traced.map(|(at, m)| (at, m.clone())).collect();
            let code = match self.shared.post.sink(id) {
                Some(Sink::Inbox(inbox)) => {
                    inbox.put(&mut messages);
                    Code::QueueFull
                }
                Some(Sink::Callback(place)) => {
                    messages = self.call(place, messages);
                    Code::QueueFull
                }
                // Whoever subscribed is gone, and this partition did not hear of it.
                None => Code::UnknownTarget,
            };
            if code == Code::UnknownTarget
                && let Some(partition) = self.partition
            {
                let post = Post::Unsubscribe(id);
                let input = Input::Post(Role::Partition(partition), post);
                self.shard.handle(now, Clock::wall(), input);
            }
            self.shared.post.overflow(messages.len());
            let taken = count - messages.len();
            for (_, message) in traced.iter().filter(|(at, _)| *at < taken) {
                self.shard.give_back(now, Clock::wall(), message, Code::Arrived);
            }
            for message in messages.drain(..) {
                self.shard.give_back(now, Clock::wall(), &message, code);
            }
            // The room stays for the next round.
            if let Some((_, room)) = self.arrived.get_mut(at) {
                *room = messages;
            }
        }
        self.arrived.truncate(SINKS);
    }
}
