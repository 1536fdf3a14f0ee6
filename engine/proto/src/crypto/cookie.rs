//! What an open costs before it may cost anything: mac1, cookies and mac2
//! (PROTOCOL §4.4).
//!
//! ```text
//!   body ──mac1──► Knock ──calm──────────────────────────► read (public-key work)
//!                    └──busy──mac2 right?──yes────────────►─┘
//!                                 └──no──► cookie, sent back and forgotten
//! ```
//!
//! mac1 shows that the sender knows whom it is calling. A cookie shows that the sender receives
//! what is sent to its path: it is a MAC of the path under a secret of ours, so that nothing is
//! kept about anyone. It travels sealed, so that it is useless to those who did not see the open.
//!
//! This file does not decide when a node is busy.

use core::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, UnboundKey};
use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

use super::identity::Identity;
use super::open::{self, Heard};
use super::session::{TAG_LEN, nonce};
use crate::base::{Chance, DropReason, Instant, LineId};

/// Bytes of mac1, of mac2 and of a cookie.
pub(super) const MAC_LEN: usize = 16;
/// Bytes of a cookie packet's body: type, line id, salt, sealed cookie.
pub const COOKIE_LEN: usize = 1 + LineId::LEN + SALT_LEN + MAC_LEN + TAG_LEN;

const SALT_LEN: usize = 16;
/// A secret makes cookies this long,
const MAKES: Duration = Duration::from_secs(120);
/// and they are accepted this long after it was drawn.
const ACCEPTED: Duration = Duration::from_secs(240);

type Mac = [u8; MAC_LEN];

/// The first 16 bytes of HMAC-SHA256 over `parts`.
pub(super) fn mac(key: &hmac::Key, parts: &[&[u8]]) -> Mac {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().first_chunk().copied().unwrap_or_default()
}

/// A key everyone can make who knows whose line key it is.
fn public_key(label: &str, line_key: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &[label.as_bytes(), line_key].concat())
}

fn mac1(line_key: &[u8; 32], covered: &[u8]) -> Mac {
    mac(&public_key("trunkline mac1 1", line_key), &[covered])
}

fn mac2(cookie: &Mac, covered: &[u8]) -> Mac {
    mac(&hmac::Key::new(hmac::HMAC_SHA256, cookie), &[covered])
}

/// Puts mac1 and an empty mac2 behind an initiation for the owner of `line_key`.
pub(super) fn close(line_key: &[u8; 32], body: &mut Vec<u8>) {
    body.extend_from_slice(&mac1(line_key, body));
    body.extend_from_slice(&[0; MAC_LEN]);
}

/// An initiation that knows our line key: worth a cookie, or the public-key work.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'a> {
    pub(super) identity: &'a Identity,
    pub(super) body: &'a [u8],
    from: LineId,
}

impl<'a> Knock<'a> {
    /// Checks size, kind and mac1 of the body of an `open` packet: about a microsecond.
    ///
    /// # Errors
    /// As [`open::heard`]; `UnknownKind` if it is no initiation; `BadMac` if it is not for
    /// `identity`. With several identities, try each.
    pub fn new(identity: &'a Identity, body: &'a [u8]) -> Result<Self, DropReason> {
        let Heard::Initiation { from } = open::heard(body)? else {
            return Err(DropReason::UnknownKind);
        };
        let covered = body.len().checked_sub(2 * MAC_LEN).ok_or(DropReason::Truncated)?;
        let (covered, macs) = body.split_at_checked(covered).ok_or(DropReason::Truncated)?;
        let right = mac1(identity.record().line_key(), covered);
        let given = macs.first_chunk::<MAC_LEN>().ok_or(DropReason::Truncated)?;
        constant_time::verify_slices_are_equal(&right, given).map_err(|_| DropReason::BadMac)?;
        Ok(Self { identity, body, from })
    }

    /// The line the sender wants its answer on.
    #[must_use]
    pub const fn from(&self) -> LineId {
        self.from
    }

    /// Everything before mac2, and mac2.
    fn around_mac2(&self) -> (&'a [u8], &'a [u8]) {
        self.body.split_at_checked(self.body.len() - MAC_LEN).unwrap_or((self.body, &[]))
    }

    fn mac1(&self) -> &'a [u8] {
        self.around_mac2().0.last_chunk::<MAC_LEN>().map_or(&[], |m| m)
    }
}

/// The secrets cookies are made with: one that makes them and the one before it. Two times 40
/// bytes, however many cookies are out.
#[derive(Debug)]
pub struct Cookies {
    current: Secret,
    previous: Option<Secret>,
}

struct Secret {
    key: hmac::Key,
    drawn: Instant,
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Secret({:?})", self.drawn)
    }
}

impl Secret {
    fn draw(chance: &mut Chance, now: Instant) -> Self {
        let bytes = Zeroizing::new(chance.bytes::<32>());
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()), drawn: now }
    }

    fn cookie(&self, path: &[u8]) -> Mac {
        mac(&self.key, &[path])
    }
}

impl Cookies {
    /// Draws the first secret.
    #[must_use]
    pub fn new(chance: &mut Chance, now: Instant) -> Self {
        Self { current: Secret::draw(chance, now), previous: None }
    }

    /// The body of a cookie packet to send back to `path`, in place of doing what `knock` asks.
    /// `path` is whatever names the sender's path: the bytes of address and port, or of a mesh
    /// address. Always smaller than the knock.
    ///
    /// # Errors
    /// [`DropReason::Busy`] only if the library fails.
    pub fn make(
        &mut self,
        now: Instant,
        chance: &mut Chance,
        knock: &Knock<'_>,
        path: &[u8],
    ) -> Result<[u8; COOKIE_LEN], DropReason> {
        if now.since(self.current.drawn) >= MAKES {
            let next = Secret::draw(chance, now);
            self.previous = Some(core::mem::replace(&mut self.current, next));
        }
        let salt = chance.bytes::<SALT_LEN>();
        let mut cookie = self.current.cookie(path);
        let line_key = knock.identity.record().line_key();
        let tag = seal(line_key, &salt, knock.mac1(), &mut cookie).ok_or(DropReason::Busy)?;
        let parts = [&[open::COOKIE], knock.from.0.as_slice(), &salt, &cookie, &tag];
        parts.concat().try_into().map_err(|_| DropReason::Busy)
    }

    /// Whether `knock` carries a cookie given to `path` not long ago.
    #[must_use]
    pub fn allow(&self, now: Instant, knock: &Knock<'_>, path: &[u8]) -> bool {
        let (covered, given) = knock.around_mac2();
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .filter(|secret| now.since(secret.drawn) < ACCEPTED)
            .map(|secret| mac2(&secret.cookie(path), covered))
            .any(|right| constant_time::verify_slices_are_equal(&right, given).is_ok())
    }
}

/// The key that seals one cookie of the owner of `line_key`. Used once, since the salt is drawn
/// for it, so the nonce is zero.
fn seal_key(line_key: &[u8; 32], salt: &[u8; SALT_LEN]) -> Option<LessSafeKey> {
    let key = hmac::sign(&public_key("trunkline cookie 1", line_key), salt);
    UnboundKey::new(&AES_256_GCM, key.as_ref()).ok().map(LessSafeKey::new)
}

/// Seals one cookie of the owner of `line_key`, for the initiation with that mac1.
pub(super) fn seal(
    line_key: &[u8; 32],
    salt: &[u8; SALT_LEN],
    mac1: &[u8],
    cookie: &mut Mac,
) -> Option<[u8; TAG_LEN]> {
    let key = seal_key(line_key, salt)?;
    let tag = key.seal_in_place_separate_tag(nonce(0), Aad::from(mac1), cookie).ok()?;
    tag.as_ref().first_chunk().copied()
}

/// Takes the cookie out of a cookie packet from the owner of `line_key` and fills mac2 of
/// `initiation` with it, which must be the one that was answered.
pub(super) fn put_in(
    line_key: &[u8; 32],
    packet: &[u8],
    initiation: &mut [u8],
) -> Result<(), DropReason> {
    let sealed = packet.get(1 + LineId::LEN..).ok_or(DropReason::Truncated)?;
    let (salt, sealed) = sealed.split_first_chunk().ok_or(DropReason::Truncated)?;
    let mut sealed: [u8; MAC_LEN + TAG_LEN] =
        sealed.try_into().map_err(|_| DropReason::Malformed)?;
    let len = initiation.len().checked_sub(MAC_LEN).ok_or(DropReason::Malformed)?;
    let (covered, empty) = initiation.split_at_mut_checked(len).ok_or(DropReason::Malformed)?;
    let answered = covered.last_chunk::<MAC_LEN>().ok_or(DropReason::Malformed)?;
    let key = seal_key(line_key, salt).ok_or(DropReason::BadMac)?;
    let cookie = key
        .open_in_place(nonce(0), Aad::from(answered), &mut sealed)
        .map_err(|_| DropReason::BadMac)?;
    let cookie = cookie.first_chunk::<MAC_LEN>().ok_or(DropReason::BadMac)?;
    empty.copy_from_slice(&mac2(cookie, covered));
    Ok(())
}
