//! Messages over two links, with a node in the middle that may look, change, lose and make up
//! whatever it wants. Whole shards, virtual time, no sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "a test may fail loudly"
)]

mod world;

use std::time::Duration;

use trunkline_proto::base::{Address, Chance, DropReason, Limits, Priority, RecordId};
use trunkline_proto::gate::{Action, Rule, Rules};
use trunkline_proto::message::{Outbound, Purpose, Settings};
use trunkline_proto::stage::post::Post;
use trunkline_proto::wire::package::{
    Code, Content, HEADER, Header, Return, SEALED_HEADER, Sequence, echo,
};
use world::{World, identity, notice, ns};

/// Where a package's lane and TTL stand: the first byte that a session vouches for behind the kind,
/// and the only one behind that which it does not.
const AT_LANE: usize = 3;
const AT_TTL: usize = 5;

fn row() -> World {
    World::row(&Limits::default(), &Settings::default())
}

#[test]
fn n16_keys_are_renewed_under_way_and_no_message_is_lost() {
    let limits = Limits {
        rekey_after: Duration::from_secs(4),
        keys_dead_after: Duration::from_secs(6),
        ..Limits::default()
    };
    let mut w = World::row(&limits, &Settings::default());
    for id in 0..600 {
        w.send(0, 2, id, notice("MA"), &id.to_be_bytes());
        w.pass(100, &mut |_, _| true);
    }
    w.pass(1_000, &mut |_, _| true);
    let got: Vec<u64> = w.places[2].taken.iter().map(|m| m.id).collect();
    assert_eq!(got, (0..600).collect::<Vec<_>>(), "each once, in order");
    assert!(w.places[2].taken.iter().all(|m| m.record() == m.id.to_be_bytes()[..]));
    let renewals = w.places[0].shard.switch().unwrap().counters().renewals;
    assert!(renewals >= 5, "{renewals}");
    assert!(w.places[0].back.is_empty(), "{:?}", w.places[0].back);
}

#[test]
fn n16_a_middle_node_sees_neither_record_nor_namespace_and_changes_nothing() {
    let mut w = row();
    let secret = b"the secret of the record".repeat(3);
    let words: [&[u8]; 4] = [&secret[..24], b"shop", b"till-9", b"Order-4711"];
    // What passes the middle node, both ways, and which of the words are in it.
    let mut show = |sequence: &str| {
        let mut what = Outbound::to(ns("shop"), RecordId::text("Order-4711").unwrap());
        what.envelope.target = Some(ns("till-9"));
        what.sequence = Some(sequence.parse().unwrap());
        let mut seen = Vec::new();
        w.send(0, 2, 1, what, &secret);
        w.pass(500, &mut |_, frame| {
            seen.extend_from_slice(frame);
            true
        });
        assert!(seen.len() > secret.len());
        words.map(|word| seen.windows(word.len()).any(|s| s == word))
    };
    assert_eq!(show("M"), [true; 4], "where nothing is sealed all of it can be read");
    assert_eq!(show("MA"), [false; 4]);
    assert_eq!(w.places[2].taken.len(), 2);
    // Every byte of the header but the TTL is authenticated, and all behind it: each, changed, is
    // refused. What it changes of length and kind of the frame itself is no package of this line.
    for at in (AT_LANE..=SEALED_HEADER).filter(|at| *at != AT_TTL) {
        let altered = std::cell::Cell::new(false);
        w.send(0, 2, 100 + at as u64, notice("MA"), b"x");
        w.pass(20, &mut |from, frame| {
            if from == 1 && Header::parse(frame).is_ok_and(|h| h.content == Content::Sealed) {
                frame[at] ^= 1;
                altered.set(true);
            }
            true
        });
        assert!(altered.get(), "byte {at} did not come by");
        assert_eq!(w.places[2].taken.len(), 2, "byte {at}: {:?}", w.places[2].taken.last());
    }
    // The TTL is what hops may change.
    w.send(0, 2, 3, notice("MA"), b"x");
    w.pass(500, &mut |from, frame| {
        frame[AT_TTL] -= u8::from(from == 1);
        true
    });
    assert_eq!(w.places[2].taken.len(), 3);
    w.send(0, 2, 2, notice("MA"), b"x");
    w.pass(500, &mut |_, _| true);
    assert_eq!(w.places[2].taken.len(), 4, "the line stands");
}

#[test]
fn n5_a_claim_of_another_sender_is_no_proof_and_stripped_letters_come_back() {
    let mut w = row();
    let stranger = Address::new([9; 16]);
    // A plain message names its source itself.
    w.send(0, 2, 1, notice("M"), b"x");
    w.pass(100, &mut |from, frame| {
        if from == 1 {
            frame[28..44].copy_from_slice(stranger.as_bytes());
        }
        true
    });
    let taken = &w.places[2].taken[0];
    assert!(taken.from == stranger && !taken.proved && taken.hashname.is_none());
    // Letters of a header that are not those of the body.
    for (id, letters) in [(2, *b"M\0\0\0"), (3, *b"MZA\0"), (4, *b"ZM\0\0"), (5, *b"MQ\0\0")] {
        w.send(0, 2, id, notice("MZ"), &[0; 500]);
        w.pass(100, &mut |from, frame| {
            if from == 0 && Header::parse(frame).is_ok_and(|h| h.content == Content::Message) {
                frame[8..12].copy_from_slice(&letters);
            }
            true
        });
        let back = w.places[0].back.last().copied().expect("a return");
        let by = Some(w.places[2].name.address());
        assert_eq!((back.id, back.code, back.by), (id, Code::CannotUnpack, by));
    }
    assert_eq!((w.places[2].taken.len(), w.places[0].back.len()), (1, 4));
}

/// A return as the middle node would write one, for a frame it saw.
fn made_up(w: &World, frame: &[u8], code: Code, guess: bool) -> Vec<u8> {
    let seen = Header::parse(frame).unwrap();
    let body = Return {
        code,
        content: seen.content,
        destination: seen.destination,
        offset: 0,
        rule: 0,
        echo: if guess { [7; 8] } else { echo(&frame[HEADER..]) },
    };
    let head = Header {
        priority: Priority::HIGHEST,
        reply: true,
        ttl: 9,
        content: Content::Return,
        sequence: Sequence::M,
        destination: seen.source,
        source: w.places[1].name.address(),
        message: seen.message,
        total: 32,
        offset: 0,
    };
    [&head.emit(Return::LEN).unwrap()[..], &body.emit()].concat()
}

#[test]
fn n21_the_return_of_a_sealed_package_is_believed_of_who_saw_it_and_once() {
    let mut w = row();
    w.send(0, 2, 1, notice("MA"), b"opens the line");
    w.pass(500, &mut |_, _| true);
    let mut lost = Vec::new();
    w.send(0, 2, 2, notice("MA"), b"does not arrive");
    w.pass(50, &mut |from, frame| {
        let message = from == 1 && Header::parse(frame).is_ok_and(|h| h.content == Content::Sealed);
        if message && frame[28..44] == *w_address(0).as_bytes() {
            lost.push(frame.to_vec());
        }
        !message
    });
    fn w_address(index: usize) -> Address {
        static ROW: std::sync::OnceLock<Vec<Address>> = std::sync::OnceLock::new();
        ROW.get_or_init(|| row().places.iter().map(|p| p.name.address()).collect())[index]
    }
    let guessed = made_up(&w, &lost[0], Code::QueueFull, true);
    w.inject(0, &guessed);
    assert!(w.places[0].back.is_empty(), "whoever guesses is not believed");
    let seen = made_up(&w, &lost[0], Code::QueueFull, false);
    w.inject(0, &seen);
    let back = w.places[0].back.clone();
    let by = Some(w.places[1].name.address());
    assert_eq!(
        back.iter().map(|b| (b.id, b.code, b.by)).collect::<Vec<_>>(),
        [(2, Code::QueueFull, by)]
    );
    w.inject(0, &seen);
    assert_eq!(w.places[0].back, back, "told once");
    // Nor does a plain return speak for a message in a line.
    w.send(0, 2, 3, notice("MA"), b"x");
    let plain =
        Header { content: Content::Message, message: 3, ..Header::parse(&lost[0]).unwrap() };
    let plain = made_up(&w, &plain.emit(0).unwrap(), Code::Refused, true);
    w.inject(0, &plain);
    assert_eq!(w.places[0].back, back);
}

#[test]
fn n21_returns_never_cause_returns_and_mean_nothing_for_what_was_not_sent() {
    let mut w = row();
    let head = Header {
        priority: Priority::HIGHEST,
        reply: true,
        ttl: 9,
        content: Content::Message,
        sequence: Sequence::M,
        destination: w.places[2].name.address(),
        source: w.places[0].name.address(),
        message: 77,
        total: 0,
        offset: 0,
    };
    let frame = head.emit(0).unwrap();
    for content in [Content::Message, Content::Sealed, Content::Switch, Content::Probe] {
        let mut frame = frame;
        frame[6] = content as u8;
        let back = made_up(&w, &frame, Code::Refused, true);
        w.inject(0, &back);
    }
    // Returns that go round between two nodes that do not know what they are about.
    let loops = made_up(&w, &frame, Code::NoRoute, true);
    for _ in 0..1_000 {
        w.inject(0, &loops);
        w.inject(2, &loops);
    }
    let mut packages = 0;
    w.pass(1_000, &mut |from, frame| {
        let returned = Header::parse(frame).is_ok_and(|h| h.content == Content::Return);
        packages += u32::from(returned && from != 1);
        true
    });
    assert_eq!(packages, 0, "no node answered one");
    assert!(w.places.iter().all(|p| p.back.is_empty()));
    assert!(w.places[0].shard.drops().of(DropReason::Unhandled) >= 1_000);
}

#[test]
fn n21_a_flood_at_the_highest_priority_is_bounded_counted_and_answered() {
    let mut w = row();
    let mut what = notice("M");
    (what.priority, what.envelope.namespace) = (Priority::HIGHEST, ns("nobody"));
    w.send(0, 2, 1, what, b"x");
    let mut template = Vec::new();
    w.pass(50, &mut |from, frame| {
        if from == 1 && Header::parse(frame).is_ok_and(|h| h.content == Content::Message) {
            template = frame.to_vec();
        }
        true
    });
    let before = w.places[0].back.len();
    assert_eq!(before, 1);
    let mut returns = 0;
    for id in 0..20_000u64 {
        template[44..52].copy_from_slice(&(1_000 + id).to_be_bytes());
        w.inject(2, &template);
        if id % 2_000 == 0 {
            w.pass(100, &mut |from, frame| {
                let back = Header::parse(frame).is_ok_and(|h| h.content == Content::Return);
                returns += u32::from(from == 2 && back);
                true
            });
        }
    }
    assert!((50..=150).contains(&returns), "{returns} for one source in a second");
    let drops = w.places[2].shard.drops();
    assert!(drops.of(DropReason::RateLimited) >= 19_000, "{drops:?}");
    // Links and lines live on, and messages get through.
    w.send(0, 2, 5, notice("MA"), b"still here");
    w.pass(500, &mut |_, _| true);
    assert_eq!(w.places[2].taken.last().unwrap().record(), "still here");
}

#[test]
fn n16_what_waits_for_a_line_is_bounded_and_every_message_comes_back_once() {
    let limits = Limits { waiting_bytes_each: 1 << 20, ..Limits::default() };
    let mut w = World::row(&limits, &Settings::default());
    // Packages of the opening get lost: nothing is heard of the other end.
    for id in 0..100 {
        w.send(0, 2, id, notice("MA"), b"small");
    }
    assert_eq!(w.places[0].back.len(), 36, "64 wait");
    assert!(w.places[0].back.iter().all(|b| b.code == Code::QueueFull && b.by.is_none()));
    w.pass(25_000, &mut |from, _| from != 0);
    let mut told: Vec<u64> = w.places[0].back.iter().map(|b| b.id).collect();
    told.sort_unstable();
    assert_eq!(told, (0..100).collect::<Vec<_>>(), "each once");
    assert!(w.places[0].back[36..].iter().all(|b| b.code == Code::TimedOut && b.by.is_none()));
    // Bytes are bounded, too.
    w.places[0].back.clear();
    for id in 200..210 {
        w.send(0, 1, id, notice("MA"), &[0; 200_000]);
    }
    w.pass(20, &mut |from, _| from != 0);
    let full = w.places[0].back.iter().filter(|b| b.code == Code::QueueFull).count();
    assert_eq!(full, 5, "{:?}", w.places[0].back);
    w.pass(5_000, &mut |_, _| true);
    assert_eq!(w.places[1].taken.len(), 5, "the others leave with the line");
}

#[test]
fn n21_a_request_crosses_two_links_and_its_reply_overtakes() {
    let mut w = row();
    let ask = Purpose::Request(Duration::from_secs(5));
    for (id, letters) in [(1, "MA"), (2, "MZ")] {
        w.send_for(0, 2, id, notice(letters), ask, &[5; 300]);
        w.pass(500, &mut |_, _| true);
        let question = w.places[2].taken.pop().expect("a question");
        let packed = question.sequence.builders();
        let reply = Purpose::Reply { to: question.id, packed };
        let mut what = notice("M");
        what.priority = Priority::HIGHEST;
        w.send_for(2, 0, 900 + id, what, reply, b"the answer");
        w.pass(500, &mut |_, _| true);
        let (to, answer) = w.places[0].replies.pop().expect("an answer");
        assert_eq!((to, answer.record()), (id, "the answer".into()));
        assert_eq!(answer.proved, letters == "MA", "sealed because the question was");
    }
    assert!(w.places[0].back.is_empty() && w.places[2].back.is_empty());
    // One that nobody waits for comes back to whoever sent it.
    let late = Purpose::Reply { to: 1, packed: Sequence::MA.builders() };
    w.send_for(2, 0, 950, notice("MA"), late, b"again");
    w.pass(500, &mut |_, _| true);
    assert_eq!(w.places[2].back.pop().map(|b| (b.id, b.code)), Some((950, Code::UnknownTarget)));
    // The other end dies without a word: the request ends in time.
    w.send_for(0, 2, 3, notice("MA"), ask, b"anybody?");
    w.pass(6_000, &mut |_, _| false);
    let told: Vec<_> = w.places[0].back.iter().map(|b| (b.id, b.code, b.request)).collect();
    assert_eq!(told, [(3, Code::TimedOut, true)]);
}

#[test]
fn n9_the_gatekeeper_is_told_where_a_message_came_in_and_its_rule_goes_back() {
    let [a, middle] = [0, 1].map(|n| identity(n).hashname().address());
    // The node in the middle called the last one at its port.
    let welcome = Rule {
        port: Some(22),
        neighbour: Some(middle),
        record: Some(7.into()),
        namespace: Some("shop".parse().unwrap()),
        sender: Some(a),
        ..Rule::default()
    };
    let nothing_else = Rule { action: Action::Refuse, ..Rule::default() };
    let chance = &mut Chance::from_number(1);
    let rules = Rules::new(vec![welcome, nothing_else], Action::Allow, false, chance).unwrap();
    let mut w = World::guarded(&Limits::default(), &Settings::default(), rules);
    w.send(0, 2, 1, notice("MA"), b"x");
    w.pass(500, &mut |_, _| true);
    assert_eq!((w.places[2].taken.len(), w.places[0].back.len()), (1, 0));
    // Not sealed it only claims to be of that sender.
    w.send(0, 2, 2, notice("M"), b"x");
    w.pass(500, &mut |_, _| true);
    assert_eq!(w.places[2].taken.len(), 1);
    let back = w.places[0].back.pop().unwrap();
    let by = Some(w.places[2].name.address());
    assert_eq!((back.id, back.code, back.rule, back.by), (2, Code::Refused, 2, by));
    // Sealed messages come back inside the line; so does the rule.
    let mut other = notice("MA");
    other.envelope.record = 8.into();
    w.send(0, 2, 3, other, b"x");
    let mut returns = 0;
    w.pass(500, &mut |_, frame| {
        returns += u32::from(Header::parse(frame).is_ok_and(|h| h.content == Content::Return));
        true
    });
    let back = w.places[0].back.pop().unwrap();
    assert_eq!((back.id, back.code, back.rule, back.by), (3, Code::Refused, 2, by));
    assert_eq!(returns, 0, "nobody on the way learns of it");
    let hits = w.places[2].shard.gate().unwrap().hits();
    assert_eq!((hits.rules.clone(), hits.refused), (vec![1, 2], 2));
    // Replies to the node's own requests are not judged, nor are its messages to itself.
    let ask = Purpose::Request(Duration::from_secs(5));
    w.send_for(2, 0, 4, notice("MA"), ask, b"?");
    w.pass(500, &mut |_, _| true);
    let question = w.places[0].taken.pop().unwrap();
    let reply = Purpose::Reply { to: question.id, packed: question.sequence.builders() };
    w.send_for(0, 2, 5, notice("MA"), reply, b"!");
    w.pass(500, &mut |_, _| true);
    assert_eq!(w.places[2].replies.len(), 1);
    w.send(2, 2, 6, notice("M"), b"to myself");
    assert_eq!(w.places[2].taken.last().unwrap().record(), "to myself");
    w.post(2, Post::CloseLines);
    w.send(0, 2, 7, notice("M"), b"too late");
    w.pass(500, &mut |_, _| true);
    let back = w.places[0].back.pop().unwrap();
    assert_eq!((back.id, back.code, back.by), (7, Code::ShuttingDown, by));
}
