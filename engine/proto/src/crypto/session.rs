//! A session: the keys one handshake left behind, and what may still be done with them
//! (PROTOCOL §4.5).
//!
//! It owns a key and a counter to seal with, a key and a window of counters to open with. It
//! knows neither packets nor line ids: the caller says what is authenticated beside the
//! plaintext. It never renews itself: [`Session::keys_state`] says when someone should.
//!
//! Sealing and opening work in place and allocate nothing. A counter is marked as seen only
//! after its packet authenticated, so forgeries cannot push real packets out of the window.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::base::replay::ReplayWindow;
use crate::base::{DropReason, Instant, Limits};

/// Bytes the authentication tag adds to every sealed packet.
pub const TAG_LEN: usize = 16;

/// No counter from here on is ever used, whatever the limits say: far below where the number
/// would wrap, far above what a session's life allows.
const COUNTERS: u64 = 1 << 60;

/// What age has made of a session's keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum KeysState {
    /// Nothing to do.
    Fresh,
    /// They still work; a new handshake should be under way.
    RenewDue,
    /// They must not be used any more, in either direction.
    Dead,
}

/// The two keys a handshake ends with: what the opener seals with, then what the answerer
/// seals with.
pub type SessionKeys = Zeroizing<[[u8; 32]; 2]>;

/// One end of an established session. About 2.3 KiB, half of it the replay window.
#[derive(Debug)]
pub struct Session {
    sealing: LessSafeKey,
    opening: LessSafeKey,
    /// The counter of the next packet to seal.
    next: u64,
    seen: ReplayWindow,
    since: Instant,
    initiated: bool,
    confirmed: bool,
}

impl Session {
    /// A session from the keys of a handshake, whose age counts from `now`. `initiated` says
    /// which end this is: true where the handshake was started.
    ///
    /// # Errors
    /// [`DropReason::BadSeal`] only if the library refuses to take a key.
    pub fn new(keys: &SessionKeys, initiated: bool, now: Instant) -> Result<Self, DropReason> {
        let [opener, answerer] = &**keys;
        let (ours, theirs) = if initiated { (opener, answerer) } else { (answerer, opener) };
        Ok(Self {
            sealing: key(ours)?,
            opening: key(theirs)?,
            next: 0,
            seen: ReplayWindow::default(),
            since: now,
            initiated,
            confirmed: false,
        })
    }

    /// The counter the next sealed packet will carry, for headers that are authenticated.
    #[must_use]
    pub const fn next_counter(&self) -> u64 {
        self.next
    }

    /// Encrypts `plaintext` where it lies and authenticates `ad` beside it. Returns the counter
    /// used, which is [`Self::next_counter`] from before the call, and the tag that goes behind.
    ///
    /// # Errors
    /// [`DropReason::StaleKeys`] if no counter is left; `plaintext` is untouched then.
    pub fn seal_in_place(
        &mut self,
        ad: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(u64, [u8; TAG_LEN]), DropReason> {
        let counter = self.next;
        if counter >= COUNTERS {
            return Err(DropReason::StaleKeys);
        }
        // Before the cipher's work: whatever happens there, no counter serves twice.
        self.next += 1;
        let tag = self
            .sealing
            .seal_in_place_separate_tag(nonce(counter), Aad::from(ad), plaintext)
            .map_err(|_| DropReason::StaleKeys)?;
        let tag = tag.as_ref().first_chunk().ok_or(DropReason::StaleKeys)?;
        Ok((counter, *tag))
    }

    /// Checks and decrypts `sealed` (ciphertext, then tag) where it lies; returns the plaintext,
    /// [`TAG_LEN`] bytes shorter. Accepts every counter at most once. `sealed` holds rubbish
    /// after a failure.
    ///
    /// # Errors
    /// `Truncated` without room for a tag, `Replayed` for a counter seen before or too old,
    /// `BadSeal` for anything that does not authenticate.
    pub fn open_in_place<'a>(
        &mut self,
        counter: u64,
        ad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], DropReason> {
        if sealed.len() < TAG_LEN {
            return Err(DropReason::Truncated);
        }
        if counter >= COUNTERS || !self.seen.may_accept(counter) {
            return Err(DropReason::Replayed);
        }
        let plain = self
            .opening
            .open_in_place(nonce(counter), Aad::from(ad), sealed)
            .map_err(|_| DropReason::BadSeal)?;
        if !self.seen.accept(counter) {
            return Err(DropReason::Replayed);
        }
        self.confirmed = true;
        Ok(plain)
    }

    /// What age and use have made of the keys.
    #[must_use]
    pub fn keys_state(&self, now: Instant, limits: &Limits) -> KeysState {
        let age = now.since(self.since);
        if age >= limits.keys_dead_after || self.next >= COUNTERS {
            KeysState::Dead
        } else if age >= limits.rekey_after || self.next >= limits.rekey_after_packets {
            KeysState::RenewDue
        } else {
            KeysState::Fresh
        }
    }

    /// Whether this end started the handshake.
    #[must_use]
    pub const fn initiated(&self) -> bool {
        self.initiated
    }

    /// Whether a packet of the peer was opened with it: the proof that the peer has the keys.
    #[must_use]
    pub const fn confirmed(&self) -> bool {
        self.confirmed
    }

    /// When the handshake ended here.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }
}

fn key(bytes: &[u8; 32]) -> Result<LessSafeKey, DropReason> {
    let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| DropReason::BadSeal)?;
    Ok(LessSafeKey::new(key))
}

/// Four zero bytes, then the counter, as Noise has it for AES-GCM.
pub(super) fn nonce(counter: u64) -> Nonce {
    let number = u128::from(counter) << 32;
    let mut bytes = [0; 12];
    if let Some(low) = number.to_be_bytes().first_chunk::<12>() {
        bytes = *low;
    }
    Nonce::assume_unique_for_key(bytes)
}
