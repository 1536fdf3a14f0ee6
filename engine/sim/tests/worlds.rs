//! Whole worlds, by the doors that `trunkline sim` uses.

use std::collections::BTreeSet;

use trunkline_sim::{Mood, Options, run, seeds};

#[test]
fn c8_some_worlds_hold_whatever_happens_in_them() {
    for report in seeds(1, 12, Options::default()) {
        let story = report.story.join("\n");
        assert!(report.is_ok(), "{story}\nseed {}: {:?}", report.seed, report.violation);
        assert!(report.packages > 0 && report.streams > 0, "seed {} did nothing", report.seed);
    }
}

#[test]
fn c8_a_seed_repeats_to_the_last_packet_and_another_does_not() {
    let twice = Options { twice: true, ..Options::default() };
    let reports: Vec<_> = [2, 9].map(|seed| run(seed, twice)).into();
    assert!(reports.iter().all(trunkline_sim::Report::is_ok), "{reports:?}");
    assert_ne!(reports[0].hash, reports[1].hash);
}

#[test]
fn seeds_draw_every_mood() {
    let moods: BTreeSet<String> =
        seeds(1, 12, Options::default()).map(|r| format!("{:?}", r.mood)).collect();
    let all = [Mood::Calm, Mood::Lossy, Mood::Rough].map(|m| format!("{m:?}"));
    assert_eq!(moods, all.into());
}
