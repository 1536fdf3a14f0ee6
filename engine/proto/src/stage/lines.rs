//! The partition's stage: classify what comes in, seal what goes out.
//!
//! Hands datagrams and packages to the [`Switch`] and turns what the switch wants done into
//! posts: packages to a forwarder, datagrams to a writer, stream packets to the stream worker of
//! these lines. Decides nothing itself.

use std::net::SocketAddr;

use bytes::Bytes;

use super::messages::MessageStage;
use super::plan::{Plan, Role};
use super::post::{Post, Posts};
use crate::base::{Chance, Hashname, Instant, Wall};
use crate::gate::{Gate, Note};
use crate::message::{Incoming, Returned, Settings, SubscriptionId};
use crate::switch::{Answer, Effect, Introduction, Setting, State, Switch, Token};
use crate::wire::package::Code;

/// What reaches the application from a partition.
#[derive(Debug)]
pub enum LineEvent {
    /// A question is answered.
    Answered(Token, Answer),
    /// A message arrived for whoever subscribed by this number.
    Delivered(SubscriptionId, Incoming),
    /// The reply to our request of this id arrived.
    Replied(u64, Incoming),
    /// A message of ours came back, or a request has no answer.
    CameBack(Returned),
    /// A hashname can be reached through the mesh, or not any more.
    Reachable(Hashname, bool),
    /// A packet came in a line that nothing here knows.
    Unhandled {
        /// From whom.
        peer: Hashname,
        /// The packet, whole.
        packet: Bytes,
    },
    /// The same outside any line.
    Anonymous {
        /// Where from, unproved.
        from: SocketAddr,
        /// The packet, whole.
        packet: Bytes,
    },
    /// A hashname came into another state.
    State(Hashname, State),
}

/// A partition on its thread.
#[derive(Debug)]
pub struct Lines {
    us: Hashname,
    partition: u16,
    plan: Plan,
    switch: Switch,
    messages: MessageStage,
}

impl Lines {
    /// A partition that knows nobody yet.
    #[must_use]
    pub fn new(
        plan: Plan,
        setting: Setting,
        messages: Settings,
        gate: Gate,
        chance: Chance,
    ) -> Self {
        let us = setting.identity.hashname();
        let messages = MessageStage::new(us, messages, gate, &setting.limits);
        let partition = setting.partition;
        Self { us, partition, plan, switch: Switch::new(setting, chance), messages }
    }

    /// The messages.
    #[must_use]
    pub const fn messages(&self) -> &MessageStage {
        &self.messages
    }

    /// What the gatekeeper refused, if it is time to log it.
    pub fn take_note(&mut self, now: Instant) -> Option<Note> {
        self.messages.take_note(now)
    }

    /// Tells the sender of a message what became of it: [`Code::Arrived`] if it was handed over and
    /// asks for that, something else if nobody has room for it.
    pub fn give_back(
        &mut self,
        now: Instant,
        incoming: &Incoming,
        code: Code,
        out: &mut Posts,
        events: &mut impl FnMut(LineEvent),
    ) {
        if incoming.hashname == Some(self.us) {
            self.messages.give_back_here(now, incoming.id, (code, 0), events);
        } else if !incoming.broadcast {
            let what = (incoming.from, incoming.proved, incoming.id);
            self.switch.give_back(now, what, code, 0);
        }
        self.settle(now, out, events);
    }

    /// The switch, for status.
    #[must_use]
    pub const fn switch(&self) -> &Switch {
        &self.switch
    }

    /// The next moment at which something happens by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.switch.deadline().into_iter().chain(self.messages.deadline()).min()
    }

    /// Does what time demands.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        wall: Wall,
        out: &mut Posts,
        events: &mut impl FnMut(LineEvent),
    ) {
        self.switch.handle_timeout(now, wall);
        self.messages.handle_timeout(now, events);
        self.settle(now, out, events);
    }

    /// Takes a post for a partition. Others are ignored: the plan never sends them here.
    pub fn handle(
        &mut self,
        now: Instant,
        wall: Wall,
        post: Post,
        out: &mut Posts,
        events: &mut impl FnMut(LineEvent),
    ) {
        let switch = &mut self.switch;
        match post {
            Post::Datagram { from, port, bytes, toll } => {
                switch.relayed(now, wall, (from, port), bytes, toll);
            }
            Post::Package { entrance, frame } => switch.package(now, wall, entrance, frame),
            Post::Send(sending) => self.messages.send(now, switch, *sending, events),
            Post::Packs(node, terms) => self.messages.packs(node, terms),
            Post::Subscribe(what) => self.messages.subscribe(what),
            Post::Unsubscribe(id) => self.messages.unsubscribe(id),
            Post::DeliverBroadcast(broadcast) => self.messages.broadcast(&broadcast, events),
            Post::Seal { line, priority, frame } => switch.seal(now, line, priority, frame),
            Post::Narrow(line) => switch.suspect_size(now, line),
            Post::Want(peer) => switch.want(now, peer),
            Post::Unwant(peer) => switch.unwant(&peer),
            Post::Ask(ask) => switch.ask(now, ask),
            Post::Learned(record) => switch.learned(now, record),
            Post::Reachable(peer, yes) => switch.reachable(now, peer, yes),
            Post::Found(peer, at) => switch.found(now, peer, &at, true),
            Post::Introduce(what) => switch.introduce(now, wall, what),
            Post::CloseLines => {
                self.messages.close(events);
                switch.close_all(now);
            }
            _ => {}
        }
        self.settle(now, out, events);
    }

    /// Passes on what the switch wants done.
    fn settle(&mut self, now: Instant, out: &mut Posts, events: &mut impl FnMut(LineEvent)) {
        let streams = self.plan.streams_of(self.partition);
        while let Some(effect) = self.switch.poll() {
            match effect {
                Effect::Datagram { to, priority, bytes } => {
                    let writer = self.plan.datagram_writer(self.partition);
                    out.push(writer, Post::SendDatagram { to, priority, bytes });
                }
                Effect::Package(frame) => {
                    out.push(self.plan.forward_for(self.partition), Post::Originate(frame));
                }
                Effect::LineUp { line, peer, max_packet } => {
                    out.push(streams, Post::LineUp { line, peer, max_packet });
                }
                Effect::LinePath { line, max_packet, moved } => {
                    out.push(streams, Post::LinePath { line, max_packet, moved });
                }
                Effect::LineRests { peer } => out.push(streams, Post::LineRests { peer }),
                Effect::LineDown { peer, code } => out.push(streams, Post::LineDown { peer, code }),
                Effect::Stream { line, packet } => out.push(streams, Post::Stream { line, packet }),
                Effect::Answered(token, answer) => events(LineEvent::Answered(token, answer)),
                Effect::Arrived(message) => {
                    self.messages.arrived(now, &mut self.switch, message, events);
                }
                Effect::CameBack(back) => self.messages.came_back(now, back, events),
                Effect::Fell { peer, code, by } => self.messages.fell(peer, (code, by), events),
                Effect::Reachable(peer, yes) => events(LineEvent::Reachable(peer, yes)),
                Effect::Note(note) => out.push(Role::Meeting, Post::Note(note)),
                Effect::Say { peer, packet } => {
                    let partition = self.plan.partition_of(&peer.address());
                    let say = Introduction::Say { peer, packet };
                    out.push(Role::Partition(partition), Post::Introduce(say));
                }
                Effect::Unhandled { peer, packet } => events(LineEvent::Unhandled { peer, packet }),
                Effect::Anonymous { from, packet } => events(LineEvent::Anonymous { from, packet }),
                Effect::State(peer, state) => events(LineEvent::State(peer, state)),
                Effect::Elsewhere { partition, from, port, bytes, toll } => {
                    let post = Post::Datagram { from, port, bytes, toll };
                    out.push(Role::Partition(partition), post);
                }
            }
        }
    }
}
