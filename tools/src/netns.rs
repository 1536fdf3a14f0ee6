//! Work inside a named network namespace, as `ip netns` makes them.
//!
//! A namespace belongs to a thread, and a socket to the namespace it was made in. So a thread is
//! started, enters, does the work and ends; what it made can be used from anywhere. The caller's
//! own namespace never changes, which leaves nothing to undo.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::kernel;

/// Does `work` inside the network namespace `name` and returns what it returned.
///
/// # Errors
/// If there is no such namespace, or the process may not enter it (`CAP_SYS_ADMIN`).
///
/// # Panics
/// If `work` does.
pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let netns = File::open(Path::new("/run/netns").join(name))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| kernel::enter_netns(&netns).map(|()| work()));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
