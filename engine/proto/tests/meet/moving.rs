//! A line moves to the best path there is, and back, and loses nothing on the way.

use bytes::Bytes;
use trunkline_proto::base::Priority;
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;
use trunkline_proto::switch::meet::Terms;
use trunkline_proto::switch::streams::Open;
use trunkline_proto::switch::{Introduction, Path};

use super::world::{MS, Nat, SECOND, WALL, World, guest, relay};

fn met(a: Nat, b: Nat) -> (World, usize, usize, usize) {
    let mut w = World::new();
    let v = w.add(Nat::Open, relay());
    let a = w.add(a, guest(&w, v));
    let b = w.add(b, guest(&w, v));
    for guest in [a, b] {
        w.introduce(guest, v, true);
    }
    let peer = w.hashname(b);
    w.pass(SECOND);
    w.ping(a, peer, 1);
    assert!(w.until(10 * SECOND, |w| w.answer(a, 1).is_some()));
    (w, v, a, b)
}

#[test]
fn b1_a_line_falls_back_to_the_relay_and_returns_without_a_lost_or_doubled_byte() {
    let (mut w, _, a, b) = met(Nat::Port, Nat::Port);
    assert!(w.until(10 * SECOND, |w| w.is_direct(a, b)));
    let peer = w.hashname(b);
    let now = w.now;
    let key = w.places[a].shard.open_stream(now, WALL, peer, Open::Generic, Priority::DEFAULT);
    let key = key.unwrap();
    let sent: Vec<u8> = (0..4_000_000u32).map(|n| (n >> 3) as u8 ^ n as u8).collect();
    let mut rest = Bytes::from(sent.clone());
    let (mut relayed, mut direct_again) = (false, false);
    for step in 0..60_000 {
        if !rest.is_empty() {
            let mut piece = rest.split_to(rest.len().min(2_000));
            let now = w.now;
            let _ = w.places[a].shard.write_stream(key, &mut piece);
            let mut back = piece.to_vec();
            back.extend_from_slice(&rest);
            if !piece.is_empty() {
                rest = back.into();
            }
            w.places[a].shard.flush(now, WALL);
        }
        match step {
            500 => drop(w.cut.insert((a, b))),
            8_000 => drop(w.cut.remove(&(a, b))),
            _ => {}
        }
        w.pass(MS);
        relayed |= step > 500 && matches!(w.path(a, b), Some(Path::Bridge(_)));
        direct_again |= step > 8_000 && w.is_direct(a, b);
        let got = w.places[b].read.values().next().map_or(0, Vec::len);
        if got == sent.len() && direct_again {
            break;
        }
    }
    assert!(relayed, "never fell back: {:?}", w.contact(a, b));
    assert!(direct_again, "never came back: {:?}", w.contact(a, b));
    let got = w.places[b].read.values().next().unwrap();
    assert_eq!(got.len(), sent.len());
    assert!(*got == sent, "bytes differ");
}

#[test]
fn s22_both_ends_go_direct_though_the_relay_is_the_faster_way() {
    // What is said over the relay overtakes the tries, which alone tell the port of a symmetric NAT.
    for (kind_a, kind_b) in [(Nat::Address, Nat::Symmetric), (Nat::Symmetric, Nat::Address)] {
        let mut w = World::new();
        let v = w.add(Nat::Open, relay());
        let a = w.add(kind_a, guest(&w, v));
        let b = w.add(kind_b, guest(&w, v));
        w.slow.insert((a, b), 15 * MS);
        for guest in [a, b] {
            w.introduce(guest, v, true);
        }
        let peer = w.hashname(b);
        w.pass(SECOND);
        w.ping(a, peer, 1);
        let direct = w.until(20 * SECOND, |w| w.is_direct(a, b));
        assert!(direct, "{kind_a:?}: {:?} {:?}", w.contact(a, b), w.contact(b, a));
    }
}

#[test]
fn s22_a_peer_whose_nat_gives_it_another_port_is_followed() {
    let (mut w, _, a, b) = met(Nat::Open, Nat::Address);
    assert!(w.until(5 * SECOND, |w| w.is_direct(a, b)));
    w.pass(SECOND);
    // The NAT forgets: packets of b come from another port from now on.
    w.places[b].outside.set_port(5_555);
    w.places[b].forget();
    let peer = w.hashname(a);
    // What is answered to the old port is lost, but it tells where the new one is.
    w.ping(b, peer, 3);
    w.pass(2 * SECOND);
    w.ping(b, peer, 4);
    assert!(
        w.until(SECOND, |w| w.answer(b, 4).is_some()),
        "{:?} {:?}",
        w.contact(a, b),
        w.contact(b, a)
    );
    let at = w.places[b].outside;
    assert!(
        w.until(10 * SECOND, |w| w.path(a, b) == Some(Path::Direct(at))),
        "{:?}",
        w.contact(a, b)
    );
}

#[test]
fn s22_a_bridge_in_use_is_asked_for_again_and_lasts() {
    let (mut w, v, a, b) = met(Nat::Symmetric, Nat::Symmetric);
    assert!(matches!(w.path(a, b), Some(Path::Bridge(_))));
    let peer = w.hashname(b);
    for minute in 0..25 {
        w.ping(a, peer, 100 + minute);
        w.pass(60 * SECOND);
        let pong = w.answer(a, 100 + minute);
        assert!(
            matches!(pong, Some(trunkline_proto::switch::Answer::Pong(_))),
            "{minute}: {pong:?}"
        );
    }
    assert!(w.places[v].shard.switch().unwrap().counters().carried > 50);
}

/// Two nodes that cannot reach each other and have a line over a relay.
fn over_a_relay() -> (World, usize, usize, usize) {
    let mut w = World::new();
    let v = w.add(Nat::Open, relay());
    let [a, b] = [(); 2].map(|()| w.add(Nat::Open, guest(&w, v)));
    w.cut.insert((a, b));
    for guest in [a, b] {
        w.introduce(guest, v, true);
    }
    let peer = w.hashname(b);
    w.pass(SECOND);
    w.ping(a, peer, 1);
    assert!(w.until(10 * SECOND, |w| w.answer(a, 1).is_some()));
    assert!(matches!(w.path(a, b), Some(Path::Bridge(_))));
    (w, v, a, b)
}

#[test]
fn s22_a_bridge_follows_its_relay_to_another_address() {
    let (mut w, v, a, b) = over_a_relay();
    let before = w.path(a, b);
    let at: std::net::SocketAddr = ([203, 0, 77, 1], 5_555).into();
    w.places[v].outside = at;
    // The relay looks after its lines, so it is heard from there within a tick.
    let moved = |w: &World, from, to| match w.path(from, to) {
        Some(Path::Bridge(bridge)) => bridge.relay == at,
        _ => false,
    };
    assert!(
        w.until(60 * SECOND, |w| moved(w, a, b) && moved(w, b, a)),
        "{:?} {:?}",
        w.contact(a, b),
        w.contact(b, a)
    );
    let (Some(Path::Bridge(old)), Some(Path::Bridge(new))) = (before, w.path(a, b)) else {
        panic!()
    };
    assert_eq!(old.line, new.line, "it is the same bridge");
    let carried = w.places[v].shard.switch().unwrap().counters().carried;
    let peer = w.hashname(b);
    w.ping(a, peer, 2);
    assert!(w.until(SECOND, |w| w.answer(a, 2).is_some()), "{:?}", w.contact(a, b));
    assert!(w.places[v].shard.switch().unwrap().counters().carried >= carried + 2);
    // And it is asked for again there, so that it lasts.
    for minute in 0..12 {
        w.ping(a, peer, 100 + minute);
        w.pass(60 * SECOND);
        let pong = w.answer(a, 100 + minute);
        assert!(matches!(pong, Some(trunkline_proto::switch::Answer::Pong(_))), "{minute}");
    }
}

#[test]
fn s22_a_relay_that_sends_from_a_second_address_carries() {
    let (mut w, v, a, b) = over_a_relay();
    w.places[v].speaks_from = Some(([203, 0, 77, 1], 5_555).into());
    let peer = w.hashname(b);
    w.ping(a, peer, 2);
    assert!(w.until(SECOND, |w| w.answer(a, 2).is_some()), "{:?}", w.contact(a, b));
    let at = w.places[v].outside;
    assert!(matches!(w.path(a, b), Some(Path::Bridge(bridge)) if bridge.relay == at));
}

#[test]
fn s17_new_keys_are_made_over_the_path_in_use_and_no_other() {
    let mut w = World::new();
    let v = w.add(Nat::Open, relay());
    let a = w.add(Nat::Open, guest(&w, v));
    w.introduce(a, v, true);
    assert!(w.until(5 * SECOND, |w| w.is_direct(a, v)));
    // Somebody once said that it may be there, too.
    let elsewhere: std::net::SocketAddr = ([198, 51, 100, 7], 9).into();
    let said = Introduction::Seen { peer: w.hashname(v), at: vec![elsewhere] };
    w.post(a, Role::Partition(0), Post::Introduce(said));
    w.pass(300 * SECOND);
    assert!(w.is_direct(a, v));
    assert!(w.places[a].shard.switch().unwrap().counters().renewals >= 2);
    assert_eq!(w.bytes.get(&elsewhere), None);
}

#[test]
fn s22_relays_that_refuse_cost_no_time() {
    let mut w = World::new();
    let relays: Vec<_> = [0, 0, 0, 0, 0, 64]
        .into_iter()
        .map(|bridges| w.add(Nat::Open, Terms { bridges, ..relay() }))
        .collect();
    let introducers: Vec<_> = relays.iter().map(|r| w.hashname(*r)).collect();
    let [a, b] = [(); 2].map(|()| {
        let introducers = introducers.clone();
        let g = w.add(Nat::Symmetric, Terms { introducers, ..Terms::default() });
        relays.iter().for_each(|r| w.introduce(g, *r, true));
        g
    });
    w.pass(2 * SECOND);
    let peer = w.hashname(b);
    w.ping(a, peer, 1);
    assert!(w.until(4 * SECOND, |w| w.answer(a, 1).is_some()), "{:?}", w.contact(a, b));
    assert!(matches!(w.path(a, b), Some(Path::Bridge(_))), "{:?}", w.contact(a, b));
}
