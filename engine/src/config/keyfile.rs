//! Key files on the disk: written once, readable by their owner alone.
//!
//! What is in them is the crypto room's; here is only the care for who may see it. A key file
//! that others can read is refused, not mended: it may have been read already, which its owner
//! should get to know.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use trunkline_proto::crypto::{Identity, KeyFileError};
use zeroize::Zeroizing;

/// Larger than any key file.
const MOST_BYTES: u64 = 64 << 10;

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is none.
    #[error(
        "there is no key file {}: make one with `trunkline keys new --space NAME --out {}`",
        path.display(), path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// One is there already.
    #[error(
        "{} exists and is not overwritten, a lost key is a lost hashname: choose another --out, \
         or move the file away", path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner can read or change it.
    #[error(
        "others can read or change the key file {} (mode {mode:04o}): `chmod 600 {}`, and if \
         strangers had access, make new keys", path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is a directory, a device, a pipe.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It was read and holds no identity.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyFileError,
    },
    /// The system said no.
    #[error("cannot {act} the key file {}: {source}", path.display())]
    System {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads a key file that only its owner can read.
///
/// # Errors
/// See [`KeysError`]. An expired record is none: its owner may load it to renew it.
pub fn read(path: &Path) -> Result<Identity, KeysError> {
    let system = |act| {
        move |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeysError::Missing { path: path.to_owned() },
            _ => KeysError::System { act, path: path.to_owned(), source },
        }
    };
    // Not blocking: whoever names a pipe shall get an answer, not silence.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    let file = options.open(path).map_err(system("open"))?;
    // Asked of the open file: what is judged is what is read.
    let meta = file.metadata().map_err(system("inspect"))?;
    if !meta.is_file() {
        return Err(KeysError::NotAFile { path: path.to_owned() });
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeysError::Exposed { path: path.to_owned(), mode });
    }
    // Room for all of it at once: a growing string would leave secrets behind.
    let room = usize::try_from(meta.len().min(MOST_BYTES)).unwrap_or(0) + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(system("read"))?;
    Identity::from_text(&text)
        .map_err(|source| KeysError::Content { path: path.to_owned(), source })
}

/// Writes a new key file, mode 0600; never over an existing one.
///
/// # Errors
/// See [`KeysError`]; a file that could not be written whole is not left behind.
pub fn write_new(path: &Path, identity: &Identity) -> Result<(), KeysError> {
    let text = identity
        .to_text()
        .map_err(|source| KeysError::Content { path: path.to_owned(), source })?;
    let system = |act| {
        move |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => KeysError::Exists { path: path.to_owned() },
            _ => KeysError::System { act, path: path.to_owned(), source },
        }
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(system("create"))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| sync_directory(path)).map_err(|error| {
        // Made by us a moment ago, and useless as it is.
        let _ = std::fs::remove_file(path);
        system("write")(error)
    })
}

/// Makes the new name survive a power cut, too.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
