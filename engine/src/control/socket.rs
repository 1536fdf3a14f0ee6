//! The control socket as a file: made so that nobody but its user can ever connect, put in the
//! place of a dead one, never of a living one, and removed only if it is still ours.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A living node answers there.
    #[error(
        "another node answers on the control socket {}: stop it, or give this node its own \
         [control] socket", path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// There is a file of another kind.
    #[error("{} is not a socket: remove it, or choose another [control] socket", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The path cannot be a socket's.
    #[error("{0}")]
    TooLong(String),
    /// The system said no.
    #[error("cannot make the control socket {}: {source}", path.display())]
    System {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening socket and the file it can be reached by.
#[derive(Debug)]
pub(super) struct Socket {
    /// Accepts without blocking.
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode, to recognise the file when it is to be removed.
    file: (u64, u64),
}

impl Socket {
    /// Makes the socket, and its directory if there is none.
    pub(super) fn bind(path: &Path) -> Result<Self, ControlError> {
        super::path::fits(path).map_err(ControlError::TooLong)?;
        let system = |source| ControlError::System { path: path.to_owned(), source };
        make_room(path)?;
        // Bound under a hidden name, closed to others, and only then put in its place: there is
        // no moment in which a generous umask lets someone in, and the place is never empty.
        let hidden = hidden_beside(path);
        let listener = UnixListener::bind(&hidden).map_err(system)?;
        let placed = fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))
            .and_then(|()| listener.set_nonblocking(true))
            .and_then(|()| fs::symlink_metadata(&hidden))
            .and_then(|meta| fs::rename(&hidden, path).map(|()| meta));
        match placed {
            Ok(meta) => {
                Ok(Self { listener, path: path.to_owned(), file: (meta.dev(), meta.ino()) })
            }
            Err(error) => {
                let _ = fs::remove_file(&hidden);
                Err(system(error))
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = |m: fs::Metadata| (m.dev(), m.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            // A file that is left behind is found to be dead by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the directory if there is none, and sees to it that no living thing stands at `path`.
fn make_room(path: &Path) -> Result<(), ControlError> {
    let system = |source| ControlError::System { path: path.to_owned(), source };
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(system)?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(system(error)),
        Ok(meta) if !meta.file_type().is_socket() => {
            Err(ControlError::NotASocket { path: path.to_owned() })
        }
        Ok(_) if answers(path) => Err(ControlError::InUse { path: path.to_owned() }),
        Ok(_) => Ok(()),
    }
}

/// Whether a living process listens at `path`. One that cannot be asked counts as living.
pub(crate) fn answers(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => {
            !matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
        }
    }
}

/// A name in the same directory that no other thread or process takes; at most 20 bytes.
fn hidden_beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
    path.with_file_name(format!(".tl-{}-{n}", std::process::id()))
}
