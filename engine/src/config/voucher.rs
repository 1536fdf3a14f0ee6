//! Vouchers as text, the way operators hand them to members: a block of its own, like a key
//! record's. Nothing in it is secret, and it is worth nothing to anyone but its subject.
//!
//! ```text
//! -----BEGIN TRUNKLINE VOUCHER-----
//! AQ8AAAAAa3FfANDnZYgBKSYquXqdIc8lyy24…
//! -----END TRUNKLINE VOUCHER-----
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use trunkline_proto::crypto::{VoucherError, voucher};

use super::record::{block, unblock};

const LABEL: &str = "TRUNKLINE VOUCHER";

/// Larger than any voucher as text, with room for words around it.
const MOST_BYTES: u64 = 4 << 10;

/// Why a file is not the voucher it should be.
#[derive(Debug, thiserror::Error)]
pub enum VoucherFileError {
    /// It could not be read.
    #[error("cannot read the voucher {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Neither a block nor Base64, or of an unknown form.
    #[error("{} holds no voucher ({why}): copy all that `trunkline operator voucher` prints", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: VoucherError,
    },
}

/// The voucher as a block of text.
#[must_use]
pub fn to_text(voucher: &[u8]) -> String {
    block(LABEL, voucher)
}

/// Reads the shape of a voucher; nothing is believed yet.
///
/// # Errors
/// [`VoucherError::Length`] or `UnknownVersion`.
pub fn from_text(text: &str) -> Result<Bytes, VoucherError> {
    let bytes = unblock(LABEL, text).ok_or(VoucherError::Length)?;
    voucher::parse(&bytes)?;
    Ok(bytes.into())
}

/// Reads the voucher in a file.
///
/// # Errors
/// [`VoucherFileError`].
pub fn read(path: &Path) -> Result<Bytes, VoucherFileError> {
    let unreadable = |source| VoucherFileError::Unreadable { path: path.to_owned(), source };
    let content = |why| VoucherFileError::Content { path: path.to_owned(), why };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MOST_BYTES {
        return Err(content(VoucherError::Length));
    }
    from_text(&std::fs::read_to_string(path).map_err(unreadable)?).map_err(content)
}

/// Puts a voucher into the place of the one in a file: after a crash there is the old or the new.
///
/// # Errors
/// The system's, if the file or its directory cannot be written to.
pub fn replace(path: &Path, voucher: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".next");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(to_text(voucher).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}
