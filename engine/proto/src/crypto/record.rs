//! The key record: the one small thing that proves what belongs to a hashname.
//!
//! It owns the byte layout (PROTOCOL §2.2) and the judgement whether a record is
//! true: the RSA key makes the hashname, the RSA signature makes the working keys its own. It
//! never makes a signature (that is [`super::identity`]) and never decides whether a space or
//! a serial is welcome.
//!
//! ```text
//! version 1 | space len 1 | space | modulus len 2 | modulus | line key 32 | signing key 32
//!           | serial 8 | expiry 8 | RSA signature, as long as the modulus
//! ```
//!
//! The modulus travels bare: the exponent is always 65537, so the `SubjectPublicKeyInfo` that is
//! hashed can only be spelled one way, 38 bytes are saved, and a stranger's DER is never parsed.

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{
    ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use bytes::Bytes;

use super::identity::Purpose;
use crate::base::{DropReason, Hashname, Space, Wall};

/// The only version of the layout there is.
const VERSION: u8 = 1;
/// What the RSA signature covers begins with this, then the record up to the signature.
pub(super) const SIGNED_PREFIX: &[u8] = b"trunkline key record\n";
/// 65537, as aws-lc-rs wants it.
const EXPONENT: [u8; 3] = [1, 0, 1];
/// Smallest and largest RSA modulus, in bytes: 2,048 and 4,096 bits.
pub(super) const MODULUS_BYTES: core::ops::RangeInclusive<usize> = 256..=512;

/// Why a record is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the record does.
    #[error("the record is cut off")]
    Truncated,
    /// More bytes than the record has, or than any record may have.
    #[error("the record is too long")]
    Oversized,
    /// A layout this node does not know; a newer one may.
    #[error("the record has an unknown version")]
    UnknownVersion,
    /// The space name breaks the rule for names.
    #[error("the record names no valid space")]
    BadSpace,
    /// The RSA key is not 2,048 to 4,096 bits in whole bytes, or even.
    #[error("the record's RSA key is not acceptable")]
    BadKey,
    /// The RSA signature is not over these bytes by this key.
    #[error("the record's signature does not verify")]
    BadSignature,
    /// It ended more than [`Wall::TOLERANCE`] ago; ask its owner for the next one.
    #[error("the record has expired")]
    Expired,
}

impl From<RecordError> for DropReason {
    fn from(e: RecordError) -> Self {
        match e {
            RecordError::Truncated => Self::Truncated,
            RecordError::Oversized => Self::Oversized,
            RecordError::UnknownVersion => Self::UnknownKind,
            RecordError::BadSpace | RecordError::BadKey => Self::Malformed,
            RecordError::BadSignature => Self::BadSignature,
            RecordError::Expired => Self::Expired,
        }
    }
}

/// A record whose shape is right and whose truth is not yet known. Borrows the bytes.
///
/// Parsing costs a few comparisons; [`Self::hashname`] one SHA-256, [`Self::verify`] one RSA
/// verification more.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a> {
    encoded: &'a [u8],
    space: Space,
    modulus: &'a [u8],
    line_key: &'a [u8; 32],
    signing_key: &'a [u8; 32],
    serial: u64,
    expiry: Wall,
    signature: &'a [u8],
}

impl<'a> Unverified<'a> {
    /// The hashname these keys would have.
    #[must_use]
    pub fn hashname(&self) -> Hashname {
        hashname_of(self.modulus, &self.space)
    }

    /// The space it claims.
    #[must_use]
    pub const fn space(&self) -> Space {
        self.space
    }

    /// The X25519 key it claims.
    #[must_use]
    pub const fn line_key(&self) -> &'a [u8; 32] {
        self.line_key
    }

    /// How often the working keys were renewed.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// When it ends.
    #[must_use]
    pub const fn expiry(&self) -> Wall {
        self.expiry
    }

    /// The bytes it was read from.
    #[must_use]
    pub const fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// Checks expiry and signature: the record that comes back is true.
    ///
    /// # Errors
    /// [`RecordError::Expired`] or [`RecordError::BadSignature`].
    pub fn verify(&self, now: Wall) -> Result<KeyRecord, RecordError> {
        if now.is_past(self.expiry) {
            return Err(RecordError::Expired);
        }
        let body = self.encoded.len() - self.signature.len();
        let signed = [SIGNED_PREFIX, self.encoded.get(..body).unwrap_or(&[])].concat();
        RsaPublicKeyComponents { n: self.modulus, e: EXPONENT.as_slice() }
            .verify(&RSA_PKCS1_2048_8192_SHA256, &signed, self.signature)
            .map_err(|_| RecordError::BadSignature)?;
        Ok(self.trusted())
    }

    /// The record without a check, for bytes whose truth is already known.
    pub(super) fn trusted(&self) -> KeyRecord {
        KeyRecord {
            hashname: self.hashname(),
            space: self.space,
            line_key: *self.line_key,
            signing_key: *self.signing_key,
            serial: self.serial,
            expiry: self.expiry,
            encoded: Bytes::copy_from_slice(self.encoded),
        }
    }
}

/// A verified key record. Only [`Unverified::verify`] and the owner's [`super::Identity`] make
/// one, so holding it means its signature was right.
///
/// In memory about 250 bytes and the encoded record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRecord {
    hashname: Hashname,
    space: Space,
    line_key: [u8; 32],
    signing_key: [u8; 32],
    serial: u64,
    expiry: Wall,
    encoded: Bytes,
}

impl KeyRecord {
    /// The largest record: 4,096-bit key and a space name of 64 bytes make 1,172 bytes.
    pub const MAX_LEN: usize = 1_172;

    /// Reads the shape of a record that fills `bytes` wholly.
    ///
    /// # Errors
    /// Any [`RecordError`] but `BadSignature` and `Expired`.
    pub fn parse(bytes: &[u8]) -> Result<Unverified<'_>, RecordError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(RecordError::Oversized);
        }
        let mut rest = bytes;
        let &[version] = take_array(&mut rest)?;
        if version != VERSION {
            return Err(RecordError::UnknownVersion);
        }
        let &[space_len] = take_array(&mut rest)?;
        if usize::from(space_len) > Space::MAX_LEN {
            return Err(RecordError::BadSpace);
        }
        let space = take(&mut rest, space_len.into())?;
        let space = Space::from_bytes(space).map_err(|_| RecordError::BadSpace)?;
        let modulus_len = usize::from(u16::from_be_bytes(*take_array(&mut rest)?));
        if !MODULUS_BYTES.contains(&modulus_len) {
            return Err(RecordError::BadKey);
        }
        let modulus = take(&mut rest, modulus_len)?;
        let top_bit = modulus.first().is_some_and(|b| b & 0x80 != 0);
        if !top_bit || modulus.last().is_none_or(|b| b & 1 == 0) {
            return Err(RecordError::BadKey);
        }
        let line_key = take_array(&mut rest)?;
        let signing_key = take_array(&mut rest)?;
        let serial = u64::from_be_bytes(*take_array(&mut rest)?);
        let expiry = Wall::from_secs(u64::from_be_bytes(*take_array(&mut rest)?));
        let signature = take(&mut rest, modulus_len)?;
        if !rest.is_empty() {
            return Err(RecordError::Oversized);
        }
        Ok(Unverified {
            encoded: bytes,
            space,
            modulus,
            line_key,
            signing_key,
            serial,
            expiry,
            signature,
        })
    }

    /// Whose record it is.
    #[must_use]
    pub const fn hashname(&self) -> Hashname {
        self.hashname
    }

    /// The space it lives in.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// The X25519 key lines are opened with.
    #[must_use]
    pub const fn line_key(&self) -> &[u8; 32] {
        &self.line_key
    }

    /// The Ed25519 key of announcements, vouchers and TLS.
    #[must_use]
    pub const fn signing_key(&self) -> &[u8; 32] {
        &self.signing_key
    }

    /// How often the working keys were renewed; the higher of two records is the newer one.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// When it ends.
    #[must_use]
    pub const fn expiry(&self) -> Wall {
        self.expiry
    }

    /// The record as it travels; clones share the bytes.
    #[must_use]
    pub const fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// The RSA public key as `SubjectPublicKeyInfo` DER.
    #[must_use]
    pub fn rsa_spki(&self) -> Vec<u8> {
        Self::parse(&self.encoded).map(|r| spki(r.modulus)).unwrap_or_default()
    }

    /// Whether `signature` is this record's owner's, over `message`, for `purpose`.
    #[must_use]
    pub fn verify_signature(&self, purpose: Purpose, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.signing_key)
            .verify(&purpose.bind(message), signature)
            .is_ok()
    }
}

/// The record up to its signature.
pub(super) fn unsigned(
    space: &Space,
    modulus: &[u8],
    keys: (&[u8; 32], &[u8; 32]),
    serial: u64,
    expiry: Wall,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(KeyRecord::MAX_LEN);
    out.push(VERSION);
    out.push(u8::try_from(space.as_bytes().len()).unwrap_or(0));
    out.extend_from_slice(space.as_bytes());
    out.extend_from_slice(&u16::try_from(modulus.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(modulus);
    out.extend_from_slice(keys.0);
    out.extend_from_slice(keys.1);
    out.extend_from_slice(&serial.to_be_bytes());
    out.extend_from_slice(&expiry.as_secs().to_be_bytes());
    out
}

/// The fingerprint rule: SHA-256 over the `SubjectPublicKeyInfo`, then the space name.
pub(super) fn hashname_of(modulus: &[u8], space: &Space) -> Hashname {
    let mut hash = Context::new(&SHA256);
    hash.update(&spki(modulus));
    hash.update(space.as_bytes());
    let mut out = [0; Hashname::LEN];
    out.copy_from_slice(hash.finish().as_ref());
    Hashname::new(out)
}

/// `SubjectPublicKeyInfo` DER of an RSA key with that modulus (top bit set, at least 256 bytes)
/// and exponent 65537. Every length in it takes the two-byte long form, so it is a template.
pub(super) fn spki(modulus: &[u8]) -> Vec<u8> {
    /// rsaEncryption with NULL parameters.
    const ALGORITHM: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0];
    const INTEGER_EXPONENT: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];
    let long = |tag: u8, content: usize| {
        let [hi, lo] = u16::try_from(content).unwrap_or(u16::MAX).to_be_bytes();
        [tag, 0x82, hi, lo]
    };
    let integer = modulus.len() + 1;
    let key = 4 + integer + INTEGER_EXPONENT.len();
    let bit_string = 1 + 4 + key;
    let mut out = Vec::with_capacity(modulus.len() + 38);
    out.extend_from_slice(&long(0x30, ALGORITHM.len() + 4 + bit_string));
    out.extend_from_slice(&ALGORITHM);
    out.extend_from_slice(&long(0x03, bit_string));
    out.push(0);
    out.extend_from_slice(&long(0x30, key));
    out.extend_from_slice(&long(0x02, integer));
    out.push(0);
    out.extend_from_slice(modulus);
    out.extend_from_slice(&INTEGER_EXPONENT);
    out
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8], RecordError> {
    let (head, tail) = rest.split_at_checked(n).ok_or(RecordError::Truncated)?;
    *rest = tail;
    Ok(head)
}

fn take_array<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], RecordError> {
    let (head, tail) = rest.split_first_chunk().ok_or(RecordError::Truncated)?;
    *rest = tail;
    Ok(head)
}
