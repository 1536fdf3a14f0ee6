//! Two nodes that know only a relay reach each other through it, under every placement.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use bytes::Bytes;
use common::{PATIENCE, linked, listening, meet, plans};
use trunkline::config::Transport;
use trunkline::proto::base::Priority;
use trunkline::proto::proxy::{AllowList, Rule};
use trunkline::proto::stage::plan::Plan;
use trunkline::{Code, Engine, Failure, Namespace, Outbound, Sequence};

fn namespace() -> Namespace {
    Namespace::new("test").expect("a name")
}

/// A and B, each linked to a relay only.
fn trio(plan: Plan, transport: Transport, allow: AllowList) -> (Engine, Engine, Engine) {
    let relay = Engine::start(listening(0, plan, transport)).expect("a relay");
    let a = Engine::start(linked(1, plan, transport, &[&relay])).expect("a");
    let mut b = linked(2, plan, transport, &[&relay]);
    b.allow = allow;
    let b = Engine::start(b).expect("b");
    meet(&a, &b);
    (a, relay, b)
}

/// A TCP server that sends everything back, until its listener is dropped.
fn echo_server() -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serve = move || {
        let Ok((mut socket, _)) = listener.accept() else { return };
        let mut writer = socket.try_clone().expect("a second handle");
        std::io::copy(&mut socket, &mut writer).expect("an echo");
        writer.shutdown(Shutdown::Write).expect("an end");
    };
    #[allow(clippy::disallowed_methods, reason = "the test's own server")]
    (address, std::thread::spawn(serve))
}

fn allow(target: std::net::SocketAddr) -> AllowList {
    let (network, port) = (target.ip(), target.port());
    AllowList::new(vec![Rule { network, prefix: 32, first_port: port, last_port: port }])
}

#[test]
fn s14_n6_a_ping_crosses_the_relay_inside_a_line() {
    for (name, plan) in plans() {
        for transport in [Transport::Tls, Transport::Plain] {
            let (a, _relay, b) = trio(plan, transport, AllowList::default());
            let to = b.handle().hashname();
            for priority in [Priority::DEFAULT, Priority::HIGHEST] {
                let rtt = a.handle().ping(to, priority, 64, PATIENCE);
                assert!(rtt.is_ok(), "{name}, {transport}: {rtt:?}");
            }
        }
    }
}

#[test]
fn n12_a_trace_names_each_hop_in_order() {
    for (name, plan) in plans() {
        let (a, relay, b) = trio(plan, Transport::Tls, AllowList::default());
        let hops = a.handle().trace(b.handle().hashname(), PATIENCE, |_, _| {}).expect("a way");
        let nodes: Vec<_> = hops.iter().map(|h| h.node).collect();
        let expected = [relay.handle().hashname().address(), b.handle().hashname().address()];
        assert_eq!(nodes, expected, "{name}");
        assert!(hops[1].arrived && !hops[0].arrived);
    }
}

#[test]
fn n4_n5_messages_arrive_whole_sealed_or_plain_at_any_size() {
    for (name, plan) in plans() {
        let (a, _relay, b) = trio(plan, Transport::Plain, AllowList::default());
        let inbox = b.handle().subscribe(namespace(), None).expect("a subscription");
        for sealed in [true, false] {
            for size in [0usize, 1, 300, 16_292, 16_400, 100_000, (1 << 20) - 100] {
                let payload: Bytes = (0..size).map(|i| i as u8).collect::<Vec<_>>().into();
                let mut what = Outbound::to(namespace(), 7.into());
                what.sequence = Some(if sealed { Sequence::MA } else { Sequence::M });
                a.handle().notify(b.handle().hashname(), &what, payload.clone()).expect("sent");
                let got = inbox.next(PATIENCE).unwrap_or_else(|| {
                    panic!(
                        "{name}, sealed {sealed}, {size} bytes: {:?} {:?}",
                        a.handle().report(),
                        b.handle().report()
                    )
                });
                assert_eq!(got.record().len(), size, "{name} {sealed}");
                assert!(got.record() == payload && got.proved == sealed);
                assert_eq!(got.from, a.handle().hashname().address());
            }
        }
        let what = Outbound::to(namespace(), 7.into());
        let too_large = Bytes::from(vec![0; (1 << 20) + 1]);
        let back = a.handle().deliver(b.handle().hashname(), &what, too_large, PATIENCE);
        assert_eq!(back, Err(Failure::Code { code: Code::TooLarge, by: None, rule: 0 }), "{name}");
    }
}

#[test]
fn s11_s24_a_tcp_connection_is_carried_through_the_relay_with_both_its_ends() {
    for (name, plan) in plans() {
        let (server, serving) = echo_server();
        let (a, _relay, b) = trio(plan, Transport::Tls, allow(server));
        let local = "127.0.0.1:0".parse().expect("an address");
        let proxy = a.handle().proxy(b.handle().hashname(), &server.to_string(), local);
        let proxy = proxy.expect("a proxy");
        let mut socket = TcpStream::connect(proxy.local_addr()).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let sent: Vec<u8> = (0..3_000_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
        let mut writer = socket.try_clone().expect("a second handle");
        let copy = sent.clone();
        #[allow(clippy::disallowed_methods, reason = "reading while writing")]
        let writing = std::thread::spawn(move || {
            writer.write_all(&copy).expect("written");
            writer.shutdown(Shutdown::Write).expect("ended");
        });
        let mut got = Vec::new();
        socket.read_to_end(&mut got).unwrap_or_else(|e| panic!("{name}: {e}, {}", got.len()));
        assert!(got == sent, "{name}: {} bytes of {}", got.len(), sent.len());
        writing.join().expect("written");
        serving.join().expect("served");
    }
}

#[test]
fn s8_a_target_off_the_list_is_refused() {
    let (_, plan) = plans()[0];
    let (server, _serving) = echo_server();
    let (a, _relay, b) = trio(plan, Transport::Tls, AllowList::default());
    let local = "127.0.0.1:0".parse().expect("an address");
    let proxy = a.handle().proxy(b.handle().hashname(), &server.to_string(), local);
    let proxy = proxy.expect("a proxy");
    let mut socket = TcpStream::connect(proxy.local_addr()).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let end = socket.read(&mut [0; 10]);
    assert!(matches!(&end, Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset), "{end:?}");
    // The server's thread waits for a connection that must not come.
    TcpStream::connect(server).expect("the server, from here");
}
