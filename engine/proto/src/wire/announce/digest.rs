//! The digest: a stretch of a link-state database, by order alone (PROTOCOL §7.5).
//!
//! ```text
//! 0  .. 16  first address of the stretch
//! 16 .. 32  last address of the stretch
//! 32        entries, ascending: address (16), serial (8), epoch (8), sequence (8)
//! ```
//!
//! A digest speaks for its whole stretch: an address inside it without an entry is one the
//! sender does not know. So the receiver sends what the sender lacks, unasked, and no request
//! is needed. A row of digests covers all addresses.

use bytes::{BufMut, Bytes};

use super::Order;
use crate::base::{Address, BootEpoch, DropReason};
use crate::wire::link::{CONTROL_MAX, Fields, HEADER_LEN, LinkKind, control_frame};

const ENTRY_LEN: usize = 40;
const FIXED_LEN: usize = 32;

/// One origin in a digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DigestEntry {
    /// The origin.
    pub origin: Address,
    /// The order of the announcement the sender holds.
    pub order: Order,
}

/// A checked view of a digest's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest<'a> {
    /// First address spoken for.
    pub first: Address,
    /// Last address spoken for, included.
    pub last: Address,
    entries: &'a [u8],
}

impl<'a> Digest<'a> {
    /// Most entries of one digest.
    pub const ENTRIES_MAX: usize = (CONTROL_MAX - HEADER_LEN - FIXED_LEN) / ENTRY_LEN;

    /// Reads a digest.
    ///
    /// # Errors
    /// `Truncated`, `Oversized`, or `Malformed`: a part of an entry, entries that do not ascend
    /// or lie outside the stretch.
    pub fn parse(body: &'a [u8]) -> Result<Self, DropReason> {
        let mut fields = Fields::new(body);
        let first = Address::new(fields.array()?);
        let last = Address::new(fields.array()?);
        let entries = fields.rest();
        if entries.len() > Self::ENTRIES_MAX * ENTRY_LEN {
            return Err(DropReason::Oversized);
        }
        let out = Self { first, last, entries };
        let mut floor = None;
        let rising = out.entries().all(|e| {
            let rises = floor.is_none_or(|f| f < e.origin);
            floor = Some(e.origin);
            rises && (first..=last).contains(&e.origin)
        });
        if !rising || first > last || !entries.len().is_multiple_of(ENTRY_LEN) {
            return Err(DropReason::Malformed);
        }
        Ok(out)
    }

    /// The entries, ascending by address.
    pub fn entries(&self) -> impl Iterator<Item = DigestEntry> + 'a {
        self.entries.chunks_exact(ENTRY_LEN).filter_map(|chunk| {
            let mut fields = Fields::new(chunk);
            let origin = Address::new(fields.array().ok()?);
            let serial = fields.u64().ok()?;
            let epoch = BootEpoch(fields.u64().ok()?);
            let sequence = fields.u64().ok()?;
            Some(DigestEntry { origin, order: Order { serial, epoch, sequence } })
        })
    }
}

/// Writes one digest.
#[derive(Clone, Debug)]
pub struct DigestWriter {
    first: Address,
    entries: Vec<u8>,
}

impl DigestWriter {
    /// A digest of the stretch that begins at `first`.
    #[must_use]
    pub const fn new(first: Address) -> Self {
        Self { first, entries: Vec::new() }
    }

    /// Whether another entry fits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.entries.len() < Digest::ENTRIES_MAX * ENTRY_LEN
    }

    /// Adds an entry; the caller keeps them ascending.
    pub fn push(&mut self, entry: DigestEntry) {
        if self.has_room() {
            self.entries.put_slice(entry.origin.as_bytes());
            self.entries.put_u64(entry.order.serial);
            self.entries.put_u64(entry.order.epoch.0);
            self.entries.put_u64(entry.order.sequence);
        }
    }

    /// The whole frame, for the stretch up to and with `last`.
    ///
    /// # Errors
    /// `Oversized` cannot happen within [`Digest::ENTRIES_MAX`] entries.
    pub fn frame(self, last: Address) -> Result<Bytes, DropReason> {
        let mut body = Vec::with_capacity(FIXED_LEN + self.entries.len());
        body.put_slice(self.first.as_bytes());
        body.put_slice(last.as_bytes());
        body.put_slice(&self.entries);
        control_frame(LinkKind::Digest, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u8) -> DigestEntry {
        let order = Order { serial: 1, epoch: BootEpoch(2), sequence: u64::from(n) };
        DigestEntry { origin: Address::new([n; 16]), order }
    }

    fn digest(first: u8, last: u8, entries: &[u8]) -> Bytes {
        let mut w = DigestWriter::new(Address::new([first; 16]));
        entries.iter().for_each(|n| w.push(entry(*n)));
        w.frame(Address::new([last; 16])).unwrap().slice(4..)
    }

    #[test]
    fn n11_a_digest_reads_back_and_a_hundred_entries_fit() {
        let body = digest(1, 9, &[1, 4, 9]);
        let d = Digest::parse(&body).unwrap();
        assert_eq!(d.entries().collect::<Vec<_>>(), [entry(1), entry(4), entry(9)]);
        const { assert!(Digest::ENTRIES_MAX >= 100) };
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(Digest::parse(&digest(0, 255, &all)).unwrap().entries().count(), 101);
    }

    #[test]
    fn n11_a_digest_that_contradicts_itself_is_refused() {
        for (first, last, entries) in
            [(1, 9, &[4, 4][..]), (1, 9, &[5, 4]), (2, 9, &[1]), (1, 8, &[9]), (9, 1, &[])]
        {
            let body = digest(first, last, entries);
            assert_eq!(Digest::parse(&body), Err(DropReason::Malformed), "{entries:?}");
        }
        let body = digest(1, 9, &[2]);
        assert_eq!(Digest::parse(&body[..body.len() - 1]), Err(DropReason::Malformed));
        assert_eq!(Digest::parse(&body[..20]), Err(DropReason::Truncated));
    }
}
