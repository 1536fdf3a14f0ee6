//! The upkeep of the mesh as the notes have it, seen from outside: ticks, spread and pings.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use trunkline_proto::base::{Chance, Hashname, Instant};
use trunkline_proto::switch::meet::constants::{LEVEL, NEAREST, RECENT, TICK};
use trunkline_proto::switch::meet::distance::bucket;
use trunkline_proto::switch::meet::{Host, Meeting, Order, Terms};
use trunkline_proto::switch::{Introduction, Note, Path};

const SECOND: Duration = Duration::from_secs(1);

fn meeting(level: usize) -> (Meeting, Hashname, Chance) {
    let mut chance = Chance::from_number(1);
    let us = Hashname::new(chance.bytes());
    let host = Host { us, papers: Bytes::new(), partitions: 1 };
    let terms = Terms { spacer: true, level, ..Terms::default() };
    (Meeting::new(host, terms, chance.fork()), us, chance)
}

/// What was ordered: whether a census, and who was pinged.
fn orders(meeting: &mut Meeting) -> (usize, BTreeSet<Hashname>) {
    let (mut censuses, mut pinged) = (0, BTreeSet::new());
    while let Some(order) = meeting.poll() {
        match order {
            Order::All(Introduction::Census) => censuses += 1,
            Order::To(who, Introduction::Say { packet, .. }) if packet[0] == 0x20 => {
                pinged.insert(who);
            }
            _ => {}
        }
    }
    (censuses, pinged)
}

#[test]
fn s26_the_numbers_are_those_of_the_notes() {
    assert_eq!((LEVEL, NEAREST), (200, 100));
    assert_eq!((TICK, RECENT), (25 * SECOND, 30 * SECOND));
}

#[test]
fn s26_lines_are_looked_after_every_25_seconds() {
    let (mut meeting, ..) = meeting(LEVEL);
    let mut censuses = 0;
    for s in 0..600u32 {
        meeting.handle_timeout(Instant::from_micros(1) + SECOND * s);
        censuses += orders(&mut meeting).0;
    }
    // The first few come sooner, and each a tenth early at most.
    assert!((24..=30).contains(&censuses), "{censuses}");
}

#[test]
fn s26_each_bucket_gets_as_many_pings_as_the_level_by_the_buckets_with_lines() {
    let (mut meeting, us, mut chance) = meeting(12);
    let t0 = Instant::from_micros(1);
    let mut lines = Vec::new();
    while lines.len() < 60 {
        let who = Hashname::new(chance.bytes());
        // Three buckets with twenty lines each.
        let held = lines.iter().filter(|w| bucket(&us, w) == bucket(&us, &who)).count();
        if bucket(&us, &who) < 3 && held < 20 {
            let n = u8::try_from(lines.len()).unwrap();
            let path = Some(Path::Direct(([198, n, 1, 1], 42_424).into()));
            meeting.note(t0, Note::Line { peer: who, path, spacer: true });
            lines.push(who);
        }
    }
    meeting.handle_timeout(t0);
    orders(&mut meeting);
    // All of them are quiet: 12 / 3 = 4 in each bucket are kept.
    let later = t0 + 60 * SECOND;
    meeting.handle_timeout(later);
    orders(&mut meeting);
    meeting.note(later, Note::Active(Vec::new()));
    let (_, pinged) = orders(&mut meeting);
    for b in 0..3 {
        assert_eq!(pinged.iter().filter(|w| bucket(&us, w) == b).count(), 4, "bucket {b}");
    }
    // Those that were heard just now need none.
    let next = later + TICK;
    meeting.handle_timeout(next);
    orders(&mut meeting);
    meeting.note(next, Note::Active(lines.iter().map(|w| (*w, next)).collect()));
    assert!(orders(&mut meeting).1.is_empty());
}
