//! Tests of the room, one file per behaviour, and the identities they share: finding RSA
//! primes is slow, so each is made once per process.

mod cookie;
mod identity;
mod open;
mod record;
mod session;
mod space;
mod vectors;
mod voucher;

use core::time::Duration;
use std::sync::OnceLock;

use super::Identity;
use crate::base::{Chance, Space, Wall};

/// The calendar in tests.
pub(crate) const NOW: Wall = Wall::from_secs(1_800_000_000);
/// How long records hold in tests.
pub(crate) const LIFE: Duration = Duration::from_secs(30 * 86_400);

fn make(seed: u64) -> Identity {
    let space = Space::new("home").unwrap();
    Identity::generate(&space, 2_048, &mut Chance::from_number(seed), NOW, LIFE).unwrap()
}

/// An identity of the space `home`, the same in every run.
pub(crate) fn alice() -> &'static Identity {
    static ALICE: OnceLock<Identity> = OnceLock::new();
    ALICE.get_or_init(|| make(0xa11ce))
}

/// Another of the same space.
pub(crate) fn bob() -> &'static Identity {
    static BOB: OnceLock<Identity> = OnceLock::new();
    BOB.get_or_init(|| make(0xb0b))
}

/// Makes mac1 of a forged initiation right, as anyone can who knows the receiver's line key.
fn settle(receiver: &Identity, body: &mut Vec<u8>) {
    body.truncate(body.len().saturating_sub(32));
    super::cookie::close(receiver.record().line_key(), body);
}

/// Identities are shared by threads; sessions and handshakes move between them.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    const fn moved<T: Send>() {}
    shared::<Identity>();
    moved::<(super::Session, super::PendingOpen, super::Initiation, super::Proven)>();
};
