//! The reading half of links: bytes in, frames told apart.
//!
//! Control frames go to the link's [`LinkSession`], announcements and broadcasts to routing, and packages, as
//! many as lie together in one piece, to a forwarder. A link that breaks the framing is closed.

use core::time::Duration;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::outgoing::Run;
use super::plan::{Plan, Role};
use super::post::{Post, Posts};
use crate::base::{
    Alarms, Chance, DropReason, Drops, Entrance, Hashname, Instant, Keyed, Lane, LinkId, Map, Wall,
};
use crate::crypto::KeyRecord;
use crate::mesh::{Cause, LinkDownReason, LinkOutput, LinkSession};
use crate::wire::link::{Cost, HEADER_LEN, LinkHeader, LinkKind};

/// What the runtime is told about a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// The neighbour proved who it is; packages flow.
    Up(LinkId, Arc<KeyRecord>),
    /// Close the transport: what is queued may still be written.
    Close(LinkId, LinkDownReason),
}

/// How often neighbours are judged in a closed space: an expelled one stays this long at most.
const JUDGED_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Link {
    session: LinkSession,
    cost: Cost,
    /// Where it leads in: the port it was accepted at, and the neighbour once proved.
    entrance: Entrance,
    peer: Option<Hashname>,
    /// When its session is to be looked at, at the latest: what is heard moves its deadline on.
    alarm: Option<Instant>,
    frames: u64,
    bytes: u64,
}

/// What status says of a link.
#[derive(Clone, Debug)]
pub struct LinkReport {
    /// Which.
    pub link: LinkId,
    /// The neighbour, once proved.
    pub peer: Option<Hashname>,
    /// What it costs us to send there.
    pub cost: u32,
    /// Round trip, by heartbeats.
    pub rtt: Option<Duration>,
    /// Frames received.
    pub frames: u64,
    /// Bytes received.
    pub bytes: u64,
}

/// The links read on one thread.
#[derive(Debug)]
pub struct Links {
    plan: Plan,
    /// In a closed space: when to look again whether the neighbours still belong to it.
    judging: Option<Instant>,
    links: Map<LinkId, Link>,
    alarms: Alarms<LinkId>,
    drops: Drops,
}

impl Links {
    /// No links yet; if the space is closed, neighbours are judged again and again.
    #[must_use]
    pub fn new(plan: Plan, closed: bool, chance: &mut Chance) -> Self {
        let judging = closed.then_some(Instant::ZERO);
        let (alarms, drops) = Default::default();
        Self { plan, judging, links: Keyed::map(chance), alarms, drops }
    }

    /// A transport is established, if by a neighbour at this port; its session begins.
    pub fn open(
        &mut self,
        (link, port): (LinkId, Option<u16>),
        session: LinkSession,
        cost: Cost,
        out: &mut Posts,
        events: &mut impl FnMut(LinkEvent),
    ) {
        out.push(self.plan.writer_of(link), Post::LinkOpened(link));
        let entrance = Entrance { port, neighbour: None };
        let (peer, alarm, frames, bytes) = (None, None, 0, 0);
        self.links.insert(link, Link { session, cost, entrance, peer, alarm, frames, bytes });
        self.settle(link, out, events);
    }

    /// Bytes came in: whole frames are taken off the front of `bytes`, what remains is the
    /// beginning of the next one. Gives back how many packages were among them.
    pub fn received(
        &mut self,
        now: Instant,
        wall: Wall,
        link: LinkId,
        bytes: &mut BytesMut,
        out: &mut Posts,
        events: &mut impl FnMut(LinkEvent),
    ) -> u32 {
        let forward = self.plan.forward_of(link);
        let mut packages = 0;
        loop {
            let Some(held) = self.links.get_mut(&link) else {
                bytes.clear();
                return packages;
            };
            held.session.heard(now);
            match held.next_piece(bytes) {
                Ok(Piece::Packages(count, frames)) => {
                    packages += count;
                    let (from, entrance) = (link, held.entrance);
                    out.push(forward, Post::Transit { from, entrance, frames });
                }
                Ok(Piece::Announcement(body)) => {
                    out.push(Role::Routing, Post::Announcement { link, body });
                }
                Ok(Piece::Broadcast(frame)) => {
                    let entrance = held.entrance;
                    out.push(Role::Routing, Post::Broadcast { link, entrance, frame });
                }
                Ok(Piece::Digest(body)) => out.push(Role::Routing, Post::Digest { link, body }),
                Ok(Piece::Control(kind, body)) => {
                    if let Err(reason) = held.session.handle_frame(now, wall, kind, &body) {
                        self.drops.count(reason);
                    }
                    self.settle(link, out, events);
                }
                Ok(Piece::Incomplete) => return packages,
                Err(reason) => {
                    self.drops.count(reason);
                    held.session.close(Cause::Violation, reason.label());
                    bytes.clear();
                    self.settle(link, out, events);
                    return packages;
                }
            }
        }
    }

    /// Routing does not admit a link: it holds too many, or one to another run of that node.
    pub fn refuse(&mut self, link: LinkId, out: &mut Posts, events: &mut impl FnMut(LinkEvent)) {
        if let Some(held) = self.links.get_mut(&link) {
            held.session.close(Cause::NotAdmitted, "no room, or another run of the same node");
        }
        self.settle(link, out, events);
    }

    /// The owner does not want a link any more. False if it is not there.
    pub fn dismiss(
        &mut self,
        link: LinkId,
        out: &mut Posts,
        events: &mut impl FnMut(LinkEvent),
    ) -> bool {
        let Some(held) = self.links.get_mut(&link) else { return false };
        held.session.close(Cause::Unwanted, "closed by its owner");
        self.settle(link, out, events);
        true
    }

    /// Sending over a link costs something else from now on. False if it is not there.
    pub fn set_cost(&mut self, link: LinkId, cost: Cost, out: &mut Posts) -> bool {
        let Some(held) = self.links.get_mut(&link) else { return false };
        held.cost = cost;
        if held.peer.is_some() {
            out.push(Role::Routing, Post::LinkCost { link, cost });
        }
        true
    }

    /// The transport is gone.
    pub fn closed(&mut self, link: LinkId, out: &mut Posts) {
        self.remove(link, out);
    }

    /// Does what time demands of every link.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        wall: Wall,
        out: &mut Posts,
        events: &mut impl FnMut(LinkEvent),
    ) {
        let judging = self.judging.is_some_and(|at| at <= now);
        if judging {
            self.judging = Some(now + JUDGED_EVERY);
        }
        let mut late = Vec::new();
        while let Some(link) = self.alarms.pop_due(now) {
            if let Some(held) = self.links.get_mut(&link) {
                held.alarm = None;
                late.push(link);
            }
        }
        if judging {
            late = self.links.keys().copied().collect();
        }
        for link in late {
            if let Some(held) = self.links.get_mut(&link) {
                held.session.handle_timeout(now);
                if judging {
                    held.session.judge(wall);
                }
            }
            self.settle(link, out, events);
        }
    }

    /// The next moment at which something happens by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let judging = self.judging.filter(|_| !self.links.is_empty());
        self.alarms.next().into_iter().chain(judging).min()
    }

    /// Says goodbye on every link.
    pub fn close_all(&mut self, out: &mut Posts, events: &mut impl FnMut(LinkEvent)) {
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for link in all {
            if let Some(held) = self.links.get_mut(&link) {
                held.session.close(Cause::Stopping, "");
            }
            self.settle(link, out, events);
        }
    }

    /// Every link, for status.
    pub fn report(&self) -> impl Iterator<Item = LinkReport> + '_ {
        self.links.iter().map(|(link, l)| LinkReport {
            link: *link,
            peer: l.peer,
            cost: l.cost.get(),
            rtt: l.session.rtt(),
            frames: l.frames,
            bytes: l.bytes,
        })
    }

    /// What was dropped here.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Passes on what a session wants done.
    fn settle(&mut self, link: LinkId, out: &mut Posts, events: &mut impl FnMut(LinkEvent)) {
        while let Some(held) = self.links.get_mut(&link) {
            match held.session.poll() {
                Some(LinkOutput::Send(frame)) => {
                    let (lane, run) = (Lane::Control, Run::one(frame));
                    out.push(self.plan.writer_of(link), Post::Enqueue { link, lane, run });
                }
                Some(LinkOutput::Up(proved)) => {
                    let (peer, epoch, cost) = (proved.record, proved.epoch, held.cost);
                    held.peer = Some(peer.hashname());
                    held.entrance.neighbour = Some(peer.hashname().address());
                    out.push(Role::Routing, Post::LinkUp { link, peer: peer.clone(), epoch, cost });
                    events(LinkEvent::Up(link, peer));
                }
                Some(LinkOutput::Down(reason)) => {
                    self.remove(link, out);
                    events(LinkEvent::Close(link, reason));
                }
                None => {
                    let deadline = held.session.deadline();
                    self.alarms.arm(link, &mut held.alarm, deadline);
                    return;
                }
            }
        }
    }

    fn remove(&mut self, link: LinkId, out: &mut Posts) {
        let Some(mut gone) = self.links.remove(&link) else { return };
        self.alarms.set(link, &mut gone.alarm, None);
        if gone.peer.is_some() {
            out.push(Role::Routing, Post::LinkDown(link));
        }
    }
}

/// What lies at the front of a link's bytes.
enum Piece {
    Packages(u32, BytesMut),
    Announcement(Bytes),
    Digest(Bytes),
    Broadcast(BytesMut),
    Control(LinkKind, Bytes),
    Incomplete,
}

impl Link {
    /// Takes the next piece off: all packages that lie together, or one other frame. Before the
    /// neighbour is proved only the session's own frames are let in.
    fn next_piece(&mut self, bytes: &mut BytesMut) -> Result<Piece, DropReason> {
        let (mut packages, mut count) = (0, 0);
        loop {
            let here = bytes.get(packages..).unwrap_or_default();
            let header = match LinkHeader::peek(here) {
                // What came whole before the framing broke is taken first: it must not matter
                // how the bytes were cut into reads.
                Err(_) if packages > 0 => None,
                header => header?.filter(|h| here.len() >= h.frame_len()),
            };
            let package = header.filter(|h| h.kind == LinkKind::Package);
            if let Some(h) = package {
                if self.peer.is_none() {
                    return Err(DropReason::Unhandled);
                }
                packages += h.frame_len();
                count += 1;
                continue;
            }
            if packages > 0 {
                self.frames += u64::from(count);
                self.bytes += packages as u64;
                return Ok(Piece::Packages(count, bytes.split_to(packages)));
            }
            let Some(header) = header else { return Ok(Piece::Incomplete) };
            self.frames += 1;
            self.bytes += header.frame_len() as u64;
            let mut frame = bytes.split_to(header.frame_len());
            if header.kind == LinkKind::Broadcast && self.peer.is_some() {
                return Ok(Piece::Broadcast(frame));
            }
            let body = frame.split_off(HEADER_LEN).freeze();
            return Ok(match (header.kind, self.peer) {
                (LinkKind::Announcement, Some(_)) => Piece::Announcement(body),
                (LinkKind::Digest, Some(_)) => Piece::Digest(body),
                (kind, _) => Piece::Control(kind, body),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BootEpoch, Limits};
    use crate::crypto::SpaceRules;
    use crate::crypto::tests::NOW;
    use crate::mesh::tests::member;
    use crate::mesh::{LinkTerms, Side, Transport};
    use crate::wire::link::{Capabilities, NodeName};

    const LINK: LinkId = LinkId(1);

    /// Links of one, whose neighbour is proved.
    fn up() -> Links {
        let mut chance = Chance::from_number(1);
        let terms = LinkTerms {
            cost: Cost::ONE,
            name: NodeName::default(),
            capabilities: Capabilities::default(),
            heartbeat: Limits::default().heartbeat,
            space: Arc::new(SpaceRules::open(*member(0).space())),
        };
        let session = LinkSession::new(
            Instant::ZERO,
            LINK,
            Side::Accepted,
            Transport::Plain,
            member(0),
            BootEpoch(1),
            &terms,
            &Limits::default(),
            &mut chance,
        )
        .unwrap();
        let mut links = Links::new(Plan::collapsed(1), false, &mut chance);
        links.open((LINK, None), session, Cost::ONE, &mut Posts::default(), &mut |_| {});
        links.links.get_mut(&LINK).unwrap().peer = Some(member(1).hashname());
        links
    }

    /// Packages told of and packages passed on, when `bytes` are read `piece` at a time.
    fn taken(bytes: &[u8], piece: usize) -> (u32, usize) {
        let (mut links, mut out, mut told, mut partial) =
            (up(), Posts::default(), 0, BytesMut::new());
        for piece in bytes.chunks(piece) {
            partial.extend_from_slice(piece);
            told += links.received(Instant::ZERO, NOW, LINK, &mut partial, &mut out, &mut |_| {});
        }
        let mut passed = 0;
        while let Some((_, post)) = out.pop() {
            if let Post::Transit { frames, .. } = post {
                passed += frames.len();
            }
        }
        assert_eq!(links.drops().of(DropReason::UnknownKind), 1);
        (told, passed)
    }

    #[test]
    fn n2_packages_before_a_broken_frame_are_taken_however_the_bytes_are_cut() {
        let package = LinkHeader::new(LinkKind::Package, Default::default(), 3).unwrap();
        let package = [&package.emit(), b"abc".as_slice()].concat();
        // No kind 0 exists.
        let bytes = [&package, &package, [0, 0, 0, 0].as_slice()].concat();
        for piece in 1..=bytes.len() {
            assert_eq!(taken(&bytes, piece), (2, 2 * package.len()), "{piece} at a time");
        }
    }
}
