//! Slow readers, blocked writers, credit.

use std::time::Duration;

use bytes::Bytes;
use trunkline_proto::base::Priority;
use trunkline_proto::switch::streams::{Open, StreamLimits, WriteError};

use crate::pair::{Got, MS, Net, Pair, pattern};

const LONG: Duration = Duration::from_secs(600);

#[test]
fn s24_a_reader_that_does_not_read_bounds_both_sides() {
    for max_packet in [1_150, 16_200] {
        let mut p = Pair::new(41, max_packet, Net { loss: 10_000, ..Net::default() });
        p.reads[1] = false;
        let id = p.open(0);
        p.send(0, id, 50_000_000, true);
        p.run_for(Duration::from_secs(30));
        let (a, b) = (p.ends[0].stats(), p.ends[1].stats());
        assert!(b.receive_held <= 256 * 1024, "{b:?}");
        assert!(a.send_held <= 4 << 20, "{a:?}");
        assert_eq!(a.in_flight, 0);
        let at = p.todo[0][&id].at;
        let mut data = pattern(0, id, at, 8 << 20);
        assert!(!matches!(p.ends[0].write(id, &mut data), Ok(n) if n >= 4 << 20));
        assert!(p.ends[0].stats().send_held <= 4 << 20);
        p.todo[0].get_mut(&id).unwrap().at += (8 << 20) - data.len() as u64;
        // Once it reads, everything comes.
        p.reads[1] = true;
        p.read(1, id);
        p.run(LONG, |p| p.got(1, id).ended);
        assert_eq!(p.got(1, id).bytes, 50_000_000);
    }
}

#[test]
fn s24_a_lost_word_of_credit_is_asked_for() {
    let mut p = Pair::new(42, 1_150, Net::default());
    p.reads[1] = false;
    let id = p.open(0);
    p.send(0, id, 1_000_000, true);
    p.run_for(Duration::from_secs(20));
    p.cut[1] = true;
    p.read(1, id);
    p.act();
    p.cut[1] = false;
    p.reads[1] = true;
    let took = p.run(LONG, |p| p.got(1, id).ended);
    assert!(took < Duration::from_secs(12), "{took:?}");
}

#[test]
fn s24_a_reader_may_sleep_for_an_hour_while_the_peer_lives() {
    let mut p = Pair::new(43, 1_150, Net { loss: 50_000, ..Net::default() });
    p.reads[1] = false;
    let id = p.open(0);
    p.send(0, id, 1_000_000, true);
    p.run_for(Duration::from_secs(3_600));
    // One probe in ten seconds.
    assert!(p.sent[0].0 < 1_000, "{p:?}");
    p.reads[1] = true;
    p.read(1, id);
    p.run(LONG, |p| p.got(1, id).ended);
}

#[test]
fn s24_a_blocked_writer_is_told_once_when_there_is_room() {
    let mut p = Pair::new(44, 1_150, Net::default());
    let id = p.open(0);
    let mut data = pattern(0, id, 0, 1 << 20);
    for _ in 0..2 {
        let before = data.len();
        let taken = p.ends[0].write(id, &mut data).unwrap();
        assert!(taken > 0 && data.len() == before - taken);
        assert_eq!(p.ends[0].write(id, &mut data), Err(WriteError::Blocked));
        assert_eq!(p.ends[0].write(id, &mut data), Err(WriteError::Blocked));
        let told = p.writable[0];
        p.run(LONG, |p| p.ends[0].stats().send_held == 0);
        assert_eq!(p.writable[0], told + 1);
    }
}

#[test]
fn s24_slow_readers_leave_the_line_to_the_others() {
    let mut p = Pair::new(46, 16_200, Net::default());
    p.reads[1] = false;
    let stalled: Vec<_> = (0..50).map(|_| p.open(0)).collect();
    for id in &stalled {
        p.send(0, *id, 6_000_000, true);
    }
    p.run_for(Duration::from_secs(20));
    let held = p.ends[1].stats().receive_held;
    assert!(held <= (16 << 20) + 50 * 16 * 1024, "{held}");
    p.reads[1] = true;
    let id = p.open(0);
    p.send(0, id, 3_000_000, true);
    let took = p.run(LONG, |p| p.got(1, id).ended);
    assert!(took < Duration::from_secs(8), "{took:?}");
    for id in stalled {
        p.read(1, id);
    }
    p.run(LONG, |p| p.ends[0].stats().send_held == 0);
}

#[test]
fn s24_a_window_grows_for_a_reader_that_keeps_up() {
    let mut p = Pair::new(47, 16_200, Net { delay: 50 * MS, ..Net::default() });
    let id = p.open(0);
    p.send(0, id, 40_000_000, true);
    let took = p.run(LONG, |p| p.got(1, id).ended);
    // 256 KiB in each 100 ms would take 15 s; 4 MiB take one second.
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn s24_tiny_writes_are_bounded_by_what_they_cost() {
    let mut p = Pair::new(48, 1_150, Net::default());
    let id = p.ends[0].open(Open::Generic, Priority::DEFAULT).unwrap();
    let mut count = 0u64;
    while p.ends[0].write(id, &mut Bytes::from_static(b"x")).is_ok() {
        count += 1;
    }
    assert!(count <= 256 * 1024 / 65 + 1, "{count}");
}

#[test]
fn s24_small_limits_work_too() {
    let limits = StreamLimits {
        window: 16 * 1024,
        window_max: 16 * 1024,
        line_window: 0,
        send_buffer: 16 * 1024,
        send_buffer_max: 16 * 1024,
        line_send_buffer: 0,
        in_flight: 4_000,
        fragments: 8,
        line_fragments: 8,
        ..StreamLimits::default()
    };
    let net = Net { loss: 50_000, jitter: 10 * MS, ..Net::default() };
    let mut p = Pair::with_limits(49, 1_150, net, limits);
    let id = p.open(0);
    p.send(0, id, 300_000, true);
    p.send(1, id, 300_000, true);
    p.run(LONG, Pair::both_idle);
    assert_eq!(p.got(1, id), Got { bytes: 300_000, ended: true });
    assert!(p.ends[0].stats().window <= 4_000);
}
