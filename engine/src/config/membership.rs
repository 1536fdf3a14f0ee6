//! Space, operators and voucher of a configuration against its key file: whether this node would
//! be let in where it wants to go, judged before it starts as its peers will judge it.
//!
//! Reads the files the configuration names; asks nobody. What it makes are the
//! [`SpaceRules`] the node runs by.

use bytes::Bytes;
use trunkline_proto::base::{Hashname, Wall};
use trunkline_proto::crypto::{Admission, Flags, KeyRecord, Refusal, SpaceRules, VoucherError};

use super::model::Config;
use super::record::RecordTextError;
use super::voucher::{self, VoucherFileError};

/// Why a node cannot be part of its space.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// Nobody could ever join.
    #[error(
        "the space is closed and there is no [[operator]]: name one whose vouchers count, or \
         leave closed = true out"
    )]
    NoOperator,
    /// The same one stands twice.
    #[error("operator {0} is listed twice")]
    Twice(Hashname),
    /// Nothing is known of an operator but its name.
    #[error(
        "operator {0} has neither an address nor a record: nobody can find out its key; write \
         address = \"HOST:PORT\", record = \"…\" or record_file = \"FILE\""
    )]
    Unknowable(Hashname),
    /// An operator's record.
    #[error("the record of operator {hashname} cannot be used: {source}")]
    Record {
        /// Whose.
        hashname: Hashname,
        /// Why.
        source: RecordTextError,
    },
    /// An operator of another space.
    #[error("operator {hashname} lives in the space {theirs}, this node in {ours}")]
    OtherSpace {
        /// Who.
        hashname: Hashname,
        /// Where it lives.
        theirs: String,
        /// Where the node does.
        ours: String,
    },
    /// The space is closed, and nobody would let this node in.
    #[error(
        "the space {0} is closed and this node has no voucher: give its record (`trunkline keys \
         show FILE --record`) to an operator, who makes one with `trunkline operator voucher`, \
         and name the file in node.voucher"
    )]
    NoVoucher(String),
    /// The voucher cannot be read.
    #[error(transparent)]
    File(#[from] VoucherFileError),
    /// The voucher is refused.
    #[error("nobody would take this node's voucher: {refusal}; {}", advice(.refusal))]
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// The voucher does not cover what the configuration offers.
    #[error(
        "the voucher does not allow {missing}, which {option} asks for (it allows: {allowed}): \
         have one made with it, or leave {option} out"
    )]
    NotAllowed {
        /// What is missing.
        missing: &'static str,
        /// The option that needs it.
        option: &'static str,
        /// What the voucher allows.
        allowed: Flags,
    },
}

impl MembershipError {
    /// The option it is about.
    #[must_use]
    pub const fn option(&self) -> &'static str {
        match self {
            Self::NoOperator => "space.closed",
            Self::Twice(_)
            | Self::Unknowable(_)
            | Self::Record { .. }
            | Self::OtherSpace { .. } => "operator",
            _ => "node.voucher",
        }
    }
}

fn advice(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Voucher(VoucherError::Expired) => "ask an operator for a new one",
        Refusal::Voucher(VoucherError::BadSignature) => {
            "it must have been made for this very key file, by the operator's present keys"
        }
        Refusal::UnknownOperator => "name the operator that made it in an [[operator]] section",
        Refusal::OperatorExpired => "ask the operator for its present record",
        _ => "ask an operator for one",
    }
}

/// How a node belongs to its space.
#[derive(Debug)]
pub struct Membership {
    /// What it runs by; the records of operators that are known are learned, its voucher is shown.
    pub rules: SpaceRules,
    /// How its peers will admit it; none if that cannot be told before the record of the voucher's
    /// operator has come.
    pub admission: Option<Admission>,
}

impl Config {
    /// Judges whether the owner of `own` may run with this configuration.
    ///
    /// # Errors
    /// [`MembershipError`], with what to do.
    pub fn membership(&self, own: &KeyRecord, now: Wall) -> Result<Membership, MembershipError> {
        let operators = &self.space.operators;
        if self.space.closed && operators.is_empty() {
            return Err(MembershipError::NoOperator);
        }
        let names = operators.iter().map(|o| o.hashname);
        let rules = if self.space.closed {
            SpaceRules::closed(*own.space(), names)
        } else {
            SpaceRules::open(*own.space()).with_operators(names)
        };
        self.learn_operators(&rules, own, now)?;
        let voucher = match &self.node.voucher {
            Some(path) => voucher::read(path)?,
            None => Bytes::new(),
        };
        let admission = self.judge(&rules, own, &voucher, now)?;
        rules.show(voucher);
        Ok(Membership { rules, admission })
    }

    fn learn_operators(
        &self,
        rules: &SpaceRules,
        own: &KeyRecord,
        now: Wall,
    ) -> Result<(), MembershipError> {
        for (i, operator) in self.space.operators.iter().enumerate() {
            let hashname = operator.hashname;
            if self.space.operators.iter().take(i).any(|o| o.hashname == hashname) {
                return Err(MembershipError::Twice(hashname));
            }
            if hashname == own.hashname() {
                rules.learned(&std::sync::Arc::new(own.clone()));
                continue;
            }
            let Some(source) = &operator.record else {
                match operator.address {
                    Some(_) => continue,
                    None => return Err(MembershipError::Unknowable(hashname)),
                }
            };
            let record = source
                .of(hashname, now)
                .map_err(|source| MembershipError::Record { hashname, source })?;
            if record.space() != own.space() {
                let (theirs, ours) = (record.space().to_string(), own.space().to_string());
                return Err(MembershipError::OtherSpace { hashname, theirs, ours });
            }
            rules.learned(&std::sync::Arc::new(record));
        }
        Ok(())
    }

    /// How peers will admit us, and whether that covers what we offer.
    fn judge(
        &self,
        rules: &SpaceRules,
        own: &KeyRecord,
        voucher: &[u8],
        now: Wall,
    ) -> Result<Option<Admission>, MembershipError> {
        let admission = match rules.admits(own, voucher, now) {
            Ok(admission) => admission,
            Err(Refusal::NoVoucher) => {
                return Err(MembershipError::NoVoucher(own.space().to_string()));
            }
            // It may well be good: its operator is asked once the node runs.
            Err(Refusal::OperatorUnresolved) => return Ok(None),
            Err(refusal) => return Err(MembershipError::Refused { refusal }),
        };
        for (flag, option) in self.offers() {
            if !admission.flags.contain(flag) {
                let word = Flags::WORDS.iter().find(|(f, _)| *f == flag).map_or("it", |(_, w)| *w);
                let allowed = admission.flags;
                return Err(MembershipError::NotAllowed { missing: word, option, allowed });
            }
        }
        Ok(Some(admission))
    }

    /// What this configuration offers to its space that an operator must allow, and by which
    /// option.
    fn offers(&self) -> impl Iterator<Item = (Flags, &'static str)> {
        [
            (!self.sock.allow.is_empty()).then_some((Flags::PROXY, "sock.allow")),
            self.node.directory.as_ref().map(|_| (Flags::OPERATOR, "node.directory")),
            self.mesh.spacer.then_some((Flags::SPACER, "mesh.spacer")),
            self.http.backend.as_ref().map(|_| (Flags::HTTP, "http.backend")),
        ]
        .into_iter()
        .flatten()
    }
}
