//! Whom this node has lines with and whom it has seen, by distance (PROTOCOL §5.15).
//!
//! Both tables are bounded, and a network that has many hashnames gets no more room in them than
//! one that has few: 100,000 hashnames behind one address are as good as two in each bucket. Those
//! that are named without an address count against the network of whoever named them, so that to
//! leave it out gains nothing.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::SocketAddr;

use super::constants::{
    LINES_TO_ONE_NETWORK, NEAR_WITHOUT_ADDRESS, RECENT, SEEN, SEEN_FROM_ONE_NETWORK,
};
use super::distance::{Network, bucket, distance};
use crate::base::{Hashname, Instant};
use crate::switch::Path;
use crate::wire::meet::{NEAR, Near};

/// A hashname there is a line with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lined {
    pub(super) path: Path,
    pub(super) since: Instant,
    /// The last time it is known to have been heard.
    pub(super) heard: Instant,
    /// Whether it looks for others' sake.
    pub(super) spacer: bool,
}

impl Lined {
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        match self.path {
            Path::Direct(at) => Some(at),
            Path::Bridge(_) | Path::Mesh => None,
        }
    }
}

/// What a hashname takes room of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Share {
    /// Of the network it is in.
    At(Network),
    /// Where it is, was not said: of the network of who named it, if that is known.
    Named(Option<Network>),
}

/// A hashname that somebody named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) at: Option<SocketAddr>,
    pub(super) via: Hashname,
    share: Share,
    first: Instant,
    last: Instant,
}

/// Everybody this node knows of.
#[derive(Debug)]
pub(super) struct Table {
    us: Hashname,
    lines: BTreeMap<Hashname, Lined>,
    seen: BTreeMap<Hashname, Seen>,
}

impl Table {
    pub(super) const fn new(us: Hashname) -> Self {
        Self { us, lines: BTreeMap::new(), seen: BTreeMap::new() }
    }

    pub(super) fn line(&self, who: &Hashname) -> Option<&Lined> {
        self.lines.get(who)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = (&Hashname, &Lined)> {
        self.lines.iter()
    }

    pub(super) fn seen(&self, who: &Hashname) -> Option<&Seen> {
        self.seen.get(who)
    }

    pub(super) fn seen_count(&self) -> usize {
        self.seen.len()
    }

    /// A line opened or took another path. True if it is new.
    pub(super) fn up(&mut self, now: Instant, who: Hashname, path: Path, spacer: bool) -> bool {
        let known = self.lines.get(&who).map(|l| l.since);
        let since = known.unwrap_or(now);
        self.lines.insert(who, Lined { path, since, heard: now, spacer });
        known.is_none()
    }

    pub(super) fn down(&mut self, who: &Hashname) {
        self.lines.remove(who);
    }

    pub(super) fn active(&mut self, who: &Hashname, heard: Instant) {
        if let Some(line) = self.lines.get_mut(who) {
            line.heard = line.heard.max(heard);
        }
    }

    fn share(&self, at: Option<SocketAddr>, via: &Hashname) -> Share {
        let named = || self.line(via).and_then(Lined::address).map(|at| Network::of(&at));
        at.map_or_else(|| Share::Named(named()), |at| Share::At(Network::of(&at)))
    }

    /// Whether one more may be seen in that share.
    fn has_room(&self, share: Share) -> bool {
        let held = self.seen.values().filter(|s| s.share == share);
        held.count() < SEEN_FROM_ONE_NETWORK
    }

    /// Somebody named a hashname. Kept if its network has not had its share already.
    pub(super) fn name(&mut self, now: Instant, near: &Near, via: Hashname) {
        if near.who == self.us {
            return;
        }
        let share = self.share(near.at, &via);
        let same = self.seen.get(&near.who).is_some_and(|held| held.share == share);
        let room = same || self.has_room(share);
        if let Some(held) = self.seen.get_mut(&near.who) {
            held.last = now;
            held.via = via;
            // Another network is moved to as a newcomer there.
            if near.at.is_some() && room {
                (held.at, held.share) = (near.at, share);
            }
            return;
        }
        if !room {
            return;
        }
        if self.seen.len() >= SEEN {
            // The farthest of the old ones: near ones are what others will ask for.
            let old = self.seen.iter().filter(|(_, s)| now.since(s.first) >= RECENT);
            let far = old.max_by_key(|(who, _)| distance(&self.us, who)).map(|(who, _)| *who);
            let Some(far) = far else { return };
            self.seen.remove(&far);
        }
        self.seen.insert(near.who, Seen { at: near.at, via, share, first: now, last: now });
    }

    /// Of those seen, the nearest `count` that were first seen within [`RECENT`] and are worth a
    /// line: "sort all seen, any new in last 30sec in top 100, line them".
    pub(super) fn worth_a_line(&self, now: Instant, count: usize) -> Vec<Hashname> {
        let mut all: Vec<_> = self.seen.iter().collect();
        all.sort_by_cached_key(|(who, _)| distance(&self.us, who));
        let new = |(who, s): &(&Hashname, &Seen)| {
            now.since(s.first) < RECENT && !self.lines.contains_key(*who)
        };
        let worth = all.into_iter().take(count).filter(new);
        let mut networks = self.networks();
        let mut out = Vec::new();
        for (who, s) in worth {
            if networks.admit(bucket(&self.us, who), s.share) {
                out.push(*who);
            }
        }
        out
    }

    /// How many lines each network has, in each bucket and in all.
    fn networks(&self) -> Networks {
        let mut out = Networks::default();
        for (who, line) in &self.lines {
            let named = || self.seen.get(who).map_or(Share::Named(None), |s| s.share);
            let share = line.address().map_or_else(named, |at| Share::At(Network::of(&at)));
            out.count(bucket(&self.us, who), share);
        }
        out
    }

    /// Lines by bucket.
    pub(super) fn buckets(&self) -> BTreeMap<u16, Vec<(Hashname, Lined)>> {
        let mut out: BTreeMap<u16, Vec<_>> = BTreeMap::new();
        for (who, line) in &self.lines {
            out.entry(bucket(&self.us, who)).or_default().push((*who, *line));
        }
        out
    }

    /// Whom to name to somebody who looks for `to`: that very hashname, then the nearest that
    /// look themselves, of no network more than two.
    pub(super) fn near(&self, to: &Hashname, asker: &Hashname) -> Vec<Near> {
        let named = |who: &Hashname, line: &Lined| Near { who: *who, at: line.address() };
        let exact = self.lines.get(to).filter(|_| to != asker).map(|line| named(to, line));
        let others = self.lines.iter().filter(|(who, l)| l.spacer && *who != asker && *who != to);
        let mut others = nearest_first(to, others.map(|(who, _)| *who));
        let mut networks: HashMap<Option<Network>, usize> = HashMap::new();
        let mut out: Vec<Near> = exact.into_iter().collect();
        while out.len() < NEAR {
            let Some(Reverse((_, who))) = others.pop() else { break };
            let Some(line) = self.lines.get(&who) else { continue };
            let network = line.address().map(|at| Network::of(&at));
            let most = network.map_or(NEAR_WITHOUT_ADDRESS, |_| LINES_TO_ONE_NETWORK.0);
            let held = networks.entry(network).or_default();
            *held += 1;
            if *held > most {
                continue;
            }
            out.push(named(&who, line));
        }
        out
    }

    /// So many lines to spacers, nearest to `to` first: where a search begins.
    pub(super) fn spacers(&self, to: &Hashname, count: usize) -> Vec<Hashname> {
        let all = self.lines.iter().filter(|(_, l)| l.spacer).map(|(w, _)| *w);
        let mut all = nearest_first(to, all);
        core::iter::from_fn(|| all.pop().map(|Reverse((_, who))| who)).take(count).collect()
    }
}

/// Hashnames that come out nearest first. Few of them are taken, so they are not all sorted: that
/// would be most of what an answer to a seek costs.
fn nearest_first(
    to: &Hashname,
    all: impl Iterator<Item = Hashname>,
) -> BinaryHeap<Reverse<([u8; 32], Hashname)>> {
    all.map(|who| Reverse((distance(to, &who), who))).collect()
}

/// Lines by network, in each bucket and in all.
#[derive(Debug, Default)]
struct Networks {
    each: HashMap<(u16, Share), usize>,
    all: HashMap<Share, usize>,
}

impl Networks {
    fn count(&mut self, bucket: u16, network: Share) {
        *self.each.entry((bucket, network)).or_default() += 1;
        *self.all.entry(network).or_default() += 1;
    }

    /// Counts one more, if it may be.
    fn admit(&mut self, bucket: u16, network: Share) -> bool {
        let each = self.each.get(&(bucket, network)).copied().unwrap_or(0);
        let all = self.all.get(&network).copied().unwrap_or(0);
        let may = each < LINES_TO_ONE_NETWORK.0 && all < LINES_TO_ONE_NETWORK.1;
        if may {
            self.count(bucket, network);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Chance;
    use core::time::Duration;

    const T0: Instant = Instant::from_micros(1);

    fn draw(chance: &mut Chance) -> Hashname {
        Hashname::new(chance.bytes())
    }

    fn at(a: u8, b: u8, c: u8, d: u8) -> SocketAddr {
        ([a, b, c, d], 42_424).into()
    }

    #[test]
    fn s26_a_hundred_thousand_hashnames_behind_one_24_get_two_lines_a_bucket_and_16_in_all() {
        let mut chance = Chance::from_number(1);
        let us = draw(&mut chance);
        let via = draw(&mut chance);
        let mut table = Table::new(us);
        for n in 0..100_000u32 {
            let who = draw(&mut chance);
            table.name(T0, &Near { who, at: Some(at(203, 0, 113, n as u8)) }, via);
        }
        assert!(table.seen_count() <= SEEN_FROM_ONE_NETWORK);
        let honest: Vec<_> = (0..50u8).map(|n| (draw(&mut chance), at(198, n, 1, 1))).collect();
        for (who, at) in &honest {
            table.name(T0, &Near { who: *who, at: Some(*at) }, via);
        }
        let lined = table.worth_a_line(T0, 100);
        let liars = lined.iter().filter(|w| honest.iter().all(|(h, _)| h != *w)).count();
        assert!(liars <= LINES_TO_ONE_NETWORK.1, "{liars}");
        assert_eq!(lined.len() - liars, honest.len());
    }

    #[test]
    fn s26_hashnames_named_without_an_address_get_the_room_of_who_names_them() {
        let mut chance = Chance::from_number(5);
        let us = draw(&mut chance);
        let (liar, honest) = (draw(&mut chance), draw(&mut chance));
        let mut table = Table::new(us);
        table.up(T0, liar, Path::Direct(at(203, 0, 113, 1)), true);
        table.up(T0, honest, Path::Direct(at(198, 51, 100, 1)), true);
        for _ in 0..10_000 {
            let who = draw(&mut chance);
            table.name(T0, &Near { who, at: None }, liar);
        }
        assert_eq!(table.seen_count(), SEEN_FROM_ONE_NETWORK);
        let others: Vec<_> = (0..20).map(|_| draw(&mut chance)).collect();
        for who in &others {
            table.name(T0, &Near { who: *who, at: None }, honest);
        }
        assert_eq!(table.seen_count(), SEEN_FROM_ONE_NETWORK + 20, "others have their own");
        let lined = table.worth_a_line(T0, 100);
        let liars = lined.iter().filter(|w| !others.contains(w)).count();
        assert!(liars <= LINES_TO_ONE_NETWORK.1, "{liars}");
        let each = |of: u16| lined.iter().filter(|w| bucket(&us, w) == of).count();
        assert!((0..20).all(|b| each(b) <= 2 * LINES_TO_ONE_NETWORK.0));
    }

    #[test]
    fn s26_a_hashname_named_again_gets_into_no_network_that_is_full() {
        let mut chance = Chance::from_number(6);
        let us = draw(&mut chance);
        let mut table = Table::new(us);
        let all: Vec<_> = (0..200u8).map(|n| (draw(&mut chance), at(198, n, 1, 1))).collect();
        for (who, at) in &all {
            table.name(T0, &Near { who: *who, at: Some(*at) }, us);
        }
        for (who, _) in &all {
            table.name(T0, &Near { who: *who, at: Some(at(203, 0, 113, 9)) }, us);
        }
        let moved =
            all.iter().filter(|(w, _)| table.seen(w).unwrap().at == Some(at(203, 0, 113, 9)));
        assert_eq!(moved.count(), SEEN_FROM_ONE_NETWORK);
    }

    #[test]
    fn s21_an_answer_is_not_filled_by_those_without_an_address() {
        let mut chance = Chance::from_number(7);
        let us = draw(&mut chance);
        let mut table = Table::new(us);
        for n in 0..100u8 {
            table.up(T0, draw(&mut chance), Path::Mesh, true);
            if n < 8 {
                table.up(T0, draw(&mut chance), Path::Direct(at(198, n, 1, 1)), true);
            }
        }
        let near = table.near(&draw(&mut chance), &us);
        let without = near.iter().filter(|n| n.at.is_none()).count();
        assert_eq!((near.len(), without), (NEAR, NEAR_WITHOUT_ADDRESS));
    }

    #[test]
    fn s15_the_table_of_seen_hashnames_holds_its_bound() {
        let mut chance = Chance::from_number(2);
        let us = draw(&mut chance);
        let mut table = Table::new(us);
        for n in 0..20_000u32 {
            let now = T0 + Duration::from_millis(10) * n;
            let who = draw(&mut chance);
            let at = at(198, (n >> 8) as u8, n as u8, 1);
            table.name(now, &Near { who, at: Some(at) }, us);
        }
        assert!(table.seen_count() <= SEEN);
    }

    #[test]
    fn s21_whoever_seeks_is_named_the_very_one_and_the_nearest_that_seek() {
        let mut chance = Chance::from_number(3);
        let us = draw(&mut chance);
        let mut table = Table::new(us);
        let mut all = Vec::new();
        for n in 0..60u8 {
            let who = draw(&mut chance);
            table.up(T0, who, Path::Direct(at(198, n, 1, 1)), n % 2 == 0);
            all.push((who, n % 2 == 0));
        }
        let (target, _) = all[1];
        let near = table.near(&target, &us);
        assert_eq!((near.len(), near[0].who), (NEAR, target));
        let mut spacers: Vec<_> = all.iter().filter(|(_, s)| *s).map(|(w, _)| *w).collect();
        spacers.sort_by_key(|w| distance(&target, w));
        let named: Vec<_> = near[1..].iter().map(|n| n.who).collect();
        assert_eq!(named, spacers[..NEAR - 1]);
        assert!(table.near(&target, &target).iter().all(|n| n.who != target));
    }

    #[test]
    fn s26_only_what_is_new_near_and_without_a_line_is_worth_one() {
        let mut chance = Chance::from_number(4);
        let us = draw(&mut chance);
        let mut table = Table::new(us);
        let mut all: Vec<_> = (0..200u8).map(|n| (draw(&mut chance), at(198, n, 1, 1))).collect();
        all.sort_by_key(|(w, _)| distance(&us, w));
        for (who, at) in &all {
            table.name(T0, &Near { who: *who, at: Some(*at) }, us);
        }
        table.up(T0, all[0].0, Path::Direct(all[0].1), true);
        let worth = table.worth_a_line(T0, 100);
        let expected: Vec<_> = all[1..100].iter().map(|(w, _)| *w).collect();
        assert_eq!(worth, expected);
        assert!(table.worth_a_line(T0 + RECENT, 100).is_empty());
    }
}
