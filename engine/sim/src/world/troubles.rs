//! Faults as they begin and end, and the moment from which nothing is wrong any more.

use trunkline_proto::base::Instant;

use super::World;
use crate::agenda::Event;
use crate::apps::Job;
use crate::draw::Draw;
use crate::emulator::Conditions;
use crate::scenario::Fault;

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        let undoes =
            matches!(fault, Fault::Heal(_) | Fault::Unblock(..) | Fault::Join(_) | Fault::Start(_));
        self.faults += u64::from(!undoes);
        self.trace.say(self.now, None, format!("{fault:?}"));
        match fault {
            Fault::Cut(edge) => self.network.cut(edge, true),
            Fault::Heal(edge) => self.network.cut(edge, false),
            Fault::Change(edge, conditions) => self.change(edge, conditions),
            Fault::Block(a, b) => self.network.block((a, b), true),
            Fault::Unblock(a, b) => self.network.block((a, b), false),
            Fault::Split(side) => self.network.split(side, true),
            Fault::Join(side) => self.network.split(side, false),
            Fault::Crash(node) => self.crash(node),
            Fault::Stop(node) => self.stop(node),
            Fault::Start(node) => self.start(node),
            Fault::Stall(node, lasts) => {
                let until = self.now + lasts;
                let node = &mut self.nodes[node];
                if node.alive {
                    let seat = self.chance.index(node.seats.len());
                    node.seats[seat].stalled_until = until;
                }
            }
            Fault::Deafen(edge, lasts) => {
                let (until, end) = (self.now + lasts, self.chance.index(2));
                let here = self.network.connections.iter_mut().filter(|c| c.edge == Some(edge));
                here.for_each(|c| c.pipes[end].deaf_until = until);
            }
        }
        if undoes {
            self.network.wake_all(self.now, &mut self.agenda);
        }
    }

    fn change(&mut self, edge: usize, conditions: Conditions) {
        self.network.wires[edge] = conditions;
        let connections = self.network.connections.iter_mut().enumerate();
        for (number, c) in connections.filter(|(_, c)| c.edge == Some(edge)) {
            for from in [0, 1] {
                c.pipes[from].set_conditions(self.now, conditions);
                self.agenda.at(self.now, Event::Pipe { connection: number, from });
            }
        }
    }

    fn crash(&mut self, node: usize) {
        let (nodes, mut around) = self.split();
        if nodes[node].alive {
            nodes[node].die(&mut around);
        }
    }

    fn stop(&mut self, node: usize) {
        for seat in 0..self.nodes[node].seats.len() {
            self.job(node, seat, Job::Drain);
        }
        self.nodes[node].stopping = true;
    }

    /// Nothing is wrong any more; whoever can meet must.
    pub(super) fn heal(&mut self) {
        let now = self.now;
        self.trace.say(now, None, "everything is healed".into());
        self.network.heal();
        self.network.calm_udp(now);
        for connection in &mut self.network.connections {
            connection.pipes.iter_mut().for_each(|p| p.deaf_until = Instant::ZERO);
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].stopping {
                self.crash(node);
            }
            self.start(node);
            for seat in 0..self.nodes[node].seats.len() {
                self.nodes[node].seats[seat].stalled_until = Instant::ZERO;
                let (nodes, mut around) = self.split();
                nodes[node].wake(seat, &mut around);
            }
        }
        self.full_before = self.full();
        self.network.wake_all(now, &mut self.agenda);
        let all = 0..self.nodes.len();
        let pairs = all.clone().flat_map(|a| all.clone().map(move |b| (a, b)));
        let meeting = pairs.filter(|(a, b)| a != b && self.scenario.can_meet(*a, *b));
        // Once in each pair is enough, if the one can begin who does.
        let once = meeting.filter(|(a, b)| a < b || !self.scenario.can_meet(*b, *a));
        self.reopening = Some(once.map(|pair| (pair, None)).collect());
    }
}
