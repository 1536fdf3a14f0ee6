//! The voucher: by it an operator says that a hashname belongs to a closed space, until when,
//! and what it may offer there (PROTOCOL §2.5).
//!
//! It owns the byte layout and the judgement whether a voucher is true. It travels with the key
//! record of the one it is for, so it does not repeat who that is: the signature covers it.
//! Whose word counts in a space is [`super::space`]'s to say.
//!
//! ```text
//! version 1 | flags 1 | expiry 8 | operator's address 16 | Ed25519 signature 64
//! signed for purpose 2: all before the signature, then the subject's hashname 32
//! ```

use core::fmt;

use super::identity::{Identity, Purpose};
use super::record::KeyRecord;
use crate::base::{Address, Hashname, Wall};

/// The only version of the layout there is.
const VERSION: u8 = 1;
/// What stands before the signature.
const SAID: usize = 1 + 1 + 8 + Address::LEN;
/// Bytes of a voucher.
pub const LEN: usize = SAID + 64;

/// What an operator lets the holder of a voucher offer to its space. Bits without a meaning are
/// kept and mean nothing: a later version may give them one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No service: a plain member, which may use those of others.
    pub const NONE: Self = Self(0);
    /// May take part in finding hashnames.
    pub const SPACER: Self = Self(1);
    /// May answer for the directory.
    pub const OPERATOR: Self = Self(2);
    /// May carry others' connections to targets outside of the space.
    pub const PROXY: Self = Self(4);
    /// May answer HTTP requests.
    pub const HTTP: Self = Self(8);
    /// Everything: what operators have, and everybody in an open space.
    pub const ALL: Self = Self(u8::MAX);

    /// Every flag with its word.
    pub const WORDS: [(Self, &'static str); 4] = [
        (Self::SPACER, "spacer"),
        (Self::OPERATOR, "operator"),
        (Self::PROXY, "proxy"),
        (Self::HTTP, "http"),
    ];

    /// Whether all of `other` are among them.
    #[must_use]
    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The flag of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, w)| *w == word).map(|(flag, _)| *flag)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for (flag, word) in Self::WORDS {
            if self.contain(flag) {
                write!(f, "{gap}{word}")?;
                gap = ", ";
            }
        }
        if gap.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

/// Why a voucher is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VoucherError {
    /// Not as long as a voucher is.
    #[error("not a voucher")]
    Length,
    /// A layout this node does not know; a newer one may.
    #[error("the voucher has an unknown version")]
    UnknownVersion,
    /// It ended more than [`Wall::TOLERANCE`] ago; ask an operator for the next one.
    #[error("the voucher has expired")]
    Expired,
    /// It names another operator than the one whose record it is held against.
    #[error("the voucher is of another operator")]
    OtherOperator,
    /// The operator's key did not sign this for this hashname.
    #[error("the voucher is for another hashname, or was not signed by this key of the operator")]
    BadSignature,
}

/// A voucher whose shape is right and whose truth is not yet known. Borrows the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim<'a> {
    said: &'a [u8; SAID],
    signature: &'a [u8; 64],
    /// What it would allow.
    pub flags: Flags,
    /// When it ends.
    pub expiry: Wall,
    /// Whose word it would be.
    pub operator: Address,
}

impl Claim<'_> {
    /// Whether `operator` said so about `subject`, and it still holds. Costs one Ed25519
    /// verification, last.
    ///
    /// # Errors
    /// `Expired`, `OtherOperator` or `BadSignature`.
    pub fn verify(
        &self,
        subject: &Hashname,
        operator: &KeyRecord,
        now: Wall,
    ) -> Result<(), VoucherError> {
        if now.is_past(self.expiry) {
            return Err(VoucherError::Expired);
        }
        if operator.hashname().address() != self.operator {
            return Err(VoucherError::OtherOperator);
        }
        let message = message(self.said, subject);
        if operator.verify_signature(Purpose::Voucher, &message, self.signature) {
            Ok(())
        } else {
            Err(VoucherError::BadSignature)
        }
    }
}

/// The word of `operator` that `subject` belongs to their space until `expiry`. Whoever asks sees
/// to it that the subject is of that space: elsewhere the voucher is worth nothing.
#[must_use]
pub fn issue(operator: &Identity, subject: &Hashname, flags: Flags, expiry: Wall) -> [u8; LEN] {
    let mut out = [0; LEN];
    if let Some((said, signature)) = out.split_first_chunk_mut::<SAID>() {
        let address = operator.hashname().address();
        let expiry = expiry.as_secs().to_be_bytes();
        let parts = [VERSION, flags.0].into_iter().chain(expiry).chain(*address.as_bytes());
        said.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        signature.copy_from_slice(&operator.sign(Purpose::Voucher, &message(said, subject)));
    }
    out
}

/// Reads the shape of a voucher that fills `bytes` wholly.
///
/// # Errors
/// `Length` or `UnknownVersion`.
pub fn parse(bytes: &[u8]) -> Result<Claim<'_>, VoucherError> {
    let (said, signature) = bytes.split_first_chunk::<SAID>().ok_or(VoucherError::Length)?;
    let signature = signature.try_into().map_err(|_| VoucherError::Length)?;
    let [version, flags, rest @ ..] = said;
    if *version != VERSION {
        return Err(VoucherError::UnknownVersion);
    }
    let (expiry, operator) = rest.split_first_chunk().ok_or(VoucherError::Length)?;
    let operator: [u8; Address::LEN] = operator.try_into().map_err(|_| VoucherError::Length)?;
    Ok(Claim {
        said,
        signature,
        flags: Flags(*flags),
        expiry: Wall::from_secs(u64::from_be_bytes(*expiry)),
        operator: Address::new(operator),
    })
}

/// What is signed.
fn message(said: &[u8; SAID], subject: &Hashname) -> [u8; SAID + Hashname::LEN] {
    let mut out = [0; SAID + Hashname::LEN];
    out.iter_mut().zip(said.iter().chain(subject.as_bytes())).for_each(|(to, from)| *to = *from);
    out
}
