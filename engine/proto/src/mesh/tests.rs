//! Meshes of real nodes without transports, in one thread and on virtual time: what the room's
//! parts do together. Also the identities its tests share: finding RSA primes is slow, so each is
//! made once per process.

mod broadcasts;
mod convergence;
mod hostile;
mod restart;
mod vectors;
mod world;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::base::{Address, BootEpoch, Chance, Space};
use crate::crypto::tests::{LIFE, NOW};
use crate::crypto::{Identity, Purpose};
use crate::wire::announce::{AnnouncementHead, Draft, Neighbour, Order};
use crate::wire::link::{Capabilities, Cost, NodeName};

/// How many members there are.
pub(crate) const MEMBERS: usize = 24;

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

/// An announcement by `who`, with links of cost 1 to those addresses.
pub(crate) fn word(who: &Identity, epoch: u64, sequence: u64, to: &[Address]) -> Bytes {
    let mut neighbours: Vec<Neighbour> =
        to.iter().map(|address| Neighbour { address: *address, cost: Cost::ONE }).collect();
    neighbours.sort_by_key(|n| n.address);
    let order = Order { serial: who.record().serial(), epoch: BootEpoch(epoch), sequence };
    let draft = Draft {
        life_secs: 1_800,
        head: AnnouncementHead { origin: who.hashname().address(), order },
        capabilities: Capabilities(0),
        packing: Default::default(),
        name: NodeName::default(),
        record: who.record().encoded(),
        neighbours: &neighbours,
    };
    draft.sign(|bytes| who.sign(Purpose::Announcement, bytes)).unwrap()
}
