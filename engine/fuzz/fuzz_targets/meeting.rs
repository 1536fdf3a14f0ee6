//! Who brings hashnames together, told anything by partitions, peers and strangers, in any order
//! and at any pace: its tables hold their bounds, a word brings no flood, and no more is answered
//! to an address than came from it.
#![no_main]

use core::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use trunkline_proto::base::{Chance, Hashname, Instant, LineId};
use trunkline_proto::switch::meet::{Host, Meeting, Order, Terms, constants};
use trunkline_proto::switch::{Introduction, Note, Path, Token};
use trunkline_proto::wire::meet::{Grant, NEAR, Near, No, Word};

/// Most orders one event brings: a census of 256 lines, each pinged and kept, and searches.
const MOST: usize = 8_192;

fn name(u: &mut Unstructured<'_>) -> Result<Hashname> {
    // Few names, so that what is said of one meets what is said of it elsewhere.
    let mut bytes = [0; 32];
    bytes[0] = u.arbitrary()?;
    bytes[31] = u.int_in_range(0..=3)?;
    Ok(Hashname::new(bytes))
}

fn at(u: &mut Unstructured<'_>) -> Result<std::net::SocketAddr> {
    Ok(([u.arbitrary::<u8>()?, 0, u.int_in_range(0..=3)?, 1], u.int_in_range(0..=2)?).into())
}

fn addresses(u: &mut Unstructured<'_>) -> Result<Vec<std::net::SocketAddr>> {
    let count = u.int_in_range(0..=4)?;
    (0..count).map(|_| at(u)).collect()
}

fn word(u: &mut Unstructured<'_>, asked: &[u64]) -> Result<Word> {
    let id = if asked.is_empty() { u.arbitrary()? } else { *u.choose(asked)? };
    let no = |u: &mut Unstructured<'_>| u.choose(&No::ALL).copied();
    let line = LineId([7; 16]);
    Ok(match u.int_in_range(0..=10)? {
        0 => Word::Op { id, who: name(u)?, seq: u.arbitrary()? },
        1 => {
            let of = u.int_in_range(1..=4)?;
            let seq = u.int_in_range(0..=of - 1)?;
            let length = if seq + 1 == of { u.int_in_range(1..=960)? } else { 960 };
            Word::Key { id, part: Ok((seq, of, vec![u.arbitrary()?; length].into())) }
        }
        2 => Word::Key { id, part: Err(no(u)?) },
        3 => Word::Seek { id, to: name(u)?, via: None },
        4 | 5 => {
            let count = u.int_in_range(0..=NEAR)?;
            let near = |u: &mut Unstructured<'_>| Ok(Near { who: name(u)?, at: Some(at(u)?) });
            Word::See { id, near: (0..count).map(|_| near(u)).collect::<Result<_>>()? }
        }
        6 => Word::Pop { who: name(u)?, at: addresses(u)? },
        7 => Word::Popping { who: name(u)?, at: addresses(u)? },
        8 => Word::Popped { who: name(u)?, at: addresses(u)? },
        9 => match u.arbitrary()? {
            true => Word::Bridge { who: name(u)?, line },
            false => Word::Bridging { who: name(u)? },
        },
        _ => {
            let grant = Grant { line, rate: u.arbitrary()?, seconds: u.arbitrary()? };
            let grant = if u.arbitrary()? { Ok(grant) } else { Err(no(u)?) };
            Word::Bridged { who: name(u)?, grant }
        }
    })
}

fn path(u: &mut Unstructured<'_>) -> Result<Path> {
    Ok(if u.ratio(4, 5)? { Path::Direct(at(u)?) } else { Path::Mesh })
}

fn note(u: &mut Unstructured<'_>, asked: &[u64]) -> Result<(Note, Option<usize>)> {
    let note = match u.int_in_range(0..=9)? {
        0 | 1 => {
            let path = if u.ratio(4, 5)? { Some(path(u)?) } else { None };
            Note::Line { peer: name(u)?, path, spacer: u.arbitrary()? }
        }
        2..=5 => {
            let packet = word(u, asked)?.emit();
            Note::Heard { peer: name(u)?, path: path(u)?, packet }
        }
        6 => {
            let mut packet = word(u, asked)?.emit().to_vec();
            packet.resize(packet.len() + u.int_in_range(0..=1_000)?, 0);
            let length = packet.len();
            return Ok((Note::Asked { from: at(u)?, packet: packet.into() }, Some(length)));
        }
        7 => Note::Find { peer: name(u)?, known: u.arbitrary()?, at: addresses(u)? },
        8 => Note::Found(name(u)?),
        _ => Note::SeenAs { by: name(u)?, us: at(u)? },
    };
    Ok((note, None))
}

/// Takes what is to be done, remembers the numbers of questions, and answers a census.
fn settle(meeting: &mut Meeting, now: Instant, asked: &mut Vec<u64>, most_out: Option<usize>) {
    let (mut orders, mut out) = (0, 0);
    while let Some(order) = meeting.poll() {
        orders += 1;
        assert!(orders <= MOST, "one event brings a flood");
        match order {
            Order::To(_, Introduction::Say { packet, .. }) => {
                let text = String::from_utf8_lossy(packet.get(2..).unwrap_or_default());
                let digits = text.split([':', ',']).nth(1).and_then(|d| d.parse::<u64>().ok());
                asked.extend(digits);
                let surplus = asked.len().saturating_sub(64);
                asked.drain(..surplus);
            }
            Order::Any(Introduction::Answer { bytes, .. }) => out += bytes.len(),
            Order::All(Introduction::Census) => meeting.note(now, Note::Active(Vec::new())),
            Order::LookUp { asker, id, who } => meeting.looked_up(asker, id, who, None),
            _ => {}
        }
    }
    assert!(most_out.is_none_or(|most| out <= most), "{out} bytes to a stranger");
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let introducers = vec![Hashname::new([1; 32])];
    let terms = Terms {
        spacer: u.arbitrary()?,
        bridges: u.int_in_range(0..=4)?,
        serves_keys: u.arbitrary()?,
        operators: vec![Hashname::new([2; 32])],
        introducers,
        ..Terms::default()
    };
    let papers = Bytes::from(vec![3; u.int_in_range(1..=1_300)?]);
    let host = Host { us: Hashname::new([0; 32]), papers, partitions: 1 };
    let bridges = terms.bridges;
    let mut meeting = Meeting::new(host, terms, Chance::from_number(1));
    let (mut now, mut asked) = (Instant::from_micros(1), Vec::new());
    while !u.is_empty() {
        now += Duration::from_millis(u64::from(u.arbitrary::<u8>()?) * u64::from(u.arbitrary::<u8>()?));
        if meeting.deadline().is_some_and(|d| d <= now) {
            meeting.handle_timeout(now);
            assert!(meeting.deadline().is_none_or(|d| d > now), "what is due is done");
        }
        settle(&mut meeting, now, &mut asked, None);
        if u.ratio(1, 16)? {
            meeting.nearest(now, Token(1), name(u)?);
        }
        let (note, out) = note(u, &asked)?;
        // What a stranger's key brings on is a question of ours, to an address that was asked.
        let out = out.map(|came| came.max(1_100));
        meeting.note(now, note);
        settle(&mut meeting, now, &mut asked, out);
        let report = meeting.report(now);
        let under_way = report.searches.iter().filter(|s| s.left.is_some()).count();
        assert!(report.seen <= constants::SEEN && under_way <= constants::SEARCHES);
        assert!(report.bridges <= bridges);
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let _ = run(&mut Unstructured::new(data));
});
