//! `trunkline send`, `request` and `listen` between three node processes: what arrives, what is
//! answered, and every code with which a message comes back.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdout, Command, Output, Stdio};

use common::{Running, keys, output, program};
use serde_json::Value;
use tempfile::TempDir;

/// A listener at the node `b`, ready.
struct Listener {
    _process: Running,
    out: BufReader<ChildStdout>,
}

impl Listener {
    fn start(dir: &Path, namespace: &str, more: &[&str]) -> Self {
        let mut command = program(dir);
        command.args(["listen", namespace, "--control", "b.sock", "--json"]).args(more);
        command.stdout(Stdio::piped());
        let mut process = Running::start(command);
        let out = BufReader::new(process.child.stdout.take().expect("its output"));
        let mut listener = Self { _process: process, out };
        assert_eq!(listener.next()["ready"], true);
        listener
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }
}

/// Three nodes in a row: `a` is linked to `r`, `r` to `b`.
struct Row {
    dir: TempDir,
    b: String,
    r: String,
    running: Vec<Running>,
}

impl Row {
    fn new(more_of_a: &str, more_of_b: &str) -> Self {
        let dir = TempDir::new().expect("a directory");
        let [[a, _], [r, _], [b, _]] = ["a", "r", "b"].map(|name| keys(dir.path(), name));
        let port = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let (at_r, at_b) = (port().expect("a port"), port().expect("a port"));
        let link = |address, hashname: &str| {
            format!("[[link]]\naddress = \"{address}\"\nhashname = \"{hashname}\"\n")
        };
        let listen = |tls: String| format!("[listen]\nudp = []\ntls = [{tls}]\n");
        let mut row = Self { dir, b, r, running: Vec::new() };
        let b = format!("{}{more_of_b}", listen(format!("\"{at_b}\"")));
        let r = format!("{}{}", listen(format!("\"{at_r}\"")), link(at_b, &row.b));
        let a_conf = format!("{}{}{more_of_a}", listen(String::new()), link(at_r, &row.r));
        for (name, text) in [("b", b), ("r", r), ("a", a_conf)] {
            row.running.push(Running::node(row.dir.path(), name, &text));
        }
        let ping = ["ping", row.b.as_str(), "--count", "3", "--control", "a.sock"];
        let reached = (0..100).any(|_| output(row.dir.path(), &ping).status.success());
        assert!(reached, "{a} does not reach {}", row.b);
        row
    }

    /// Runs a command about messages at `a`, to `b`.
    fn at_a(&self, command: &str, more: &[&str]) -> Output {
        let args = [command, self.b.as_str(), "--control", "a.sock"];
        output(self.dir.path(), &[&args, more].concat())
    }
}

/// It failed, and says so with these words.
#[track_caller]
fn failed(output: &Output, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for word in words {
        // After whom it was for, who may be the one who says so.
        let said = told.splitn(3, ": ").nth(2).unwrap_or_default();
        assert!(said.contains(word), "no `{word}` in: {told}");
    }
}

#[test]
fn n21_messages_are_sent_listened_to_and_answered_from_the_command_line() {
    let row = Row::new("", "");
    let dir = row.dir.path();
    let mut listener = Listener::start(dir, "shop.orders", &["--target", "till"]);
    let to_till = ["shop.orders", "two loaves", "--target", "till", "--record", "TestPing"];
    let sent = row.at_a("send", &[&to_till[..], &["--json", "--sequence", "MZPA"]].concat());
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let sent: Value = serde_json::from_slice(&sent.stdout).expect("an object");
    assert_eq!(sent["delivered"], true);
    let got = listener.next();
    assert_eq!((&got["payload"], &got["proved"]), (&"dHdvIGxvYXZlcw==".into(), &true.into()));
    assert_eq!((&got["record"], &got["sequence"]), (&"TestPing".into(), &"MPA".into()));
    assert_eq!((&got["id"], &got["target"]), (&sent["id"], &"till".into()));
    assert!(got["port"].is_number() && got["neighbour"].is_string(), "{got}");

    let _echo = Listener::start(dir, "upper", &["--exec", "tr a-z A-Z"]);
    let _fixed = Listener::start(dir, "fixed", &["--reply", "as ever"]);
    let asked = row.at_a("request", &["upper", "quiet words"]);
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "QUIET WORDS");
    assert_eq!(row.at_a("request", &["fixed", "?"]).stdout, b"as ever");
    // From standard input and from a file.
    let mut piped = program(dir);
    piped.args(["request", &row.b, "upper", "--control", "a.sock"]);
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("asked");
    piped.stdin.take().expect("a pipe").write_all(b"piped").expect("written");
    assert_eq!(piped.wait_with_output().expect("answered").stdout, b"PIPED");
    std::fs::write(dir.join("file"), vec![b'x'; 30_000]).expect("written");
    let asked = row.at_a("request", &["upper", "--file", "file", "--json"]);
    let asked: Value = serde_json::from_slice(&asked.stdout).expect("an object");
    let length = asked["payload"].as_str().map(str::len);
    assert_eq!((length, &asked["from"]), (Some(40_000), &row.b.as_str().into()));
    let ended = output(dir, &["listen", "a b", "--control", "b.sock"]);
    assert_eq!(ended.status.code(), Some(2), "no name for a namespace");
}

#[test]
fn n21_each_code_can_be_had_from_the_command_line_with_the_node_that_raises_it() {
    let row = Row::new("", "[messages]\nleast = \"MA\"\n[limits]\nmessage = \"100KiB\"\n");
    let dir = row.dir.path();
    let (b, r) = (&row.b[..8], &row.r[..8]);
    let send = |more: &[&str]| row.at_a("send", more);
    failed(&send(&["nobody", "x"]), &["unknown-target", b]);
    let mut listener = Listener::start(dir, "shop", &[]);
    assert!(send(&["shop", "x"]).status.success());
    listener.next();

    let nowhere = "ab".repeat(32);
    let no_route = ["send", &nowhere, "shop", "x", "--control", "a.sock"];
    let plain = output(dir, &[&no_route[..], &["--sequence", "M"]].concat());
    failed(&plain, &["no-route", "this node"]);
    failed(&send(&["shop", "x", "--ttl", "1"]), &["ttl-expired", r]);
    failed(&send(&["shop", "x", "--local"]), &["refused by this node"]);
    failed(&send(&["shop", "x", "--sequence", "MQA"]), &["cannot-unpack", "this node"]);
    let weak = send(&["shop", "x", "--sequence", "M", "--exactly"]);
    failed(&weak, &["sequence-too-weak", b]);
    std::fs::write(dir.join("large"), vec![b'x'; 200_000]).expect("written");
    failed(&send(&["shop", "--file", "large"]), &["too-large", b]);
    std::fs::write(dir.join("larger"), vec![b'x'; 1 << 20]).expect("written");
    failed(&send(&["shop", "--file", "larger"]), &["too-large", "this node"]);
    let late = row.at_a("request", &["shop", "?", "--timeout", "100ms"]);
    failed(&late, &["timed-out"]);
    listener.next();
    // A hashname that the mesh does not know, in a line: there is no way to open one.
    let sealed = output(dir, &[&no_route[..], &["--timeout", "20s"]].concat());
    failed(&sealed, &["no-route", "this node"]);

    // The node stops while it is asked.
    let mut asking = program(dir);
    asking.args(["request", &row.b, "shop", "?", "--timeout", "60s"]);
    let asking = asking.args(["--control", "a.sock"]).stderr(Stdio::piped()).spawn();
    let asking = asking.expect("asked");
    listener.next();
    let stop =
        Command::new("kill").args(["-TERM", &row.running[0].child.id().to_string()]).status();
    assert!(stop.expect("a signal").success());
    failed(&asking.wait_with_output().expect("ended"), &["shutting-down", b]);
}

#[test]
fn n21_full_tables_and_nodes_that_vanish_have_their_codes_too() {
    let limits = "[limits]\nqueued_for_open = 1\nlines_per_shard = 1\n";
    let mut row = Row::new(&format!("[placement]\nworkers = 1\n{limits}"), "");
    let dir = row.dir.path();
    // There is a line to `b`, and more there may not be.
    let to_r = ["send", &row.r, "shop", "x", "--control", "a.sock"];
    failed(&output(dir, &to_r), &["no-key", "this node"]);
    // One message waits for a line to somebody whom nobody knows; a second one may not.
    let nowhere = "ab".repeat(32);
    let waits = ["send", &nowhere, "shop", "x", "--control", "a.sock"];
    assert!(output(dir, &[&waits[..], &["--no-wait"]].concat()).status.success());
    failed(&output(dir, &waits), &["queue-full", "this node"]);
    // The node dies with a question and comes back without it.
    let mut listener = Listener::start(dir, "shop", &[]);
    let mut asking = program(dir);
    asking.args(["request", &row.b, "shop", "?", "--timeout", "60s"]);
    let asking = asking.args(["--control", "a.sock"]).stderr(Stdio::piped()).spawn();
    let asking = asking.expect("asked");
    listener.next();
    let text = std::fs::read_to_string(dir.join("b.toml")).expect("its configuration");
    let (_, more) = text.split_once("\n[listen]").expect("where it listens");
    let more = format!("[listen]{more}");
    drop(row.running.remove(0));
    row.running.push(Running::node(row.dir.path(), "b", &more));
    failed(&asking.wait_with_output().expect("ended"), &["node-down", "this node"]);
}

#[test]
fn n9_what_a_rule_refuses_is_told_with_its_number_and_node_on_the_command_line() {
    let rules = "[gate]\ndefault = \"refuse\"\n\
                 [[gate.rule]]\naction = \"refuse\"\nrecord = \"Order\"\n\
                 [[gate.rule]]\naction = \"allow\"\nnamespace = \"shop.*\"\n";
    let row = Row::new("", rules);
    let dir = row.dir.path();
    let _listener = Listener::start(dir, "shop.orders", &[]);
    let short = &row.b[..8];
    let order = row.at_a("send", &["shop.orders", "two loaves", "--record", "Order"]);
    let words = format!("refused by rule 1 of {short}");
    failed(&order, &[&words]);
    let welcome = row.at_a("send", &["shop.orders", "two loaves", "--record", "7"]);
    assert!(welcome.status.success(), "{}", String::from_utf8_lossy(&welcome.stderr));
    failed(&row.at_a("send", &["other", "x"]), &["refused"]);
    let shown = output(dir, &["gate", "--control", "b.sock", "--json"]).stdout;
    let shown: Value = serde_json::from_slice(&shown).expect("an object");
    assert_eq!(shown["refused"], 2, "{shown}");
}

#[test]
fn n7_n8_what_is_said_to_all_is_heard_by_who_listens_at_other_nodes() {
    let row = Row::new("", "");
    let dir = row.dir.path();
    let mut listener = Listener::start(dir, "shop.news", &[]);
    let say = |more: &[&str]| {
        let args = ["broadcast", "shop.news", "closed on Monday", "--control", "a.sock"];
        output(dir, &[&args, more].concat())
    };
    let said = say(&["--record", "News", "--priority", "6"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "said\n");
    let message = listener.next();
    assert_eq!((&message["broadcast"], &message["proved"]), (&true.into(), &true.into()));
    assert_eq!((&message["record"], &message["priority"]), (&"News".into(), &6.into()));
    let sealed = String::from_utf8(say(&["--sequence", "MA"]).stderr).expect("a text");
    assert!(sealed.contains("cannot be sealed"), "{sealed}");
}
