//! An idle line costs a node at most 4 KiB: its contact, keys and streams together, as the
//! allocator of this whole program counts them. `cargo bench --bench lines` does the same with
//! 100,000.

mod counting;

use counting::{Counting, held};
use trunkline_bench::host::Host;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The first of them pay for tables and pools,
const WARM: i64 = 8;
/// and tables that double when they are full are nearly so at this many.
const LINES: i64 = 2_000;
/// What one may cost just after they doubled.
const DOUBLED: i64 = 4_096 + 128;

#[test]
fn s15_an_idle_line_costs_at_most_four_kibibytes() {
    let mut host = Host::new(2_000);
    let mut at_warm = 0;
    let mut worst = 0;
    for line in 1..=LINES {
        drop(host.meet());
        if line == WARM {
            at_warm = held();
        }
        if line >= 2 * WARM {
            worst = worst.max((held() - at_warm) / (line - WARM));
        }
    }
    let each = (held() - at_warm) / (LINES - WARM);
    eprintln!("{each} bytes an idle line with {LINES} of them, {worst} at the worst moment");
    // Less than the replay window and the keys would mean that nothing was counted.
    assert!(
        (1_500..=4_096).contains(&each) && worst <= DOUBLED,
        "{each} and {worst} bytes an idle line"
    );
}
