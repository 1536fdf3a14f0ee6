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
                    let dispatch = &self.shared.dispatch;
                    messages = hand_over(messages, |m| dispatch.message(place, Box::new(m)));
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

/// Hands over one after the other until one is refused, and gives back that one and all behind it:
/// what was taken is the front, also if there is room again a moment later.
fn hand_over<T>(all: Vec<T>, to: impl FnMut(T) -> Result<(), Box<T>>) -> Vec<T> {
    let mut all = all.into_iter();
    let refused = all.by_ref().map(to).find_map(Result::err);
    refused.map(|m| *m).into_iter().chain(all).collect()
}

#[cfg(test)]
mod tests {
    use super::hand_over;

    #[test]
    fn n21_what_was_taken_is_the_front_also_if_room_comes_back() {
        let offer = |refused: &[u32]| {
            let mut taken = Vec::new();
            let take = |n| {
                if refused.contains(&n) {
                    return Err(Box::new(n));
                }
                taken.push(n);
                Ok(())
            };
            let back = hand_over((1..=5).collect(), take);
            (taken, back)
        };
        assert_eq!(offer(&[]), (vec![1, 2, 3, 4, 5], vec![]));
        // From the fourth on there would be room again.
        assert_eq!(offer(&[3]), (vec![1, 2], vec![3, 4, 5]));
        assert_eq!(offer(&[1, 2, 3, 4, 5]), (vec![], vec![1, 2, 3, 4, 5]));
        assert_eq!(offer(&[5]), (vec![1, 2, 3, 4], vec![5]));
    }
}
