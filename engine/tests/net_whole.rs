//! Datagrams leave whole or not at all, on a device that takes less than they have. Each test runs
//! itself again in a network namespace of its own, where the loopback device is that narrow, and is
//! skipped where it may not make one.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

use bytes::Bytes;
use trunkline::net::{RecvBuffers, SendBatch, SendCounters, UdpOptions, UdpPort};

const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
const INSIDE: &str = "TRUNKLINE_TEST_INSIDE";

/// True in the namespace. Outside of it, runs the test of that name in one.
fn inside(test: &str, mtu: u32) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let this = std::env::current_exe().unwrap();
    let script = format!("ip link set lo up mtu {mtu} || exit 77; exec \"$0\" --exact {test}");
    let child = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", &script])
        .arg(this)
        .env(INSIDE, "1")
        .output();
    match child {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}", String::from_utf8_lossy(&output.stdout));
        }
        _ => eprintln!("SKIPPED: no right to make a network namespace"),
    }
    false
}

/// Sends datagrams of these lengths, some of them divisible, and says which came and what became of
/// the rest. A datagram of four bytes comes behind all others.
fn send(at: SocketAddr, lengths: &[(usize, bool)]) -> (Vec<usize>, SendCounters) {
    let options = UdpOptions::default();
    let (a, b) = (UdpPort::bind(at, &options).unwrap(), UdpPort::bind(at, &options).unwrap());
    let to = SocketAddr::new(at.ip().to_canonical(), b.local_addr().port());
    let mut batch = SendBatch::new(1_000);
    for (length, divisible) in lengths.iter().chain(&[(4, false)]) {
        let frame = Bytes::from(vec![7; *length]);
        let pushed =
            if *divisible { batch.push_divisible(to, frame) } else { batch.push(to, frame) };
        pushed.unwrap();
    }
    while !batch.is_empty() {
        a.send(&mut batch).unwrap();
    }
    let (mut got, mut buffers) = (Vec::new(), RecvBuffers::new());
    while got.last() != Some(&4) {
        b.recv(&mut buffers, 64, |_, frame| got.push(frame.len())).unwrap();
    }
    got.pop();
    (got, batch.counters())
}

#[test]
fn s22_what_is_longer_than_the_device_takes_is_dropped_and_not_cut() {
    if !inside("s22_what_is_longer_than_the_device_takes_is_dropped_and_not_cut", 1_400) {
        return;
    }
    for (at, fits) in [(V4, 1_372), (V6, 1_352)] {
        let lengths = [(1_232, false), (fits, false), (fits + 1, false), (1_472, true), (9, false)];
        let (got, counters) = send(at, &lengths);
        assert_eq!(got, [1_232, fits, 1_472, 9], "{at}");
        assert_eq!((counters.too_long, counters.invalid), (1, 0), "{at}: {counters:?}");
    }
    // An IPv4 peer of an IPv6 socket is no other matter.
    let both = UdpPort::bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0), &Default::default());
    let (both, peer) = (both.unwrap(), UdpPort::bind(V4, &Default::default()).unwrap());
    let mut batch = SendBatch::new(9);
    for length in [1_373, 1_372] {
        batch.push(peer.local_addr(), Bytes::from(vec![7; length])).unwrap();
    }
    assert_eq!(both.send(&mut batch).unwrap(), 1);
    assert_eq!(batch.counters().too_long, 1);
}

#[test]
fn s22_runs_of_what_is_too_long_end_and_are_counted_one_by_one() {
    if !inside("s22_runs_of_what_is_too_long_end_and_are_counted_one_by_one", 1_400) {
        return;
    }
    for at in [V4, V6] {
        let mut lengths = vec![(1_472, false); 100];
        lengths.insert(50, (1_000, false));
        let (got, counters) = send(at, &lengths);
        assert_eq!((got, counters.too_long), (vec![1_000], 100), "{counters:?}");
    }
}

#[test]
fn s22_behind_a_device_narrower_than_any_should_be_what_fits_everywhere_is_cut() {
    let this = "s22_behind_a_device_narrower_than_any_should_be_what_fits_everywhere_is_cut";
    if !inside(this, 1_000) {
        return;
    }
    // What must be whole stands before, between and behind; none of it is cut by that.
    let (small, large) = ((1_232, false), (1_300, false));
    let lengths = [large, small, small, large, (100, false), small, (1_400, true), large, small];
    let (got, counters) = send(V4, &lengths);
    assert_eq!(got, [1_232, 1_232, 100, 1_232, 1_400, 1_232]);
    assert_eq!(counters.too_long, 3, "{counters:?}");
}
