//! Broadcasts: what one node says to all, and who hears it.

use std::collections::BTreeMap;

use trunkline_proto::base::{Instant, Wall};
use trunkline_proto::message::{Incoming, Outbound};
use trunkline_proto::shard::Shard;

use super::asks::namespace;
use super::{Apps, pattern};
use crate::scenario::SaySpec;
use crate::trace::Trace;

/// Bytes in front of a payload: the number of the broadcast.
const NUMBER: usize = 8;
/// Broadcasts and messages of one number are not made of the same bytes.
const PATTERN: u64 = 0x7361_7973_0000_0000;

/// A broadcast of the scenario.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) spec: SaySpec,
    /// When its origin took it, if it did.
    pub(crate) sent: Option<Instant>,
    /// How often each node heard it, in its present run.
    pub(crate) heard: BTreeMap<usize, u32>,
}

impl Said {
    pub(super) const fn new(spec: &SaySpec) -> Self {
        Self { spec: *spec, sent: None, heard: BTreeMap::new() }
    }
}

impl Apps {
    pub(super) fn say(
        &mut self,
        shard: &mut Shard,
        (world, now, wall): (Instant, Instant, Wall),
        number: usize,
        trace: &mut Trace,
    ) {
        let said = &mut self.says[number];
        let (spec, id) = (said.spec, number as u64);
        let body = pattern::bytes(PATTERN + id, 0, spec.length);
        let record = [&id.to_be_bytes()[..], &body[..]].concat().into();
        let outbound = Outbound { priority: spec.priority, ..Outbound::to(namespace(), id.into()) };
        let sent = shard.broadcast(now, wall, (&outbound, &record), false);
        said.sent = sent.is_ok().then_some(world);
        trace.say(world, spec.from, format!("says {number} to all: {sent:?}"));
    }

    /// A node hears a broadcast.
    pub(crate) fn hear(
        &mut self,
        node: usize,
        world: Instant,
        arrival: &Incoming,
        trace: &mut Trace,
    ) {
        let record = arrival.record();
        let (head, body) = record.split_at_checked(NUMBER).unwrap_or_default();
        let id = head.try_into().map_or(u64::MAX, u64::from_be_bytes);
        let number = usize::try_from(id).unwrap_or(usize::MAX);
        trace.say(world, node, format!("hears {number}"));
        let Some(said) = self.says.get_mut(number) else {
            let text = format!("a broadcast nobody sent: {arrival:?}");
            return self.blame("broadcasts", world, node, text);
        };
        let times = said.heard.entry(node).or_default();
        *times += 1;
        let (spec, times) = (said.spec, *times);
        let text = if times > 1 {
            format!("broadcast {number} was heard twice")
        } else if Some(self.people[spec.from]) != arrival.hashname || spec.from == node {
            format!("broadcast {number} came to n{node} as from {:?}", arrival.from)
        } else if body.len() != spec.length
            || pattern::first_wrong(PATTERN + id, 0, body).is_some()
            || spec.priority != arrival.priority
        {
            format!("broadcast {number} was altered on the way")
        } else {
            return;
        };
        self.blame("broadcasts", world, node, text);
    }
}
