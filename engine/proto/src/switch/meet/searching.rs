//! Searches driven: whom to ask is `search`, here they are asked, lines to them got, and what comes
//! of it handed on (PROTOCOL §5.15).

use core::time::Duration;
use std::net::SocketAddr;

use super::constants::{ANSWER, BRIDGE_AFTER, DISJOINT, KEEP, SEARCH, SEARCHES, STEP};
use super::distance::is_somewhere;
use super::keys::{Source, What};
use super::search::{Aim, Search, Step};
use super::{Meeting, Order};
use crate::base::{DropReason, Hashname, Instant};
use crate::switch::{Introduction, Token};
use crate::wire::meet::{NEAR, Near, Word};

/// Searches that ended and are still told of.
const TOLD: usize = 32;
/// Those a search begins with.
const FIRST: usize = DISJOINT * NEAR;
/// Relays asked for a bridge by one search. Most of those who have a line may carry for nobody.
const BRIDGES: usize = 8;

/// How a search stands, for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchReport {
    /// Who is sought.
    pub who: Hashname,
    /// Those who have a line to it.
    pub vias: Vec<Hashname>,
    /// What it waits for, or how it ended.
    pub state: &'static str,
    /// When it is given up; nothing if it ended.
    pub left: Option<Duration>,
}

impl Meeting {
    /// Somebody here wants a line and lacks the key, or a way.
    pub(super) fn find(&mut self, now: Instant, peer: Hashname, known: bool, at: &[SocketAddr]) {
        let wait = !self.terms.introducers.is_empty() || !self.terms.operators.is_empty();
        let first = self.table.spacers(&peer, FIRST);
        let asks = wait || !first.is_empty() || (!known && !at.is_empty());
        if !asks || self.searches.len() >= SEARCHES || self.searches.contains_key(&peer) {
            return;
        }
        self.to(peer, Introduction::Patience { peer, until: now + SEARCH });
        if !known {
            for at in at {
                self.ask_address(now, *at, peer);
            }
            for operator in self.terms.operators.clone() {
                match self.table.line(&operator) {
                    Some(_) => self.ask_key(now, operator, peer),
                    None => self.keep(now, operator),
                }
            }
        }
        self.search(now, peer, Aim::Line { known });
    }

    /// Starts a search; one for the same hashname goes on.
    pub(super) fn search(&mut self, now: Instant, to: Hashname, aim: Aim) {
        if self.searches.len() >= SEARCHES || self.searches.contains_key(&to) {
            if let Aim::Nearest(token) = aim {
                self.orders.push_back(Order::Nearest(token, Vec::new()));
            }
            return;
        }
        let first = self.table.spacers(&to, FIRST);
        self.searches.insert(to, Search::new(now, to, aim, &first));
        self.drive(now, to);
    }

    /// A line is worth having for a while.
    pub(super) fn keep(&mut self, now: Instant, peer: Hashname) {
        self.to(peer, Introduction::Keep { peer, until: now + KEEP });
    }

    /// Does what time demands of searches.
    pub(super) fn drive_searches(&mut self, now: Instant) {
        for to in self.searches.keys().copied().collect::<Vec<_>>() {
            if let Some(search) = self.searches.get_mut(&to) {
                search.expire(now);
            }
            self.drive(now, to);
        }
    }

    /// Asks whoever is next, and ends the search if nobody is.
    fn drive(&mut self, now: Instant, to: Hashname) {
        while let Some(step) = self.searches.get_mut(&to).and_then(Search::next) {
            self.take_step(now, to, step);
        }
        self.try_bridge(now, to);
        let Some(search) = self.searches.get(&to) else { return };
        let late = search.until <= now;
        let over = search.is_over();
        match search.aim {
            Aim::Line { .. } => {
                // With nobody to ask yet there may be soon: introducers may not be lined.
                let hopeless = over
                    && search.vias.is_empty()
                    && search.has_begun()
                    && !self.awaits_key(&to)
                    && !self.operators_pending()
                    && !self.introducers_pending(now);
                if late || hopeless {
                    self.end(
                        now,
                        &to,
                        if late { "nobody found a way in time" } else { "nobody knows it" },
                    );
                    self.to(to, Introduction::Missing(to));
                }
            }
            Aim::Nearest(token) if over || late => {
                let found = search.found();
                self.searches.remove(&to);
                self.orders.push_back(Order::Nearest(token, found));
            }
            Aim::Upkeep if over || late => {
                self.searches.remove(&to);
            }
            Aim::Nearest(_) | Aim::Upkeep => {}
        }
    }

    /// Soon after the start lines to introducers may still be coming up.
    fn introducers_pending(&self, now: Instant) -> bool {
        now.since(Instant::ZERO) < STEP
            && self.terms.introducers.iter().any(|i| self.table.line(i).is_none())
    }

    fn operators_pending(&self) -> bool {
        self.terms.operators.iter().any(|o| self.table.line(o).is_none())
    }

    /// Asks one hashname, over its line, or gets a line to it first.
    fn take_step(&mut self, now: Instant, to: Hashname, step: Step) {
        let who = step.who;
        if self.table.line(&who).is_some() {
            let asked = self.ask(now, Source::Line(who), to, What::Near);
            let Some(search) = self.searches.get_mut(&to) else { return };
            match asked {
                Some(id) => {
                    search.waiting(&who, now + ANSWER);
                    self.say(who, &Word::Seek { id, to, via: None });
                }
                None => search.failed(&who),
            }
            return;
        }
        let Some(search) = self.searches.get_mut(&to) else { return };
        match step.via {
            Some(via) => {
                search.waiting(&who, now + STEP);
                self.approach(now, via, who, step.at);
                self.to(who, Introduction::Keep { peer: who, until: now + STEP * 2 });
            }
            None => search.failed(&who),
        }
    }

    /// Gets what a line to somebody needs from one who has a line there: the key, and to be let in.
    fn approach(&mut self, now: Instant, via: Hashname, who: Hashname, at: Option<SocketAddr>) {
        self.ask_key(now, via, who);
        self.ask_pop(via, who);
        if let Some(at) = at.filter(is_somewhere) {
            self.to(who, Introduction::Seen { peer: who, at: vec![at] });
        }
    }

    /// Lets a line to somebody named grow, as the upkeep wants it.
    pub(super) fn line_up(&mut self, now: Instant, who: Hashname) {
        let Some(seen) = self.table.seen(&who).copied() else { return };
        if self.table.line(&seen.via).is_none() {
            return;
        }
        self.approach(now, seen.via, who, seen.at);
        self.keep(now, who);
    }

    /// A peer says who is near.
    pub(super) fn saw(
        &mut self,
        now: Instant,
        peer: Hashname,
        id: u64,
        near: &[Near],
    ) -> Result<(), DropReason> {
        let ours = |a: &super::Asked| a.whom == Source::Line(peer) && matches!(a.what, What::Near);
        if !self.asked.get(&id).is_some_and(ours) {
            return Err(DropReason::Unhandled);
        }
        let to = self.asked.remove(&id).ok_or(DropReason::Unhandled)?.who;
        let near: Vec<Near> =
            near.iter().copied().filter(|n| n.at.is_none_or(|at| is_somewhere(&at))).collect();
        for named in near.iter().filter(|n| n.who != self.host.us) {
            self.table.name(now, named, peer);
        }
        let Some(search) = self.searches.get_mut(&to) else { return Ok(()) };
        let others: Vec<Near> = near.iter().copied().filter(|n| n.who != self.host.us).collect();
        if search.answered(&peer, &others)
            && let Aim::Line { known } = search.aim
        {
            search.bridge_at.get_or_insert(now + BRIDGE_AFTER);
            let at = others.iter().find(|n| n.who == to).and_then(|n| n.at);
            if known {
                self.ask_pop(peer, to);
                if let Some(at) = at {
                    self.to(to, Introduction::Seen { peer: to, at: vec![at] });
                }
            } else {
                self.approach(now, peer, to, at);
            }
        }
        self.drive(now, to);
        Ok(())
    }

    /// Somebody did not answer.
    pub(super) fn search_failed(&mut self, to: &Hashname, who: &Hashname) {
        if let Some(search) = self.searches.get_mut(to) {
            search.failed(who);
        }
    }

    /// A relay does not carry there: the next is asked at once.
    pub(super) fn bridge_refused(&mut self, now: Instant, to: Hashname) {
        if let Some(search) = self.searches.get_mut(&to) {
            search.bridge_at = search.bridge_at.map(|at| at.min(now));
            self.try_bridge(now, to);
        }
    }

    /// The way there may be closed to us both: the next of those who have a line is asked to carry,
    /// and all of them again while the search lasts, as any word of that may have been lost.
    fn try_bridge(&mut self, now: Instant, to: Hashname) {
        let Some(search) = self.searches.get_mut(&to) else { return };
        if search.bridge_at.is_none_or(|at| at > now) {
            return;
        }
        let most = search.vias.len().min(BRIDGES);
        let relay = search.bridges.checked_rem(most).and_then(|at| search.vias.get(at)).copied();
        search.bridges += 1;
        let wait = if search.bridges < most { BRIDGE_AFTER } else { ANSWER };
        search.bridge_at = Some(now + wait);
        if let Some(relay) = relay {
            self.ask_bridge(now, to, relay);
        }
    }

    /// A line is new: searches for it end, those that wait for it go on, and those with nobody to
    /// ask have somebody.
    pub(super) fn searches_met(&mut self, now: Instant, peer: Hashname, spacer: bool) {
        if self.searches.get(&peer).is_some_and(|s| matches!(s.aim, Aim::Line { .. })) {
            self.end(now, &peer, "found");
        }
        let operator = self.terms.operators.contains(&peer);
        for to in self.searches.keys().copied().collect::<Vec<_>>() {
            let Some(search) = self.searches.get_mut(&to) else { continue };
            if operator && search.aim == (Aim::Line { known: false }) {
                self.ask_key(now, peer, to);
            }
            let Some(search) = self.searches.get_mut(&to) else { continue };
            if search.waits_for(&peer) {
                let step = Step::to(peer);
                self.take_step(now, to, step);
            } else if spacer && matches!(search.aim, Aim::Line { .. }) {
                // Another introducer came up: it may know.
                search.begin(peer);
                self.drive(now, to);
            }
        }
    }

    /// Nobody wants that line any more.
    pub(super) fn lost_interest(&mut self, now: Instant, peer: &Hashname) {
        if self.searches.get(peer).is_some_and(|s| matches!(s.aim, Aim::Line { .. })) {
            self.end(now, peer, "given up");
        }
    }

    fn end(&mut self, now: Instant, to: &Hashname, state: &'static str) {
        if let Some(search) = self.searches.remove(to) {
            let report = SearchReport { state, left: None, ..self.report_search(now, &search) };
            self.ended.retain(|r| r.who != *to);
            self.ended.push_back(report);
            if self.ended.len() > TOLD {
                self.ended.pop_front();
            }
        }
    }

    pub(super) fn report_search(&self, now: Instant, search: &Search) -> SearchReport {
        let state = match (search.aim, search.vias.is_empty(), search.has_begun()) {
            (Aim::Upkeep | Aim::Nearest(_), ..) => "looking around",
            (_, false, _) => "waits for its key, to be let in, or for a bridge",
            (_, true, true) => "asks others who is near it",
            (_, true, false) => "waits for an introducer or an operator",
        };
        let left = Some(search.until.since(now));
        SearchReport { who: search.to, vias: search.vias.clone(), state, left }
    }

    /// A peer seeks.
    pub(super) fn sought(
        &mut self,
        asker: Hashname,
        id: u64,
        to: Hashname,
    ) -> Result<(), DropReason> {
        self.counters.seeks += 1;
        let near = if self.terms.spacer { self.table.near(&to, &asker) } else { Vec::new() };
        self.say(asker, &Word::See { id, near });
        Ok(())
    }

    /// Somebody without a line seeks: answered if it names one we have a line with, and with no
    /// more than it sent.
    pub(super) fn sought_outside(
        &mut self,
        from: SocketAddr,
        id: u64,
        to: Hashname,
        via: Hashname,
        length: usize,
    ) -> Result<(), DropReason> {
        if !self.terms.spacer || self.table.line(&via).is_none() {
            return Err(DropReason::Misaddressed);
        }
        self.counters.seeks += 1;
        let mut near = self.table.near(&to, &self.host.us);
        let bytes = loop {
            let bytes = Word::See { id, near: near.clone() }.emit();
            if bytes.len() <= length {
                break bytes;
            }
            if near.pop().is_none() {
                return Err(DropReason::Truncated);
            }
        };
        self.orders.push_back(Order::Any(Introduction::Answer { to: from, bytes }));
        Ok(())
    }

    /// For the application: the token of a search for the nearest, if that is what it is.
    #[must_use]
    pub fn is_searching(&self, token: Token) -> bool {
        self.searches.values().any(|s| s.aim == Aim::Nearest(token))
    }
}
