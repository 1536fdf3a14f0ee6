//! The Noise handshake's primitives, by aws-lc-rs: X25519, AES-256-GCM, SHA-256, and chance
//! that is given, not asked for.
//!
//! snow keeps the state machine; this file puts the project's one cryptographic library under
//! it, so that handshakes and lines rest on the same code and a seed repeats a handshake. It
//! knows nothing of what the messages mean (that is [`super::open`]).
//!
//! A handshake needs randomness once, for its ephemeral key: 32 bytes drawn beforehand. Asked
//! a second time, the source fails instead of repeating itself.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::{digest, hmac};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, Error, HandshakeState};
use zeroize::Zeroizing;

use super::identity::Identity;
use super::session::{SessionKeys, TAG_LEN, nonce};
use crate::base::{Chance, DropReason};

const PATTERN: &str = "Noise_IK_25519_AESGCM_SHA256";
/// An X25519 key.
const KEY_LEN: usize = 32;

/// Begins the handshake towards the owner of line key `peer`.
pub(super) fn initiator(
    identity: &Identity,
    peer: &[u8; 32],
    prologue: &[u8],
    chance: &mut Chance,
) -> Result<HandshakeState, DropReason> {
    let built = builder(identity, prologue, chance)
        .and_then(|b| b.remote_public_key(peer))
        .and_then(Builder::build_initiator);
    built.map_err(refusal)
}

/// Begins the handshake as the one who was asked.
pub(super) fn responder(
    identity: &Identity,
    prologue: &[u8],
    chance: &mut Chance,
) -> Result<HandshakeState, DropReason> {
    builder(identity, prologue, chance).and_then(Builder::build_responder).map_err(refusal)
}

/// The keys a finished handshake leaves: opener's first.
pub(super) fn split(mut state: HandshakeState) -> SessionKeys {
    let (opener, answerer) = state.dangerously_get_raw_split();
    Zeroizing::new([opener, answerer])
}

/// Every failure of a handshake means the same to whoever sent it: nothing.
pub(super) fn refusal(_: Error) -> DropReason {
    DropReason::BadSignature
}

fn builder<'a>(
    identity: &Identity,
    prologue: &'a [u8],
    chance: &mut Chance,
) -> Result<Builder<'a>, Error> {
    Primitives {
        ephemeral: Zeroizing::new(chance.bytes()),
        ours: Arc::clone(identity.line_pair()),
        ours_public: *identity.record().line_key(),
    }
    .builder(prologue)
}

struct Primitives {
    ephemeral: Zeroizing<[u8; 32]>,
    ours: Arc<PrivateKey>,
    ours_public: [u8; 32],
}

impl Primitives {
    fn builder(self, prologue: &[u8]) -> Result<Builder<'_>, Error> {
        // The static key is in the primitives, parsed already; `set` installs it (see `X25519Pair`).
        Builder::with_resolver(PATTERN.parse()?, Box::new(self))
            .local_private_key(&[])?
            .prologue(prologue)
    }
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let pair = X25519Pair {
            ours: Arc::clone(&self.ours),
            ours_public: self.ours_public,
            pair: None,
            public: [0; KEY_LEN],
        };
        (*choice == DHChoice::Curve25519).then(|| Box::new(pair) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        let hash = || Box::new(Sha256(digest::Context::new(&digest::SHA256))) as Box<dyn Hash>;
        (*choice == HashChoice::SHA256).then(hash)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        (*choice == CipherChoice::AESGCM).then(|| Box::new(Gcm(None)) as Box<dyn Cipher>)
    }
}

/// Thirty-two bytes of chance, given out once.
struct Once(Option<Zeroizing<[u8; 32]>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.take().ok_or(Error::Rng)?;
        if dest.len() != bytes.len() {
            return Err(Error::Rng);
        }
        dest.copy_from_slice(bytes.as_slice());
        Ok(())
    }
}

/// Our static pair or an ephemeral one. Parsing the static secret anew for every handshake would
/// cost a scalar multiplication, so `set`, which snow calls for the static key and for
/// nothing else, takes the pair the identity has parsed.
struct X25519Pair {
    ours: Arc<PrivateKey>,
    ours_public: [u8; KEY_LEN],
    pair: Option<Arc<PrivateKey>>,
    public: [u8; KEY_LEN],
}

impl Dh for X25519Pair {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        KEY_LEN
    }

    fn priv_len(&self) -> usize {
        KEY_LEN
    }

    fn set(&mut self, _: &[u8]) {
        self.pair = Some(Arc::clone(&self.ours));
        self.public = self.ours_public;
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut secret = Zeroizing::new([0; KEY_LEN]);
        rng.try_fill_bytes(secret.as_mut_slice())?;
        let pair = PrivateKey::from_private_key(&X25519, secret.as_slice());
        let pair = pair.map_err(|_| Error::Dh)?;
        let public = pair.compute_public_key().map_err(|_| Error::Dh)?;
        self.public = public.as_ref().try_into().map_err(|_| Error::Dh)?;
        self.pair = Some(Arc::new(pair));
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    /// Only asked for by snow's key generation, which is not used.
    fn privkey(&self) -> &[u8] {
        &[]
    }

    /// Refuses a peer key that leads to the all-zero secret.
    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let pair = self.pair.as_ref().ok_or(Error::Dh)?;
        let peer = pubkey.get(..KEY_LEN).ok_or(Error::Dh)?;
        agreement::agree(pair, UnparsedPublicKey::new(&X25519, peer), Error::Dh, |secret| {
            out.get_mut(..secret.len()).ok_or(Error::Dh)?.copy_from_slice(secret);
            Ok(())
        })
    }
}

struct Sha256(digest::Context);

/// What a digest or MAC of 32 bytes leaves in a buffer that may be longer.
fn put(from: &[u8], to: &mut [u8]) {
    if let Some(to) = to.get_mut(..from.len()) {
        to.copy_from_slice(from);
    }
}

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = digest::Context::new(&digest::SHA256);
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let fresh = digest::Context::new(&digest::SHA256);
        put(core::mem::replace(&mut self.0, fresh).finish().as_ref(), out);
    }

    fn hmac(&mut self, key: &[u8], data: &[u8], out: &mut [u8]) {
        // snow passes buffers longer than the 32 bytes of a key; zeros behind a key of less
        // than a block do not change an HMAC.
        put(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref(), out);
    }
}

struct Gcm(Option<LessSafeKey>);

impl Gcm {
    fn seal(&self, n: u64, ad: &[u8], plain: &[u8], out: &mut [u8]) -> Option<usize> {
        let (text, rest) = out.split_at_mut_checked(plain.len())?;
        text.copy_from_slice(plain);
        let tag = self.0.as_ref()?.seal_in_place_separate_tag(nonce(n), Aad::from(ad), text);
        let tag = tag.ok()?;
        rest.get_mut(..TAG_LEN)?.copy_from_slice(tag.as_ref());
        Some(plain.len() + TAG_LEN)
    }

    fn open(&self, n: u64, ad: &[u8], sealed: &[u8], out: &mut [u8]) -> Option<usize> {
        let (text, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_LEN)?)?;
        let out = out.get_mut(..text.len())?;
        let key = self.0.as_ref()?;
        key.open_separate_gather(nonce(n), Aad::from(ad), text, tag, out).ok()?;
        Some(text.len())
    }
}

impl Cipher for Gcm {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new);
    }

    /// Nothing comes out if it fails, and a message without its sealed part is refused.
    fn encrypt(&self, n: u64, ad: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        self.seal(n, ad, plain, out).unwrap_or(0)
    }

    fn decrypt(&self, n: u64, ad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        self.open(n, ad, sealed, out).ok_or(Error::Decrypt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let digit = |i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
        assert_eq!(hex.len(), 2 * N);
        core::array::from_fn(digit)
    }

    fn party(secret: &str, ephemeral: &str) -> Primitives {
        let ours = PrivateKey::from_private_key(&X25519, &bytes::<32>(secret)).unwrap();
        let ours_public = ours.compute_public_key().unwrap().as_ref().try_into().unwrap();
        let ephemeral = Zeroizing::new(bytes(ephemeral));
        Primitives { ephemeral, ours: Arc::new(ours), ours_public }
    }

    /// The public vector of this pattern in the "cacophony" set, which other implementations of
    /// Noise are tested with.
    #[test]
    fn s18_the_handshake_is_the_one_others_speak() {
        let mut a = party(
            "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
            "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
        )
        .builder(b"John Galt")
        .unwrap()
        .remote_public_key(&bytes::<32>(
            "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62",
        ))
        .unwrap()
        .build_initiator()
        .unwrap();
        let mut b = party(
            "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
            "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
        )
        .builder(b"John Galt")
        .unwrap()
        .build_responder()
        .unwrap();
        let (mut message, mut payload) = ([0; 200], [0; 200]);
        let len = a.write_message(b"Ludwig von Mises", &mut message).unwrap();
        let first: [u8; 112] = bytes(concat!(
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944",
            "4e417bc55c7a8166c993356c1be41ef67818a292426f301556c7f26b21d25ddb",
            "097153891a9a956cff47b83e63ad8d701c1342c209cff1ca5ecd43402762ac24",
            "9e3bd3a4c0a145fe07cb5dae28ea13a3",
        ));
        assert_eq!(message[..len], first);
        let got = b.read_message(&first, &mut payload).unwrap();
        assert_eq!(&payload[..got], b"Ludwig von Mises");
        let len = b.write_message(b"Murray Rothbard", &mut message).unwrap();
        let second: [u8; 63] = bytes(concat!(
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843",
            "af2ccf9972e22afc67aeafcd25162f7f98c363b7762e3e4cb7d272e39f27a5",
        ));
        assert_eq!(message[..len], second);
        a.read_message(&second, &mut payload).unwrap();
        let hash = "669c8640d9e42a3cda2f232f78597ceefb01daa6e3df81181ccce6fc6b5026bf";
        assert_eq!(a.get_handshake_hash(), bytes::<32>(hash));
        let mut sealed: [u8; 27] = bytes("66acfc92e3197de166809e6d4d5d003dcc819a84bc3522ca53c9d9");
        let mut session =
            super::super::Session::new(&split(b), false, crate::base::Instant::ZERO).unwrap();
        assert_eq!(session.open_in_place(0, b"", &mut sealed).unwrap(), b"F. A. Hayek");
    }

    #[test]
    fn s18_chance_for_an_ephemeral_key_is_given_once() {
        let mut once = Once(Some(Zeroizing::new([7; 32])));
        let mut out = [0; 32];
        assert!(once.try_fill_bytes(&mut out).is_ok());
        assert_eq!(out, [7; 32]);
        assert_eq!(once.try_fill_bytes(&mut out), Err(Error::Rng));
    }
}
