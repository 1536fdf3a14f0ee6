//! The control socket over real sockets: what a command asks, a node answers.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tempfile::TempDir;
use trunkline::config::HostPort;
use trunkline::control::protocol::{
    Act, Fault, Hop, LONGEST_REQUEST, PingAsk, PingSummary, Probe, ProxyAsk, ProxyOpened, TraceAsk,
    TraceReport, codes,
};
use trunkline::control::report::StatusReport;
use trunkline::control::{
    Client, ClientError, ControlError, ControlServer, ControlTarget, MOST_CLIENTS, OpenProxy,
};
use trunkline_proto::base::Hashname;

const SOMEONE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const UNREACHABLE: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What happened to the node.
#[derive(Debug, PartialEq)]
enum Seen {
    ProxyClosed,
    ClientGone,
    Stopped,
}

/// A node of which only the answers exist.
struct Node {
    seen: Sender<Seen>,
}

struct Proxy {
    seen: Sender<Seen>,
}

impl OpenProxy for Proxy {
    fn listening(&self) -> SocketAddr {
        "127.0.0.1:4711".parse().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.seen.send(Seen::ProxyClosed);
    }
}

impl ControlTarget for Node {
    fn status(&self) -> StatusReport {
        StatusReport { name: "relay".into(), ..StatusReport::default() }
    }

    fn ping(
        &self,
        to: Hashname,
        ask: &PingAsk,
        tell: &mut dyn FnMut(Probe) -> ControlFlow<()>,
    ) -> Result<PingSummary, Fault> {
        if to.to_string() == UNREACHABLE {
            return Err(Fault::new(codes::NO_ROUTE, "no way there is known"));
        }
        for seq in 1..=ask.count {
            let probe = Probe { seq, rtt_us: Some(u64::from(seq)), ..Probe::default() };
            if tell(probe).is_break() {
                let _ = self.seen.send(Seen::ClientGone);
                break;
            }
        }
        Ok(PingSummary::of(ask.count, (1..=u64::from(ask.count)).collect()))
    }

    fn trace(
        &self,
        to: Hashname,
        _: &TraceAsk,
        tell: &mut dyn FnMut(Hop) -> ControlFlow<()>,
    ) -> Result<TraceReport, Fault> {
        let hop = Hop { number: 1, hashname: to.to_string(), cost: 10, ..Hop::default() };
        let _ = tell(hop.clone());
        Ok(TraceReport { hops: vec![hop], cost: 10, reached: true, ..TraceReport::default() })
    }

    fn proxy(
        &self,
        _: Hashname,
        target: HostPort,
        _: SocketAddr,
    ) -> Result<Box<dyn OpenProxy>, Fault> {
        if target.port == 1 {
            return Err(Fault::new(codes::ADDRESS, "in use").with("address", target));
        }
        Ok(Box::new(Proxy { seen: self.seen.clone() }))
    }

    fn http(&self, _: Hashname, _: SocketAddr) -> Result<Box<dyn OpenProxy>, Fault> {
        Ok(Box::new(Proxy { seen: self.seen.clone() }))
    }

    fn stop(&self) {
        let _ = self.seen.send(Seen::Stopped);
    }
}

struct Stage {
    dir: TempDir,
    path: PathBuf,
    server: Option<ControlServer>,
    seen: Receiver<Seen>,
}

impl Stage {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("run/c.sock");
        let (sender, seen) = channel();
        let node = Arc::new(Node { seen: sender });
        let server = Some(ControlServer::start(&path, node).unwrap());
        Self { dir, path, server, seen }
    }

    fn client(&self) -> Client {
        Client::connect(&self.path).unwrap()
    }

    fn raw(&self) -> (BufReader<UnixStream>, UnixStream) {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (BufReader::new(stream.try_clone().unwrap()), stream)
    }

    fn saw(&self) -> Seen {
        self.seen.recv_timeout(Duration::from_secs(10)).unwrap()
    }
}

fn line(reader: &mut impl BufRead) -> String {
    let mut text = String::new();
    reader.read_line(&mut text).unwrap();
    text
}

fn nobody() -> Arc<Node> {
    Arc::new(Node { seen: channel().0 })
}

#[test]
fn requests_are_answered_with_their_events() {
    let stage = Stage::new();
    let mut client = stage.client();
    let status: StatusReport = client.ask(Act::Status, |(): ()| {}).unwrap();
    assert_eq!(status.name, "relay");

    let mut seqs = Vec::new();
    let ask = PingAsk { count: 3, ..PingAsk::once(SOMEONE.into()) };
    let summary: PingSummary = client.ask(Act::Ping(ask), |p: Probe| seqs.push(p.seq)).unwrap();
    assert_eq!((seqs, summary.received, summary.max_us), (vec![1, 2, 3], 3, Some(3)));

    let ask = TraceAsk { hashname: SOMEONE.into(), timeout_ms: 1 };
    let report: TraceReport = client.ask(Act::Trace(ask), |_: Hop| {}).unwrap();
    assert_eq!((report.hops[0].hashname.as_str(), report.cost), (SOMEONE, 10));
}

#[test]
fn faults_reach_the_asker_with_their_code() {
    let stage = Stage::new();
    let mut client = stage.client();
    let ask = Act::Ping(PingAsk::once(UNREACHABLE.into()));
    let error = client.ask::<Probe, PingSummary>(ask, |_| {}).unwrap_err();
    let ClientError::Fault(fault) = error else { panic!("{error}") };
    assert_eq!(fault.code, codes::NO_ROUTE);
    // The connection lives on.
    client.ask::<(), StatusReport>(Act::Status, |()| {}).unwrap();
}

#[test]
fn impossible_requests_never_reach_the_node() {
    let stage = Stage::new();
    let (mut reader, mut writer) = stage.raw();
    for (request, expected) in [
        ("nonsense", r#"{"id":0,"error":{"code":"bad-request","#),
        (r#"{"id":7,"do":"dance"}"#, r#"{"id":7,"error":{"code":"bad-request","#),
        (r#"{"id":8,"do":"ping"}"#, "missing field `hashname`"),
        (r#"{"id":9,"do":"ping","hashname":"abc"}"#, "`abc` is no hashname"),
        (r#"{"id":9,"do":"trace","hashname":"X","timeout_ms":90000000}"#, "is over 60000"),
        (r#"{"id":9,"do":"ping","hashname":"HASH","count":0}"#, "count 0 is not"),
        (r#"{"id":9,"do":"ping","hashname":"HASH","priority":8}"#, "priority 8 is not 0 to 7"),
        (r#"{"id":9,"do":"proxy","hashname":"HASH","target":"x","listen":"[::1]:0"}"#, "no port"),
    ] {
        writeln!(writer, "{}", request.replace("HASH", SOMEONE)).unwrap();
        let answer = line(&mut reader);
        assert!(answer.contains(expected), "{request}: {answer}");
    }
    writer.write_all(b"\n\n{\"id\":10,\"do\":\"status\"}\n").unwrap();
    assert!(line(&mut reader).starts_with(r#"{"id":10,"ok":{"#));
}

#[test]
fn a_request_too_long_ends_the_conversation_and_nothing_else() {
    let stage = Stage::new();
    let (mut reader, mut writer) = stage.raw();
    let sent = std::io::Write::write_all(&mut writer, &vec![b'x'; LONGEST_REQUEST]);
    sent.unwrap();
    assert!(line(&mut reader).contains(&format!("at most {LONGEST_REQUEST} bytes")));
    assert_eq!(line(&mut reader), "", "hung up");
    stage.client().ask::<(), StatusReport>(Act::Status, |()| {}).unwrap();
}

#[test]
fn a_proxy_lives_as_long_as_its_connection() {
    let stage = Stage::new();
    let listen = "127.0.0.1:0".parse().unwrap();
    let ask = |target: &str| {
        Act::Proxy(ProxyAsk { hashname: SOMEONE.into(), target: target.into(), listen })
    };
    let mut client = stage.client();
    let error = client.ask::<ProxyOpened, ()>(ask("localhost:1"), |_| {}).unwrap_err();
    let ClientError::Fault(fault) = error else { panic!("{error}") };
    assert_eq!(fault.details["address"], "localhost:1");

    let handle = client.handle().unwrap();
    let end = client.ask::<ProxyOpened, ()>(ask("localhost:22"), |opened| {
        assert_eq!(opened.listening.port(), 4711);
        handle.shutdown(std::net::Shutdown::Both).unwrap();
    });
    assert!(matches!(end, Err(ClientError::HungUp)), "{end:?}");
    assert_eq!(stage.saw(), Seen::ProxyClosed);
}

#[test]
fn a_client_that_leaves_ends_its_request() {
    let stage = Stage::new();
    let (mut reader, mut writer) = stage.raw();
    let count = PingAsk::MOST;
    writeln!(writer, r#"{{"id":1,"do":"ping","hashname":"{SOMEONE}","count":{count}}}"#).unwrap();
    assert!(line(&mut reader).contains("event"));
    drop((reader, writer));
    assert_eq!(stage.saw(), Seen::ClientGone);
}

#[test]
fn the_seventeenth_client_is_told_so_and_places_are_given_back() {
    let stage = Stage::new();
    let mut first: Vec<_> = (0..MOST_CLIENTS).map(|_| stage.client()).collect();
    for client in &mut first {
        client.ask::<(), StatusReport>(Act::Status, |()| {}).unwrap();
    }
    let (mut reader, _writer) = stage.raw();
    let told = line(&mut reader);
    assert!(told.contains(r#""code":"busy""#) && told.contains(r#""limit":"16""#), "{told}");
    drop(first);
    // The places are free once the threads have noticed.
    while stage.client().ask::<(), StatusReport>(Act::Status, |()| {}).is_err() {}
}

#[test]
fn stop_is_answered_before_it_happens() {
    let stage = Stage::new();
    let _: serde_json::Value = stage.client().ask(Act::Stop, |(): ()| {}).unwrap();
    assert_eq!(stage.saw(), Seen::Stopped);
}

#[test]
fn ending_the_server_hangs_up_and_removes_the_socket() {
    let mut stage = Stage::new();
    let mut client = stage.client();
    client.ask::<(), StatusReport>(Act::Status, |()| {}).unwrap();
    stage.server = None;
    assert!(!stage.path.exists());
    let end = client.ask::<(), StatusReport>(Act::Status, |()| {});
    assert!(end.is_err());
    let error = Client::connect(&stage.path).unwrap_err().to_string();
    assert!(error.contains("no node answers on") && error.contains("is it running"), "{error}");
}

#[test]
fn only_its_user_can_open_the_socket_and_a_new_directory() {
    let stage = Stage::new();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&stage.path), 0o600);
    assert_eq!(mode(stage.path.parent().unwrap()), 0o700);
    let beside = fs::read_dir(stage.path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "the hidden name is gone");
}

#[test]
fn a_dead_socket_is_replaced_and_a_living_one_or_a_file_is_not() {
    let stage = Stage::new();
    let living = ControlServer::start(&stage.path, nobody()).unwrap_err();
    assert!(matches!(living, ControlError::InUse { .. }), "{living}");

    let dead = stage.dir.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    assert!(dead.exists());
    drop(ControlServer::start(&dead, nobody()).unwrap());

    let file = stage.dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    let error = ControlServer::start(&file, nobody()).unwrap_err();
    assert!(matches!(error, ControlError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let long = stage.dir.path().join("x".repeat(100)).join("c.sock");
    let error = ControlServer::start(&long, nobody()).unwrap_err();
    assert!(matches!(error, ControlError::TooLong(_)), "{error}");
}
