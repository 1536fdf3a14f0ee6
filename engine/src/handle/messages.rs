//! Messages: what an application sends, asks and takes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam::channel::bounded;
use trunkline_proto::base::{Hashname, Namespace, Priority};
use trunkline_proto::message::{
    Incoming as Message, Outbound, Purpose, Returned, Sending, Subscription as Taken,
    SubscriptionId,
};
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;
use trunkline_proto::wire::envelope::Envelope;
use trunkline_proto::wire::package::Code;

use super::{Failure, Handle, PATIENCE};
use crate::inbox::Inbox;
use crate::messages::{Incoming, Outcome, Sink, Subscription};
use crate::runtime::letters::{Command, Letter};
use crate::runtime::mailbox::Lane;

/// Messages and bytes of them that cross to a worker in one letter. 4,096 letters hold 1 GiB at
/// the very most, as they would with one message of the largest size in each.
const LETTER: (usize, usize) = (256, 256 << 10);

impl From<Returned> for Failure {
    fn from(back: Returned) -> Self {
        Self::Code { code: back.code, by: back.by, rule: back.rule }
    }
}

/// Messages reach whoever subscribed to their namespace at the receiving node, at most once. What
/// does not reach anybody comes back with a code and the node that says so.
impl Handle {
    /// Sends a message without waiting. If it comes back, the application is told by
    /// [`Builder::on_return`](crate::Builder::on_return), and it is counted
    /// ([`Self::came_back`]). Gives back the message's number.
    ///
    /// # Errors
    /// [`Failure::Busy`], when this node's own queue is full: try again.
    ///
    /// ```no_run
    /// # fn example(node: &trunkline::Handle, peer: trunkline::Hashname) -> Result<(), Box<dyn std::error::Error>> {
    /// use trunkline::Outbound;
    ///
    /// let order = Outbound::to("shop.orders".parse()?, 7.into());
    /// node.notify(peer, &order, "two loaves")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn notify(
        &self,
        to: Hashname,
        what: &Outbound,
        record: impl Into<Bytes>,
    ) -> Result<u64, Failure> {
        let id = self.shared.new_token().0;
        self.send_one(to, id, *what, Purpose::Notice, record.into()).map(|()| id)
    }

    /// Sends messages that differ only in their records to one peer without waiting, in order, from
    /// the front of `records`, until none is left or this node's queue is full: then try again with
    /// what is left. Gives back how many it took; each is then on its way as with
    /// [`Self::notify`].
    ///
    /// Messages handed over together share the cost of crossing to the worker and of writing their
    /// envelope, and plain ones travel to the first hop in one piece.
    pub fn send_many(&self, to: Hashname, what: &Outbound, records: &mut VecDeque<Bytes>) -> usize {
        let mut taken = 0;
        while !records.is_empty() {
            let some: Vec<Bytes> = records.drain(..letter_of(records)).collect();
            let count = some.len();
            let id = self.shared.new_tokens(count as u64).0;
            if let Err(back) = self.hand_over(to, id, *what, Purpose::Notice, some) {
                back.into_iter().rev().for_each(|r| records.push_front(r));
                break;
            }
            taken += count;
        }
        taken
    }

    /// Sends a message and waits until it was handed to whoever subscribed there. Gives back how
    /// long that took.
    ///
    /// # Errors
    /// [`Failure`]: why it came back, and which node says so. [`Code::TimedOut`] when `patience`
    /// ends first: then nobody knows.
    pub fn deliver(
        &self,
        to: Hashname,
        what: &Outbound,
        record: impl Into<Bytes>,
        patience: Duration,
    ) -> Result<Returned, Failure> {
        let envelope = Envelope { trace: true, ..what.envelope };
        let what = Outbound { envelope, ..*what };
        let outcome = self.send_and_wait(to, what, Purpose::Notice, record.into(), patience)?;
        match outcome {
            Outcome::Back(back) if back.code == Code::Arrived => Ok(back),
            Outcome::Back(back) => Err(back.into()),
            Outcome::Replied(_) => Err(Failure::Busy),
        }
    }

    /// Asks: sends a message and waits for the reply.
    ///
    /// # Errors
    /// [`Failure`]: why it came back, and which node says so. [`Code::TimedOut`] when there is no
    /// reply in time.
    ///
    /// ```no_run
    /// # fn example(node: &trunkline::Handle, peer: trunkline::Hashname) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use trunkline::Outbound;
    ///
    /// let price = Outbound::to("shop.prices".parse()?, 3.into());
    /// let reply = node.request(peer, &price, "bread", Duration::from_secs(5))?;
    /// println!("{:?}", reply.record());
    /// # Ok(())
    /// # }
    /// ```
    pub fn request(
        &self,
        to: Hashname,
        what: &Outbound,
        record: impl Into<Bytes>,
        patience: Duration,
    ) -> Result<Message, Failure> {
        let purpose = Purpose::Request(patience);
        let envelope = Envelope { trace: false, ..what.envelope };
        let what = Outbound { envelope, ..*what };
        match self.send_and_wait(to, what, purpose, record.into(), patience + PATIENCE)? {
            Outcome::Replied(message) => Ok(*message),
            Outcome::Back(back) => Err(back.into()),
        }
    }

    /// Answers a message; see [`Incoming::reply`].
    ///
    /// # Errors
    /// [`Failure::Busy`], when this node's own queue is full: try again.
    pub fn reply(&self, to: &Message, record: impl Into<Bytes>) -> Result<u64, Failure> {
        let envelope = to.envelope();
        let mut what = Outbound::to(envelope.namespace, envelope.record);
        what.envelope.local = envelope.local;
        what.priority = Priority::HIGHEST;
        let id = self.shared.new_token().0;
        let purpose = Purpose::Reply { to: to.id, packed: to.sequence.builders() };
        let sending = Sending {
            id,
            to: to.from,
            hashname: to.hashname,
            outbound: what,
            purpose,
            records: vec![record.into()],
        };
        self.send(sending).map(|()| id).map_err(|_| Failure::Busy)
    }

    /// Says something to whoever subscribed to a namespace at any node of the mesh in reach, and at
    /// this one if `here`: at most once each, and nothing comes back. It is signed and not sealed:
    /// everybody on its way can read it. Gives back its number.
    ///
    /// # Errors
    /// [`Failure`], by this node: [`Code::QueueFull`] beyond 50 a second
    /// ([`Limits::broadcasts_per_origin`]), [`Code::TooLarge`] for more than a frame, 16 KiB with
    /// what stands around it, [`Code::NoKey`] for a sequence with "A".
    ///
    /// [`Limits::broadcasts_per_origin`]: trunkline_proto::base::Limits::broadcasts_per_origin
    pub fn broadcast(
        &self,
        what: &Outbound,
        record: impl Into<Bytes>,
        here: bool,
    ) -> Result<u64, Failure> {
        let (reply, answer) = bounded(1);
        let (what, record) = (Box::new(*what), record.into());
        let seat = self.plan.seat(Role::Routing);
        let command = Command::Broadcast { what, record, here, reply };
        self.command(seat, command).map_err(|_| Failure::Busy)?;
        let said = answer.recv_timeout(PATIENCE).map_err(|_| Failure::Busy)?;
        said.map_err(|code| Failure::Code { code, by: None, rule: 0 })
    }

    /// Takes messages to a namespace of this node, broadcasts among them, and to a target in it or all of them, from now
    /// on until what is given back is dropped.
    ///
    /// # Errors
    /// [`Failure::Busy`], when there are as many subscriptions as may be, or the node is stopping.
    ///
    /// ```no_run
    /// # fn example(node: &trunkline::Handle) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let orders = node.subscribe("shop.orders".parse()?, None)?;
    /// while let Some(order) = orders.next(Duration::MAX) {
    ///     println!("{:?} from {:?}", order.record(), order.from);
    ///     order.reply("thank you")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(
        &self,
        namespace: Namespace,
        target: Option<Namespace>,
    ) -> Result<Subscription, Failure> {
        let inbox = Arc::new(Inbox::default());
        let most = self.shared.limits.subscriptions;
        let sink = Sink::Inbox(inbox.clone());
        let id = self.shared.post.subscribe(sink, most).ok_or(Failure::Busy)?;
        // From here on it is taken back by being dropped.
        let subscription = Subscription { handle: self.clone(), id, inbox };
        let (reply, answers) = bounded(self.workers.len());
        let mut asked = 0;
        for partition in 0..self.plan.partitions() {
            let role = Role::Partition(partition);
            let what = Taken { id, namespace, target };
            let worker = self.workers.get(self.plan.seat(role)).ok_or(Failure::Busy)?;
            let letter = Letter::Post(role, Post::Subscribe(what));
            worker.push(Lane::Urgent, letter).map_err(|_| Failure::Busy)?;
            let sync = Letter::Command(Command::Sync(reply.clone()));
            worker.push(Lane::Urgent, sync).map_err(|_| Failure::Busy)?;
            asked += 1;
        }
        for _ in 0..asked {
            answers.recv_timeout(PATIENCE).map_err(|_| Failure::Busy)?;
        }
        Ok(subscription)
    }

    pub(crate) fn unsubscribe(&self, id: SubscriptionId) {
        self.shared.post.unsubscribe(id);
        for partition in 0..self.plan.partitions() {
            let role = Role::Partition(partition);
            let letter = Letter::Post(role, Post::Unsubscribe(id));
            // A worker that does not hear of it now does with the next message for nobody.
            if let Some(worker) = self.workers.get(self.plan.seat(role)) {
                let _ = worker.push(Lane::Urgent, letter);
            }
        }
    }

    /// Messages sent with [`Self::notify`] that came back, so far.
    #[must_use]
    pub fn came_back(&self) -> u64 {
        self.came_back_by_code().map(|(_, count)| count).sum()
    }

    /// How many messages came back with each code, so far. Nodes on the way tell a sender of only
    /// so many a second ([`Limits::returns_per_source`]): more may be missing than came back.
    ///
    /// [`Limits::returns_per_source`]: trunkline_proto::base::Limits::returns_per_source
    pub fn came_back_by_code(&self) -> impl Iterator<Item = (Code, u64)> + '_ {
        Code::ALL.into_iter().map(|code| (code, self.shared.post.count(code)))
    }

    /// Messages that arrived and went back because whoever subscribed had no room, so far.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.shared.post.overflowed()
    }

    /// A message that arrived, with the means to answer it.
    pub(crate) fn incoming(&self, message: Message) -> Incoming {
        Incoming { message, handle: self.clone() }
    }

    fn send_one(
        &self,
        to: Hashname,
        id: u64,
        what: Outbound,
        purpose: Purpose,
        record: Bytes,
    ) -> Result<(), Failure> {
        self.hand_over(to, id, what, purpose, vec![record]).map_err(|_| Failure::Busy)
    }

    fn send_and_wait(
        &self,
        to: Hashname,
        what: Outbound,
        purpose: Purpose,
        record: Bytes,
        patience: Duration,
    ) -> Result<Outcome, Failure> {
        let id = self.shared.new_token().0;
        let (reply, outcome) = bounded(1);
        if !self.shared.post.expect(id, reply) {
            return Err(Failure::Busy);
        }
        let sent = self.send_one(to, id, what, purpose, record);
        let timed_out = |_| Failure::Code { code: Code::TimedOut, by: None, rule: 0 };
        let outcome = sent.and_then(|()| outcome.recv_timeout(patience).map_err(timed_out));
        self.shared.post.forget(id);
        outcome
    }

    /// Gives back the records that the worker's queue has no room for.
    fn hand_over(
        &self,
        to: Hashname,
        id: u64,
        outbound: Outbound,
        purpose: Purpose,
        records: Vec<Bytes>,
    ) -> Result<(), Vec<Bytes>> {
        let (to, hashname) = (to.address(), Some(to));
        self.send(Sending { id, to, hashname, outbound, purpose, records })
    }

    fn send(&self, sending: Sending) -> Result<(), Vec<Bytes>> {
        let role = Role::Partition(self.plan.partition_of(&sending.to));
        let urgent = sending.outbound.priority > Priority::DEFAULT;
        let lane = if urgent { Lane::Urgent } else { Lane::Ordinary };
        let worker = self.workers.get(self.plan.seat(role)).ok_or_else(Vec::new)?;
        let letter = Letter::Post(role, Post::Send(Box::new(sending)));
        worker.push(lane, letter).map_err(|letter| match letter {
            Letter::Post(_, Post::Send(sending)) => sending.records,
            _ => Vec::new(),
        })
    }
}

/// How many messages from the front cross in one letter: at least one, if there is one.
fn letter_of(records: &VecDeque<Bytes>) -> usize {
    let (most, mut room) = LETTER;
    let fits = |r: &&Bytes| {
        let fits = r.len() <= room;
        room = room.saturating_sub(r.len());
        fits
    };
    records.iter().take(most).take_while(fits).count().clamp(1, records.len().max(1))
}
