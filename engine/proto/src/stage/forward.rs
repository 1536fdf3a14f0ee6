//! Forwarding: packages in, runs for links out, on the outer header alone.
//!
//! A buffer of frames is walked once. Neighbouring frames for one destination at one priority
//! leave together as a slice of the buffer they came in: no payload byte is read, copied or
//! allocated for. Frames for this node go to the partition they concern. What can't go on is
//! counted and, unless it is itself a return, told to its sender.
//!
//! Never opens a payload; holds no state but the routes and counters. PROTOCOL §6.3.3.

use std::sync::Arc;

use bytes::BytesMut;

use super::outgoing::Run;
use super::plan::{Plan, Role};
use super::post::{Post, Posts};
use crate::base::lanes::Lane;
use crate::base::{
    Address, Chance, DropReason, Drops, Entrance, Hashname, Instant, Limits, LineId, LinkId,
    Priority, RateTable, Source,
};
use crate::crypto::LineIds;
use crate::mesh::RouteTable;
use crate::wire::package::{
    self, Code, Content, HEADER, Header, LINK_HEADER, Return, Sequence, Transit,
};

/// Counters of a forwarder.
#[derive(Clone, Debug, Default)]
pub struct Forwarded {
    /// Packages sent on for others.
    pub packages: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Runs they left in: packages per run is what batching won.
    pub runs: u64,
    /// Packages that were for this node.
    pub local: u64,
    /// Packages of this node's own.
    pub originated: u64,
    /// Returns sent to the senders of what could not go on.
    pub returned: u64,
    /// What went no further.
    pub drops: Drops,
}

/// One forwarder.
#[derive(Debug)]
pub struct Forward {
    us: Address,
    plan: Plan,
    ids: LineIds,
    routes: Arc<RouteTable>,
    ttl: u8,
    returns: RateTable,
    counters: Forwarded,
}

/// Frames at the front of a buffer that leave together.
struct Open {
    bytes: usize,
    frames: u32,
    destination: [u8; Address::LEN],
    link: LinkId,
    priority: Priority,
}

/// What a walk does with one frame.
enum Verdict {
    /// Leaves over this link.
    Onward(LinkId, Priority, [u8; Address::LEN]),
    /// Is for this node.
    Local,
    /// Goes no further; the sender is told the code, if there is one.
    Stop(DropReason, Option<Code>),
}

impl Forward {
    /// A forwarder without routes yet.
    #[must_use]
    pub fn new(
        us: Hashname,
        plan: Plan,
        ids: LineIds,
        limits: &Limits,
        chance: &mut Chance,
    ) -> Self {
        let per_source = limits.returns_per_source;
        Self {
            us: us.address(),
            plan,
            ids,
            routes: Arc::new(RouteTable::empty(us)),
            ttl: limits.ttl,
            returns: RateTable::new(per_source, per_source, 4_096, chance),
            counters: Forwarded::default(),
        }
    }

    /// The routes from now on.
    pub fn set_routes(&mut self, routes: Arc<RouteTable>) {
        self.routes = routes;
    }

    /// The counters so far.
    #[must_use]
    pub const fn counters(&self) -> &Forwarded {
        &self.counters
    }

    /// Sends on what a neighbour sent: whole package frames, one after the other.
    pub fn transit(
        &mut self,
        now: Instant,
        (from, entrance): (LinkId, Entrance),
        mut frames: BytesMut,
        out: &mut Posts,
    ) {
        let mut open: Option<Open> = None;
        loop {
            let start = open.as_ref().map_or(0, |o| o.bytes);
            let Some(length) = frame_length(frames.get(start..).unwrap_or_default()) else { break };
            let Some(frame) = frames.get_mut(start..start + length) else { break };
            match self.judge(from, frame, open.as_ref()) {
                Verdict::Onward(link, priority, destination) => {
                    package::spend_hop(frame);
                    match &mut open {
                        Some(o) if o.link == link && o.priority == priority => {
                            o.bytes += length;
                            o.frames += 1;
                            o.destination = destination;
                        }
                        _ => {
                            self.flush(from, &mut frames, open.take(), out);
                            open = Some(Open {
                                bytes: length,
                                frames: 1,
                                destination,
                                link,
                                priority,
                            });
                        }
                    }
                }
                Verdict::Local => {
                    self.flush(from, &mut frames, open.take(), out);
                    self.deliver(now, entrance, frames.split_to(length), out);
                }
                Verdict::Stop(reason, code) => {
                    self.flush(from, &mut frames, open.take(), out);
                    let stopped = frames.split_to(length);
                    self.counters.drops.count(reason);
                    if let Some(code) = code {
                        self.give_back(now, &stopped, code, out);
                    }
                }
            }
        }
        self.flush(from, &mut frames, open, out);
    }

    /// Sends packages of this node's own, whole, with their link headers: one, or several for
    /// one destination at one priority, one after the other.
    pub fn originate(&mut self, now: Instant, mut packages: BytesMut, out: &mut Posts) {
        let Ok(transit) = Transit::peek(&packages) else {
            return self.counters.drops.count(DropReason::Malformed);
        };
        let destination = Address::new(*transit.destination);
        let lane = Lane::Data(Priority::from_low_bits(transit.lane));
        let frames = count(&packages);
        self.counters.originated += u64::from(frames);
        if destination == self.us {
            while let Some(length) = frame_length(&packages).filter(|l| *l <= packages.len()) {
                let entrance = Entrance::default();
                self.deliver(now, entrance, packages.split_to(length), out);
            }
            return;
        }
        let run = Run { bytes: packages.freeze(), frames, source: Source::OWN };
        match self.routes.next(&destination) {
            Some(hop) => {
                let writer = self.plan.writer_of(hop.link);
                out.push(writer, Post::Enqueue { link: hop.link, lane, run });
            }
            None => {
                self.counters.drops.add(DropReason::NoRoute, u64::from(frames));
                self.refused(now, &run, Code::NoRoute, out);
            }
        }
    }

    /// Tells the sender of what a queue refused. Frames are whole, as they were queued.
    pub fn refused(&mut self, now: Instant, run: &Run, code: Code, out: &mut Posts) {
        let mut rest: &[u8] = &run.bytes;
        while let Some(length) = frame_length(rest) {
            let Some((frame, after)) = rest.split_at_checked(length) else { return };
            if frame.get(2) == Some(&package::LINK_KIND) {
                self.give_back(now, frame, code, out);
            }
            rest = after;
        }
    }

    fn judge(&self, from: LinkId, frame: &[u8], open: Option<&Open>) -> Verdict {
        let transit = match Transit::peek(frame) {
            Ok(t) => t,
            Err(reason) => return Verdict::Stop(reason, None),
        };
        let priority = Priority::from_low_bits(transit.lane);
        if transit.destination == self.us.as_bytes() {
            return Verdict::Local;
        }
        if transit.ttl <= 1 {
            return Verdict::Stop(DropReason::TtlExpired, Some(Code::TtlExpired));
        }
        // A run goes where its last frame went: no look-up for the next one to the same node.
        if let Some(o) = open.filter(|o| o.destination == *transit.destination) {
            return Verdict::Onward(o.link, priority, o.destination);
        }
        match self.routes.next(&Address::new(*transit.destination)) {
            // Back where it came from would be a loop for as long as the tables disagree.
            Some(hop) if hop.link != from => {
                Verdict::Onward(hop.link, priority, *transit.destination)
            }
            _ => Verdict::Stop(DropReason::NoRoute, Some(Code::NoRoute)),
        }
    }

    fn flush(&mut self, from: LinkId, frames: &mut BytesMut, open: Option<Open>, out: &mut Posts) {
        let Some(open) = open else { return };
        let bytes = frames.split_to(open.bytes.min(frames.len())).freeze();
        self.counters.packages += u64::from(open.frames);
        self.counters.bytes += bytes.len() as u64;
        self.counters.runs += 1;
        let run = Run { bytes, frames: open.frames, source: Source::link(from) };
        let lane = Lane::Data(open.priority);
        out.push(self.plan.writer_of(open.link), Post::Enqueue { link: open.link, lane, run });
    }

    /// A package for this node: to the partition it concerns, or answered here.
    fn deliver(&mut self, now: Instant, entrance: Entrance, frame: BytesMut, out: &mut Posts) {
        let header = match Header::parse(&frame) {
            Ok(h) => h,
            Err(reason) => return self.counters.drops.count(reason),
        };
        self.counters.local += 1;
        let concerns = match header.content {
            Content::Probe => return self.give_back(now, &frame, Code::Arrived, out),
            Content::Sealed => match self.owner(&frame) {
                Some(partition) => partition,
                None => return self.counters.drops.count(DropReason::UnknownLine),
            },
            Content::Return => match Return::parse(frame.get(HEADER..).unwrap_or_default()) {
                Ok(r) => self.plan.partition_of(&r.destination),
                Err(reason) => return self.counters.drops.count(reason),
            },
            Content::Message | Content::Switch => self.plan.partition_of(&header.source),
        };
        out.push(Role::Partition(concerns), Post::Package { entrance, frame });
    }

    fn owner(&self, frame: &[u8]) -> Option<u16> {
        let id = frame.get(HEADER..)?.first_chunk::<{ LineId::LEN }>()?;
        let (partition, ..) = self.ids.resolve(LineId(*id))?;
        (partition < self.plan.partitions()).then_some(partition)
    }

    /// Answers a frame that ends here. Never answers a return; bounded per source.
    fn give_back(&mut self, now: Instant, frame: &[u8], code: Code, out: &mut Posts) {
        let Ok(header) = Header::parse(frame) else { return };
        if header.content == Content::Return || !self.returns.allow(now, &header.source) {
            return;
        }
        let body = Return {
            code,
            content: header.content,
            destination: header.destination,
            offset: header.offset,
            rule: 0,
            echo: package::echo(frame.get(HEADER..).unwrap_or_default()),
        };
        let answer = Header {
            priority: Priority::HIGHEST,
            reply: true,
            ttl: self.ttl,
            content: Content::Return,
            sequence: Sequence::M,
            destination: header.source,
            source: self.us,
            message: header.message,
            total: u32::try_from(Return::LEN).unwrap_or(0),
            offset: 0,
        };
        let Ok(head) = answer.emit(Return::LEN) else { return };
        let mut frame = BytesMut::with_capacity(HEADER + Return::LEN);
        frame.extend_from_slice(&head);
        frame.extend_from_slice(&body.emit());
        self.counters.returned += 1;
        self.originate(now, frame, out);
    }
}

/// How many whole frames lie there one after the other.
fn count(mut frames: &[u8]) -> u32 {
    let mut count = 0;
    while let Some(rest) = frame_length(frames).and_then(|l| frames.get(l..)) {
        (frames, count) = (rest, count + 1);
    }
    count
}

/// Length of the whole frame at the front, if there is a header.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let (header, _) = bytes.split_first_chunk::<LINK_HEADER>()?;
    let &[hi, lo, ..] = header;
    Some(usize::from(u16::from_be_bytes([hi, lo])) + LINK_HEADER)
}
