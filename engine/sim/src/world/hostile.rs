//! What the forger does with what it has seen.

use bytes::Bytes;
use trunkline_proto::wire::package::HEADER;

use super::World;
use crate::agenda::Event;
use crate::draw::Draw;
use crate::forger::SeenDatagram;
use crate::network::Datagram;
use crate::network::connection::Segment;
use crate::scenario::{Attack, address_of};

/// Of an announcement, what a neighbour may change without anybody knowing: the header of the
/// frame is the link's, and the age grows on the way.
const ANNOUNCED: usize = 6;
/// Of a broadcast, the header of the frame; a time to live that was changed is nobody's to tell.
const SPOKEN: usize = 4;
/// Of a package, the link's header and what says how it is to be read: plain messages prove
/// nothing, so no sealed package is turned into one.
const READ_AS: usize = 12;

impl World {
    pub(super) fn attack(&mut self, attack: Attack, node: usize) {
        self.attacks += 1;
        if !self.nodes[node].alive {
            return;
        }
        self.trace.say(self.now, node, format!("is attacked: {attack:?}"));
        match attack {
            Attack::Noise => {
                let bytes = self.watch.seen.noise(1_400);
                self.forge(node, None, bytes);
            }
            Attack::Replay | Attack::Flip | Attack::Cutoff => self.forge_again(attack),
            Attack::ReplayPackage => {
                if let Some(frame) = self.watch.seen.a_package() {
                    self.forge_frame(node, frame, true);
                }
            }
            Attack::FlipPackage => {
                if let Some(frame) = self.watch.seen.a_package() {
                    let from = if self.chance.percent(50) { READ_AS } else { HEADER };
                    let frame = self.watch.seen.flipped(&frame, from);
                    self.forge_frame(node, frame, true);
                }
            }
            Attack::ReplayAnnouncement => {
                if let Some(frame) = self.watch.seen.an_announcement() {
                    self.forge_frame(node, frame, false);
                }
            }
            Attack::FlipAnnouncement => {
                if let Some(frame) = self.watch.seen.an_announcement() {
                    let frame = self.watch.seen.flipped(&frame, ANNOUNCED);
                    self.forge_frame(node, frame, false);
                }
            }
            Attack::ReplayBroadcast => {
                if let Some(frame) = self.watch.seen.a_broadcast() {
                    self.forge_frame(node, frame, false);
                }
            }
            Attack::FlipBroadcast => {
                if let Some(frame) = self.watch.seen.a_broadcast() {
                    let frame = self.watch.seen.flipped(&frame, SPOKEN);
                    self.forge_frame(node, frame, false);
                }
            }
            Attack::SilentLink | Attack::NoisyLink | Attack::ReplayLink => {
                self.forge_link(attack, node);
            }
        }
    }

    /// A datagram seen before, to whom it was for, from whom it was or from somewhere else.
    fn forge_again(&mut self, attack: Attack) {
        let Some(SeenDatagram { from, to, bytes }) = self.watch.seen.a_datagram() else { return };
        let bytes = match attack {
            Attack::Flip => self.watch.seen.flipped(&bytes, 0),
            Attack::Cutoff => bytes.slice(..self.chance.index(bytes.len())),
            _ => bytes,
        };
        let from = self.chance.percent(50).then_some(from);
        self.forge(to, from, bytes);
    }

    fn forge(&mut self, to: usize, from: Option<usize>, bytes: Bytes) {
        let port = u16::try_from(self.chance.span(1_024, 65_535)).unwrap_or(1_024);
        let from = from.map_or_else(|| ([10, 6, 6, 6], port).into(), address_of);
        self.deliver(None, to, Datagram { from, bytes });
    }

    /// A frame on a link between nodes, as if the neighbour had written it.
    fn forge_frame(&mut self, reader: usize, frame: Bytes, is_package: bool) {
        let Some((number, from)) = self.a_connection(reader) else { return };
        let connection = &mut self.network.connections[number];
        let far = connection.ends[1 - from];
        let pipe = &mut connection.pipes[from];
        if !pipe.framer.is_between() {
            return;
        }
        if is_package {
            self.watch.packages.forged(reader, far.link, &frame);
        }
        pipe.push(self.now, Segment::Bytes(frame));
        if let Some(at) = pipe.schedule() {
            self.agenda.at(at, Event::Pipe { connection: number, from });
        }
    }

    fn forge_link(&mut self, attack: Attack, node: usize) {
        let number = self.intrude(node);
        let mut pieces = Vec::new();
        for _ in 0..self.chance.span(1, 3) {
            pieces.extend(match attack {
                Attack::NoisyLink => Some(self.watch.seen.noise(3_000)),
                Attack::ReplayLink => self.watch.seen.a_hello(),
                _ => None,
            });
        }
        let pipe = &mut self.network.connections[number].pipes[0];
        for piece in pieces {
            pipe.push(self.now, Segment::Bytes(piece));
        }
        if let Some(at) = pipe.schedule() {
            self.agenda.at(at, Event::Pipe { connection: number, from: 0 });
        }
    }
}
