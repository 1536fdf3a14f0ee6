//! What is lost comes back, and soon.

use std::time::Duration;

use trunkline_proto::base::Priority;
use trunkline_proto::switch::streams::{Code, Open, StreamEvent};

use crate::pair::{Got, MS, Net, Pair};

const LONG: Duration = Duration::from_secs(600);

/// A pair with a stream that has carried something, so that the round trip is known.
fn warmed(net: Net) -> (Pair, trunkline_proto::switch::streams::StreamId) {
    let mut p = Pair::new(21, 1_150, net);
    let id = p.open(0);
    p.send(0, id, 50_000, false);
    p.run(LONG, |p| p.got(1, id).bytes == 50_000);
    p.run_for(200 * MS);
    (p, id)
}

#[test]
fn s23_a_lost_tail_is_probed_for_within_two_round_trips() {
    let (mut p, id) = warmed(Net::default());
    p.cut[0] = true;
    p.send(0, id, 51_000, false);
    p.act();
    p.cut[0] = false;
    let took = p.run(LONG, |p| p.got(1, id).bytes == 51_000);
    assert!(took < 150 * MS, "{took:?}");
    assert_eq!(p.ends[0].stats().probes, 1);
}

#[test]
fn s23_a_single_loss_is_repaired_after_one_round_trip_without_a_probe() {
    let (mut p, id) = warmed(Net::default());
    p.cut[0] = true;
    p.send(0, id, 51_000, false);
    p.act();
    p.cut[0] = false;
    p.send(0, id, 60_000, false);
    let took = p.run(LONG, |p| p.got(1, id).bytes == 60_000);
    assert!(took < 100 * MS, "{took:?}");
    let s = p.ends[0].stats();
    assert_eq!((s.probes, s.packets_lost, s.packets_lost_falsely), (0, 1, 0));
    assert_eq!(s.bytes_resent, 1_000);
}

#[test]
fn s23_lost_acknowledgements_are_made_good_by_later_ones() {
    let (mut p, id) = warmed(Net::default());
    p.cut[1] = true;
    p.send(0, id, 60_000, false);
    p.run_for(3 * MS);
    p.send(0, id, 61_000, true);
    p.run_for(24 * MS);
    p.cut[1] = false;
    p.run(LONG, |p| p.got(1, id).ended && p.events[0].contains(&StreamEvent::Finished(id)));
    // The receiver had it all along: nothing goes out twice.
    assert_eq!(p.ends[0].stats().bytes_resent, 0, "{p:?}");
}

#[test]
fn s23_a_repeated_end_is_acknowledged_again_after_the_stream_is_gone() {
    let (mut p, id) = warmed(Net::default());
    p.send(1, id, 0, true);
    p.run(LONG, |p| p.got(0, id).ended);
    p.run_for(300 * MS);
    p.cut[1] = true;
    p.send(0, id, 51_000, true);
    p.run(LONG, |p| p.events[1].contains(&StreamEvent::Closed(id)));
    assert_eq!(p.ends[1].stats().streams, 0);
    p.run_for(10 * MS);
    p.cut[1] = false;
    p.run(LONG, Pair::both_idle);
    assert!(p.events[0].contains(&StreamEvent::Finished(id)));
    assert!(p.events[0].contains(&StreamEvent::Closed(id)));
}

#[test]
fn s23_a_dead_path_kills_the_stream_after_a_minute_and_not_before() {
    let (mut p, id) = warmed(Net::default());
    p.cut = [true; 2];
    p.send(0, id, 60_000, false);
    p.run_for(Duration::from_secs(59));
    assert!(!p.events[0].iter().any(|e| matches!(e, StreamEvent::Reset { .. })));
    let probes = p.ends[0].stats().probes;
    assert!((4..20).contains(&probes), "{probes}");
    p.run_for(Duration::from_secs(15));
    let reset = p.events[0].iter().find_map(|e| match e {
        StreamEvent::Reset { id: i, code, .. } if *i == id => Some(*code),
        _ => None,
    });
    assert_eq!(reset, Some(Code::DEAD));
    assert!(p.ends[0].is_idle() && p.ends[0].deadline().is_none());
    assert_eq!(p.ends[0].stats().in_flight, 0);
}

#[test]
fn s23_a_path_that_comes_back_in_time_loses_nothing() {
    let mut p = Pair::new(22, 1_150, Net::default());
    let id = p.open(0);
    p.send(0, id, 2_000_000, true);
    p.run(LONG, |p| p.got(1, id).bytes > 100_000);
    p.cut = [true; 2];
    p.run_for(Duration::from_secs(40));
    p.cut = [false; 2];
    let took = p.run(LONG, |p| p.got(1, id).ended);
    assert_eq!(p.got(1, id), Got { bytes: 2_000_000, ended: true });
    assert!(took < Duration::from_secs(14), "{took:?}");
}

#[test]
fn s23_a_quiet_stream_may_stay_quiet_for_hours() {
    let (mut p, id) = warmed(Net::default());
    p.run_for(Duration::from_secs(3 * 3_600));
    assert_eq!((p.ends[0].deadline(), p.ends[1].deadline()), (None, None));
    p.send(0, id, 51_000, true);
    let took = p.run(LONG, |p| p.got(1, id).ended);
    assert!(took < 30 * MS, "{took:?}");
}

#[test]
fn s23_a_new_path_starts_over_and_keeps_the_data() {
    let mut p = Pair::new(23, 1_150, Net { delay: 100 * MS, ..Net::default() });
    let id = p.open(0);
    p.send(0, id, 3_000_000, true);
    p.run(LONG, |p| p.got(1, id).bytes > 500_000);
    // From a relay to a direct path: what is on its way arrives by the old one, late.
    p.net.delay = 5 * MS;
    for end in 0..2 {
        p.ends[end].path_changed(p.now);
    }
    assert_eq!(p.ends[0].stats().in_flight, 0);
    assert_eq!(p.ends[0].stats().window, 11_500);
    p.run(LONG, |p| p.got(1, id).ended);
    let s = p.ends[0].stats();
    assert!(s.round_trip < 20 * MS, "{s:?}");
}

#[test]
fn s23_packets_late_by_little_are_not_taken_for_lost_for_long() {
    let net = Net { jitter: 25 * MS, ..Net::default() };
    let mut p = Pair::new(24, 1_150, net);
    let id = p.open(0);
    p.send(0, id, 4_000_000, true);
    p.run(LONG, |p| p.got(1, id).ended);
    let s = p.ends[0].stats();
    let resent = s.bytes_resent * 100 / s.bytes_sent;
    assert!(resent <= 3, "{resent} % sent twice: {s:?}");
}

#[test]
fn s23_a_writer_that_trickles_is_probed_for_as_well() {
    let (mut p, id) = warmed(Net::default());
    // Each packet alone, every 30 ms, and the path drops all for a while.
    p.cut[0] = true;
    for i in 1..=20 {
        p.send(0, id, 50_000 + i * 10, false);
        p.run_for(30 * MS);
    }
    assert!(p.ends[0].stats().probes >= 2, "{p:?}");
    p.cut[0] = false;
    let took = p.run(LONG, |p| p.got(1, id).bytes == 50_200);
    assert!(took < 1_000 * MS, "{took:?}");
}

#[test]
fn s23_a_path_that_stood_still_is_forgiven() {
    // A mesh route over TCP loses nothing and may stall: late is not lost.
    let net = Net { delay: 5 * MS, rate: 12_500_000, queue: 4 << 20, ..Net::default() };
    let mut p = Pair::new(25, 16_200, net);
    let id = p.open(0);
    p.send(0, id, 40_000_000, true);
    p.run(LONG, |p| p.got(1, id).bytes > 5_000_000);
    let before = p.ends[0].stats().window;
    p.stands_until = p.now + 700 * MS;
    p.run_for(800 * MS);
    let s = p.ends[0].stats();
    assert_eq!(p.lost, 0);
    assert!(s.packets_lost_falsely > 0, "{s:?}");
    assert!(s.window >= before / 2, "{before} before, {s:?}");
    let took = p.run(LONG, |p| p.got(1, id).ended);
    // 35 MB at 100 Mbit/s are 2.8 s.
    assert!(took < Duration::from_millis(4_000), "{took:?}");
    let s = p.ends[0].stats();
    assert!(s.bytes_resent < 600_000, "{s:?}");
}

#[test]
fn s23_a_repetition_that_is_lost_too_is_repeated_without_a_probe() {
    let (mut p, id) = warmed(Net::default());
    p.cut[0] = true;
    p.send(0, id, 51_000, false);
    p.act();
    p.cut[0] = false;
    // Others follow all the time, so that each loss shows.
    for i in 0..40u64 {
        p.send(0, id, 52_000 + i * 1_000, false);
        // One round trip and a quarter after the first time, the repetition is on its way.
        p.cut[0] = i == 12;
        p.run_for(5 * MS);
    }
    let s = p.ends[0].stats();
    assert!(s.packets_lost >= 2 && s.bytes_resent >= 2_000, "{s:?}");
    p.run(LONG, |p| p.got(1, id).bytes == 91_000);
    assert_eq!((p.ends[0].stats().probes, p.ends[0].stats().packets_lost_falsely), (0, 0));
}

#[test]
fn s23_one_silent_stream_is_not_sent_again_as_a_whole_while_others_are_heard() {
    let (mut p, busy) = warmed(Net::default());
    let id = p.ends[0].open(Open::Generic, Priority::DEFAULT).unwrap();
    p.send(0, id, 15_000, false);
    p.act();
    // Its ACKs do not come for a while, as if they were stuck behind something urgent.
    let before = p.ends[0].stats().bytes_resent;
    p.hold = Some((1, id));
    for i in 0..50u64 {
        p.send(0, busy, 51_000 + i * 1_000, false);
        p.run_for(10 * MS);
        if i == 25 {
            p.hold = None;
        }
    }
    p.run(LONG, |p| p.ends[0].stats().in_flight == 0);
    let s = p.ends[0].stats();
    assert!(s.probes >= 2, "{s:?}");
    assert!(s.bytes_resent - before <= 3_500, "{s:?}");
}
