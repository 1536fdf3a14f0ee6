//! What an operator answers from: who is a member of its space, and with what.
//!
//! A [`Directory`] is anything that can be asked; an application that has its own list of members
//! hands in a function by [`from_fn`]. A deployed node has a [`Register`]: a [`store::Store`] on
//! the disk and the operator's keys, with which it makes members' vouchers anew before they end.
//! So a member stays one for as long as it is listed, and who is struck off is out when its last
//! voucher ends, without anything being revoked.
//!
//! ```text
//!  trunkline operator add ──► Register ──► Store (redb, one transaction a change)
//!                                ▲
//!  a look-up of a stranger ──────┘ look_up: record, and a voucher that still holds for a while
//! ```
//!
//! Nothing here knows of sockets; who may ask is for those who bring the question.

mod register;
pub mod store;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use trunkline_proto::base::Hashname;

pub use register::Register;
pub use store::{Member, Store};

/// What an operator knows of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key record, encoded.
    pub record: Bytes,
    /// The voucher by which others admit it, if the space needs one.
    pub voucher: Option<Bytes>,
}

/// Whom an operator asks before it answers. Asked from several threads.
///
/// A look-up may read the disk, and now and then wait for a write: never call it where packets
/// wait.
pub trait Directory: fmt::Debug + Send + Sync {
    /// What is known of a hashname; none if it is no member.
    ///
    /// # Errors
    /// If that cannot be told now; then nobody should be told that there is no such member.
    fn look_up(&self, who: &Hashname) -> Result<Option<Entry>, DirectoryError>;
}

/// Why a directory cannot be opened, read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another process has it.
    #[error(
        "the directory {} is open in another process, most likely the running node: ask that one, \
         with --config FILE or --control SOCKET, or stop it", path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is not what this program writes.
    #[error(
        "the file {} is no directory of members, or is damaged ({why}): restore it from a copy, or \
         move it away and add the members again", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A later version has written it.
    #[error(
        "the directory {} has version {found}, this program knows {known}: use the program that \
         wrote it", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest this program knows.
        known: u64,
    },
    /// The system said no.
    #[error("cannot open the directory {}: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Reading or writing failed; nothing was changed by halves.
    #[error("the directory cannot be read or written: {0}")]
    Storage(String),
    /// No room for another member.
    #[error("the directory is full: {most} members are the most")]
    Full {
        /// How many it holds.
        most: u64,
    },
    /// A record older than the one held.
    #[error("a newer record of {0} is in the directory already; get its present one")]
    Stale(Hashname),
    /// A record of another space than the operator's.
    #[error("{hashname} lives in the space {theirs}, the operator in {ours}")]
    OtherSpace {
        /// Who.
        hashname: Hashname,
        /// Where it lives.
        theirs: String,
        /// Where the operator does.
        ours: String,
    },
    /// Anything an application's own source reports.
    #[error("{0}")]
    Other(String),
}

/// A directory that is a function: how an application answers from what it has.
pub fn from_fn<F>(look_up: F) -> Arc<dyn Directory>
where
    F: Fn(&Hashname) -> Result<Option<Entry>, DirectoryError> + Send + Sync + 'static,
{
    Arc::new(Callback(look_up))
}

struct Callback<F>(F);

impl<F> fmt::Debug for Callback<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

impl<F> Directory for Callback<F>
where
    F: Fn(&Hashname) -> Result<Option<Entry>, DirectoryError> + Send + Sync,
{
    fn look_up(&self, who: &Hashname) -> Result<Option<Entry>, DirectoryError> {
        (self.0)(who)
    }
}
