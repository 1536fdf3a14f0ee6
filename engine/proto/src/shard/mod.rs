//! What one thread runs: the stages the plan seats there, and the posts between them.
//!
//! Composition only. A [`Shard`] is fed [`Input`]s and the time, and drained of [`Output`]s; what
//! one of its stages posts to a stage of another seat comes out as [`Output::Post`] and goes in
//! there as [`Input::Post`]. The runtime's threads and the simulation drive it the same way.
//!
//! ```text
//!   loop {
//!       shard.handle(now, wall, input)           for everything that came in
//!       shard.handle_timeout(now, wall)          when deadline() has passed
//!       while let Some(o) = shard.poll() { … }   posts, events, links to close
//!       write what writer() has waiting
//!   }
//! ```

mod application;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;

use crate::base::{BootEpoch, Chance, Instant, Limits, LinkId, Wall};
use crate::crypto::open;
use crate::crypto::{Identity, LineIds, SpaceRules};
use crate::gate::{Gate, Note, Rules};
use crate::mesh::{LinkSession, LinkTerms, Routing, Side, Transport};
use crate::message;
use crate::stage::forward::Forward;
use crate::stage::lines::{LineEvent, Lines};
use crate::stage::links::{LinkEvent, Links};
use crate::stage::meeting::{MeetEvent, MeetingStage};
use crate::stage::plan::{Plan, Role};
use crate::stage::post::{Post, Posts};
use crate::stage::routing::{MeshEvent, RoutingStage};
use crate::stage::streams::{StreamKey, StreamStage};
use crate::stage::writer::Writer;
use crate::switch::meet::Terms;
use crate::switch::streams::{StreamEvent, StreamLimits};
use crate::switch::{SPACER, Setting, Toll};
use crate::wire::link::{Capabilities, Cost, NodeName};

/// What a node is told when it begins; the same for all its shards.
#[derive(Clone, Debug)]
pub struct Node {
    /// Who does what.
    pub plan: Plan,
    /// Who we are.
    pub identity: Arc<Identity>,
    /// Who belongs to its space, and what it shows of itself.
    pub space: Arc<SpaceRules>,
    /// This start of the node.
    pub epoch: BootEpoch,
    /// Its name, for people.
    pub name: NodeName,
    /// The bounds.
    pub limits: Arc<Limits>,
    /// The bounds of streams.
    pub stream_limits: StreamLimits,
    /// What it does for others, and whom it asks.
    pub terms: Terms,
    /// How it packs messages and what it takes.
    pub messages: message::Settings,
    /// Whether the application takes packets that nothing here knows, from outside any line.
    pub anonymous: bool,
    /// Which messages it takes.
    pub gate: Arc<Rules>,
    /// The secret behind line ids; drawn at every start.
    pub line_secret: [u8; 16],
}

/// What goes in.
#[derive(Debug)]
pub enum Input {
    /// A post from another seat.
    Post(Role, Post),
    /// A datagram came in.
    Datagram {
        /// Where from.
        from: SocketAddr,
        /// The port of ours it came in at.
        port: u16,
        /// What.
        bytes: BytesMut,
    },
    /// A link's transport is established.
    LinkOpened {
        /// Its number, never used before.
        link: LinkId,
        /// Who called whom.
        side: Side,
        /// What the transport proved.
        transport: Transport,
        /// Our cost of sending there.
        cost: Cost,
        /// The listening port the neighbour came to; none if we called it.
        port: Option<u16>,
    },
    /// A link's transport is gone.
    LinkClosed(LinkId),
    /// The node stops: say goodbye to everyone.
    Close,
}

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// For a stage of another seat.
    Post {
        /// Which.
        seat: usize,
        /// Whom there.
        role: Role,
        /// What.
        post: Post,
    },
    /// A line event for the application.
    Line(LineEvent),
    /// A stream event for the application.
    Stream(StreamKey, StreamEvent),
    /// A link event for the runtime.
    Link(LinkEvent),
    /// A change of the mesh, for the application.
    Mesh(MeshEvent),
    /// A question about hashnames for the application, or an answer.
    Meet(MeetEvent),
    /// The gatekeeper refused messages, for the log; at most once a second.
    Refused(Note),
}

/// The stages of one seat.
#[derive(Debug)]
pub struct Shard {
    seat: usize,
    plan: Plan,
    identity: Arc<Identity>,
    space: Arc<SpaceRules>,
    epoch: BootEpoch,
    name: NodeName,
    limits: Arc<Limits>,
    chance: Chance,
    partition: u16,
    lines: Option<Lines>,
    links: Links,
    streams: Option<StreamStage>,
    routing: Option<RoutingStage>,
    meeting: Option<MeetingStage>,
    forward: Option<Forward>,
    writer: Option<Writer>,
    posts: Posts,
    outputs: std::collections::VecDeque<Output>,
    /// Streams have more to send than one turn allows: the sockets come first.
    more: bool,
}

impl Shard {
    /// The stages that `node.plan` seats at `seat`. `chance` decides everything random here.
    #[must_use]
    pub fn new(node: &Node, seat: usize, mut chance: Chance) -> Self {
        let plan = node.plan;
        let us = node.identity.hashname();
        let ids = LineIds::new(node.line_secret);
        let mut shard = Self {
            seat,
            plan,
            identity: node.identity.clone(),
            space: node.space.clone(),
            epoch: node.epoch,
            name: node.name,
            limits: node.limits.clone(),
            partition: 0,
            lines: None,
            links: Links::new(plan, node.space.is_closed(), &mut chance),
            streams: None,
            routing: None,
            meeting: None,
            forward: None,
            writer: None,
            posts: Posts::default(),
            outputs: std::collections::VecDeque::new(),
            more: false,
            chance,
        };
        for role in plan.roles().filter(|r| plan.seat(*r) == seat) {
            let chance = &mut shard.chance;
            match role {
                Role::Partition(partition) => {
                    let setting = Setting {
                        partition,
                        partitions: plan.partitions(),
                        identity: node.identity.clone(),
                        space: node.space.clone(),
                        epoch: node.epoch,
                        limits: node.limits.clone(),
                        capabilities: capabilities(node),
                        anonymous: node.anonymous,
                        ids: ids.clone(),
                    };
                    shard.partition = partition;
                    let messages = node.messages.clone();
                    let gate = Gate::new(node.gate.clone());
                    shard.lines = Some(Lines::new(plan, setting, messages, gate, chance.fork()));
                }
                Role::Streams(_) => {
                    let limits = node.stream_limits.clone();
                    shard.streams = Some(StreamStage::new(us, plan, limits, chance));
                }
                Role::Routing => {
                    let mut routing = Routing::new(
                        node.identity.clone(),
                        node.epoch,
                        node.name,
                        Capabilities::default(),
                        &node.limits,
                        chance.fork(),
                    );
                    routing.pack(node.messages.terms);
                    let messages = node.messages.clone();
                    shard.routing = Some(RoutingStage::new(us, plan, routing, messages));
                }
                Role::Meeting => {
                    let record = node.identity.record().encoded().clone();
                    let (space, terms) = (node.space.clone(), node.terms.clone());
                    let chance = chance.fork();
                    shard.meeting = Some(MeetingStage::new(plan, us, record, space, terms, chance));
                }
                Role::Forward(_) => {
                    let ids = ids.clone();
                    let forward = Forward::new(us, plan, ids, &node.limits, chance);
                    shard.forward = Some(forward);
                }
                Role::Writer(index) => {
                    let limits = Limits::clone(&node.limits);
                    shard.writer = Some(Writer::new(index, plan, limits, chance));
                }
            }
        }
        shard
    }

    /// Takes one input and does everything on this seat that follows from it.
    pub fn handle(&mut self, now: Instant, wall: Wall, input: Input) {
        match input {
            Input::Post(role, post) => self.posts.push(role, post),
            Input::Datagram { from, port, bytes } => {
                let post = Post::Datagram { from, port, bytes, toll: Toll::Due };
                self.posts.push(Role::Partition(self.partition), post);
            }
            Input::LinkOpened { link, side, transport, cost, port } => {
                let terms = LinkTerms {
                    cost,
                    name: self.name,
                    capabilities: Capabilities::default(),
                    heartbeat: self.limits.heartbeat,
                    space: self.space.clone(),
                };
                let session = LinkSession::new(
                    now,
                    link,
                    side,
                    transport,
                    self.identity.clone(),
                    self.epoch,
                    &terms,
                    &self.limits,
                    &mut self.chance,
                );
                let Self { links, posts, outputs, .. } = self;
                let events = &mut |e| outputs.push_back(Output::Link(e));
                if let Ok(session) = session {
                    links.open((link, port), session, cost, posts, events);
                }
            }
            Input::LinkClosed(link) => {
                self.links.closed(link, &mut self.posts);
                self.posts.push(self.plan.writer_of(link), Post::LinkGone(link));
            }
            Input::Close => {
                if self.lines.is_some() {
                    self.posts.push(Role::Partition(self.partition), Post::CloseLines);
                }
                self.run(now, wall);
                let Self { links, posts, outputs, .. } = self;
                links.close_all(posts, &mut |e| outputs.push_back(Output::Link(e)));
            }
        }
        self.run(now, wall);
    }

    /// Bytes of a link came in: whole frames are taken off the front of `bytes`, what remains is
    /// the beginning of the next one. Gives back how many packages were among them.
    pub fn received(
        &mut self,
        now: Instant,
        wall: Wall,
        link: LinkId,
        bytes: &mut BytesMut,
    ) -> u32 {
        let Self { links, posts, outputs, .. } = self;
        let events = &mut |e| outputs.push_back(Output::Link(e));
        let packages = links.received(now, wall, link, bytes, posts, events);
        self.run(now, wall);
        packages
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant, wall: Wall) {
        let Self { lines, links, streams, routing, meeting, posts, outputs, .. } = self;
        links.handle_timeout(now, wall, posts, &mut |e| outputs.push_back(Output::Link(e)));
        if let Some(lines) = lines {
            lines.handle_timeout(now, wall, posts, &mut |e| outputs.push_back(Output::Line(e)));
            outputs.extend(lines.take_note(now).map(Output::Refused));
        }
        if let Some(streams) = streams {
            streams.handle_timeout(now);
        }
        if let Some(routing) = routing {
            routing.handle_timeout(now, wall, posts, &mut |e| outputs.push_back(Output::Mesh(e)));
        }
        if let Some(meeting) = meeting {
            meeting.handle_timeout(now, wall, posts, &mut |e| outputs.push_back(Output::Meet(e)));
        }
        self.run(now, wall);
    }

    /// The next moment at which something happens by itself: long past, if streams wait for
    /// another turn.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.more {
            return Some(Instant::ZERO);
        }
        [
            self.links.deadline(),
            self.lines.as_ref().and_then(Lines::deadline),
            self.streams.as_ref().and_then(StreamStage::deadline),
            self.routing.as_ref().and_then(RoutingStage::deadline),
            self.meeting.as_ref().and_then(MeetingStage::deadline),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes the next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether there is an output to take.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// What waits for the sockets written on this seat.
    pub const fn writer(&mut self) -> Option<&mut Writer> {
        self.writer.as_mut()
    }

    /// Delivers posts until none is left on this seat. Streams get one turn: what it sends must
    /// reach the sockets before the next, or a large window would overrun the lanes.
    fn run(&mut self, now: Instant, wall: Wall) {
        let mut turn = true;
        loop {
            while let Some((role, post)) = self.posts.pop() {
                let seat = self.plan.seat(role);
                if seat == self.seat {
                    self.deliver(now, wall, role, post);
                } else {
                    self.outputs.push_back(Output::Post { seat, role, post });
                }
            }
            let Self { streams, posts, outputs, .. } = self;
            let Some(streams) = streams else { return };
            let events = &mut |k, e| outputs.push_back(Output::Stream(k, e));
            if turn {
                self.more = streams.settle(now, posts, events);
                turn = false;
            }
            if posts.is_empty() {
                return;
            }
        }
    }

    fn deliver(&mut self, now: Instant, wall: Wall, role: Role, post: Post) {
        let Self { lines, streams, routing, meeting, forward, writer, posts, outputs, .. } = self;
        match role {
            Role::Partition(_) if matches!(post, Post::CloseLink(_)) => {
                let events = &mut |e| outputs.push_back(Output::Link(e));
                if let Post::CloseLink(link) = post {
                    self.links.refuse(link, posts, events);
                }
            }
            Role::Partition(_) => {
                let events = &mut |e| outputs.push_back(Output::Line(e));
                if let Some(lines) = lines {
                    lines.handle(now, wall, post, posts, events);
                }
            }
            Role::Streams(_) => {
                let events = &mut |k, e| outputs.push_back(Output::Stream(k, e));
                if let Some(streams) = streams {
                    streams.handle(now, post, events);
                }
            }
            Role::Routing => {
                let events = &mut |e| outputs.push_back(Output::Mesh(e));
                if let Some(routing) = routing {
                    routing.handle(now, wall, post, posts, events);
                }
            }
            Role::Meeting => {
                let events = &mut |e| outputs.push_back(Output::Meet(e));
                if let Some(meeting) = meeting {
                    meeting.handle(now, wall, post, posts, events);
                }
            }
            Role::Forward(_) => match (forward, post) {
                (Some(f), Post::Transit { from, entrance, frames }) => {
                    f.transit(now, (from, entrance), frames, posts);
                }
                (Some(f), Post::Originate(frame)) => f.originate(now, frame, posts),
                (Some(f), Post::Refused { run, code }) => f.refused(now, &run, code, posts),
                (Some(f), Post::Routes(routes)) => f.set_routes(routes),
                _ => {}
            },
            Role::Writer(_) => {
                if let Some(writer) = writer {
                    writer.handle(now, post, posts);
                }
            }
        }
    }
}

fn capabilities(node: &Node) -> open::Capabilities {
    open::Capabilities(if node.terms.spacer { SPACER } else { 0 })
}
