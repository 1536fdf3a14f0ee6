//! Why packets are dropped, and how often: every drop has a reason, every reason a counter that
//! exists from the start at zero.

/// Why a packet went no further. The names are the labels users see.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum DropReason {
    /// Shorter than its format, or a length inside points past its end.
    Truncated,
    /// Larger than its format allows, or than this machine's device takes: also a try whether a
    /// path takes larger datagrams.
    Oversized,
    /// The bytes are not of the format they claim.
    Malformed,
    /// A format version or kind this node does not know.
    UnknownKind,
    /// JSON that is too deep, has too many keys or is not an object.
    BadJson,
    /// The cheap MAC of an open is missing or wrong.
    BadMac,
    /// A signature or a handshake does not verify.
    BadSignature,
    /// A sealed packet does not authenticate.
    BadSeal,
    /// A sealed packet's counter was seen before or is too old.
    Replayed,
    /// Addressed to a hashname or node that is not here.
    Misaddressed,
    /// The record, voucher or signed packet is past its life.
    Expired,
    /// The sender is of another space.
    WrongSpace,
    /// The space is closed and no operator vouches for the sender.
    NotAdmitted,
    /// A line id that leads to no line.
    UnknownLine,
    /// The keys of that line are too old.
    StaleKeys,
    /// A cookie was asked for instead of doing the work.
    Busy,
    /// More than this source may send.
    RateLimited,
    /// A table that bounds memory is full.
    TableFull,
    /// What waited made way for another: a half-open line whose opener proved nothing for one whose
    /// opener did, an introduction that nobody has answered for a newer one.
    CrowdedOut,
    /// A queue that bounds memory is full.
    QueueFull,
    /// No route to the destination.
    NoRoute,
    /// The time to live ran out.
    TtlExpired,
    /// The link it was for is gone.
    LinkDown,
    /// The line it was for is gone.
    LineDown,
    /// A broadcast that came before, by another way.
    Duplicate,
    /// An announcement older than the one held.
    StaleAnnouncement,
    /// A stream id that is not open here.
    UnknownStream,
    /// A peer broke a limit it had been told.
    LimitBroken,
    /// Refused by a rule.
    Refused,
    /// Packed more weakly than is accepted.
    TooWeak,
    /// Nothing here handles such a packet.
    Unhandled,
    /// This node is stopping.
    ShuttingDown,
}

impl DropReason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 32] = [
        Self::Truncated,
        Self::Oversized,
        Self::Malformed,
        Self::UnknownKind,
        Self::BadJson,
        Self::BadMac,
        Self::BadSignature,
        Self::BadSeal,
        Self::Replayed,
        Self::Misaddressed,
        Self::Expired,
        Self::WrongSpace,
        Self::NotAdmitted,
        Self::UnknownLine,
        Self::StaleKeys,
        Self::Busy,
        Self::RateLimited,
        Self::TableFull,
        Self::CrowdedOut,
        Self::QueueFull,
        Self::NoRoute,
        Self::TtlExpired,
        Self::LinkDown,
        Self::LineDown,
        Self::Duplicate,
        Self::StaleAnnouncement,
        Self::UnknownStream,
        Self::LimitBroken,
        Self::Refused,
        Self::TooWeak,
        Self::Unhandled,
        Self::ShuttingDown,
    ];

    /// The label in status, metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::UnknownKind => "unknown-kind",
            Self::BadJson => "bad-json",
            Self::BadMac => "bad-mac",
            Self::BadSignature => "bad-signature",
            Self::BadSeal => "bad-seal",
            Self::Replayed => "replayed",
            Self::Misaddressed => "misaddressed",
            Self::Expired => "expired",
            Self::WrongSpace => "wrong-space",
            Self::NotAdmitted => "not-admitted",
            Self::UnknownLine => "unknown-line",
            Self::StaleKeys => "stale-keys",
            Self::Busy => "busy",
            Self::RateLimited => "rate-limited",
            Self::TableFull => "table-full",
            Self::CrowdedOut => "crowded-out",
            Self::QueueFull => "queue-full",
            Self::NoRoute => "no-route",
            Self::TtlExpired => "ttl-expired",
            Self::LinkDown => "link-down",
            Self::LineDown => "line-down",
            Self::Duplicate => "duplicate",
            Self::StaleAnnouncement => "stale-announcement",
            Self::UnknownStream => "unknown-stream",
            Self::LimitBroken => "limit-broken",
            Self::Refused => "refused",
            Self::TooWeak => "sequence-too-weak",
            Self::Unhandled => "unhandled",
            Self::ShuttingDown => "shutting-down",
        }
    }
}

/// A counter for each reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Drops {
    /// Counts one drop.
    pub fn count(&mut self, reason: DropReason) {
        self.add(reason, 1);
    }

    /// Counts `n` drops.
    pub fn add(&mut self, reason: DropReason, n: u64) {
        if let Some(c) = self.0.get_mut(reason as usize) {
            *c = c.saturating_add(n);
        }
    }

    /// How many were dropped for `reason`.
    #[must_use]
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// All drops.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().map(|r| (r, self.of(r)))
    }

    /// Adds another set of counters to this one.
    pub fn merge(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a = a.saturating_add(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_label() {
        let mut labels = std::collections::HashSet::new();
        for (i, r) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(r as usize, i);
            assert!(labels.insert(r.label()));
            let mut d = Drops::default();
            d.count(r);
            assert_eq!((d.of(r), d.total()), (1, 1));
        }
    }
}
