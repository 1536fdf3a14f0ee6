//! Complete, in order, exactly once, whatever the network does.

use std::time::Duration;

use trunkline_proto::base::{Chance, Priority};
use trunkline_proto::switch::streams::{Open, StreamEvent};

use crate::pair::{Got, MS, Net, Pair};

const LONG: Duration = Duration::from_secs(600);

/// Sends `bytes` each way on one stream and sees both ends close in order.
fn both_ways(seed: u64, max_packet: usize, net: Net, bytes: u64) -> Pair {
    let mut p = Pair::new(seed, max_packet, net);
    let id = p.open(0);
    p.send(0, id, bytes, true);
    p.send(1, id, bytes / 2, true);
    p.run(LONG, Pair::both_idle);
    assert_eq!(p.got(1, id), Got { bytes, ended: true });
    assert_eq!(p.got(0, id), Got { bytes: bytes / 2, ended: true });
    for end in 0..2 {
        assert!(p.events[end].contains(&StreamEvent::Finished(id)), "{:?}", p.events[end]);
        assert_eq!(p.events[end].last(), Some(&StreamEvent::Closed(id)));
        let s = p.ends[end].stats();
        assert_eq!((s.in_flight, s.send_held, s.receive_held), (0, 0, 0));
    }
    p
}

#[test]
fn s13_a_generic_stream_carries_bytes_both_ways() {
    let p = both_ways(1, 1_150, Net::default(), 300_000);
    assert_eq!(p.ends[0].stats().packets_lost, 0);
    assert_eq!(p.ends[0].stats().bytes_resent, 0);
    assert!(matches!(p.events[1][0], StreamEvent::Opened { open: Open::Generic, .. }));
}

#[test]
fn s23_everything_arrives_in_order_once_at_any_loss_up_to_a_fifth() {
    for (i, loss) in [0, 5_000, 20_000, 50_000, 100_000, 200_000].into_iter().enumerate() {
        for max_packet in [1_150, 16_200] {
            both_ways(i as u64, max_packet, Net { loss, ..Net::default() }, 1_000_000);
        }
    }
}

#[test]
fn s23_reordering_and_duplication_change_nothing() {
    for seed in 0..6 {
        let net = Net { jitter: 20 * MS, duplicate: 100_000, ..Net::default() };
        both_ways(seed, 1_150, net, 1_000_000);
        let net = Net { jitter: 60 * MS, duplicate: 200_000, loss: 50_000, ..Net::default() };
        both_ways(seed, 1_150, net, 300_000);
    }
}

#[test]
fn s23_a_narrow_link_with_a_short_queue_is_shared_without_collapse() {
    let net = Net { rate: 1_250_000, queue: 30_000, ..Net::default() };
    let p = both_ways(3, 1_150, net, 3_000_000);
    // 3 MB at 10 Mbit/s are 2.5 s.
    assert!(p.sent[0].1 < 3_600_000, "{p:?}");
}

#[test]
fn s23_many_streams_at_once_do_not_disturb_each_other() {
    let net = Net { loss: 20_000, jitter: 5 * MS, ..Net::default() };
    let mut p = Pair::new(11, 1_150, net);
    let mut ids = Vec::new();
    for i in 0..200u64 {
        let end = (i % 2) as usize;
        let priority = Priority::from_low_bits(i as u8);
        let id = p.ends[end].open(Open::Generic, priority).unwrap();
        p.send(end, id, 1_000 + i * 300, true);
        p.send(1 - end, id, i * 50, true);
        ids.push((i, end, id));
    }
    p.run(LONG, Pair::both_idle);
    for (i, end, id) in ids {
        assert_eq!(p.got(1 - end, id), Got { bytes: 1_000 + i * 300, ended: true });
        assert_eq!(p.got(end, id), Got { bytes: i * 50, ended: true });
    }
}

#[test]
fn s23_streams_come_and_go_by_the_thousands() {
    let net = Net { loss: 30_000, jitter: 3 * MS, duplicate: 30_000, ..Net::default() };
    let mut p = Pair::new(12, 1_150, net);
    for round in 0..60u64 {
        let ids: Vec<_> = (0..100)
            .map(|_| {
                let id = p.open(0);
                p.send(0, id, 100, true);
                p.send(1, id, 700, true);
                id
            })
            .collect();
        p.run(LONG, |p| p.both_idle());
        for id in ids {
            assert_eq!(p.got(1, id), Got { bytes: 100, ended: true }, "round {round}");
            assert_eq!(p.got(0, id), Got { bytes: 700, ended: true });
        }
    }
    assert_eq!(p.ends[0].stats().opened, 6_000);
}

#[test]
fn s13_an_open_without_data_is_heard_and_the_other_side_may_speak_first() {
    let mut p = Pair::new(4, 1_150, Net { loss: 300_000, ..Net::default() });
    let target: Box<str> = "example.org:22".into();
    let priority = Priority::new(6).unwrap();
    let id = p.ends[0].open(Open::Sock(target.clone()), priority).unwrap();
    p.run(LONG, |p| !p.events[1].is_empty());
    assert_eq!(p.events[1][0], StreamEvent::Opened { id, open: Open::Sock(target), priority });
    p.send(1, id, 100_000, true);
    p.send(0, id, 0, true);
    p.run(LONG, Pair::both_idle);
    assert_eq!(p.got(0, id), Got { bytes: 100_000, ended: true });
}

#[test]
fn s23_the_largest_packet_may_shrink_and_grow_while_data_is_on_its_way() {
    let net = Net { loss: 50_000, ..Net::default() };
    let mut p = Pair::new(5, 16_200, net);
    let id = p.open(0);
    p.send(0, id, 6_000_000, true);
    p.send(1, id, 6_000_000, true);
    for round in 0..400 {
        p.run_for(20 * MS);
        let max = if round % 2 == 0 { 1_150 } else { 16_200 };
        p.ends[0].set_max_packet(max);
        p.ends[1].set_max_packet(max);
        if round % 10 == 9 {
            p.ends[0].path_changed(p.now);
            p.ends[1].path_changed(p.now);
        }
        if p.both_idle() {
            break;
        }
    }
    p.run(LONG, Pair::both_idle);
    assert_eq!(p.got(1, id), Got { bytes: 6_000_000, ended: true });
    assert_eq!(p.got(0, id), Got { bytes: 6_000_000, ended: true });
}

#[test]
fn s23_urgent_streams_go_first_and_equals_take_turns() {
    let mut p = Pair::new(6, 1_150, Net::default());
    let low = p.ends[0].open(Open::Generic, Priority::LOWEST).unwrap();
    let equals = [p.open(0), p.open(0)];
    for id in [low, equals[0], equals[1]] {
        p.send(0, id, 200_000, true);
    }
    p.run(LONG, |p| equals.iter().any(|id| p.got(1, *id).bytes > 100_000));
    let [a, b] = equals.map(|id| p.got(1, id).bytes);
    assert!(a.abs_diff(b) < 20_000, "{a} {b}");
    assert!(p.got(1, low).bytes < 5_000);
    p.run(LONG, |p| p.got(1, low).ended);
}

#[test]
fn s23_one_seed_repeats_everything() {
    let net = Net { loss: 100_000, jitter: 30 * MS, duplicate: 50_000, ..Net::default() };
    let [a, b] = [0, 1].map(|_| both_ways(9, 1_150, net.clone(), 500_000));
    assert_eq!((a.now, a.sent, a.lost), (b.now, b.sent, b.lost));
    assert_eq!(a.ends[0].stats(), b.ends[0].stats());
}

#[test]
fn s23_random_networks_deliver_everything() {
    for seed in 1000..1030u64 {
        let mut c = Chance::from_number(seed);
        let net = Net {
            delay: c.below(80) as u32 * MS,
            jitter: c.below(60) as u32 * MS,
            loss: c.below(250_000) as u32,
            duplicate: c.below(200_000) as u32,
            rate: c.below(2) * (100_000 + c.below(10_000_000)),
            queue: 20_000 + c.below(500_000),
        };
        let max = if c.below(2) == 0 { 400 + c.below(2_000) as usize } else { 16_200 };
        both_ways(seed, max, net, c.below(600_000));
    }
}
