//! One thread of a node, as the runtime's worker runs it: mailbox, sockets, timers, posts out,
//! sockets flushed, and asleep until there is a reason to wake.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{Instant, LinkId};
use trunkline_proto::mesh::{Side, Transport};
use trunkline_proto::shard::{Input, Output, Shard};
use trunkline_proto::stage::links::LinkEvent;
use trunkline_proto::stage::plan::{Plan, Role};
use trunkline_proto::stage::post::Post;
use trunkline_proto::wire::link::Cost;

use super::{Around, Node};
use crate::agenda::Event;
use crate::apps::{Job, Place};
use crate::draw::ms;
use crate::node::dials::Stage;

/// Letters taken from the mailbox before sockets get their turn.
const LETTERS: usize = 1_024;

/// What seats send each other.
#[derive(Debug)]
pub(crate) enum Letter {
    /// A post for a role of this seat.
    Post(Role, Post),
    /// The writing half of a link: which connection, which end.
    Adopt(LinkId, usize, usize),
    /// The link is gone.
    Abandon(LinkId),
    /// The application wants something.
    Job(Job),
}

impl Letter {
    /// Whether it may be lost when a mailbox is full.
    pub(crate) const fn is_data(&self) -> bool {
        matches!(self, Self::Post(_, post) if post.is_data())
    }
}

/// A letter on its way.
pub(crate) struct Mail {
    pub(crate) seat: usize,
    pub(crate) urgent: bool,
    pub(crate) letter: Letter,
}

/// What sockets have for a seat, in order.
#[derive(Debug)]
pub(crate) enum Incoming {
    Datagram {
        from: SocketAddr,
        bytes: Bytes,
    },
    Opened {
        link: LinkId,
        side: Side,
        transport: Transport,
        cost: Cost,
        dial: Option<usize>,
        connection: usize,
        end: usize,
    },
    Bytes {
        link: LinkId,
        bytes: Bytes,
    },
    Ended(LinkId),
}

/// The reading half of a link.
#[derive(Debug)]
struct Reader {
    connection: usize,
    end: usize,
    dial: Option<usize>,
    /// The beginning of a frame that has not come whole yet.
    partial: BytesMut,
}

/// One thread.
pub(crate) struct Seat {
    pub(crate) shard: Shard,
    pub(crate) urgent: VecDeque<Letter>,
    pub(crate) ordinary: VecDeque<Letter>,
    /// Letters that found a mailbox full and must not be lost, by seat.
    pub(crate) kept: Vec<VecDeque<(bool, Letter)>>,
    pub(crate) incoming: VecDeque<Incoming>,
    readers: BTreeMap<LinkId, Reader>,
    pub(super) writers: BTreeMap<LinkId, (usize, usize)>,
    pub(crate) busy: Vec<LinkId>,
    /// When it wakes next.
    pub(crate) wakes: Option<Instant>,
    pub(crate) stalled_until: Instant,
    pub(super) chance: trunkline_proto::base::Chance,
}

impl Seat {
    pub(crate) fn new(
        shard: Shard,
        plan: &Plan,
        chance: &mut trunkline_proto::base::Chance,
    ) -> Self {
        Self {
            shard,
            urgent: VecDeque::new(),
            ordinary: VecDeque::new(),
            kept: (0..plan.seats()).map(|_| VecDeque::new()).collect(),
            incoming: VecDeque::new(),
            readers: BTreeMap::new(),
            writers: BTreeMap::new(),
            busy: Vec::new(),
            wakes: None,
            stalled_until: Instant::ZERO,
            chance: chance.fork(),
        }
    }

    /// Whether the mailbox takes one more.
    pub(crate) fn has_room(
        &self,
        urgent: bool,
        (most_urgent, most_others): (usize, usize),
    ) -> bool {
        if urgent { self.urgent.len() < most_urgent } else { self.ordinary.len() < most_others }
    }

    /// Puts a letter into the mailbox.
    pub(crate) fn put(&mut self, urgent: bool, letter: Letter) {
        let lane = if urgent { &mut self.urgent } else { &mut self.ordinary };
        lane.push_back(letter);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.urgent.is_empty()
            && self.ordinary.is_empty()
            && self.incoming.is_empty()
            && self.kept.iter().all(VecDeque::is_empty)
    }
}

impl Node {
    /// One round of a seat.
    pub(crate) fn round(&mut self, seat: usize, around: &mut Around<'_>) {
        self.seats[seat].wakes = None;
        let more = self.read_mail(seat, around);
        self.read_sockets(seat, around);
        self.keep_time(seat, around);
        self.settle(seat, around);
        let waits = self.send_kept(seat, around);
        self.flush(seat, around);
        let (now, _) = self.clock(around.now);
        around.watch.after_round(self.index, seat, &self.seats[seat].shard, (around.now, now));
        if more {
            self.wake_at(seat, around.now, around.agenda);
        } else if waits {
            self.wake_at(seat, around.now + ms(1), around.agenda);
        }
        let timer = self.seats[seat].shard.deadline().map(|d| self.world_time(d));
        let place = Place { node: self.index, seat };
        let soonest = timer.into_iter().chain(around.apps.deadline(place)).min();
        if let Some(due) = soonest {
            self.wake_at(seat, due.max(around.now), around.agenda);
        }
    }

    /// True if there are letters left.
    fn read_mail(&mut self, seat: usize, around: &mut Around<'_>) -> bool {
        let (now, wall) = self.clock(around.now);
        for _ in 0..LETTERS {
            let held = &mut self.seats[seat];
            let letter = held.urgent.pop_front().or_else(|| held.ordinary.pop_front());
            let Some(letter) = letter else { return false };
            match letter {
                Letter::Post(role, post) => {
                    around.watch.handle(
                        self.index,
                        &mut held.shard,
                        (around.now, now, wall),
                        Input::Post(role, post),
                    );
                }
                Letter::Adopt(link, connection, end) => {
                    held.writers.insert(link, (connection, end));
                    held.busy.push(link);
                }
                Letter::Abandon(link) => {
                    held.writers.remove(&link);
                }
                Letter::Job(job) => {
                    let place = Place { node: self.index, seat };
                    around.apps.obey(
                        place,
                        &mut held.shard,
                        (around.now, now, wall),
                        job,
                        around.trace,
                    );
                }
            }
        }
        true
    }

    fn read_sockets(&mut self, seat: usize, around: &mut Around<'_>) {
        let (now, wall) = self.clock(around.now);
        let clocks = (around.now, now, wall);
        while let Some(incoming) = self.seats[seat].incoming.pop_front() {
            let held = &mut self.seats[seat];
            match incoming {
                Incoming::Datagram { from, bytes } => {
                    let input =
                        Input::Datagram { from, port: 0, bytes: BytesMut::from(&bytes[..]) };
                    around.watch.handle(self.index, &mut held.shard, clocks, input);
                }
                Incoming::Opened { link, side, transport, cost, dial, connection, end } => {
                    let reader = Reader { connection, end, dial, partial: BytesMut::new() };
                    held.readers.insert(link, reader);
                    held.shard.handle(
                        now,
                        wall,
                        Input::LinkOpened { link, side, transport, cost, port: None },
                    );
                    let writer = self.plan.seat(self.plan.writer_of(link));
                    let letter = Letter::Adopt(link, connection, end);
                    self.hand_over(seat, writer, letter, around);
                }
                Incoming::Bytes { link, bytes } => {
                    let Some(reader) = held.readers.get_mut(&link) else { continue };
                    let mut all = core::mem::take(&mut reader.partial);
                    all.extend_from_slice(&bytes);
                    around.watch.received(self.index, &mut held.shard, clocks, link, &mut all);
                    reader.partial = all;
                }
                Incoming::Ended(link) => self.close(seat, link, "closed by the neighbour", around),
            }
        }
    }

    /// A link's writing half goes to its writer, or is taken from it.
    fn hand_over(&mut self, from: usize, writer: usize, letter: Letter, a: &mut Around<'_>) {
        if from != writer {
            return self.send(Some(from), Mail { seat: writer, urgent: true, letter }, a);
        }
        let held = &mut self.seats[from];
        match letter {
            Letter::Adopt(link, connection, end) => {
                held.writers.insert(link, (connection, end));
                held.busy.push(link);
            }
            Letter::Abandon(link) => {
                held.writers.remove(&link);
            }
            _ => {}
        }
    }

    /// Ends a link of this seat, whatever it was doing.
    fn close(&mut self, seat: usize, link: LinkId, why: &str, around: &mut Around<'_>) {
        let (now, wall) = self.clock(around.now);
        let held = &mut self.seats[seat];
        held.shard.handle(now, wall, Input::LinkClosed(link));
        let Some(reader) = held.readers.remove(&link) else { return };
        let Reader { connection, end, dial, .. } = reader;
        around.network.connections[connection].close(around.now, end);
        if let Some(at) = around.network.connections[connection].pipes[end].schedule() {
            around.agenda.at(at, Event::Pipe { connection, from: end });
        }
        around.trace.say(around.now, self.index, format!("link {} lost: {why}", link.0));
        let writer = self.plan.seat(self.plan.writer_of(link));
        self.hand_over(seat, writer, Letter::Abandon(link), around);
        if let Some(dial) = dial {
            let wait = self.dials[dial].lost(around.now, &mut self.chance);
            let event = Event::Dial { node: self.index, dial, run: self.run };
            around.agenda.at(around.now + wait, event);
        }
    }

    /// Does what time demands.
    fn keep_time(&mut self, seat: usize, around: &mut Around<'_>) {
        let (now, wall) = self.clock(around.now);
        let shard = &mut self.seats[seat].shard;
        if shard.deadline().is_some_and(|d| d <= now) {
            shard.handle_timeout(now, wall);
        }
    }

    /// Passes on what the shard put out, until it puts out nothing more.
    fn settle(&mut self, seat: usize, around: &mut Around<'_>) {
        let (now, wall) = self.clock(around.now);
        let place = Place { node: self.index, seat };
        loop {
            while let Some(output) = self.seats[seat].shard.poll() {
                match output {
                    Output::Post { seat: to, role, post } => {
                        let urgent = post.is_urgent();
                        let letter = Letter::Post(role, post);
                        self.send(Some(seat), Mail { seat: to, urgent, letter }, around);
                    }
                    Output::Line(event) => {
                        let apps = &mut around.apps;
                        let answer = apps.line(self.index, around.now, event, around.trace);
                        if let Some(sending) = answer {
                            let role = Role::Partition(self.plan.partition_of(&sending.to));
                            let post = Input::Post(role, Post::Send(Box::new(sending)));
                            let (now, wall) = self.clock(around.now);
                            self.seats[seat].shard.handle(now, wall, post);
                        }
                    }
                    Output::Stream(key, event) => {
                        let shard = &self.seats[seat].shard;
                        around.apps.stream(place, shard, around.now, key, event, around.trace);
                    }
                    Output::Link(event) => self.link_event(seat, event, around),
                    Output::Meet(_) | Output::Refused(_) => {}
                    Output::Mesh(event) => {
                        around.trace.say(around.now, self.index, format!("{event:?}"));
                    }
                }
            }
            let shard = &mut self.seats[seat].shard;
            let more = around.apps.pump(place, shard, (around.now, now), around.trace);
            shard.flush(now, wall);
            if !more && !shard.has_output() {
                return;
            }
        }
    }

    fn link_event(&mut self, seat: usize, event: LinkEvent, around: &mut Around<'_>) {
        match event {
            LinkEvent::Up(link, record) => {
                let Some(reader) = self.seats[seat].readers.get(&link) else { return };
                let peer = record.hashname();
                around.trace.say(around.now, self.index, format!("link {} up to {peer:?}", link.0));
                if let Some(dial) = reader.dial {
                    self.dials[dial].is_up(around.now);
                    self.dials[dial].stage = Stage::Linked(link);
                }
            }
            LinkEvent::Close(link, reason) => {
                // The goodbye is in the lanes: it gets its chance before the socket closes.
                self.write_links(seat, around);
                self.close(seat, link, &reason.to_string(), around);
            }
        }
    }
}
