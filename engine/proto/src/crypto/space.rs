//! Who belongs to a space (PROTOCOL §2.5): in an open one everybody whose hashname is of it, in a
//! closed one its operators and whom one of them vouches for at the time.
//!
//! One [`SpaceRules`] serves all partitions and links of a node. It also holds what this node
//! shows of itself, since that is renewed the same way. Judging reads; what is learned is written
//! seldom: an operator's record when it comes or is renewed, our voucher every few days.
//!
//! ```text
//!   record, voucher ──► space? ──► operator? ──► shape, expiry, operator known ──► signature
//!                        │           └► admitted                                      └► admitted
//!                        └ every step may refuse, and says why
//! ```
//!
//! The newest record of an operator alone counts: who renews its keys because somebody else has
//! them wants the vouchers made with the old ones to end.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::record::KeyRecord;
use super::voucher::{self, Flags, VoucherError};
use crate::base::{Address, DropReason, Hashname, Space, Wall};

/// Why a hashname is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its hashname is of another space.
    #[error("of another space")]
    WrongSpace,
    /// The space is closed and it shows nothing.
    #[error("the space is closed and no voucher was shown")]
    NoVoucher,
    /// The voucher names nobody whose word counts here.
    #[error("the voucher is of nobody who is an operator here")]
    UnknownOperator,
    /// The voucher names an operator whose record has not come yet.
    #[error("the record of the voucher's operator is not known yet")]
    OperatorUnresolved,
    /// The operator's own record has expired.
    #[error("the record of the voucher's operator has expired")]
    OperatorExpired,
    /// The voucher itself.
    #[error(transparent)]
    Voucher(#[from] VoucherError),
}

impl From<Refusal> for DropReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongSpace => Self::WrongSpace,
            _ => Self::NotAdmitted,
        }
    }
}

/// What admittance gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// What it may offer.
    pub flags: Flags,
    /// When it has to be judged anew; none if only the record's life bounds it.
    pub until: Option<Wall>,
}

impl Admission {
    /// Without conditions: in an open space, and for operators.
    pub const FULL: Self = Self { flags: Flags::ALL, until: None };
}

/// The rules of a space as one node knows them.
#[derive(Debug)]
pub struct SpaceRules {
    space: Space,
    closed: bool,
    operators: Vec<Operator>,
    ours: RwLock<Bytes>,
}

#[derive(Debug)]
struct Operator {
    hashname: Hashname,
    record: RwLock<Option<Arc<KeyRecord>>>,
}

impl SpaceRules {
    /// The most operators a space may have: judging looks through all of them.
    pub const MOST_OPERATORS: usize = 16;

    /// A space that anyone may join.
    #[must_use]
    pub const fn open(space: Space) -> Self {
        Self { space, closed: false, operators: Vec::new(), ours: RwLock::new(Bytes::new()) }
    }

    /// A space that those join for whom one of `operators` vouches. Their records may come later,
    /// by [`Self::learned`]; those beyond [`Self::MOST_OPERATORS`] are left out.
    #[must_use]
    pub fn closed(space: Space, operators: impl IntoIterator<Item = Hashname>) -> Self {
        Self { closed: true, ..Self::open(space) }.with_operators(operators)
    }

    /// The same with operators, which an open space may have too, to be asked for keys.
    #[must_use]
    pub fn with_operators(mut self, operators: impl IntoIterator<Item = Hashname>) -> Self {
        for hashname in operators.into_iter().take(Self::MOST_OPERATORS) {
            self.operators.push(Operator { hashname, record: RwLock::new(None) });
        }
        self
    }

    /// Its name.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// Whether a voucher is needed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Every operator, with its record if that is known.
    pub fn operators(&self) -> impl Iterator<Item = (Hashname, Option<Arc<KeyRecord>>)> + '_ {
        self.operators.iter().map(|o| (o.hashname, o.record()))
    }

    /// Whether a hashname is one of the operators.
    #[must_use]
    pub fn is_operator(&self, who: &Hashname) -> bool {
        self.operators.iter().any(|o| o.hashname == *who)
    }

    /// A verified record came by. If it is an operator's and newer than what is known, its word
    /// counts by this record from now on. Says whether it did.
    pub fn learned(&self, record: &Arc<KeyRecord>) -> bool {
        let who = record.hashname();
        let Some(operator) = self.operators.iter().find(|o| o.hashname == who) else {
            return false;
        };
        let mut held = operator.record.write().unwrap_or_else(PoisonError::into_inner);
        let newer = held.as_ref().is_none_or(|held| held.serial() < record.serial());
        if newer {
            *held = Some(Arc::clone(record));
        }
        newer
    }

    /// What this node shows of itself: its voucher, empty for none.
    #[must_use]
    pub fn our_voucher(&self) -> Bytes {
        self.ours.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows `voucher` from now on, in every open and hello.
    pub fn show(&self, voucher: Bytes) {
        *self.ours.write().unwrap_or_else(PoisonError::into_inner) = voucher;
    }

    /// Judges whether the owner of a verified record belongs here. `voucher` is what it showed,
    /// empty for none. In a closed space this costs one Ed25519 verification at most, after all
    /// that is cheap; nobody is asked.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn admits(
        &self,
        record: &KeyRecord,
        voucher: &[u8],
        now: Wall,
    ) -> Result<Admission, Refusal> {
        if *record.space() != self.space {
            return Err(Refusal::WrongSpace);
        }
        if !self.closed || self.is_operator(&record.hashname()) {
            return Ok(Admission::FULL);
        }
        if voucher.is_empty() {
            return Err(Refusal::NoVoucher);
        }
        self.vouched(&record.hashname(), voucher, now)
    }

    /// Judges a voucher alone: whether it makes `subject` a member. Ours is judged so before it
    /// is shown, also when the record of its operator is still to come.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn vouched(
        &self,
        subject: &Hashname,
        voucher: &[u8],
        now: Wall,
    ) -> Result<Admission, Refusal> {
        let claim = voucher::parse(voucher)?;
        if now.is_past(claim.expiry) {
            return Err(VoucherError::Expired.into());
        }
        let operator = self.operator(&claim.operator).ok_or(Refusal::UnknownOperator)?;
        let record = operator.record().ok_or(Refusal::OperatorUnresolved)?;
        if now.is_past(record.expiry()) {
            return Err(Refusal::OperatorExpired);
        }
        claim.verify(subject, &record, now)?;
        Ok(Admission { flags: claim.flags, until: Some(claim.expiry) })
    }

    fn operator(&self, at: &Address) -> Option<&Operator> {
        self.operators.iter().find(|o| o.hashname.address() == *at)
    }
}

impl Operator {
    /// Taken out of the lock, so that nobody waits for a verification.
    fn record(&self) -> Option<Arc<KeyRecord>> {
        self.record.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
