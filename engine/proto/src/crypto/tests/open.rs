//! Opening a line: who gets in, who does not, and what a bad packet leaves behind.

use core::time::Duration;
use std::sync::Arc;

use proptest::prelude::*;

use super::{LIFE, NOW, alice, bob, settle};
use crate::base::{BootEpoch, Chance, DropReason, Instant, LineId, Space};
use crate::crypto::open::{
    MAX_INITIATION_LEN, MAX_RESPONSE_LEN, MIN_INITIATION_LEN, MIN_RESPONSE_LEN, heard,
};
use crate::crypto::{
    Answered, Capabilities, Flags, Heard, Identity, Initiation, KeyRecord, Knock, Opener,
    PendingOpen, Session, cookie, noise, record, voucher,
};

const OPENER: Opener = Opener {
    line: LineId([0xa1; 16]),
    epoch: BootEpoch(11),
    counter: 5,
    capabilities: Capabilities(0b101),
};
const BOBS_LINE: LineId = LineId([0xb0; 16]);

fn start(seed: u64) -> PendingOpen {
    PendingOpen::start(alice(), bob().record(), OPENER, &[], &mut Chance::from_number(seed))
        .unwrap()
}

fn read(identity: &Identity, body: &[u8]) -> Result<Initiation, DropReason> {
    Initiation::read(&Knock::new(identity, body)?, &mut Chance::from_number(2))
}

fn answer(identity: &Identity, body: &[u8]) -> Result<Answered, DropReason> {
    let proven = read(identity, body)?.prove(NOW, None)?;
    proven.answer(BOBS_LINE, BootEpoch(22), Capabilities(0b11), &[], Instant::ZERO)
}

fn carries(from: &mut Session, to: &mut Session) {
    let mut bytes = *b"through";
    let (counter, tag) = from.seal_in_place(b"ad", &mut bytes).unwrap();
    let mut sealed = [bytes.as_slice(), &tag].concat();
    assert_eq!(to.open_in_place(counter, b"ad", &mut sealed).unwrap(), b"through");
}

#[test]
fn s18_an_open_and_its_answer_make_one_line() {
    let mut pending = start(1);
    assert_eq!(heard(pending.body()), Ok(Heard::Initiation { from: OPENER.line }));
    let initiation = read(bob(), pending.body()).unwrap();
    assert_eq!(initiation.hashname(), alice().hashname());
    assert_eq!(initiation.record().unwrap().serial(), 1);
    let proven = initiation.prove(NOW, None).unwrap();
    assert_eq!(proven.record(), alice().record());
    assert_eq!(proven.opener(), OPENER);
    let mut theirs =
        proven.answer(BOBS_LINE, BootEpoch(22), Capabilities(3), &[], Instant::ZERO).unwrap();
    assert_eq!(theirs.opener, OPENER);
    assert_eq!(heard(&theirs.body), Ok(Heard::Response { to: OPENER.line }));
    let mut ours = pending.finish(&theirs.body, Instant::ZERO).unwrap();
    assert_eq!(ours.peer_line, BOBS_LINE);
    assert_eq!((ours.peer_epoch, ours.capabilities), (BootEpoch(22), Capabilities(3)));
    assert_eq!(ours.peer_serial, 1);
    assert!(ours.session.initiated() && !theirs.session.initiated());
    carries(&mut ours.session, &mut theirs.session);
    carries(&mut theirs.session, &mut ours.session);
    let again = pending.finish(&theirs.body, Instant::ZERO).unwrap_err();
    assert_eq!(again, DropReason::Replayed);
}

#[test]
fn s18_sizes_are_as_the_format_says_and_answers_are_smaller() {
    let body = start(1).body().clone();
    assert_eq!(body.len(), 166 + alice().record().encoded().len());
    assert_eq!((MIN_INITIATION_LEN, MAX_INITIATION_LEN), (763, 1_428));
    assert_eq!(answer(bob(), &body).unwrap().body.len(), MIN_RESPONSE_LEN);
    let tiny = Space::new("x").unwrap();
    let small = Identity::generate(&tiny, 2_048, &mut Chance::from_number(3), NOW, LIFE).unwrap();
    let mut chance = Chance::from_number(4);
    let open = PendingOpen::start(&small, bob().record(), OPENER, &[], &mut chance).unwrap();
    assert_eq!(open.body().len(), MIN_INITIATION_LEN);
    assert!(answer(bob(), open.body()).is_ok());
}

#[test]
fn s18_the_largest_key_still_opens_lines() {
    let space = Space::new(&"x".repeat(64)).unwrap();
    // A seed whose primes are found soon.
    let large = Identity::generate(&space, 4_096, &mut Chance::from_number(5), NOW, LIFE).unwrap();
    assert_eq!(large.record().encoded().len(), 1_172);
    assert_eq!(Identity::from_text(&large.to_text().unwrap()).unwrap().record(), large.record());
    let voucher = voucher::issue(bob(), &large.hashname(), Flags::NONE, NOW.after(LIFE));
    let mut chance = Chance::from_number(4);
    let open = PendingOpen::start(&large, bob().record(), OPENER, &voucher, &mut chance);
    assert_eq!(open.as_ref().unwrap().body().len(), MAX_INITIATION_LEN);
    assert!(answer(bob(), open.unwrap().body()).is_ok());
    let mut open =
        PendingOpen::start(bob(), large.record(), OPENER, &[], &mut Chance::from_number(4))
            .unwrap();
    let answered = answer(&large, open.body()).unwrap();
    assert!(open.finish(&answered.body, Instant::ZERO).is_ok());
}

#[test]
fn s18_one_seed_repeats_the_handshake() {
    assert_eq!(start(1).body(), start(1).body());
    assert_ne!(start(1).body(), start(2).body());
    let body = start(1).body().clone();
    assert_eq!(answer(bob(), &body).unwrap().body, answer(bob(), &body).unwrap().body);
}

#[test]
fn s18_a_known_record_is_not_verified_again_and_still_expires() {
    let body = start(1).body().clone();
    let known = Arc::clone(alice().record());
    let proven = read(bob(), &body).unwrap().prove(NOW, Some(&known)).unwrap();
    assert!(Arc::ptr_eq(proven.record(), &known));
    let other = read(bob(), &body).unwrap().prove(NOW, Some(bob().record())).unwrap();
    assert_eq!(other.record(), &known, "another record known is no record known");
    let late = NOW.after(LIFE).after(Duration::from_secs(3_601));
    for known in [None, Some(&known)] {
        let refused = read(bob(), &body).unwrap().prove(late, known).unwrap_err();
        assert_eq!(refused, DropReason::Expired);
    }
}

#[test]
fn s5_vouchers_travel_with_the_records_both_ways() {
    let shown: Vec<u8> = (0..voucher::LEN as u8).collect();
    for (ours, theirs) in [(&shown[..], &[][..]), (&[], &shown), (&shown, &shown[..7])] {
        let mut chance = Chance::from_number(1);
        let mut pending =
            PendingOpen::start(alice(), bob().record(), OPENER, ours, &mut chance).unwrap();
        let initiation = read(bob(), pending.body()).unwrap();
        assert_eq!(initiation.voucher(), ours);
        let proven = initiation.prove(NOW, None).unwrap();
        assert_eq!((proven.voucher().as_ref(), proven.record()), (ours, alice().record()));
        let epoch = BootEpoch(22);
        let answered =
            proven.answer(BOBS_LINE, epoch, Capabilities(3), theirs, Instant::ZERO).unwrap();
        assert_eq!(answered.body.len(), MIN_RESPONSE_LEN + theirs.len());
        let established = pending.finish(&answered.body, Instant::ZERO).unwrap();
        assert_eq!((established.voucher.as_ref(), established.peer_serial), (theirs, 1));
    }
    let long = [shown.as_slice(), &[0]].concat();
    let mut chance = Chance::from_number(1);
    let refused = PendingOpen::start(alice(), bob().record(), OPENER, &long, &mut chance);
    assert_eq!(refused.unwrap_err(), DropReason::Oversized);
    let longer = [&[7; 20], [91].as_slice(), &long, alice().record().encoded()].concat();
    assert_eq!(read(bob(), &forge(alice(), &longer)).unwrap_err(), DropReason::Oversized);
}

#[test]
fn s3_an_open_for_someone_else_is_refused_before_any_work() {
    let body = start(1).body().clone();
    assert_eq!(Knock::new(alice(), &body).unwrap_err(), DropReason::BadMac);
}

#[test]
fn s3_an_open_with_any_bit_changed_is_refused() {
    let good = start(1).body().clone();
    for bit in 0..(good.len() - 16) * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Knock::new(bob(), &bad).is_err(), "bit {bit}: mac1");
        // Whoever knows the line key can make mac1 right again; the handshake must hold alone.
        if bit % 7 == 0 && bit / 8 < good.len() - 32 {
            settle(bob(), &mut bad);
            assert!(read(bob(), &bad).is_err(), "bit {bit}: handshake");
        }
    }
}

#[test]
fn s3_an_open_cut_anywhere_or_longer_is_refused() {
    let good = start(1).body().clone();
    for len in 0..good.len() {
        let mut bad = good[..len].to_vec();
        assert!(Knock::new(bob(), &bad).is_err(), "{len}");
        settle(bob(), &mut bad);
        assert!(read(bob(), &bad).is_err(), "{len}");
    }
    let mut long = good.to_vec();
    long.push(0);
    settle(bob(), &mut long);
    assert!(read(bob(), &long).is_err());
}

#[test]
fn s3_a_bad_response_is_refused_and_the_good_one_still_counts() {
    let mut pending = start(1);
    let good = answer(bob(), pending.body()).unwrap().body;
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(pending.finish(&bad, Instant::ZERO).is_err(), "bit {bit}");
    }
    for len in 0..good.len() {
        assert!(pending.finish(&good[..len], Instant::ZERO).is_err(), "{len}");
    }
    let other = answer(bob(), start(7).body()).unwrap().body;
    let refused = pending.finish(&other, Instant::ZERO).unwrap_err();
    assert_eq!(refused, DropReason::BadSignature, "an answer to another open");
    assert!(pending.finish(&good, Instant::ZERO).is_ok());
}

/// An initiation towards Bob, by `keys`, with any payload.
fn forge(keys: &Identity, payload: &[u8]) -> Vec<u8> {
    let head = [&[1], OPENER.line.0.as_slice()].concat();
    let prologue = [b"trunkline open 1", head.as_slice()].concat();
    let mut chance = Chance::from_number(6);
    let bob_key = bob().record().line_key();
    let mut noise = noise::initiator(keys, bob_key, &prologue, &mut chance).unwrap();
    let mut message = vec![0; 96 + payload.len()];
    noise.write_message(payload, &mut message).unwrap();
    let mut body = [head, message].concat();
    cookie::close(bob_key, &mut body);
    body
}

#[test]
fn s3_a_true_record_of_another_is_no_entrance() {
    let before_record = [[7; 20].as_slice(), &[0]].concat();
    let honest = [before_record.as_slice(), alice().record().encoded()].concat();
    assert!(answer(bob(), &forge(alice(), &honest)).is_ok());
    let mallory = alice().renew(&mut Chance::from_number(66), NOW, LIFE).unwrap();
    assert_eq!(answer(bob(), &forge(&mallory, &honest)).unwrap_err(), DropReason::BadSignature);
}

#[test]
fn s3_a_handshake_does_not_make_a_false_record_true() {
    let mut record = alice().record().encoded().to_vec();
    let space = 2;
    record[space] = b'r';
    let initiation =
        read(bob(), &forge(alice(), &[[7; 20].as_slice(), &[0], &record].concat())).unwrap();
    assert_ne!(initiation.hashname(), alice().hashname());
    let refused = initiation.prove(NOW, Some(alice().record())).unwrap_err();
    assert_eq!(refused, DropReason::BadSignature);
}

#[test]
fn s3_a_peer_with_a_worthless_point_as_key_is_refused() {
    let modulus = [0xff; 256];
    let space = Space::new("home").unwrap();
    let mut record = record::unsigned(&space, &modulus, (&[0; 32], &[0; 32]), 1, NOW);
    record.extend_from_slice(&[0; 256]);
    let record = KeyRecord::parse(&record).unwrap().trusted();
    let refused = PendingOpen::start(alice(), &record, OPENER, &[], &mut Chance::from_number(1));
    assert_eq!(refused.unwrap_err(), DropReason::BadSignature);
}

#[test]
fn s18_renewed_keys_open_lines_and_old_ones_no_longer_reach_their_owner() {
    let next = bob().renew(&mut Chance::from_number(5), NOW, LIFE).unwrap();
    assert_eq!(Knock::new(&next, start(1).body()).unwrap_err(), DropReason::BadMac);
    let mut open =
        PendingOpen::start(alice(), next.record(), OPENER, &[], &mut Chance::from_number(1))
            .unwrap();
    let answered = answer(&next, open.body()).unwrap();
    let established = open.finish(&answered.body, Instant::ZERO).unwrap();
    assert_eq!(established.peer_serial, 2);
}

proptest! {
    #[test]
    fn s3_any_bytes_as_open_are_refused(
        kind in 0u8..5,
        mut body in prop::collection::vec(any::<u8>(), 0..1_500),
    ) {
        if let Some(first) = body.first_mut() {
            *first = kind;
        }
        let _ = heard(&body);
        prop_assert!(Knock::new(bob(), &body).is_err());
        settle(bob(), &mut body);
        prop_assert!(read(bob(), &body).is_err());
        let mut pending = start(1);
        prop_assert!(pending.finish(&body, Instant::ZERO).is_err());
        prop_assert!(pending.take_cookie(&body).is_err());
    }

    #[test]
    fn s3_any_bytes_as_response_or_cookie_are_refused(
        kind in 2u8..4,
        mut body in prop::collection::vec(any::<u8>(), MAX_RESPONSE_LEN..=MAX_RESPONSE_LEN),
    ) {
        body[0] = kind;
        body[1..17].copy_from_slice(&OPENER.line.0);
        body.truncate(if kind == 2 { MIN_RESPONSE_LEN } else { 65 });
        let mut pending = start(1);
        prop_assert!(pending.finish(&body, Instant::ZERO).is_err());
        prop_assert!(pending.take_cookie(&body).is_err());
        let good = answer(bob(), pending.body()).unwrap().body;
        prop_assert!(pending.finish(&good, Instant::ZERO).is_ok());
    }
}
