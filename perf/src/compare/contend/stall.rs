//! What pairs lose beside one whose receiver stops reading, for peers that are driven over TCP.

use trunkline_drive::Run;

use crate::drive::stalled::{Extra, beside};
use crate::drive::tcp::{self, Dialect, Doors};
use crate::figures::{self, Figures, Metric};
use crate::place::Place;
use crate::plan::Shape;

/// Messages a second that the one receiver is sent.
pub(crate) const RATE: u64 = 5_000;

/// First while that receiver reads, then while it does not.
pub(crate) fn measure(
    place: &Place,
    shape: &Shape,
    dialect: &dyn Dialect,
    doors: Doors,
    processes: &[u32],
) -> Result<Figures, String> {
    let one = |reads: bool| {
        let run = Run::new(place.load(shape));
        // The number of the second is another, as what was left of the first may still be there.
        let extra = Extra { pair: 200 + usize::from(reads), rate: RATE, reads };
        let load = || tcp::drive(&run, dialect, doors, processes);
        let measured = beside(&run, dialect, doors, extra, load).map_err(|e| e.to_string())?;
        figures::of(&measured)
    };
    compare(&one(true)?, one(false)?)
}

/// The figures of the second, and what was lost since the first.
pub(crate) fn compare(before: &Figures, mut after: Figures) -> Result<Figures, String> {
    let rate = |f: &Figures| f.get(&Metric::Rate).copied().ok_or("no rate");
    let loss = 1.0 - rate(&after)? / rate(before)?;
    after.insert(Metric::Loss, loss * 100.0);
    Ok(after)
}
