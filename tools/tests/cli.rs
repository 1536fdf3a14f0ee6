//! The `trunkline` binary as its users meet it: arguments in, text and exit codes out.

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};

use common::{program, trunkline, write};
use tempfile::TempDir;
use trunkline::config::HostPort;
use trunkline::control::protocol::{
    Fault, Hop, PingAsk, PingSummary, Probe, TraceAsk, TraceReport, codes,
};
use trunkline::control::report::{LinkReport, StatusReport};
use trunkline::control::{ControlServer, ControlTarget, OpenProxy};
use trunkline_proto::base::Hashname;

const SOMEONE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Three key files made by the binary, shared by all tests since primes take a while.
struct Keys {
    dir: TempDir,
}

impl Keys {
    fn get() -> &'static Self {
        static KEYS: OnceLock<Keys> = OnceLock::new();
        KEYS.get_or_init(|| {
            let dir = TempDir::new().unwrap();
            for (name, space) in [("a", "home"), ("b", "home"), ("c", "other")] {
                let args = ["keys", "new", "--space", space, "--out", name, "--bits", "2048"];
                let ran = trunkline(dir.path(), &args);
                assert_eq!(ran.code, 0, "{}", ran.err);
            }
            Self { dir }
        })
    }

    /// Copies one to where a test needs it.
    fn copy(name: &str, to: &Path) {
        write(to, &fs::read_to_string(Self::get().dir.path().join(name)).unwrap(), 0o600);
    }

    fn hashname(name: &str) -> String {
        let shown = trunkline(Self::get().dir.path(), &["keys", "show", name, "--json"]);
        shown.json()["hashname"].as_str().unwrap().to_owned()
    }

    fn record(name: &str) -> String {
        trunkline(Self::get().dir.path(), &["keys", "show", name, "--record"]).out
    }
}

#[test]
fn new_keys_are_their_owners_alone_and_never_overwritten() {
    let dir = TempDir::new().unwrap();
    let args = ["keys", "new", "--space", "home", "--bits", "2048"];
    let made = trunkline(dir.path(), &args);
    assert_eq!(made.code, 0, "{}", made.err);
    let file = dir.path().join("trunkline.keys");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(
        made.out.contains("hashname") && made.out.contains("space        home"),
        "{}",
        made.out
    );
    let shown = trunkline(dir.path(), &["keys", "show", "trunkline.keys"]);
    assert_eq!(shown.out, made.out);

    let before = fs::read(&file).unwrap();
    let again = trunkline(dir.path(), &args);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("exists and is not overwritten"), "{}", again.err);
    assert_eq!(fs::read(&file).unwrap(), before);
    // Nor through a dangling link.
    std::os::unix::fs::symlink(dir.path().join("nowhere"), dir.path().join("link")).unwrap();
    let linked = trunkline(dir.path(), &["keys", "new", "--space", "home", "--out", "link"]);
    assert_eq!(linked.code, 1, "{}", linked.out);
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let dir = TempDir::new().unwrap();
    for mode in [0o640, 0o604, 0o620, 0o666] {
        Keys::copy("a", &dir.path().join("k"));
        fs::set_permissions(dir.path().join("k"), fs::Permissions::from_mode(mode)).unwrap();
        let ran = trunkline(dir.path(), &["keys", "show", "k"]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains("`chmod 600 k`"), "{}", ran.err);
    }
}

#[test]
fn what_is_no_key_file_is_called_so() {
    let dir = TempDir::new().unwrap();
    let show = |name: &str| trunkline(dir.path(), &["keys", "show", name]);
    assert!(show("none").err.contains("there is no key file none: make one with"));
    write(&dir.path().join("text"), "hello", 0o600);
    assert!(show("text").err.contains("no block \"PRIVATE KEY\""), "{}", show("text").err);
    fs::create_dir(dir.path().join("dir")).unwrap();
    assert!(show("dir").err.contains("dir is not a file"));
    write(&dir.path().join("binary"), "", 0o600);
    fs::write(dir.path().join("binary"), [0xff; 100]).unwrap();
    assert_eq!(show("binary").code, 1);
    write(&dir.path().join("huge"), &"x".repeat(1 << 20), 0o600);
    assert!(show("huge").err.contains("larger than"), "{}", show("huge").err);
    for name in ["none", "text", "dir", "binary", "huge"] {
        assert_eq!(show(name).code, 1, "{name}");
    }
}

#[test]
fn shown_keys_contain_no_secret() {
    let shown = trunkline(Keys::get().dir.path(), &["keys", "show", "a", "--json"]);
    let value = shown.json();
    assert_eq!(value["space"], "home");
    assert_eq!(value["serial"], 1);
    assert_eq!(value["hashname"].as_str().unwrap().len(), 64);
    assert_eq!(value["line_key"].as_str().unwrap().len(), 64);
    let record = Keys::record("a");
    assert!(record.starts_with("-----BEGIN TRUNKLINE KEY RECORD-----\n"), "{record}");
    assert_eq!(value["record"].as_str().unwrap(), record);
    // The record is the very block that ends the key file.
    let file = fs::read_to_string(Keys::get().dir.path().join("a")).unwrap();
    assert!(file.ends_with(&record), "{file}");
    assert!(!record.contains("PRIVATE") && !shown.out.contains("PRIVATE"));
}

#[test]
fn wrong_usage_ends_with_2_and_a_hint() {
    let dir = TempDir::new().unwrap();
    for (args, hint) in [
        (&["keys", "new"][..], "--space <NAME>"),
        (&["keys", "new", "--space", "Not A Space"], "--space"),
        (&["keys", "new", "--space", "x", "--bits", "1024"], "2048 to 4096"),
        (&["keys", "new", "--space", "x", "--bits", "3001"], "steps of 8"),
        (&["ping", "abc"], "64 hex digits"),
        (&["ping", SOMEONE, "--interval", "5 weeks"], "us, ms, s"),
        (&["ping", SOMEONE, "--priority", "8"], "0..=7"),
        (&["proxy", SOMEONE, "127.0.0.1"], "PORT"),
        (&["statsu"], "status"),
        (&["check"], "--config <FILE>"),
    ] {
        let ran = trunkline(dir.path(), args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(hint), "{args:?}: {}", ran.err);
    }
    assert_eq!(trunkline(dir.path(), &["--help"]).code, 0);
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let dir = TempDir::new().unwrap();
    let mut child =
        program(dir.path()).args(["config", "example"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_example_configuration_passes_once_it_has_keys() {
    let dir = TempDir::new().unwrap();
    let example = trunkline(dir.path(), &["config", "example"]).out;
    let file = dir.path().join("relay.toml");
    // The default ports may be taken on the machine that tests.
    let example = example.replace("#udp = [\"0.0.0.0:42424\"]", "udp = [\"127.0.0.1:0\"]");
    write(&file, &example.replace("#tls = [\"0.0.0.0:42424\"]", "tls = []"), 0o644);
    let missing = trunkline(dir.path(), &["check", "--config", "relay.toml"]);
    assert_eq!(missing.code, 1, "{}", missing.out);
    assert!(missing.out.contains("error: node.keys: there is no key file"), "{}", missing.out);
    assert!(missing.out.contains("relay.toml: not ok (1 errors, 0 warnings)"), "{}", missing.out);

    Keys::copy("a", &dir.path().join("trunkline.keys"));
    let ran = trunkline(dir.path(), &["check", "--config", "relay.toml"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert_eq!(ran.out, "relay.toml: ok (0 errors, 0 warnings)\n");
}

#[test]
fn check_finds_everything_that_would_go_wrong() {
    let dir = TempDir::new().unwrap();
    Keys::copy("a", &dir.path().join("k"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let (own, peer, stranger) = (Keys::hashname("a"), Keys::hashname("b"), Keys::hashname("c"));
    write(&dir.path().join("b.record"), &Keys::record("b"), 0o644);
    let other = Keys::record("c");
    let text = format!(
        "[node]\nkeys = \"k\"\nstate_dir = \"/proc/nowhere\"\n\
         [listen]\nudp = [\"192.0.2.1:0\"]\ntls = [\"{taken}\"]\n\
         [[link]]\naddress = \"no-such-host.invalid\"\nhashname = \"{own}\"\nname = \"me\"\n\
         [[peer]]\nhashname = \"{peer}\"\nrecord_file = \"b.record\"\n\
         [[peer]]\nhashname = \"{stranger}\"\nrecord = \"\"\"\n{other}\"\"\"\n\
         [[peer]]\nhashname = \"{SOMEONE}\"\nrecord_file = \"b.record\"\n\
         [[peer]]\nhashname = \"{peer}\"\nrecord_file = \"k\"\n\
         [[proxy]]\nhashname = \"{peer}\"\ntarget = \"localhost:1\"\nlisten = \"0.0.0.0:0\"\n"
    );
    write(&dir.path().join("n.toml"), &text, 0o644);
    let ran = trunkline(dir.path(), &["check", "--config", "n.toml"]);
    assert_eq!(ran.code, 1);
    for expected in [
        "error: node.state_dir: cannot write to /proc/nowhere".to_owned(),
        "error: listen.udp: 192.0.2.1:0 is no address of this machine".to_owned(),
        format!("error: listen.tls: {taken} is in use by another program"),
        "error: link me: is this node itself".to_owned(),
        "error: link me: no-such-host.invalid:42424 does not resolve".to_owned(),
        format!("error: peer {}: lives in the space other, this node in home", &stranger[..8]),
        format!("error: peer {}: the record belongs to {peer}, not to", &SOMEONE[..8]),
        format!("error: peer {}: this is a key file, with its secrets", &peer[..8]),
        format!("error: peer {}: is listed twice", &peer[..8]),
        "warning: proxy 0.0.0.0:0: whoever reaches".to_owned(),
        "n.toml: not ok (9 errors, 1 warnings)".to_owned(),
    ] {
        assert!(ran.out.contains(&expected), "{expected}\nnot in\n{}", ran.out);
    }
    let json = trunkline(dir.path(), &["check", "--config", "n.toml", "--json"]).json();
    assert_eq!(
        (json["ok"].clone(), json["problems"].as_array().unwrap().len()),
        (false.into(), 10)
    );
}

#[test]
fn check_reports_every_mistake_in_the_file_with_its_line() {
    let dir = TempDir::new().unwrap();
    write(&dir.path().join("n.toml"), "[node]\nkesy = \"k\"\n[log]\nlevel = \"loud\"\n", 0o644);
    let ran = trunkline(dir.path(), &["check", "--config", "n.toml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("n.toml:2: node.kesy: no such option; did you mean `keys`?"));
    assert!(ran.err.contains("n.toml:4: log.level: `loud` is not one of"), "{}", ran.err);
    let json = trunkline(dir.path(), &["check", "--config", "n.toml", "--json"]);
    assert_eq!((json.code, json.json()["problems"][0]["line"].clone()), (1, 1.into()));
    let none = trunkline(dir.path(), &["check", "--config", "none.toml", "--json"]);
    assert!(none.json()["problems"][0]["what"].as_str().unwrap().contains("none.toml"));
}

/// A node of which only the answers exist.
struct Node;

struct Proxy(SocketAddr);

impl OpenProxy for Proxy {
    fn listening(&self) -> SocketAddr {
        self.0
    }
}

impl ControlTarget for Node {
    fn status(&self) -> StatusReport {
        let link = LinkReport {
            name: "uplink".into(),
            state: "waiting".into(),
            last_error: Some("connection refused".into()),
            retry_ms: Some(2_500),
            ..LinkReport::default()
        };
        StatusReport {
            name: "relay".into(),
            links: vec![link],
            drops: [("no-route".to_owned(), 7), ("replayed".to_owned(), 0)].into(),
            ..StatusReport::default()
        }
    }

    fn ping(
        &self,
        to: Hashname,
        ask: &PingAsk,
        tell: &mut dyn FnMut(Probe) -> ControlFlow<()>,
    ) -> Result<PingSummary, Fault> {
        if to.to_string() != SOMEONE {
            let message = format!("no way to {} is known: is its node running?", to.short());
            return Err(Fault::new(codes::NO_ROUTE, message));
        }
        let answered = ask.priority.is_none();
        for seq in 1..=ask.count {
            let way = "mesh via relay".into();
            let _ = tell(Probe { seq, rtt_us: answered.then_some(1_500), way, lost: None });
        }
        let rtts = if answered { vec![1_500; ask.count as usize] } else { Vec::new() };
        Ok(PingSummary::of(ask.count, rtts))
    }

    fn trace(
        &self,
        to: Hashname,
        _: &TraceAsk,
        _: &mut dyn FnMut(Hop) -> ControlFlow<()>,
    ) -> Result<TraceReport, Fault> {
        let hop = |number, rtt_us| {
            let hashname = to.to_string();
            Hop { number, hashname, cost: 10, rtt_us, name: Some("relay".into()) }
        };
        let hops = vec![hop(1, Some(900)), hop(2, None)];
        Ok(TraceReport { hops, cost: 20, reached: false, way: "mesh via relay".into() })
    }

    fn proxy(
        &self,
        _: Hashname,
        _: HostPort,
        listen: SocketAddr,
    ) -> Result<Box<dyn OpenProxy>, Fault> {
        Ok(Box::new(Proxy(listen)))
    }

    fn http(&self, _: Hashname, listen: SocketAddr) -> Result<Box<dyn OpenProxy>, Fault> {
        Ok(Box::new(Proxy(listen)))
    }

    fn stop(&self) {}
}

/// A stage with a control server where the commands look for it.
fn staged() -> (TempDir, PathBuf, ControlServer) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("trunkline.sock");
    let server = ControlServer::start(&path, Arc::new(Node)).unwrap();
    (dir, path, server)
}

#[test]
fn commands_find_the_node_of_the_session_by_socket_and_by_configuration() {
    let (dir, path, _server) = staged();
    let elsewhere = TempDir::new().unwrap();
    let ran = trunkline(dir.path(), &["status", "--json"]);
    assert_eq!(ran.json()["name"], "relay", "{}", ran.err);
    let socket = path.to_str().unwrap();
    let ran = trunkline(elsewhere.path(), &["status", "--control", socket]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = format!("[node]\nkeys = \"k\"\n[control]\nsocket = \"{socket}\"\n");
    write(&elsewhere.path().join("n.toml"), &text, 0o644);
    let ran = trunkline(elsewhere.path(), &["status", "--config", "n.toml"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn without_a_node_commands_say_where_they_looked() {
    let dir = TempDir::new().unwrap();
    let ran = trunkline(dir.path(), &["status", "--control", "none.sock"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no node answers on none.sock"), "{}", ran.err);
}

#[test]
fn status_shows_why_a_link_is_down_and_what_was_dropped() {
    let (dir, _, _server) = staged();
    let ran = trunkline(dir.path(), &["status"]);
    for expected in ["links: 0 of 1 up", "connection refused; next attempt in 2s", "no-route  7"] {
        assert!(ran.out.contains(expected), "{}", ran.out);
    }
    assert!(!ran.out.contains("replayed"), "zeros are for programs");
    let json = trunkline(dir.path(), &["status", "--json"]).json();
    assert_eq!(json["drops"]["replayed"], 0);
}

#[test]
fn ping_prints_probes_and_a_summary_and_fails_when_nothing_answers() {
    let (dir, _, _server) = staged();
    let ran = trunkline(dir.path(), &["ping", SOMEONE, "--count", "2"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("   2  1.500 ms  mesh via relay"), "{}", ran.out);
    assert!(ran.out.contains("2 sent, 2 answered; min 1.500 ms"), "{}", ran.out);
    let json = trunkline(dir.path(), &["ping", SOMEONE, "--count", "2", "--json"]);
    assert_eq!((json.out.lines().count(), json.json()["received"].clone()), (3, 2.into()));

    let lost = trunkline(dir.path(), &["ping", SOMEONE, "--count", "1", "--priority", "7"]);
    assert_eq!(lost.code, 1);
    assert!(lost.out.contains("lost: no answer in time"), "{}", lost.out);
    let unknown = trunkline(dir.path(), &["ping", &"f".repeat(64)]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert_eq!(unknown.err, "trunkline: no way to ffffffff is known: is its node running?\n");
}

#[test]
fn trace_shows_hops_with_cost_and_round_trip() {
    let (dir, _, _server) = staged();
    let ran = trunkline(dir.path(), &["trace", SOMEONE]);
    assert_eq!(ran.code, 1, "not reached");
    assert!(ran.out.contains("1    00112233  relay  10    0.900 ms"), "{}", ran.out);
    assert!(ran.out.contains("no answer"), "{}", ran.out);
    let summary = "not reached, 2 hops, cost 20; lines take: mesh via relay";
    assert!(ran.out.contains(summary), "{}", ran.out);
}

#[test]
fn a_proxy_command_announces_its_port_and_ends_with_the_node() {
    use std::io::{BufRead, BufReader, Read};
    let (dir, _, server) = staged();
    let args = ["proxy", SOMEONE, "127.0.0.1:80", "--listen", "127.0.0.1:4711", "--json"];
    let mut command = program(dir.path());
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "{\"listening\":\"127.0.0.1:4711\"}\n");
    drop(server);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(err.contains("the node stopped"), "{err}");
}
