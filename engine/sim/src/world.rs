//! The world: all nodes, everything between them, and the loop that lets one thing happen after
//! the other. One thread, no clock, no chance but the seed's.

mod dialing;
mod hostile;
mod troubles;

use std::collections::BTreeMap;
use std::sync::Arc;

use trunkline_proto::base::{Address, Chance, DropReason, Instant, Priority};
use trunkline_proto::crypto::Identity;
use trunkline_proto::shard::Shard;
use trunkline_proto::stage::plan::Role;

use crate::agenda::{Agenda, Event};
use crate::apps::{Apps, Job};
use crate::checks::bounds::{self, Lineless};
use crate::checks::{Violation, Watch, ends};
use crate::draw::{ms, secs};
use crate::network::connection::Segment;
use crate::network::{Datagram, Network};
use crate::node::seat::{Incoming, Letter};
use crate::node::{Around, Node};
use crate::scenario::{Act, AskKind, AskSpec, Scenario};
use crate::trace::{Note, Trace, digest};

/// How often the checkers look around.
const LOOK: core::time::Duration = ms(250);
/// How long after healing any two that can meet must have met.
const REOPENED: core::time::Duration = secs(30);
/// After healing routes have settled by then.
const SETTLED: core::time::Duration = secs(35);

/// After its links have died a node is out of all tables by then; a thread may have had no time.
const FORGOTTEN: core::time::Duration = secs(5);
/// Events at one moment after which somebody is taken to go round in circles.
const STILL: u32 = 100_000;

/// Two nodes that must meet, and the ping that is to show it.
type Reopening = BTreeMap<(usize, usize), Option<usize>>;

/// Everything.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) scenario: Scenario,
    pub(crate) nodes: Vec<Node>,
    people: Vec<Arc<Identity>>,
    pub(crate) network: Network,
    pub(crate) apps: Apps,
    pub(crate) watch: Watch,
    pub(crate) trace: Trace,
    agenda: Agenda,
    chance: Chance,
    reopening: Option<Reopening>,
    lineless: Lineless,
    /// Who has had a route to which dead node, and since when.
    haunted: BTreeMap<(usize, usize), Instant>,
    /// What had been dropped for want of room when everything was healed.
    full_before: u64,
    pub(crate) faults: u64,
    pub(crate) attacks: u64,
}

impl World {
    pub(crate) fn new(scenario: Scenario, seed: u64, verbose: bool) -> Self {
        let mut chance = Chance::from_number(seed ^ 0x776f_726c_6421);
        let nodes: Vec<Node> =
            (0..scenario.nodes.len()).map(|n| Node::new(n, &scenario, &mut chance)).collect();
        let people: Vec<_> = nodes.iter().map(|n| Arc::clone(&n.identity)).collect();
        let addresses: Vec<Address> = nodes.iter().map(|n| n.hashname().address()).collect();
        let names = nodes.iter().map(Node::hashname).collect();
        let settled = scenario.healed + SETTLED;
        let mut world = Self {
            now: Instant::ZERO,
            network: Network::new(&scenario, &mut chance),
            apps: Apps::new(&scenario, names),
            watch: Watch::new(&addresses, scenario.limits.ttl, settled, &mut chance),
            trace: Trace::new(verbose),
            agenda: Agenda::default(),
            chance,
            reopening: None,
            lineless: Lineless::default(),
            haunted: BTreeMap::new(),
            full_before: 0,
            faults: 0,
            attacks: 0,
            nodes,
            people,
            scenario,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for (at, (when, _)) in self.scenario.acts.iter().enumerate() {
            self.agenda.at(*when, Event::Act(at));
        }
        self.agenda.at(Instant::ZERO + LOOK, Event::Look);
        for node in 0..self.nodes.len() {
            self.start(node);
        }
    }

    /// Runs to the end of the scenario, or to the first violation.
    pub(crate) fn run(&mut self) -> Option<Violation> {
        let end = self.scenario.end;
        let mut still = 0;
        while let Some((at, event)) = self.agenda.next(end) {
            still = if at > self.now { 0 } else { still + 1 };
            if still > STILL {
                let text = format!("time stands still: {event:?} again and again");
                return Some(Violation { check: "progress", at, node: None, text });
            }
            self.now = self.now.max(at);
            self.watch.packages.now = self.now;
            self.dispatch(event);
            if let Some(violation) = self.violation() {
                return Some(violation);
            }
        }
        self.now = end;
        ends::check(self)
    }

    /// Packets dropped for want of room since everything was healed.
    pub(crate) fn full_since(&self) -> u64 {
        self.full().saturating_sub(self.full_before)
    }

    fn full(&self) -> u64 {
        let seats = self.nodes.iter().flat_map(|n| &n.seats);
        let full = seats.map(|s| s.shard.drops().of(DropReason::QueueFull));
        self.watch.mail_lost + full.sum::<u64>()
    }

    fn violation(&mut self) -> Option<Violation> {
        self.watch.violation.take().or_else(|| self.apps.found.take())
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Seat { node, seat } => {
                let (nodes, mut around) = self.split();
                let node = &mut nodes[node];
                let due = node.seats.get(seat).and_then(|s| s.wakes);
                if node.alive && due == Some(around.now) {
                    if node.seats[seat].stalled_until > around.now {
                        let until = node.seats[seat].stalled_until;
                        node.seats[seat].wakes = None;
                        node.wake_at(seat, until, around.agenda);
                    } else {
                        node.round(seat, &mut around);
                    }
                }
            }
            Event::Pipe { connection, from } => self.pipe(connection, from),
            Event::Udp { from, to } => {
                while let Some(d) = self.network.arrived(self.now, (from, to), &mut self.agenda) {
                    self.deliver(Some(from), to, d);
                }
            }
            Event::Dial { node, dial, run } => self.dial(node, dial, run),
            Event::Act(number) => self.act(number),
            Event::Look => self.look(),
        }
    }

    /// The nodes, and what they work with.
    pub(crate) fn split(&mut self) -> (&mut [Node], Around<'_>) {
        let around = Around {
            now: self.now,
            agenda: &mut self.agenda,
            network: &mut self.network,
            trace: &mut self.trace,
            apps: &mut self.apps,
            watch: &mut self.watch,
            scenario: &self.scenario,
        };
        (&mut self.nodes, around)
    }

    fn start(&mut self, node: usize) {
        let people = self.people.clone();
        let (nodes, mut around) = self.split();
        if !nodes[node].alive {
            nodes[node].start(&mut around, &people);
            let (run, plan) = (nodes[node].run, nodes[node].plan);
            let text =
                format!("starts run {run}, {:?} on {} seats", plan.placement(), plan.seats());
            self.trace.say(self.now, node, text);
        }
    }

    /// A datagram is there: the kernel picks a socket by where it comes from.
    fn deliver(&mut self, from: Option<usize>, to: usize, datagram: Datagram) {
        let Datagram { from: source, bytes } = datagram;
        let note = Note::Datagram { from, to, bytes: bytes.len(), digest: digest(&bytes) };
        let (nodes, mut around) = self.split();
        let node = &mut nodes[to];
        if !node.alive {
            return;
        }
        around.trace.note(around.now, note);
        let spread = u64::from(source.port()) ^ digest(source.to_string().as_bytes());
        let partition = u16::try_from(spread % u64::from(node.plan.partitions())).unwrap_or(0);
        let seat = node.plan.seat(Role::Partition(partition));
        node.seats[seat].incoming.push_back(Incoming::Datagram { from: source, bytes });
        node.wake(seat, &mut around);
    }

    /// A direction of a connection may have something that arrived.
    fn pipe(&mut self, number: usize, from: usize) {
        let now = self.now;
        let connection = &mut self.network.connections[number];
        connection.pipes[from].looked(now);
        let edge = connection.edge;
        if edge.is_some_and(|e| self.network.is_dead(e)) {
            return;
        }
        while let Some(segment) = self.network.connections[number].pipes[from].pop(now) {
            self.segment(number, from, segment);
        }
        let connection = &mut self.network.connections[number];
        let near = connection.ends[from];
        let pipe = &mut connection.pipes[from];
        let free = pipe.blocked && pipe.room() > 0;
        pipe.blocked &= !free;
        if let Some(at) = pipe.schedule() {
            self.agenda.at(at, Event::Pipe { connection: number, from });
        }
        if let Some(node) = near.node.filter(|_| free && near.open) {
            let (nodes, mut around) = self.split();
            if nodes[node].alive && nodes[node].run == near.run {
                nodes[node].writable(near.link, &mut around);
            }
        }
    }

    fn segment(&mut self, number: usize, from: usize, segment: Segment) {
        let connection = &mut self.network.connections[number];
        let far = connection.ends[1 - from];
        let Some(to) = far.node else { return };
        if !(far.open && self.nodes[to].alive && self.nodes[to].run == far.run) {
            // Nobody has the connection any more: the kernel says so, once.
            if matches!(segment, Segment::Bytes(..)) && !connection.pipes[1 - from].has_ended() {
                connection.reset(self.now, 1 - from);
                let event = Event::Pipe { connection: number, from: 1 - from };
                self.agenda.at(self.now, event);
            }
            return;
        }
        let link = far.link;
        let incoming = match segment {
            Segment::Bytes(bytes) => {
                let note = Note::Segment { to, link, bytes: bytes.len(), digest: digest(&bytes) };
                self.trace.note(self.now, note);
                Incoming::Bytes { link, bytes }
            }
            Segment::End => Incoming::Ended(link),
        };
        let (nodes, mut around) = self.split();
        let seat = nodes[to].reader(link);
        nodes[to].seats[seat].incoming.push_back(incoming);
        nodes[to].wake(seat, &mut around);
    }

    fn act(&mut self, number: usize) {
        match self.scenario.acts[number].1 {
            Act::Stream(number) => {
                let spec = self.scenario.streams[number];
                let to = self.people[spec.to].hashname().address();
                let plan = self.nodes[spec.from].plan;
                let seat = plan.seat(plan.streams_of(plan.partition_of(&to)));
                self.job(spec.from, seat, Job::Open(number));
            }
            Act::Ask(number) => self.ask(number),
            Act::Say(number) => {
                let from = self.scenario.says[number].from;
                let seat = self.nodes[from].plan.seat(Role::Routing);
                self.job(from, seat, Job::Say(number));
            }
            Act::Fault(fault) => self.fault(fault),
            Act::Attack(attack, node) => self.attack(attack, node),
            Act::Healed => self.heal(),
        }
    }

    /// An application asks, on the seat of the partition concerned.
    fn ask(&mut self, number: usize) {
        let spec = self.apps.asks[number].spec;
        let plan = self.nodes[spec.from].plan;
        let to = self.people[spec.to].hashname().address();
        let role = Role::Partition(plan.partition_of(&to));
        self.job(spec.from, plan.seat(role), Job::Ask(number, role));
    }

    fn job(&mut self, node: usize, seat: usize, job: Job) {
        let (nodes, mut around) = self.split();
        let node = &mut nodes[node];
        if node.alive && !node.stopping {
            node.job(seat, true, Letter::Job(job), &mut around);
        }
    }

    /// The checkers look around.
    fn look(&mut self) {
        self.agenda.at(self.now + LOOK, Event::Look);
        let Self { nodes, scenario, lineless, watch, now, .. } = self;
        for node in nodes.iter_mut().filter(|n| n.alive) {
            let (local, _) = node.clock(*now);
            let mut peers = Vec::new();
            let mut states = BTreeMap::new();
            for seat in &mut node.seats {
                let shard: &mut Shard = &mut seat.shard;
                let wrong = bounds::seat(shard, local, &scenario.limits, &scenario.stream_limits);
                if let Some((check, text)) = wrong {
                    watch.blame(check, *now, node.index, text);
                }
                peers.extend(shard.peers().map(|p| (p.hashname, p.stats.streams)));
                let contacts = shard.switch().into_iter().flat_map(|s| s.report(local));
                states.extend(contacts.map(|c| (c.hashname, c.state)));
            }
            if let Some(text) = lineless.look(node.index, *now, &peers, &states) {
                watch.blame("line-end", *now, node.index, text);
            }
        }
        self.look_for_the_dead();
        self.look_at_reopening();
    }

    /// Nobody goes on having a route to a node that is dead.
    fn look_for_the_dead(&mut self) {
        let limits = &self.scenario.limits;
        let noticed = limits.heartbeat * limits.heartbeats_missed + FORGOTTEN;
        for dead in &self.nodes {
            let address = dead.hashname().address();
            for node in self.nodes.iter().filter(|n| n.index != dead.index) {
                let pair = (node.index, dead.index);
                let routing = node.seats.get(node.plan.seat(Role::Routing));
                let routing = routing.and_then(|s| s.shard.routing());
                let routed = routing.is_some_and(|r| r.table().next(&address).is_some());
                if dead.alive || !routed {
                    self.haunted.remove(&pair);
                    continue;
                }
                let since = *self.haunted.entry(pair).or_insert(self.now);
                if self.now.since(since) > noticed {
                    let text = format!("has a route to n{}, which is long dead", dead.index);
                    self.watch.blame("routes", self.now, node.index, text);
                }
            }
        }
    }

    fn look_at_reopening(&mut self) {
        let Some(mut waiting) = self.reopening.take() else { return };
        waiting.retain(|_, asked| !asked.is_some_and(|n| self.apps.asks[n].is_ponged()));
        for ((from, to), asked) in &mut waiting {
            let answer = asked.map(|n| self.apps.asks[n].answers > 0);
            if answer == Some(false) {
                continue;
            }
            let spec = AskSpec {
                from: *from,
                to: *to,
                priority: Priority::DEFAULT,
                what: AskKind::Ping(64),
                after_heal: false,
            };
            let number = self.apps.add(spec);
            *asked = Some(number);
            self.ask(number);
        }
        if let Some(((from, to), _)) = waiting.first_key_value()
            && self.now.since(self.scenario.healed) > REOPENED
        {
            let text = format!("cannot reach n{to} 30 s after healing");
            self.watch.blame("reopening", self.now, *from, text);
        }
        self.reopening = Some(waiting).filter(|w| !w.is_empty());
    }
}
