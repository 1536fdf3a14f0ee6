//! What happens when: work for the nodes, and trouble.

use core::time::Duration;

use trunkline_proto::base::{Chance, Instant, Priority};

use super::{Act, AskKind, AskSpec, Attack, Fault, Mood, SaySpec, Scenario, StreamSpec, wire};
use crate::draw::{Draw, ms, secs};

/// From healing to the work that must succeed: all links and lines are back by then.
const RECOVERED: Duration = Duration::from_secs(31);
/// What a node that stops in order has for its goodbyes.
const DRAIN: Duration = Duration::from_millis(200);

impl Scenario {
    pub(super) fn plan_work(&mut self, chance: &mut Chance, start: Instant) {
        let trouble = self.healed.since(start);
        for _ in 0..chance.span(3, 9) {
            let at = start + chance.time(Duration::ZERO, trouble);
            self.plan_stream(chance, at, false);
        }
        for _ in 0..chance.span(10, 40) {
            let at = start + chance.time(Duration::ZERO, trouble);
            self.plan_ask(chance, at, false);
        }
        for _ in 0..3 {
            let at = self.healed + RECOVERED + chance.time(Duration::ZERO, secs(4));
            self.plan_stream(chance, at, true);
            self.plan_ask(chance, at, true);
        }
    }

    /// Two nodes that can meet, the first to speak first.
    fn pair(&self, chance: &mut Chance) -> (usize, usize) {
        loop {
            let (a, b) = (chance.index(self.nodes.len()), chance.index(self.nodes.len()));
            if a != b && self.can_meet(a, b) {
                return (a, b);
            }
        }
    }

    fn plan_stream(&mut self, chance: &mut Chance, at: Instant, after_heal: bool) {
        let (from, to) = self.pair(chance);
        let size = |chance: &mut Chance| match chance.below(if after_heal { 80 } else { 100 }) {
            0..10 => 0,
            10..50 => chance.below(4_096),
            50..88 => chance.below(64 << 10),
            _ => chance.below(400 << 10),
        };
        let (there, back) = (size(chance), size(chance));
        let reset = !after_heal && chance.percent(15);
        self.streams.push(StreamSpec {
            from,
            to,
            priority: Priority::from_low_bits(u8::try_from(chance.below(8)).unwrap_or(3)),
            there,
            back,
            slow: !after_heal && chance.percent(20),
            reset_after: reset.then(|| chance.below(there + back + 1)),
            after_heal,
        });
        self.acts.push((at, Act::Stream(self.streams.len() - 1)));
    }

    fn plan_ask(&mut self, chance: &mut Chance, at: Instant, after_heal: bool) {
        let (from, to) = self.pair(chance);
        let linked = self.is_linked(from) && self.is_linked(to);
        let sealed = !linked || chance.percent(50);
        let size = match chance.below(10) {
            0 => 0,
            1..7 => chance.index(2_000),
            _ => chance.index(60_000),
        };
        let what = match chance.below(10) {
            0..3 => AskKind::Ping(chance.index(1_000)),
            3 if linked => AskKind::Probe(u8::try_from(chance.span(1, 16)).unwrap_or(1)),
            4 | 5 => AskKind::Request(size, sealed),
            _ => AskKind::Message(size, sealed),
        };
        let priority = Priority::from_low_bits(u8::try_from(chance.below(8)).unwrap_or(3));
        self.asks.push(AskSpec { from, to, priority, what, after_heal });
        self.acts.push((at, Act::Ask(self.asks.len() - 1)));
    }

    pub(super) fn plan_says(&mut self, chance: &mut Chance, start: Instant) {
        let trouble = self.healed.since(start);
        let linked: Vec<usize> = (0..self.nodes.len()).filter(|n| self.is_linked(*n)).collect();
        for n in 0..chance.span(6, 30) {
            let after_heal = n < 3;
            let at = if after_heal {
                self.healed + RECOVERED + chance.time(Duration::ZERO, secs(4))
            } else {
                start + chance.time(Duration::ZERO, trouble)
            };
            let priority = Priority::from_low_bits(u8::try_from(chance.below(8)).unwrap_or(3));
            let most = if chance.percent(80) { 1_000 } else { 16_000 };
            let length = chance.index(most);
            let from = chance.pick(&linked);
            self.says.push(SaySpec { from, priority, length, after_heal });
            self.acts.push((at, Act::Say(self.says.len() - 1)));
        }
        let attacks = if self.mood == Mood::Rough { chance.span(0, 20) } else { 0 };
        for _ in 0..attacks {
            let attack = chance.pick(&[Attack::ReplayBroadcast, Attack::FlipBroadcast]);
            let node = chance.index(self.nodes.len());
            self.acts
                .push((start + chance.time(Duration::ZERO, trouble), Act::Attack(attack, node)));
        }
    }

    pub(super) fn plan_faults(&mut self, chance: &mut Chance, start: Instant) {
        let trouble = self.healed.since(start);
        for _ in 0..chance.span(1, 8) {
            let at = start + chance.time(Duration::ZERO, trouble);
            let longest = if chance.percent(25) { 20 } else { 8 };
            let lasts = chance.time(ms(50), secs(longest));
            let (fault, undone) = self.fault(chance, lasts);
            self.acts.push((at, Act::Fault(fault)));
            if let Fault::Stop(node) = fault {
                self.acts.push(((at + DRAIN).min(self.healed), Act::Fault(Fault::Crash(node))));
            }
            let over = (at + lasts + DRAIN).min(self.healed);
            self.acts.extend(undone.map(|f| (over, Act::Fault(f))));
        }
    }

    /// A fault, and what undoes it.
    fn fault(&self, chance: &mut Chance, lasts: Duration) -> (Fault, Option<Fault>) {
        let node = chance.index(self.nodes.len());
        let other = (node + 1 + chance.index(self.nodes.len() - 1)) % self.nodes.len();
        let edge = chance.index(self.edges.len());
        match chance.below(100) {
            0..25 => (Fault::Cut(edge), Some(Fault::Heal(edge))),
            25..35 => (Fault::Change(edge, wire(chance)), None),
            35..50 => (Fault::Block(node, other), Some(Fault::Unblock(node, other))),
            50..60 => {
                let all = (1u64 << self.nodes.len()) - 2;
                let side = u32::try_from(chance.span(1, all)).unwrap_or(1);
                (Fault::Split(side), Some(Fault::Join(side)))
            }
            60..75 => (Fault::Crash(node), Some(Fault::Start(node))),
            75..82 => (Fault::Stop(node), Some(Fault::Start(node))),
            82..92 => (Fault::Stall(node, lasts.min(secs(2))), None),
            _ => (Fault::Deafen(edge, lasts), None),
        }
    }

    pub(super) fn plan_attacks(&mut self, chance: &mut Chance) {
        let kinds = [
            Attack::Noise,
            Attack::Replay,
            Attack::Replay,
            Attack::Flip,
            Attack::Cutoff,
            Attack::ReplayPackage,
            Attack::ReplayPackage,
            Attack::FlipPackage,
            Attack::ReplayAnnouncement,
            Attack::ReplayAnnouncement,
            Attack::FlipAnnouncement,
            Attack::SilentLink,
            Attack::NoisyLink,
            Attack::ReplayLink,
        ];
        if chance.percent(25) {
            return;
        }
        for _ in 0..chance.span(5, 60) {
            let at = Instant::ZERO + chance.time(secs(1), self.healed.since(Instant::ZERO));
            let node = chance.index(self.nodes.len());
            self.acts.push((at, Act::Attack(chance.pick(&kinds), node)));
        }
    }
}
