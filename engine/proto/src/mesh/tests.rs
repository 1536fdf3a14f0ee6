//! Meshes of real nodes without transports, in one thread and on virtual time: what the room's
//! parts do together. Also the identities its tests share: finding RSA primes is slow, so each is
//! made once per process.

mod convergence;
mod hostile;
mod restart;
mod world;

use std::sync::{Arc, OnceLock};

use crate::base::{Chance, Space};
use crate::crypto::Identity;
use crate::crypto::tests::{LIFE, NOW};

/// How many members there are.
pub(crate) const MEMBERS: usize = 30;

/// A node of the space `home`, the same in every run.
pub(crate) fn member(n: usize) -> Arc<Identity> {
    static MADE: [OnceLock<Arc<Identity>>; MEMBERS] = [const { OnceLock::new() }; MEMBERS];
    Arc::clone(MADE[n].get_or_init(|| make("home", n as u64)))
}

/// A node of another space.
pub(crate) fn stranger() -> Arc<Identity> {
    static MADE: OnceLock<Arc<Identity>> = OnceLock::new();
    Arc::clone(MADE.get_or_init(|| make("elsewhere", 99)))
}

fn make(space: &str, seed: u64) -> Arc<Identity> {
    let (space, mut chance) = (Space::new(space).unwrap(), Chance::from_number(0x3e5 + seed));
    Arc::new(Identity::generate(&space, 2_048, &mut chance, NOW, LIFE).unwrap())
}
