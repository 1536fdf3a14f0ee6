//! Key records as text, the way people hand them on: the block that ends a key file, on its own.
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

const BEGIN: &str = "-----BEGIN TRUNKLINE KEY RECORD-----";
const END: &str = "-----END TRUNKLINE KEY RECORD-----";
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
    let base64 = Base64::encode_string(record.encoded());
    let mut text = format!("{BEGIN}\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.extend([line, "\n"]);
        rest = after;
    }
    text + END + "\n"
}

/// Reads and verifies a record.
///
/// # Errors
/// See [`RecordTextError`].
pub fn from_text(text: &str, now: Wall) -> Result<KeyRecord, RecordTextError> {
    if text.contains("PRIVATE KEY") {
        return Err(RecordTextError::Secret);
    }
    let inner = match text.split_once(BEGIN) {
        Some((_, after)) => after.split_once(END).ok_or(RecordTextError::NotText)?.0,
        None => text,
    };
    let base64: String = inner.split_whitespace().collect();
    let bytes = Base64::decode_vec(&base64).map_err(|_| RecordTextError::NotText)?;
    if bytes.is_empty() {
        return Err(RecordTextError::NotText);
    }
    Ok(KeyRecord::parse(&bytes)?.verify(now)?)
}

impl Peer {
    /// The peer's record, verified and its own.
    ///
    /// # Errors
    /// See [`RecordTextError`].
    pub fn key_record(&self, now: Wall) -> Result<KeyRecord, RecordTextError> {
        let record = match &self.record {
            RecordSource::Inline(text) => from_text(text, now)?,
            RecordSource::File(path) => from_text(&read_file(path)?, now)?,
        };
        if record.hashname() != self.hashname {
            let (expected, found) = (self.hashname, record.hashname());
            return Err(RecordTextError::OfAnother { expected, found });
        }
        Ok(record)
    }
}

fn read_file(path: &Path) -> Result<String, RecordTextError> {
    let unreadable = |source| RecordTextError::Unreadable { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MOST_BYTES {
        return Err(RecordTextError::NotText);
    }
    std::fs::read_to_string(path).map_err(unreadable)
}
