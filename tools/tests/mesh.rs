//! Links, nodes and routes from the command line, with nodes that are processes of their own.

mod common;

use std::path::Path;
use std::process::Stdio;

use common::{Ran, Running, program, trunkline, wait, write};
use tempfile::TempDir;

/// A node of the binary's, killed at the end whatever happens.
struct Node {
    name: &'static str,
    hashname: String,
    address: String,
    _process: Running,
}

impl Node {
    fn run(dir: &Path, name: &'static str) -> Self {
        let keys = ["keys", "new", "--space", "home", "--out", name, "--bits", "2048"];
        trunkline(dir, &keys).fine();
        let text = format!(
            "[node]\nkeys = \"{name}\"\nname = \"{name}\"\n\
             [listen]\nudp = []\ntls = [\"127.0.0.1:0\"]\n[control]\nsocket = \"{name}.sock\"\n"
        );
        let config = dir.join(format!("{name}.toml"));
        write(&config, &text, 0o644);
        let mut command = program(dir);
        command.args(["run", "--config"]).arg(&config).stderr(Stdio::null()).stdout(Stdio::null());
        let _process = Running::start(command);
        let mut node = Self { name, hashname: String::new(), address: String::new(), _process };
        wait("the node is up", || node.ask(dir, &["status", "--json"]).code == 0);
        let status = node.ask(dir, &["status", "--json"]).fine().json();
        node.hashname = status["hashname"].as_str().unwrap().to_owned();
        let listening = status["listening"][0].as_str().unwrap();
        node.address = listening.strip_prefix("tls ").unwrap().to_owned();
        node
    }

    /// A command about this node.
    fn ask(&self, dir: &Path, args: &[&str]) -> Ran {
        let socket = format!("{}.sock", self.name);
        trunkline(dir, &[args, &["--control", &socket]].concat())
    }
}

#[test]
fn n12_links_nodes_and_routes_are_shown_and_changed_from_the_command_line() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let [a, r, b] = ["a", "r", "b"].map(|name| Node::run(dir, name));
    assert_eq!(a.ask(dir, &["links"]).fine().out, "no links\n");
    assert_eq!(a.ask(dir, &["routes"]).fine().out, "no other node is known\n");
    let unknown = a.ask(dir, &["routes", &b.hashname]).fine();
    assert!(unknown.out.contains("unknown\nno node in reach speaks of it"), "{}", unknown.out);

    for (node, to, name) in [(&a, &r, "relay"), (&b, &r, "relay"), (&a, &b, "direct")] {
        let add = ["links", "add", &to.address, &to.hashname, "--name", name, "--cost", "10"];
        node.ask(dir, &add).fine();
    }
    let again = a.ask(dir, &["links", "add", &r.address, &r.hashname, "--name", "relay"]);
    assert!(again.code == 1 && again.err.contains("there is a link `relay` already"));
    let route = || {
        let shown = a.ask(dir, &["routes", &b.hashname, "--json"]).fine().json();
        shown["routes"][0].clone()
    };
    wait("both ways are known", || route()["ways"].as_array().is_some_and(|w| w.len() == 2));
    assert_eq!((route()["cost"].as_u64(), route()["name"].as_str()), (Some(10), Some("b")));
    let shown = a.ask(dir, &["routes", &b.hashname]).fine().out;
    assert!(shown.contains("it is the cheapest; the next one costs 10 more"), "{shown}");
    let all = a.ask(dir, &["routes"]).fine().out;
    assert!(all.contains(&b.hashname[..8]) && all.contains(&r.hashname[..8]), "{all}");

    a.ask(dir, &["links", "cost", "direct", "50"]).fine();
    wait("the way leads over the relay", || route()["cost"] == 20);
    assert_eq!(route()["path"][0].as_str(), Some(&*r.hashname));
    let links = a.ask(dir, &["links", "--json"]).fine().json();
    let direct = links["links"].as_array().unwrap().iter().find(|l| l["name"] == "direct").unwrap();
    assert_eq!((direct["cost"].as_u64(), direct["in_use"].as_bool()), (Some(50), Some(true)));
    let nodes = a.ask(dir, &["nodes", "--json"]).fine().json();
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 3, "{nodes}");

    a.ask(dir, &["links", "close", "direct"]).fine();
    a.ask(dir, &["links", "close", "relay"]).fine();
    wait("b is apart", || route()["obstacle"] == "apart");
    let shown = a.ask(dir, &["nodes"]).fine().out;
    assert!(shown.contains("apart"), "{shown}");
    let shown = a.ask(dir, &["routes", &b.hashname]).fine().out;
    assert!(shown.contains("2 nodes hang together there"), "{shown}");
    let gone = a.ask(dir, &["links", "close", "direct"]);
    assert_eq!(gone.code, 1);
    assert!(gone.err.contains("no link has the name or number `direct`"), "{}", gone.err);
}
