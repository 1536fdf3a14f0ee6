//! What must hold when the world has been quiet for a while: routes, streams, messages, answers.

use std::collections::BTreeMap;

use trunkline_proto::base::{Hashname, Limits};
use trunkline_proto::mesh::{NodeStatus, Reach};
use trunkline_proto::stage::plan::Role;
use trunkline_proto::switch::Answer;
use trunkline_proto::switch::streams::Code;
use trunkline_proto::wire::package::Code as Why;

use super::Violation;
use crate::apps::pattern::HEADER;
use crate::apps::streams::{HalfEnd, Streamed};
use crate::node::Node;
use crate::scenario::{AskKind, Mood};
use crate::world::World;

/// What is wrong, if something is.
type Wrong = Option<(&'static str, Option<usize>, String)>;

/// The first thing that does not hold.
pub(crate) fn check(world: &World) -> Option<Violation> {
    let found = conserves(world)
        .or_else(|| words(world))
        .or_else(|| routes(world))
        .or_else(|| (0..world.apps.streams.len()).find_map(|n| stream(world, n)))
        .or_else(|| (0..world.apps.asks.len()).find_map(|n| question(world, n)))
        .or_else(|| (0..world.apps.says.len()).find_map(|n| broadcast(world, n)))?;
    let (check, node, text) = found;
    Some(Violation { check, at: world.now, node, text })
}

/// What was said when nothing went wrong any more was heard by all, unless a queue was full.
fn broadcast(world: &World, number: usize) -> Wrong {
    let said = &world.apps.says[number];
    let roomy = world.scenario.limits.lane_bytes == Limits::default().lane_bytes;
    if !said.spec.after_heal || said.sent.is_none() || !roomy || world.watch.mail_lost > 0 {
        return None;
    }
    let linked = (0..world.nodes.len()).filter(|n| world.scenario.is_linked(*n));
    let mut others = linked.filter(|n| *n != said.spec.from && world.nodes[*n].alive);
    let deaf = others.find(|n| !said.heard.contains_key(n))?;
    Some(("broadcasts", Some(deaf), format!("never heard broadcast {number}")))
}

fn conserves(world: &World) -> Wrong {
    if !world.network.conserves() {
        return Some(("conservation", None, "the UDP paths lost count".into()));
    }
    let busy = world.nodes.iter().find(|n| n.alive && !n.is_idle() && !n.stopping)?;
    // A heartbeat may be under way; letters for another seat may not wait for ever.
    let stuck = busy.seats.iter().any(|s| s.kept.iter().any(|k| !k.is_empty()));
    stuck.then(|| ("bounds", Some(busy.index), "letters wait for a full mailbox".into()))
}

/// What a node holds of all.
fn held(world: &World, node: &Node) -> Vec<NodeStatus> {
    let (now, _) = node.clock(world.now);
    let shard = &node.seats[node.plan.seat(Role::Routing)].shard;
    shard.routing().into_iter().flat_map(|r| r.routing().nodes(now)).collect()
}

/// All databases of the mesh hold the same words.
fn words(world: &World) -> Wrong {
    let linked: Vec<&Node> =
        world.nodes.iter().filter(|n| world.scenario.is_linked(n.index)).collect();
    let said = |node: &Node| -> Vec<_> {
        held(world, node).into_iter().map(|s| (s.hashname, s.order, s.neighbours)).collect()
    };
    let first = said(linked.first()?);
    if first.len() != linked.len() {
        let text = format!("{} nodes known of {}", first.len(), linked.len());
        return Some(("routes", linked.first().map(|n| n.index), text));
    }
    let other = linked.iter().find(|n| said(n) != first)?;
    let text = format!("holds other words than n{}", linked.first()?.index);
    Some(("routes", Some(other.index), text))
}

/// Every route costs what the cheapest way costs, and leads there.
fn routes(world: &World) -> Wrong {
    let linked: Vec<usize> =
        (0..world.nodes.len()).filter(|n| world.scenario.is_linked(*n)).collect();
    for from in &linked {
        let costs = cheapest(world, *from);
        let all = held(world, &world.nodes[*from]);
        let by_name: BTreeMap<Hashname, Reach> =
            all.into_iter().map(|s| (s.hashname, s.reach)).collect();
        for to in linked.iter().filter(|to| *to != from) {
            let reach = by_name.get(&world.nodes[*to].hashname()).copied();
            let cost = match reach {
                Some(Reach::Through(hop)) => Some(hop.cost),
                _ => None,
            };
            if cost != costs[*to] {
                let text = format!("n{to} at cost {cost:?}, which should be {:?}", costs[*to]);
                return Some(("routes", Some(*from), text));
            }
            if let Some(text) = walk(world, *from, *to) {
                return Some(("routes", Some(*from), text));
            }
        }
    }
    None
}

/// Follows the tables from node to node.
fn walk(world: &World, from: usize, to: usize) -> Option<String> {
    let mut here = from;
    for _ in 0..world.nodes.len() {
        let node = &world.nodes[here];
        let shard = &node.seats[node.plan.seat(Role::Routing)].shard;
        let address = world.nodes[to].hashname().address();
        let hop = shard.routing().and_then(|r| r.table().next(&address));
        let Some(hop) = hop else { return Some(format!("n{here} has no route to n{to}")) };
        let connections = world.network.connections.iter();
        let next = connections.flat_map(|c| [(c.ends[0], c.ends[1]), (c.ends[1], c.ends[0])]);
        let ours = |e: &crate::network::connection::End| {
            e.open && e.node == Some(here) && e.run == node.run && e.link == hop.link
        };
        let mut ends = next.filter(|(near, far)| ours(near) && far.open);
        let Some(far) = ends.find_map(|(_, far)| far.node) else {
            return Some(format!("n{here} sends what is for n{to} over a dead link"));
        };
        here = far;
        if here == to {
            return None;
        }
    }
    Some(format!("packages for n{to} go round"))
}

/// Costs from one node to all, by going over the edges until nothing changes.
fn cheapest(world: &World, from: usize) -> Vec<Option<u64>> {
    let mut costs = vec![None; world.nodes.len()];
    costs[from] = Some(0u64);
    loop {
        let before = costs.clone();
        for edge in &world.scenario.edges {
            let [a, b] = edge.ends;
            for (x, y, cost) in [(a, b, edge.costs[0]), (b, a, edge.costs[1])] {
                let offer = costs[x].map(|sum| sum + u64::from(cost));
                if offer.is_some_and(|o| costs[y].is_none_or(|held| o < held)) {
                    costs[y] = offer;
                }
            }
        }
        if costs == before {
            return costs;
        }
    }
}

/// A stream ended as it may, and completely if nothing ended it.
fn stream(world: &World, number: usize) -> Wrong {
    let stream: &Streamed = &world.apps.streams[number];
    stream.opened?;
    let spec = &stream.spec;
    let at = |side: usize| stream.halves[side].map(|h| &world.apps.halves[h]);
    let (ours, theirs) = (at(0)?, at(1));
    let ends = [ours.end, theirs.and_then(|t| t.end)];
    let wrong = |side: usize, text: String| {
        let node = [spec.from, spec.to][side];
        Some(("streams", Some(node), format!("stream {number} ({spec:?}) {text}")))
    };
    let died = stream.deaths != (world.apps.deaths[spec.from], world.apps.deaths[spec.to]);
    let gave_up = ends.contains(&Some(HalfEnd::GaveUp));
    for (side, end) in ends.into_iter().enumerate() {
        match end {
            Some(HalfEnd::Reset(code)) => {
                if code == Code::LIMIT_BROKEN || code == Code::TOO_MANY {
                    return wrong(side, format!("was ended with {code:?}"));
                }
                let nothing_wrong = world.scenario.mood == Mood::Calm || spec.after_heal;
                if nothing_wrong && !gave_up && !died {
                    return wrong(side, format!("was ended with {code:?} for no reason"));
                }
            }
            None if side == 0 || theirs.is_some() => {
                return wrong(side, format!("has not come to an end: {:?}", at(side)));
            }
            _ => {}
        }
    }
    let in_order = ends[0] == Some(HalfEnd::Closed);
    let lengths = [spec.back, spec.there];
    for (side, half) in [Some(ours), theirs].into_iter().enumerate() {
        let Some(half) = half.filter(|h| h.end == Some(HalfEnd::Closed)) else { continue };
        if !half.saw_end || half.read != HEADER + lengths[side] || !half.acked {
            return wrong(side, format!("closed without being complete: {half:?}"));
        }
    }
    if in_order && ends[1].is_none() {
        return wrong(1, "closed at one end and never came to the other".into());
    }
    None
}

/// A question was answered, a message arrived, where nothing stood against it.
fn question(world: &World, number: usize) -> Wrong {
    let ask = &world.apps.asks[number];
    ask.asked?;
    let spec = &ask.spec;
    let wrong = |check, text: String| {
        Some((check, Some(spec.from), format!("question {number} ({spec:?}) {text}")))
    };
    let must = world.scenario.mood == Mood::Calm || spec.after_heal;
    if world.apps.is_unwelcome(number) {
        let refused = matches!(ask.answer, Some(Answer::Failed { code: Why::Refused, .. }));
        let kept = must && world.full_since() == 0 && !refused && !ask.asker_died;
        return kept.then(|| wrong("rules", format!("was not refused: {:?}", ask.answer)))?;
    }
    match spec.what {
        AskKind::Message(..) => {
            // Messages are not sent again; a full queue is a reason.
            let room = world.full_since() == 0;
            let lost = must && room && ask.arrived == 0 && !ask.asker_died;
            lost.then(|| wrong("messages", format!("never arrived: {:?}", ask.answer)))?
        }
        // Answered, or back with a code, in any case; answered where nothing stands against it.
        AskKind::Request(..) => {
            let late = ask.asked.is_some_and(|t| world.now.since(t) > crate::draw::secs(6));
            if ask.answers == 0 && !ask.asker_died && late {
                return wrong("answers", "neither answered nor back".into());
            }
            let (room, failed) =
                (world.full_since() == 0, matches!(ask.answer, Some(Answer::Failed { .. })));
            (must && room && failed && !ask.asker_died)
                .then(|| wrong("answers", format!("failed: {:?}", ask.answer)))?
        }
        AskKind::Ping(_) | AskKind::Probe(_) => {
            let late = ask.asked.is_some_and(|t| world.now.since(t) > crate::draw::secs(6));
            if ask.answers == 0 && !ask.asker_died && late {
                return wrong("answers", "was never answered".into());
            }
            let failed = matches!(ask.answer, Some(Answer::Failed { .. }));
            let ping = matches!(spec.what, AskKind::Ping(_));
            (must && ping && failed && !ask.asker_died)
                .then(|| wrong("answers", format!("failed: {:?}", ask.answer)))?
        }
    }
}
