//! A node: the shards of its plan, each on a seat that wakes, works and sleeps as a thread of
//! the runtime does, and what lies between them.

pub(crate) mod dials;
mod flush;
pub(crate) mod seat;

use std::sync::Arc;

use trunkline_proto::base::{BootEpoch, Chance, Hashname, Instant, LinkId, Wall};
use trunkline_proto::crypto::{Identity, SpaceRules};
use trunkline_proto::gate::{Action, NamePattern, Rule, Rules};
use trunkline_proto::message::{Subscription, SubscriptionId};
use trunkline_proto::shard::{Input, Node as Settings, Shard};
use trunkline_proto::stage::plan::{Plan, Role};
use trunkline_proto::stage::post::Post;
use trunkline_proto::switch::meet::Terms;
use trunkline_proto::wire::link::NodeName;

use crate::agenda::{Agenda, Event};
use crate::apps::{Apps, asks};
use crate::checks::Watch;
use crate::draw::Draw;
use crate::network::Network;
use crate::people::{DAWN, person};
use crate::scenario::{Scenario, address_of};
use crate::trace::Trace;
use dials::Dialled;
use seat::{Letter, Mail, Seat};

/// What a node works with while it has its turn.
pub(crate) struct Around<'a> {
    pub(crate) now: Instant,
    pub(crate) agenda: &'a mut Agenda,
    pub(crate) network: &'a mut Network,
    pub(crate) trace: &'a mut Trace,
    pub(crate) apps: &'a mut Apps,
    pub(crate) watch: &'a mut Watch,
    pub(crate) scenario: &'a Scenario,
}

/// One node, over all its runs.
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) identity: Arc<Identity>,
    pub(crate) plan: Plan,
    /// Which run this is; 0 before the first.
    pub(crate) run: u32,
    pub(crate) alive: bool,
    /// Said goodbye and will die without more ado.
    pub(crate) stopping: bool,
    /// When this run began: its own time starts at zero there.
    boot: Instant,
    pub(crate) seats: Vec<Seat>,
    pub(crate) dials: Vec<Dialled>,
    next_link: Vec<u32>,
    pub(crate) chance: Chance,
}

impl Node {
    pub(crate) fn new(index: usize, scenario: &Scenario, chance: &mut Chance) -> Self {
        let (who, plan) = scenario.nodes[index];
        Self {
            index,
            identity: person(who),
            plan,
            run: 0,
            alive: false,
            stopping: false,
            boot: Instant::ZERO,
            seats: Vec::new(),
            dials: Vec::new(),
            next_link: Vec::new(),
            chance: chance.fork(),
        }
    }

    pub(crate) fn hashname(&self) -> Hashname {
        self.identity.hashname()
    }

    /// Starts a run: a new boot epoch, new chance, and nothing remembered.
    pub(crate) fn start(&mut self, around: &mut Around<'_>, everyone: &[Arc<Identity>]) {
        let scenario = around.scenario;
        self.run += 1;
        self.alive = true;
        self.stopping = false;
        self.boot = around.now;
        self.next_link = vec![0; usize::from(self.plan.partitions())];
        let settings = Settings {
            plan: self.plan,
            identity: Arc::clone(&self.identity),
            space: Arc::new(SpaceRules::open(*self.identity.space())),
            epoch: BootEpoch(self.chance.u64()),
            name: NodeName::new(format!("n{}", self.index).as_bytes()).expect("a name"),
            limits: Arc::new(scenario.limits.clone()),
            stream_limits: scenario.stream_limits.clone(),
            terms: self.terms(scenario, everyone),
            messages: Default::default(),
            anonymous: false,
            gate: Arc::new(rules(&mut self.chance)),
            line_secret: self.chance.bytes(),
        };
        self.seats = (0..self.plan.seats())
            .map(|seat| {
                let shard = Shard::new(&settings, seat, self.chance.fork());
                Seat::new(shard, &self.plan, &mut self.chance)
            })
            .collect();
        self.subscribe();
        self.introduce(scenario, everyone);
        self.dials = Dialled::of(self.index, scenario);
        for dial in 0..self.dials.len() {
            let event = Event::Dial { node: self.index, dial, run: self.run };
            around.agenda.at(around.now, event);
        }
        around.watch.started(self.index);
        for seat in 0..self.seats.len() {
            self.wake(seat, around);
        }
    }

    /// What the node does for others, and whom it keeps a line to.
    fn terms(&self, scenario: &Scenario, everyone: &[Arc<Identity>]) -> Terms {
        let local = vec![address_of(self.index)];
        let Some(introducer) = scenario.introducer else { return Terms::default() };
        if introducer == self.index {
            return Terms { spacer: true, bridges: 16, local, ..Terms::default() };
        }
        let introducers = vec![everyone[introducer].hashname()];
        Terms { introducers, local, ..Terms::default() }
    }

    /// The application takes the messages of the simulation, from the start.
    fn subscribe(&mut self) {
        for partition in 0..self.plan.partitions() {
            let role = Role::Partition(partition);
            for (id, namespace) in [(1, asks::namespace()), (2, asks::closed())] {
                let id = SubscriptionId(id);
                let post = Post::Subscribe(Subscription { id, namespace, target: None });
                let shard = &mut self.seats[self.plan.seat(role)].shard;
                shard.handle(Instant::ZERO, DAWN, Input::Post(role, post));
            }
        }
    }

    /// Tells the partitions whom the configuration knows, as the engine does.
    fn introduce(&mut self, scenario: &Scenario, everyone: &[Arc<Identity>]) {
        for (_, other) in scenario.known.iter().filter(|(a, _)| *a == self.index) {
            let record = Arc::clone(everyone[*other].record());
            let role = Role::Partition(self.plan.partition_of(&record.hashname().address()));
            let shard = &mut self.seats[self.plan.seat(role)].shard;
            let found = Post::Found(record.hashname(), vec![address_of(*other)]);
            shard.handle(Instant::ZERO, DAWN, Input::Post(role, found));
            shard.handle(Instant::ZERO, DAWN, Input::Post(role, Post::Learned(record)));
        }
    }

    /// The process dies: nothing is said, the kernel resets its connections.
    pub(crate) fn die(&mut self, around: &mut Around<'_>) {
        self.alive = false;
        self.seats.clear();
        for (number, connection) in around.network.connections.iter_mut().enumerate() {
            for end in [0, 1] {
                let here = connection.ends[end];
                if here.open && here.node == Some(self.index) && here.run == self.run {
                    connection.reset(around.now, end);
                    let event = Event::Pipe { connection: number, from: end };
                    around.agenda.at(around.now, event);
                }
            }
        }
        around.apps.crashed(self.index);
        around.watch.stopped(self.index);
    }

    /// The node's own time.
    pub(crate) fn clock(&self, now: Instant) -> (Instant, Wall) {
        let wall = DAWN.after(now.since(Instant::ZERO));
        (Instant::ZERO + now.since(self.boot), wall)
    }

    /// The world's time of one of the node's.
    pub(crate) fn world_time(&self, at: Instant) -> Instant {
        self.boot + at.since(Instant::ZERO)
    }

    /// A number that no other link of this run has, read on the seat of that partition.
    pub(crate) fn new_link(&mut self, partition: u16) -> LinkId {
        let next = &mut self.next_link[usize::from(partition)];
        let link = LinkId(*next * u32::from(self.plan.partitions()) + u32::from(partition));
        *next += 1;
        link
    }

    /// The seat that reads a link.
    pub(crate) fn reader(&self, link: LinkId) -> usize {
        self.plan.seat(self.plan.reader_of(link))
    }

    /// A seat has something to do: it wakes, as soon as chance lets it.
    pub(crate) fn wake(&mut self, seat: usize, around: &mut Around<'_>) {
        let latest = around.scenario.sleepy;
        let due = around.now + self.chance.time(core::time::Duration::ZERO, latest);
        self.wake_at(seat, due, around.agenda);
    }

    /// A seat wakes then, or earlier.
    pub(crate) fn wake_at(&mut self, seat: usize, due: Instant, agenda: &mut Agenda) {
        let held = &mut self.seats[seat];
        let due = due.max(held.stalled_until);
        if held.wakes.is_none_or(|w| due < w) {
            held.wakes = Some(due);
            agenda.at(due, Event::Seat { node: self.index, seat });
        }
    }

    /// Puts a letter into a seat's mailbox, as the runtime does.
    pub(crate) fn send(&mut self, from: Option<usize>, mail: Mail, around: &mut Around<'_>) {
        let Mail { seat, urgent, letter } = mail;
        let must = !letter.is_data();
        // What waits already goes first, or an end would overtake what it ends.
        let waits = from.is_some_and(|f| must && !self.seats[f].kept[seat].is_empty());
        let room = self.seats[seat].has_room(urgent, around.scenario.mailbox);
        match from {
            Some(from) if waits || (must && !room) => {
                self.seats[from].kept[seat].push_back((urgent, letter));
            }
            _ if !room => around.watch.mail_dropped(&letter),
            _ => self.seats[seat].put(urgent, letter),
        }
        self.wake(seat, around);
    }

    /// Puts what had to wait into the mailboxes that have room again. True if some still waits.
    pub(crate) fn send_kept(&mut self, from: usize, around: &mut Around<'_>) -> bool {
        let mut waits = false;
        for seat in 0..self.seats.len() {
            let mut kept = core::mem::take(&mut self.seats[from].kept[seat]);
            while let Some((urgent, letter)) = kept.pop_front() {
                if !self.seats[seat].has_room(urgent, around.scenario.mailbox) {
                    kept.push_front((urgent, letter));
                    break;
                }
                self.seats[seat].put(urgent, letter);
                self.wake(seat, around);
            }
            waits |= !kept.is_empty();
            self.seats[from].kept[seat] = kept;
        }
        waits
    }

    /// Whether every mailbox and socket of the node is empty.
    pub(crate) fn is_idle(&self) -> bool {
        self.seats.iter().all(Seat::is_idle)
    }

    /// The applications' jobs come in as letters.
    pub(crate) fn job(&mut self, seat: usize, urgent: bool, letter: Letter, a: &mut Around<'_>) {
        self.send(None, Mail { seat, urgent, letter }, a);
    }
}

/// What every node's gatekeeper goes by.
fn rules(chance: &mut Chance) -> Rules {
    let namespace = Some(NamePattern::Exact(asks::closed()));
    let rule = Rule { action: Action::Refuse, namespace, ..Rule::default() };
    Rules::new(vec![rule], Action::Allow, false, chance).expect("one rule")
}
