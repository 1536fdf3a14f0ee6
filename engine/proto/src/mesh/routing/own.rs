//! This node's own word: when it is said, and under which order.
//!
//! ```text
//!          changed                 make
//!   quiet ─────────▶ due in 10 ms ──────▶ quiet, due again after the refresh interval
//!     ▲                                    │
//!     └── outrun: somebody holds more ─────┘
//! ```

use core::time::Duration;

use bytes::Bytes;

use super::super::pace::{Pace, Rate};
use super::ANNOUNCEMENT_MAX;
use crate::base::{Address, BootEpoch, Chance, Instant, Limits};
use crate::crypto::{Identity, Purpose};
use crate::wire::announce::{AnnouncementHead, Draft, FIXED_LEN, Neighbour, Order};
use crate::wire::link::{Capabilities, NodeName};
use crate::wire::sequence::PackTerms;

/// Bytes of an announcement with the longest name that are neither record nor neighbours.
const FRAME_OF_WORD: usize = FIXED_LEN + NodeName::MAX + 64;
/// After this many outrunnings in a row it is not the past that answers but another process: a
/// restart meets one earlier word, two parts of a mesh that had parted may hold two.
const RIVAL_AFTER: u32 = 3;
/// How close together outrunnings are in a row.
const ROW: Duration = Duration::from_secs(300);

/// What an announcement of this node by somebody else was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// An earlier run's.
    Past,
    /// A copy's that runs now.
    Clone,
}

#[derive(Debug)]
pub(super) struct Own {
    address: Address,
    name: NodeName,
    capabilities: Capabilities,
    packing: PackTerms,
    epoch: BootEpoch,
    /// Of the last announcement made under `epoch`; 0 for none.
    sequence: u64,
    due: Option<Instant>,
    pace: Pace,
    rate: Rate,
    coalesce: Duration,
    refresh: Duration,
    life_secs: u16,
    rivals: u32,
    last_rival: Instant,
    chance: Chance,
}

impl Own {
    pub(super) fn new(
        address: Address,
        epoch: BootEpoch,
        name: NodeName,
        capabilities: Capabilities,
        limits: &Limits,
        chance: Chance,
    ) -> Self {
        Self {
            address,
            name,
            capabilities,
            packing: PackTerms::BASIC,
            epoch,
            sequence: 0,
            due: None,
            pace: Pace::default(),
            rate: Rate {
                interval: limits.announcement_interval,
                burst: super::super::database::BURST,
            },
            coalesce: limits.route_debounce,
            refresh: limits.announcement_refresh,
            life_secs: u16::try_from(limits.announcement_expiry.as_secs()).unwrap_or(u16::MAX),
            rivals: 0,
            last_rival: Instant::ZERO,
            chance,
        }
    }

    /// How this node packs and what it takes, said from the next announcement on.
    pub(super) const fn pack(&mut self, packing: PackTerms) {
        self.packing = packing;
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// How many neighbours an announcement with this identity's record has room for.
    pub(super) fn room(&self, identity: &Identity) -> usize {
        let taken = FRAME_OF_WORD + identity.record().encoded().len();
        ANNOUNCEMENT_MAX.saturating_sub(taken) / 20
    }

    /// There is something new to say. Waits a moment, for what breaks together is told together.
    pub(super) fn changed(&mut self, now: Instant) {
        let earliest = (now + self.coalesce).max(self.pace.next(self.rate));
        self.due = Some(self.due.map_or(earliest, |due| due.min(earliest)));
    }

    /// The next announcement. `None` if it cannot be made, which [`Self::room`] rules out.
    pub(super) fn make(
        &mut self,
        now: Instant,
        identity: &Identity,
        neighbours: &[Neighbour],
    ) -> Option<Bytes> {
        // Up to a tenth early: nodes that started together do not refresh together for ever.
        let tenth = u64::try_from(self.refresh.as_micros() / 10).unwrap_or(0);
        let early = Duration::from_micros(self.chance.below(tenth));
        self.due = Some(now + (self.refresh - early));
        self.pace.note(now, self.rate, 1);
        self.sequence = self.sequence.saturating_add(1);
        let order = self.order(identity.record().serial());
        let draft = Draft {
            life_secs: self.life_secs.max(1),
            head: AnnouncementHead { origin: self.address, order },
            capabilities: self.capabilities,
            packing: self.packing,
            name: self.name,
            record: identity.record().encoded(),
            neighbours,
        };
        draft.sign(|bytes| identity.sign(Purpose::Announcement, bytes)).ok()
    }

    /// The order of the last announcement made, with a record of that serial; what is above it
    /// this run did not say.
    pub(super) const fn order(&self, serial: u64) -> Order {
        Order { serial, epoch: self.epoch, sequence: self.sequence }
    }

    /// Goes on above an order this node has signed but not in this run.
    pub(super) fn outrun(&mut self, now: Instant, order: &Order) -> Heard {
        (self.epoch, self.sequence) = match order.epoch.0.checked_add(1) {
            Some(next) => (BootEpoch(next), 0),
            None => (order.epoch, order.sequence),
        };
        let in_row = self.rivals > 0 && now.since(self.last_rival) < ROW;
        self.rivals = if in_row { self.rivals.saturating_add(1) } else { 1 };
        self.last_rival = now;
        self.changed(now);
        if self.rivals <= RIVAL_AFTER {
            return Heard::Past;
        }
        // Two copies could outrun each other for ever: each time later, up to a minute.
        let doublings = (self.rivals - RIVAL_AFTER).min(6);
        self.due = Some(now + Duration::from_secs(1 << doublings));
        Heard::Clone
    }
}
