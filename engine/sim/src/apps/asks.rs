//! Pings, probes and messages: what is asked, what is answered, what arrives.

use core::time::Duration;

use trunkline_proto::base::{Instant, Namespace, Priority, Wall};
use trunkline_proto::message::{Incoming as Message, Outbound, Purpose, Sending};
use trunkline_proto::shard::{Input, Shard};
use trunkline_proto::stage::lines::LineEvent;
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;
use trunkline_proto::switch::{Answer, Ask, Question, Token};
use trunkline_proto::wire::envelope::Kind;
use trunkline_proto::wire::package::Code;
use trunkline_proto::wire::sequence::Sequence;

use super::{Apps, pattern};
use crate::draw::secs;
use crate::scenario::{AskKind, AskSpec};
use crate::trace::Trace;

/// How long an application waits for a ping or a probe.
pub(crate) const PATIENCE: Duration = secs(5);
/// The first question's token: small ones are the switch's own.
const FIRST: u64 = 1_000;

/// Where messages go at every node.
pub(crate) fn namespace() -> Namespace {
    Namespace::new("sim").expect("a name")
}

/// Where messages go that the gatekeeper of every node refuses, though somebody subscribed.
pub(crate) fn closed() -> Namespace {
    Namespace::new("closed").expect("a name")
}

const fn number_of(token: Token) -> u64 {
    token.0 - FIRST
}

/// The numbers of answers to requests begin here.
const ANSWERS: u64 = 1 << 40;

/// An application answers with the bytes it was sent.
fn answer_to(message: &Message) -> Sending {
    let mut outbound = Outbound::to(namespace(), message.envelope().record);
    outbound.priority = Priority::HIGHEST;
    Sending {
        id: ANSWERS + message.id,
        to: message.from,
        hashname: message.hashname,
        outbound,
        purpose: Purpose::Reply { to: message.id, packed: message.sequence.builders() },
        records: vec![message.record()],
    }
}

/// A question of the scenario, or one that a checker asks.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) spec: AskSpec,
    /// When it was asked, if it was.
    pub(crate) asked: Option<Instant>,
    /// The asker's process ended since.
    pub(crate) asker_died: bool,
    pub(crate) answer: Option<Answer>,
    pub(crate) answers: u32,
    /// How often the message arrived.
    pub(crate) arrived: u32,
}

impl Asked {
    pub(crate) const fn new(spec: &AskSpec) -> Self {
        Self { spec: *spec, asked: None, asker_died: false, answer: None, answers: 0, arrived: 0 }
    }

    /// Whether a ping came back.
    pub(crate) const fn is_ponged(&self) -> bool {
        matches!(self.answer, Some(Answer::Pong(_)))
    }
}

impl Apps {
    /// One more question, which the scenario does not know.
    pub(crate) fn add(&mut self, spec: AskSpec) -> usize {
        self.asks.push(Asked::new(&spec));
        self.asks.len() - 1
    }

    pub(super) fn ask(
        &mut self,
        shard: &mut Shard,
        (world, now, wall): (Instant, Instant, Wall),
        (number, role): (usize, Role),
        trace: &mut Trace,
    ) {
        let spec = self.asks[number].spec;
        let peer = self.hashname(spec.to);
        let token = Token(FIRST + number as u64);
        let question = match spec.what {
            AskKind::Ping(length) => {
                Question::Ping { priority: spec.priority, length, patience: PATIENCE }
            }
            AskKind::Probe(ttl) => Question::Probe { ttl, patience: PATIENCE },
            AskKind::Message(length, sealed) | AskKind::Request(length, sealed) => {
                let to = if self.is_unwelcome(number) { closed() } else { namespace() };
                let mut outbound = Outbound::to(to, number_of(token).into());
                outbound.priority = spec.priority;
                outbound.sequence = Some(if sealed { Sequence::MA } else { Sequence::M });
                self.asks[number].asked = Some(world);
                let sending = Box::new(Sending {
                    id: token.0,
                    to: peer.address(),
                    hashname: Some(peer),
                    outbound,
                    purpose: match spec.what {
                        AskKind::Request(..) => Purpose::Request(PATIENCE),
                        _ => Purpose::Notice,
                    },
                    records: vec![pattern::bytes(token.0, 0, length)],
                });
                trace.say(world, spec.from, format!("sends {number} to n{}", spec.to));
                return shard.handle(now, wall, Input::Post(role, Post::Send(sending)));
            }
        };
        trace.say(world, spec.from, format!("asks {number} of n{}: {:?}", spec.to, spec.what));
        self.asks[number].asked = Some(world);
        let post = Post::Ask(Ask { token, peer, question });
        shard.handle(now, wall, Input::Post(role, post));
    }

    /// A node tells of an answer or a message. Gives back what its application answers.
    pub(crate) fn line(
        &mut self,
        node: usize,
        world: Instant,
        event: LineEvent,
        trace: &mut Trace,
    ) -> Option<Sending> {
        match event {
            LineEvent::Answered(token, answer) => {
                trace.say(world, node, format!("{} answered: {answer:?}", token.0 as i64 - 1_000));
                self.answered(node, world, token, answer);
            }
            LineEvent::Delivered(_, message) if message.broadcast => {
                self.hear(node, world, &message, trace);
            }
            LineEvent::Delivered(_, message) => {
                self.arrived(node, world, &message, trace);
                return (message.kind == Kind::Request).then(|| answer_to(&message));
            }
            LineEvent::CameBack(back) if back.id >= ANSWERS => {
                trace.say(world, node, format!("an answer came back: {back:?}"));
            }
            LineEvent::CameBack(back) => {
                trace.say(world, node, format!("{} came back: {back:?}", back.id as i64 - 1_000));
                let answer = Answer::Failed { code: back.code, by: back.by };
                self.answered(node, world, Token(back.id), answer);
            }
            LineEvent::Replied(id, message) => self.replied(node, world, id, &message, trace),
            LineEvent::Reachable(..) | LineEvent::State(..) => {}
            LineEvent::Unhandled { .. } | LineEvent::Anonymous { .. } => {}
        }
        None
    }

    /// The answer to a request came.
    fn replied(
        &mut self,
        node: usize,
        world: Instant,
        id: u64,
        message: &Message,
        trace: &mut Trace,
    ) {
        let number = usize::try_from(id.wrapping_sub(FIRST)).unwrap_or(usize::MAX);
        trace.say(world, node, format!("question {number} is answered by a message"));
        let Some(ask) = self.asks.get_mut(number).filter(|a| a.spec.from == node) else {
            let text = format!("a reply to {id}, which this node never asked");
            return self.blame("answers", world, node, text);
        };
        ask.answers += 1;
        let (spec, answers, arrived) = (ask.spec, ask.answers, ask.arrived);
        ask.answer = Some(Answer::Pong(Duration::ZERO));
        let AskKind::Request(length, sealed) = spec.what else {
            let text = format!("a reply to {number}, which is no request");
            return self.blame("answers", world, node, text);
        };
        let record = message.record();
        let whole = record.len() == length && pattern::first_wrong(id, 0, &record).is_none();
        let text = if answers > 1 {
            format!("question {number} was answered twice")
        } else if arrived == 0 {
            format!("question {number} was answered and never asked")
        } else if message.from != self.hashname(spec.to).address() || (sealed && !message.proved) {
            format!("question {number} was answered by another: {message:?}")
        } else if !whole {
            format!("the answer to {number} was altered on the way")
        } else {
            return;
        };
        self.blame("answers", world, node, text);
    }

    /// Whether a message is one that its receiver refuses.
    pub(crate) fn is_unwelcome(&self, number: usize) -> bool {
        let of_kind = |kind| matches!(kind, AskKind::Message(..) | AskKind::Request(..));
        let unwelcome = |a: &Asked| !a.spec.after_heal && of_kind(a.spec.what);
        number % 5 == 4 && self.asks.get(number).is_some_and(unwelcome)
    }

    fn answered(&mut self, node: usize, world: Instant, token: Token, answer: Answer) {
        let number = usize::try_from(token.0.wrapping_sub(FIRST)).unwrap_or(usize::MAX);
        let unwelcome = self.is_unwelcome(number);
        let passed = matches!(answer, Answer::Failed { code: Code::UnknownTarget, .. });
        if unwelcome && passed {
            let text = format!("message {number} got past the gatekeeper: {answer:?}");
            self.blame("rules", world, node, text);
        }
        let Some(ask) = self.asks.get_mut(number).filter(|a| a.spec.from == node) else {
            let text = format!("an answer to {token:?}, which was never asked: {answer:?}");
            return self.blame("answers", world, node, text);
        };
        ask.answers += 1;
        let message = matches!(ask.spec.what, AskKind::Message(..));
        let twice = ask.answers > 1 && !message;
        let contradicts = message && ask.arrived > 0 && !self.attacked;
        ask.answer = Some(answer);
        if twice {
            self.blame("answers", world, node, format!("question {number} was answered twice"));
        } else if contradicts {
            let text = format!("message {number} arrived and is said to have failed");
            self.blame("answers", world, node, text);
        }
    }

    fn arrived(&mut self, node: usize, world: Instant, message: &Message, trace: &mut Trace) {
        let number = usize::try_from(message.id.wrapping_sub(FIRST)).unwrap_or(usize::MAX);
        trace.say(world, node, format!("message {number} arrives"));
        if self.is_unwelcome(number) {
            let text = format!("message {number} got past the gatekeeper");
            return self.blame("rules", world, node, text);
        }
        let Some(ask) = self.asks.get_mut(number) else {
            let text = format!("a message nobody sent: id {}, {:?}", message.id, message.from);
            return self.blame("messages", world, node, text);
        };
        ask.arrived += 1;
        let (spec, times) = (ask.spec, ask.arrived);
        let from = self.hashname(spec.from).address();
        let (AskKind::Message(length, sealed) | AskKind::Request(length, sealed)) = spec.what
        else {
            return self.blame("messages", world, node, format!("{number} is no message"));
        };
        let record = message.record();
        let whole = record.len() == length
            && pattern::first_wrong(message.id, 0, &record).is_none()
            && message.envelope().record == (number as u64).into();
        let text = if times > 1 {
            format!("message {number} arrived twice")
        } else if spec.to != node || from != message.from {
            format!("message {number} came to n{node} from {:?}", message.from)
        } else if sealed != message.proved || spec.priority != message.priority {
            format!("message {number} came as another kind: {message:?}")
        } else if !whole {
            format!("message {number} was altered on the way")
        } else {
            return;
        };
        self.blame("messages", world, node, text);
    }
}
