//! The gatekeeper from the command line: the guide as it is written, `check` and the hit counters.

use std::fs;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use trunkline::config::{Config, HostPort};
use trunkline::control::gate::GateReport;
use trunkline::control::protocol::{
    Fault, Hop, PingAsk, PingSummary, Probe, TraceAsk, TraceReport, codes,
};
use trunkline::control::report::StatusReport;
use trunkline::control::{ControlServer, ControlTarget, OpenProxy};
use trunkline_proto::base::Hashname;
use trunkline_proto::gate::Hits;

const GUIDE: &str = include_str!("../../docs/guides/gate.md");
const A: &str = "aaaaaaaabbccddeeff00112233445566778899aabbccddeeff00112233445566";
const C: &str = "ccccccccbbccddeeff00112233445566778899aabbccddeeff00112233445566";

/// What the program prints, and whether it was content.
fn trunkline(dir: &Path, args: &[&str]) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    let output = command.current_dir(dir).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text + &String::from_utf8(output.stderr).unwrap(), output.status.success())
}

fn filled(text: &str) -> String {
    text.replace("A_HASHNAME", A).replace("C_HASHNAME", C).replace("A_SHORT", &A[..8])
}

/// The guide's node, with `more` rules behind its own.
fn guide_node(more: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let block = GUIDE.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    fs::write(dir.path().join("b.toml"), filled(block) + more).unwrap();
    dir
}

#[test]
fn n20_the_guide_runs_as_it_is_written() {
    let dir = guide_node("");
    let mut ran = 0;
    for block in GUIDE.split("```console\n").skip(1) {
        let block = filled(block.split("```").next().unwrap());
        for step in block.split("$ trunkline ").skip(1) {
            let (command, expected) = step.split_once('\n').unwrap();
            let args: Vec<&str> = command.split(' ').collect();
            assert_eq!(trunkline(dir.path(), &args), (expected.to_owned(), true), "{command}");
            ran += 1;
        }
    }
    assert_eq!(ran, 6);
}

#[test]
fn n20_check_finds_rules_that_can_never_decide() {
    let dir = guide_node(&format!(
        "[[gate.rule]]\naction = \"refuse\"\nport = 22000\n\
         [[gate.rule]]\naction = \"allow\"\nport = 22000\n\
         [[gate.rule]]\naction = \"allow\"\nport = 22000\nsender = \"{A}\"\ncomment = \"late\"\n\
         [[gate.rule]]\naction = \"refuse\"\nport = 1\n\
         [[gate.rule]]\naction = \"refuse\"\nneighbour = \"{C}\"\n"
    ));
    let (told, _) = trunkline(dir.path(), &["check", "--config", "b.toml"]);
    let port = "any record at port 22000";
    for expected in [
        format!("warning: gate rule 5: refuse {port}: is the same as rule 4"),
        format!("warning: gate rule 6: allow {port}: contradicts rule 4"),
        "warning: gate rule 7: allow any record from aaaaaaaa at port 22000 (late): never decides: \
         rule 4 comes first and covers it"
            .to_owned(),
        "warning: gate rule 8: refuse any record at port 1: nothing listens at port 1".to_owned(),
        "note: gate rule 9: refuse any record over cccccccc: no [[link]] leads to cccccccc"
            .to_owned(),
    ] {
        assert!(told.contains(&expected), "{expected}\nnot in\n{told}");
    }
    let guide = guide_node("");
    let (told, _) = trunkline(guide.path(), &["check", "--config", "b.toml"]);
    assert!(!told.contains("gate rule"), "{told}");
}

#[test]
fn n20_a_neighbour_is_named_as_its_link_is() {
    let dir = guide_node(&format!(
        "[[link]]\nname = \"uplink\"\naddress = \"192.0.2.1\"\nhashname = \"{C}\"\n\
         [[gate.rule]]\naction = \"refuse\"\nneighbour = \"uplink\"\n"
    ));
    let test = |neighbour| {
        let args = "gate test --config b.toml --record 1 --namespace x --json --sender";
        let args = args.split(' ').chain([A, "--neighbour", neighbour]);
        trunkline(dir.path(), &args.collect::<Vec<_>>())
    };
    for neighbour in ["uplink", C] {
        let (told, done) = test(neighbour);
        let told: Value = serde_json::from_str(&told).expect("an object");
        assert!(done && told["rule"] == 5 && told["allow"] == false, "{told}");
    }
    let (told, done) = test("downlink");
    assert!(!done && told.contains("no [[link]] is called `downlink`"), "{told}");
}

/// A node that knows its gatekeeper and nothing else.
struct Node(GateReport);

impl ControlTarget for Node {
    fn gate(&self) -> GateReport {
        self.0.clone()
    }

    fn status(&self) -> StatusReport {
        StatusReport::default()
    }

    fn ping(
        &self,
        _: Hashname,
        _: &PingAsk,
        _: &mut dyn FnMut(Probe) -> ControlFlow<()>,
    ) -> Result<PingSummary, Fault> {
        Err(Fault::new(codes::NO_ROUTE, "nobody here"))
    }

    fn trace(
        &self,
        _: Hashname,
        _: &TraceAsk,
        _: &mut dyn FnMut(Hop) -> ControlFlow<()>,
    ) -> Result<TraceReport, Fault> {
        Err(Fault::new(codes::NO_ROUTE, "nobody here"))
    }

    fn proxy(&self, _: Hashname, _: HostPort, _: SocketAddr) -> Result<Box<dyn OpenProxy>, Fault> {
        Err(Fault::new(codes::NO_ROUTE, "nobody here"))
    }

    fn http(&self, _: Hashname, _: SocketAddr) -> Result<Box<dyn OpenProxy>, Fault> {
        Err(Fault::new(codes::NO_ROUTE, "nobody here"))
    }

    fn stop(&self) {}
}

#[test]
fn n20_a_running_node_shows_its_hits_and_is_tested_by_its_own_rules() {
    let dir = guide_node("");
    let config = Config::load(&dir.path().join("b.toml")).unwrap();
    let hits = Hits { rules: vec![3, 120, 41, 14], default: 7, refused: 14 };
    let node = Arc::new(Node(GateReport::of(&config.gate, &hits)));
    let socket = dir.path().join("node.sock");
    let _server = ControlServer::start(&socket, node).unwrap();

    let (told, _) = trunkline(dir.path(), &["gate", "--control", "node.sock"]);
    let shown = told.replace(&A[..8], "5c968a47");
    assert!(GUIDE.contains(shown.trim_end()), "{told}");
    let (told, _) = trunkline(dir.path(), &["gate", "--control", "node.sock", "--json"]);
    let json: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&json["refused"], &json["rules"][1]["hits"]), (&14.into(), &120.into()));

    let args = "gate test --control node.sock --port 22000 --record 9 --namespace x --sender";
    let args: Vec<&str> = args.split(' ').chain([C]).collect();
    let (told, _) = trunkline(dir.path(), &args);
    assert!(told.starts_with("refused by rule 4: "), "{told}");
}
