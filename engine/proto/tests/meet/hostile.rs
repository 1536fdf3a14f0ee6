//! What strangers, liars and greedy guests get.

use bytes::Bytes;
use trunkline_proto::base::{Chance, DropReason, Hashname, Instant};
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;
use trunkline_proto::stage::renewal::papers;
use trunkline_proto::switch::meet::constants::{POPPING, POPS_EACH, POPS_FROM_ONE_NETWORK};
use trunkline_proto::switch::meet::{Host, Meeting, Order, Terms};
use trunkline_proto::switch::{Answer, Introduction, Note, Path, State};
use trunkline_proto::wire::meet::{Near, No, Word};
use trunkline_proto::wire::packet;

use super::world::{MS, Nat, SECOND, World, guest, identity, relay};

fn say(w: &mut World, from: usize, to: usize, word: &Word) {
    let what = Introduction::Say { peer: w.hashname(to), packet: word.emit() };
    w.post(from, Role::Partition(0), Post::Introduce(what));
}

fn guests(terms: Terms) -> (World, usize, usize, usize) {
    let mut w = World::new();
    let v = w.add(Nat::Open, terms);
    let a = w.add(Nat::Open, guest(&w, v));
    let b = w.add(Nat::Open, guest(&w, v));
    for guest in [a, b] {
        w.introduce(guest, v, true);
    }
    assert!(w.until(5 * SECOND, |w| [a, b].iter().all(|g| w.path(*g, v).is_some())));
    (w, v, a, b)
}

#[test]
fn s21_a_seek_without_a_line_is_answered_if_its_via_has_one_and_never_with_more() {
    let (mut w, v, a, _) = guests(relay());
    let (to, at) = (identity(7).hashname(), w.places[v].outside);
    let stranger = ([198, 51, 100, 9], 9).into();
    let ask = |w: &mut World, via, padding| {
        let mut bytes = Word::Seek { id: 5, to, via: Some(via) }.emit().to_vec();
        bytes.resize(bytes.len() + padding, 0);
        let before = w.bytes.get(&stranger).map_or(0, |b| b.0);
        w.inject(stranger, at, &bytes);
        w.pass(50 * MS);
        (w.bytes.get(&stranger).map_or(0, |b| b.0) - before, bytes.len())
    };
    let unknown = identity(6).hashname();
    assert_eq!(ask(&mut w, unknown, 900).0, 0, "a via we hold no line to");
    let known = w.hashname(a);
    for padding in [0, 100, 500, 1_000] {
        let (got, sent) = ask(&mut w, known, padding);
        assert!(got <= sent, "{got} for {sent}");
        assert!(got > 0);
    }
}

#[test]
fn s17_a_key_outside_a_line_is_shown_to_who_sent_as_much() {
    let (mut w, v, ..) = guests(relay());
    let (who, at) = (w.hashname(v), w.places[v].outside);
    let stranger = ([198, 51, 100, 9], 9).into();
    for (length, answered) in [(0, false), (500, false), (1_100, true)] {
        let mut bytes = Word::Op { id: 5, who, seq: Some(0) }.emit().to_vec();
        bytes.resize(bytes.len().max(length), 0);
        let before = w.bytes.get(&stranger).map_or(0, |b| b.0);
        w.inject(stranger, at, &bytes);
        w.pass(50 * MS);
        let got = w.bytes.get(&stranger).map_or(0, |b| b.0) - before;
        assert!(got <= bytes.len());
        assert_eq!(got > 0, answered, "{length}");
    }
}

#[test]
fn s7_operators_that_answer_slowly_or_wrongly_cost_a_little_time_and_nothing_else() {
    let serves = || Terms { serves_keys: true, ..Terms::default() };
    let [other, another] = [6, 4].map(|i| identity(i).record().encoded().clone());
    let liars = [&other[..], b"no record", &[], &another[..300]];
    for lie in liars {
        let mut w = World::new();
        let [liar, dawdler, mute] = [(); 3].map(|()| w.add(Nat::Open, serves()));
        let operators = [liar, mute, dawdler].map(|o| w.hashname(o)).to_vec();
        let a = w.add(Nat::Open, Terms { operators, ..Terms::default() });
        let b = w.add(Nat::Open, Terms::default());
        for operator in [liar, dawdler, mute] {
            w.introduce(a, operator, true);
        }
        // It has to be an operator that tells the key.
        w.cut.insert((a.min(b), a.max(b)));
        w.introduce(a, b, false);
        let peer = w.hashname(b);
        w.ping(a, peer, 1);
        let asked =
            |w: &World| [liar, dawdler, mute].iter().all(|o| !w.places[*o].lookups.is_empty());
        assert!(w.until(5 * SECOND, asked));
        let tell = |w: &mut World, who: usize, record: &[u8]| {
            for (asker, id, who_) in core::mem::take(&mut w.places[who].lookups) {
                let papers = Some(papers(&[], record));
                w.post(who, Role::Meeting, Post::LookedUp { asker, id, who: who_, papers });
            }
        };
        tell(&mut w, liar, lie);
        w.pass(1_200 * MS);
        tell(&mut w, dawdler, identity(b).record().encoded());
        let resolved = |w: &World| w.contact(a, b).is_some_and(|c| c.state == State::Connecting);
        assert!(w.until(SECOND, resolved), "{:?}", w.contact(a, b));
        w.cut.clear();
        assert!(w.until(10 * SECOND, |w| w.answer(a, 1).is_some()));
        assert!(matches!(w.answer(a, 1), Some(Answer::Pong(_))), "{:?}", w.answer(a, 1));
        let mut known = w.places[a].shard.switch().unwrap().report(w.now);
        let believed = |who: Hashname| who == identity(6).hashname();
        assert!(!known.any(|c| believed(c.hashname)), "nothing was learned from a lie");
    }
}

#[test]
fn s22_pops_towards_a_third_party_bring_it_a_few_bytes_and_no_more() {
    let (mut w, v, a, b) = guests(relay());
    let victim: std::net::SocketAddr = ([198, 51, 100, 77], 53).into();
    let who = w.hashname(b);
    for _ in 0..2_000 {
        say(&mut w, a, v, &Word::Pop { who, at: vec![victim; 4] });
        w.pass(MS);
    }
    w.pass(2 * SECOND);
    let (to, _) = w.bytes.get(&victim).copied().unwrap_or_default();
    assert!(to <= 3 * 64, "{to} bytes to the victim");
}

#[test]
fn s22_a_peer_that_offers_a_victims_address_for_its_line_brings_it_a_few_tries() {
    let (mut w, v, a, _) = guests(relay());
    let victim: std::net::SocketAddr = ([198, 51, 100, 77], 53).into();
    let who = w.hashname(a);
    for _ in 0..500 {
        say(&mut w, a, v, &Word::Popping { who, at: vec![victim; 4] });
        w.pass(2 * MS);
    }
    w.pass(5 * SECOND);
    let (to, _) = w.bytes.get(&victim).copied().unwrap_or_default();
    assert!(to <= 72 * 64, "{to} bytes to the victim");
}

#[test]
fn s17_a_flood_from_outside_keeps_no_answer_away_that_was_asked_for() {
    let mut w = World::new();
    let a = w.add(Nat::Open, Terms::default());
    let others: Vec<_> = (0..5).map(|_| w.add(Nat::Open, relay())).collect();
    others.iter().for_each(|v| w.introduce(a, *v, false));
    let (at, peer) = (w.places[a].outside, w.hashname(others[0]));
    let part = Ok((0, 1, Bytes::from_static(b"forged")));
    let words = [
        Word::Key { id: 77, part },
        Word::Op { id: 5, who: w.hashname(a), seq: Some(0) },
        Word::Seek { id: 5, to: peer, via: Some(peer) },
    ];
    // Ten thousand a second, from as many addresses, before anything is asked and ever after.
    let flood = |w: &mut World, ms: u32| {
        for n in 0..10 {
            let from = ((0xc633_0000_u32 + ms * 10 + n).to_be_bytes(), 9).into();
            w.inject(from, at, &words[(ms + n) as usize % 3].emit());
        }
        w.pass(MS);
    };
    (0..2_000).for_each(|ms| flood(&mut w, ms));
    // The first answer of each is heard; there is no need to ask again.
    for (n, v) in others.into_iter().enumerate() {
        let (peer, token) = (w.hashname(v), n as u64);
        w.ping(a, peer, token);
        // Not in step with the milliseconds at which one more stranger is heard.
        let from = 2_000 + n as u32 * 301;
        (from..from + 301).for_each(|ms| flood(&mut w, ms));
        let answer = w.answer(a, token);
        assert!(matches!(answer, Some(Answer::Pong(_))), "{n}: {:?}", w.contact(a, v));
    }
}

/// A meeting with a line to a target, and how many introductions to it were passed on for whom.
fn introducer() -> (Meeting, Hashname, Chance) {
    let mut chance = Chance::from_number(9);
    let us = Hashname::new(chance.bytes());
    let host = Host { us, papers: Bytes::new(), partitions: 1 };
    let mut meeting = Meeting::new(host, relay(), chance.fork());
    let target = Hashname::new(chance.bytes());
    let path = Some(Path::Direct(([198, 51, 100, 1], 42_424).into()));
    meeting.note(Instant::ZERO, Note::Line { peer: target, path, spacer: false });
    (meeting, target, chance)
}

/// Somebody asks to be let in by the target: whether that is passed on.
fn asks(m: &mut Meeting, now: Instant, (peer, at): (Hashname, [u8; 4]), who: Hashname) -> bool {
    let packet = Word::Pop { who, at: Vec::new() }.emit();
    m.note(now, Note::Heard { peer, path: Path::Direct((at, 42_424).into()), packet });
    let mut passed = false;
    while let Some(order) = m.poll() {
        let what = match order {
            Order::To(to, Introduction::Say { packet, .. }) if to == who => packet,
            _ => continue,
        };
        passed |= what == Word::Popping { who: peer, at: vec![(at, 42_424).into()] }.emit();
    }
    passed
}

#[test]
fn s22_who_floods_an_introducer_keeps_nobody_else_from_being_let_in() {
    for crowd in [1, 40] {
        let (mut meeting, target, mut chance) = introducer();
        // One asker, and forty of one network.
        let greedy: Vec<_> =
            (0..crowd).map(|n| (Hashname::new(chance.bytes()), [203, 0, 113, n])).collect();
        let (mut flooded, mut others, mut kept_out) = (0, 0, 0);
        for ms in 0..20_000u32 {
            let now = Instant::ZERO + SECOND + MS * ms;
            let who = greedy[ms as usize % greedy.len()];
            flooded += u32::from(asks(&mut meeting, now, who, target));
            if ms % 500 == 499 {
                let n = (ms / 500) as u8;
                let other = (Hashname::new(chance.bytes()), [198, n, 1, 1]);
                others += 1;
                kept_out += u32::from(!asks(&mut meeting, now, other, target));
            }
        }
        // One may share a place in a table with one of the flood.
        assert!(others == 40 && kept_out <= 1, "{crowd}: {kept_out} of {others}");
        let (each, network) = (POPS_EACH, POPS_FROM_ONE_NETWORK);
        let most = network.1 + network.0 * 20;
        let most = if crowd == 1 { each.1 + each.0 * 20 } else { most };
        assert!((most / 2..=most + 1).contains(&flooded), "{crowd}: {flooded}");
    }
}

#[test]
fn s22_introductions_that_nobody_answers_make_way_for_others() {
    let (mut meeting, _, mut chance) = introducer();
    let now = Instant::ZERO + SECOND;
    let targets: Vec<_> = (0..60).map(|_| Hashname::new(chance.bytes())).collect();
    for (n, target) in targets.iter().enumerate() {
        let path = Some(Path::Direct(([198, 51, n as u8, 1], 42_424).into()));
        meeting.note(now, Note::Line { peer: *target, path, spacer: false });
    }
    while meeting.poll().is_some() {}
    // As many as an asker may ask at once, each for somebody else: more than can wait.
    for n in 0..20u8 {
        let asker = (Hashname::new(chance.bytes()), [203, n, 113, 1]);
        let passed = targets.iter().filter(|t| asks(&mut meeting, now, asker, **t)).count();
        assert_eq!(passed, 60, "{n}");
    }
    assert_eq!(meeting.counters().drops.of(DropReason::CrowdedOut), 60 * 20 - POPPING as u64);
}

#[test]
fn s21_answers_nobody_asked_for_are_dropped() {
    let (mut w, v, a, _) = guests(relay());
    let liar = identity(6).hashname();
    let near = vec![Near { who: liar, at: Some(([198, 51, 100, 77], 53).into()) }];
    say(&mut w, a, v, &Word::See { id: 77, near });
    let part = Ok((0, 1, Bytes::from_static(b"forged")));
    say(&mut w, a, v, &Word::Key { id: 77, part });
    w.pass(SECOND);
    assert!(w.contact(v, 0).is_none());
    assert_eq!(w.places[v].shard.meeting().unwrap().meeting().report(w.now).seen, 0);
}

#[test]
fn s21_a_flood_of_seeks_is_answered_at_its_rate_and_no_faster() {
    let (mut w, v, a, _) = guests(relay());
    let to = identity(7).hashname();
    for id in 0..5_000 {
        say(&mut w, a, v, &Word::Seek { id, to, via: None });
    }
    w.pass(SECOND);
    let seeks = w.places[v].shard.meeting().unwrap().meeting().counters().seeks;
    assert!((200..=300).contains(&seeks), "{seeks}");
}

#[test]
fn s22_a_relay_says_which_limit_a_bridge_met() {
    for (bridges, expected) in [(0, No::Refused), (1, No::Full)] {
        let mut w = World::new();
        let v = w.add(Nat::Open, Terms { bridges, ..relay() });
        let guests: Vec<_> = (0..4)
            .map(|_| {
                let g = w.add(Nat::Symmetric, guest(&w, v));
                w.introduce(g, v, true);
                g
            })
            .collect();
        w.pass(SECOND);
        for pair in guests.chunks(2) {
            let peer = w.hashname(pair[1]);
            w.ping(pair[0], peer, 1);
            w.pass(5 * SECOND);
        }
        let last = w.contact(guests[2], guests[3]).unwrap();
        assert_eq!(last.bridges, [(w.hashname(v), Some(Err(expected)))]);
        assert!(!matches!(w.answer(guests[2], 1), Some(Answer::Pong(_))));
        assert_eq!(w.answer(guests[0], 1).is_some(), bridges == 1);
    }
}

#[test]
fn s29_packets_outside_any_line_that_nothing_knows_are_the_applications() {
    let (mut w, v, ..) = guests(relay());
    let stranger = ([198, 51, 100, 9], 9).into();
    let at = w.places[v].outside;
    for json in [r#"{"_hello":1}"#, r#"{"anything":"else"}"#] {
        let mut bytes = Vec::new();
        packet::emit(json, &mut bytes).unwrap();
        bytes.extend_from_slice(b"body");
        w.inject(stranger, at, &bytes);
    }
    w.inject(stranger, at, &[0, 0, 0]);
    w.inject(stranger, at, b"\x00\x09{\"line\":1}");
    w.pass(50 * MS);
    let got = &w.places[v].anonymous;
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|(from, bytes)| *from == stranger && bytes.ends_with(b"body")));
}

#[test]
fn s6_packets_in_a_line_that_nothing_knows_are_the_applications() {
    let (mut w, v, a, _) = guests(relay());
    let mut bytes = Vec::new();
    packet::emit(r#"{"_app":{"x":[1,2]},"more":true}"#, &mut bytes).unwrap();
    bytes.extend_from_slice(b"body");
    let say = Introduction::Say { peer: w.hashname(v), packet: bytes.clone().into() };
    w.post(a, Role::Partition(0), Post::Introduce(say));
    w.pass(50 * MS);
    assert_eq!(w.places[v].unhandled, [(w.hashname(a), Bytes::from(bytes))]);
}
