//! Taking turns with others who measure on the same machine.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::place::pause;

/// How long a turn is at most, but for the measurement that it ends with,
const LONGEST: Duration = Duration::from_secs(90);
/// and how long the others have to begin theirs.
const BETWEEN: Duration = Duration::from_secs(2);

/// A lock on a file, or nothing if there is none to take turns with.
#[derive(Debug)]
pub(crate) struct Turn {
    file: Option<File>,
    since: Option<Instant>,
}

impl Turn {
    /// No turn yet.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) fn new(path: Option<&Path>) -> Result<Self, String> {
        let open = |p: &Path| {
            let file = File::options().create(true).append(true).open(p);
            file.map_err(|e| format!("{}: {e}", p.display()))
        };
        Ok(Self { file: path.map(open).transpose()?, since: None })
    }

    /// Waits until nobody else measures, if it was long enough.
    ///
    /// # Errors
    /// If the file system knows no locks.
    #[expect(clippy::disallowed_methods, reason = "how long others have waited")]
    pub(crate) fn take(&mut self) -> Result<(), String> {
        let failed = |e: io::Error| format!("the lock to take turns by: {e}");
        let Some(file) = &self.file else { return Ok(()) };
        if self.since.is_some_and(|s| s.elapsed() < LONGEST) {
            return Ok(());
        }
        if self.since.is_some() {
            file.unlock().map_err(failed)?;
            pause(BETWEEN);
        }
        file.lock().map_err(failed)?;
        self.since = Some(Instant::now());
        Ok(())
    }
}
