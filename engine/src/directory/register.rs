//! The register: a [`Store`] and the keys of its operator.
//!
//! Adding a member judges its record and makes its first voucher; a look-up makes the next one
//! when less than half of the present one's life is left. So vouchers can be short without
//! anybody renewing them by hand, a member gets a write to the disk once in half a voucher's
//! life however often it is asked for, and whoever is struck off gets none any more.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trunkline_proto::base::{Hashname, Wall};
use trunkline_proto::crypto::{Flags, Identity, KeyRecord, voucher};

use super::store::{Member, Store};
use super::{Directory, DirectoryError, Entry};
use crate::runtime::clock::Clock;

/// An operator's register of members.
#[derive(Debug)]
pub struct Register {
    store: Store,
    operator: Arc<Identity>,
}

impl Register {
    /// How long vouchers are made for where nobody says otherwise.
    pub const VALID: Duration = Duration::from_secs(7 * 86_400);
    /// The shortest and the longest a voucher may be made for: shorter ones end before an honest
    /// clock's hour of disagreement, longer ones cannot be taken back in time.
    pub const VALID_BOUNDS: std::ops::RangeInclusive<Duration> =
        Duration::from_secs(3_600)..=Duration::from_secs(366 * 86_400);

    /// Opens the file at `path`, or makes it, as the register of `operator`.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(path: &Path, operator: Arc<Identity>) -> Result<Self, DirectoryError> {
        Ok(Self { store: Store::open(path)?, operator })
    }

    /// Whose register it is.
    #[must_use]
    pub const fn operator(&self) -> &Arc<Identity> {
        &self.operator
    }

    /// Makes the owner of a verified record a member, or changes the terms of one.
    ///
    /// # Errors
    /// `OtherSpace`, or as [`Store::put`].
    pub fn add(
        &self,
        record: &KeyRecord,
        flags: Flags,
        valid: Duration,
        now: Wall,
    ) -> Result<Member, DirectoryError> {
        let hashname = record.hashname();
        if record.space() != self.operator.space() {
            let theirs = record.space().to_string();
            let ours = self.operator.space().to_string();
            return Err(DirectoryError::OtherSpace { hashname, theirs, ours });
        }
        let voucher = voucher::issue(&self.operator, &hashname, flags, now.after(valid));
        let member = Member {
            hashname,
            record: record.encoded().clone(),
            serial: record.serial(),
            flags,
            valid,
            voucher: Some(Bytes::copy_from_slice(&voucher)),
        };
        self.store.put(&member)?;
        Ok(member)
    }

    /// Strikes a member off: it gets no further voucher. Says whether it was one.
    ///
    /// # Errors
    /// `Storage`.
    pub fn remove(&self, who: &Hashname) -> Result<bool, DirectoryError> {
        self.store.remove(who)
    }

    /// Members in the order of their hashnames, at most `most`, those behind `after`.
    ///
    /// # Errors
    /// `Storage`.
    pub fn list(
        &self,
        after: Option<&Hashname>,
        most: usize,
    ) -> Result<Vec<Member>, DirectoryError> {
        self.store.list(after, most)
    }

    /// A member with a voucher that holds for half its time at least.
    ///
    /// # Errors
    /// `Storage`.
    pub fn look_up_at(&self, who: &Hashname, now: Wall) -> Result<Option<Entry>, DirectoryError> {
        let Some(member) = self.store.get(who)? else { return Ok(None) };
        let enough = now.after(member.valid / 2);
        let present = member.voucher.filter(|bytes| {
            voucher::parse(bytes).is_ok_and(|claim| {
                // Also by these keys: the operator may have renewed them.
                claim.expiry >= enough && claim.verify(who, self.operator.record(), now).is_ok()
            })
        });
        let voucher = match present {
            Some(voucher) => voucher,
            None => {
                let expiry = now.after(member.valid);
                let next = voucher::issue(&self.operator, who, member.flags, expiry);
                self.store.renew(who, &next)?;
                Bytes::copy_from_slice(&next)
            }
        };
        Ok(Some(Entry { record: member.record, voucher: Some(voucher) }))
    }
}

impl Directory for Register {
    fn look_up(&self, who: &Hashname) -> Result<Option<Entry>, DirectoryError> {
        self.look_up_at(who, Clock::wall())
    }
}
