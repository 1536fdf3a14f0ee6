//! Forged, replayed, stale and flooding announcements (N11).

use core::time::Duration;
use std::sync::Arc;

use proptest::prelude::*;

use super::convergence::ring;
use super::world::{MS, SEC, World};
use super::{member, stranger, word};
use crate::base::{Address, BootEpoch, DropReason, Drops, Limits, LinkId, Wall};
use crate::crypto::tests::{LIFE, NOW};
use crate::mesh::{Reach, Routing};
use crate::wire::announce::{DigestWriter, announcement_frame};
use crate::wire::link::{Capabilities, Cost, NodeName};

/// Node 0 knows node 1 over wire 0; 2 and more are for forging.
fn pair() -> World {
    let mut w = World::wired(2, 1, &[(0, 1)]);
    w.run(5 * SEC);
    w
}

fn refused(w: &mut World, body: &[u8]) -> Option<DropReason> {
    w.inject(0, 0, body).err()
}

fn known(w: &World, who: usize) -> bool {
    w.nodes[0].routing.node(w.now, &member(who).hashname().address()).is_some()
}

#[test]
fn n11_what_is_not_signed_by_its_origin_is_refused() {
    let mut w = pair();
    let genuine = word(&member(2), 1, 1, &[]);
    let mut forged = genuine.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(refused(&mut w, &forged), Some(DropReason::BadSignature));
    w.run(SEC);
    // Another's head over one's own signature.
    let mut other = word(&member(3), 1, 1, &[]).to_vec();
    other[8..24].copy_from_slice(member(2).hashname().address().as_bytes());
    assert_eq!(refused(&mut w, &other), Some(DropReason::BadSignature));
    w.run(SEC);
    assert!(!known(&w, 2) && !known(&w, 3));
    assert_eq!(refused(&mut w, &genuine), None);
    assert!(known(&w, 2));
}

#[test]
fn n11_another_space_and_ended_records_are_refused() {
    let mut w = pair();
    assert_eq!(refused(&mut w, &word(&stranger(), 1, 1, &[])), Some(DropReason::WrongSpace));
    let late = NOW.after(LIFE).after(Wall::TOLERANCE).after(SEC);
    let (now, body) = (w.now, word(&member(2), 1, 1, &[]));
    let done = w.nodes[0].routing.announcement(now, late, LinkId(0), &body);
    assert_eq!(done, Err(DropReason::Expired));
    let unknown_link = w.nodes[0].routing.announcement(now, NOW, LinkId(9), &body);
    assert_eq!(unknown_link, Err(DropReason::LinkDown));
}

#[test]
fn n11_replays_and_copies_change_nothing_and_are_answered_with_the_latest() {
    let mut w = pair();
    let (old, new) = (word(&member(2), 5, 1, &[]), word(&member(2), 5, 2, &[]));
    assert_eq!(refused(&mut w, &new), None);
    w.run(SEC);
    let sent = w.nodes[0].frames_sent;
    assert_eq!(refused(&mut w, &new), Some(DropReason::StaleAnnouncement));
    w.run(SEC);
    assert_eq!(w.nodes[0].frames_sent, sent, "a copy is not answered");
    for _ in 0..50 {
        assert_eq!(refused(&mut w, &old), Some(DropReason::StaleAnnouncement));
    }
    w.run(SEC);
    assert_eq!(w.nodes[0].frames_sent, sent + 1, "fifty replays at once get one answer");
    let order = w.nodes[0].routing.node(w.now, &member(2).hashname().address()).unwrap().order;
    assert_eq!(order.sequence, 2);
}

#[test]
fn n11_an_age_can_only_shorten_a_life() {
    let mut w = pair();
    let aged = |body: &[u8], age| announcement_frame(body, age).unwrap().slice(4..);
    let body = word(&member(2), 1, 1, &[]);
    assert_eq!(refused(&mut w, &aged(&body, 1_800)), Some(DropReason::Expired));
    assert_eq!(refused(&mut w, &aged(&body, 1_790)), None);
    assert_eq!(refused(&mut w, &aged(&body, 0)), Some(DropReason::StaleAnnouncement));
    w.run(15 * SEC);
    assert!(!known(&w, 2));
    // A replay of the dead is held again, and reaches nobody.
    assert_eq!(refused(&mut w, &body), None);
    w.run(SEC);
    let reach = w.nodes[0].routing.table().reach(&member(2).hashname().address());
    assert_eq!(reach, Some(Reach::Unlinked));
}

#[test]
fn n11_links_made_up_by_one_end_lead_nowhere() {
    let mut w = pair();
    let victim = w.address(0);
    let liar = word(&member(2), 1, 1, &[victim, w.address(1)]);
    let accomplice = word(&member(3), 1, 1, &[w.address(1), member(2).hashname().address()]);
    assert_eq!(refused(&mut w, &liar), None);
    assert_eq!(refused(&mut w, &accomplice), None);
    w.run(SEC);
    assert_eq!(w.next(0, 1), Some((0, 10)));
    let table = w.nodes[0].routing.table();
    assert_eq!(table.reach(&member(2).hashname().address()), Some(Reach::Unlinked));
    assert_eq!(table.reach(&member(3).hashname().address()), Some(Reach::Unlinked));
}

/// What a second of announcements, 100,000 of them, comes to.
fn flood(w: &mut World, bodies: impl Fn(u64) -> Vec<u8>) -> Drops {
    let mut drops = Drops::default();
    for n in 0..100_000 {
        if n % 100 == 0 {
            w.run(MS);
        }
        if let Some(reason) = refused(w, &bodies(n)) {
            drops.count(reason);
        }
    }
    drops
}

#[test]
fn n11_a_flood_of_forgeries_costs_a_few_signatures_a_second() {
    let mut w = pair();
    let genuine = word(&member(2), 1, 1, &[]);
    let drops = flood(&mut w, |n| {
        let mut forged = genuine.to_vec();
        forged[40..48].copy_from_slice(&n.to_be_bytes());
        forged[8..10].copy_from_slice(&(n as u16).to_be_bytes());
        forged
    });
    let verified = drops.of(DropReason::BadSignature);
    assert!((1..=8).contains(&verified), "{verified}");
    assert!(drops.of(DropReason::RateLimited) > 90_000);
}

#[test]
fn n11_a_flood_by_a_true_origin_is_held_to_its_pace_and_ends_with_the_last() {
    let mut w = World::wired(3, 1, &[(0, 1), (0, 2)]);
    w.run(5 * SEC);
    let before = w.nodes[0].frames_sent;
    let said: Vec<Vec<u8>> = (0..500).map(|n| word(&member(3), 7, n, &[]).to_vec()).collect();
    let drops = flood(&mut w, |n| said[(n / 200) as usize].clone());
    assert_eq!(drops.of(DropReason::BadSignature), 0);
    w.run(3 * SEC);
    let sent = w.nodes[0].frames_sent - before;
    assert!(sent <= 6, "{sent} announcements passed on in four seconds");
    let held = w.nodes[2].routing.node(w.now, &member(3).hashname().address()).unwrap();
    assert_eq!(held.order.sequence, 499, "the last word is not lost");
}

#[test]
fn n11_a_forger_does_not_hide_what_another_neighbour_brings() {
    let mut w = World::wired(3, 1, &[(0, 1), (0, 2)]);
    w.run(5 * SEC);
    for sequence in 1..=3 {
        assert_eq!(refused(&mut w, &word(&member(3), 7, sequence, &[])), None);
    }
    // The origin has used up its pace: what comes now waits, forgery and truth side by side.
    let mut forged = word(&member(3), 7, 99, &[]).to_vec();
    forged[40..48].copy_from_slice(&[0xff; 8]);
    assert_eq!(w.inject(0, 0, &forged), Ok(()));
    assert_eq!(w.inject(0, 1, &word(&member(3), 7, 4, &[])), Ok(()));
    w.run(3 * SEC);
    let held = w.nodes[0].routing.node(w.now, &member(3).hashname().address()).unwrap();
    assert_eq!(held.order.sequence, 4);
}

#[test]
fn n11_digests_that_ask_for_everything_again_and_again_are_refused() {
    let mut w = pair();
    let everything = DigestWriter::new(Address::new([0; 16]));
    let frame = everything.frame(Address::new([0xff; 16])).unwrap();
    let (now, mut refused) = (w.now, 0);
    for _ in 0..10_000 {
        let done = w.nodes[0].routing.digest(now, LinkId(0), &frame[4..]);
        refused += usize::from(done == Err(DropReason::RateLimited));
    }
    assert!(refused > 9_800, "{refused}");
    let before = w.nodes[0].frames_sent;
    w.run(10 * MS);
    assert!(w.nodes[0].frames_sent - before <= 3, "each entry is sent once");
}

#[test]
fn n11_a_full_table_keeps_who_is_in_reach() {
    let mut w = World::new(0, 1);
    w.limits = Limits { origins: 3, ..Limits::default() };
    for n in 0..3 {
        w.join(member(n));
    }
    w.wire(0, 1, [1, 1]);
    w.wire(1, 2, [1, 1]);
    w.run(5 * SEC);
    for n in 3..8 {
        let _ = w.inject(0, 0, &word(&member(n), 1, 1, &[]));
        w.run(SEC);
    }
    assert!((0..3).all(|n| known(&w, n)), "those in reach stay");
    assert!(known(&w, 7) && !known(&w, 3), "those out of reach make room");
    let mut w = World::new(0, 1);
    w.limits = Limits { origins: 2, ..Limits::default() };
    for n in 0..3 {
        w.join(member(n));
    }
    w.wire(0, 1, [1, 1]);
    w.wire(1, 2, [1, 1]);
    w.run(5 * SEC);
    assert_eq!(refused(&mut w, &word(&member(3), 1, 1, &[])), Some(DropReason::TableFull));
}

#[test]
fn n2_links_beyond_the_limits_and_to_oneself_are_not_taken() {
    let limits = Limits { links: 3, neighbours: 2, ..Limits::default() };
    let chance = crate::base::Chance::from_number(1);
    let (name, can) = (NodeName::default(), Capabilities(0));
    let mut r = Routing::new(member(0), BootEpoch(1), name, can, &limits, chance);
    let now = crate::base::Instant::ZERO;
    let mut up =
        |link, n: usize| r.link_up(now, LinkId(link), member(n).record(), BootEpoch(1), Cost::ONE);
    assert_eq!(up(1, 0), Err(DropReason::Misaddressed));
    assert_eq!(up(1, 1), Ok(()));
    assert_eq!(up(1, 2), Err(DropReason::Replayed));
    assert_eq!(up(2, 2), Ok(()));
    assert_eq!(up(3, 3), Err(DropReason::TableFull), "a third neighbour");
    assert_eq!(up(3, 2), Ok(()));
    assert_eq!(up(4, 2), Err(DropReason::TableFull), "a fourth link");
    r.link_down(now, LinkId(77));
    r.set_cost(now, LinkId(77), Cost::ONE);
    assert_eq!(r.links(now).count(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn n11_a_bit_flipped_anywhere_but_in_the_age_is_refused(at in 2usize..2_000, bit in 0u8..8) {
        let chance = crate::base::Chance::from_number(1);
        let limits = Limits::default();
        let (name, can) = (NodeName::default(), Capabilities(0));
        let mut r = Routing::new(member(0), BootEpoch(1), name, can, &limits, chance);
        let now = crate::base::Instant::ZERO + Duration::from_secs(1);
        let peer = Arc::clone(member(1).record());
        r.link_up(now, LinkId(1), &peer, BootEpoch(1), Cost::ONE).unwrap();
        let mut body = word(&member(2), 1, 1, &[member(1).hashname().address()]).to_vec();
        let at = 2 + at % (body.len() - 2);
        body[at] ^= 1 << bit;
        prop_assert!(r.announcement(now, NOW, LinkId(1), &body).is_err());
        prop_assert_eq!(r.nodes(now).count(), 0);
    }

    #[test]
    fn n11_no_bytes_make_a_routing_panic(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        start in prop::collection::vec(any::<u8>(), 54),
    ) {
        let mut w = pair();
        let now = w.now;
        for mut body in bodies {
            let _ = w.nodes[0].routing.digest(now, LinkId(0), &body);
            let _ = w.nodes[0].routing.announcement(now, NOW, LinkId(0), &body);
            body.splice(0..0, start.iter().copied());
            body[2..4].copy_from_slice(&[1, 0]);
            let _ = w.nodes[0].routing.announcement(now, NOW, LinkId(0), &body);
        }
        w.run(SEC);
        prop_assert_eq!(w.next(0, 1), Some((0, 10)));
    }
}

#[test]
fn n11_a_hundred_thousand_announcements_a_second_hold_up_no_change_of_others() {
    // Nobody is behind the hostile neighbour alone: with it, it could keep anything of theirs.
    let mut w = World::wired(6, 1, &[ring(6), vec![(0, 3)]].concat());
    w.run(10 * SEC);
    let genuine = word(&member(7), 1, 1, &[]);
    let old = word(&member(2), 0, 1, &[]);
    for n in 0u32..100_000 {
        if n % 100 == 0 {
            w.run(MS);
        }
        match n {
            30_000 => w.cut(3),
            60_000 => w.raise(3),
            // Less than a quarter of a second after the change, under way all the time.
            54_000 | 84_000 => w.assert_converged(),
            _ => {}
        }
        let body = match n % 3 {
            0 => old.to_vec(),
            1 => genuine.to_vec(),
            _ => {
                let mut forged = genuine.to_vec();
                forged[44..48].copy_from_slice(&n.to_be_bytes());
                forged
            }
        };
        let _ = refused(&mut w, &body);
    }
    w.run(2 * SEC);
    w.assert_converged();
}
