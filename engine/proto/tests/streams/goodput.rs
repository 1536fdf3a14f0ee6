//! How much gets through, in virtual time. The floors are a good deal below what is measured, so
//! that a test fails for a reason; `--nocapture` prints the figures.

use std::time::Duration;

use trunkline_proto::switch::streams::{CongestionKind, StreamLimits};

use crate::pair::{Got, MS, Net, Pair};

const LONG: Duration = Duration::from_secs(600);

/// Mbit/s of one stream of `bytes` over `net`.
fn goodput(name: &str, max_packet: usize, net: Net, bytes: u64) -> f64 {
    let mut p = Pair::new(51, max_packet, net);
    let id = p.open(0);
    p.send(0, id, bytes, true);
    let took = p.run(LONG, |p| p.got(1, id).ended);
    assert_eq!(p.got(1, id), Got { bytes, ended: true });
    let rate = bytes as f64 * 8.0 / took.as_secs_f64() / 1e6;
    let s = p.ends[0].stats();
    println!(
        "{name}: {rate:.1} Mbit/s, {:.2} % resent, {} lost ({} falsely, {} by the network), \
         {} probes, rtt {:?}, window {}",
        s.bytes_resent as f64 * 100.0 / bytes as f64,
        s.packets_lost,
        s.packets_lost_falsely,
        p.lost,
        s.probes,
        s.round_trip,
        s.window
    );
    rate
}

/// 100 Mbit/s with a queue of one bandwidth-delay product.
fn hundred(delay: Duration, loss: u32) -> Net {
    let queue = 12_500_000 * delay.as_millis() as u64 * 2 / 1_000;
    Net { delay, loss, rate: 12_500_000, queue, ..Net::default() }
}

#[test]
fn s23_a_clean_path_is_filled() {
    assert!(goodput("100 Mbit/s, 50 ms", 1_150, hundred(25 * MS, 0), 60_000_000) > 75.0);
    assert!(goodput("same, 16,200 B", 16_200, hundred(25 * MS, 0), 60_000_000) > 75.0);
}

#[test]
fn s23_loss_costs_a_decent_part_only() {
    let one_in_thousand = goodput("0.1 % loss", 1_150, hundred(25 * MS, 1_000), 40_000_000);
    let one_in_hundred = goodput("1 % loss", 1_150, hundred(25 * MS, 10_000), 20_000_000);
    let three = goodput("3 % loss", 1_150, hundred(25 * MS, 30_000), 10_000_000);
    // What the square root of the loss leaves to CUBIC or Reno: 1.2 packets × √(1/p) a round.
    assert!(one_in_thousand > 6.0, "{one_in_thousand}");
    assert!(one_in_hundred > 2.0, "{one_in_hundred}");
    assert!(three > 1.0, "{three}");
}

#[test]
fn s23_large_packets_on_a_mesh_route_are_fast() {
    let net = Net { delay: 5 * MS, rate: 125_000_000, queue: 1_250_000, ..Net::default() };
    assert!(goodput("1 Gbit/s, 10 ms, 16,200 B", 16_200, net, 200_000_000) > 700.0);
}

#[test]
fn s23_a_shallow_queue_is_not_overrun_by_slow_start() {
    let net = Net { delay: 25 * MS, rate: 12_500_000, queue: 150_000, ..Net::default() };
    let mut p = Pair::new(52, 1_150, net);
    let id = p.open(0);
    p.send(0, id, 20_000_000, true);
    p.run(LONG, |p| p.got(1, id).ended);
    let s = p.ends[0].stats();
    println!("shallow: {} lost, {:?}", p.lost, s);
    assert!(p.lost < 600, "{p:?}");
}

#[test]
fn s23_four_streams_together_are_not_slower_than_one() {
    let mut p = Pair::new(53, 1_150, hundred(25 * MS, 1_000));
    let ids: Vec<_> = (0..4).map(|_| p.open(0)).collect();
    for id in &ids {
        p.send(0, *id, 5_000_000, true);
    }
    let took = p.run(LONG, |p| ids.iter().all(|id| p.got(1, *id).ended));
    println!("four streams: {:.1} Mbit/s", 160.0 / took.as_secs_f64());
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// What the measured runs over real sockets are checked against: one stream for 30 s over
/// 100 Mbit/s, 50 ms and a queue of one bandwidth-delay product.
#[test]
#[ignore = "prints figures: cargo test -p trunkline-proto --test streams -- --ignored --nocapture table"]
fn s23_table_of_goodput_under_loss() {
    for loss in [0, 1_000, 10_000, 50_000] {
        for (kind, max_packet) in [
            (CongestionKind::Cubic, 1_162),
            (CongestionKind::Bbr, 1_162),
            (CongestionKind::Cubic, 16_200),
            (CongestionKind::Bbr, 16_200),
        ] {
            let rates: Vec<String> =
                (0..3).map(|seed| half_minute(seed, kind, max_packet, loss)).collect();
            let percent = f64::from(loss) / 1e4;
            println!("{percent:4.1} % loss, {max_packet:5} B, {kind:?}: {}", rates.join("   "));
        }
    }
}

fn half_minute(seed: u64, congestion: CongestionKind, max_packet: usize, loss: u32) -> String {
    let mut p = Pair::with_limits(seed, max_packet, hundred(25 * MS, loss), with(congestion));
    let id = p.open(0);
    p.send(0, id, 1 << 40, false);
    p.run_for(Duration::from_secs(30));
    let (s, got) = (p.ends[0].stats(), p.got(1, id).bytes);
    format!(
        "{:5.1} Mbit/s ({:.2} % resent, {} of {} falsely, {} probes)",
        got as f64 * 8.0 / 30e6,
        s.bytes_resent as f64 * 100.0 / got as f64,
        s.packets_lost_falsely,
        s.packets_lost,
        s.probes
    )
}

#[test]
fn s23_a_window_is_spread_over_its_round_trip() {
    // A queue for 5 ms: whole windows at once would overrun it long before the path is full.
    let net = Net { queue: 62_500, ..hundred(25 * MS, 0) };
    let mut p = Pair::new(54, 1_150, net);
    let id = p.open(0);
    p.send(0, id, 1 << 40, false);
    // Slow start from ten packets to the 540 that fill the path.
    p.run_for(350 * MS);
    let s = p.ends[0].stats();
    println!("{} of {} packets lost in slow start, {s:?}", p.lost, s.packets_sent);
    let at = p.got(1, id).bytes;
    p.run_for(Duration::from_secs(10));
    let rate = (p.got(1, id).bytes - at) as f64 * 8.0 / 10e6;
    println!("{rate:.1} Mbit/s with a queue for 5 ms, {:?}", p.ends[0].stats());
    assert!(rate > 70.0, "{rate}");
}

fn with(congestion: CongestionKind) -> StreamLimits {
    StreamLimits { congestion, ..StreamLimits::default() }
}

#[test]
fn s23_a_model_of_the_path_fills_it_at_any_loss() {
    for (loss, least) in [(0, 83.0), (1_000, 83.0), (10_000, 75.0), (50_000, 60.0)] {
        let mut p = Pair::with_limits(55, 1_162, hundred(25 * MS, loss), with(CongestionKind::Bbr));
        let id = p.open(0);
        p.send(0, id, 1 << 40, false);
        p.run_for(Duration::from_secs(10));
        let rate = p.got(1, id).bytes as f64 * 8.0 / 10e6;
        println!("{loss} ppm: {rate:.1} Mbit/s");
        assert!(rate > least, "{rate} at {loss} ppm");
    }
}

#[test]
fn s23_a_model_of_the_path_keeps_queues_short() {
    for (name, queue) in [("5 ms", 62_500), ("a second", 12_500_000)] {
        let net = Net { queue, ..hundred(25 * MS, 0) };
        let mut p = Pair::with_limits(56, 1_162, net, with(CongestionKind::Bbr));
        let id = p.open(0);
        p.send(0, id, 1 << 40, false);
        p.run_for(Duration::from_secs(5));
        let (at, lost, sent) = (p.got(1, id).bytes, p.lost, p.sent[0].0);
        p.run_for(Duration::from_secs(12));
        let rate = (p.got(1, id).bytes - at) as f64 * 8.0 / 12e6;
        let lost = (p.lost - lost) as f64 * 100.0 / (p.sent[0].0 - sent) as f64;
        let s = p.ends[0].stats();
        println!("queue for {name}: {rate:.1} Mbit/s, {lost:.2} % lost, rtt {:?}", s.round_trip);
        assert!(rate > 75.0 && lost < 3.0, "{rate} Mbit/s, {lost} % lost");
        assert!(s.round_trip < 80 * MS, "{s:?}");
    }
}

#[test]
fn s23_lines_that_share_a_path_share_its_rate() {
    let kinds = [CongestionKind::Cubic, CongestionKind::Bbr];
    for (one, two) in [(kinds[0], kinds[0]), (kinds[1], kinds[1]), (kinds[1], kinds[0])] {
        let mut pairs =
            [one, two].map(|k| Pair::with_limits(57, 1_162, hundred(25 * MS, 0), with(k)));
        let [a, b] = &mut pairs;
        let id = a.open(0);
        assert_eq!(b.open(0), id);
        a.send(0, id, 1 << 40, false);
        a.run_beside(b, Duration::from_secs(3));
        // The second comes to a path that the first has filled.
        b.send(0, id, 1 << 40, false);
        a.run_beside(b, Duration::from_secs(20));
        let before = [a.got(1, id).bytes, b.got(1, id).bytes];
        a.run_beside(b, Duration::from_secs(30));
        let [x, y] = [(&*a, before[0]), (&*b, before[1])]
            .map(|(p, at)| (p.got(1, id).bytes - at) as f64 * 8.0 / 30e6);
        println!("{one:?} {x:.1} beside {two:?} {y:.1} Mbit/s");
        assert!(x + y > 85.0, "{x} and {y}");
        // Like every model of a path, this one takes more than its share beside CUBIC.
        let least = if one == two { 25.0 } else { 4.0 };
        assert!(x.min(y) > least, "{x} and {y}");
    }
}
