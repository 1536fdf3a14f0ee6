//! What the laboratory's NATs and firewalls really do, as a probe sees it. Needs root; says so
//! otherwise.
//!
//! A socket behind the gate sends to three places outside: where it is seen from is the mapping.
//! Then everybody sends there who was and was not sent to: who gets through is the filtering.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use trunkline_tools::lab::{GATE_PORT, Host, Lab, LabError, Nat};

type Outcome = Result<(), LabError>;

/// To whom the port outside belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mapping {
    /// The address inside is the one outside.
    None,
    /// All have one.
    Shared,
    /// Each address that is sent to has its own.
    ByAddress,
    /// Each address and port has its own.
    ByAddressAndPort,
}

/// Who is let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Filtering {
    Everybody,
    ByAddress,
    ByAddressAndPort,
}

fn socket(host: &Host, port: u16) -> Result<UdpSocket, LabError> {
    let socket = host.inside(|| UdpSocket::bind(("0.0.0.0", port)))?.expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    Ok(socket)
}

/// The next datagram that says `word`, and where it came from; none if none comes.
fn hear(socket: &UdpSocket, word: &[u8]) -> Option<SocketAddr> {
    let mut buffer = [0; 64];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((n, from)) if buffer.get(..n) == Some(word) => return Some(from),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return None,
        }
    }
}

/// What a gate of a kind does to one behind it.
fn probe(kind: Nat) -> Result<(Mapping, Filtering), LabError> {
    let Ok(mut lab) = Lab::new() else { panic!("there was a laboratory a moment ago") };
    let net = lab.net("net")?;
    let gate = lab.gate("gate", kind, &net, None)?;
    let (guest, inside) = lab.behind("guest", &gate)?;
    let mut places = Vec::new();
    for name in ["v", "w"] {
        let host = lab.host(name)?;
        let link = lab.link(&host, &net)?;
        host.ip(&["route", "add", "default", "via", &link.b.address.to_string()])?;
        places.push((host, link.a.address));
    }
    let [(v, v_at), (w, w_at)] = &places[..] else { unreachable!() };
    let us = socket(&guest, GATE_PORT)?;
    let (v1, v2, w1) = (socket(v, 1_001)?, socket(v, 1_002)?, socket(w, 1_001)?);

    // The filtering first: only one place has been sent to.
    us.send_to(b"first", (*v_at, 1_001)).expect("sent");
    let seen = hear(&v1, b"first").expect("what leaves gets there");
    v1.send_to(b"answer", seen).expect("sent");
    assert!(hear(&us, b"answer").is_some(), "{kind:?}: an answer comes in");
    let enters = |from: &UdpSocket, word: &[u8]| {
        from.send_to(word, seen).expect("sent");
        hear(&us, word).is_some()
    };
    let (port, address) = (enters(&v2, b"other port"), enters(&w1, b"other address"));
    let filtering = match (port, address) {
        (true, true) => Filtering::Everybody,
        (true, false) => Filtering::ByAddress,
        (false, false) => Filtering::ByAddressAndPort,
        (false, true) => panic!("{kind:?} lets in strangers and not those sent to"),
    };
    // Places that have not sent there themselves: the tracker takes what came unasked into account.
    let (v3, w3) = (socket(v, 1_003)?, socket(w, 1_003)?);
    us.send_to(b"second", (*v_at, 1_003)).expect("sent");
    us.send_to(b"third", (*w_at, 1_003)).expect("sent");
    let second = hear(&v3, b"second").expect("what leaves gets there");
    let third = hear(&w3, b"third").expect("what leaves gets there");
    let mapping = match (seen == second, seen == third) {
        (true, true) if seen.ip() == inside.a.address => Mapping::None,
        (true, true) => Mapping::Shared,
        (true, false) => Mapping::ByAddress,
        (false, _) => Mapping::ByAddressAndPort,
    };
    println!("{:<10} mapping {mapping:?}, filtering {filtering:?}", kind.label());
    Ok((mapping, filtering))
}

#[test]
fn each_kind_of_gate_maps_and_filters_as_its_name_says() -> Outcome {
    let Ok(_) = Lab::new() else { return Ok(()) };
    for (kind, mapping, filtering) in [
        (Nat::Open, Mapping::None, Filtering::Everybody),
        (Nat::Firewall, Mapping::None, Filtering::ByAddressAndPort),
        (Nat::Full, Mapping::Shared, Filtering::Everybody),
        (Nat::Address, Mapping::Shared, Filtering::ByAddress),
        (Nat::Port, Mapping::Shared, Filtering::ByAddressAndPort),
        (Nat::Bare, Mapping::Shared, Filtering::ByAddressAndPort),
        (Nat::Symmetric, Mapping::ByAddressAndPort, Filtering::ByAddressAndPort),
    ] {
        assert_eq!(probe(kind)?, (mapping, filtering), "{kind:?}");
    }
    Ok(())
}

/// Whether the guest's port outside stays the same towards somebody who sent there first.
fn keeps_its_port(kind: Nat) -> Result<bool, LabError> {
    let Ok(mut lab) = Lab::new() else { panic!("there was a laboratory a moment ago") };
    let net = lab.net("net")?;
    let gate = lab.gate("gate", kind, &net, None)?;
    let (guest, _) = lab.behind("guest", &gate)?;
    let v = lab.host("v")?;
    let link = lab.link(&v, &net)?;
    v.ip(&["route", "add", "default", "via", &link.b.address.to_string()])?;
    let (us, early) = (socket(&guest, GATE_PORT)?, socket(&v, 1_001)?);
    early.send_to(b"too early", (gate.outside.address, GATE_PORT)).expect("sent");
    assert_eq!(hear(&us, b"too early"), None, "nobody was sent to");
    us.send_to(b"hello", (link.a.address, 1_001)).expect("sent");
    let seen = hear(&early, b"hello").expect("what leaves gets there");
    Ok(seen.port() == GATE_PORT)
}

#[test]
fn what_comes_too_early_costs_the_port_only_where_nothing_drops_it() -> Outcome {
    let Ok(_) = Lab::new() else { return Ok(()) };
    assert!(keeps_its_port(Nat::Port)?);
    assert!(!keeps_its_port(Nat::Bare)?, "the tracker took it for a connection of the gate's own");
    Ok(())
}

#[test]
fn two_behind_one_gate_cannot_turn_round_at_it() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let net = lab.net("net")?;
    let gate = lab.gate("gate", Nat::Port, &net, None)?;
    let ((a, _), (b, at)) = (lab.behind("a", &gate)?, lab.behind("b", &gate)?);
    let v = lab.host("v")?;
    let link = lab.link(&v, &net)?;
    let (us, them, witness) = (socket(&a, 5_001)?, socket(&b, 5_002)?, socket(&v, 1_001)?);
    them.send_to(b"here", (link.a.address, 1_001)).expect("sent");
    let outside = hear(&witness, b"here").expect("what leaves gets there");
    us.send_to(b"round", outside).expect("sent");
    assert_eq!(hear(&them, b"round"), None, "no hairpin");
    us.send_to(b"inside", (at.a.address, 5_002)).expect("sent");
    assert!(hear(&them, b"inside").is_some(), "a household");
    gate.isolate()?;
    us.send_to(b"again", (at.a.address, 5_002)).expect("sent");
    assert_eq!(hear(&them, b"again"), None, "no household");
    Ok(())
}
