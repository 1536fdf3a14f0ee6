//! A mesh that grows agrees on the cheapest routes, and changes reach everybody.

use std::time::Duration;

use trunkline_sim::routes::{Plan, run};

#[test]
fn n11_a_mesh_that_grows_agrees_on_the_cheapest_routes() {
    let plan = Plan { nodes: 24, ..Plan::default() };
    let stages = run(plan);
    assert_eq!(stages.iter().map(|s| s.nodes).collect::<Vec<_>>(), [11, 24]);
    for stage in &stages {
        assert_eq!(stage.wrong, 0, "{stage:?}");
        assert!(stage.changes.len() >= 5, "{stage:?}");
        for (what, effect) in &stage.changes {
            // Four links of 20 ms, 10 ms of waiting for more, and a computation that waits longer.
            assert!(effect.settled < Duration::from_secs(2), "{what}: {effect:?}");
            assert!(effect.frames > 0, "{what}: {effect:?}");
        }
    }
    assert_eq!(stages, run(plan), "a seed repeats");
}
