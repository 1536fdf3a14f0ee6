//! The partition's stage: classify what comes in, seal what goes out.
//!
//! Hands datagrams and packages to the [`Switch`] and turns what the switch wants done into
//! posts: packages to a forwarder, datagrams to a writer, stream packets to the stream worker of
//! these lines. Decides nothing itself.

use std::net::SocketAddr;

use bytes::Bytes;

use super::plan::{Plan, Role};
use super::post::{Post, Posts};
use crate::base::{Chance, Hashname, Instant, Wall};
use crate::switch::{Answer, Effect, Introduction, Message, Setting, State, Switch, Token};

/// What reaches the application from a partition.
#[derive(Debug)]
pub enum LineEvent {
    /// A question is answered.
    Answered(Token, Answer),
    /// A message arrived.
    Arrived(Message),
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
    partition: u16,
    plan: Plan,
    switch: Switch,
}

impl Lines {
    /// A partition that knows nobody yet.
    #[must_use]
    pub fn new(plan: Plan, setting: Setting, chance: Chance) -> Self {
        Self { partition: setting.partition, plan, switch: Switch::new(setting, chance) }
    }

    /// The switch, for status.
    #[must_use]
    pub const fn switch(&self) -> &Switch {
        &self.switch
    }

    /// The next moment at which something happens by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.switch.deadline()
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
        self.settle(out, events);
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
            Post::Datagram { from, bytes, toll } => switch.relayed(now, wall, from, bytes, toll),
            Post::Package(frame) => switch.package(now, wall, frame),
            Post::Seal { line, priority, frame } => switch.seal(now, line, priority, frame),
            Post::Narrow(line) => switch.suspect_size(now, line),
            Post::Want(peer) => switch.want(now, peer),
            Post::Unwant(peer) => switch.unwant(&peer),
            Post::Ask(ask) => switch.ask(now, ask),
            Post::Learned(record) => switch.learned(now, record),
            Post::Reachable(peer, yes) => switch.reachable(now, peer, yes),
            Post::Found(peer, at) => switch.found(now, peer, &at, true),
            Post::Introduce(what) => switch.introduce(now, wall, what),
            Post::CloseLines => switch.close_all(now),
            _ => {}
        }
        self.settle(out, events);
    }

    /// Passes on what the switch wants done.
    fn settle(&mut self, out: &mut Posts, events: &mut impl FnMut(LineEvent)) {
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
                Effect::Arrived(message) => events(LineEvent::Arrived(message)),
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
                Effect::Elsewhere { partition, from, bytes, toll } => {
                    out.push(Role::Partition(partition), Post::Datagram { from, bytes, toll });
                }
            }
        }
    }
}
