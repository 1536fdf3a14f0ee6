//! Meshes of many switches that find each other: whole, with departures, with liars.
#![allow(clippy::panic, reason = "a test may fail loudly")]

use core::time::Duration;

use trunkline_sim::mesh::{Plan, Report, percent, run};

const SECOND: Duration = Duration::from_secs(1);

fn small(nodes: usize) -> Plan {
    Plan {
        nodes,
        joining: 10 * SECOND,
        settling: 40 * SECOND,
        measuring: 40 * SECOND,
        ..Plan::default()
    }
}

fn show(report: &Report) -> String {
    format!("{:?} {:?} {:?}", report.nearests, report.finds, report.packets)
}

#[test]
fn s10_s26_a_mesh_at_rest_finds_what_brute_force_finds_with_few_packets() {
    let report = run(small(60));
    let n = report.nearests;
    assert!(n.asked > 100, "{}", show(&report));
    assert!(n.success() >= 97.0, "{}", show(&report));
    assert!(percent(n.hits, n.best) >= 97.0, "{}", show(&report));
    assert!(report.finds.success() >= 90.0, "{}", show(&report));
    // Fifty lines, with a ping and a pong from either end every 25 s and new keys every 120 s, are
    // some 500 a minute, the look-ups of this test as many again.
    let each = report.packets.all() as f64 / report.switch_minutes;
    assert!((200.0..3_500.0).contains(&each), "{each}: {}", show(&report));
    assert!(report.lines[1] >= 30, "{:?}", report.lines);
    assert!(report.seen[2] <= 2_048 && report.contacts[2] <= 4_096);
}

#[test]
fn s26_look_ups_survive_departures() {
    let report = run(Plan { churn: 200, ..small(40) });
    assert!(report.nearests.success() >= 90.0, "{}", show(&report));
}

#[test]
fn s26_look_ups_survive_liars() {
    let report = run(Plan { hostile: 20, ..small(40) });
    assert!(report.nearests.success() >= 85.0, "{}", show(&report));
    assert!(report.finds.success() >= 80.0, "{}", show(&report));
}

#[test]
fn s26_a_mesh_repeats_from_its_seed() {
    let plan = Plan { settling: 5 * SECOND, measuring: 5 * SECOND, ..small(15) };
    let (a, b) = (run(plan), run(plan));
    assert_eq!((a.events, a.packets, a.lines), (b.events, b.packets, b.lines));
    assert_ne!(a.events, run(Plan { seed: 2, ..plan }).events);
}
