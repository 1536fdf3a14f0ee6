use super::*;
use crate::base::Address;
use petgraph::algo::dijkstra;
use petgraph::graph::DiGraph;
use proptest::prelude::*;

fn name(n: u16) -> Hashname {
    // Spread as hashes are, but in the order of `n`.
    let mut h = [n as u8; 32];
    h[..2].copy_from_slice(&n.wrapping_mul(97).to_be_bytes());
    h[2..4].copy_from_slice(&n.to_be_bytes());
    Hashname::new(h)
}

fn cost(c: u32) -> Cost {
    Cost::new(c).unwrap()
}

/// What each node says, and the links of node 0.
#[derive(Clone, Debug, Default)]
struct World {
    words: Vec<(Hashname, Vec<Neighbour>)>,
    links: Vec<LocalLink>,
}

impl World {
    fn new(nodes: u16, said: &[(u16, u16, u32)]) -> Self {
        let mut words: Vec<(Hashname, Vec<Neighbour>)> =
            (0..nodes).map(|n| (name(n), Vec::new())).collect();
        let mut links = Vec::new();
        for &(from, to, c) in said {
            let row = &mut words[usize::from(from)].1;
            if from == to || row.iter().any(|n| n.address == name(to).address()) {
                continue;
            }
            row.push(Neighbour { address: name(to).address(), cost: cost(c) });
            if from == 0 {
                let link = LinkId(u32::from(to));
                links.push(LocalLink { link, peer: name(to), cost: cost(c), proved: false });
            }
        }
        words.iter_mut().for_each(|w| w.1.sort_by_key(|n| n.address));
        words.sort_by_key(|w| w.0);
        Self { words, links }
    }

    fn both(nodes: u16, edges: &[(u16, u16, u32)]) -> Self {
        let back = edges.iter().map(|&(a, b, c)| (b, a, c));
        Self::new(nodes, &edges.iter().copied().chain(back).collect::<Vec<_>>())
    }

    fn words(&self) -> impl Iterator<Item = Word<'_>> + Clone {
        self.words.iter().map(|(hashname, n)| Word { hashname: *hashname, neighbours: n })
    }

    fn table(&self) -> RouteTable {
        Planner::default().compute(1, name(0), &self.links, self.words())
    }
}

fn at(n: u16) -> Address {
    name(n).address()
}

fn next(t: &RouteTable, n: u16) -> Option<(u32, u64)> {
    t.next(&at(n)).map(|h| (h.link.0, h.cost))
}

#[test]
fn n10_the_cheapest_way_wins_over_the_shortest() {
    let t = World::both(4, &[(0, 1, 1), (1, 2, 1), (2, 3, 1), (0, 3, 5)]).table();
    assert_eq!(next(&t, 3), Some((1, 3)));
    assert_eq!(t.path(&at(3)), Some(vec![at(1), at(2), at(3)]));
    assert_eq!(t.path(&at(0)), Some(vec![]));
    assert_eq!((next(&t, 0), t.reach(&at(0))), (None, Some(Reach::Here)));
}

#[test]
fn n10_a_link_only_one_end_announces_does_not_count() {
    let t = World::new(3, &[(0, 1, 1), (1, 0, 1), (1, 2, 1)]).table();
    assert_eq!(next(&t, 1), Some((1, 1)));
    assert_eq!(t.reach(&at(2)), Some(Reach::Unlinked));
    let one_sided_here = World::new(2, &[(0, 1, 1)]);
    assert_eq!(next(&one_sided_here.table(), 1), None);
}

#[test]
fn n10_a_proved_link_counts_before_the_peer_announces_it() {
    let mut w = World::new(2, &[(0, 1, 3)]);
    w.links[0].proved = true;
    assert_eq!(next(&w.table(), 1), Some((1, 3)));
    w.words.clear();
    assert_eq!(next(&w.table(), 1), Some((1, 3)), "not even an announcement is needed");
    assert_eq!(w.table().hashname(&at(1)), Some(name(1)));
}

#[test]
fn n12_the_reason_for_not_reaching_is_told() {
    let t = World::both(5, &[(0, 1, 1), (2, 3, 1)]).table();
    assert_eq!(t.reach(&at(3)), Some(Reach::Apart));
    assert_eq!(t.reach(&at(4)), Some(Reach::Unlinked));
    assert_eq!(t.reach(&at(9)), None);
    assert_eq!(t.reachable().map(|(h, _)| h).collect::<Vec<_>>(), [name(1)]);
}

#[test]
fn n10_each_direction_costs_what_its_sender_says() {
    let w = World::new(3, &[(0, 1, 1), (1, 0, 90), (1, 2, 7), (2, 1, 70)]);
    assert_eq!(next(&w.table(), 2), Some((1, 8)));
}

#[test]
fn n10_of_parallel_links_the_cheapest_then_the_lowest_id_is_used() {
    let mut w = World::both(2, &[(0, 1, 5)]);
    for (link, c) in [(9, 4), (8, 4), (1, 6)] {
        w.links.push(LocalLink { link: LinkId(link), cost: cost(c), ..w.links[0] });
    }
    assert_eq!(next(&w.table(), 1), Some((8, 4)));
}

#[test]
fn n10_equal_costs_go_by_hops_then_by_the_first_hop() {
    // 0 reaches 4 by 3 (one hop, cost 4) or by 1 and 2 (two hops, cost 4).
    let t = World::both(5, &[(0, 1, 1), (1, 2, 1), (2, 4, 2), (0, 3, 2), (3, 4, 2)]).table();
    assert_eq!(next(&t, 4), Some((3, 4)));
    let t = World::both(4, &[(0, 1, 1), (0, 2, 1), (1, 3, 1), (2, 3, 1)]).table();
    let lower = if name(1) < name(2) { 1 } else { 2 };
    assert_eq!(next(&t, 3), Some((lower, 2)));
}

#[test]
fn n2_tables_tell_who_came_and_went() {
    let a = World::both(4, &[(0, 1, 1), (1, 2, 1)]).table();
    let b = World::both(4, &[(0, 1, 1), (1, 3, 1)]).table();
    let mut expected = vec![(name(2), false), (name(3), true)];
    expected.sort();
    assert_eq!(b.changes_since(&a), expected);
    let empty = RouteTable::empty(name(0));
    assert_eq!(a.changes_since(&empty).len(), 2);
    assert_eq!(empty.changes_since(&a).iter().filter(|c| !c.1).count(), 2);
    assert!(a.same_routes(&a) && !a.same_routes(&b));
}

#[test]
fn n10_costs_near_the_top_do_not_overflow() {
    let chain: Vec<_> = (0..400).map(|n| (n, n + 1, u32::MAX)).collect();
    let t = World::both(401, &chain).table();
    assert_eq!(next(&t, 400), Some((1, 400 * u64::from(u32::MAX))));
    assert_eq!(t.path(&at(400)).unwrap().len(), 400);
}

type Said = Vec<(u16, u16, u32)>;

fn said() -> impl Strategy<Value = (u16, Said)> {
    (2u16..60).prop_flat_map(|n| {
        let one = (0..n, 0..n, prop_oneof![1u32..4, 1u32..1_000]);
        (Just(n), prop::collection::vec(one, 0..200))
    })
}

/// The graph petgraph sees: an edge where both ends say so.
fn reference(nodes: u16, w: &World) -> Vec<Option<u64>> {
    let mut g = DiGraph::<u16, u64>::new();
    let ix: Vec<_> = (0..nodes).map(|n| g.add_node(n)).collect();
    let said = |a: u16, b: u16| {
        let row = &w.words.iter().find(|x| x.0 == name(a)).unwrap().1;
        row.iter().find(|n| n.address == at(b)).map(|n| u64::from(n.cost.get()))
    };
    for a in 0..nodes {
        for b in 0..nodes {
            if let (Some(c), Some(_)) = (said(a, b), said(b, a)) {
                g.add_edge(ix[usize::from(a)], ix[usize::from(b)], c);
            }
        }
    }
    let found = dijkstra(&g, ix[0], None, |e| *e.weight());
    ix.iter().map(|i| found.get(i).copied()).collect()
}

proptest! {
    #[test]
    fn n10_agrees_with_a_reference_on_random_graphs(
        (nodes, one_way) in said(), both_ways in said(),
    ) {
        let mut all = one_way;
        for (a, b, c) in both_ways.1 {
            all.extend([(a % nodes, b % nodes, c), (b % nodes, a % nodes, c % 7 + 1)]);
        }
        let w = World::new(nodes, &all);
        let t = w.table();
        let expected = reference(nodes, &w);
        for n in 1..nodes {
            let hop = t.next(&at(n));
            prop_assert_eq!(hop.map(|h| h.cost), expected[usize::from(n)]);
            prop_assert_eq!(t.path(&at(n)).is_some(), hop.is_some());
            if let (Some(hop), Some(path)) = (hop, t.path(&at(n))) {
                let direct = t.next(&path[0]).unwrap();
                prop_assert_eq!(t.path(&path[0]).unwrap()[0], path[0]);
                prop_assert!(direct.cost <= hop.cost);
                prop_assert_eq!(w.links.iter().find(|l| l.link == hop.link).unwrap().peer.address(), path[0]);
                // The path costs what the table says.
                let mut from = at(0);
                let mut sum = 0;
                for to in &path {
                    let row = &w.words.iter().find(|x| x.0.address() == from).unwrap().1;
                    sum += u64::from(row.iter().find(|n| n.address == *to).unwrap().cost.get());
                    from = *to;
                }
                prop_assert_eq!(sum, hop.cost);
            }
        }
    }

    #[test]
    fn n10_a_planner_used_before_computes_the_same(first in said(), second in said()) {
        let (a, b) = (World::both(first.0, &first.1), World::both(second.0, &second.1));
        let mut used = Planner::default();
        let _ = used.compute(1, name(0), &a.links, a.words());
        let again = used.compute(1, name(0), &b.links, b.words());
        prop_assert!(again.same_routes(&b.table()));
    }

    #[test]
    fn n10_every_hop_comes_nearer_so_there_are_no_loops((nodes, edges) in said()) {
        let w = World::both(nodes, &edges);
        let tables: Vec<RouteTable> = (0..nodes).map(|n| {
            let row = &w.words.iter().find(|x| x.0 == name(n)).unwrap().1;
            let links: Vec<LocalLink> = row.iter().map(|x| {
                let to = (0..nodes).find(|m| at(*m) == x.address).unwrap();
                LocalLink { link: LinkId(u32::from(to)), peer: name(to), cost: x.cost, proved: false }
            }).collect();
            Planner::default().compute(1, name(n), &links, w.words())
        }).collect();
        for target in 0..nodes {
            for start in 0..nodes {
                let (mut here, mut left) = (start, u64::MAX);
                while let Some(hop) = tables[usize::from(here)].next(&at(target)) {
                    prop_assert!(hop.cost < left);
                    left = hop.cost;
                    here = u16::try_from(hop.link.0).unwrap();
                }
                let reached = tables[usize::from(start)].next(&at(target)).is_some();
                prop_assert_eq!(here == target, reached || start == target);
            }
        }
    }
}

/// A change of the world as node 0 sees it.
#[derive(Clone, Debug)]
enum Step {
    /// A node says something of a link: another cost, or, with 0, that there is none.
    Says(u16, u16, u32),
    /// A link of node 0 is there, at this cost, proved or not; with 0 it is gone. Each neighbour may
    /// have two.
    Link(u16, bool, u32, bool),
    /// Routes are computed.
    Compute,
}

fn step(nodes: u16) -> impl Strategy<Value = Step> {
    let cost = || prop_oneof![Just(0u32), 1u32..4, 1u32..100];
    prop_oneof![
        8 => (1..nodes, 0..nodes, cost()).prop_map(|(a, b, c)| Step::Says(a, b, c)),
        2 => (1..nodes, any::<bool>(), cost(), any::<bool>())
            .prop_map(|(a, second, c, proved)| Step::Link(a, second, c, proved)),
        2 => Just(Step::Compute),
    ]
}

fn changing() -> impl Strategy<Value = (u16, Said, Vec<Step>)> {
    said().prop_flat_map(|(nodes, edges)| {
        (Just(nodes), Just(edges), prop::collection::vec(step(nodes), 1..120))
    })
}

impl World {
    /// Does a step; says whose word it changed.
    fn take(&mut self, step: &Step) -> Option<Hashname> {
        match *step {
            Step::Says(from, to, _) if from == to => None,
            Step::Says(from, to, c) => {
                let row = self.words.iter_mut().find(|w| w.0 == name(from)).unwrap();
                row.1.retain(|n| n.address != at(to));
                if c > 0 {
                    row.1.push(Neighbour { address: at(to), cost: cost(c) });
                    row.1.sort_by_key(|n| n.address);
                }
                Some(row.0)
            }
            Step::Link(peer, second, c, proved) => {
                let link = LinkId(u32::from(peer) + 1_000 * u32::from(second));
                self.links.retain(|l| l.link != link);
                if c > 0 {
                    self.links.push(LocalLink { link, peer: name(peer), cost: cost(c), proved });
                }
                None
            }
            Step::Compute => None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn n10_routes_repaired_after_changes_are_those_computed_anew((nodes, edges, steps) in changing()) {
        let mut w = World::both(nodes, &edges);
        let mut planner = Planner::default();
        let _ = planner.compute(1, name(0), &w.links, w.words());
        let mut changed = std::collections::BTreeSet::new();
        for step in steps.iter().chain([&Step::Compute]) {
            changed.extend(w.take(step));
            if !matches!(step, Step::Compute) {
                continue;
            }
            let said = core::mem::take(&mut changed);
            let words = w.words().filter(|word| said.contains(&word.hashname));
            let repaired = planner.update(1, name(0), &w.links, words);
            prop_assert_eq!(repaired.as_ref(), Some(&w.table()));
        }
    }

    #[test]
    fn n10_a_node_that_comes_or_goes_asks_for_a_computation((nodes, edges) in said()) {
        let w = World::both(nodes, &edges);
        let mut planner = Planner::default();
        prop_assert_eq!(planner.update(1, name(0), &[], w.words()), None, "nothing to begin with");
        let _ = planner.compute(1, name(0), &w.links, w.words());
        let stranger = Word { hashname: name(nodes + 1), neighbours: &[] };
        prop_assert_eq!(planner.update(1, name(0), &w.links, [stranger].into_iter()), None);
        prop_assert!(planner.compute(1, name(0), &w.links, w.words()).same_routes(&w.table()));
        let mut links = w.links.clone();
        let (link, peer) = (LinkId(900), name(nodes + 2));
        links.push(LocalLink { link, peer, cost: cost(1), proved: true });
        prop_assert_eq!(planner.update(1, name(0), &links, core::iter::empty()), None);
        // Known by its link alone, it goes with the link.
        let with = planner.compute(1, name(0), &links, w.words());
        prop_assert_eq!(with.next(&at(nodes + 2)).map(|h| h.link), Some(link));
        prop_assert_eq!(planner.update(1, name(0), &w.links, core::iter::empty()), None);
    }
}
