//! Sealed packets: accepted at most once, never wrongly, and only while the keys are young.

use core::time::Duration;

use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::base::{Chance, DropReason, Instant, Limits};
use crate::crypto::{KeysState, Session, TAG_LEN};

fn pair(seed: u64) -> (Session, Session) {
    let mut chance = Chance::from_number(seed);
    let keys = Zeroizing::new([chance.bytes(), chance.bytes()]);
    let end = |initiated| Session::new(&keys, initiated, Instant::ZERO).unwrap();
    (end(true), end(false))
}

fn seal(from: &mut Session, ad: &[u8], plain: &[u8]) -> (u64, Vec<u8>) {
    let mut bytes = plain.to_vec();
    let (counter, tag) = from.seal_in_place(ad, &mut bytes).unwrap();
    bytes.extend_from_slice(&tag);
    (counter, bytes)
}

fn open(at: &mut Session, counter: u64, ad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, DropReason> {
    at.open_in_place(counter, ad, &mut sealed.to_vec()).map(|plain| plain.to_vec())
}

#[test]
fn s20_what_one_end_seals_the_other_opens() {
    let (mut a, mut b) = pair(1);
    assert!(a.initiated() && !b.initiated() && !b.confirmed());
    for (n, len) in [0usize, 1, 15, 16, 17, 1_200, 16_384].into_iter().enumerate() {
        let plain = vec![0xab; len];
        let expected = a.next_counter();
        let (counter, mut sealed) = seal(&mut a, b"head", &plain);
        assert_eq!((counter, expected), (n as u64, n as u64));
        assert_eq!(sealed.len(), len + TAG_LEN);
        assert_eq!(b.open_in_place(counter, b"head", &mut sealed).unwrap(), plain);
        let (counter, mut sealed) = seal(&mut b, b"", &plain);
        assert_eq!(a.open_in_place(counter, b"", &mut sealed).unwrap(), plain);
    }
    assert!(a.confirmed() && b.confirmed());
}

#[test]
fn s20_the_two_directions_have_different_keys() {
    let (mut a, mut b) = pair(2);
    let (_, from_a) = seal(&mut a, b"", b"same words");
    let (_, from_b) = seal(&mut b, b"", b"same words");
    assert_ne!(from_a, from_b);
    assert_eq!(a.open_in_place(0, b"", &mut from_a.clone()), Err(DropReason::BadSeal));
}

#[test]
fn s20_a_packet_with_any_bit_changed_is_refused() {
    let (mut a, mut b) = pair(3);
    let (counter, sealed) = seal(&mut a, b"head", b"something to say");
    for bit in 0..sealed.len() * 8 {
        let mut bad = sealed.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(b.open_in_place(counter, b"head", &mut bad), Err(DropReason::BadSeal), "{bit}");
    }
    for bit in 0..32 {
        let mut head = *b"head";
        head[bit / 8] ^= 1 << (bit % 8);
        let refused = open(&mut b, counter, &head, &sealed);
        assert_eq!(refused, Err(DropReason::BadSeal), "{bit}");
    }
    for bit in 0..60 {
        let refused = open(&mut b, counter ^ (1 << bit), b"head", &sealed);
        assert_eq!(refused, Err(DropReason::BadSeal), "{bit}");
    }
    assert!(!b.confirmed());
    assert!(b.open_in_place(counter, b"head", &mut sealed.clone()).is_ok(), "the real one still");
}

#[test]
fn s20_a_packet_cut_anywhere_is_refused() {
    let (mut a, mut b) = pair(4);
    let (counter, sealed) = seal(&mut a, b"", b"cut me");
    for len in 0..sealed.len() {
        let refused = b.open_in_place(counter, b"", &mut sealed[..len].to_vec()).unwrap_err();
        let expected = if len < TAG_LEN { DropReason::Truncated } else { DropReason::BadSeal };
        assert_eq!(refused, expected, "{len}");
    }
}

#[test]
fn s20_a_packet_is_accepted_once_in_any_order() {
    let (mut a, mut b) = pair(5);
    let packets: Vec<_> = (0..100).map(|_| seal(&mut a, b"", b"x")).collect();
    for (counter, sealed) in packets.iter().rev() {
        assert!(b.open_in_place(*counter, b"", &mut sealed.clone()).is_ok());
    }
    for (counter, sealed) in &packets {
        let again = open(&mut b, *counter, b"", sealed);
        assert_eq!(again, Err(DropReason::Replayed));
    }
}

#[test]
fn s20_a_forged_counter_does_not_push_packets_out_of_the_window() {
    let (mut a, mut b) = pair(6);
    let (counter, mut sealed) = seal(&mut a, b"", b"x");
    for far in [1 << 20, 1 << 40, (1 << 60) - 1] {
        assert_eq!(b.open_in_place(far, b"", &mut sealed.clone()), Err(DropReason::BadSeal));
    }
    for never in [1 << 60, u64::MAX] {
        assert_eq!(b.open_in_place(never, b"", &mut sealed.clone()), Err(DropReason::Replayed));
    }
    assert!(b.open_in_place(counter, b"", &mut sealed).is_ok());
}

#[test]
fn s18_keys_are_renewed_by_age_or_use_and_die() {
    let limits = Limits { rekey_after_packets: 3, ..Limits::default() };
    let (mut a, _) = pair(7);
    let at = |secs| Instant::ZERO + Duration::from_secs(secs);
    assert_eq!(a.keys_state(at(119), &limits), KeysState::Fresh);
    assert_eq!(a.keys_state(at(120), &limits), KeysState::RenewDue);
    assert_eq!(a.keys_state(at(179), &limits), KeysState::RenewDue);
    assert_eq!(a.keys_state(at(180), &limits), KeysState::Dead);
    for _ in 0..3 {
        assert_eq!(a.keys_state(at(1), &limits), KeysState::Fresh);
        seal(&mut a, b"", b"x");
    }
    assert_eq!(a.keys_state(at(1), &limits), KeysState::RenewDue);
}

/// The library keeps its cipher state outside of Rust's heap, so only the process itself knows.
#[cfg(target_os = "linux")]
#[test]
fn s19_an_idle_session_stays_small() {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
    };
    let keys = Zeroizing::new([[1; 32], [2; 32]]);
    let before = resident();
    let held: Vec<_> =
        (0..20_000).map(|_| Session::new(&keys, true, Instant::ZERO).unwrap()).collect();
    let each = resident().saturating_sub(before) / held.len();
    assert!(each < 2_560, "{each} bytes");
    assert!(each > 1_024, "{each} bytes: nothing was measured");
    println!("a session takes {each} bytes, {} of them in place", size_of::<Session>());
}

proptest! {
    #[test]
    fn s20_any_bytes_are_refused(
        counter: u64,
        ad in prop::collection::vec(any::<u8>(), 0..40),
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(pair(8).1.open_in_place(counter, &ad, &mut bytes).is_err());
    }
}
