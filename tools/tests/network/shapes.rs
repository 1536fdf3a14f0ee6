//! Meshes of several shapes, a process and a host for each node: every pair reaches every other, and
//! goes on doing so whatever single link or node is taken away that does not disconnect them. Needs
//! root; says so otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

use trunkline::control::Client;
use trunkline::control::mesh::{RouteReport, RoutesAsk, RoutesReport};
use trunkline::control::protocol::{Act, PingAsk};
use trunkline_tools::clock::Clock;
use trunkline_tools::lab::nodes::{Duties, Node, Nodes, poll, wait_for};
use trunkline_tools::lab::{Host, Lab, LabError, Link};

type Outcome = Result<(), LabError>;

/// A mesh of processes, and what of it is meant to work.
struct Mesh {
    hosts: Vec<Host>,
    links: Vec<Link>,
    edges: Vec<(usize, usize)>,
    nodes: Vec<Node>,
    files: Nodes,
    cut: BTreeSet<usize>,
    dead: BTreeSet<usize>,
}

/// How soon what stood in the way is routed around: the quickest of a mesh, and half of them, which
/// leaves room for a machine that others use.
struct Bound {
    quickest: Duration,
    half: Duration,
}

/// A silent cut: three heartbeats of 250 ms, and what is left of a first one.
const SILENCE: Bound =
    Bound { quickest: Duration::from_secs(1), half: Duration::from_millis(1_500) };
/// A killed process, which the kernel tells: far less than heartbeats take.
const RESET: Bound =
    Bound { quickest: Duration::from_millis(50), half: Duration::from_millis(300) };

impl Bound {
    fn check(&self, what: &str, mut took: Vec<Duration>) {
        took.sort();
        assert!(!took.is_empty(), "{what} stood in nobody's way");
        let (quickest, half) = (took[0], took[took.len() / 2]);
        assert!(quickest <= self.quickest && half <= self.half, "{what}: {took:?}");
    }
}

impl Mesh {
    fn build(lab: &mut Lab, count: usize, edges: &[(usize, usize)]) -> Result<Self, LabError> {
        let names: Vec<String> = (0..count).map(|n| format!("n{n}")).collect();
        let hosts = names.iter().map(|n| lab.host(n)).collect::<Result<Vec<_>, _>>()?;
        let links = edges.iter().map(|(a, b)| lab.link(&hosts[*a], &hosts[*b]));
        let links = links.collect::<Result<Vec<_>, _>>()?;
        let files = Nodes::new();
        let keys: Vec<String> = names.iter().map(|n| files.keys(n)).collect();
        let mut nodes = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let dials = edges.iter().zip(&links).filter(|((a, _), _)| *a == i);
            let dial =
                dials.map(|((_, b), link)| (link.b.address.into(), keys[*b].as_str())).collect();
            let duties = Duties { dial, ..Duties::default() };
            nodes.push(files.start(&hosts[i], name, &keys[i], &duties)?);
        }
        let (edges, cut, dead) = (edges.to_vec(), BTreeSet::new(), BTreeSet::new());
        Ok(Self { hosts, links, edges, nodes, files, cut, dead })
    }

    fn alive(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|n| !self.dead.contains(n))
    }

    /// Whether all living nodes hang together without these links and nodes.
    fn holds(&self, cut: &BTreeSet<usize>, dead: &BTreeSet<usize>) -> bool {
        let works = |(at, (a, b)): (usize, &(usize, usize))| {
            (!cut.contains(&at) && !dead.contains(a) && !dead.contains(b)).then_some((*a, *b))
        };
        let edges: Vec<_> = self.edges.iter().enumerate().filter_map(works).collect();
        let alive: BTreeSet<usize> = (0..self.nodes.len()).filter(|n| !dead.contains(n)).collect();
        let mut found: BTreeSet<usize> = alive.iter().copied().take(1).collect();
        while let Some(next) =
            edges.iter().find_map(|(a, b)| match (found.contains(a), found.contains(b)) {
                (true, false) => Some(*b),
                (false, true) => Some(*a),
                _ => None,
            })
        {
            found.insert(next);
        }
        found == alive
    }

    fn index(&self, hashname: &str) -> usize {
        self.nodes.iter().position(|n| n.hashname == hashname).expect("one of ours")
    }

    fn works(&self, from: usize, to: usize) -> bool {
        let joins = |(at, (a, b)): (usize, &(usize, usize))| {
            !self.cut.contains(&at) && (*a.min(b), *a.max(b)) == (from.min(to), from.max(to))
        };
        self.edges.iter().enumerate().any(joins) && !self.dead.contains(&to)
    }

    /// Whether a node has a route to every other living one, over links and nodes that work.
    fn routed(&self, from: usize) -> bool {
        let routes = routes(&self.nodes[from]);
        self.alive().filter(|to| *to != from).all(|to| {
            let route = routes.iter().find(|r| r.hashname == self.nodes[to].hashname);
            let Some(route) = route.filter(|r| r.cost.is_some()) else { return false };
            let path: Vec<usize> = route.path.iter().map(|h| self.index(h)).collect();
            let starts = [&[from][..], &path[..]].concat();
            path.last() == Some(&to) && starts.windows(2).all(|w| self.works(w[0], w[1]))
        })
    }

    /// Every pair reaches every other, by its routes and in fact.
    fn check(&self, what: &str) {
        let logs = || self.alive().map(|n| self.files.log(&self.nodes[n].name)).collect::<String>();
        for n in self.alive() {
            assert!(poll(|| self.routed(n)), "{what}: n{n} lacks routes\n{}", logs());
        }
        for a in self.alive() {
            for b in self.alive().filter(|b| *b > a) {
                let ask = || PingAsk { timeout_ms: 1_000, ..PingAsk::once(String::new()) };
                let to = &self.nodes[b].hashname;
                let reaches = || self.nodes[a].ping(to, ask()).is_some_and(|s| s.received == 1);
                assert!(poll(reaches), "{what}: n{a} does not reach n{b}\n{}", logs());
            }
        }
    }

    /// Takes away what `cut` and `dead` say, and gives back how long it took until all living
    /// nodes had routes around it; nothing if they had them before.
    fn rerouted(&mut self, take: impl FnOnce(&mut Self)) -> Option<Duration> {
        let stands_in_the_way = !self.alive().all(|n| self.routed(n));
        take(self);
        let clock = Clock::start();
        let start = clock.now();
        for n in self.alive() {
            wait_closely("routes around it", || self.routed(n));
        }
        stands_in_the_way.then(|| clock.now().since(start))
    }

    /// Cuts links without a word until none is left that could be missed.
    fn cut_links(&mut self, lab: &Lab) -> Outcome {
        let mut took = Vec::new();
        for at in 0..self.edges.len() {
            let mut cut = self.cut.clone();
            cut.insert(at);
            if !self.holds(&cut, &self.dead) {
                continue;
            }
            self.cut = cut;
            let time = self.rerouted(|mesh| lab.cut(&mesh.links[at]).expect("a cut"));
            let (a, b) = self.edges[at];
            eprintln!("link n{a}-n{b} cut silently: rerouted in {time:?}");
            took.extend(time);
            self.check(&format!("without the link n{a}-n{b}"));
        }
        if !self.cut.is_empty() {
            SILENCE.check("silent cuts", took);
        }
        Ok(())
    }

    /// Ends each node that can be missed without a word, and starts it again. Gives back how long
    /// routes around those that stood in somebody's way took.
    fn kill_nodes(&mut self) -> Result<Vec<Duration>, LabError> {
        let mut took = Vec::new();
        for victim in 0..self.nodes.len() {
            let dead = BTreeSet::from([victim]);
            if !self.holds(&self.cut, &dead) {
                continue;
            }
            self.dead = dead;
            // Dropping the process is kill -9.
            let time = self.rerouted(|mesh| drop(mesh.nodes[victim].process.take()));
            eprintln!("node n{victim} killed: rerouted in {time:?}");
            took.extend(time);
            self.check(&format!("without n{victim}"));
            self.dead.clear();
            let Self { hosts, nodes, files, .. } = self;
            files.run(&hosts[victim], &mut nodes[victim])?;
            self.check(&format!("with n{victim} again"));
        }
        Ok(took)
    }
}

fn routes(node: &Node) -> Vec<RouteReport> {
    let client = Client::connect(node.socket()).ok();
    let answer = client
        .and_then(|mut c| c.ask(Act::Routes(RoutesAsk::default()), |_: serde_json::Value| {}).ok());
    answer.map(|r: RoutesReport| r.routes).unwrap_or_default()
}

/// As [`wait_for`], looking often.
fn wait_closely(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if done() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    wait_for(what, done);
}

#[test]
fn n2_n10_a_tree_of_processes_reaches_all_from_all() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let edges: Vec<(usize, usize)> = (1..6).map(|n| ((n - 1) / 2, n)).collect();
    let mut mesh = Mesh::build(&mut lab, 6, &edges)?;
    mesh.check("a tree");
    // Only leaves can be missed in a tree, and no link; they stand in nobody's way.
    assert_eq!(mesh.kill_nodes()?, []);
    let before = mesh.cut.len();
    mesh.cut_links(&lab)?;
    assert_eq!(mesh.cut.len(), before);
    Ok(())
}

#[test]
fn n2_n10_a_ring_of_processes_loses_nobody_with_any_link_or_node() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let edges: Vec<(usize, usize)> = (0..5).map(|n| (n, (n + 1) % 5)).collect();
    let mut mesh = Mesh::build(&mut lab, 5, &edges)?;
    mesh.check("a ring");
    RESET.check("killed nodes", mesh.kill_nodes()?);
    mesh.cut_links(&lab)?;
    assert_eq!(mesh.cut.len(), 1, "what is left is a row");
    Ok(())
}

#[test]
fn n2_n10_a_random_mesh_of_processes_loses_nobody_with_any_link_or_node() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let edges = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (1, 4), (4, 5), (0, 5), (3, 5)];
    let mut mesh = Mesh::build(&mut lab, 6, &edges)?;
    mesh.check("a random mesh");
    RESET.check("killed nodes", mesh.kill_nodes()?);
    mesh.cut_links(&lab)?;
    assert_eq!(mesh.cut.len(), 4, "what is left is a tree");
    Ok(())
}

#[test]
fn n2_n10_a_full_mesh_of_processes_shrinks_to_a_tree_without_losing_anybody() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let edges: Vec<(usize, usize)> = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))).collect();
    let mut mesh = Mesh::build(&mut lab, 5, &edges)?;
    mesh.check("a full mesh");
    mesh.cut_links(&lab)?;
    assert_eq!(mesh.cut.len(), 6, "what is left is a tree");
    Ok(())
}
