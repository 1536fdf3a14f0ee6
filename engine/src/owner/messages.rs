//! Messages as the owner sends, asks, takes and answers them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use trunkline_proto::base::{Address, Hashname, Namespace};
use trunkline_proto::message::Outbound;
use trunkline_proto::wire::envelope::Kind;
use trunkline_proto::wire::package::Code;

use super::{Owner, micros};
use crate::control::Listening;
use crate::control::messages::{Heard, Judged, Sent, encode};
use crate::control::protocol::{Fault, codes};
use crate::handle::Failure;
use crate::messages::{Message, Subscription};

/// Messages that may still be answered. × ~400 bytes = 1.6 MiB.
const UNANSWERED: usize = 4_096;

/// Messages somebody listened to that want an answer, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    messages: VecDeque<(u64, Message)>,
    last: u64,
}

impl Unanswered {
    /// A number to answer the message by.
    fn add(&mut self, message: &Message) -> u64 {
        if self.messages.len() >= UNANSWERED {
            self.messages.pop_front();
        }
        self.last += 1;
        self.messages.push_back((self.last, message.without_record()));
        self.last
    }

    fn take(&mut self, number: u64) -> Option<Message> {
        let at = self.messages.iter().position(|(n, _)| *n == number)?;
        self.messages.remove(at).map(|(_, message)| message)
    }
}

struct Heeded {
    subscription: Subscription,
    unanswered: Arc<Mutex<Unanswered>>,
}

impl Listening for Heeded {
    fn next(&self) -> Option<Heard> {
        let message = self.subscription.next(Duration::MAX)?.into_message();
        let wants = message.kind == Kind::Request;
        let number = if wants { self.unanswered.lock().add(&message) } else { 0 };
        Some(Heard { number, ..heard(&message) })
    }

    fn close(&self) {
        self.subscription.close();
    }
}

impl Owner {
    pub(super) fn send_message(&self, message: &Judged, wait: bool) -> Result<Sent, Fault> {
        let Judged { to, what, record, patience } = message;
        let start = self.clock.now();
        if !wait {
            let sent = self.handle.notify(*to, what, record.clone());
            let id = sent.map_err(|failure| came_back(failure, &self.handle.hashname(), to))?;
            return Ok(Sent { id, delivered: false, took_us: None });
        }
        let delivered = self.handle.deliver(*to, what, record.clone(), *patience);
        let back = delivered.map_err(|failure| came_back(failure, &self.handle.hashname(), to))?;
        let took_us = Some(micros(self.clock.now().since(start)));
        Ok(Sent { id: back.id, delivered: true, took_us })
    }

    pub(super) fn say_to_all(
        &self,
        what: &Outbound,
        record: Bytes,
        here: bool,
    ) -> Result<Sent, Fault> {
        let said = self.handle.broadcast(what, record, here);
        let id = said.map_err(|failure| match failure {
            Failure::Code { code: Code::QueueFull, .. } => Fault::new(
                Code::QueueFull.label(),
                "this node has said as much to all as it may for now: 50 a second; try again",
            ),
            Failure::Code { code: Code::NoKey, .. } => Fault::new(
                Code::NoKey.label(),
                "a broadcast cannot be sealed, since there is no key that all nodes share: leave A out",
            ),
            Failure::Code { code: Code::TooLarge, .. } => Fault::new(
                Code::TooLarge.label(),
                "a broadcast has room for about 16,000 bytes; Z in the sequence may help",
            ),
            other => came_back(other, &self.handle.hashname(), &self.handle.hashname()),
        })?;
        Ok(Sent { id, delivered: false, took_us: None })
    }

    pub(super) fn ask_by_message(&self, message: &Judged) -> Result<Heard, Fault> {
        let Judged { to, what, record, patience } = message;
        let start = self.clock.now();
        let reply = self.handle.request(*to, what, record.clone(), *patience);
        let reply = reply.map_err(|failure| came_back(failure, &self.handle.hashname(), to))?;
        let took_us = Some(micros(self.clock.now().since(start)));
        Ok(Heard { took_us, ..heard(&reply) })
    }

    pub(super) fn listen_to(
        &self,
        namespace: Namespace,
        target: Option<Namespace>,
    ) -> Result<Box<dyn Listening>, Fault> {
        let subscription = self.handle.subscribe(namespace, target);
        let busy = |_| Fault::new(codes::BUSY, "there are as many subscriptions as there may be");
        let subscription = subscription.map_err(busy)?;
        Ok(Box::new(Heeded { subscription, unanswered: self.unanswered.clone() }))
    }

    pub(super) fn answer_message(&self, number: u64, record: Bytes) -> Result<(), Fault> {
        let message = self.unanswered.lock().take(number).ok_or_else(|| {
            let what = format!("there is no message {number} to answer, or not any more");
            Fault::new(codes::NO_MESSAGE, what)
        })?;
        let busy = |_| Fault::new(codes::BUSY, "this node is busy or stopping; try again");
        self.handle.reply(&message, record).map(drop).map_err(busy)
    }
}

fn heard(message: &Message) -> Heard {
    let envelope = message.envelope();
    Heard {
        number: 0,
        id: message.id,
        from: message.hashname.map_or_else(|| hex(&message.from), |h| h.to_string()),
        proved: message.proved,
        broadcast: message.broadcast,
        priority: message.priority.level(),
        sequence: message.sequence.to_string(),
        namespace: envelope.namespace.to_string(),
        target: envelope.target.map(|t| t.to_string()),
        record: envelope.record.to_string(),
        payload: encode(&message.record()),
        port: message.entrance.port,
        neighbour: message.entrance.neighbour.map(|n| hex(&n)),
        took_us: None,
    }
}

fn hex(address: &Address) -> String {
    address.as_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

/// Why a message is not there, for people and programs: `us` are who sent it, to whom.
fn came_back(failure: Failure, us: &Hashname, to: &Hashname) -> Fault {
    let Failure::Code { code, by, rule } = failure else {
        return Fault::new(codes::BUSY, "this node is busy or stopping; try again");
    };
    let who = match by {
        None => "this node".to_owned(),
        Some(by) if by == us.address() => "this node".to_owned(),
        Some(by) if by == to.address() => to.short(),
        Some(by) => format!("{by:?}, on the way"),
    };
    let (short, label) = (to.short(), code.label());
    let what = match code {
        Code::TimedOut => format!("{short}: no word from there in time ({label})"),
        Code::Refused if rule > 0 => format!("{short}: refused by rule {rule} of {who}"),
        Code::Refused => format!("{short}: refused by {who}"),
        _ => format!("{short}: {} ({label}, said by {who})", explain(code)),
    };
    let mut fault = Fault::new(label, what);
    if let Some(by) = by {
        fault = fault.with("by", hex(&by));
    }
    if rule > 0 {
        fault = fault.with("rule", rule);
    }
    fault
}

const fn explain(code: Code) -> &'static str {
    match code {
        Code::NoRoute => "no way there is known",
        Code::NodeDown => "it, or a node on the way, went away",
        Code::TtlExpired => "too many links on the way",
        Code::QueueFull => "a queue was full",
        Code::Refused => "refused",
        Code::UnknownTarget => "nobody takes messages to this namespace and target",
        Code::CannotUnpack => "it cannot be unpacked there, or is of builders not both ends have",
        Code::NoKey => "there are no keys for it",
        Code::SequenceTooWeak => "packed more weakly than it insists on",
        Code::TooLarge => "too large",
        Code::ShuttingDown => "the node is stopping",
        Code::TimedOut => "no answer in time",
        Code::Arrived => "arrived",
    }
}
