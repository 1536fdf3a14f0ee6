//! The controller alone, on a path that is told and not simulated.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Feeds `rounds` round trips of a path that delivers `rate` bytes a second; what is lost of
/// each round is `lost` percent.
fn run(c: &mut Bbr, now: &mut Instant, rate: u64, rtt: Duration, rounds: u32, lost: u64) {
    let each = rate / 1_000;
    for _ in 0..rounds * u32::try_from(rtt.as_millis()).unwrap() {
        *now += MS;
        if lost > 0 {
            c.on_lost(each * lost / 100);
        }
        c.on_ack(&AckSample {
            now: *now,
            bytes: each - each * lost / 100,
            sent: Some(*now - rtt),
            rtt: Some(rtt),
            smoothed: rtt,
            limited: true,
            in_flight: c.window().min(rate / 20),
        });
    }
}

fn settled() -> (Bbr, Instant) {
    let (mut c, mut now) = (Bbr::new(1_000, 4 << 20), Instant::from_micros(1_000_000));
    run(&mut c, &mut now, 10_000_000, 50 * MS, 12, 0);
    (c, now)
}

#[test]
fn s23_the_model_finds_rate_and_round_trip() {
    let (c, _) = settled();
    assert!(matches!(c.phase, Phase::Cruise { .. }), "{c:?}");
    assert!((9_900_000..10_600_000).contains(&c.rate()), "{}", c.rate());
    assert!((1_000_000..1_150_000).contains(&c.window()), "{}", c.window());
}

#[test]
fn s23_the_model_follows_a_path_that_becomes_slower_within_ten_rounds() {
    let (mut c, mut now) = settled();
    run(&mut c, &mut now, 2_000_000, 50 * MS, 12, 0);
    assert!(c.rate() < 2_200_000, "{}", c.rate());
}

#[test]
fn s23_chance_losses_bound_nothing_and_losses_with_a_queue_do() {
    let (mut c, mut now) = settled();
    run(&mut c, &mut now, 10_000_000, 50 * MS, 4, 5);
    assert_eq!(c.bound, u64::MAX);
    run(&mut c, &mut now, 10_000_000, 70 * MS, 4, 5);
    assert!(c.bound < 800_000, "{c:?}");
    assert!(c.window() >= 450_000, "never below what the path holds: {c:?}");
}

#[test]
fn s23_the_round_trip_is_measured_anew_after_ten_seconds() {
    let (mut c, mut now) = settled();
    let (mut probed, mut least) = (0, u64::MAX);
    for _ in 0..11_000 {
        run(&mut c, &mut now, 10_000_000, 51 * MS, 1, 0);
        if matches!(c.phase, Phase::ProbeRtt { .. }) {
            probed += 1;
            least = least.min(c.window());
            break;
        }
    }
    assert_eq!(probed, 1);
    assert!(least < 300_000, "{least}");
    run(&mut c, &mut now, 10_000_000, 51 * MS, 12, 0);
    assert!(matches!(c.phase, Phase::Cruise { .. }), "{c:?}");
}

#[test]
fn s23_a_stall_leaves_four_packets_and_the_next_answer_the_rest() {
    let (mut c, mut now) = settled();
    c.on_stall(now);
    assert_eq!(c.window(), 4_000);
    run(&mut c, &mut now, 10_000_000, 50 * MS, 1, 0);
    assert!(c.window() > 900_000);
}
