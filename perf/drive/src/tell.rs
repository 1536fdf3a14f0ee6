//! How a driver that is a program of its own says what it saw: a line when measuring begins, and
//! a line of JSON when it ends, so that whoever started it can look at the peer at both moments.

use std::io::{self, Write};

use crate::{Outcome, Run};

/// The line that says that measuring begins.
pub const BEGIN: &str = "begin";

/// Watches over a run and tells of it on standard output.
///
/// # Errors
/// If nobody reads it.
pub fn tell(run: &Run) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut first = true;
    let (outcome, told, _) =
        run.watch(|| if std::mem::take(&mut first) { writeln!(out, "{BEGIN}") } else { Ok(()) });
    told?;
    let line = serde_json::to_string::<Outcome>(&outcome)?;
    writeln!(io::stdout(), "{line}")
}
