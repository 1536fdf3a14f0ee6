//! What an operator answers from: what was acknowledged is there whatever happens to the process,
//! vouchers are made anew before they end, and nobody gets in who should not.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::identity;
use tempfile::TempDir;
use trunkline::directory::{self, Directory, DirectoryError, Entry, Member, Register, Store};
use trunkline::proto::base::{Hashname, Wall};
use trunkline::proto::crypto::{Flags, SpaceRules, voucher};
use trunkline::runtime::clock::Clock;

const DAY: Duration = Duration::from_secs(86_400);

fn register(dir: &TempDir) -> Register {
    Register::open(&dir.path().join("d.redb"), Arc::new(identity(0))).expect("a register")
}

#[test]
fn s7_members_are_added_changed_listed_and_struck_off() {
    let dir = TempDir::new().unwrap();
    let register = register(&dir);
    let now = Clock::wall();
    for index in [1, 2, 3] {
        let member = register.add(identity(index).record(), Flags::PROXY, DAY, now).unwrap();
        assert_eq!(member.hashname, identity(index).hashname());
    }
    let again = register.add(identity(1).record(), Flags::NONE, 2 * DAY, now).unwrap();
    assert_eq!((again.flags, again.valid), (Flags::NONE, 2 * DAY));
    let all = register.list(None, 10).unwrap();
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by_key(|m| m.hashname));
    assert!(all.contains(&again));
    let rest = register.list(Some(&all[0].hashname), 1).unwrap();
    assert_eq!(rest, all[1..2]);
    assert!(register.remove(&identity(1).hashname()).unwrap());
    assert!(!register.remove(&identity(1).hashname()).unwrap());
    assert_eq!(register.look_up(&identity(1).hashname()).unwrap(), None);
    assert_eq!(register.list(None, 10).unwrap().len(), 2);
}

#[test]
fn s7_a_look_up_gives_a_voucher_that_lets_in_for_a_while() {
    let dir = TempDir::new().unwrap();
    let register = register(&dir);
    let (member, start) = (identity(1), Clock::wall());
    let who = member.hashname();
    register.add(member.record(), Flags::SPACER, 10 * DAY, start).unwrap();
    let rules = SpaceRules::closed(*member.space(), [identity(0).hashname()]);
    rules.learned(identity(0).record());
    let mut seen = BTreeSet::new();
    for day in 0..30 {
        let now = Wall::from_secs(start.as_secs() + day * 86_400);
        let entry = register.look_up_at(&who, now).unwrap().expect("a member");
        assert_eq!(&entry.record, member.record().encoded());
        let voucher = entry.voucher.unwrap();
        let end = voucher::parse(&voucher).unwrap().expiry;
        assert!(end >= now.after(5 * DAY), "day {day}: half its life is left");
        let admission = rules.vouched(&who, &voucher, start).unwrap();
        assert_eq!((admission.flags, admission.until), (Flags::SPACER, Some(end)));
        seen.insert(voucher);
    }
    assert_eq!(seen.len(), 5, "a new one when half of its life is gone, not for each question");
}

#[test]
fn s7_a_function_answers_as_well() {
    let member = identity(1).hashname();
    let entry = Entry { record: identity(1).record().encoded().clone(), voucher: None };
    let known = entry.clone();
    let source = directory::from_fn(move |who| match *who == member {
        true => Ok(Some(known.clone())),
        false => Err(DirectoryError::Other("the list is being moved".into())),
    });
    assert_eq!(source.look_up(&member).unwrap(), Some(entry));
    let error = source.look_up(&identity(2).hashname()).unwrap_err();
    assert_eq!(error.to_string(), "the list is being moved");
}

#[test]
fn s7_other_spaces_and_older_records_are_refused() {
    let dir = TempDir::new().unwrap();
    let register = register(&dir);
    let now = Clock::wall();
    let mut chance = trunkline::proto::base::Chance::from_number(7);
    let space = "other".parse().unwrap();
    let stranger =
        trunkline::proto::crypto::Identity::generate(&space, 2_048, &mut chance, now, DAY).unwrap();
    let refused = register.add(stranger.record(), Flags::NONE, DAY, now).unwrap_err();
    assert!(refused.to_string().contains("lives in the space other, the operator in test"));
    let renewed = identity(1).renew(&mut chance, now, DAY).unwrap();
    register.add(renewed.record(), Flags::NONE, DAY, now).unwrap();
    let refused = register.add(identity(1).record(), Flags::NONE, DAY, now).unwrap_err();
    assert!(matches!(refused, DirectoryError::Stale(_)), "{refused}");
    let entry = register.look_up(&renewed.hashname()).unwrap().unwrap();
    assert_eq!(&entry.record, renewed.record().encoded());
}

#[test]
fn s7_a_file_that_cannot_be_used_says_why() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("d.redb");
    let open = Store::open(&path).unwrap();
    let locked = Store::open(&path).unwrap_err();
    assert!(matches!(locked, DirectoryError::Locked { .. }), "{locked}");
    assert!(locked.to_string().contains("most likely the running node"), "{locked}");
    drop(open);
    std::fs::write(&path, "this is a letter, not a directory".repeat(1_000)).unwrap();
    let damaged = Store::open(&path).unwrap_err();
    assert!(matches!(damaged, DirectoryError::Damaged { .. }), "{damaged}");
    let nowhere = Store::open(&dir.path().join("no/such/d.redb")).unwrap_err();
    assert!(matches!(nowhere, DirectoryError::System { .. }), "{nowhere}");
}

/// The member of a number, for tests of the file alone.
fn numbered(n: u64) -> Member {
    let mut name = [0; 32];
    name[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    name[8..16].copy_from_slice(&n.to_be_bytes());
    Member {
        hashname: Hashname::new(name),
        record: Bytes::from(vec![n as u8; 900]),
        serial: n,
        flags: Flags(n as u8),
        valid: Duration::from_secs(n),
        voucher: Some(Bytes::from(vec![n as u8; voucher::LEN])),
    }
}

/// How often the process is killed, and how many members it adds before that, at least.
const KILLS: u64 = 12;
const BETWEEN: u64 = 5;

/// Not a test of its own: the process that is killed.
#[test]
#[ignore = "run by the test below"]
fn adds_members_until_it_is_killed() {
    let Some(path) = std::env::var_os("TRUNKLINE_TEST_DIRECTORY") else { return };
    let store = Store::open(Path::new(&path)).unwrap();
    let first = store.count().unwrap();
    println!("\nfirst {first}");
    for n in first.. {
        store.put(&numbered(n)).unwrap();
        println!("\nadded {n}");
    }
}

#[test]
fn s7_a_process_killed_at_any_write_loses_nothing_it_had_acknowledged() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("d.redb");
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "adds_members_until_it_is_killed", "--ignored", "--nocapture"])
            .env("TRUNKLINE_TEST_DIRECTORY", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Another number each time; the next write is under way by then, or already done.
        let mut left = BETWEEN + kill % 3;
        while left > 0 {
            let line = lines.next().expect("it runs until it is killed").unwrap();
            if let Some(n) = line.strip_prefix("added ") {
                acknowledged = n.parse::<u64>().unwrap() + 1;
                left -= 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died was acknowledged, too.
        for line in lines.map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("added ").and_then(|n| n.parse::<u64>().ok()) {
                acknowledged = n + 1;
            }
        }
        let store = Store::open(&path).unwrap();
        let count = store.count().unwrap();
        assert!(count == acknowledged || count == acknowledged + 1, "{count}, {acknowledged}");
        for n in 0..count {
            let member = numbered(n);
            assert_eq!(store.get(&member.hashname).unwrap(), Some(member), "member {n}");
        }
        acknowledged = count;
    }
    assert!(acknowledged >= KILLS * BETWEEN);
}
