//! Datagrams over real loopback sockets: what goes in comes out, in as few calls as possible, and
//! nothing the network does fails a batch.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mio::{Events, Interest, Poll, Token};
use trunkline::net::{RecvBuffers, SLOT_BYTES, SendBatch, UdpOptions, UdpPort};

const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(20);

fn port(addr: SocketAddr) -> UdpPort {
    UdpPort::bind(addr, &UdpOptions::default()).expect("loopback port")
}

fn coalescing_port(addr: SocketAddr) -> UdpPort {
    UdpPort::bind(addr, &UdpOptions { coalesce: true, ..UdpOptions::default() }).expect("port")
}

/// Receives exactly `count` datagrams, waiting for readiness in between.
fn receive(
    port: &mut UdpPort,
    buffers: &mut RecvBuffers,
    count: usize,
) -> Vec<(SocketAddr, BytesMut)> {
    let mut poll = Poll::new().unwrap();
    poll.registry().register(port, Token(0), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(8);
    let mut got = Vec::new();
    loop {
        // Readiness is reported once, so ask until the socket says it is empty.
        while port.recv(buffers, 64, |from, frame| got.push((from, frame))).unwrap() >= 64 {}
        if got.len() >= count {
            break;
        }
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "{} of {count} datagrams arrived", got.len());
    }
    poll.registry().deregister(port).unwrap();
    got
}

fn frame(number: usize, len: usize) -> Bytes {
    let mut bytes = vec![number as u8; len];
    bytes[..4].copy_from_slice(&(number as u32).to_be_bytes());
    bytes.into()
}

fn number(frame: &[u8]) -> usize {
    u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize
}

fn send_all(port: &UdpPort, batch: &mut SendBatch) {
    while !batch.is_empty() {
        port.send(batch).unwrap();
    }
}

fn crosses_by_the_batch(addr: SocketAddr) {
    let (a, mut b) = (port(addr), port(addr));
    let mut batch = SendBatch::new(1000);
    let lens: Vec<usize> = (0..500).map(|i| 4 + (i * 37) % 1400).collect();
    for (i, len) in lens.iter().enumerate() {
        batch.push(b.local_addr(), frame(i, *len)).unwrap();
    }
    let mut buffers = RecvBuffers::new();
    send_all(&a, &mut batch);
    let got = receive(&mut b, &mut buffers, lens.len());
    assert_eq!(got.len(), lens.len());
    for (i, (from, bytes)) in got.iter().enumerate() {
        assert_eq!(*from, a.local_addr());
        assert_eq!(bytes[..], frame(i, lens[i])[..]);
    }
    assert_eq!(batch.counters().datagrams, 500);
    assert!(buffers.counters().calls <= 20, "{:?}", buffers.counters());
}

#[test]
fn batches_cross_over_ipv4() {
    crosses_by_the_batch(V4);
}

#[test]
fn batches_cross_over_ipv6() {
    crosses_by_the_batch(V6);
}

#[test]
fn the_ipv6_wildcard_reaches_both_families_and_alone_only_its_own() {
    let wildcard = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let both = port(wildcard);
    let options = UdpOptions { dual_stack: false, ..UdpOptions::default() };
    let alone = UdpPort::bind(wildcard, &options).expect("port");
    assert_eq!((both.reaches(V4), both.reaches(V6)), (true, true));
    assert_eq!((alone.reaches(V4), alone.reaches(V6)), (false, true));
    assert_eq!((port(V4).reaches(V4), port(V4).reaches(V6)), (true, false));
    // The same port is still free for IPv4.
    let same = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), alone.local_addr().port());
    UdpPort::bind(same, &UdpOptions::default()).expect("the port");
    // And what the first says it reaches, it reaches.
    let mut there = port(V4);
    let mut batch = SendBatch::new(1);
    batch.push(there.local_addr(), frame(7, 100)).expect("room");
    send_all(&both, &mut batch);
    let got = receive(&mut there, &mut RecvBuffers::new(), 1);
    assert_eq!(number(&got[0].1), 7);
}

#[test]
fn an_ipv4_peer_of_an_ipv6_port_keeps_one_name() {
    let mut both = port(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0));
    let mut peer = port(V4);
    let mut buffers = RecvBuffers::new();
    let mut batch = SendBatch::new(8);
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), both.local_addr().port());
    batch.push(to, frame(1, 100)).unwrap();
    send_all(&peer, &mut batch);
    let got = receive(&mut both, &mut buffers, 1);
    assert_eq!(got[0].0, peer.local_addr(), "mapped addresses are made canonical");
    batch.push(got[0].0, frame(2, 100)).unwrap();
    send_all(&both, &mut batch);
    let back = receive(&mut peer, &mut buffers, 1);
    assert_eq!(back[0].0, to);
}

#[test]
fn runs_of_one_length_leave_as_segmented_sends() {
    let (a, mut b) = (port(V4), port(V4));
    if !a.segments() {
        eprintln!("SKIPPED: this kernel has no UDP_SEGMENT");
        return;
    }
    let mut batch = SendBatch::new(640);
    for i in 0..640 {
        batch.push(b.local_addr(), frame(i, 300)).unwrap();
    }
    let mut buffers = RecvBuffers::new();
    send_all(&a, &mut batch);
    let sent = batch.counters();
    assert_eq!((sent.datagrams, sent.runs, sent.calls), (640, 10, 3), "{sent:?}");
    let got = receive(&mut b, &mut buffers, 640);
    assert!(got.iter().enumerate().all(|(i, (_, bytes))| bytes[..] == frame(i, 300)[..]));
}

#[test]
fn runs_are_received_coalesced_and_come_apart_again() {
    come_apart_again(V4);
    come_apart_again(V6);
}

fn come_apart_again(addr: SocketAddr) {
    let (a, mut b) = (port(addr), coalescing_port(addr));
    if !a.segments() || !b.coalesces() {
        eprintln!("SKIPPED: this kernel has no UDP_GRO or UDP_SEGMENT");
        return;
    }
    let mut buffers = RecvBuffers::new();
    let mut batch = SendBatch::new(1000);
    // Long runs (handed out in place), a short run (copied), a lone datagram, a last one that is
    // shorter; the same of the size of jumbo frames.
    for (count, len) in [(200, 1200), (3, 200), (1, 900), (50, 300), (20, 8_800), (1, 8_800)] {
        for i in 0..count {
            batch.push(b.local_addr(), frame(i, len)).unwrap();
        }
        batch.push(b.local_addr(), frame(count, len / 2)).unwrap();
        send_all(&a, &mut batch);
        let got = receive(&mut b, &mut buffers, count + 1);
        assert_eq!(got.len(), count + 1);
        for (i, (from, bytes)) in got.iter().enumerate() {
            let len = if i == count { len / 2 } else { len };
            assert_eq!((*from, &bytes[..]), (a.local_addr(), &frame(i, len)[..]));
        }
    }
    let counters = buffers.counters();
    assert!(counters.runs >= 4, "{counters:?}");
    assert!(counters.calls < counters.datagrams / 4, "{counters:?}");
}

#[test]
fn a_lone_datagram_keeps_no_more_room_than_its_kind_needs() {
    let (a, mut b) = (port(V4), coalescing_port(V4));
    if !b.coalesces() {
        eprintln!("SKIPPED: this kernel has no UDP_GRO");
        return;
    }
    let (mut batch, mut buffers) = (SendBatch::new(1), RecvBuffers::new());
    for (len, most) in [(100, SLOT_BYTES), (SLOT_BYTES, SLOT_BYTES), (8_800, 9_216)] {
        batch.push(b.local_addr(), frame(len, len)).unwrap();
        send_all(&a, &mut batch);
        let got = receive(&mut b, &mut buffers, 1);
        let (_, bytes) = &got[0];
        assert!(bytes.len() == len && bytes.capacity() <= most, "{len}: {}", bytes.capacity());
    }
}

#[test]
fn interleaved_peers_form_runs_and_keep_their_order() {
    let a = port(V4);
    let mut peers: Vec<UdpPort> = (0..8).map(|_| port(V4)).collect();
    let mut batch = SendBatch::new(1000);
    let mut sent: HashMap<SocketAddr, Vec<usize>> = HashMap::new();
    for i in 0..800 {
        let to = peers[(i * 5) % 8].local_addr();
        // Lengths change now and then, so runs close and open.
        batch.push(to, frame(i, 100 + (i / 90) * 10)).unwrap();
        sent.entry(to).or_default().push(i);
    }
    send_all(&a, &mut batch);
    let counters = batch.counters();
    assert_eq!(counters.datagrams, 800);
    if a.segments() {
        // A loaded kernel takes less than all at once.
        assert!(counters.calls <= counters.runs / 4, "{counters:?}");
    }
    for peer in &mut peers {
        let addr = peer.local_addr();
        let got = receive(peer, &mut RecvBuffers::new(), sent[&addr].len());
        let numbers: Vec<usize> = got.iter().map(|(_, bytes)| number(bytes)).collect();
        assert_eq!(numbers, sent[&addr]);
    }
}

#[test]
fn what_one_datagram_meets_does_not_fail_the_others() {
    let (a, mut b) = (port(V4), port(V4));
    let closed = port(V4).local_addr();
    let mut batch = SendBatch::new(100);
    let mut buffers = RecvBuffers::new();
    for round in 0..3 {
        batch.push(b.local_addr(), frame(round, 50)).unwrap();
        batch.push(b.local_addr(), vec![0; 70_000].into()).unwrap();
        batch.push(closed, frame(round, 50)).unwrap();
        batch.push(closed, frame(round, 50)).unwrap();
        batch.push(V6, frame(round, 50)).unwrap();
        batch.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), frame(round, 50)).unwrap();
        batch.push(SocketAddr::new(Ipv4Addr::BROADCAST.into(), 9), frame(round, 50)).unwrap();
        batch.push(b.local_addr(), frame(round, 60)).unwrap();
        send_all(&a, &mut batch);
        assert_eq!(receive(&mut b, &mut buffers, 2).len(), 2);
    }
    let counters = batch.counters();
    assert_eq!(counters.too_long, 3, "{counters:?}");
    assert_eq!(counters.invalid, 3, "{counters:?}");
    assert_eq!(counters.unreachable, 3, "{counters:?}");
    assert_eq!(counters.forbidden, 3, "{counters:?}");
    assert_eq!(counters.datagrams + counters.refused, 4 * 3, "{counters:?}");
}

#[test]
fn a_full_batch_gives_the_datagram_back() {
    let mut batch = SendBatch::new(2);
    assert!(batch.push(V4, frame(0, 10)).is_ok());
    assert!(batch.push(V4, frame(1, 10)).is_ok());
    assert_eq!(batch.push(V4, frame(2, 10)), Err(frame(2, 10)));
    assert_eq!((batch.len(), batch.clear(), batch.is_empty()), (2, 2, true));
}

#[test]
fn datagrams_longer_than_a_slot_are_dropped_and_counted() {
    let (a, mut b) = (port(V4), port(V4));
    let mut batch = SendBatch::new(10);
    for len in [100, SLOT_BYTES, SLOT_BYTES + 1, 9000, 100] {
        batch.push(b.local_addr(), frame(len, len)).unwrap();
    }
    batch.push(b.local_addr(), Bytes::new()).unwrap();
    batch.push(b.local_addr(), frame(7, 7)).unwrap();
    send_all(&a, &mut batch);
    let mut buffers = RecvBuffers::new();
    let got = receive(&mut b, &mut buffers, 4);
    let lens: Vec<usize> = got.iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(lens, [100, SLOT_BYTES, 100, 7]);
    let counters = buffers.counters();
    assert_eq!((counters.truncated, counters.empty, counters.datagrams), (2, 1, 4));
}

#[test]
fn frames_that_come_back_are_received_into_again() {
    let (a, mut b) = (port(V4), port(V4));
    let mut batch = SendBatch::new(64);
    let mut buffers = RecvBuffers::new();
    let mut places = std::collections::HashSet::new();
    for _ in 0..400 {
        for i in 0..64 {
            batch.push(b.local_addr(), frame(i, 300)).unwrap();
        }
        send_all(&a, &mut batch);
        for (_, bytes) in receive(&mut b, &mut buffers, 64) {
            places.insert(bytes.as_ptr() as usize);
            assert!(bytes.capacity() >= SLOT_BYTES, "room to grow in place");
        }
    }
    assert!(places.len() <= 4 * 64, "{} places for 25,600 datagrams", places.len());
}

#[test]
fn frames_that_stay_away_do_not_stop_receipt() {
    let (a, mut b) = (port(V4), port(V4));
    let mut batch = SendBatch::new(64);
    let mut buffers = RecvBuffers::new();
    let mut kept = Vec::new();
    for round in 0..50 {
        for i in 0..64 {
            batch.push(b.local_addr(), frame(round * 64 + i, 300)).unwrap();
        }
        send_all(&a, &mut batch);
        kept.extend(receive(&mut b, &mut buffers, 64));
    }
    assert!(kept.iter().enumerate().all(|(i, (_, bytes))| bytes[..] == frame(i, 300)[..]));
}

#[test]
fn a_receive_call_stops_at_the_wanted_number() {
    let (a, b) = (port(V4), port(V4));
    let mut batch = SendBatch::new(300);
    for i in 0..300 {
        batch.push(b.local_addr(), frame(i, 40)).unwrap();
    }
    send_all(&a, &mut batch);
    let mut buffers = RecvBuffers::new();
    // Over loopback what has been sent has arrived.
    let mut count = 0;
    assert_eq!(b.recv(&mut buffers, 100, |_, _| count += 1).unwrap(), 100);
    assert_eq!(count, 100);
    assert_eq!(b.recv(&mut buffers, 1000, |_, _| count += 1).unwrap(), 200);
    assert_eq!(b.recv(&mut buffers, 1000, |_, _| count += 1).unwrap(), 0);
}

#[test]
fn ports_share_an_address_only_when_asked() {
    let shared = UdpOptions { reuse_port: true, ..UdpOptions::default() };
    let first = UdpPort::bind(V4, &shared).unwrap();
    assert!(UdpPort::bind(first.local_addr(), &shared).is_ok());
    assert!(UdpPort::bind(first.local_addr(), &UdpOptions::default()).is_err());
    assert_eq!(first.receive_drops().unwrap(), 0);
}
