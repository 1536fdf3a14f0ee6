//! One thread of a node: a poller, the stages of its seat, and the sockets that belong to them. What
//! becomes of links is `connections`, of streams `streams`, of datagrams `datagrams`, of messages
//! `messages`; what the shard tells is `events`, what the application wants `commands`.
//!
//! A round takes a batch from every ready socket and the mailbox, passes on what the stages put out
//! until nothing is left, and flushes every output once; if links bring much, after each 64 KiB of it, while that is in the processor's cache.
//! Under light load a round is one packet; nothing waits for a timer to be batched.
//!
//! ```text
//!   sleep ─► mailbox, sockets, timers ─► shard ─► posts to other workers, events to the
//!     ▲                                            application, tunnels
//!     └──────────── sockets flushed ◄──────────────────────┘
//! ```

mod commands;
mod connections;
mod datagrams;
mod events;
mod messages;
mod streams;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Sender as Questions, Sender as Reply};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use trunkline_proto::base::{Chance, DropReason, Drops, FramePool, Instant};
use trunkline_proto::message::{Incoming as Message, SubscriptionId};
use trunkline_proto::shard::{Input, Output, Shard};
use trunkline_proto::stage::plan::{Plan, Role};
use trunkline_proto::stage::post::Post;

use connections::Dialled;
use datagrams::Udp;
use events::tell_refused;

use super::clock::Clock;
use super::letters::Letter;
use super::links::{Readers, Writers};
use super::mailbox::{Lane, Receiver, Sender};
use super::nap::Nap;
use super::pipes::Pipes;
use super::tunnels::{Context, Tunnels};
use crate::engine::Shared;
use crate::meeting::LookUp;
use crate::net::{LinkListener, LinkTls, RecvBuffers, TcpOptions, UdpPort};
use crate::setup::{Dial, Listener};

/// The waker's token.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// Letters taken from the mailbox before sockets get their turn.
const LETTERS: usize = 1_024;
/// Posts that could not be delivered and must not be lost, kept per worker.
const KEPT: usize = 16_384;

/// What a token stands for.
#[derive(Clone, Copy)]
enum Source {
    Udp(usize),
    Listener(usize),
    Reader,
    Writer,
    Proxy,
    Tunnel,
}

/// One worker.
pub(crate) struct Worker {
    seat: usize,
    plan: Plan,
    partition: Option<u16>,
    shared: Arc<Shared>,
    shard: Shard,
    chance: Chance,
    clock: Clock,
    poll: Poll,
    sources: Slab<Source>,
    mail: Receiver<Letter>,
    others: Vec<Sender<Letter>>,
    /// Letters that found a mailbox full and must not be lost, by seat.
    kept: Vec<VecDeque<(Lane, Letter)>>,
    drops: Drops,
    udp: Vec<Udp>,
    received: RecvBuffers,
    listeners: Vec<(LinkListener, Listener)>,
    /// Listeners with connections waiting that could not be accepted, and when to try again.
    paused: Option<Instant>,
    tls: LinkTls,
    tcp: TcpOptions,
    readers: Readers,
    writers: Writers,
    dials: Vec<Dialled>,
    next_link: u32,
    tunnels: Tunnels,
    pipes: Pipes,
    /// Whom to ask for the keys of others, on the seat that is asked for them.
    lookups: Option<Questions<LookUp>>,
    /// Messages for the application, of this round.
    arrived: Vec<(SubscriptionId, Vec<Message>)>,
    pool: FramePool,
    nap: Nap,
    /// Something came in this round that is neither a letter nor a link's.
    beside: bool,
    stopping: bool,
    /// Who waits to hear whether everything has left.
    asked: Vec<Reply<bool>>,
    rounds: u64,
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) seat: usize,
    pub(crate) plan: Plan,
    pub(crate) shared: Arc<Shared>,
    pub(crate) shard: Shard,
    pub(crate) chance: Chance,
    pub(crate) clock: Clock,
    pub(crate) poll: Poll,
    pub(crate) mail: Receiver<Letter>,
    pub(crate) others: Vec<Sender<Letter>>,
    /// Sockets for receiving; all seats share the same for sending.
    pub(crate) udp: Vec<Arc<UdpPort>>,
    pub(crate) listeners: Vec<(LinkListener, Listener)>,
    pub(crate) dials: Vec<(usize, Dial)>,
    pub(crate) tls: LinkTls,
    pub(crate) tunnels: Tunnels,
    pub(crate) pipes: Pipes,
    pub(crate) lookups: Option<Questions<LookUp>>,
    pub(crate) pieces_per_write: usize,
}

impl Worker {
    /// Registers everything with the poller.
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let Parts { seat, plan, shared, shard, chance, clock, poll, mail, others, .. } = parts;
        let partition = plan.roles().find_map(|r| match r {
            Role::Partition(p) if plan.seat(r) == seat => Some(p),
            _ => None,
        });
        let kept = others.iter().map(|_| VecDeque::new()).collect();
        let mut worker = Self {
            seat,
            plan,
            partition,
            shared,
            shard,
            chance,
            clock,
            poll,
            sources: Slab::new(),
            mail,
            others,
            kept,
            drops: Drops::default(),
            udp: Vec::new(),
            received: RecvBuffers::new(),
            listeners: Vec::new(),
            paused: None,
            tls: parts.tls,
            tcp: TcpOptions::default(),
            readers: Readers::default(),
            writers: Writers::new(parts.pieces_per_write),
            dials: Vec::new(),
            next_link: 0,
            tunnels: parts.tunnels,
            pipes: parts.pipes,
            lookups: parts.lookups,
            arrived: Vec::new(),
            pool: FramePool::new(1 << 18, 32),
            nap: Nap::new(),
            beside: false,
            stopping: false,
            asked: Vec::new(),
            rounds: 0,
        };
        for port in parts.udp {
            worker.add_udp(port)?;
        }
        for (mut listener, what) in parts.listeners {
            let token = Token(worker.sources.insert(Source::Listener(worker.listeners.len())));
            worker.poll.registry().register(&mut listener, token, Interest::READABLE)?;
            worker.listeners.push((listener, what));
        }
        worker.dials.extend(parts.dials.into_iter().map(|(index, dial)| Dialled::new(index, dial)));
        Ok(worker)
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        while !self.stopping && !self.shared.stopping.load(Ordering::Relaxed) {
            self.sleep(&mut events);
            self.rounds += 1;
            let now = self.clock.now();
            self.read_mail(now);
            self.answer_bell(now);
            for event in &events {
                self.socket_ready(now, event);
            }
            for index in 0..self.udp.len() {
                self.read_datagrams(now, index);
            }
            for _ in 0..self.readers.unread() {
                let Some(link) = self.readers.next_unread() else { break };
                self.link_ready(now, link);
            }
            self.keep_time(now);
            self.settle(now);
            self.flush(now);
            for reply in std::mem::take(&mut self.asked) {
                let _ = reply.send(self.is_quiet());
            }
            self.rest(now);
        }
        self.say_goodbye();
    }

    /// Lets more come together, if what comes is much and small.
    fn rest(&mut self, now: Instant) {
        let took = || self.clock.now().since(now);
        let beside = std::mem::take(&mut self.beside) || self.udp.iter().any(|u| u.unread);
        let nap = self.nap.after(now, took, self.readers.take_moved(), beside);
        if let Some(nap) = nap.filter(|_| self.readers.unread() == 0 && !self.writers.is_busy()) {
            std::thread::park_timeout(nap);
        }
    }

    fn sleep(&mut self, events: &mut Events) {
        let more = self.readers.unread() > 0
            || self.udp.iter().any(|u| u.unread)
            || self.writers.is_busy()
            || self.kept.iter().any(|k| !k.is_empty())
            || !self.mail.prepare_sleep();
        let timeout = if more { Duration::ZERO } else { self.timeout() };
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "the poller failed");
            self.stopping = true;
        }
        self.mail.woke();
    }

    /// Until the next thing happens by itself.
    fn timeout(&self) -> Duration {
        let dials = self.dials.iter().filter_map(|d| d.retry);
        let blocked = self.udp.iter().any(|u| u.blocked && self.partition.is_none());
        let soon = blocked.then(|| self.clock.now() + Duration::from_millis(1));
        let next = [self.shard.deadline(), self.readers.deadline(), self.paused, soon]
            .into_iter()
            .flatten()
            .chain(dials)
            .min();
        next.map_or(Duration::from_secs(60), |d| d.since(self.clock.now()))
    }

    fn read_mail(&mut self, now: Instant) {
        for _ in 0..LETTERS {
            let Some(letter) = self.mail.pop() else { return };
            match letter {
                Letter::Post(role, post) => {
                    self.shard.handle(now, Clock::wall(), Input::Post(role, post));
                }
                Letter::Adopt(link, transport) => self.adopt(link, transport),
                Letter::Abandon(link) => self.abandon(link),
                // It only ends the sleep: the round looks at the bell.
                Letter::Pipes => {}
                Letter::Command(command) => self.obey(now, command),
            }
        }
    }

    fn answer_bell(&mut self, now: Instant) {
        let Self { pipes, shard, poll, .. } = self;
        let registry = poll.registry();
        pipes.answer(&mut Context { shard, registry, now, wall: Clock::wall() });
    }

    fn socket_ready(&mut self, now: Instant, event: &mio::event::Event) {
        let token = event.token();
        let Some(&source) = self.sources.get(token.0) else { return };
        self.beside |= matches!(source, Source::Udp(_) | Source::Proxy | Source::Tunnel);
        match source {
            Source::Udp(index) => self.udp_ready(index, event),
            Source::Listener(index) => self.accept(now, index),
            Source::Reader => {
                if let Some(link) = self.readers.link(token) {
                    if event.is_read_closed() || event.is_error() {
                        self.readers.ending(link);
                    }
                    self.link_ready(now, link);
                }
            }
            Source::Writer => {
                if let Some(link) = self.writers.link(token) {
                    self.writers.writable(link);
                }
            }
            Source::Proxy => {
                let Self { tunnels, shard, poll, sources, .. } = self;
                let registry = poll.registry();
                let mut ctx = Context { shard, registry, now, wall: Clock::wall() };
                tunnels.accept(&mut ctx, token, || Token(sources.insert(Source::Tunnel)));
            }
            Source::Tunnel => {
                let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                self.tunnels.ready(token, readable, event.is_writable() || event.is_error());
            }
        }
    }

    /// Does what time demands.
    fn keep_time(&mut self, now: Instant) {
        if self.shard.deadline().is_some_and(|d| d <= now) {
            self.shard.handle_timeout(now, Clock::wall());
        }
        while let Some(link) = self.readers.pop_late(now) {
            self.close(now, link, "the handshake took too long".into());
        }
        if self.paused.is_some_and(|p| p <= now) {
            self.paused = None;
            (0..self.listeners.len()).for_each(|i| self.accept(now, i));
        }
        for i in 0..self.dials.len() {
            if self.dials.get(i).and_then(|d| d.retry).is_some_and(|r| r <= now) {
                self.dial(now, i);
            }
        }
    }

    /// Passes on what the shard put out, until it puts out nothing more.
    fn settle(&mut self, now: Instant) {
        loop {
            while let Some(output) = self.shard.poll() {
                match output {
                    Output::Post { seat, role, post } => self.deliver(seat, role, post),
                    Output::Line(event) => self.line_event(event),
                    Output::Stream(key, event) => self.stream_event(now, key, &event),
                    Output::Link(event) => self.link_event(now, event),
                    Output::Mesh(event) => self.mesh_event(event),
                    Output::Meet(event) => self.meet_event(event),
                    Output::Refused(note) => tell_refused(&note),
                }
            }
            let mut done = Vec::new();
            let Self { tunnels, pipes, shard, poll, .. } = self;
            let registry = poll.registry();
            let wall = Clock::wall();
            let mut ctx = Context { shard, registry, now, wall };
            let more = tunnels.pump(&mut ctx, &mut done) | pipes.pump(&mut ctx);
            for token in done {
                self.sources.try_remove(token.0);
            }
            self.shard.flush(now, wall);
            if !more && !self.shard.has_output() {
                // What finds no room goes back, and has to be passed on, too.
                self.give_messages(now);
                if !self.shard.has_output() {
                    break;
                }
            }
        }
    }

    /// A post for another seat. Data may be dropped when its mailbox is full, as anywhere else
    /// on the way; what changes state waits.
    fn deliver(&mut self, seat: usize, role: Role, post: Post) {
        let lane = if post.is_urgent() { Lane::Urgent } else { Lane::Ordinary };
        self.send(seat, lane, Letter::Post(role, post));
    }

    fn send(&mut self, seat: usize, lane: Lane, letter: Letter) {
        let (Some(other), Some(kept)) = (self.others.get(seat), self.kept.get_mut(seat)) else {
            return;
        };
        let must = !letter.is_data();
        // What waits already goes first, or an end would overtake what it ends.
        if must && !kept.is_empty() {
            return if kept.len() < KEPT { kept.push_back((lane, letter)) } else { self.full() };
        }
        match other.push(lane, letter) {
            Err(letter) if must && kept.len() < KEPT => kept.push_back((lane, letter)),
            Err(_) => self.full(),
            Ok(()) => {}
        }
    }

    fn full(&mut self) {
        self.drops.count(DropReason::QueueFull);
    }

    /// Flushes every output once.
    fn flush(&mut self, now: Instant) {
        self.readers.pass_on();
        for (other, kept) in self.others.iter().zip(&mut self.kept) {
            if other.is_closed() {
                kept.clear();
            }
            while let Some((lane, letter)) = kept.pop_front() {
                if let Err(letter) = other.push(lane, letter) {
                    kept.push_front((lane, letter));
                    break;
                }
            }
        }
        for (link, error) in self.writers.flush(now, &mut self.shard) {
            tracing::debug!(?link, %error, "a link broke while writing");
            let reader = self.plan.seat(self.plan.reader_of(link));
            if reader == self.seat {
                // What the neighbour said last, its goodbye perhaps, tells more than this.
                self.read_link(now, link);
                self.settle(now);
                self.close(now, link, error.to_string());
            }
        }
        self.flush_datagrams();
    }

    /// The last words, as far as sockets take them without waiting.
    fn say_goodbye(&mut self) {
        let now = self.clock.now();
        self.settle(now);
        self.flush(now);
    }
}
