//! Key records as text, the way people hand them on: the block that ends a key file, on its own.
//! Vouchers are handed on the same way, by [`super::voucher`].
//!
//! ```text
//! -----BEGIN TRUNKLINE KEY RECORD-----
//! AQRob21lAYDK…
//! -----END TRUNKLINE KEY RECORD-----
//! ```
//!
//! Reading also takes the Base64 alone, in one line or many. Nothing in it is secret, and nothing
//! in it is believed before it is verified.

use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use trunkline_proto::base::{Hashname, Wall};
use trunkline_proto::crypto::{KeyRecord, RecordError};

use super::model::{Peer, RecordSource};

const LABEL: &str = "TRUNKLINE KEY RECORD";
const LINE: usize = 64;

/// Larger than any record as text.
const MOST_BYTES: u64 = 16 << 10;

/// Why a text is not the record it should be.
#[derive(Debug, thiserror::Error)]
pub enum RecordTextError {
    /// The file could not be read.
    #[error("cannot read the record {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Someone gave more away than intended.
    #[error(
        "this is a key file, with its secrets: they belong on the machine of their owner; take \
         the output of `trunkline keys show FILE --record`, and make new keys if it was sent"
    )]
    Secret,
    /// Neither a block nor Base64.
    #[error("not a key record: copy all that `trunkline keys show FILE --record` prints")]
    NotText,
    /// Decoded, and refused.
    #[error("{0}; get the present one with `trunkline keys show FILE --record` on that machine")]
    Refused(#[from] RecordError),
    /// A true record of someone else.
    #[error("the record belongs to {found}, not to {expected}")]
    OfAnother {
        /// Who was configured.
        expected: Hashname,
        /// Whose record it is.
        found: Hashname,
    },
}

/// The record as a block of text.
#[must_use]
pub fn to_text(record: &KeyRecord) -> String {
    block(LABEL, record.encoded())
}

/// Bytes as a block of text with that label.
pub(super) fn block(label: &str, bytes: &[u8]) -> String {
    let base64 = Base64::encode_string(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.extend([line, "\n"]);
        rest = after;
    }
    text + "-----END " + label + "-----\n"
}

/// The bytes of the block with that label, or of a text that is the Base64 alone.
pub(super) fn unblock(label: &str, text: &str) -> Option<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let inner = match text.split_once(&begin) {
        Some((_, after)) => after.split_once(&end)?.0,
        None => text,
    };
    let base64: String = inner.split_whitespace().collect();
    Base64::decode_vec(&base64).ok().filter(|bytes| !bytes.is_empty())
}

/// Reads and verifies a record.
///
/// # Errors
/// See [`RecordTextError`].
pub fn from_text(text: &str, now: Wall) -> Result<KeyRecord, RecordTextError> {
    if text.contains("PRIVATE KEY") {
        return Err(RecordTextError::Secret);
    }
    let bytes = unblock(LABEL, text).ok_or(RecordTextError::NotText)?;
    Ok(KeyRecord::parse(&bytes)?.verify(now)?)
}

impl Peer {
    /// The peer's record, verified and its own; none if the configuration has none.
    ///
    /// # Errors
    /// See [`RecordTextError`].
    pub fn key_record(&self, now: Wall) -> Result<Option<KeyRecord>, RecordTextError> {
        self.record.as_ref().map(|r| r.of(self.hashname, now)).transpose()
    }
}

impl RecordSource {
    /// The record there, verified and of `expected`.
    pub(super) fn of(&self, expected: Hashname, now: Wall) -> Result<KeyRecord, RecordTextError> {
        let record = match self {
            Self::Inline(text) => from_text(text, now)?,
            Self::File(path) => from_text(&read_file(path)?, now)?,
        };
        if record.hashname() != expected {
            let found = record.hashname();
            return Err(RecordTextError::OfAnother { expected, found });
        }
        Ok(record)
    }
}

/// The text of a file no larger than a record takes.
///
/// # Errors
/// [`RecordTextError::Unreadable`] or `NotText`.
pub fn read_file(path: &Path) -> Result<String, RecordTextError> {
    let unreadable = |source| RecordTextError::Unreadable { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MOST_BYTES {
        return Err(RecordTextError::NotText);
    }
    std::fs::read_to_string(path).map_err(unreadable)
}
