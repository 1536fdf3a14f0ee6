//! Starting and stopping a node: sockets are opened, threads seated, and everything is taken down
//! in the opposite order.

mod stopping;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Sender as Reply, Sender as Questions};
use mio::{Poll, Waker};
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, HashSet};
use trunkline_proto::base::{BootEpoch, Chance, Hashname, Limits};
use trunkline_proto::message::{Returned, Subscription, SubscriptionId};
use trunkline_proto::shard::{Input, Node, Shard};
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post as StagePost;
use trunkline_proto::switch::streams::Open;
use trunkline_proto::switch::{Answer, Token};
use trunkline_proto::wire::link::NodeName;

use crate::callbacks::{Dispatch, Event};
use crate::changes::Hub;
use crate::handle::Handle;
use crate::handle::links::Dialled;
use crate::meeting::LookUp;
use crate::messages::{Post, Sink};
use crate::net::{LinkListener, LinkTls, ListenOptions, TcpOptions, UdpOptions, UdpPort};
use crate::runtime::clock::Clock;
use crate::runtime::letters::{Command, Letter};
use crate::runtime::mailbox::{Lane, Mailbox, Receiver as Mail, Sender};
use crate::runtime::pipe::Bell;
use crate::runtime::pipes::Pipes;
use crate::runtime::tunnels::Tunnels;
use crate::runtime::worker::{Parts, WAKE, Worker};
use crate::setup::Setup;
use crate::stream::{self, Stream};

/// Letters a mailbox holds, urgent and ordinary. × ~200 bytes = 1 MiB a worker, and what the
/// letters hold: at most a frame each.
const MAILBOX: (usize, usize) = (2_048, 4_096);
/// Open questions of the application.
const QUESTIONS: usize = 65_536;
/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be opened.
    #[error("cannot listen at {what}: {source}")]
    Listen {
        /// Where, and for what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The machine would not give a poller or a thread.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
    /// The signing key does not serve for TLS.
    #[error("the key file's signing key cannot be used for TLS: {0}")]
    Tls(String),
    /// The name is not one to three dozen printable characters.
    #[error("`{0}` is no name for a node: use up to 32 printable ASCII characters")]
    Name(String),
}

/// What handles and workers share.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    tokens: AtomicU64,
    /// The node ends, whatever else is in the mailboxes.
    pub(crate) stopping: AtomicBool,
    waiting: Mutex<HashMap<Token, Reply<Answer>>>,
    /// Messages, and who takes them.
    pub(crate) post: Post,
    /// Links and nodes that come and go.
    pub(crate) changes: Hub,
    /// The links that are kept up.
    pub(crate) dialled: Dialled,
    /// Whether lines can be opened over UDP.
    pub(crate) receives_lines: bool,
    /// Streams that peers opened, for whoever listens.
    pub(crate) streams: Arc<stream::Arrivals>,
    pub(crate) dispatch: Dispatch,
    #[cfg(feature = "http")]
    pub(crate) http: crate::http::Http,
    nodes: Mutex<HashSet<Hashname>>,
    nodes_changed: Condvar,
}

impl Shared {
    pub(crate) fn new_token(&self) -> Token {
        self.new_tokens(1)
    }

    /// The first of `count` numbers in a row that nobody else has.
    pub(crate) fn new_tokens(&self, count: u64) -> Token {
        Token(self.tokens.fetch_add(count, Ordering::Relaxed))
    }

    /// Waits for the answer to `token`. False if too many wait already.
    pub(crate) fn expect(&self, token: Token, reply: Reply<Answer>) -> bool {
        let mut waiting = self.waiting.lock();
        let room = waiting.len() < QUESTIONS;
        if room {
            waiting.insert(token, reply);
        }
        room
    }

    pub(crate) fn forget(&self, token: Token) {
        self.waiting.lock().remove(&token);
    }

    pub(crate) fn answered(&self, token: Token, answer: Answer) {
        if let Some(reply) = self.waiting.lock().remove(&token) {
            // Who gave up waiting needs no answer.
            let _ = reply.try_send(answer);
        }
    }

    /// A message came back.
    pub(crate) fn came_back(&self, back: Returned) {
        if let Err(back) = self.post.came_back(back) {
            let _ = self.dispatch.dispatch(Event::Returned(back));
        }
    }

    /// Whether anyone takes streams that peers open for this.
    pub(crate) fn takes(&self, open: &Open) -> bool {
        match open {
            Open::Generic => self.streams.is_listened_to() || self.dispatch.takes_streams(),
            #[cfg(feature = "http")]
            Open::Req => self.http.serves(),
            _ => false,
        }
    }

    /// Gives a stream to who takes it, or back if they have too many.
    pub(crate) fn give(&self, open: &Open, stream: Stream) -> Result<(), Stream> {
        match open {
            Open::Generic if self.streams.is_listened_to() => self.streams.put(stream),
            Open::Generic => self.dispatch.stream(stream),
            #[cfg(feature = "http")]
            Open::Req => match self.http.give(crate::http::Job::Serve(stream)) {
                Err(crate::http::Job::Serve(stream)) => Err(stream),
                _ => Ok(()),
            },
            _ => Err(stream),
        }
    }

    pub(crate) fn reachable(&self, node: Hashname, yes: bool) {
        let mut nodes = self.nodes.lock();
        if yes {
            nodes.insert(node);
        } else {
            nodes.remove(&node);
        }
        self.nodes_changed.notify_all();
    }

    /// Waits until the mesh leads to `node`; false when `patience` ends first.
    pub(crate) fn wait_reachable(&self, node: &Hashname, patience: Duration) -> bool {
        let mut nodes = self.nodes.lock();
        let missing = |n: &mut HashSet<Hashname>| !n.contains(node);
        !self.nodes_changed.wait_while_for(&mut nodes, missing, patience).timed_out()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.post.close();
        self.changes.close();
        self.streams.close();
    }
}

/// A running node. Dropping it stops it.
pub struct Engine {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
    udp: Vec<SocketAddr>,
    links: Vec<SocketAddr>,
    gateway: Option<SocketAddr>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("links", &self.links).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the sockets and starts the threads.
    ///
    /// # Errors
    /// [`StartError`], and then nothing is left running.
    pub fn start(setup: Setup) -> Result<Self, StartError> {
        let name = NodeName::new(setup.name.as_bytes())
            .ok_or_else(|| StartError::Name(setup.name.clone()))?;
        let tls = LinkTls::new(&setup.identity.signing_pkcs8())
            .map_err(|e| StartError::Tls(e.to_string()))?;
        let mut chance = Chance::from_seed(seed()?);
        let sockets = Sockets::open(&setup)?;
        let (udp, links) = (sockets.udp_addresses(), sockets.link_addresses());
        let node = Node {
            plan: setup.plan,
            identity: setup.identity.clone(),
            space: setup.space.clone(),
            epoch: BootEpoch(chance.u64()),
            name,
            limits: Arc::new(setup.limits.clone()),
            stream_limits: setup.stream_limits.clone(),
            terms: crate::meeting::terms(&setup, &udp),
            messages: setup.messages.clone(),
            anonymous: setup.callbacks.anon.is_some(),
            gate: Arc::new(setup.gate.compile(&mut chance)),
            line_secret: chance.bytes(),
        };
        let shared = Arc::new(Shared {
            limits: setup.limits.clone(),
            // Others see these numbers; nobody is to guess the next ones from afar.
            tokens: AtomicU64::new(chance.u64()),
            stopping: AtomicBool::new(false),
            waiting: Mutex::new(HashMap::new()),
            post: Post::default(),
            changes: Hub::default(),
            dialled: Dialled::new(&setup.dials),
            receives_lines: !setup.udp.is_empty(),
            streams: Arc::default(),
            dispatch: Dispatch::start(setup.callbacks.clone())?,
            #[cfg(feature = "http")]
            http: crate::http::Http::new(setup.http.clone()),
            nodes: Mutex::new(HashSet::new()),
            nodes_changed: Condvar::new(),
        });
        let mut seats = Vec::new();
        let mut others = Vec::new();
        for _ in 0..setup.plan.seats() {
            let (poll, mail, sender) = seat()?;
            seats.push((poll, mail));
            others.push(sender);
        }
        let bells: Vec<_> = others.iter().cloned().map(Bell::new).collect();
        let handle = Handle::new(
            setup.identity.clone(),
            setup.plan,
            shared.clone(),
            others.clone(),
            bells.clone(),
        );
        shared.dispatch.begin(&handle);
        let subscribed = subscribe(&setup, &shared);
        let mut engine = Self { handle, threads: Vec::new(), udp, links, gateway: None };
        let mut lookups = None;
        let meeting = others.get(setup.plan.seat(Role::Meeting));
        if let (Some(directory), Some(meeting)) = (&setup.directory, meeting) {
            let (questions, thread) = crate::meeting::answer(directory.clone(), meeting.clone())?;
            lookups = Some(questions);
            engine.threads.push(thread);
        }
        let (setup, node, shared) = (&setup, &node, &shared);
        let subscribed = &subscribed[..];
        let make = Make { setup, node, shared, subscribed, others: &others, tls: &tls };
        let seats = seats.into_iter().zip(bells).collect();
        let workers = build(make, seats, sockets, lookups, &mut chance)?;
        engine.spawn(workers)?;
        #[cfg(feature = "http")]
        engine.start_http(setup)?;
        for p in &setup.proxies {
            let open = Open::Sock(p.target.clone().into());
            let opened = engine.handle.listen_for(p.peer, open, p.listen);
            let what = || format!("{} for the proxy to {}", p.listen, p.target);
            opened.map_err(|source| StartError::Listen { what: what(), source })?.keep();
        }
        Ok(engine)
    }

    #[cfg(feature = "http")]
    fn start_http(&mut self, setup: &Setup) -> Result<(), StartError> {
        let started = self.handle.shared().http.start(&self.handle);
        self.gateway = started.map_err(|source| match &setup.http.gateway {
            Some(g) => StartError::Listen { what: format!("{} for browsers", g.listen), source },
            None => StartError::Worker(source),
        })?;
        Ok(())
    }

    fn spawn(&mut self, workers: Vec<Worker>) -> io::Result<()> {
        for (i, worker) in workers.into_iter().enumerate() {
            let name = format!("trunkline-{i}");
            self.threads.push(std::thread::Builder::new().name(name).spawn(|| worker.run())?);
        }
        Ok(())
    }

    /// What the application uses; cheap to clone.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where lines can be opened over UDP.
    #[must_use]
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// Where neighbours can link up, in the order of the set-up's listeners.
    #[must_use]
    pub fn link_addresses(&self) -> &[SocketAddr] {
        &self.links
    }

    /// Where browsers reach peers, if they do.
    #[must_use]
    pub const fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway
    }

    /// Says goodbye to peers and neighbours and ends all threads.
    pub fn stop(mut self) {
        self.end();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}

fn seat() -> io::Result<(Poll, Mail<Letter>, Sender<Letter>)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKE)?;
    let (sender, mail) = Mailbox::new(MAILBOX.0, MAILBOX.1, waker);
    Ok((poll, mail, sender))
}

/// The operating system's chance, asked once.
pub(crate) fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(seed)
}

/// The sockets of a node before they are given to workers.
struct Sockets {
    /// By partition, then by address.
    udp: Vec<Vec<Arc<UdpPort>>>,
    /// By partition.
    listeners: Vec<Vec<(LinkListener, crate::setup::Listener)>>,
}

impl Sockets {
    /// Every partition gets a socket of its own for each address; the kernel spreads peers and
    /// neighbours over them. A port of 0 is chosen by the first and shared by the others. The IPv6
    /// wildcard takes IPv4 as well, unless there is an address for that, which it would keep from
    /// having the same port.
    fn open(setup: &Setup) -> Result<Self, StartError> {
        let partitions = usize::from(setup.plan.partitions());
        let reuse_port = partitions > 1;
        let mut udp = Vec::new();
        let mut listeners = Vec::new();
        udp.resize_with(partitions, Vec::new);
        listeners.resize_with(partitions, Vec::new);
        let dual_stack = !setup.udp.iter().any(SocketAddr::is_ipv4);
        for address in &setup.udp {
            let mut address = *address;
            let options = UdpOptions {
                reuse_port,
                dual_stack,
                coalesce: true,
                segment: setup.segment_datagrams,
                ..UdpOptions::default()
            };
            for ports in &mut udp {
                let what = || format!("{address} (udp)");
                let port = UdpPort::bind(address, &options)
                    .map_err(|source| StartError::Listen { what: what(), source })?;
                address = port.local_addr();
                ports.push(Arc::new(port));
            }
        }
        let dual_stack = !setup.listeners.iter().any(|l| l.address.is_ipv4());
        for what in &setup.listeners {
            let mut what = *what;
            for list in &mut listeners {
                let name = || format!("{} ({})", what.address, what.transport);
                let options = ListenOptions { reuse_port, dual_stack };
                let listener = LinkListener::bind(what.address, TcpOptions::default(), options)
                    .map_err(|source| StartError::Listen { what: name(), source })?;
                what.address = listener.local_addr();
                list.push((listener, what));
            }
        }
        Ok(Self { udp, listeners })
    }

    fn udp_addresses(&self) -> Vec<SocketAddr> {
        self.udp.first().into_iter().flatten().map(|p| p.local_addr()).collect()
    }

    fn link_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.first().into_iter().flatten().map(|(l, _)| l.local_addr()).collect()
    }
}

/// A thread's poller and mail, and the bell of its pipes.
type Seat = ((Poll, Mail<Letter>), Arc<Bell>);

/// What all workers of a node are made from.
struct Make<'a> {
    setup: &'a Setup,
    node: &'a Node,
    shared: &'a Arc<Shared>,
    subscribed: &'a [Subscription],
    others: &'a [Sender<Letter>],
    tls: &'a LinkTls,
}

fn build(
    make: Make<'_>,
    seats: Vec<Seat>,
    mut sockets: Sockets,
    mut lookups: Option<Questions<LookUp>>,
    chance: &mut Chance,
) -> Result<Vec<Worker>, StartError> {
    let Make { setup, node, shared, subscribed, others, tls } = make;
    let clock = Clock::start();
    let plan = setup.plan;
    let mut workers = Vec::new();
    for (seat, ((poll, mail), bell)) in seats.into_iter().enumerate() {
        let here = |role: Role| (plan.seat(role) == seat).then_some(role);
        let partition = plan.roles().filter_map(here).find_map(|r| match r {
            Role::Partition(p) => Some(usize::from(p)),
            _ => None,
        });
        let writes = plan.roles().filter_map(here).any(|r| matches!(r, Role::Writer(_)));
        let mut shard = Shard::new(node, seat, chance.fork());
        introduce(&mut shard, setup, partition);
        listen(&mut shard, subscribed, partition);
        let udp = match partition {
            Some(p) => sockets.udp.get(p).cloned().unwrap_or_default(),
            None if writes => sockets.udp.first().cloned().unwrap_or_default(),
            None => Vec::new(),
        };
        let listeners = partition
            .and_then(|p| sockets.listeners.get_mut(p))
            .map(std::mem::take)
            .unwrap_or_default();
        let partitions = usize::from(plan.partitions());
        let dials = setup.dials.iter().cloned().enumerate();
        let dials = dials.filter(|(i, _)| partition == Some(i % partitions)).collect();
        workers.push(Worker::new(Parts {
            seat,
            plan,
            shared: shared.clone(),
            shard,
            chance: chance.fork(),
            clock,
            poll,
            mail,
            others: others.to_vec(),
            udp,
            listeners,
            dials,
            tls: tls.clone(),
            tunnels: Tunnels::new(setup.allow.clone()),
            pipes: Pipes::new(bell),
            lookups: if plan.seat(Role::Meeting) == seat { lookups.take() } else { None },
            pieces_per_write: setup.pieces_per_write,
        })?);
    }
    Ok(workers)
}

/// Tells a partition whom the configuration knows.
fn introduce(shard: &mut Shard, setup: &Setup, partition: Option<usize>) {
    let Some(partition) = partition else { return };
    let (now, wall) = (trunkline_proto::base::Instant::ZERO, Clock::wall());
    let operators = setup.operators.iter().map(|o| (o.hashname, &o.addresses, None));
    // A neighbour may well listen for lines where it does for links; a line that finds so needs no
    // detour, and tells this node where it is seen from.
    let dials = setup.dials.iter().map(|d| (d.hashname, &d.addresses, None));
    let dials = dials.filter(|_| !setup.udp.is_empty());
    let known = setup.known.iter().map(|k| (k.hashname, &k.addresses, k.record.clone()));
    for (hashname, addresses, record) in dials.chain(operators).chain(known) {
        let owner = setup.plan.partition_of(&hashname.address());
        if usize::from(owner) != partition || hashname == setup.identity.hashname() {
            continue;
        }
        let role = Role::Partition(owner);
        if !addresses.is_empty() {
            let found = StagePost::Found(hashname, addresses.clone());
            shard.handle(now, wall, Input::Post(role, found));
        }
        if let Some(record) = record {
            shard.handle(now, wall, Input::Post(role, StagePost::Learned(record)));
        }
    }
}

/// The subscriptions of the callbacks for messages.
fn subscribe(setup: &Setup, shared: &Shared) -> Vec<Subscription> {
    let most = setup.limits.subscriptions;
    let wanted = setup.callbacks.messages.iter().enumerate();
    let subscribed = wanted.filter_map(|(place, (namespace, target, _))| {
        let id: SubscriptionId = shared.post.subscribe(Sink::Callback(place), most)?;
        Some(Subscription { id, namespace: *namespace, target: *target })
    });
    subscribed.collect()
}

/// Tells a partition who takes messages from the beginning.
fn listen(shard: &mut Shard, subscribed: &[Subscription], partition: Option<usize>) {
    let Some(partition) = partition.and_then(|p| u16::try_from(p).ok()) else { return };
    let (now, wall) = (trunkline_proto::base::Instant::ZERO, Clock::wall());
    for what in subscribed {
        let post = Input::Post(Role::Partition(partition), StagePost::Subscribe(*what));
        shard.handle(now, wall, post);
    }
}

impl Handle {
    /// Sends a command to every worker.
    pub(crate) fn command_all(&self, command: impl Fn() -> Command) {
        for worker in self.workers() {
            let _ = worker.push(Lane::Urgent, Letter::Command(command()));
        }
    }
}
