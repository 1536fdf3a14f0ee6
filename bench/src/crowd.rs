//! Many hashnames, made faster than keys are: each pair of a few hundred primes is another RSA
//! key, and all of them have the same working keys. They are as good as others to whom they talk
//! to, and no good as secrets.

use std::sync::Arc;
use std::time::Duration;

use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::der::pem;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding, Signer};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, RsaPrivateKey};
use trunkline_proto::base::{Chance, Space, Wall};
use trunkline_proto::crypto::Identity;

/// Bits of the keys: the fewest there may be.
const BITS: usize = 2_048;
const SIGNATURE: usize = BITS / 8;
const RECORD: &str = "TRUNKLINE KEY RECORD";
const KEY: &str = "PRIVATE KEY";

/// Hashnames, by number.
#[derive(Debug)]
pub struct Crowd {
    primes: Vec<BigUint>,
    text: String,
    record: Vec<u8>,
    /// Where the record has the modulus.
    at: usize,
}

impl Crowd {
    /// A crowd of at least `size`, whose records hold from `now` for a day.
    ///
    /// # Panics
    /// If keys cannot be made.
    #[must_use]
    pub fn new(space: &Space, size: usize, now: Wall) -> Self {
        let mut chance = Chance::from_number(77);
        let life = Duration::from_secs(86_400);
        let first = Identity::generate(space, BITS, &mut chance, now, life).expect("keys");
        let text = first.to_text().expect("a text").to_string();
        let record = first.record().encoded().to_vec();
        let mut primes = Vec::new();
        while primes.len() * primes.len().saturating_sub(1) / 2 < size {
            let key = RsaPrivateKey::new(&mut chance, BITS).expect("keys");
            primes.extend(key.primes().iter().cloned());
        }
        // After version, name and the length of the modulus.
        let at = 1 + 1 + space.as_bytes().len() + 2;
        Self { primes, text, record, at }
    }

    /// Another hashname for each number.
    ///
    /// # Panics
    /// If the crowd is not that large.
    #[must_use]
    pub fn identity(&self, number: usize) -> Arc<Identity> {
        let (mut low, mut left) = (1, number);
        while left >= low {
            left -= low;
            low += 1;
        }
        let (p, q) = (self.primes[low].clone(), self.primes[left].clone());
        let key = RsaPrivateKey::from_p_q(p, q, BigUint::from(65_537_u32)).expect("a key");
        let mut record = self.record.clone();
        let modulus = key.n().to_bytes_be();
        record[self.at..self.at + modulus.len()].copy_from_slice(&modulus);
        let body = record.len() - SIGNATURE;
        let signed = [b"trunkline key record\n", &record[..body]].concat();
        let signature = SigningKey::<Sha256>::new(key.clone()).sign(&signed).to_vec();
        record[body..].copy_from_slice(&signature);
        let key = key.to_pkcs8_pem(LineEnding::LF).expect("a key");
        let text = replace(&self.text, KEY, &key);
        let record = pem::encode_string(RECORD, LineEnding::LF, &record).expect("a record");
        let text = replace(&text, RECORD, &record);
        Arc::new(Identity::from_text(&text).expect("an identity"))
    }
}

/// The text with another block of that label.
fn replace(text: &str, label: &str, block: &str) -> String {
    let end = format!("-----END {label}-----\n");
    let from = text.find(&format!("-----BEGIN {label}-----")).expect("a block");
    let to = from + text[from..].find(&end).expect("its end") + end.len();
    [&text[..from], block, &text[to..]].concat()
}
