//! Changes spread to all, and all agree (N2, N10, N11, N13).

use super::world::{MS, SEC, Weather, World};
use super::{MEMBERS, member, word};
use crate::base::{Chance, LinkId};
use crate::mesh::{Obstacle, Reach, RoutingOutput};
use crate::wire::link::Cost;

pub(super) fn ring(n: usize) -> Vec<(usize, usize)> {
    (0..n).map(|i| (i, (i + 1) % n)).collect()
}

pub(super) fn tree(n: usize) -> Vec<(usize, usize)> {
    (1..n).map(|i| (i, (i - 1) / 2)).collect()
}

/// A tree so that all hang together, and as many wires again at random.
pub(super) fn random(n: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut chance = Chance::from_number(seed);
    let mut wires: Vec<(usize, usize)> =
        (1..n).map(|i| (i, chance.below(i as u64) as usize)).collect();
    for _ in 0..n {
        let (a, b) = (chance.below(n as u64) as usize, chance.below(n as u64) as usize);
        if a != b {
            wires.push((a, b));
        }
    }
    wires
}

#[test]
fn n11_rings_and_trees_agree_within_two_seconds() {
    for wires in [ring(8), tree(10), vec![(0, 1)]] {
        let n = 1 + wires.iter().flat_map(|(a, b)| [*a, *b]).max().unwrap();
        let mut w = World::wired(n, 1, &wires);
        w.run(2 * SEC);
        w.assert_converged();
    }
}

#[test]
fn n11_random_meshes_agree_also_after_cuts_and_costs() {
    let wires = random(MEMBERS, 5);
    let mut w = World::wired(MEMBERS, 5, &wires);
    w.run(3 * SEC);
    w.assert_converged();
    let mut chance = Chance::from_number(6);
    for round in 0..12 {
        for _ in 0..3 {
            let wire = chance.below(wires.len() as u64) as usize;
            if w.wires[wire].up { w.cut(wire) } else { w.raise(wire) }
        }
        let wire = chance.below(wires.len() as u64) as usize;
        let cost = 1 + chance.below(50) as u32;
        w.wires[wire].costs[0] = cost;
        if w.wires[wire].up {
            let node = w.wires[wire].ends[0];
            let (now, link) = (w.now, LinkId(wire as u32));
            w.nodes[node].routing.set_cost(now, link, Cost::new(cost).unwrap());
        }
        w.run(8 * SEC);
        w.assert_converged();
        assert!(w.now.as_micros() > round);
    }
}

#[test]
fn n2_n10_no_cut_of_a_link_or_a_node_costs_reach_that_the_rest_has() {
    let full = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))).collect();
    for wires in [ring(6), tree(7), random(8, 3), full] {
        let n = 1 + wires.iter().flat_map(|(a, b)| [*a, *b]).max().unwrap();
        let mut w = World::wired(n, 4, &wires);
        w.run(30 * SEC);
        w.assert_converged();
        let links = (0..wires.len()).map(|wire| vec![wire]);
        let of = |node: usize| {
            let ends = |wire: &usize| wires[*wire].0 == node || wires[*wire].1 == node;
            (0..wires.len()).filter(ends).collect()
        };
        let nodes = (0..n).map(of);
        for gone in links.chain(nodes).collect::<Vec<Vec<usize>>>() {
            gone.iter().for_each(|wire| w.cut(*wire));
            // Whoever is still joined to somebody by wires has the cheapest route to them.
            w.run(SEC);
            w.assert_converged();
            gone.iter().for_each(|wire| w.raise(*wire));
            w.run(30 * SEC);
            w.assert_converged();
        }
    }
}

#[test]
fn n11_in_a_quiet_mesh_an_announcement_crosses_each_wire_at_most_twice() {
    let wires = random(12, 9);
    let mut w = World::wired(12, 9, &wires);
    w.run(30 * SEC);
    let before: usize = w.nodes.iter().map(|n| n.frames_sent).sum();
    let (now, cost) = (w.now, Cost::new(77).unwrap());
    w.wires[0].costs[0] = 77;
    w.nodes[w.wires[0].ends[0]].routing.set_cost(now, LinkId(0), cost);
    w.run(SEC);
    let sent = w.nodes.iter().map(|n| n.frames_sent).sum::<usize>() - before;
    assert!((11..=2 * wires.len()).contains(&sent), "{sent} frames over {} wires", wires.len());
}

#[test]
fn n2_the_near_end_of_a_cut_reroutes_at_once_and_the_rest_within_a_tenth() {
    let mut w = World::wired(6, 2, &ring(6));
    w.run(30 * SEC);
    assert_eq!(w.next(0, 1), Some((0, 10)));
    w.cut(0);
    assert_eq!(w.next(0, 1), Some((5, 50)), "no time has passed");
    w.run(100 * MS);
    w.assert_converged();
}

#[test]
fn n2_a_second_change_right_after_the_first_is_told_as_fast() {
    let mut w = World::wired(6, 2, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 2), (0, 3)]);
    w.run(30 * SEC);
    for (change, way) in
        [(World::cut as fn(&mut World, usize), vec![4, 3, 2, 1, 0]), (World::raise, vec![4, 3, 0])]
    {
        change(&mut w, 5);
        w.run(50 * MS);
        change(&mut w, 6);
        w.run(200 * MS);
        w.assert_converged();
        assert_eq!(w.walk(5, 0), Some(way));
        w.run(10 * SEC);
    }
}

#[test]
fn n2_nodes_come_and_go_in_events_exactly_once() {
    let mut w = World::wired(4, 3, &[(0, 1), (1, 2), (2, 3)]);
    w.run(5 * SEC);
    w.cut(1);
    w.run(5 * SEC);
    w.raise(1);
    w.run(5 * SEC);
    let far = w.hashname(3);
    let of_far = |o: &&RoutingOutput| matches!(o, RoutingOutput::NodeUp(h) | RoutingOutput::NodeDown(h) if *h == far);
    let seen: Vec<_> = w.nodes[0].events.iter().filter(of_far).cloned().collect();
    let expected =
        [RoutingOutput::NodeUp(far), RoutingOutput::NodeDown(far), RoutingOutput::NodeUp(far)];
    assert_eq!(seen, expected);
    let learned =
        |o: &&RoutingOutput| matches!(o, RoutingOutput::Learned(r) if r.hashname() == far);
    assert_eq!(w.nodes[0].events.iter().filter(learned).count(), 1);
}

#[test]
fn n2_of_parallel_links_the_cheapest_carries_and_the_next_takes_over() {
    let mut w = World::new(2, 4);
    for costs in [[30, 30], [10, 10], [20, 20]] {
        w.wire(0, 1, costs);
    }
    w.run(5 * SEC);
    assert_eq!(w.next(0, 1), Some((1, 10)));
    w.cut(1);
    assert_eq!(w.next(0, 1), Some((2, 20)));
    w.run(5 * SEC);
    assert_eq!(w.next(1, 0), Some((2, 20)));
    assert_eq!(w.nodes[0].routing.links(w.now).filter(|l| l.in_use).count(), 1);
    let down = |o: &RoutingOutput| matches!(o, RoutingOutput::NodeDown(_));
    assert!(!w.nodes[0].events.iter().any(down), "the node was never out of reach");
}

#[test]
fn n11_what_weather_loses_the_next_digests_bring() {
    let mut w = World::wired(10, 7, &random(10, 7));
    w.weather = Weather { lost: 300_000, doubled: 200_000, late: 300_000 };
    w.run(60 * SEC);
    for wire in [2, 5] {
        w.cut(wire);
    }
    w.run(30 * SEC);
    w.weather = Weather::default();
    w.run(140 * SEC);
    w.assert_converged();
}

#[test]
fn n11_a_link_that_takes_no_frames_gets_the_latest_when_it_does() {
    let mut w = World::wired(3, 7, &[(0, 1), (1, 2)]);
    w.run(30 * SEC);
    w.nodes[1].routing.hold(LinkId(1), true);
    let before = w.nodes[1].frames_sent;
    for cost in 20..60 {
        w.wires[0].costs[0] = cost;
        let now = w.now;
        w.nodes[0].routing.set_cost(now, LinkId(0), Cost::new(cost).unwrap());
        w.run(SEC);
    }
    assert!(w.nodes[1].frames_sent - before <= 2, "digests to the other side only");
    w.nodes[1].routing.hold(LinkId(1), false);
    w.run(SEC);
    assert!(w.nodes[1].frames_sent - before <= 5, "forty words were one");
    w.assert_converged();
}

#[test]
fn n11_two_parts_that_meet_know_each_other_soon() {
    let mut wires = ring(6);
    wires.extend(ring(6).into_iter().map(|(a, b)| (a + 6, b + 6)));
    let mut w = World::wired(12, 8, &wires);
    w.run(10 * SEC);
    w.assert_converged();
    assert_eq!(w.nodes[0].routing.table().reach(&w.address(7)), None);
    let bridge = w.wire(0, 7, [1, 1]);
    w.run(SEC);
    w.assert_converged();
    w.cut(bridge);
    w.run(SEC);
    w.assert_converged();
    assert_eq!(w.nodes[0].routing.table().reach(&w.address(7)), Some(Reach::Apart));
}

#[test]
fn n11_who_is_gone_is_forgotten_and_who_stays_is_refreshed() {
    let mut w = World::wired(4, 8, &[(0, 1), (1, 2), (2, 3)]);
    w.run(10 * SEC);
    w.cut(2);
    w.run(600 * SEC);
    assert_eq!(w.nodes[0].routing.nodes(w.now).count(), 4);
    w.run(1_300 * SEC);
    assert_eq!(w.nodes[0].routing.nodes(w.now).count(), 3);
    assert_eq!(w.nodes[0].routing.table().reach(&w.address(3)), None);
    w.run(7_200 * SEC);
    w.assert_converged();
    let age = w.nodes[0].routing.node(w.now, &w.address(2)).unwrap().age;
    assert!(age < 700 * SEC, "{age:?}");
}

#[test]
fn n12_a_node_tells_names_costs_ways_and_reasons() {
    let mut w = World::wired(4, 8, &[(0, 1), (1, 2), (2, 3)]);
    w.run(10 * SEC);
    let far = w.nodes[0].routing.node(w.now, &w.address(2)).unwrap();
    assert_eq!(far.name.as_str(), "node 2");
    assert!(matches!(far.reach, Reach::Through(hop) if hop.cost == 20 && hop.link == LinkId(0)));
    assert_eq!(far.neighbours.len(), 2);
    let path = w.nodes[0].routing.table().path(&w.address(3)).unwrap();
    assert_eq!(path, [1, 2, 3].map(|n| w.address(n)));
    w.cut(1);
    w.run(SEC);
    let far = w.nodes[0].routing.node(w.now, &w.address(2)).unwrap();
    assert_eq!(far.reach, Reach::Apart);
}

#[test]
fn n2_a_link_that_flaps_is_held_down_and_released_when_it_stays() {
    // 0 and 1 are linked cheaply, and at more cost by way of 2.
    let mut w = World::new(3, 1);
    for (a, b, cost) in [(0, 1, 1), (1, 2, 10), (2, 0, 10)] {
        w.wire(a, b, [cost, cost]);
    }
    w.run(60 * SEC);
    let said = |w: &World| w.nodes[2].routing.node(w.now, &w.address(0)).unwrap().order.sequence;
    let before = said(&w);
    for _ in 0..60 {
        w.cut(0);
        w.run(500 * MS);
        w.raise(0);
        w.run(500 * MS);
        assert!(w.next(0, 1).is_some() && w.next(1, 0).is_some(), "there is always a way");
    }
    let told = said(&w) - before;
    assert!(told <= 8, "{told} announcements for sixty losses");
    assert!(w.nodes[0].routing.links(w.now).any(|l| l.held_down && l.penalty > 1_250));
    assert_eq!(w.next(0, 1).map(|n| n.1), Some(20), "the detour");
    w.run(10 * SEC);
    assert_eq!(w.next(0, 1).map(|n| n.1), Some(20), "still");
    w.run(60 * SEC);
    assert_eq!(w.next(0, 1), Some((0, 1)), "it has stayed up");
    w.assert_converged();
    assert!(w.nodes[0].routing.links(w.now).all(|l| !l.held_down));
}

#[test]
fn n2_a_flapping_link_without_an_alternative_counts_at_once() {
    let mut w = World::wired(3, 1, &[(0, 1), (1, 2), (2, 0)]);
    w.run(60 * SEC);
    for _ in 0..6 {
        w.cut(0);
        w.run(500 * MS);
        w.raise(0);
        w.run(500 * MS);
    }
    assert_eq!(w.next(0, 1), Some((2, 20)), "held down while there is another way");
    w.cut(1);
    w.run(2 * SEC);
    assert_eq!(w.next(0, 1), Some((0, 10)), "the other way is gone");
    w.cut(0);
    w.run(500 * MS);
    w.raise(0);
    w.run(2 * SEC);
    assert_eq!(w.next(0, 1), Some((0, 10)), "there is no other way");
    w.run(60 * SEC);
    w.assert_converged();
}

#[test]
fn n12_why_a_node_is_not_reached_and_what_the_other_ways_cost_is_told() {
    let mut w = World::new(6, 8);
    for (a, b, cost) in [(0, 1, 1), (1, 2, 2), (0, 2, 9), (2, 3, 1), (3, 4, 1), (0, 1, 4)] {
        w.wire(a, b, [cost, cost]);
    }
    w.run(10 * SEC);
    let explain = |w: &World, to: usize| w.nodes[0].routing.explain(w.now, &w.address(to));
    let route = explain(&w, 3).unwrap();
    assert_eq!(route.path, [1, 2, 3].map(|n| w.address(n)));
    let ways: Vec<_> = route.ways.iter().map(|y| (y.link.0, y.cost, y.in_use)).collect();
    assert_eq!(ways, [(0, 4, true), (5, 7, false), (2, 10, false)]);
    assert!(route.ways[1].neighbour == w.hashname(1) && route.hop.cost == 4);
    assert_eq!(explain(&w, 5), Err(Obstacle::Unknown));
    // 5 claims a link to 0 that 0 does not have, and none of the others knows 4's neighbours.
    let liar = word(&member(5), 1, 1, &[w.address(0), member(9).hashname().address()]);
    assert_eq!(w.inject(0, 0, &liar), Ok(()));
    w.run(SEC);
    let nowhere = member(9).hashname().address();
    let mut by_it = vec![w.address(0), nowhere];
    by_it.sort();
    let one_sided = Obstacle::OneSided { by_it, by_others: vec![] };
    assert_eq!(explain(&w, 5), Err(one_sided));
    let silent = Obstacle::Silent { named_by: vec![w.address(5)] };
    assert_eq!(w.nodes[0].routing.explain(w.now, &nowhere), Err(silent));
    assert_eq!(w.nodes[0].routing.wordless(w.now, 9), [(nowhere, None)]);
    w.cut(3);
    w.run(SEC);
    assert_eq!(explain(&w, 4), Err(Obstacle::Apart { together: 2 }));
    w.run(1_900 * SEC);
    let expired = explain(&w, 4);
    assert!(matches!(expired, Err(Obstacle::Expired { ago }) if ago < 200 * SEC), "{expired:?}");
}

#[test]
fn n1_links_and_nodes_are_told_in_order_and_exactly_once() {
    let mut w = World::wired(3, 3, &[(0, 1), (1, 2)]);
    w.run(5 * SEC);
    w.cut(0);
    w.run(5 * SEC);
    w.raise(0);
    w.run(5 * SEC);
    let (one, two) = (w.hashname(1), w.hashname(2));
    let told: Vec<&RoutingOutput> = w.nodes[0]
        .events
        .iter()
        .filter(|o| {
            use RoutingOutput::{Learned, Packs, Publish};
            !matches!(o, Publish(_) | Learned(_) | Packs(..))
        })
        .collect();
    let up = RoutingOutput::LinkUp { link: LinkId(0), peer: one };
    let down = RoutingOutput::LinkDown { link: LinkId(0), peer: one };
    let came = [&up, &RoutingOutput::NodeUp(one), &RoutingOutput::NodeUp(two)];
    assert_eq!(told[..3], came);
    assert_eq!(told[3], &down);
    let mut gone = [told[4].clone(), told[5].clone()];
    gone.sort_by_key(|o| *o == RoutingOutput::NodeDown(two));
    assert_eq!(gone, [RoutingOutput::NodeDown(one), RoutingOutput::NodeDown(two)]);
    assert_eq!(told[6], &up);
    assert_eq!(told.len(), 9);
}
