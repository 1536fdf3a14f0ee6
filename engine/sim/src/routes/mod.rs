//! A mesh of many nodes that agree on routes, as it grows: how long a change takes to reach all tables,
//! and what it costs in announcements.
//!
//! Each node has the real [`Routing`]: real keys, signatures, database, pacing, planner. Links are
//! modelled: a delay, up or down, and both ends notice at once. A seed draws how they are linked.
//! The nodes of one run share RSA primes two by two, because a thousand keys of their own would take
//! minutes to make.
//!
//! [`Routing`]: trunkline_proto::mesh::Routing

mod keys;
mod world;

use core::time::Duration;

use trunkline_proto::base::Chance;

use crate::draw::{Draw, ms, secs};
use world::World;

/// What is to be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Draws everything.
    pub seed: u64,
    /// How many nodes there are in the end.
    pub nodes: usize,
    /// Links to earlier nodes that each newcomer makes.
    pub links: usize,
    /// Newcomers a second.
    pub joins: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { seed: 1, nodes: 1_000, links: 3, joins: 50 }
    }
}

/// What something that happened came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// From its beginning to the last route table that it changed anywhere.
    pub settled: Duration,
    /// Announcements put on links, by all nodes.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One size of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How many nodes there were.
    pub nodes: usize,
    /// How many links.
    pub links: usize,
    /// From the last newcomer on, after growing to this size; the traffic is that of all growth since
    /// the former stage.
    pub grown: Effect,
    /// Then, one after the other: what happened, and what it came to.
    pub changes: Vec<(&'static str, Effect)>,
    /// Bytes of announcements and digests of all nodes in ten minutes at rest.
    pub at_rest: u64,
    /// Routes of sampled nodes that cost something else than the cheapest way; none if all is well.
    pub wrong: usize,
}

/// Lets a mesh grow, and stops at 10, 100, 1,000 … nodes and at the last one for a look.
#[must_use]
pub fn run(plan: Plan) -> Vec<Stage> {
    let mut chance = Chance::from_number(plan.seed);
    let mut world = World::new(plan.nodes, chance.fork());
    let mut stages = Vec::new();
    let mut size = 10;
    while world.len() < plan.nodes {
        let target = size.min(plan.nodes);
        stages.push(stage(&mut world, &plan, target, &mut chance));
        size *= 10;
    }
    stages
}

fn stage(world: &mut World, plan: &Plan, target: usize, chance: &mut Chance) -> Stage {
    let before = world.traffic();
    while world.len() < target {
        world.join(plan.links);
        if world.len() < target {
            world.run(secs(1) / u32::try_from(plan.joins.max(1)).unwrap_or(1));
        }
    }
    let mut grown = settle(world);
    grown.frames = world.traffic().frames - before.frames;
    grown.bytes = world.traffic().bytes - before.bytes;
    let mut changes = Vec::new();
    world.rest();
    let link = world.spare_link(chance);
    if let Some(link) = link {
        changes.push(("a link is cut", effect(world, |w| w.cut(link))));
        changes.push(("it is back", effect(world, |w| w.raise(link))));
    }
    let any = chance.index(world.links());
    changes.push(("a cost changes", effect(world, |w| w.price(any, 77))));
    if world.len() < plan.nodes {
        changes.push(("a node joins", effect(world, |w| w.join(plan.links))));
    }
    let victim = world.spare_node(chance);
    let links = world.links_of(victim);
    changes.push(("a node dies", effect(world, |w| links.iter().for_each(|l| w.cut(*l)))));
    changes.push(("it is back", effect(world, |w| links.iter().for_each(|l| w.raise(*l)))));
    let wrong = world.wrong(chance);
    let before = world.traffic();
    world.run(secs(600));
    let after = world.traffic();
    let at_rest = after.bytes + after.digests - before.bytes - before.digests;
    Stage { nodes: world.len(), links: world.links(), grown, changes, at_rest, wrong }
}

/// Does something to a mesh at rest and waits until it is at rest again.
fn effect(world: &mut World, act: impl FnOnce(&mut World)) -> Effect {
    let before = world.traffic();
    act(world);
    let mut effect = settle(world);
    effect.frames = world.traffic().frames - before.frames;
    effect.bytes = world.traffic().bytes - before.bytes;
    world.rest();
    effect
}

/// Runs until no table has changed for three seconds; gives back how long the last change took.
fn settle(world: &mut World) -> Effect {
    let start = world.now();
    let quiet = secs(3);
    loop {
        world.run(ms(500));
        let last = world.last_table().max(start);
        if world.now().since(last) >= quiet {
            return Effect { settled: last.since(start), ..Effect::default() };
        }
    }
}
