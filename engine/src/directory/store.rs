//! The members of a space on the disk: one redb file, every change one transaction.
//!
//! What was acknowledged is on the disk, and a process killed at any moment leaves either the
//! former state or the next one. One process has the file at a time. Knows no keys and judges
//! nothing but sizes and serials; who may be a member is [`super::Register`]'s.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageError, TableDefinition, TableError,
};
use trunkline_proto::base::Hashname;
use trunkline_proto::crypto::{Flags, KeyRecord, voucher};

use super::DirectoryError;

type Key = [u8; Hashname::LEN];

/// Encoded records by hashname.
const RECORDS: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("records");
/// On which terms: serial of the record, flags, and for how many seconds a voucher is made.
const TERMS: TableDefinition<'_, Key, (u64, u8, u64)> = TableDefinition::new("terms");
/// The newest voucher.
const VOUCHERS: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("vouchers");
/// About the file itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The version of these tables.
const SCHEMA: u64 = 1;
/// What redb keeps of the file in memory at most; pages are read again if need be.
const CACHE_BYTES: usize = 16 << 20;

/// A member as the directory has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub hashname: Hashname,
    /// Its record, encoded.
    pub record: Bytes,
    /// The serial of that record.
    pub serial: u64,
    /// What its vouchers allow.
    pub flags: Flags,
    /// For how long a voucher is made.
    pub valid: Duration,
    /// The newest voucher; none if the space needs none.
    pub voucher: Option<Bytes>,
}

/// An open file of members.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Members it holds at most; × about 1.5 KiB = 1.5 GiB on the disk.
    pub const MOST_MEMBERS: u64 = 1_000_000;

    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Newer` or `System`.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(path).map_err(|error| opening(path, error))?;
        let store = Self { database };
        match store.schema() {
            Ok(SCHEMA) => Ok(store),
            Ok(0) => store.found().map(|()| store).map_err(|e| damaged(path, e)),
            Ok(found) => Err(DirectoryError::Newer { path: path.to_owned(), found, known: SCHEMA }),
            Err(error) => Err(damaged(path, error)),
        }
    }

    /// The version of the tables; 0 if there are none yet.
    fn schema(&self) -> Result<u64, DirectoryError> {
        let read = self.database.begin_read().map_err(storage)?;
        match read.open_table(META) {
            Ok(meta) => Ok(meta.get("schema").map_err(storage)?.map_or(0, |v| v.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(0),
            Err(error) => Err(storage(error)),
        }
    }

    /// Makes the tables of a new file.
    fn found(&self) -> Result<(), DirectoryError> {
        self.change(|write| {
            write.open_table(RECORDS).map_err(storage)?;
            write.open_table(TERMS).map_err(storage)?;
            write.open_table(VOUCHERS).map_err(storage)?;
            let mut meta = write.open_table(META).map_err(storage)?;
            meta.insert("schema", SCHEMA).map_err(storage)?;
            Ok(())
        })
    }

    /// Puts a member in, or in the place of what was known of it.
    ///
    /// # Errors
    /// `Full`; `Stale` if a newer record is held; `Storage`.
    pub fn put(&self, member: &Member) -> Result<(), DirectoryError> {
        let key = *member.hashname.as_bytes();
        if member.record.len() > KeyRecord::MAX_LEN
            || member.voucher.as_ref().is_some_and(|v| v.len() != voucher::LEN)
        {
            return Err(DirectoryError::Storage("no member is that large".to_owned()));
        }
        self.change(|write| {
            let mut terms = write.open_table(TERMS).map_err(storage)?;
            let held = terms.get(key).map_err(storage)?.map(|t| t.value().0);
            if held.is_some_and(|serial| serial > member.serial) {
                return Err(DirectoryError::Stale(member.hashname));
            }
            if held.is_none() && terms.len().map_err(storage)? >= Self::MOST_MEMBERS {
                return Err(DirectoryError::Full { most: Self::MOST_MEMBERS });
            }
            let valid = member.valid.as_secs();
            terms.insert(key, (member.serial, member.flags.0, valid)).map_err(storage)?;
            let mut records = write.open_table(RECORDS).map_err(storage)?;
            records.insert(key, &*member.record).map_err(storage)?;
            let mut vouchers = write.open_table(VOUCHERS).map_err(storage)?;
            match &member.voucher {
                Some(voucher) => drop(vouchers.insert(key, &**voucher).map_err(storage)?),
                None => drop(vouchers.remove(key).map_err(storage)?),
            }
            Ok(())
        })
    }

    /// Strikes a member off. Says whether it was one.
    ///
    /// # Errors
    /// `Storage`.
    pub fn remove(&self, who: &Hashname) -> Result<bool, DirectoryError> {
        let key = *who.as_bytes();
        self.change(|write| {
            let mut terms = write.open_table(TERMS).map_err(storage)?;
            let was = terms.remove(key).map_err(storage)?.is_some();
            write.open_table(RECORDS).map_err(storage)?.remove(key).map_err(storage)?;
            write.open_table(VOUCHERS).map_err(storage)?.remove(key).map_err(storage)?;
            Ok(was)
        })
    }

    /// Puts a new voucher in the place of a member's old one, if it still is a member.
    ///
    /// # Errors
    /// `Storage`.
    pub fn renew(&self, who: &Hashname, voucher: &[u8]) -> Result<(), DirectoryError> {
        let key = *who.as_bytes();
        self.change(|write| {
            let terms = write.open_table(TERMS).map_err(storage)?;
            if terms.get(key).map_err(storage)?.is_some() {
                let mut vouchers = write.open_table(VOUCHERS).map_err(storage)?;
                vouchers.insert(key, voucher).map_err(storage)?;
            }
            Ok(())
        })
    }

    /// One member.
    ///
    /// # Errors
    /// `Storage`.
    pub fn get(&self, who: &Hashname) -> Result<Option<Member>, DirectoryError> {
        Ok(self.from(*who.as_bytes()..=*who.as_bytes(), 1)?.pop())
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
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, |h| Excluded(*h.as_bytes()));
        self.from((start, Unbounded), most)
    }

    /// How many there are.
    ///
    /// # Errors
    /// `Storage`.
    pub fn count(&self) -> Result<u64, DirectoryError> {
        let read = self.database.begin_read().map_err(storage)?;
        read.open_table(TERMS).map_err(storage)?.len().map_err(storage)
    }

    fn from(
        &self,
        range: impl std::ops::RangeBounds<Key>,
        most: usize,
    ) -> Result<Vec<Member>, DirectoryError> {
        let read = self.database.begin_read().map_err(storage)?;
        let terms = read.open_table(TERMS).map_err(storage)?;
        let records = read.open_table(RECORDS).map_err(storage)?;
        let vouchers = read.open_table(VOUCHERS).map_err(storage)?;
        let mut members = Vec::new();
        for entry in terms.range(range).map_err(storage)?.take(most) {
            let (key, term) = entry.map_err(storage)?;
            let (key, (serial, flags, valid)) = (key.value(), term.value());
            let hashname = Hashname::new(key);
            let record = records.get(key).map_err(storage)?;
            let record = record.ok_or_else(|| {
                DirectoryError::Storage(format!("the record of {hashname} is missing"))
            })?;
            let voucher = vouchers.get(key).map_err(storage)?;
            members.push(Member {
                hashname,
                record: Bytes::copy_from_slice(record.value()),
                serial,
                flags: Flags(flags),
                valid: Duration::from_secs(valid),
                voucher: voucher.map(|v| Bytes::copy_from_slice(v.value())),
            });
        }
        Ok(members)
    }

    /// One change: all of it is on the disk when this returns, or nothing was changed.
    fn change<T>(
        &self,
        act: impl FnOnce(&redb::WriteTransaction) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        let mut write = self.database.begin_write().map_err(storage)?;
        write.set_durability(Durability::Immediate).map_err(storage)?;
        let done = act(&write)?;
        write.commit().map_err(storage)?;
        Ok(done)
    }
}

fn storage(error: impl std::fmt::Display) -> DirectoryError {
    DirectoryError::Storage(error.to_string())
}

fn opening(path: &Path, error: DatabaseError) -> DirectoryError {
    let path: PathBuf = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            DirectoryError::Locked { path }
        }
        DatabaseError::Storage(StorageError::Io(source))
            if !matches!(
                source.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            DirectoryError::System { path, source }
        }
        other => DirectoryError::Damaged { path, why: other.to_string() },
    }
}

fn damaged(path: &Path, error: DirectoryError) -> DirectoryError {
    DirectoryError::Damaged { path: path.to_owned(), why: error.to_string() }
}
