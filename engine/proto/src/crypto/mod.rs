//! Identities, the records that speak for them, the handshake that opens a line and the
//! session that seals its packets (PROTOCOL §2 and §4).
//!
//! From the bottom: [`record`] is what anyone may know of a hashname, [`identity`] is what only
//! its owner has, [`keyfile`] is how the owner keeps it. `noise` puts aws-lc-rs under the
//! Noise handshake, [`open`] is that handshake with its three packets, [`cookie`] what is
//! checked before it costs anything. [`session`] is what it leaves behind, and [`line_id`]
//! how a packet finds it. [`packing`] turns messages into bytes and back. [`voucher`] is an operator's word for somebody, [`space`] whose word counts
//! where.
//!
//! This room never asks for a clock and stores nothing about addresses. Whether a record or an epoch
//! is welcome is the caller's to say; who belongs to a space is decided by the rules the caller made.

pub mod cookie;
pub mod identity;
pub mod keyfile;
pub mod line_id;
mod noise;
pub mod open;
pub mod packing;
pub mod record;
pub mod session;
pub mod space;
pub mod voucher;

#[cfg(test)]
pub(crate) mod tests;

pub use cookie::{Cookies, Knock};
pub use identity::{Identity, IdentityError, Purpose};
pub use keyfile::KeyFileError;
pub use line_id::LineIds;
pub use open::{
    Answered, Capabilities, Established, Heard, Initiation, Opener, PendingOpen, Proven,
};
pub use record::{KeyRecord, RecordError, Unverified};
pub use session::{KeysState, Session, SessionKeys, TAG_LEN};
pub use space::{Admission, Refusal, SpaceRules};
pub use voucher::{Flags, VoucherError};
