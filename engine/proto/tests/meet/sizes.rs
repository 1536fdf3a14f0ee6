//! A path that takes smaller datagrams than it did, and says nothing.

use bytes::Bytes;
use trunkline_proto::base::Priority;
use trunkline_proto::shard::Shard;
use trunkline_proto::stage::streams::StreamKey;
use trunkline_proto::switch::meet::Terms;
use trunkline_proto::switch::streams::Open;
use trunkline_proto::switch::{MAX_DATAGRAM, State};

use super::world::{MS, Nat, SECOND, WALL, World};

/// Two nodes with a direct line, and a stream from the first to the second whose datagrams are
/// large.
fn world() -> (World, usize, usize) {
    let mut w = World::new();
    let [a, b] = [(); 2].map(|()| w.add(Nat::Open, Terms::default()));
    w.introduce(a, b, true);
    (w, a, b)
}

fn open(w: &mut World, from: usize, to: usize, priority: Priority) -> StreamKey {
    let (now, peer) = (w.now, w.hashname(to));
    w.places[from].shard.open_stream(now, WALL, peer, Open::Generic, priority).unwrap()
}

/// Writes what is taken from the front of `rest`.
fn write(shard: &mut Shard, key: StreamKey, rest: &mut Bytes, most: usize) {
    let mut piece = rest.slice(..rest.len().min(most));
    let before = piece.len();
    let _ = shard.write_stream(key, &mut piece);
    let _taken = rest.split_to(before - piece.len());
}

fn narrowed(w: &World, at: usize) -> u64 {
    w.places[at].shard.switch().unwrap().counters().narrowed
}

/// Sends four megabytes and, beside them, `tick` each 20 ms. After half a second the path takes no
/// more than `fits`. Says how long all of it took, in milliseconds.
fn send(w: &mut World, a: usize, b: usize, fits: usize, tick: &'static [u8]) -> u32 {
    let bulk = open(w, a, b, Priority::DEFAULT);
    let small = open(w, a, b, Priority::HIGHEST);
    let sent: Vec<u8> = (0..4_000_000u32).map(|n| (n >> 3) as u8 ^ n as u8).collect();
    let mut rest = Bytes::from(sent.clone());
    let (mut written, mut step) = (0, 0);
    while step < 60_000 {
        let shard = &mut w.places[a].shard;
        if !rest.is_empty() {
            write(shard, bulk, &mut rest, 2_000);
        }
        if step % 20 == 0 {
            let mut rest = Bytes::from_static(tick);
            write(shard, small, &mut rest, tick.len());
            written += tick.len() - rest.len();
        }
        shard.flush(w.now, WALL);
        if step == 500 {
            assert!(w.longest > MAX_DATAGRAM, "large ones are in use");
            w.fits.insert((a, b), fits);
        }
        w.pass(MS);
        step += 1;
        let got = w.places[b].read.get(&bulk.id.0).map_or(0, Vec::len);
        if got == sent.len() {
            break;
        }
    }
    w.pass(SECOND);
    assert!(w.places[b].read.get(&bulk.id.0) == Some(&sent), "bytes are missing or differ");
    assert_eq!(w.places[b].read.get(&small.id.0).map_or(0, Vec::len), written);
    step
}

#[test]
fn s22_a_path_that_takes_smaller_datagrams_under_a_running_stream_loses_nothing_and_goes_on() {
    let (mut w, a, b) = world();
    let whole = send(&mut w, a, b, usize::MAX, b"tick");
    assert_eq!(narrowed(&w, a), 0);
    for (fits, expected) in [(2_000, 1_472), (1_420, 1_400), (1_300, MAX_DATAGRAM)] {
        let (mut w, a, b) = world();
        let took = send(&mut w, a, b, fits, b"tick");
        assert!(narrowed(&w, a) >= 1, "{fits}");
        // What is heard meanwhile says nothing of the large ones; they are missed all the same.
        assert!(took < whole + 2_000, "{fits}: {took} ms, {whole} ms on a path that stays");
        let states = &w.places[a].states;
        let opened = states.iter().filter(|(_, s)| *s == State::Connected).count();
        assert_eq!(opened, 1, "the line is the same: {states:?}");
        println!("{fits}: {took} ms, {whole} ms on a path that stays");
        w.longest = 0;
        let after = open(&mut w, a, b, Priority::DEFAULT);
        let mut rest = Bytes::from(vec![7; 100_000]);
        write(&mut w.places[a].shard, after, &mut rest, 100_000);
        w.places[a].shard.flush(w.now, WALL);
        w.pass(SECOND);
        assert_eq!(w.longest, expected, "the largest that passes");
        let contacts = w.places[a].shard.switch().unwrap().report(w.now);
        assert_eq!(contacts.filter_map(|c| c.datagram).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn s22_jumbo_frames_that_are_swallowed_are_missed_whatever_else_arrives() {
    static TICK: [u8; 1_300] = [7; 1_300];
    let (mut w, a, b) = world();
    let whole = send(&mut w, a, b, usize::MAX, &TICK);
    let (mut w, a, b) = world();
    let took = send(&mut w, a, b, 2_000, &TICK);
    assert!(narrowed(&w, a) >= 1);
    assert!(took < whole + 2_000, "{took} ms, {whole} ms on a path that stays");
}

#[test]
fn s22_losses_in_a_crowd_do_not_make_datagrams_smaller() {
    let (mut w, a, b) = world();
    let bulk = open(&mut w, a, b, Priority::DEFAULT);
    let mut rest = Bytes::from(vec![7; 2_000_000]);
    for step in 0..20_000u32 {
        write(&mut w.places[a].shard, bulk, &mut rest, 4_000);
        w.places[a].shard.flush(w.now, WALL);
        // A tenth of the time everything is lost, large or not.
        if step % 100 == 0 && step > 300 {
            w.cut.insert((a, b));
        }
        if step % 100 == 10 {
            w.cut.remove(&(a, b));
        }
        w.pass(MS);
        if rest.is_empty() {
            break;
        }
    }
    assert!(rest.is_empty());
    assert!(w.longest > MAX_DATAGRAM);
    let suspected = narrowed(&w, a);
    assert!(suspected <= 2, "{suspected}");
}
