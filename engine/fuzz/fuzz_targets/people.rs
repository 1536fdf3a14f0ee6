//! Three identities for targets that need one, and the other side of a handshake, written from
//! the protocol's description with another cryptographic library: so the fuzzer's bytes get past
//! the seals, and nothing here shares a mistake with the code under test.
#![allow(dead_code)] // each target uses its part

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use snow::{Builder, HandshakeState};
use trunkline_proto::base::{BootEpoch, LineId, Wall};
use trunkline_proto::crypto::{Capabilities, Identity, Opener};

pub const NOW: Wall = Wall::from_secs(1_800_000_000);
pub const OPENER: Opener = Opener {
    line: LineId([0xa1; 16]),
    epoch: BootEpoch(1),
    counter: 1,
    capabilities: Capabilities(0),
};

/// The key file of Alice.
pub const ALICE_TEXT: &str = include_str!("../keys/alice.key");
/// Alice, of the space `home`. Her record holds for a hundred years from [`NOW`].
pub static ALICE: Person = Person::new(|| read(ALICE_TEXT));
/// Bob, of the same space and for as long.
pub static BOB: Person = Person::new(|| read(include_str!("../keys/bob.key")));
/// Carol, of the same space and for as long.
pub static CAROL: Person = Person::new(|| read(include_str!("../keys/carol.key")));

pub type Person = LazyLock<Arc<Identity>>;

/// Kept keys: to find RSA primes takes most of a minute in code that counts its own steps.
fn read(text: &str) -> Arc<Identity> {
    Arc::new(Identity::from_text(text).unwrap())
}

/// `bytes` after `edits`: each of three bytes, where and how to change one of them.
pub fn damaged(bytes: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[at] ^= edit[2];
    }
    bytes
}

pub fn noise<'a>(secret: &'a [u8], prologue: &'a [u8]) -> Builder<'a> {
    Builder::new("Noise_IK_25519_AESGCM_SHA256".parse().unwrap())
        .local_private_key(secret)
        .unwrap()
        .prologue(prologue)
        .unwrap()
}

/// Alice's initiation to Bob, with any payload.
pub fn initiation(payload: &[u8]) -> Vec<u8> {
    let head = [&[1], OPENER.line.0.as_slice()].concat();
    let prologue = [b"trunkline open 1", head.as_slice()].concat();
    let mut state = noise(ALICE.line_secret(), &prologue)
        .remote_public_key(BOB.record().line_key())
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(&[7; 32])
        .build_initiator()
        .unwrap();
    let mut body = [head, write(&mut state, payload)].concat();
    let key = [b"trunkline mac1 1", BOB.record().line_key().as_slice()].concat();
    let mac1 = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &body);
    body.extend_from_slice(&mac1.as_ref()[..16]);
    body.extend_from_slice(&[0; 16]);
    body
}

/// Bob's response to an initiation, with any payload.
pub fn response(initiation: &[u8], payload: &[u8]) -> Vec<u8> {
    let prologue = [b"trunkline open 1", &initiation[..17]].concat();
    let mut state = noise(BOB.line_secret(), &prologue)
        .fixed_ephemeral_key_for_testing_only(&[8; 32])
        .build_responder()
        .unwrap();
    let mut buffer = vec![0; 2_000];
    state.read_message(&initiation[17..initiation.len() - 32], &mut buffer).unwrap();
    [&[2], &initiation[1..17], &write(&mut state, payload)].concat()
}

fn write(state: &mut HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 96 + payload.len()];
    let len = state.write_message(payload, &mut message).unwrap();
    message.truncate(len);
    message
}
