//! The controller alone, on acknowledgements that are told.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn ack(now: Instant, bytes: u64, rtt: Duration) -> AckSample {
    AckSample {
        now,
        bytes,
        sent: Some(now - rtt),
        rtt: Some(rtt),
        smoothed: rtt,
        limited: true,
        in_flight: 0,
    }
}

#[test]
fn s23_cube_roots_are_exact() {
    for n in [0, 1, 7, 8, 26, 27, 1_000_000_007, u64::MAX] {
        let r = u128::from(cube_root(n));
        assert!(r * r * r <= u128::from(n));
        assert!((r + 1).pow(3) > u128::from(n));
    }
}

#[test]
fn s23_slow_start_doubles_and_leaves_when_delay_grows() {
    let mut c = Cubic::new(1_000, 4 << 20);
    assert_eq!(c.window(), 10_000);
    let mut now = Instant::from_micros(1_000_000);
    for _ in 0..3 {
        for _ in 0..c.window() / 1_000 {
            c.on_ack(&ack(now, 1_000, 50 * MS));
        }
        now += 50 * MS;
    }
    assert_eq!(c.window(), 80_000);
    for round in 0..8 {
        for _ in 0..40 {
            c.on_ack(&ack(now, 1_000, 60 * MS + round * 2 * MS));
        }
        now += 80 * MS;
    }
    assert!(matches!(c.phase, Phase::Avoidance(_)), "{c:?}");
}

#[test]
fn s23_after_a_loss_the_old_window_is_regained_in_the_time_of_the_curve() {
    let mut c = Cubic::new(1_448, 4 << 20);
    c.window = 1_448_000;
    c.phase = Phase::Avoidance(None);
    c.delay = Delay { least: Some(50 * MS), smoothed: 60 * MS };
    let mut now = Instant::from_micros(10_000_000);
    c.on_loss(now);
    c.on_ack(&ack(now, 100_000, 50 * MS));
    assert_eq!(c.window(), 1_013_600);
    let k = Duration::from_millis(c.new_epoch(now).k_ms);
    let begin = now;
    while now < begin + k + 100 * MS {
        now += 50 * MS;
        c.on_ack(&ack(now, c.window(), 50 * MS));
    }
    assert!((1_375_000..1_593_000).contains(&c.window()), "{} after {k:?}", c.window());
    assert!((8_000..10_500).contains(&k.as_millis()), "{k:?}");
}

#[test]
fn s23_a_loss_on_an_empty_path_costs_half_as_much() {
    for (smoothed, left) in [(52 * MS, 850_000), (54 * MS, 700_000), (90 * MS, 700_000)] {
        let mut c = Cubic::new(1_000, 4 << 20);
        c.window = 1_000_000;
        c.delay = Delay { least: Some(50 * MS), smoothed };
        c.on_loss(Instant::from_micros(10_000_000));
        assert_eq!(c.window(), left, "{smoothed:?}");
    }
}

#[test]
fn s23_a_window_that_is_not_filled_does_not_grow_and_bounds_hold() {
    let mut c = Cubic::new(1_000, 50_000);
    let now = Instant::from_micros(1_000_000);
    c.on_ack(&AckSample { limited: false, ..ack(now, 10_000, 50 * MS) });
    assert_eq!(c.window(), 10_000);
    for _ in 0..100 {
        c.on_ack(&ack(now, 10_000, 50 * MS));
    }
    assert_eq!(c.window(), 50_000);
    c.on_stall(now);
    assert_eq!(c.window(), 2_000);
    c.on_false_loss();
    assert_eq!(c.window(), 50_000);
}
