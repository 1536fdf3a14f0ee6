//! The world of a mesh: who joins and goes, and datagrams on their way.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use trunkline_proto::base::{Chance, Hashname, Instant};
use trunkline_proto::switch::meet::Terms;

use super::lookups::{Finds, Lookups, Minute, Nearests};
use super::malice::Malice;
use super::nat::{Kind, Nat};
use super::node::Node;
use super::packets::{Datagram, Packets};
use super::{Plan, Report, secs};
use crate::draw::Draw;

/// Switches that everybody knows from its configuration, three each. They stay.
const INTRODUCERS: usize = 5;
/// Networks of ordinary switches, and of the sybils.
const NETWORKS: u64 = 4_000;
const SYBIL_NETWORKS: usize = 4;

/// Something to be looked at.
#[derive(Debug)]
enum Event {
    Arrive(Box<Datagram>),
    Contact(usize, Hashname),
    Meeting(usize),
    Join,
    Replace,
    Nearest,
    Line,
}

#[derive(Debug)]
struct Due {
    at: Instant,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct World {
    plan: Plan,
    pub(super) chance: Chance,
    nodes: Vec<Option<Node>>,
    /// Where each is, for delays.
    places: Vec<[u64; 2]>,
    names: Vec<Hashname>,
    /// Whether each can be asked who is near.
    meshing: Vec<bool>,
    by_name: BTreeMap<Hashname, usize>,
    by_ip: BTreeMap<IpAddr, usize>,
    /// Live and honest.
    pub(super) honest: Vec<usize>,
    sybils: Arc<Vec<(Hashname, SocketAddr)>>,
    agenda: BinaryHeap<Reverse<Due>>,
    number: u64,
    pub(super) lookups: Lookups,
    packets: Packets,
    pub(super) minute: Minute,
    pub(super) report_nearests: Nearests,
    pub(super) report_finds: Finds,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            chance: Chance::from_number(plan.seed),
            plan,
            nodes: Vec::new(),
            places: Vec::new(),
            names: Vec::new(),
            meshing: Vec::new(),
            by_name: BTreeMap::new(),
            by_ip: BTreeMap::new(),
            honest: Vec::new(),
            sybils: Arc::default(),
            agenda: BinaryHeap::new(),
            number: 0,
            lookups: Lookups::default(),
            packets: Packets::default(),
            minute: Minute::default(),
            report_nearests: Nearests::default(),
            report_finds: Finds::default(),
        }
    }

    pub(super) fn name_of(&self, node: usize) -> Option<Hashname> {
        self.names.get(node).copied()
    }

    pub(super) fn meshes(&self, node: usize) -> bool {
        self.meshing.get(node).copied().unwrap_or(false)
    }

    pub(super) fn is_alive(&self, who: &Hashname) -> bool {
        let node = self.by_name.get(who).and_then(|n| self.nodes.get(*n));
        node.is_some_and(Option::is_some)
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.number += 1;
        self.agenda.push(Reverse(Due { at, number: self.number, event }));
    }

    pub(super) fn run(mut self) -> Report {
        let start = Instant::from_micros(1);
        self.begin(start);
        let joined = start + self.plan.joining;
        let measured = joined + self.plan.settling;
        let end = measured + self.plan.measuring;
        let mut minutes = Vec::new();
        let (mut next, mut measuring) = (start + secs(60), false);
        while let Some(Reverse(Due { at: now, event, .. })) = self.agenda.pop() {
            if now >= measured && !core::mem::replace(&mut measuring, now >= measured) {
                self.packets = Packets::default();
                (self.report_nearests, self.report_finds) = Default::default();
            }
            while now >= next {
                self.minute.nodes = self.alive();
                minutes.push(core::mem::take(&mut self.minute));
                next += secs(60);
            }
            if now >= end {
                break;
            }
            self.happen(now, event);
        }
        self.report(end, minutes)
    }

    /// Introducers are there first, then the others come, and look-ups begin.
    fn begin(&mut self, now: Instant) {
        let sybils = (0..self.count(self.plan.hostile / 4)).map(|n| {
            let net = u8::try_from(n % SYBIL_NETWORKS).unwrap_or(0);
            let host = u8::try_from(n / SYBIL_NETWORKS % 250).unwrap_or(0);
            let name = Hashname::new(self.chance.bytes());
            (name, SocketAddr::from(([99, 0, net, 1 + host], 42_424)))
        });
        self.sybils = Arc::new(sybils.collect());
        for _ in 0..INTRODUCERS.min(self.plan.nodes) {
            self.join(now);
        }
        let others = self.plan.nodes.saturating_sub(INTRODUCERS);
        for _ in 0..others {
            let at = now + self.chance.time(Duration::ZERO, self.plan.joining);
            self.at(at, Event::Join);
        }
        let joined = now + self.plan.joining;
        self.at(now + secs(5), Event::Nearest);
        self.at(now + secs(5), Event::Line);
        if self.plan.churn > 0 {
            self.at(joined, Event::Replace);
        }
    }

    fn count(&self, percent: u64) -> usize {
        self.plan.nodes * usize::try_from(percent).unwrap_or(0) / 100
    }

    fn happen(&mut self, now: Instant, event: Event) {
        match event {
            Event::Arrive(datagram) => {
                if let Some(node) = self.by_ip.get(&datagram.to.ip()).copied() {
                    let mut carried = false;
                    self.with(now, node, |node| carried = node.hears(now, *datagram));
                    self.packets.carried += u64::from(carried);
                }
            }
            Event::Contact(node, peer) => self.with(now, node, |node| {
                let due = node.contacts.get(&peer).and_then(|c| c.due);
                if due.is_some_and(|d| d <= now) {
                    node.contact_due(now, peer);
                }
            }),
            Event::Meeting(node) => self.with(now, node, |node| {
                if node.due.take_if(|d| *d <= now).is_some() {
                    node.meet(now);
                }
            }),
            Event::Join => {
                self.join(now);
            }
            Event::Replace => {
                self.leave();
                self.join(now);
                let each = 3_600_000_000 * 100 / (self.plan.churn * self.plan.nodes as u64).max(1);
                let wait = Duration::from_micros(self.chance.span(each / 2, each * 3 / 2));
                self.at(now + wait, Event::Replace);
            }
            Event::Nearest => {
                self.ask_nearest(now);
                self.at(now + secs(1) / self.rate(), Event::Nearest);
            }
            Event::Line => {
                self.ask_line(now);
                self.at(now + secs(1) / self.rate(), Event::Line);
            }
        }
    }

    fn rate(&self) -> u32 {
        u32::try_from(self.plan.rate.max(1)).unwrap_or(u32::MAX)
    }

    /// Does something with a live switch, and takes what comes of it.
    pub(super) fn with(&mut self, now: Instant, index: usize, what: impl FnOnce(&mut Node)) {
        let Some(Some(node)) = self.nodes.get_mut(index) else { return };
        what(node);
        let (sends, timers) = (core::mem::take(&mut node.sends), core::mem::take(&mut node.timers));
        let (answers, came) = (core::mem::take(&mut node.answers), core::mem::take(&mut node.came));
        let touched = core::mem::take(&mut node.touched);
        let due = if touched { node.meeting.deadline() } else { None };
        let due = due.filter(|d| node.due.is_none_or(|held| *d < held));
        if let Some(due) = due {
            node.due = Some(due.max(now));
            self.at(due.max(now), Event::Meeting(index));
        }
        for datagram in sends {
            self.post(now, index, datagram);
        }
        for (at, peer) in timers {
            self.at(at, Event::Contact(index, peer));
        }
        for (token, found) in answers {
            self.answered(now, index, token, &found);
        }
        for (who, found) in came {
            self.line_came(now, index, who, found);
        }
    }

    fn post(&mut self, now: Instant, from: usize, datagram: Datagram) {
        self.packets.count(&datagram.packet);
        self.minute.packets.count(&datagram.packet);
        let lost = self.chance.per_million(self.plan.loss);
        let Some(to) = self.by_ip.get(&datagram.to.ip()).filter(|_| !lost) else { return };
        let place = |n: usize| self.places.get(n).copied().unwrap_or_default();
        let ([ax, ay], [bx, by]) = (place(from), place(*to));
        // From 5 to some 150 ms there, as between places of one continent or of two.
        let far = ax.abs_diff(bx) + ay.abs_diff(by);
        let delay = Duration::from_micros(5_000 + far + self.chance.below(3_000));
        self.at(now + delay, Event::Arrive(Box::new(datagram)));
    }

    fn join(&mut self, now: Instant) {
        let index = self.nodes.len();
        let first = index < INTRODUCERS;
        let hostile = !first && index < INTRODUCERS + self.count(self.plan.hostile);
        let malice = match index % 4 {
            _ if !hostile => None,
            0 => Some(Malice::Silent),
            1 => Some(Malice::Crowd),
            2 => Some(Malice::Claims),
            _ => Some(Malice::Sybil(self.sybils.clone())),
        };
        let sybil = matches!(malice, Some(Malice::Sybil(_)));
        let taken = |who: &Hashname| self.by_name.contains_key(who);
        let role = self.sybils.iter().find(|(who, _)| sybil && !taken(who)).copied();
        let (name, home) = role.unwrap_or_else(|| {
            let net = self.chance.below(NETWORKS);
            let [a, b] = u16::try_from(net).unwrap_or(0).to_be_bytes();
            // One host of a network each, whoever else is in it.
            let mut at = SocketAddr::from(([20, a, b, 1], 42_424));
            while self.by_ip.contains_key(&at.ip()) {
                let IpAddr::V4(ip) = at.ip() else { break };
                at.set_ip(IpAddr::V4((u32::from(ip) + 1).into()));
            }
            (Hashname::new(self.chance.bytes()), at)
        });
        let natted = !first && !sybil && self.chance.percent(self.plan.natted);
        let kind = match (natted, self.chance.percent(33)) {
            (false, _) => Kind::Open,
            (true, false) => Kind::Cone,
            (true, true) => Kind::Symmetric,
        };
        // Who cannot be reached but by whom it reaches itself does not mesh.
        let meshes = kind != Kind::Symmetric;
        let mut introducers: Vec<usize> = (0..INTRODUCERS.min(index)).collect();
        while introducers.len() > 3 {
            introducers.remove(self.chance.index(introducers.len()));
        }
        let inside = SocketAddr::from(([10, 0, 0, 2], 42_424));
        let terms = Terms {
            spacer: meshes,
            bridges: if kind == Kind::Open { 64 } else { 0 },
            introducers: introducers.iter().filter_map(|i| self.name_of(*i)).collect(),
            local: vec![if kind == Kind::Open { home } else { inside }],
            ..Terms::default()
        };
        let mut node = Node::new(name, Nat::new(kind, home), terms, self.chance.fork());
        node.malice = malice;
        for i in introducers {
            if let Some(Some(known)) = self.nodes.get(i) {
                node.configured(known.hashname, known.nat.home());
            }
        }
        self.nodes.push(Some(node));
        self.places.push([self.chance.below(70_000), self.chance.below(70_000)]);
        self.names.push(name);
        self.by_name.insert(name, index);
        self.by_ip.insert(home.ip(), index);
        self.meshing.push(meshes);
        if !hostile {
            self.honest.push(index);
        }
        self.with(now, index, |node| node.meet(now));
    }

    /// Somebody goes without a word. Introducers stay, and so do the hostile.
    fn leave(&mut self) {
        let first = INTRODUCERS.min(self.honest.len());
        let at = first + self.chance.index(self.honest.len() - first);
        if at < self.honest.len() {
            let gone = self.honest.remove(at);
            if let Some(node) = self.nodes.get_mut(gone).and_then(Option::take) {
                self.by_ip.remove(&node.nat.home().ip());
            }
        }
    }

    fn alive(&self) -> usize {
        self.nodes.iter().flatten().count()
    }

    fn report(self, end: Instant, minutes: Vec<Minute>) -> Report {
        let live = || self.nodes.iter().flatten();
        let spread = |each: fn(&Node, Instant) -> usize| {
            let mut all: Vec<usize> = live().map(|n| each(n, end)).collect();
            all.sort_unstable();
            let at = |i: usize| all.get(i).copied().unwrap_or(0);
            [at(0), at(all.len() / 2), at(all.len().saturating_sub(1))]
        };
        let minutes_measured = self.plan.measuring.as_secs_f64() / 60.0;
        let good = |m: &Minute| m.nearests.success() >= 99.0 && m.finds.success() >= 99.0;
        let bad = minutes.iter().rposition(|m| !good(m)).map_or(0, |at| at + 1);
        let since = secs(60) * u32::try_from(bad).unwrap_or(u32::MAX);
        let converged = (bad < minutes.len()).then(|| since.saturating_sub(self.plan.joining));
        Report {
            converged,
            nearests: self.report_nearests,
            finds: self.report_finds,
            packets: self.packets,
            switch_minutes: self.plan.nodes as f64 * minutes_measured,
            lines: spread(|n, _| n.lines()),
            seen: spread(|n, now| n.meeting.report(now).seen),
            contacts: spread(|n, _| n.contacts.len()),
            searches: spread(|n, now| {
                let all = n.meeting.report(now).searches;
                all.iter().filter(|s| s.left.is_some()).count()
            }),
            minutes,
            events: self.number,
        }
    }
}
