//! The identities of simulated nodes: made once for the process, because RSA keys are slow to
//! make, and the same in every process, because their seeds are fixed.

use std::sync::{Arc, OnceLock};

use trunkline_proto::base::{Chance, Wall};
use trunkline_proto::crypto::Identity;

use crate::draw::secs;

/// How many there are; a world has fewer nodes.
pub const PEOPLE: usize = 12;

/// The calendar when a world begins.
pub(crate) const DAWN: Wall = Wall::from_secs(1_800_000_000);

/// One of them.
///
/// # Panics
/// If there is no person of that number.
#[must_use]
pub fn person(index: usize) -> Arc<Identity> {
    static PEOPLE_MADE: [OnceLock<Arc<Identity>>; PEOPLE] = [const { OnceLock::new() }; PEOPLE];
    let make = || {
        let space = "sim".parse().expect("a space");
        let mut chance = Chance::from_number(0x7065_6f70_6c65 + index as u64);
        let identity = Identity::generate(&space, 2_048, &mut chance, DAWN, secs(365 * 86_400));
        Arc::new(identity.expect("an identity"))
    };
    Arc::clone(PEOPLE_MADE[index].get_or_init(make))
}
