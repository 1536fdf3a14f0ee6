//! Where the control socket is, for the node that makes it and for the commands that look for it.
//!
//! In this order: `trunkline.sock` in
//!
//! 1. `$RUNTIME_DIRECTORY`, which systemd gives a service with `RuntimeDirectory=` (nodes only),
//! 2. `$XDG_RUNTIME_DIR`, which a login session has,
//! 3. `/run/trunkline`, where the service of the machine has it,
//! 4. the node's state directory (which a command knows by `--config` only).
//!
//! A node takes the first place it can write to; a command the first where a socket is. The one
//! reader of the environment.

use std::path::{Path, PathBuf};

/// The name of the socket in its directory.
pub const FILE: &str = "trunkline.sock";

/// What a Unix socket's path may have in bytes, without the closing zero.
pub const LONGEST: usize = 107;

/// The runtime directory of the machine's service.
const OF_THE_MACHINE: &str = "/run/trunkline";

/// Where a node without a configured socket makes it.
#[must_use]
pub fn to_listen(state_dir: &Path) -> PathBuf {
    // systemd lists several with colons between them, as in PATH.
    let of_the_service = std::env::var_os("RUNTIME_DIRECTORY").unwrap_or_default();
    let mut candidates = std::env::split_paths(&of_the_service).take(1).chain(to_look());
    // A relative path in the environment would mean another place for every command.
    let chosen = candidates.find(|dir| dir.is_absolute() && is_writable(dir));
    chosen.unwrap_or_else(|| state_dir.to_owned()).join(FILE)
}

/// Where a command looks for the socket of a node, whose state directory it may know.
#[must_use]
pub fn to_connect(state_dir: Option<&Path>) -> Vec<PathBuf> {
    to_look().chain(state_dir.map(Path::to_owned)).map(|dir| dir.join(FILE)).collect()
}

fn to_look() -> impl Iterator<Item = PathBuf> {
    let of_the_session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    of_the_session.into_iter().chain([PathBuf::from(OF_THE_MACHINE)])
}

/// Whether a path is short enough for a Unix socket, also while it has its first, hidden name.
///
/// # Errors
/// If it is not, with what to do.
pub fn fits(path: &Path) -> Result<(), String> {
    let length = path.as_os_str().len();
    let hidden = path.parent().map_or(0, |dir| dir.as_os_str().len()) + 1 + LONGEST_HIDDEN_NAME;
    if length.max(hidden) <= LONGEST {
        return Ok(());
    }
    Err(format!(
        "{} is too long for a socket's path; choose one in a directory of at most {} bytes",
        path.display(),
        LONGEST - LONGEST_HIDDEN_NAME - 1
    ))
}

/// What the hidden name of [`super::socket`] takes at most.
const LONGEST_HIDDEN_NAME: usize = 20;

/// Whether files can be made in `dir`, found out by making one: modes alone do not tell about
/// read-only mounts and sandboxes.
pub(crate) fn is_writable(dir: &Path) -> bool {
    let probe = dir.join(format!(".trunkline-{}", std::process::id()));
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    // If it exists, another thread of this process is asking the same question.
    let exists = made.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::AlreadyExists);
    let writable = made.is_ok() || exists;
    if made.is_ok() {
        // What cannot be removed right after it was made is empty and harmless.
        let _ = std::fs::remove_file(&probe);
    }
    writable
}
