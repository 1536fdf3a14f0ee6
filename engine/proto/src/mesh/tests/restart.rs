//! Nodes that start again, renew their keys, or run twice (N11).

use std::sync::Arc;

use super::world::{MS, SEC, World};
use super::{member, word};
use crate::base::{BootEpoch, Chance, DropReason, LinkId};
use crate::crypto::Purpose;
use crate::crypto::tests::{LIFE, NOW};
use crate::mesh::RoutingOutput;
use crate::wire::link::Cost;

const LINE: [(usize, usize); 4] = [(0, 1), (1, 2), (2, 3), (3, 4)];

fn epoch_of(w: &World, at: usize, of: usize) -> u64 {
    w.nodes[at].routing.node(w.now, &w.address(of)).unwrap().order.epoch.0
}

fn told_cloned(w: &World, at: usize, whom: usize) -> usize {
    let told = RoutingOutput::Cloned(w.hashname(whom));
    w.nodes[at].events.iter().filter(|e| **e == told).count()
}

#[test]
fn n11_a_restarted_node_outruns_what_it_said_before() {
    for (boot, outruns) in [(1, true), (u64::MAX - 1, false)] {
        let mut w = World::wired(5, 1, &LINE);
        w.run(10 * SEC);
        let before = epoch_of(&w, 0, 2);
        w.restart(2, BootEpoch(boot));
        w.run(2 * SEC);
        w.assert_converged();
        let expected = if outruns { before + 1 } else { boot };
        assert_eq!(epoch_of(&w, 0, 2), expected);
        assert!((0..5).all(|n| told_cloned(&w, n, 2) == 0), "a restart is not a clone");
    }
}

#[test]
fn n11_a_restart_is_told_also_to_a_part_that_was_away() {
    let mut w = World::wired(5, 1, &LINE);
    w.run(10 * SEC);
    w.cut(3);
    w.run(10 * SEC);
    for boot in [3, 2, 1] {
        w.restart(2, BootEpoch(boot));
        w.run(5 * SEC);
    }
    w.raise(3);
    w.run(2 * SEC);
    w.assert_converged();
    assert_eq!(told_cloned(&w, 2, 2), 0);
}

#[test]
fn n11_one_word_of_the_past_from_every_neighbour_is_one_word() {
    let mut w = World::wired(2, 1, &[(0, 1)]);
    w.run(5 * SEC);
    let past = word(&member(0), u64::MAX - 5, 4, &[]);
    let heard: Vec<_> = (0..10).map(|_| w.inject(0, 0, &past)).collect();
    assert!(heard[0].is_ok(), "{heard:?}");
    assert!(heard[1..].iter().all(|h| *h == Err(DropReason::StaleAnnouncement)), "{heard:?}");
    w.run(2 * SEC);
    w.assert_converged();
    assert_eq!(told_cloned(&w, 0, 0), 0);
    assert_eq!(epoch_of(&w, 1, 0), u64::MAX - 4);
}

#[test]
fn n11_at_the_end_of_all_epochs_sequences_go_on() {
    let mut w = World::wired(3, 1, &[(0, 1), (1, 2)]);
    w.run(5 * SEC);
    w.restart(2, BootEpoch(u64::MAX));
    w.run(5 * SEC);
    w.restart(2, BootEpoch(5));
    w.run(5 * SEC);
    w.assert_converged();
    assert_eq!(epoch_of(&w, 0, 2), u64::MAX);
}

#[test]
fn n11_two_processes_with_one_identity_are_reported_and_do_not_shout() {
    let mut w = World::wired(4, 1, &[(0, 1), (1, 2), (2, 3)]);
    let copy = w.join(member(0));
    w.wire(copy, 3, [10, 10]);
    w.run(60 * SEC);
    let told = [0, copy].map(|n| told_cloned(&w, n, 0));
    assert!(told.iter().all(|n| *n > 0), "{told:?}");
    let told_before = told_cloned(&w, 0, 0) + told_cloned(&w, copy, 0);
    w.run(3_600 * SEC);
    let told = told_cloned(&w, 0, 0) + told_cloned(&w, copy, 0) - told_before;
    assert!((10..=130).contains(&told), "{told} times in an hour");
}

#[test]
fn n11_a_neighbour_that_lives_twice_is_reported_and_a_restarted_one_is_not() {
    let mut w = World::new(2, 1);
    w.wire(0, 1, [10, 10]);
    w.run(5 * SEC);
    // The new process is here before the end of the old link is noticed.
    let (peer, cost) = (Arc::clone(member(1).record()), Cost::ONE);
    let now = w.now;
    let routing = &mut w.nodes[0].routing;
    routing.link_up(now, LinkId(70), &peer, BootEpoch(70), cost).unwrap();
    routing.link_down(now + 750 * MS, LinkId(0));
    for n in 1..20 {
        routing.handle_timeout(now + SEC * n, NOW);
    }
    let told = |o: &RoutingOutput| matches!(o, RoutingOutput::Cloned(_));
    let later = now + 20 * SEC;
    assert!(!core::iter::from_fn(|| routing.poll(later)).any(|o| told(&o)));
    routing.link_up(later, LinkId(71), &peer, BootEpoch(71), cost).unwrap();
    routing.handle_timeout(later + 6 * SEC, NOW);
    assert!(core::iter::from_fn(|| routing.poll(later + 6 * SEC)).any(|o| told(&o)));
}

#[test]
fn n11_renewed_keys_are_learned_and_end_what_the_old_ones_sign() {
    let mut w = World::wired(3, 1, &[(0, 1), (1, 2)]);
    w.run(5 * SEC);
    let old = member(2);
    let renewed = Arc::new(old.renew(&mut Chance::from_number(1), NOW, LIFE).unwrap());
    w.nodes[2].identity = Arc::clone(&renewed);
    w.nodes[2].routing.renew(w.now, Arc::clone(&renewed));
    w.run(2 * SEC);
    w.assert_converged();
    let learned = RoutingOutput::Learned(Arc::clone(renewed.record()));
    assert!(w.nodes[0].events.contains(&learned));
    // A thief of the old signing key says the last word there is under it.
    let stolen = word(&old, u64::MAX, u64::MAX, &[]);
    assert!(w.inject(1, 0, &stolen).is_err());
    w.run(2 * SEC);
    w.assert_converged();
    // Nor by a serial its record does not bear.
    let mut lying = stolen.to_vec();
    lying[24..32].copy_from_slice(&u64::MAX.to_be_bytes());
    let end = lying.len() - 64;
    let signature = old.sign(Purpose::Announcement, &lying[2..end]);
    lying[end..].copy_from_slice(&signature);
    w.run(SEC);
    assert_eq!(w.inject(1, 0, &lying), Err(DropReason::BadSignature));
    w.run(2 * SEC);
    w.assert_converged();
    // And a process that still runs on the old keys is told.
    w.restart(2, BootEpoch(9));
    let (us, now, wall) = (w.hashname(2), w.now, w.wall());
    assert_eq!(us, old.hashname());
    w.nodes[2].routing.renew(now, Arc::clone(&old));
    w.run(2 * SEC);
    let newer = word(&renewed, 1, 1, &[]);
    let _ = w.nodes[2].routing.announcement(now, wall, LinkId(1), &newer);
    w.run(SEC);
    let superseded = RoutingOutput::Superseded(renewed.record().serial());
    assert!(w.nodes[2].events.contains(&superseded));
}
