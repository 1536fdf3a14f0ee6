//! Whole nodes in namespaces: ordinary clients through tunnels over links with delay and loss,
//! and routes that heal. Needs root; says so otherwise.

mod clients;
mod moving;
mod nats;
mod priority;
mod shapes;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use trunkline::control::protocol::PingAsk;
use trunkline_sim::emulator::Conditions;
use trunkline_tools::clock::Clock;
use trunkline_tools::lab::nodes::{Duties, Node, Nodes, wait_for};
use trunkline_tools::lab::{Host, Lab, LabError, Link};

type Outcome = Result<(), LabError>;

const SERVER: u16 = 8_080;
const PROXY: u16 = 9_090;

/// The byte at a place of everything that is sent here.
fn pattern(at: usize) -> u8 {
    ((at * 31) >> 7) as u8
}

/// A — relay — B, each in a host of its own, and the links between them.
struct Chain {
    hosts: [Host; 3],
    nodes: [Node; 3],
    files: Nodes,
}

fn chain(
    lab: &mut Lab,
    make: impl Fn(&mut Lab, &Host, &Host) -> Result<Link, LabError>,
) -> Result<Chain, LabError> {
    let hosts = [lab.host("a")?, lab.host("r")?, lab.host("b")?];
    let (left, right) = (make(lab, &hosts[0], &hosts[1])?, make(lab, &hosts[1], &hosts[2])?);
    let files = Nodes::new();
    let names = ["a", "r", "b"].map(|n| (n, files.keys(n)));
    let [(_, a), (_, r), (_, b)] = &names;
    let relay = files.start(&hosts[1], "r", r, &Duties::default())?;
    let to_relay = |address| Duties { dial: vec![(address, r.as_str())], ..Duties::default() };
    let node_a = files.start(&hosts[0], "a", a, &to_relay(left.b.address.into()))?;
    let targets = [SERVER, 5_201].map(|port| format!("127.0.0.1:{port}"));
    let duties = Duties { allow: targets.to_vec(), ..to_relay(right.a.address.into()) };
    let node_b = files.start(&hosts[2], "b", b, &duties)?;
    node_a.wait_for(&node_b, &files);
    Ok(Chain { hosts, nodes: [node_a, relay, node_b], files })
}

/// 50 ms and 1 % loss between A and B: half of it on each link.
fn far(lab: &mut Lab, a: &Host, b: &Host) -> Result<Link, LabError> {
    let delay = Duration::from_micros(12_500);
    lab.wire(a, b, Conditions { delay, loss_ppm: 5_000, ..Conditions::default() })
}

fn near(lab: &mut Lab, a: &Host, b: &Host) -> Result<Link, LabError> {
    lab.link(a, b)
}

/// `curl` fetches a file from `python3 -m http.server` through the tunnel.
fn fetch(chain: &Chain, bytes: usize) -> Outcome {
    let [host_a, _, host_b] = &chain.hosts;
    let [a, _, b] = &chain.nodes;
    let content: Vec<u8> = (0..bytes).map(pattern).collect();
    std::fs::write(chain.files.dir().join("file"), &content).expect("a file");
    let mut server = host_b.command("python3");
    server.args(["-m", "http.server", &SERVER.to_string(), "--bind", "127.0.0.1", "--directory"]);
    server.arg(chain.files.dir()).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = host_b.start(server)?;
    wait_for("the web server", || {
        host_b.exec("ss", &["-ltn"]).is_ok_and(|s| s.contains(&format!(":{SERVER}")))
    });
    let target: SocketAddr = ([127, 0, 0, 1], SERVER).into();
    let _proxy = a.proxy(host_a, b, target, PROXY)?;
    let got = chain.files.dir().join("got");
    let url = format!("http://127.0.0.1:{PROXY}/file");
    let got_name = got.to_string_lossy();
    host_a.exec("curl", &["-sS", "--fail", "--max-time", "25", "-o", &got_name, &url])?;
    assert!(std::fs::read(&got).expect("the file") == content, "other bytes came");
    Ok(())
}

#[test]
fn s11_curl_fetches_through_a_relay() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let chain = chain(&mut lab, near)?;
    fetch(&chain, 20_000_000)
}

#[test]
fn s11_s23_curl_fetches_through_a_relay_over_far_and_lossy_links() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let chain = chain(&mut lab, far)?;
    fetch(&chain, 2_000_000)
}

/// `iperf3` measures through the tunnel, unchanged.
fn iperf3(chain: &Chain) -> Outcome {
    let [host_a, _, host_b] = &chain.hosts;
    let [a, _, b] = &chain.nodes;
    let mut server = host_b.command("iperf3");
    server.args(["-s", "-B", "127.0.0.1", "-1"]).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = host_b.start(server)?;
    wait_for("the iperf3 server", || {
        host_b.exec("ss", &["-ltn"]).is_ok_and(|s| s.contains(":5201"))
    });
    let _proxy = a.proxy(host_a, b, ([127, 0, 0, 1], 5_201).into(), PROXY)?;
    let port = PROXY.to_string();
    let json = host_a.exec("iperf3", &["-c", "127.0.0.1", "-p", &port, "-t", "3", "-J"])?;
    let report: serde_json::Value = serde_json::from_str(&json).expect("a report");
    let received = report["end"]["sum_received"]["bytes"].as_f64().unwrap_or(0.0);
    assert!(received > 100_000.0, "{report}");
    Ok(())
}

#[test]
fn s11_iperf3_runs_through_a_relay() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let chain = chain(&mut lab, near)?;
    iperf3(&chain)
}

#[test]
fn s11_s23_iperf3_runs_through_a_relay_over_far_and_lossy_links() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let chain = chain(&mut lab, far)?;
    iperf3(&chain)
}

/// A ring of four; bytes flow from A to C over B or D, whichever the routes say.
struct Ring {
    hosts: Vec<Host>,
    links: Vec<Link>,
    nodes: Vec<Node>,
    files: Nodes,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn ring(lab: &mut Lab) -> Result<Ring, LabError> {
    let hosts = NAMES.iter().map(|n| lab.host(n)).collect::<Result<Vec<_>, _>>()?;
    let mut links = Vec::new();
    for i in 0..4 {
        links.push(lab.link(&hosts[i], &hosts[(i + 1) % 4])?);
    }
    let files = Nodes::new();
    let keys: Vec<String> = NAMES.iter().map(|n| files.keys(n)).collect();
    let mut nodes = Vec::new();
    for (i, name) in NAMES.iter().enumerate() {
        // Each dials the next one; the ring closes.
        let next = (links[i].b.address.into(), keys[(i + 1) % 4].as_str());
        let allow = vec![format!("127.0.0.1:{SERVER}")];
        let duties = Duties { dial: vec![next], allow, ..Duties::default() };
        nodes.push(files.start(&hosts[i], name, &keys[i], &duties)?);
    }
    nodes[0].wait_for(&nodes[2], &files);
    // Both ways round must be known before one of them is taken away.
    wait_for("all four nodes", || {
        (1..4).all(|i| nodes[0].ping(&nodes[i].hashname, PingAsk::once(String::new())).is_some())
    });
    Ok(Ring { hosts, links, nodes, files })
}

/// Sends numbered bytes through a tunnel from A to C while `harm` is done in the middle, and
/// checks that each came once and in order. Gives back the longest time without progress.
fn flow(ring: &mut Ring, harm: impl FnOnce(&mut Ring)) -> Result<Duration, LabError> {
    const TOTAL: usize = 60_000_000;
    let listener = ring.hosts[2].inside(|| std::net::TcpListener::bind(("127.0.0.1", SERVER)))?;
    let listener = listener.expect("a port");
    #[expect(clippy::disallowed_methods, reason = "the test's own server")]
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        socket.set_read_timeout(Some(Duration::from_secs(25))).expect("a time-out");
        let clock = Clock::start();
        let (mut at, mut last, mut longest) = (0usize, clock.now(), Duration::ZERO);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = socket.read(&mut buffer).expect("bytes in time");
            if n == 0 {
                return (at, longest);
            }
            let now = clock.now();
            longest = longest.max(now.since(last));
            last = now;
            for byte in &buffer[..n] {
                assert_eq!(*byte, pattern(at), "a wrong byte at {at}");
                at += 1;
            }
        }
    });
    let target = ([127, 0, 0, 1], SERVER).into();
    let _proxy = ring.nodes[0].proxy(&ring.hosts[0], &ring.nodes[2], target, PROXY)?;
    let mut socket = ring.hosts[0]
        .inside(|| std::net::TcpStream::connect(("127.0.0.1", PROXY)))?
        .expect("a connection");
    let bytes: Vec<u8> = (0..TOTAL).map(pattern).collect();
    let mut harm = Some(harm);
    for (i, piece) in bytes.chunks(TOTAL / 60).enumerate() {
        socket.write_all(piece).expect("written");
        if i == 20
            && let Some(harm) = harm.take()
        {
            harm(ring);
        }
        // The flow is to last while routes change, not to be as fast as it can.
        std::thread::park_timeout(Duration::from_millis(30));
    }
    socket.shutdown(std::net::Shutdown::Write).expect("ended");
    let (received, longest) = server.join().unwrap_or_else(|_| {
        panic!("{}\n--\n{}", ring.files.log("a"), ring.files.log("c"));
    });
    assert_eq!(received, TOTAL, "bytes lost or doubled");
    eprintln!("the longest pause was {longest:?}");
    Ok(longest)
}

/// Which of B and D the way from A to C leads over.
fn middle(ring: &Ring) -> usize {
    use trunkline::control::protocol::{Act, Hop, TraceAsk, TraceReport};
    let ask = TraceAsk { hashname: ring.nodes[2].hashname.clone(), timeout_ms: 5_000 };
    let mut client = trunkline::control::Client::connect(ring.nodes[0].socket()).expect("a node");
    let way: TraceReport = client.ask(Act::Trace(ask), |_: Hop| {}).expect("a way");
    if way.hops[0].hashname == ring.nodes[1].hashname { 1 } else { 3 }
}

#[test]
fn n2_n13_a_stream_outlives_the_relay_it_ran_over() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let mut ring = ring(&mut lab)?;
    let victim = middle(&ring);
    // Dropping the process is kill -9.
    let pause = flow(&mut ring, |ring| drop(ring.nodes[victim].process.take()))?;
    assert!(pause < Duration::from_secs(10), "{pause:?} without progress");
    Ok(())
}

#[test]
fn n13_a_silent_cut_is_noticed_and_routed_around() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let mut ring = ring(&mut lab)?;
    // The link from A to the middle: A's first, or D's last, which ends at A.
    let link = ring.links[if middle(&ring) == 1 { 0 } else { 3 }].clone();
    let lab = &lab;
    let pause = flow(&mut ring, |_| lab.cut(&link).expect("a cut"))?;
    assert!(pause < Duration::from_secs(10), "{pause:?} without progress");
    Ok(())
}
