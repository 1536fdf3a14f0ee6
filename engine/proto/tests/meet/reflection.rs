//! No more bytes go to an address that has proved nothing than came from it: measured for every
//! kind of packet, and held against the table of PROTOCOL §8. What goes to addresses that others
//! named is the second table.

use std::net::SocketAddr;

use bytes::Bytes;
use trunkline_proto::base::{BootEpoch, Chance, Instant, LineId, Priority};
use trunkline_proto::crypto::{Capabilities, Opener, PendingOpen};
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;
use trunkline_proto::stage::renewal::papers;
use trunkline_proto::switch::meet::Terms;
use trunkline_proto::switch::{Introduction, MAX_DATAGRAM};
use trunkline_proto::wire::meet::{Near, Word};
use trunkline_proto::wire::{bridged, packet, sealed};

use super::world::{MS, Nat, SECOND, World, identity, relay};

const DOCUMENT: &str = include_str!("../../../../docs/PROTOCOL.md");
const STRANGER: ([u8; 4], u16) = ([198, 51, 100, 9], 9);

fn json(text: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    packet::emit(text, &mut out).unwrap();
    out.extend_from_slice(body);
    out
}

/// A node with a line to another, and a stranger.
fn world() -> (World, usize, usize) {
    let mut w = World::new();
    let v = w.add(Nat::Open, relay());
    let introducers = vec![w.hashname(v)];
    let a = w.add(Nat::Open, Terms { introducers, ..relay() });
    w.introduce(a, v, true);
    assert!(w.until(5 * SECOND, |w| w.path(a, v).is_some()));
    w.pass(2 * SECOND);
    (w, v, a)
}

/// Bytes and datagrams that reach the stranger's address within two seconds of this packet.
fn reflect(w: &mut World, v: usize, bytes: &[u8]) -> usize {
    let at = w.places[v].outside;
    let count = |w: &World| w.bytes.get(&STRANGER.into()).map_or(0, |b| b.0);
    let before = count(w);
    w.inject(STRANGER.into(), at, bytes);
    w.pass(2 * SECOND);
    count(w) - before
}

/// An open of a stranger whose record is true, as are all these can be.
fn initiation(v: usize, counter: u64) -> Vec<u8> {
    let capabilities = Capabilities(0);
    let opener = Opener { line: LineId([9; 16]), epoch: BootEpoch(1), counter, capabilities };
    let mut chance = Chance::from_number(counter);
    let pending =
        PendingOpen::start(&identity(6), identity(v).record(), opener, &[], &mut chance).unwrap();
    json(r#"{"open":1}"#, pending.body())
}

/// What strangers can send that says something, and what it brings.
fn known(w: &World, v: usize, a: usize) -> Vec<(&'static str, Vec<u8>)> {
    let (us, friend, to) = (w.hashname(v), w.hashname(a), identity(7).hashname());
    let padded = |word: Word, length: usize| {
        let mut bytes = word.emit().to_vec();
        bytes.resize(bytes.len().max(length), 0);
        bytes
    };
    let op = |seq| Word::Op { id: 5, who: us, seq: Some(seq) };
    let seek = |via| Word::Seek { id: 5, to, via };
    let near = vec![Near { who: to, at: Some(STRANGER.into()) }];
    let part = Ok((0, 1, Bytes::from_static(&[7; 900])));
    let line = LineId([3; 16]);
    let (priority, counter) = (Priority::DEFAULT, 1);
    let head = sealed::Header { priority, line, counter };
    let carries = bridged::Header { priority, line }.emit();
    let first = initiation(v, 1);
    let mut forged = initiation(v, 2);
    let last = forged.len() - 17;
    forged[last] ^= 1;
    let text = |body: &[u8]| [&head.emit()[..], body].concat();
    vec![
        ("`open`, an initiation", first.clone()),
        ("the same again", first),
        ("the same, its mac1 forged", forged),
        ("`open`, a response or cookie nobody waits for", json(r#"{"open":1}"#, &[2; 120])),
        ("`op` for the node's own key, not padded", padded(op(0), 0)),
        ("`op` for the node's own key, padded to 1,100 bytes", padded(op(0), 1_100)),
        ("`op` for another's key", padded(Word::Op { id: 5, who: friend, seq: Some(0) }, 1_100)),
        ("`seek` with a `via` there is a line to", padded(seek(Some(friend)), 0)),
        ("the same, padded to 1,100 bytes", padded(seek(Some(friend)), 1_100)),
        ("`seek` with any other `via`, or none", padded(seek(Some(to)), 1_100)),
        ("`key` nobody asked for", padded(Word::Key { id: 5, part }, 0)),
        ("`see` nobody asked for", padded(Word::See { id: 5, near }, 0)),
        ("`pop` outside a line", padded(Word::Pop { who: friend, at: vec![STRANGER.into()] }, 0)),
        ("a sealed packet of no line", text(&[0; MAX_DATAGRAM - 28])),
        ("the same as JSON", json(&head.to_json(), &[0; 1_000])),
        ("a bridged datagram of no bridge", [&carries[..], &[0; 1_000]].concat()),
        ("a punch", bridged::NOTHING.to_vec()),
        ("what only the application knows", json(r#"{"_app":1}"#, &[0; 1_000])),
        ("bytes of no kind", vec![0xff; 1_000]),
    ]
}

#[test]
fn s21_s22_no_more_goes_to_an_unproved_address_than_came_from_it_whatever_it_sends() {
    let (mut w, v, a) = world();
    let mut table = String::new();
    let mut row = |name: &str, sent: usize, got: usize| {
        assert!(got <= sent, "{name}: {got} bytes for {sent}");
        table += &format!("| {name} | {sent} | {got} |\n");
    };
    for (name, bytes) in known(&w, v, a) {
        let got = reflect(&mut w, v, &bytes);
        row(name, bytes.len(), got);
    }
    // More opens than it answers without a cookie, all at once; then one more.
    let at = w.places[v].outside;
    let flood = initiation(v, 3);
    let before = w.bytes.get(&STRANGER.into()).copied().unwrap();
    for _ in 0..400 {
        w.inject(STRANGER.into(), at, &flood);
    }
    w.pass(15 * MS);
    let after = w.bytes.get(&STRANGER.into()).copied().unwrap();
    assert!(after.0 - before.0 <= after.1 - before.1);
    let cookies = w.places[v].shard.switch().unwrap().counters().cookies;
    assert!(cookies > 100, "{cookies}");
    let before = w.bytes.get(&STRANGER.into()).copied().unwrap().0;
    // What waits for its answer is not held back: the cookie comes at once, and nothing later.
    for _ in 0..200 {
        w.inject(STRANGER.into(), at, &flood);
    }
    w.pass(2 * SECOND);
    let each = (w.bytes.get(&STRANGER.into()).copied().unwrap().0 - before).div_ceil(200);
    assert!(each <= flood.len());
    let all = w.bytes.get(&STRANGER.into()).copied().unwrap();
    assert!(all.0 <= all.1, "{all:?}");
    println!("{table}");
    for line in table.lines() {
        assert!(DOCUMENT.contains(line), "PROTOCOL §8 does not have\n{line}\nof\n{table}");
    }
}

/// What a host gets that somebody else named, in the first second and in each one after.
fn flood(w: &mut World, victim: SocketAddr, mut once: impl FnMut(&mut World)) -> (usize, usize) {
    let count = |w: &World| {
        let of = w.bytes.iter().filter(|(at, _)| at.ip() == victim.ip());
        of.map(|(_, bytes)| bytes.0).sum::<usize>()
    };
    for _ in 0..1_000 {
        once(w);
        w.pass(MS);
    }
    let first = count(w);
    for _ in 0..4_000 {
        once(w);
        w.pass(MS);
    }
    (first, (count(w) - first) / 4)
}

#[test]
fn s22_an_address_that_others_name_gets_a_few_packets_a_second_of_each_node() {
    let victim: SocketAddr = ([198, 51, 100, 77], 53).into();
    let (mut w, v, a) = world();
    let say = |w: &mut World, word: &Word| {
        let what = Introduction::Say { peer: w.hashname(v), packet: word.emit() };
        w.post(a, Role::Partition(0), Post::Introduce(what));
    };
    let (us, other) = (w.hashname(a), identity(6).hashname());
    let punches =
        flood(&mut w, victim, |w| say(w, &Word::Popping { who: other, at: vec![victim; 4] }));
    let (mut w, ..) = world();
    let tries = flood(&mut w, victim, |w| say(w, &Word::Popping { who: us, at: vec![victim; 4] }));
    // One whose key is known, wanted, and said to be there.
    let (mut w, ..) = world();
    let papers = papers(&[], identity(6).record().encoded());
    let until = w.now + 60 * SECOND;
    // Another port each time: an address that is named again brings nothing new.
    let port = |now: Instant| {
        let ms = now.since(Instant::ZERO).as_millis() % 60_000;
        SocketAddr::new(victim.ip(), 1 + u16::try_from(ms).unwrap())
    };
    let opens = flood(&mut w, victim, |w| {
        for what in [
            Introduction::Papers { peer: other, papers: papers.clone() },
            Introduction::Seen { peer: other, at: vec![port(w.now)] },
            Introduction::Keep { peer: other, until },
        ] {
            w.post(v, Role::Partition(0), Post::Introduce(what));
        }
    });
    let mut table = String::new();
    for (what, (first, later)) in [
        ("punches, 3 bytes", punches),
        ("tries, for a line that goes there directly as it is", tries),
        ("opens to one hashname", opens),
    ] {
        table += &format!("| {what} | {first} | {later} |\n");
    }
    println!("{table}");
    // The bound of `STRANGERS`: 32 at once and 8 a second, none larger than an open.
    for (_, (first, later)) in [("", punches), ("", tries), ("", opens)] {
        assert!(first <= 40 * 1_440 && later <= 9 * 1_440, "{table}");
    }
    assert!(punches.0 <= 40 * 3 && punches.1 <= 9 * 3, "{table}");
    for line in table.lines() {
        assert!(DOCUMENT.contains(line), "PROTOCOL §8 does not have\n{line}\nof\n{table}");
    }
}
