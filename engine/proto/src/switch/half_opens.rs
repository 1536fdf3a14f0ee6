//! Lines that were answered and wait for their first packet (PROTOCOL §4.2).
//!
//! Owns who they are from and which of them goes when there are too many. It never sees a packet
//! and asks for no cookie itself: `opens` does both and asks here first.
//!
//! Whoever repeats somebody's open, or sends its own from addresses that are not its own, leaves
//! such a line behind with each, for as long as an opener may repeat itself. So a share of the table
//! is all that those get who did not show that they receive at their address: beyond it everybody
//! is asked for a cookie, and whoever brings one takes the place of one who did not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use core::time::Duration;

use crate::base::{Address, DropReason, Instant, Limits, LineId};

/// Of the places there are, and of those for one source, this part is for whoever comes.
const FREE: usize = 4;
/// Who brought a cookie gets so long for its first packet whatever comes meanwhile: several round
/// trips of a bad path.
const SPARED: Duration = Duration::from_secs(2);

/// Where opens come from, as far as one owner may be behind many: a host, or an IPv6 network of one
/// host (/64).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Source {
    Host([u8; 8]),
    Bridge(LineId),
    Node(Address),
}

impl Source {
    pub(super) fn host(at: &SocketAddr) -> Self {
        let mut out = [0; 8];
        match at.ip().to_canonical() {
            // No IPv6 network begins with zeros and has a host of IPv4 behind it.
            IpAddr::V4(ip) => out.iter_mut().skip(4).zip(ip.octets()).for_each(|(o, b)| *o = b),
            IpAddr::V6(ip) => out.iter_mut().zip(ip.octets()).for_each(|(o, b)| *o = b),
        }
        Self::Host(out)
    }
}

/// One place in the table, kept with the line that has it. Those whose source showed no cookie come
/// first, then the oldest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Ticket {
    paid: bool,
    number: u64,
}

#[derive(Debug)]
struct Held {
    slot: u32,
    source: Source,
    since: Instant,
}

/// All of one partition. × ~200 bytes beside the lines themselves.
#[derive(Debug)]
pub(super) struct HalfOpens {
    most: usize,
    most_each: usize,
    held: BTreeMap<Ticket, Held>,
    by_source: BTreeSet<(Source, Ticket)>,
    counts: BTreeMap<Source, usize>,
    numbers: u64,
}

impl HalfOpens {
    pub(super) const fn new(limits: &Limits) -> Self {
        Self {
            most: limits.half_open,
            most_each: limits.half_open_per_address,
            held: BTreeMap::new(),
            by_source: BTreeSet::new(),
            counts: BTreeMap::new(),
            numbers: 0,
        }
    }

    fn of(&self, source: &Source) -> usize {
        self.counts.get(source).copied().unwrap_or(0)
    }

    /// Whether strangers get no place any more without a cookie.
    pub(super) fn is_filling(&self) -> bool {
        self.held.len() >= self.most.div_ceil(FREE)
    }

    /// The same for those of one source.
    pub(super) fn is_crowded(&self, source: &Source) -> bool {
        self.of(source) >= self.most_each.div_ceil(FREE)
    }

    /// A place for a line, and which line has lost its own to it.
    ///
    /// # Errors
    /// [`DropReason::TableFull`] if all are taken by those who go before this one.
    pub(super) fn enter(
        &mut self,
        now: Instant,
        slot: u32,
        source: Source,
        paid: bool,
    ) -> Result<(Ticket, Option<u32>), DropReason> {
        let first_of = (source, Ticket { paid: false, number: 0 });
        let goes = if self.of(&source) >= self.most_each {
            self.by_source.range(first_of..).next().map(|(_, ticket)| *ticket)
        } else if self.held.len() >= self.most {
            self.held.first_key_value().map(|(ticket, _)| *ticket)
        } else {
            None
        };
        let mut lost = None;
        if let Some(ticket) = goes {
            let held = self.held.get(&ticket).ok_or(DropReason::TableFull)?;
            if !paid || (ticket.paid && now.since(held.since) < SPARED) {
                return Err(DropReason::TableFull);
            }
            lost = Some(held.slot);
            self.leave(ticket);
        }
        self.numbers += 1;
        let ticket = Ticket { paid, number: self.numbers };
        self.put(ticket, Held { slot, source, since: now });
        Ok((ticket, lost))
    }

    fn put(&mut self, ticket: Ticket, held: Held) {
        *self.counts.entry(held.source).or_default() += 1;
        self.by_source.insert((held.source, ticket));
        self.held.insert(ticket, held);
    }

    fn take(&mut self, ticket: Ticket) -> Option<Held> {
        let held = self.held.remove(&ticket)?;
        self.by_source.remove(&(held.source, ticket));
        if let Some(count) = self.counts.get_mut(&held.source) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&held.source);
            }
        }
        Some(held)
    }

    /// The line is open, or gone.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.take(ticket);
    }

    /// Whoever has a place has brought a cookie since.
    pub(super) fn pay(&mut self, ticket: Ticket) -> Ticket {
        let paid = Ticket { paid: true, ..ticket };
        if let Some(held) = self.take(ticket) {
            self.put(paid, held);
        }
        paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_micros(1);

    fn table(half_open: usize, half_open_per_address: usize) -> HalfOpens {
        HalfOpens::new(&Limits { half_open, half_open_per_address, ..Limits::default() })
    }

    fn host(n: u32) -> Source {
        Source::host(&(n.to_be_bytes(), 9).into())
    }

    #[test]
    fn s18_a_flood_from_made_up_sources_keeps_nobody_out_who_brings_a_cookie() {
        let limits = Limits::default();
        let mut table = HalfOpens::new(&limits);
        let (mut waiting, mut let_in) = (std::collections::VecDeque::new(), 0);
        // 164 opens a second for a minute, each held for 25 s; once a second a stranger who pays.
        for n in 0..164 * 60u32 {
            let now = T0 + Duration::from_secs(60) * n / (164 * 60);
            while waiting.front().is_some_and(|(until, _)| *until <= now) {
                let (_, ticket) = waiting.pop_front().unwrap();
                table.leave(ticket);
            }
            if !table.is_filling() {
                let (ticket, lost) = table.enter(now, n, host(n), false).unwrap();
                assert_eq!(lost, None);
                waiting.push_back((now + Duration::from_secs(25), ticket));
            }
            if n % 164 == 0 {
                let (ticket, _) = table.enter(now, n, host(1 << 31 | n), true).unwrap();
                table.leave(ticket);
                let_in += 1;
            }
            assert!(table.held.len() <= limits.half_open / FREE);
        }
        assert!(table.is_filling());
        assert_eq!(let_in, 60);
    }

    #[test]
    fn s18_who_brings_a_cookie_takes_the_place_of_the_oldest_who_did_not() {
        let mut table = table(4, 4);
        let first = table.enter(T0, 0, host(0), false).unwrap().0;
        for n in 1..4 {
            table.enter(T0, n, host(n), n % 2 == 1).unwrap();
        }
        assert_eq!(table.enter(T0, 9, host(9), false), Err(DropReason::TableFull));
        let first = table.pay(first);
        assert_eq!(table.enter(T0, 4, host(4), true).unwrap().1, Some(2));
        // Only those who paid are left: none goes before it had its time.
        assert_eq!(table.enter(T0, 5, host(5), true), Err(DropReason::TableFull));
        assert_eq!(table.enter(T0 + SPARED, 5, host(5), true).unwrap().1, Some(0));
        table.leave(first);
        assert_eq!(table.held.len(), 4, "a place that was lost is not given up again");
    }

    #[test]
    fn s18_one_address_has_its_share_and_others_are_not_asked_for_it() {
        let mut table = table(64, 8);
        assert!(!table.is_crowded(&host(1)));
        for n in 0..2 {
            table.enter(T0, n, host(1), false).unwrap();
        }
        assert!(table.is_crowded(&host(1)) && !table.is_crowded(&host(2)) && !table.is_filling());
        for n in 2..8 {
            table.enter(T0, n, host(1), true).unwrap();
        }
        table.enter(T0, 99, host(2), false).unwrap();
        assert_eq!(table.enter(T0, 8, host(1), true).unwrap().1, Some(0), "its own, not host 2's");
        assert_eq!(table.enter(T0, 9, host(1), true).unwrap().1, Some(1));
        assert_eq!(table.enter(T0, 10, host(1), true), Err(DropReason::TableFull));
        assert_eq!(table.held.len(), 9);
    }

    #[test]
    fn s18_what_has_left_leaves_nothing_behind() {
        let mut table = table(64, 8);
        let tickets: Vec<_> =
            (0..50).map(|n| table.enter(T0, n, host(n % 9), true).unwrap().0).collect();
        tickets.into_iter().for_each(|t| table.leave(t));
        assert!(table.held.is_empty() && table.by_source.is_empty() && table.counts.is_empty());
    }

    #[test]
    fn s18_an_ipv6_network_of_one_host_is_one_source() {
        let of = |text: &str| Source::host(&text.parse().unwrap());
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:1]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_eq!(of("192.0.2.1:1"), of("[::ffff:192.0.2.1]:2"));
        assert_ne!(of("192.0.2.1:1"), of("192.0.2.2:1"));
    }
}
