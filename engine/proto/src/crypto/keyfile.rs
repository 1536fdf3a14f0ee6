//! An identity as text: what a node keeps on its disk and a person can back up.
//!
//! Three PEM blocks (PROTOCOL §2.4): the RSA key as PKCS#8, the two working
//! secrets, the record. The first is what any tool knows; the record comes last, so that the
//! public part can be cut off and sent to an operator. Anything outside of blocks is comment.
//! This file reads and writes text only; the disk is the caller's.

use rsa::RsaPrivateKey;
use rsa::pkcs8::der::pem;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use zeroize::{Zeroize, Zeroizing};

use super::identity::{Identity, IdentityError, WorkingSecrets};

const RSA: &str = "PRIVATE KEY";
const WORKING: &str = "TRUNKLINE WORKING KEYS";
const RECORD: &str = "TRUNKLINE KEY RECORD";
/// A 4,096-bit identity takes about 5 KiB.
const MAX_LEN: usize = 32 * 1024;
const HEAD: &str =
    "A Trunkline identity. Whoever has this file is this hashname: keep it secret.\n";

/// What is wrong with a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Larger than any key file; it is some other file.
    #[error("not a key file: larger than 32 KiB")]
    TooLarge,
    /// A block that must be there is not.
    #[error("the key file has no block \"{0}\"")]
    Missing(&'static str),
    /// A block stands twice, and which one holds is anyone's guess.
    #[error("the key file has more than one block \"{0}\"")]
    Twice(&'static str),
    /// A block has no end, or is not Base64, or of the wrong length.
    #[error("the block \"{0}\" of the key file is damaged")]
    Damaged(&'static str),
    /// The parts are whole but do not make an identity.
    #[error("the key file makes no identity: {0}")]
    Identity(#[from] IdentityError),
}

impl Identity {
    /// The identity as the text of a key file, wiped when dropped.
    ///
    /// # Errors
    /// [`KeyFileError::Damaged`] only if a library fails to encode.
    pub fn to_text(&self) -> Result<Zeroizing<String>, KeyFileError> {
        let rsa =
            self.rsa().to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyFileError::Damaged(RSA))?;
        let mut both = Zeroizing::new([0u8; 64]);
        let (line, signing) = both.split_at_mut(32);
        line.copy_from_slice(self.secrets().line.as_slice());
        signing.copy_from_slice(self.secrets().signing.as_slice());
        let working = Zeroizing::new(block(WORKING, both.as_slice())?);
        let record = block(RECORD, self.record().encoded())?;
        // Room for all of it at once: a growing string would leave secrets behind.
        let mut text = Zeroizing::new(String::with_capacity(MAX_LEN));
        for part in [HEAD, &format!("hashname {}\n", self.hashname()), &rsa, &working, &record] {
            text.push_str(part);
        }
        Ok(text)
    }

    /// The identity a key file holds. An expired record is accepted, so that it can be renewed.
    ///
    /// # Errors
    /// [`KeyFileError`] says which part is wrong.
    pub fn from_text(text: &str) -> Result<Self, KeyFileError> {
        if text.len() > MAX_LEN {
            return Err(KeyFileError::TooLarge);
        }
        let rsa = find(text, RSA)?;
        let rsa = RsaPrivateKey::from_pkcs8_pem(rsa).map_err(|_| KeyFileError::Damaged(RSA))?;
        let mut both = decode(find(text, WORKING)?, WORKING)?;
        let split = both.split_first_chunk::<32>().and_then(|(line, rest)| {
            let signing: [u8; 32] = rest.try_into().ok()?;
            Some(WorkingSecrets { line: Zeroizing::new(*line), signing: Zeroizing::new(signing) })
        });
        both.zeroize();
        let secrets = split.ok_or(KeyFileError::Damaged(WORKING))?;
        let record = decode(find(text, RECORD)?, RECORD)?;
        Ok(Self::from_parts(rsa, secrets, &record)?)
    }
}

fn block(label: &'static str, bytes: &[u8]) -> Result<String, KeyFileError> {
    pem::encode_string(label, LineEnding::LF, bytes).map_err(|_| KeyFileError::Damaged(label))
}

fn decode(block: &str, label: &'static str) -> Result<Vec<u8>, KeyFileError> {
    let (_, bytes) = pem::decode_vec(block.as_bytes()).map_err(|_| KeyFileError::Damaged(label))?;
    Ok(bytes)
}

/// The one block of that label, boundaries included.
fn find<'a>(text: &'a str, label: &'static str) -> Result<&'a str, KeyFileError> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let (_, from) = text.split_at(text.find(&begin).ok_or(KeyFileError::Missing(label))?);
    let len = from.find(&end).ok_or(KeyFileError::Damaged(label))? + end.len();
    let (found, after) = from.split_at_checked(len).ok_or(KeyFileError::Damaged(label))?;
    if after.contains(&begin) {
        return Err(KeyFileError::Twice(label));
    }
    Ok(found)
}
