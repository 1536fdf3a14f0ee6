//! The room alone: what it sends how, what it takes, what it gives back.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::base::{Instant, Limits, Namespace};
use crate::crypto::packing::{Came, Registry};
use crate::wire::sequence::PackTerms;

const US: Address = Address::new([1; 16]);
const THEM: Address = Address::new([2; 16]);
const OTHER: Address = Address::new([3; 16]);

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn ns(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn room(least: &str) -> Room {
    let mut settings = Settings::default();
    settings.terms.least = least.parse().unwrap();
    Room::new(US, settings, &Limits { requests: 3, origins: 4, ..Limits::default() })
}

fn notice(namespace: &str) -> Envelope {
    Envelope::new(ns(namespace), 7.into())
}

/// A message from them, packed so.
fn arrival(letters: &str, envelope: &Envelope) -> Arrival {
    let sequence: Sequence = letters.parse().unwrap();
    let packed = Registry::standard().pack(sequence, envelope, &Bytes::from_static(&[9; 100]));
    let sealed = packed.sequence.is_sealed();
    Arrival {
        from: THEM,
        hashname: None,
        came: if sealed { Came::Sealed } else { Came::Plain(packed.sequence) },
        id: 5,
        priority: Priority::DEFAULT,
        entrance: Entrance::default(),
        body: [&packed.head[..], &packed.body[..]].concat().into(),
    }
}

fn take(room: &mut Room, letters: &str, envelope: &Envelope) -> Taken {
    room.take(arrival(letters, envelope), |_| Ok(()))
}

fn subscribe(room: &mut Room, id: u64, namespace: &str, target: Option<&str>) {
    let (namespace, target) = (ns(namespace), target.map(ns));
    room.subscribe(Subscription { id: SubscriptionId(id), namespace, target }).unwrap();
}

#[test]
fn n21_a_message_reaches_whoever_subscribed_to_its_namespace_and_target() {
    let mut room = room("M");
    subscribe(&mut room, 1, "shop", None);
    subscribe(&mut room, 2, "shop", Some("till"));
    subscribe(&mut room, 3, "bank", Some("till"));
    let takers = |room: &mut Room, namespace, target: Option<&str>| -> Vec<u64> {
        let envelope = Envelope { target: target.map(ns), ..notice(namespace) };
        match take(room, "MA", &envelope) {
            Taken::Delivered(incoming) => room.takers(&incoming).map(|id| id.0).collect(),
            _ => Vec::new(),
        }
    };
    assert_eq!(takers(&mut room, "shop", None), [1]);
    assert_eq!(takers(&mut room, "shop", Some("till")), [1, 2]);
    assert_eq!(takers(&mut room, "shop", Some("door")), [1]);
    assert_eq!(takers(&mut room, "bank", None), [0u64; 0]);
    assert_eq!(takers(&mut room, "bank", Some("till")), [3]);
    for letters in ["M", "MZ", "MA", "MZPA"] {
        assert!(matches!(take(&mut room, letters, &notice("shop")), Taken::Delivered(..)));
    }
    assert_eq!(take(&mut room, "MA", &notice("bank")), Taken::Back(Code::UnknownTarget, 0));
    room.unsubscribe(SubscriptionId(1));
    assert_eq!(take(&mut room, "MA", &notice("shop")), Taken::Back(Code::UnknownTarget, 0));
}

#[test]
fn n21_subscriptions_are_bounded_and_strangers_names_leave_nothing_behind() {
    let mut room =
        Room::new(US, Settings::default(), &Limits { subscriptions: 2, ..Limits::default() });
    subscribe(&mut room, 1, "a", None);
    subscribe(&mut room, 2, "a", None);
    let one_more = Subscription { id: SubscriptionId(3), namespace: ns("b"), target: None };
    assert_eq!(room.subscribe(one_more), Err(TooManySubscriptions));
    // A million namespaces that nobody has: each is answered, none is remembered.
    let template = arrival("MA", &notice("n0000000"));
    let name_at = template.body.len() - 100 - 8;
    let mut body = template.body.to_vec();
    for n in 0..1_000_000u32 {
        body[name_at..name_at + 8].copy_from_slice(format!("n{n:07}").as_bytes());
        let message = Arrival { body: Bytes::copy_from_slice(&body), ..template.clone() };
        let taken = room.take(message, |_| Ok(()));
        assert_eq!(taken, Taken::Back(Code::UnknownTarget, 0));
    }
    room.unsubscribe(SubscriptionId(1));
    assert_eq!(room.subscribe(one_more), Ok(()));
}

#[test]
fn n9_a_refused_message_comes_back_with_its_rule_and_the_gatekeeper_sees_what_it_is() {
    let mut room = room("M");
    subscribe(&mut room, 1, "shop", None);
    let mut seen = None;
    let refused = room.take(arrival("MA", &notice("shop")), |incoming| {
        seen = Some((incoming.from, incoming.proved, incoming.envelope()));
        Err(17)
    });
    assert_eq!(refused, Taken::Back(Code::Refused, 17));
    assert_eq!(seen, Some((THEM, true, notice("shop"))));
    let plain =
        room.take(
            arrival("M", &notice("shop")),
            |incoming| {
                if incoming.proved { Ok(()) } else { Err(1) }
            },
        );
    assert_eq!(plain, Taken::Back(Code::Refused, 1), "a claim is no proof");
}

#[test]
fn n15_the_least_sequence_is_enforced_on_receipt() {
    let cases = [("MA", "M", false), ("MA", "MZ", false), ("MA", "MA", true), ("MPA", "MA", false)];
    for (least, letters, enough) in cases {
        let mut room = room(least);
        subscribe(&mut room, 1, "shop", None);
        let taken = take(&mut room, letters, &notice("shop"));
        let weak = taken == Taken::Back(Code::SequenceTooWeak, 0);
        assert_eq!(weak, !enough, "{letters} for {least}: {taken:?}");
    }
}

#[test]
fn n3_a_node_without_a_builder_is_never_sent_it() {
    let mut room = room("M");
    let mut outbound = Outbound::new(notice("shop"));
    outbound.sequence = Some("MPA".parse().unwrap());
    let chosen = |room: &Room, to| room.sequence_to(&to, &outbound, &Purpose::Notice);
    assert_eq!(chosen(&room, THEM), Err(Code::CannotUnpack), "nobody said that they can");
    let able = PackTerms { builders: Registry::standard().letters(), ..PackTerms::BASIC };
    room.packs(THEM, able);
    assert_eq!(chosen(&room, THEM), Ok("MPA".parse().unwrap()));
    assert_eq!(chosen(&room, OTHER), Err(Code::CannotUnpack));
    let strict = PackTerms { least: Sequence::MA, ..able };
    room.packs(OTHER, strict);
    let plain = Outbound { sequence: Some(Sequence::MZ), ..outbound };
    assert_eq!(room.sequence_to(&OTHER, &plain, &Purpose::Notice), Ok(Sequence::MZA));
}

#[test]
fn n15_pairs_go_before_the_nodes_own_and_after_the_messages() {
    let pairs = BTreeMap::from([(THEM, Sequence::MZA)]);
    let settings =
        Settings { sequence: Some(Sequence::MA), pairs: Arc::new(pairs), ..Settings::default() };
    let room = Room::new(US, settings, &Limits::default());
    let mut outbound = Outbound::new(notice("shop"));
    let chosen = |outbound: &Outbound, to| room.sequence_to(&to, outbound, &Purpose::Notice);
    assert_eq!(chosen(&outbound, THEM), Ok(Sequence::MZA));
    assert_eq!(chosen(&outbound, OTHER), Ok(Sequence::MA));
    outbound.sequence = Some(Sequence::M);
    assert_eq!(chosen(&outbound, THEM), Ok(Sequence::M));
}

#[test]
fn n21_a_request_is_answered_once_and_only_by_whom_it_was_sent_to() {
    let mut room = room("M");
    let ask = Purpose::Request(Duration::from_secs(5));
    assert!(room.leaves(at(1), 40, THEM, true, &ask));
    let reply = |id| Envelope { kind: Kind::Reply(id), ..notice("any") };
    let nobody = Taken::Back(Code::UnknownTarget, 0);
    assert_eq!(take(&mut room, "MA", &reply(41)), nobody, "another number");
    let other = Arrival { from: OTHER, ..arrival("MA", &reply(40)) };
    assert_eq!(room.take(other, |_| Ok(())), nobody, "another node");
    assert_eq!(take(&mut room, "M", &reply(40)), nobody, "sealed was asked, plain is answered");
    // Replies to requests pass the gatekeeper.
    let taken = room.take(arrival("MA", &reply(40)), |_| Err(1));
    assert!(matches!(taken, Taken::Reply(40, _)), "{taken:?}");
    assert_eq!(take(&mut room, "MA", &reply(40)), nobody, "twice");
}

#[test]
fn n21_requests_end_in_time_are_bounded_and_fall_with_their_line() {
    let mut room = room("M");
    let ask = |s| Purpose::Request(Duration::from_secs(s));
    for (id, seconds, sealed) in [(1, 5, true), (2, 3, false), (3, 9, true)] {
        assert!(room.leaves(at(0), id, THEM, sealed, &ask(seconds)));
    }
    assert!(!room.leaves(at(0), 4, THEM, true, &ask(1)), "three are the most");
    assert_eq!(room.deadline(), Some(at(3)));
    assert_eq!(room.overdue(at(2)), None);
    let late = room.overdue(at(3)).unwrap();
    assert_eq!((late.id, late.code, late.by, late.request), (2, Code::TimedOut, None, true));
    let back = Returned { code: Code::Refused, by: Some(THEM), ..late };
    assert_eq!(room.came_back(at(3), back, true), None, "it has been told already");
    let lost = room.fell(THEM, Code::NodeDown, None);
    assert_eq!(
        lost.iter().map(|r| (r.id, r.code)).collect::<Vec<_>>(),
        [(1, Code::NodeDown), (3, Code::NodeDown)]
    );
    assert_eq!((room.deadline(), room.waiting()), (None, 0));
}

#[test]
fn n21_a_return_is_believed_once_and_only_for_something_of_ours() {
    let mut room = room("M");
    let back = |id, to| {
        let (code, rule, by) = (Code::Refused, 3, Some(THEM));
        Returned { id, to, code, rule, by, request: false }
    };
    room.leaves(at(0), 70, THEM, true, &Purpose::Notice);
    assert_eq!(room.came_back(at(1), back(71, THEM), true), None, "never sent");
    assert_eq!(room.came_back(at(1), back(70, OTHER), true), None, "not to them");
    assert_eq!(room.came_back(at(1), back(70, THEM), false), None, "went in the line");
    assert_eq!(room.came_back(at(1), back(70, THEM), true), Some(back(70, THEM)));
    assert_eq!(room.came_back(at(1), back(70, THEM), true), None, "twice");
    room.leaves(at(0), 72, THEM, false, &Purpose::Notice);
    assert_eq!(room.came_back(at(100), back(72, THEM), false), None, "long past");
    // A request that comes back does not wait any more; one that was handed over does.
    room.leaves(at(100), 73, THEM, true, &Purpose::Request(Duration::from_secs(9)));
    let arrived = Returned { code: Code::Arrived, ..back(73, THEM) };
    assert!(room.came_back(at(101), arrived, true).is_some_and(|r| !r.request));
    assert_eq!(room.waiting(), 1);
    room.leaves(at(100), 74, THEM, true, &Purpose::Request(Duration::from_secs(9)));
    assert!(room.came_back(at(101), back(74, THEM), true).is_some_and(|r| r.request));
    assert_eq!(room.waiting(), 1);
}

#[test]
fn n21_what_is_local_stays_and_a_stopping_node_gives_everything_back() {
    let mut room = room("M");
    subscribe(&mut room, 1, "shop", None);
    let local = Envelope { local: true, ..notice("shop") };
    let outbound = Outbound::new(local);
    assert_eq!(room.sequence_to(&THEM, &outbound, &Purpose::Notice), Err(Code::Refused));
    assert_eq!(room.sequence_to(&US, &outbound, &Purpose::Notice), Ok(Sequence::M));
    assert_eq!(take(&mut room, "MA", &local), Taken::Back(Code::Refused, 0));
    let us = Hashname::new([1; 32]);
    let taken = room.own(us, (9, Priority::DEFAULT), &local, &Bytes::from_static(b"x"));
    let Taken::Delivered(incoming) = taken else { panic!("{taken:?}") };
    assert_eq!((incoming.record(), incoming.envelope()), ("x".into(), local));
    room.leaves(at(0), 1, THEM, true, &Purpose::Request(Duration::from_secs(9)));
    let ended = room.close();
    assert_eq!(ended.iter().map(|r| (r.id, r.code)).collect::<Vec<_>>(), [(1, Code::ShuttingDown)]);
    assert_eq!(take(&mut room, "MA", &notice("shop")), Taken::Back(Code::ShuttingDown, 0));
    let notice = Outbound::new(notice("shop"));
    assert_eq!(room.sequence_to(&THEM, &notice, &Purpose::Notice), Err(Code::ShuttingDown));
}

#[test]
fn n8_a_broadcast_is_judged_by_its_inner_message_and_wants_no_answer() {
    let mut room = room("MA");
    subscribe(&mut room, 1, "news", None);
    let broadcast = |letters: &str, envelope: &Envelope| {
        let arrival = arrival(letters, envelope);
        let Came::Plain(sequence) = arrival.came else { panic!("sealed") };
        Broadcast {
            origin: Hashname::new([2; 32]),
            id: 3,
            priority: Priority::DEFAULT,
            sequence,
            entrance: Entrance::default(),
            body: arrival.body,
        }
    };
    for letters in ["M", "MZ"] {
        let incoming =
            room.take_broadcast(&broadcast(letters, &notice("news")), |_| Ok(())).unwrap();
        assert!(incoming.broadcast && incoming.proved && incoming.envelope() == notice("news"));
    }
    let refused = room.take_broadcast(&broadcast("M", &notice("news")), |i| {
        assert!(i.proved && i.envelope().namespace == ns("news"));
        Err(4)
    });
    assert_eq!(refused.err(), Some(Code::Refused));
    for kind in [Kind::Request, Kind::Reply(1)] {
        let wants = Envelope { kind, ..notice("news") };
        let refused = room.take_broadcast(&broadcast("M", &wants), |_| Ok(()));
        assert_eq!(refused.err(), Some(Code::CannotUnpack));
    }
}

#[test]
fn n3_what_is_known_of_others_is_bounded() {
    let mut room = room("M");
    for n in 0..100u8 {
        room.packs(Address::new([n; 16]), PackTerms { least: Sequence::MA, ..PackTerms::BASIC });
    }
    let strict = |n: u8| {
        let outbound = Outbound { sequence: Some(Sequence::M), ..Outbound::new(notice("a")) };
        room.sequence_to(&Address::new([n; 16]), &outbound, &Purpose::Notice) == Ok(Sequence::MA)
    };
    assert_eq!((0..100).filter(|n| strict(*n)).count(), 4);
}
