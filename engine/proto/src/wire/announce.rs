//! Announcements and digests: what link-state databases tell each other (PROTOCOL §7.1, §7.5).
//!
//! Owns the two byte formats. Judges form only: that lengths fit, neighbours ascend, costs are
//! not 0. Whether a signature holds, and which of two announcements counts, is
//! [`crate::mesh`]'s matter.
//!
//! ```text
//! 0  .. 2   age in seconds, grows on the way, not signed
//! ---- signed from here ----
//! 2         version, 1
//! 3         length of the name, at most 32
//! 4  .. 6   life in seconds, at least 1
//! 6  .. 8   number of neighbours
//! 8  .. 24  address of the origin
//! 24 .. 32  serial of the key record
//! 32 .. 40  boot epoch
//! 40 .. 48  sequence
//! 48 .. 52  capabilities
//! 52 .. 56  builders it can unpack, a bit for each letter
//! 56 .. 60  the sequence it prefers
//! 60 .. 64  the least sequence it takes
//! 64 .. 66  length of the key record
//! 66        name, key record, then for each neighbour, ascending: address (16), cost (4)
//! ---- signed up to here ----
//!           signature (64)
//! ```
//!
//! The key record rides along, so that whoever holds an announcement can reach the hashname and
//! check it without asking anyone. What decides between two announcements (address, serial,
//! epoch, sequence) stands at fixed places in front, so that the copies that flooding brings in
//! numbers are told from news without parsing a key.

mod digest;

pub use digest::{Digest, DigestEntry, DigestWriter};

use core::cmp::Ordering;

use bytes::{BufMut, Bytes};

use super::link::{
    ANNOUNCEMENT_FRAME_MAX, Capabilities, Cost, Fields, HEADER_LEN, LinkHeader, LinkKind, NodeName,
};
use super::sequence::{Builders, PackTerms, Sequence};
use crate::base::{Address, BootEpoch, DropReason, Priority};

/// Largest announcement: the largest frame of one without its header.
pub const ANNOUNCEMENT_MAX: usize = ANNOUNCEMENT_FRAME_MAX - HEADER_LEN;
const VERSION: u8 = 1;
const SIGNATURE_LEN: usize = 64;
/// Bytes in front of the name.
pub const FIXED_LEN: usize = 66;
const NEIGHBOUR_LEN: usize = Address::LEN + 4;

/// Which of two announcements of one origin counts: the greater. First the record's serial, so
/// that renewed keys end whatever old ones signed; then boot epoch and sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Order {
    /// Serial of the key record.
    pub serial: u64,
    /// Boot epoch of the origin, or an epoch it has outrun (see [`crate::mesh::database`]).
    pub epoch: BootEpoch,
    /// Counts the announcements of an epoch.
    pub sequence: u64,
}

/// One end's word about a link: to whom, at what cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// The other end.
    pub address: Address,
    /// Cost of sending to it.
    pub cost: Cost,
}

/// The first bytes of an announcement, enough to tell news from copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnnouncementHead {
    /// Whose announcement it claims to be.
    pub origin: Address,
    /// Its place among the announcements of that origin.
    pub order: Order,
}

impl AnnouncementHead {
    /// Reads the head only. Nothing in it is checked.
    ///
    /// # Errors
    /// `Truncated`, `Oversized`, or `UnknownKind` for another version.
    pub fn peek(body: &[u8]) -> Result<Self, DropReason> {
        if body.len() > ANNOUNCEMENT_MAX {
            return Err(DropReason::Oversized);
        }
        let mut fields = Fields::new(body);
        let [_, _, version, _, _, _, _, _] = fields.array()?;
        if version != VERSION {
            return Err(DropReason::UnknownKind);
        }
        let origin = Address::new(fields.array()?);
        let serial = fields.u64()?;
        let epoch = BootEpoch(fields.u64()?);
        let sequence = fields.u64()?;
        Ok(Self { origin, order: Order { serial, epoch, sequence } })
    }
}

/// A checked view of an announcement's body: its form is right, its signature not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement<'a> {
    /// Seconds since the origin made it, as far as known. Not signed.
    pub age_secs: u16,
    /// Seconds it lives at most.
    pub life_secs: u16,
    /// Origin and order.
    pub head: AnnouncementHead,
    /// What the origin can do.
    pub capabilities: Capabilities,
    /// How the origin packs and what it takes.
    pub packing: PackTerms,
    /// The origin's name.
    pub name: NodeName,
    /// The origin's key record, encoded.
    pub record: &'a [u8],
    neighbours: &'a [u8],
    signed: &'a [u8],
    signature: &'a [u8; SIGNATURE_LEN],
}

impl<'a> Announcement<'a> {
    /// Reads an announcement.
    ///
    /// # Errors
    /// `Truncated`, `Oversized`, `UnknownKind` for another version, or `Malformed`: bytes left
    /// over, a name that is not one, no life, terms of packing that contradict themselves, a cost
    /// of 0, neighbours that do not ascend or include the origin.
    pub fn parse(body: &'a [u8]) -> Result<Self, DropReason> {
        let head = AnnouncementHead::peek(body)?;
        let (unsigned, signature) =
            body.split_last_chunk::<SIGNATURE_LEN>().ok_or(DropReason::Truncated)?;
        let signed = unsigned.get(2..).ok_or(DropReason::Truncated)?;
        let mut fields = Fields::new(unsigned);
        let age_secs = fields.u16()?;
        let [_, name_len] = fields.array()?;
        let life_secs = fields.u16()?;
        let count = usize::from(fields.u16()?);
        fields.take(Address::LEN + 24)?;
        let capabilities = Capabilities(fields.u32()?);
        let builders = Builders(fields.u32()?);
        let (preferred, least) = (Sequence(fields.array()?), Sequence(fields.array()?));
        let packing = PackTerms { builders, preferred, least };
        let record_len = usize::from(fields.u16()?);
        let name = NodeName::new(fields.take(name_len.into())?).ok_or(DropReason::Malformed)?;
        let record = fields.take(record_len)?;
        let neighbours = fields.take(count * NEIGHBOUR_LEN)?;
        fields.end()?;
        let out = Self {
            age_secs,
            life_secs,
            head,
            capabilities,
            packing,
            name,
            record,
            neighbours,
            signed,
            signature,
        };
        if life_secs == 0 || !packing.is_sound() || !out.neighbours_are_in_order() {
            return Err(DropReason::Malformed);
        }
        Ok(out)
    }

    fn neighbours_are_in_order(&self) -> bool {
        let mut last = None;
        self.neighbours().count() == self.neighbours.len() / NEIGHBOUR_LEN
            && self.neighbours().all(|n| {
                let rises = last.is_none_or(|l: Address| l.cmp(&n.address) == Ordering::Less);
                last = Some(n.address);
                rises && n.address != self.head.origin
            })
    }

    /// The neighbours, ascending by address.
    pub fn neighbours(&self) -> impl Iterator<Item = Neighbour> + 'a {
        self.neighbours.chunks_exact(NEIGHBOUR_LEN).filter_map(|chunk| {
            let mut fields = Fields::new(chunk);
            let address = Address::new(fields.array().ok()?);
            Some(Neighbour { address, cost: Cost::new(fields.u32().ok()?)? })
        })
    }

    /// The bytes the signature is over.
    #[must_use]
    pub const fn signed(&self) -> &'a [u8] {
        self.signed
    }

    /// The Ed25519 signature.
    #[must_use]
    pub const fn signature(&self) -> &'a [u8; SIGNATURE_LEN] {
        self.signature
    }
}

/// An announcement to be made.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Seconds it shall live at most, at least 1.
    pub life_secs: u16,
    /// Origin and order.
    pub head: AnnouncementHead,
    /// What the origin can do.
    pub capabilities: Capabilities,
    /// How the origin packs and what it takes.
    pub packing: PackTerms,
    /// The origin's name.
    pub name: NodeName,
    /// The origin's key record, encoded.
    pub record: &'a [u8],
    /// The neighbours, ascending by address.
    pub neighbours: &'a [Neighbour],
}

impl Draft<'_> {
    /// The body, age 0, signed by `sign`.
    ///
    /// # Errors
    /// `Oversized` if record and neighbours do not fit [`ANNOUNCEMENT_MAX`].
    pub fn sign(&self, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Result<Bytes, DropReason> {
        let name = self.name.as_bytes();
        let len = FIXED_LEN
            + name.len()
            + self.record.len()
            + self.neighbours.len() * NEIGHBOUR_LEN
            + SIGNATURE_LEN;
        if len > ANNOUNCEMENT_MAX {
            return Err(DropReason::Oversized);
        }
        let too_many = |_| DropReason::Oversized;
        let mut out = Vec::with_capacity(len);
        out.put_slice(&[0, 0, VERSION, u8::try_from(name.len()).map_err(too_many)?]);
        out.put_u16(self.life_secs);
        out.put_u16(u16::try_from(self.neighbours.len()).map_err(too_many)?);
        out.put_slice(self.head.origin.as_bytes());
        out.put_u64(self.head.order.serial);
        out.put_u64(self.head.order.epoch.0);
        out.put_u64(self.head.order.sequence);
        out.put_u32(self.capabilities.0);
        out.put_u32(self.packing.builders.0);
        out.put_slice(&self.packing.preferred.0);
        out.put_slice(&self.packing.least.0);
        out.put_u16(u16::try_from(self.record.len()).map_err(too_many)?);
        out.put_slice(name);
        out.put_slice(self.record);
        for n in self.neighbours {
            out.put_slice(n.address.as_bytes());
            out.put_u32(n.cost.get());
        }
        let signature = sign(out.get(2..).unwrap_or_default());
        out.put_slice(&signature);
        Ok(out.into())
    }
}

/// The whole frame of an announcement held as `body`, sent on with a new age.
///
/// # Errors
/// `Truncated` or `Oversized` for what was never an announcement.
pub fn announcement_frame(body: &[u8], age_secs: u16) -> Result<Bytes, DropReason> {
    let header = LinkHeader::new(LinkKind::Announcement, Priority::LOWEST, body.len())?;
    let rest = body.get(2..).ok_or(DropReason::Truncated)?;
    let mut out = Vec::with_capacity(header.frame_len());
    out.put_slice(&header.emit());
    out.put_u16(age_secs);
    out.put_slice(rest);
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(n: u8) -> Address {
        Address::new([n; 16])
    }

    fn draft<'a>(record: &'a [u8], neighbours: &'a [Neighbour]) -> Draft<'a> {
        let order = Order { serial: 3, epoch: BootEpoch(4), sequence: 5 };
        Draft {
            life_secs: 1_800,
            head: AnnouncementHead { origin: address(9), order },
            capabilities: Capabilities(6),
            packing: PackTerms { preferred: Sequence::MZA, ..PackTerms::BASIC },
            name: NodeName::new(b"core").unwrap(),
            record,
            neighbours,
        }
    }

    fn ring(addresses: &[u8]) -> Vec<Neighbour> {
        let one = |n: &u8| Neighbour { address: address(*n), cost: Cost::new(7).unwrap() };
        addresses.iter().map(one).collect()
    }

    #[test]
    fn n11_an_announcement_reads_back_and_only_the_age_is_unsigned() {
        let neighbours = ring(&[1, 2, 200]);
        let d = draft(&[8; 900], &neighbours);
        let body = d.sign(|b| [u8::try_from(b.len() % 251).unwrap(); 64]).unwrap();
        let a = Announcement::parse(&body).unwrap();
        assert_eq!((a.age_secs, a.life_secs, a.head), (0, 1_800, d.head));
        assert_eq!((a.name, a.capabilities, a.record), (d.name, d.capabilities, d.record));
        assert_eq!(a.packing, d.packing);
        assert_eq!(a.neighbours().collect::<Vec<_>>(), neighbours);
        assert_eq!(a.signed(), &body[2..body.len() - 64]);
        let older = announcement_frame(&body, 77).unwrap();
        let b = Announcement::parse(&older[4..]).unwrap();
        assert_eq!((b.age_secs, b.signed(), b.signature()), (77, a.signed(), a.signature()));
    }

    #[test]
    fn n11_all_neighbours_a_node_may_have_and_the_largest_record_fit() {
        let most = crate::base::Limits::default().neighbours;
        let neighbours: Vec<Neighbour> = (0..u32::try_from(most).unwrap())
            .map(|n| {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&n.to_be_bytes());
                Neighbour { address: Address::new(bytes), cost: Cost::ONE }
            })
            .collect();
        let body = draft(&[8; 4_000], &neighbours).sign(|_| [0; 64]).unwrap();
        assert_eq!(Announcement::parse(&body).unwrap().neighbours().count(), most);
        let too_much = draft(&[8; 12_500], &neighbours).sign(|_| [0; 64]);
        assert_eq!(too_much, Err(DropReason::Oversized));
    }

    #[test]
    fn n11_neighbours_out_of_order_twice_or_oneself_are_refused() {
        for wrong in [&[2, 1][..], &[1, 1], &[3, 9]] {
            let neighbours = ring(wrong);
            let body = draft(&[1; 9], &neighbours).sign(|_| [0; 64]).unwrap();
            assert_eq!(Announcement::parse(&body), Err(DropReason::Malformed), "{wrong:?}");
        }
        let mut free = draft(&[1; 9], &ring(&[1])).sign(|_| [0; 64]).unwrap().to_vec();
        let cost_at = free.len() - 64 - 4;
        free[cost_at..cost_at + 4].fill(0);
        assert_eq!(Announcement::parse(&free), Err(DropReason::Malformed), "a cost of 0");
    }

    #[test]
    fn n3_terms_of_packing_that_contradict_themselves_are_refused() {
        let body = draft(&[1; 9], &[]).sign(|_| [0; 64]).unwrap();
        for (at, value) in [(52, 0xff), (56, b'A'), (60, b'Q'), (63, b'Z'), (60, 0)] {
            let mut wrong = body.to_vec();
            wrong[at] = value;
            assert_eq!(Announcement::parse(&wrong), Err(DropReason::Malformed), "{at}");
        }
    }

    #[test]
    fn n11_cut_anywhere_or_continued_it_is_refused() {
        let body = draft(&[1; 30], &ring(&[1, 2])).sign(|_| [0; 64]).unwrap();
        for cut in 0..body.len() {
            assert!(Announcement::parse(&body[..cut]).is_err(), "{cut}");
        }
        assert!(Announcement::parse(&[&body[..], &[0]].concat()).is_err());
    }

    #[test]
    fn n11_a_greater_serial_outranks_a_greater_epoch_and_that_a_greater_sequence() {
        let o = |serial, epoch, sequence| Order { serial, epoch: BootEpoch(epoch), sequence };
        assert!(o(2, 0, 0) > o(1, u64::MAX, u64::MAX));
        assert!(o(1, 2, 0) > o(1, 1, u64::MAX));
        assert!(o(1, 1, 2) > o(1, 1, 1));
    }

    proptest! {
        #[test]
        fn n11_flipped_bits_never_panic_and_never_reach_past_the_signature(
            at in 0usize..400, bit in 0u8..8, cut in 0usize..400,
        ) {
            let body = draft(&[1; 200], &ring(&[1, 2, 3])).sign(|_| [0; 64]).unwrap();
            let mut bytes = body.to_vec();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(a) = Announcement::parse(&bytes) {
                prop_assert_eq!(a.signed().len() + 66, bytes.len());
            }
            bytes.truncate(cut);
            let _ = Announcement::parse(&bytes);
            let _ = Digest::parse(&bytes);
        }

        #[test]
        fn n11_random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = AnnouncementHead::peek(&bytes);
            let _ = Announcement::parse(&bytes);
            if let Ok(d) = Digest::parse(&bytes) {
                prop_assert!(d.entries().count() <= 600 / 40);
            }
        }
    }
}
