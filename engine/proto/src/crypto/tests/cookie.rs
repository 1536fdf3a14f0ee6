//! Under attack: what is asked of strangers before any public-key work.

use core::time::Duration;

use super::{alice, bob};
use crate::base::{BootEpoch, Chance, DropReason, Instant, LineId};
use crate::crypto::cookie::COOKIE_LEN;
use crate::crypto::open::heard;
use crate::crypto::{Capabilities, Cookies, Heard, Identity, Knock, Opener, PendingOpen};

const LINE: LineId = LineId([0xa1; 16]);
const PATH: &[u8] = b"192.0.2.7:42424";

fn start(identity: &Identity, seed: u64) -> PendingOpen {
    let opener =
        Opener { line: LINE, epoch: BootEpoch(1), counter: 1, capabilities: Capabilities(0) };
    let mut chance = Chance::from_number(seed);
    PendingOpen::start(identity, bob().record(), opener, &[], &mut chance).unwrap()
}

fn at(secs: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(secs)
}

/// A busy Bob, and an open of Alice's with the cookie he gave her at second 0.
fn with_cookie() -> (Cookies, Chance, PendingOpen) {
    let mut chance = Chance::from_number(3);
    let mut cookies = Cookies::new(&mut chance, at(0));
    let mut pending = start(alice(), 1);
    let before = pending.body().clone();
    let knock = Knock::new(bob(), &before).unwrap();
    assert!(!cookies.allow(at(0), &knock, PATH), "no cookie yet");
    let packet = cookies.make(at(0), &mut chance, &knock, PATH).unwrap();
    assert_eq!(heard(&packet), Ok(Heard::Cookie { to: LINE }));
    pending.take_cookie(&packet).unwrap();
    assert_eq!(pending.body().len(), before.len());
    assert_eq!(pending.body()[..before.len() - 16], before[..before.len() - 16]);
    (cookies, chance, pending)
}

#[test]
fn s18_a_cookie_lets_its_path_in_and_no_other() {
    let (cookies, _, pending) = with_cookie();
    let knock = Knock::new(bob(), pending.body()).unwrap();
    assert!(cookies.allow(at(1), &knock, PATH));
    assert!(!cookies.allow(at(1), &knock, b"192.0.2.7:42425"));
    assert!(!cookies.allow(at(1), &knock, b""));
    let elsewhere = Cookies::new(&mut Chance::from_number(4), at(0));
    assert!(!elsewhere.allow(at(1), &knock, PATH));
}

#[test]
fn s18_a_cookie_serves_one_open() {
    let (cookies, _, pending) = with_cookie();
    let mac2 = pending.body().last_chunk::<16>().unwrap();
    let mut other = start(alice(), 2).body().to_vec();
    let len = other.len();
    other[len - 16..].copy_from_slice(mac2);
    assert!(!cookies.allow(at(1), &Knock::new(bob(), &other).unwrap(), PATH));
    for bit in 0..128 {
        let mut bad = pending.body().to_vec();
        let len = bad.len();
        bad[len - 16 + bit / 8] ^= 1 << (bit % 8);
        assert!(!cookies.allow(at(1), &Knock::new(bob(), &bad).unwrap(), PATH), "{bit}");
    }
}

#[test]
fn s18_cookies_outlive_one_change_of_the_secret() {
    let (mut cookies, mut chance, pending) = with_cookie();
    let knock = Knock::new(bob(), pending.body()).unwrap();
    let stranger = start(alice(), 9);
    let other = Knock::new(bob(), stranger.body()).unwrap();
    cookies.make(at(125), &mut chance, &other, PATH).unwrap();
    assert!(cookies.allow(at(239), &knock, PATH), "the previous secret still counts");
    assert!(!cookies.allow(at(240), &knock, PATH), "and no longer than it would have");
    cookies.make(at(245), &mut chance, &other, PATH).unwrap();
    assert!(!cookies.allow(at(245), &knock, PATH));
}

#[test]
fn s18_an_unused_secret_grows_old_by_itself() {
    let (cookies, _, pending) = with_cookie();
    let knock = Knock::new(bob(), pending.body()).unwrap();
    assert!(!cookies.allow(at(10_000), &knock, PATH));
}

#[test]
fn s3_a_forged_cookie_changes_nothing() {
    let mut chance = Chance::from_number(3);
    let mut cookies = Cookies::new(&mut chance, at(0));
    let mut pending = start(alice(), 1);
    let body = pending.body().clone();
    let good = cookies.make(at(0), &mut chance, &Knock::new(bob(), &body).unwrap(), PATH).unwrap();
    for bit in 0..COOKIE_LEN * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(pending.take_cookie(&bad).is_err(), "bit {bit}");
        assert_eq!(pending.body(), &body);
    }
    for len in 0..COOKIE_LEN {
        assert!(pending.take_cookie(&good[..len]).is_err(), "{len}");
    }
    let mut other = start(alice(), 2);
    assert_eq!(other.take_cookie(&good), Err(DropReason::BadMac), "given to another open");
    assert!(pending.take_cookie(&good).is_ok());
}
