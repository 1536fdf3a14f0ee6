//! What only the owner of a hashname has: the RSA key and the two working keys under it.
//!
//! The RSA key signs the owner's record when it is made or renewed and nothing else, never at
//! a stranger's bidding; all signatures of daily work are Ed25519's, each bound to its
//! [`Purpose`]. An identity never changes: [`Identity::renew`] makes the next one. It is kept
//! as text by [`super::keyfile`].
//!
//! Everything is drawn from [`Chance`]: one seed gives the same keys and the same bytes.

use core::time::Duration;
use std::sync::Arc;

use aws_lc_rs::agreement::{self, X25519};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::sha2::Sha256;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey};
use zeroize::Zeroizing;

use super::record::{self, KeyRecord, MODULUS_BYTES, RecordError};
use crate::base::{Chance, Hashname, Space, Wall};

/// What an Ed25519 signature is for. A signature for one purpose never verifies for another,
/// nor as a TLS handshake signature, whose input begins with blanks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Purpose {
    /// A link-state announcement.
    Announcement,
    /// A voucher by which an operator admits a hashname to a closed space.
    Voucher,
    /// A signed packet outside of any line.
    Packet,
    /// The proof in the hello of a link.
    Link,
    /// A broadcast.
    Broadcast,
}

impl Purpose {
    const fn code(self) -> u8 {
        match self {
            Self::Announcement => 1,
            Self::Voucher => 2,
            Self::Packet => 3,
            Self::Link => 4,
            Self::Broadcast => 5,
        }
    }

    /// The bytes that are signed: `trunkline signature`, a zero, the purpose's number, `message`.
    pub(super) fn bind(self, message: &[u8]) -> Vec<u8> {
        [b"trunkline signature\0".as_slice(), &[self.code()], message].concat()
    }
}

/// Why an identity could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The caller asked for a size outside 2,048 to 4,096 bits, or not a multiple of 8.
    #[error("an RSA key has 2048 to 4096 bits, in whole bytes")]
    KeySize,
    /// The RSA key does not work, or a library refused a key it had made.
    #[error("the keys do not work")]
    BadKeys,
    /// The record is not the one of these keys.
    #[error("the record and the keys do not belong together")]
    Mismatch,
    /// The record is not a record.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The two working secrets of an identity, wiped when dropped: 32 bytes of X25519, 32 bytes of
/// Ed25519 seed.
#[derive(Clone)]
pub(super) struct WorkingSecrets {
    pub(super) line: Zeroizing<[u8; 32]>,
    pub(super) signing: Zeroizing<[u8; 32]>,
}

/// A hashname's secret side. Shared by reference; `Debug` shows the hashname only.
pub struct Identity {
    rsa: RsaPrivateKey,
    secrets: WorkingSecrets,
    signing: Ed25519KeyPair,
    line: Arc<agreement::PrivateKey>,
    record: Arc<KeyRecord>,
}

impl Identity {
    /// RSA bits where nobody says otherwise.
    pub const DEFAULT_BITS: usize = 3_072;

    /// Makes a new identity, whose record holds from `now` for `life`. Finding the RSA primes
    /// takes tenths of a second to several seconds.
    ///
    /// # Errors
    /// [`IdentityError::KeySize`]; `BadKeys` only if a library fails.
    pub fn generate(
        space: &Space,
        bits: usize,
        chance: &mut Chance,
        now: Wall,
        life: Duration,
    ) -> Result<Self, IdentityError> {
        if !bits.is_multiple_of(8) || !MODULUS_BYTES.contains(&(bits / 8)) {
            return Err(IdentityError::KeySize);
        }
        let rsa = RsaPrivateKey::new(chance, bits).map_err(|_| IdentityError::BadKeys)?;
        Self::make(rsa, space, 1, chance, now.after(life))
    }

    /// An identity of an RSA key that is there already, as unencrypted PKCS#8 in PEM.
    ///
    /// # Errors
    /// `BadKeys` if it is no such key, [`IdentityError::KeySize`] if it is too small or too large.
    pub fn of_rsa(
        pem: &str,
        space: &Space,
        chance: &mut Chance,
        now: Wall,
        life: Duration,
    ) -> Result<Self, IdentityError> {
        let rsa = RsaPrivateKey::from_pkcs8_pem(pem).map_err(|_| IdentityError::BadKeys)?;
        rsa.validate().map_err(|_| IdentityError::BadKeys)?;
        if !MODULUS_BYTES.contains(&rsa.size()) || rsa.e() != &BigUint::from(65_537u32) {
            return Err(IdentityError::KeySize);
        }
        Self::make(rsa, space, 1, chance, now.after(life))
    }

    /// The same hashname with new working keys, the next serial and a new term.
    ///
    /// # Errors
    /// `BadKeys` only if a library fails.
    pub fn renew(
        &self,
        chance: &mut Chance,
        now: Wall,
        life: Duration,
    ) -> Result<Self, IdentityError> {
        let serial = self.record.serial().saturating_add(1);
        Self::make(self.rsa.clone(), self.record.space(), serial, chance, now.after(life))
    }

    fn make(
        rsa: RsaPrivateKey,
        space: &Space,
        serial: u64,
        chance: &mut Chance,
        expiry: Wall,
    ) -> Result<Self, IdentityError> {
        let secrets = WorkingSecrets {
            line: Zeroizing::new(chance.bytes()),
            signing: Zeroizing::new(chance.bytes()),
        };
        let (line, line_key) = line_pair(&secrets.line)?;
        let (signing, signing_key) = signing_pair(&secrets.signing)?;
        let modulus = rsa.n().to_bytes_be();
        let mut encoded =
            record::unsigned(space, &modulus, (&line_key, &signing_key), serial, expiry);
        let signed = [record::SIGNED_PREFIX, &encoded].concat();
        // Blinded, although nobody can time it: the signature is the same and it costs nothing.
        let signature = SigningKey::<Sha256>::new(rsa.clone())
            .try_sign_with_rng(chance, &signed)
            .map_err(|_| IdentityError::BadKeys)?;
        encoded.extend_from_slice(&signature.to_vec());
        let record = Arc::new(KeyRecord::parse(&encoded)?.trusted());
        Ok(Self { rsa, secrets, signing, line: Arc::new(line), record })
    }

    /// Puts kept parts together again, checking that they belong together. Expiry is not
    /// checked: an owner may load an old identity in order to renew it.
    pub(super) fn from_parts(
        rsa: RsaPrivateKey,
        secrets: WorkingSecrets,
        encoded: &[u8],
    ) -> Result<Self, IdentityError> {
        rsa.validate().map_err(|_| IdentityError::BadKeys)?;
        let unverified = KeyRecord::parse(encoded)?;
        let record = unverified.verify(unverified.expiry())?;
        let (line, line_key) = line_pair(&secrets.line)?;
        let (signing, signing_key) = signing_pair(&secrets.signing)?;
        let hashname = record::hashname_of(&rsa.n().to_bytes_be(), record.space());
        let ours = rsa.e() == &BigUint::from(65_537u32)
            && hashname == record.hashname()
            && line_key == *record.line_key()
            && signing_key == *record.signing_key();
        if !ours {
            return Err(IdentityError::Mismatch);
        }
        Ok(Self { rsa, secrets, signing, line: Arc::new(line), record: Arc::new(record) })
    }

    /// Who this is.
    #[must_use]
    pub fn hashname(&self) -> Hashname {
        self.record.hashname()
    }

    /// The space it lives in.
    #[must_use]
    pub fn space(&self) -> &Space {
        self.record.space()
    }

    /// What others are given to know of it.
    #[must_use]
    pub const fn record(&self) -> &Arc<KeyRecord> {
        &self.record
    }

    /// Ed25519 signature over `message`, good for `purpose` only.
    #[must_use]
    pub fn sign(&self, purpose: Purpose, message: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        let signature = self.signing.sign(&purpose.bind(message));
        if let Some(bytes) = signature.as_ref().first_chunk() {
            out = *bytes;
        }
        out
    }

    /// The Ed25519 key as PKCS#8 (version 1) DER, 48 bytes, for TLS with a raw public key.
    #[must_use]
    pub fn signing_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        /// Everything before the seed is fixed (RFC 8410 §7).
        const HEAD: [u8; 16] =
            [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let mut out = Zeroizing::new(Vec::with_capacity(48));
        out.extend_from_slice(&HEAD);
        out.extend_from_slice(self.secrets.signing.as_slice());
        out
    }

    /// The X25519 secret of the line key.
    #[must_use]
    pub fn line_secret(&self) -> &[u8; 32] {
        &self.secrets.line
    }

    /// The same secret, parsed once for all handshakes.
    pub(super) const fn line_pair(&self) -> &Arc<agreement::PrivateKey> {
        &self.line
    }

    pub(super) const fn rsa(&self) -> &RsaPrivateKey {
        &self.rsa
    }

    pub(super) const fn secrets(&self) -> &WorkingSecrets {
        &self.secrets
    }
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Identity").field(&self.hashname()).finish()
    }
}

fn line_pair(secret: &[u8; 32]) -> Result<(agreement::PrivateKey, [u8; 32]), IdentityError> {
    let pair = agreement::PrivateKey::from_private_key(&X25519, secret)
        .map_err(|_| IdentityError::BadKeys)?;
    let public = pair.compute_public_key().map_err(|_| IdentityError::BadKeys)?;
    let public = public.as_ref().try_into().map_err(|_| IdentityError::BadKeys)?;
    Ok((pair, public))
}

fn signing_pair(seed: &[u8; 32]) -> Result<(Ed25519KeyPair, [u8; 32]), IdentityError> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| IdentityError::BadKeys)?;
    let public = pair.public_key().as_ref().try_into().map_err(|_| IdentityError::BadKeys)?;
    Ok((pair, public))
}
