//! Urgent messages keep their pace while a bulk flow saturates narrow links (B3, N18).
//!
//! How fast they are is for `perf/urgent.sh` to measure on a quiet machine; here the order of
//! magnitude is at stake: without priorities an urgent message would wait for everything that is
//! queued before it, hundreds of milliseconds at these rates.

use std::io::{Read, Write};
use std::time::Duration;

use trunkline::control::protocol::{PingAsk, PingSummary};
use trunkline_tools::lab::nodes::{Duties, Nodes, wait_for};
use trunkline_tools::lab::{Lab, LabError};

const SINK: u16 = 8_080;
const PROXY: u16 = 9_090;

fn pings(count: u32, priority: u8) -> PingAsk {
    let interval_ms = 10;
    PingAsk { count, interval_ms, priority: Some(priority), ..PingAsk::once(String::new()) }
}

fn p99(summary: &PingSummary) -> Duration {
    Duration::from_micros(summary.p99_us.expect("round trips"))
}

#[test]
fn b3_n18_urgent_messages_overtake_bulk_on_links_of_100_mbit() -> Result<(), LabError> {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let hosts = [lab.host("a")?, lab.host("r")?, lab.host("b")?];
    let (left, right) = (lab.link(&hosts[0], &hosts[1])?, lab.link(&hosts[1], &hosts[2])?);
    for end in [&left.a, &left.b, &right.a, &right.b] {
        lab.rate(end, 100.0, 16 << 10, Duration::from_millis(400))?;
    }
    let files = Nodes::new();
    let [a, r, b] = ["a", "r", "b"].map(|n| (n, files.keys(n)));
    let _relay = files.start(&hosts[1], r.0, &r.1, &Duties::default())?;
    let link = |address| Duties { dial: vec![(address, r.1.as_str())], ..Duties::default() };
    let node_a = files.start(&hosts[0], a.0, &a.1, &link(left.b.address.into()))?;
    let allow = vec![format!("127.0.0.1:{SINK}")];
    let duties = Duties { allow, ..link(right.a.address.into()) };
    let node_b = files.start(&hosts[2], b.0, &b.1, &duties)?;
    node_a.wait_for(&node_b, &files);
    let idle = p99(&node_a.ping(&b.1, pings(100, 7)).expect("answers"));

    let sink = hosts[2].inside(|| std::net::TcpListener::bind(("127.0.0.1", SINK)))?;
    let sink = sink.expect("a port");
    #[expect(clippy::disallowed_methods, reason = "the test's own server")]
    let reading = std::thread::spawn(move || {
        let (mut socket, _) = sink.accept().expect("a connection");
        let (mut buffer, mut got) = (vec![0; 1 << 16], 0);
        while let Ok(n @ 1..) = socket.read(&mut buffer) {
            got += n;
        }
        got
    });
    let _proxy = node_a.proxy(&hosts[0], &node_b, ([127, 0, 0, 1], SINK).into(), PROXY)?;
    let mut socket = hosts[0]
        .inside(|| std::net::TcpStream::connect(("127.0.0.1", PROXY)))?
        .expect("a connection");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    #[expect(clippy::disallowed_methods, reason = "the test's own client")]
    let writing = std::thread::spawn(move || {
        let piece = vec![0; 1 << 16];
        while matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
            socket.write_all(&piece).expect("written");
        }
    });
    // The flow has filled the path once ordinary messages feel it.
    wait_for("the bulk flow to saturate the path", || {
        let slow = node_a.ping(&b.1, pings(3, 3)).and_then(|s| s.p50_us);
        slow.is_some_and(|us| us > 20_000)
    });
    let urgent = node_a.ping(&b.1, pings(200, 7)).expect("answers");
    assert_eq!(urgent.sent, urgent.received, "urgent messages were lost");
    let loaded = p99(&urgent);
    // Of these some may find their queue full: they wait where the bulk does.
    let ordinary = p99(&node_a.ping(&b.1, pings(50, 3)).expect("answers"));
    drop(stop);
    writing.join().expect("written");
    let got = reading.join().expect("read");
    eprintln!("urgent p99: idle {idle:?}, loaded {loaded:?}; ordinary {ordinary:?}; {got} bytes");
    assert!(got > 1_000_000);
    assert!(loaded * 2 < ordinary, "urgent {loaded:?} against ordinary {ordinary:?}");
    Ok(())
}
