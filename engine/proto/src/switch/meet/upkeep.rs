//! The mesh of hashnames looked after, as the notes have it (PROTOCOL §5.15).
//!
//! Every [`TICK`](super::constants::TICK):
//!
//! 1. "sort all seen, any new in last 30sec in top 100, line them";
//! 2. "calculate 'spread' as mesh level / # of buckets with lines";
//! 3. "sort all lines by bucket, for each bucket: count active in last 30sec; any remainder left in
//!    spread, send ping".
//!
//! "Active" is who was heard within half a tick: who was not would be silent for longer than a NAT
//! remembers before the next. Of each bucket the oldest lines are the ones kept.
//!
//! Beyond the notes a node looks for its own hashname, so that its neighbours know it, and for one
//! at random, so that far buckets fill. Lines beyond the spread are not pinged and end by
//! themselves. Lines to introducers are kept whether the node meshes or not.

use bytes::Bytes;

use super::constants::{LEVEL, NEAREST, NEIGHBOURS, TICK};
use super::search::Aim;
use super::{Meeting, Order};
use crate::base::{Hashname, Instant};
use crate::switch::Introduction;
use crate::wire::inner::{Inner, TRY_LEN};

/// Ticks after the start in which a node looks for itself each time, and how often afterwards.
const SETTLING: (u64, u64) = (8, 10);

impl Meeting {
    /// One tick: introducers are kept, and a census says which lines are alive.
    pub(super) fn keep_up(&mut self, now: Instant) {
        let kept = self.terms.introducers.iter().chain(&self.terms.witnesses);
        let kept: Vec<Hashname> = kept.copied().filter(|who| *who != self.host.us).collect();
        let idle = !self.terms.spacer && kept.is_empty();
        if idle {
            self.tick = None;
            return;
        }
        self.ticks += 1;
        // The first ones come soon after each other: there is nobody yet.
        let wait = match self.ticks {
            1 => TICK / 25,
            2 | 3 => TICK / 5,
            _ => TICK,
        };
        let jitter = self.chance.below(u64::try_from(wait.as_micros() / 10).unwrap_or(1));
        self.tick = Some(now + wait - core::time::Duration::from_micros(jitter));
        for peer in kept {
            self.keep(now, peer);
            if self.table.line(&peer).is_some() {
                self.ping(peer);
            }
        }
        if self.terms.spacer {
            self.censuses = 0;
            self.orders.push_back(Order::All(Introduction::Census));
        } else {
            self.stay_found(now);
        }
    }

    /// Who does not mesh is found as everybody is, by asking those nearest to it: it keeps lines
    /// to a few of them.
    fn stay_found(&mut self, now: Instant) {
        let us = self.host.us;
        for peer in self.table.spacers(&us, NEIGHBOURS) {
            self.keep(now, peer);
            self.ping(peer);
        }
        let (always, later) = SETTLING;
        if self.ticks <= always || self.ticks.is_multiple_of(later) {
            self.search(now, us, Aim::Upkeep);
        }
    }

    /// A partition says which of its lines are alive. When all have, the mesh is looked after.
    pub(super) fn counted(&mut self, now: Instant, lines: &[(Hashname, Instant)]) {
        for (who, heard) in lines {
            self.table.active(who, *heard);
        }
        self.censuses += 1;
        if self.censuses == self.host.partitions {
            self.line_new_ones(now);
            self.spread_pings(now);
            self.look_around(now);
        }
    }

    fn line_new_ones(&mut self, now: Instant) {
        for who in self.table.worth_a_line(now, NEAREST) {
            self.line_up(now, who);
        }
    }

    fn spread_pings(&mut self, now: Instant) {
        let buckets = self.table.buckets();
        let level = self.terms.level.min(LEVEL * 4);
        let spread = level.checked_div(buckets.len()).unwrap_or(0).max(1);
        // Heard half a tick ago and silent until the next is too long for many NATs.
        let quiet = |l: &super::table::Lined| now.since(l.heard) >= TICK / 2;
        for (_, mut lines) in buckets {
            lines.sort_by_key(|(_, l)| (l.since, l.heard));
            for (who, _) in lines.into_iter().take(spread).filter(|(_, l)| quiet(l)) {
                self.keep(now, who);
                self.ping(who);
            }
        }
    }

    /// Looks for our own neighbourhood and for a place far away.
    fn look_around(&mut self, now: Instant) {
        let (always, later) = SETTLING;
        if self.ticks <= always || self.ticks.is_multiple_of(later) {
            self.search(now, self.host.us, Aim::Upkeep);
            let anywhere = Hashname::new(self.chance.bytes());
            self.search(now, anywhere, Aim::Upkeep);
        }
    }

    /// Something to be answered, as short as it may be.
    fn ping(&mut self, peer: Hashname) {
        self.counters.pings += 1;
        let mut packet = Vec::with_capacity(TRY_LEN);
        Inner::echo(true, 1, TRY_LEN, &mut packet);
        self.to(peer, Introduction::Say { peer, packet: Bytes::from(packet) });
    }
}
