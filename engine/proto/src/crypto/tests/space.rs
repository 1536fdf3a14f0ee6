//! Who belongs to a space: everybody, or whom an operator vouches for at the time.

use core::time::Duration;

use super::{LIFE, NOW, alice, bob};
use crate::base::{Chance, DropReason, Hashname, Space};
use crate::crypto::voucher::{self, Flags, VoucherError};
use crate::crypto::{Admission, Identity, Refusal, SpaceRules};

const DAY: Duration = Duration::from_secs(86_400);

fn home() -> Space {
    *alice().space()
}

/// The space `home`, closed, with Bob as its operator.
fn closed() -> SpaceRules {
    let rules = SpaceRules::closed(home(), [bob().hashname()]);
    assert!(rules.learned(bob().record()));
    rules
}

fn vouched(by: &Identity) -> [u8; voucher::LEN] {
    voucher::issue(by, &alice().hashname(), Flags::SPACER, NOW.after(DAY))
}

#[test]
fn s4_an_open_space_admits_all_of_its_own_and_nobody_else() {
    let rules = SpaceRules::open(home());
    assert_eq!(rules.admits(alice().record(), &[], NOW), Ok(Admission::FULL));
    assert_eq!(rules.admits(alice().record(), b"whatever", NOW), Ok(Admission::FULL));
    let other = SpaceRules::open(Space::new("other").unwrap());
    assert_eq!(other.admits(alice().record(), &[], NOW), Err(Refusal::WrongSpace));
    assert_eq!(DropReason::from(Refusal::WrongSpace), DropReason::WrongSpace);
}

#[test]
fn s5_a_closed_space_refuses_a_hashname_no_operator_vouches_for() {
    let rules = closed();
    assert_eq!(rules.admits(bob().record(), &[], NOW), Ok(Admission::FULL), "the operator");
    assert_eq!(rules.admits(alice().record(), &[], NOW), Err(Refusal::NoVoucher));
    assert_eq!(DropReason::from(Refusal::NoVoucher), DropReason::NotAdmitted);
    let own = vouched(alice());
    assert_eq!(rules.admits(alice().record(), &own, NOW), Err(Refusal::UnknownOperator));
    let short = rules.admits(alice().record(), b"short", NOW);
    assert_eq!(short, Err(Refusal::Voucher(VoucherError::Length)));
    let admitted = rules.admits(alice().record(), &vouched(bob()), NOW).unwrap();
    assert_eq!(admitted, Admission { flags: Flags::SPACER, until: Some(NOW.after(DAY)) });
    let late = NOW.after(DAY + Duration::from_secs(3_601));
    let refused = rules.admits(alice().record(), &vouched(bob()), late);
    assert_eq!(refused, Err(Refusal::Voucher(VoucherError::Expired)));
}

#[test]
fn s7_an_operators_word_counts_once_its_record_came_and_by_the_newest() {
    let rules = SpaceRules::closed(home(), [bob().hashname()]);
    let admits = |voucher: &[u8]| rules.admits(alice().record(), voucher, NOW).map(|_| ());
    assert_eq!(admits(&vouched(bob())), Err(Refusal::OperatorUnresolved));
    assert!(!rules.learned(alice().record()), "not an operator");
    assert!(rules.learned(bob().record()));
    assert!(!rules.learned(bob().record()), "known");
    assert_eq!(admits(&vouched(bob())), Ok(()));
    let renewed = bob().renew(&mut Chance::from_number(9), NOW, LIFE).unwrap();
    assert!(rules.learned(renewed.record()) && !rules.learned(bob().record()));
    let refused = Refusal::Voucher(VoucherError::BadSignature);
    assert_eq!(admits(&vouched(bob())), Err(refused), "made with the key it gave up");
    assert_eq!(admits(&vouched(&renewed)), Ok(()));
}

#[test]
fn s7_one_operator_of_several_is_enough() {
    let absent = Hashname::new([1; 32]);
    let rules = SpaceRules::closed(home(), [absent, bob().hashname()]);
    rules.learned(bob().record());
    assert!(rules.admits(alice().record(), &vouched(bob()), NOW).is_ok());
    assert_eq!(rules.operators().filter(|(_, record)| record.is_some()).count(), 1);
    let many = SpaceRules::closed(home(), (0..99).map(|n| Hashname::new([n; 32])));
    assert_eq!(many.operators().count(), SpaceRules::MOST_OPERATORS);
}

#[test]
fn s7_an_operator_whose_record_expired_vouches_for_nobody() {
    let rules = closed();
    let end = NOW.after(LIFE).after(Duration::from_secs(3_601));
    let long = voucher::issue(bob(), &alice().hashname(), Flags::NONE, end.after(DAY));
    assert!(rules.admits(alice().record(), &long, NOW).is_ok());
    assert_eq!(rules.admits(alice().record(), &long, end), Err(Refusal::OperatorExpired));
}

#[test]
fn s5_what_a_node_shows_can_be_renewed() {
    let rules = closed();
    assert!(rules.our_voucher().is_empty());
    rules.show(vouched(bob()).to_vec().into());
    assert_eq!(*rules.our_voucher(), vouched(bob()));
}
