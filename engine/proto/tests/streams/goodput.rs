//! How much gets through, in virtual time. The floors are a good deal below what is measured, so
//! that a test fails for a reason; `--nocapture` prints the figures.

use std::time::Duration;

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
        for max_packet in [1_162, 16_200] {
            let rates: Vec<String> =
                (0..3).map(|seed| half_minute(seed, max_packet, loss)).collect();
            println!(
                "{:5.1} % loss, {max_packet:5} B: {}",
                f64::from(loss) / 1e4,
                rates.join("   ")
            );
        }
    }
}

fn half_minute(seed: u64, max_packet: usize, loss: u32) -> String {
    let mut p = Pair::new(seed, max_packet, hundred(25 * MS, loss));
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
