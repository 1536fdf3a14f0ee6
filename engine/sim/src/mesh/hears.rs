//! What others send to a simulated switch.

use std::net::SocketAddr;

use trunkline_proto::base::{Hashname, Instant};
use trunkline_proto::switch::{Note, Path};

use super::contact::{Keys, Line, rank, remember};
use super::node::Node;
use super::packets::{Datagram, Inside, Packet};

impl Node {
    /// A datagram got to where this switch is. True if it was carried on for others.
    pub(super) fn hears(&mut self, now: Instant, datagram: Datagram) -> bool {
        let Datagram { from, to, bridge, packet } = datagram;
        if !self.nat.lets_in(now, from, to) {
            return false;
        }
        let path = match bridge {
            None => Path::Direct(from),
            Some(id) => {
                if let Some(carried) = self.carrying.get(&id.0).copied() {
                    let may = carried.from == from && carried.until > now;
                    if may {
                        self.datagram(now, carried.to, Some(carried.line), packet);
                    }
                    return may;
                }
                let Some(path) = self.own_way(now, id, from) else { return false };
                path
            }
        };
        match packet {
            Packet::Open { by, number, meshes } => self.opens(now, by, path, (number, meshes)),
            Packet::Opened { by, number, meshes } => self.opened(now, by, path, (number, meshes)),
            Packet::Sealed { by, number, inside } => {
                self.sealed(now, by, path, number, inside);
            }
            Packet::Nothing => {}
            Packet::Loose(packet) => self.note(Note::Asked { from, packet }),
        }
        self.settle(now);
        false
    }

    fn own_way(
        &self,
        now: Instant,
        id: trunkline_proto::base::LineId,
        from: SocketAddr,
    ) -> Option<Path> {
        let contact = self.contacts.get(self.ways.get(&id.0)?)?;
        let (bridge, until) = contact.ways.iter().find(|w| w.ours == id)?.granted?;
        (bridge.relay == from && until > now).then_some(Path::Bridge(bridge))
    }

    /// Somebody opens a line.
    fn opens(&mut self, now: Instant, peer: Hashname, path: Path, (number, meshes): (u64, bool)) {
        let (by, we_mesh) = (self.hashname, self.meshes);
        let Some(contact) = self.enter(peer) else { return };
        (contact.papers, contact.meshes) = (true, meshes);
        let line = contact.line.get_or_insert_with(|| Line::new(now, path));
        line.renewal = line.renewal.or(contact.opening.take());
        let repeated = line.next.is_some_and(|k| k.number == number);
        if !repeated {
            if line.current.is_some_and(|k| k.number == number) {
                return;
            }
            line.next = Some(Keys { number, made: now });
        }
        self.send(now, path, Packet::Opened { by, number, meshes: we_mesh });
        self.schedule(now, peer);
    }

    /// An open of ours is answered.
    fn opened(&mut self, now: Instant, peer: Hashname, path: Path, (number, meshes): (u64, bool)) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let renewal = contact.line.as_ref().and_then(|l| l.renewal);
        if contact.opening.or(renewal).is_none_or(|o| o.number != number) {
            return;
        }
        (contact.opening, contact.meshes) = (None, meshes);
        let line = contact.line.get_or_insert_with(|| Line::new(now, path));
        let first = !line.is_up();
        line.install(Keys { number, made: now });
        self.moved(now, peer, path, first);
        self.seal(now, peer, None, Inside::Ping(0));
        self.schedule(now, peer);
    }

    /// New keys are in use: the line goes where the handshake did.
    fn moved(&mut self, now: Instant, peer: Hashname, path: Path, first: bool) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        if let Path::Direct(at) = path {
            remember(&mut contact.addresses, at);
        }
        let Some(line) = contact.line.as_mut() else { return };
        line.heard(now);
        let moved = core::mem::replace(&mut line.path, path) != path;
        if first {
            (contact.sought, contact.waits_until) = (false, None);
            if core::mem::take(&mut contact.wanted) {
                self.came.push((peer, true));
            }
            if rank(path) == 0 {
                // Where does it see us?
                self.consider(now, peer, path);
            }
        }
        if first || moved {
            self.tell_line(peer);
        }
        self.try_paths(now, peer);
    }

    fn sealed(&mut self, now: Instant, peer: Hashname, path: Path, number: u64, inside: Inside) {
        let Some(line) = self.line(&peer) else { return };
        let first = !line.is_up();
        let (opens, promoted) = line.opens(number);
        if !opens {
            return;
        }
        line.heard(now);
        let (current, elsewhere) = (line.path, !promoted && line.path != path);
        if let Some(contact) = self.contacts.get_mut(&peer).filter(|_| !first)
            && core::mem::take(&mut contact.sought)
        {
            self.note(Note::Found(peer));
        }
        if promoted {
            self.moved(now, peer, path, first);
        } else if elsewhere {
            self.consider(now, peer, path);
            if rank(path) >= rank(current) {
                self.consider(now, peer, current);
            }
            self.try_paths(now, peer);
        }
        self.inside(now, peer, path, inside);
        self.schedule(now, peer);
    }

    fn inside(&mut self, now: Instant, peer: Hashname, path: Path, inside: Inside) {
        match inside {
            Inside::Ping(token) => {
                if token != 0 {
                    self.used(now, peer);
                }
                self.seal(now, peer, None, Inside::Pong);
            }
            Inside::Pong => {}
            Inside::Try(token) => {
                let from = match path {
                    Path::Direct(from) => Some(from),
                    Path::Bridge(_) | Path::Mesh => None,
                };
                self.seal(now, peer, Some(path), Inside::Tried(token, from));
            }
            Inside::Tried(token, us) => {
                if let Some(us) = us {
                    self.note(Note::SeenAs { by: peer, us });
                }
                if self.line(&peer).is_some_and(|l| l.tried(token)) {
                    self.tell_line(peer);
                }
            }
            Inside::Word(packet) => {
                self.used(now, peer);
                if !self.lies(now, peer, &packet) {
                    self.note(Note::Heard { peer, path, packet });
                }
            }
        }
    }

    fn used(&mut self, now: Instant, peer: Hashname) {
        let Some(line) = self.line(&peer) else { return };
        line.used = now;
        if core::mem::take(&mut line.retired) {
            self.tell_line(peer);
        }
    }
}
