//! The applications of all nodes: they open streams and check every byte, ask and wait for
//! answers, send messages and look at those that arrive.
//!
//! Everything they send says what it is: a stream begins with its number and length, a message's
//! bytes follow from its number. So a byte in the wrong place, a message from the wrong sender, or
//! anything twice is seen where it arrives.

pub(crate) mod asks;
pub(crate) mod pattern;
pub(crate) mod says;
pub(crate) mod streams;

use std::collections::{BTreeMap, BTreeSet};

use trunkline_proto::base::{Hashname, Instant, Wall};
use trunkline_proto::shard::{Input, Shard};
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::streams::StreamKey;

use crate::checks::Violation;
use crate::scenario::{Act, Scenario};
use crate::trace::Trace;
use asks::Asked;
use says::Said;
use streams::{Half, Streamed};

/// A seat of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) node: usize,
    pub(crate) seat: usize,
}

/// What an application wants of its node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// Open the stream of this number.
    Open(usize),
    /// Ask the question of this number, of that partition.
    Ask(usize, Role),
    /// Say what has this number to all.
    Say(usize),
    /// Say goodbye to everyone.
    Drain,
}

/// All applications.
pub(crate) struct Apps {
    people: Vec<Hashname>,
    pub(crate) streams: Vec<Streamed>,
    pub(crate) halves: Vec<Half>,
    open: BTreeMap<(Place, StreamKey), usize>,
    ready: BTreeMap<Place, BTreeSet<StreamKey>>,
    naps: BTreeMap<Place, BTreeSet<(Instant, StreamKey)>>,
    pub(crate) asks: Vec<Asked>,
    pub(crate) says: Vec<Said>,
    /// Somebody makes up packages: whoever saw one pass can have a copy of it come back.
    attacked: bool,
    /// How often each node died.
    pub(crate) deaths: Vec<u32>,
    /// The first thing that must not be.
    pub(crate) found: Option<Violation>,
}

impl Apps {
    pub(crate) fn new(scenario: &Scenario, people: Vec<Hashname>) -> Self {
        let nodes = people.len();
        Self {
            people,
            streams: scenario.streams.iter().map(Streamed::new).collect(),
            halves: Vec::new(),
            open: BTreeMap::new(),
            ready: BTreeMap::new(),
            naps: BTreeMap::new(),
            asks: scenario.asks.iter().map(Asked::new).collect(),
            says: scenario.says.iter().map(Said::new).collect(),
            attacked: scenario.acts.iter().any(|(_, act)| matches!(act, Act::Attack(..))),
            deaths: vec![0; nodes],
            found: None,
        }
    }

    /// Who a node is.
    pub(crate) fn hashname(&self, node: usize) -> Hashname {
        self.people[node]
    }

    /// A node's process ended, and its applications with it.
    pub(crate) fn crashed(&mut self, node: usize) {
        self.deaths[node] += 1;
        for half in self.halves.iter_mut().filter(|h| h.place.node == node) {
            half.end.get_or_insert(streams::HalfEnd::Died);
        }
        self.open.retain(|(place, _), _| place.node != node);
        self.ready.retain(|place, _| place.node != node);
        self.naps.retain(|place, _| place.node != node);
        for said in &mut self.says {
            said.heard.remove(&node);
        }
        for ask in self.asks.iter_mut().filter(|a| a.spec.from == node) {
            ask.asker_died |= ask.asked.is_some();
        }
    }

    /// When an application on this seat wants a turn again.
    pub(crate) fn deadline(&self, place: Place) -> Option<Instant> {
        Some(self.naps.get(&place)?.first()?.0)
    }

    /// An application acts, on the seat of what it acts on.
    pub(crate) fn obey(
        &mut self,
        place: Place,
        shard: &mut Shard,
        (world, now, wall): (Instant, Instant, Wall),
        job: Job,
        trace: &mut Trace,
    ) {
        match job {
            Job::Open(number) => self.open(place, shard, (world, now, wall), number, trace),
            Job::Ask(number, role) => self.ask(shard, (world, now, wall), (number, role), trace),
            Job::Say(number) => self.say(shard, (world, now, wall), number, trace),
            Job::Drain => shard.handle(now, wall, Input::Close),
        }
    }

    fn blame(&mut self, check: &'static str, at: Instant, node: usize, text: String) {
        self.found.get_or_insert(Violation { check, at, node: Some(node), text });
    }
}
