//! Many identities in little time: a few dozen primes, taken two by two.

use std::collections::VecDeque;
use std::sync::Arc;

use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::traits::PrivateKeyParts;
use rsa::{BigUint, RsaPrivateKey};
use trunkline_proto::base::Chance;
use trunkline_proto::crypto::Identity;

use crate::draw::secs;
use crate::people::DAWN;

/// Makes identities, each from another pair of primes. Good for simulations only: who has one of
/// these keys can find its neighbours'.
pub(super) struct Keys {
    primes: Vec<BigUint>,
    pairs: VecDeque<(usize, usize)>,
    chance: Chance,
}

impl Keys {
    /// Of which so many identities can be had.
    pub(super) fn new(count: usize, mut chance: Chance) -> Self {
        let mut primes = Vec::new();
        while primes.len() * primes.len().saturating_sub(1) / 2 < count {
            let key = RsaPrivateKey::new(&mut chance, 2_048).expect("a key");
            primes.extend(key.primes().iter().cloned());
        }
        let pairs = (0..primes.len()).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
        Self { primes, pairs, chance }
    }

    /// The next one.
    ///
    /// # Panics
    /// If there are no more.
    pub(super) fn next(&mut self) -> Arc<Identity> {
        let (a, b) = self.pairs.pop_front().expect("another pair of primes");
        let (p, q) = (self.primes[a].clone(), self.primes[b].clone());
        let key = RsaPrivateKey::from_p_q(p, q, BigUint::from(65_537u32)).expect("a key");
        let pem = key.to_pkcs8_pem(LineEnding::LF).expect("a text");
        let space = "sim".parse().expect("a space");
        let life = secs(365 * 86_400);
        let identity = Identity::of_rsa(&pem, &space, &mut self.chance, DAWN, life);
        Arc::new(identity.expect("an identity"))
    }
}
