//! What one says to all, and what somebody hostile makes of it (N7, N8).

use std::sync::Arc;

use bytes::BytesMut;

use super::convergence::{random, ring, tree};
use super::world::{MS, SEC, Weather, World};
use super::{MEMBERS, member};
use crate::base::{BootEpoch, Chance, DropReason, Drops, LinkId, Priority};
use crate::crypto::tests::{LIFE, NOW};
use crate::crypto::{Identity, Purpose};
use crate::mesh::{Arrival, RoutingOutput};
use crate::wire::broadcast::{Draft, PAYLOAD_MAX};
use crate::wire::package::Sequence;

impl World {
    fn broadcast(&mut self, from: usize, payload: &[u8]) -> Result<u64, DropReason> {
        let (now, priority) = (self.now, Priority::DEFAULT);
        self.nodes[from].routing.broadcast(now, priority, Sequence::M, payload)
    }

    fn arrivals(&self, at: usize) -> Vec<&Arrival> {
        let events = self.nodes[at].events.iter();
        events
            .filter_map(|o| if let RoutingOutput::Arrived(a) = o { Some(a) } else { None })
            .collect()
    }

    /// A frame reaches a node over a wire.
    fn hear(&mut self, to: usize, wire: usize, frame: &[u8]) -> Result<(), DropReason> {
        let (now, link) = (self.now, LinkId(wire as u32));
        self.nodes[to].routing.hear_broadcast(
            now,
            (link, Default::default()),
            BytesMut::from(frame),
        )
    }
}

fn frame(who: &Identity, epoch: BootEpoch, sequence: u64, ttl: u8) -> Vec<u8> {
    let draft = Draft {
        ttl,
        priority: Priority::DEFAULT,
        letters: Sequence::M,
        origin: who.hashname().address(),
        epoch,
        sequence,
        payload: &sequence.to_be_bytes(),
    };
    draft.sign(|bytes| who.sign(Purpose::Broadcast, bytes)).unwrap().to_vec()
}

fn full(n: usize) -> Vec<(usize, usize)> {
    (0..n).flat_map(|a| (0..a).map(move |b| (a, b))).collect()
}

/// The run that node `of` announces itself by.
fn epoch(w: &World, of: usize) -> BootEpoch {
    w.nodes[of].routing.node(w.now, &w.address(of)).unwrap().order.epoch
}

#[test]
fn n7_n8_every_node_gets_one_copy_and_no_link_carries_it_twice_one_way() {
    for wires in [tree(12), ring(9), full(8), random(MEMBERS, 5), vec![(0, 1)]] {
        let n = 1 + wires.iter().flat_map(|(a, b)| [*a, *b]).max().unwrap();
        let mut w = World::wired(n, 1, &wires);
        w.run(5 * SEC);
        for from in 0..n {
            w.broadcast(from, &[from as u8]).unwrap();
        }
        w.run(2 * SEC);
        for at in 0..n {
            let mut got: Vec<u8> = w.arrivals(at).iter().map(|a| a.payload[0]).collect();
            assert!(w.arrivals(at).iter().all(|a| a.origin == w.hashname(a.payload[0].into())));
            got.sort_unstable();
            let others: Vec<u8> = (0..n as u8).filter(|m| usize::from(*m) != at).collect();
            assert_eq!(got, others, "at {at} of {n}");
        }
        let frames: u64 = w.nodes.iter().map(|n| n.routing.broadcasts().frames).sum();
        let copies = frames as usize - n * (n - 1);
        let links = {
            let mut pairs: Vec<_> = wires.iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            pairs.sort_unstable();
            pairs.dedup();
            pairs.len()
        };
        assert!(copies <= n * (2 * links + 1 - n), "{copies} copies too many over {links} links");
        let counted: u64 = w.nodes.iter().map(|n| n.drops.of(DropReason::Duplicate)).sum();
        assert_eq!(counted as usize, copies, "each is counted");
    }
}

#[test]
fn n8_what_weather_doubles_is_heard_once_and_what_it_reorders_is_heard() {
    let mut w = World::wired(10, 7, &random(10, 7));
    w.run(20 * SEC);
    w.weather = Weather { doubled: 400_000, late: 400_000, lost: 0 };
    for n in 0..200 {
        assert_eq!(w.broadcast(3, &[n]), Ok(u64::from(n) + 1));
        w.run(25 * MS);
    }
    w.run(5 * SEC);
    for at in (0..10).filter(|at| *at != 3) {
        let mut got: Vec<u8> = w.arrivals(at).iter().map(|a| a.payload[0]).collect();
        got.sort_unstable();
        assert_eq!(got, (0..200).collect::<Vec<u8>>(), "at {at}");
    }
}

#[test]
fn n8_a_broadcast_goes_as_many_links_as_its_time_to_live() {
    let line: Vec<_> = (0..20).map(|n| (n, n + 1)).collect();
    let mut w = World::wired(21, 1, &line);
    w.run(10 * SEC);
    w.broadcast(0, b"far").unwrap();
    w.run(2 * SEC);
    let heard: Vec<usize> = (1..21).filter(|at| w.arrivals(*at).len() == 1).collect();
    assert_eq!(heard, (1..=16).collect::<Vec<_>>());
}

#[test]
fn n7_a_node_sends_fifty_a_second_and_no_more_than_a_frame() {
    let mut w = World::wired(3, 1, &[(0, 1), (1, 2)]);
    w.run(5 * SEC);
    let mut sent = 0;
    for _ in 0..1_000 {
        sent += u32::from(w.broadcast(0, b"storm").is_ok());
        w.run(10 * MS);
    }
    assert!((500..=551).contains(&sent), "{sent} in ten seconds");
    w.run(SEC);
    assert_eq!(w.arrivals(2).len(), sent as usize, "what was sent arrives");
    assert_eq!(w.broadcast(0, &vec![0; PAYLOAD_MAX + 1]), Err(DropReason::Oversized));
    assert!(w.broadcast(0, &vec![0; PAYLOAD_MAX]).is_ok());
    w.run(SEC);
    assert_eq!(w.arrivals(2).last().unwrap().payload.len(), PAYLOAD_MAX);
}

#[test]
fn n8_a_storm_signed_by_its_origin_is_held_to_its_rate_at_the_first_hop() {
    let mut w = World::wired(4, 1, &[(0, 1), (0, 2), (2, 3)]);
    w.run(5 * SEC);
    let (origin, epoch) = (member(1), epoch(&w, 1));
    let mut drops = Drops::default();
    for n in 0..20_000 {
        if n % 10 == 0 {
            w.run(MS);
        }
        // The same signature over another number would do as well: they are not looked at.
        let body = frame(&origin, epoch, 1_000_000 + n % 1_500, 16);
        if let Err(reason) = w.hear(0, 0, &body) {
            drops.count(reason);
        }
    }
    w.run(SEC);
    let heard = w.arrivals(0).len();
    assert!((150..=210).contains(&heard), "{heard} in two seconds");
    assert_eq!(w.arrivals(3).len(), heard, "and no more leave it");
    assert_eq!(drops.total() as usize, 20_000 - heard);
    assert!(drops.of(DropReason::RateLimited) > 0 && drops.of(DropReason::BadSignature) == 0);
}

#[test]
fn n8_a_flood_of_forgeries_costs_a_few_signatures_a_second_and_harms_no_origin() {
    let mut w = World::wired(4, 1, &[(0, 1), (0, 2), (0, 3)]);
    w.run(5 * SEC);
    let genuine = frame(&member(2), epoch(&w, 2), 100, 16);
    let mut drops = Drops::default();
    for n in 0u64..100_000 {
        if n % 100 == 0 {
            w.run(MS);
        }
        let mut forged = genuine.clone();
        forged[36..44].copy_from_slice(&(n + 101).to_be_bytes());
        if let Err(reason) = w.hear(0, 0, &forged) {
            drops.count(reason);
        }
    }
    let verified = drops.of(DropReason::BadSignature);
    assert!((1..=8).contains(&verified), "{verified}");
    assert_eq!(drops.total(), 100_000);
    // The same origin is heard all the time by way of honest neighbours.
    assert_eq!(w.hear(0, 1, &genuine), Ok(()));
    w.broadcast(2, b"still here").unwrap();
    w.run(SEC);
    assert_eq!(w.arrivals(3).len(), 2);
}

#[test]
fn n8_replays_are_told_by_number_run_and_reach() {
    let mut w = World::wired(4, 1, &[(0, 1), (1, 2), (2, 3)]);
    w.run(5 * SEC);
    let of_first_run = epoch(&w, 3);
    let old: Vec<Vec<u8>> = (1..20).map(|n| frame(&member(3), of_first_run, n, 16)).collect();
    for body in &old {
        assert_eq!(w.hear(0, 0, body), Ok(()));
    }
    for _ in 0..100 {
        assert!(old.iter().all(|b| w.hear(0, 0, b) == Err(DropReason::Duplicate)));
    }
    // Another time to live does not make it another one.
    let mut younger = old[0].clone();
    younger[4] = 200;
    assert_eq!(w.hear(0, 0, &younger), Err(DropReason::Duplicate));
    // The next run of the origin ends this one, also for what was never heard of it.
    w.restart(3, BootEpoch(1));
    w.run(5 * SEC);
    assert!(epoch(&w, 3) > of_first_run);
    let unheard = frame(&member(3), of_first_run, 77, 16);
    assert_eq!(w.hear(0, 0, &unheard), Err(DropReason::Replayed));
    w.broadcast(3, b"again").unwrap();
    w.run(SEC);
    assert_eq!(w.arrivals(0).last().unwrap().payload, &b"again"[..]);
    // Nor are the dead heard.
    w.cut(2);
    w.run(5 * SEC);
    let late = frame(&member(3), epoch(&w, 3), 78, 16);
    assert_eq!(w.hear(0, 0, &late), Err(DropReason::NoRoute));
    let unknown = frame(&member(9), BootEpoch(1), 1, 16);
    assert_eq!(w.hear(0, 0, &unknown), Err(DropReason::NoRoute));
    assert_eq!(w.hear(0, 9, &unknown), Err(DropReason::LinkDown));
}

#[test]
fn n8_renewed_keys_sign_from_then_on() {
    let mut w = World::wired(3, 1, &[(0, 1), (1, 2)]);
    w.run(5 * SEC);
    w.broadcast(2, b"one").unwrap();
    let old = member(2);
    let renewed = Arc::new(old.renew(&mut Chance::from_number(1), NOW, LIFE).unwrap());
    w.nodes[2].identity = Arc::clone(&renewed);
    w.nodes[2].routing.renew(w.now, renewed);
    w.run(2 * SEC);
    w.broadcast(2, b"two").unwrap();
    w.run(SEC);
    let got: Vec<_> = w.arrivals(0).iter().map(|a| a.payload.clone()).collect();
    assert_eq!(got, [&b"one"[..], b"two"]);
    let stolen = frame(&old, epoch(&w, 2), 50, 16);
    assert_eq!(w.hear(0, 0, &stolen), Err(DropReason::BadSignature));
}
