//! Introductions: letting two hashnames in to each other through what stands in front of them
//! (PROTOCOL §5.16).
//!
//! The introducer puts the address it sees the asker at in front of whatever the asker says of
//! itself, and passes on an answer only to who asked. Whoever is asked to let somebody in sends
//! three bytes to at most four addresses.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::constants::{AGREE, POPPING, POPS};
use super::distance::is_somewhere;
use super::{Meeting, Order};
use crate::base::{Chance, DropReason, Hashname, Instant, RateTable};
use crate::switch::{Introduction, Path};
use crate::wire::meet::{ADDRESSES, Word};

/// Introductions under way.
#[derive(Debug)]
pub(super) struct Pops {
    /// Who asked to be let in by whom, and until when the answer is passed on.
    waiting: VecDeque<(Hashname, Hashname, Instant)>,
    askers: RateTable,
    targets: RateTable,
}

impl Pops {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let (rate, burst) = POPS;
        Self {
            waiting: VecDeque::new(),
            askers: RateTable::new(rate, burst, 4_096, chance),
            targets: RateTable::new(rate, burst, 4_096, chance),
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while self.waiting.front().is_some_and(|(.., until)| *until <= now) {
            self.waiting.pop_front();
        }
    }

    /// An answer came: whether somebody waits for it.
    fn take(&mut self, asker: &Hashname, who: &Hashname) -> bool {
        let at = self.waiting.iter().position(|(a, w, _)| a == asker && w == who);
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }
}

/// The addresses of somebody, what is seen of it before what it says.
fn addresses(path: Path, said: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let seen = match path {
        Path::Direct(at) => Some(at),
        Path::Bridge(_) | Path::Mesh => None,
    };
    let mut out: Vec<SocketAddr> = seen.into_iter().collect();
    for at in said {
        if is_somewhere(&at) && !out.contains(&at) && out.len() < ADDRESSES {
            out.push(at);
        }
    }
    out
}

impl Meeting {
    /// Tells a peer, in a line that does not go there directly, where we are.
    pub(super) fn offer(&mut self, peer: Hashname) {
        let at = self.ourselves.addresses();
        if !at.is_empty() {
            let who = self.host.us;
            self.say(peer, &Word::Popping { who, at });
        }
    }

    /// Asks an introducer to have somebody let us in.
    pub(super) fn ask_pop(&mut self, via: Hashname, who: Hashname) {
        let at = self.ourselves.addresses();
        self.say(via, &Word::Pop { who, at });
    }

    /// A peer wants to be let in by somebody we have a line with.
    pub(super) fn pop(
        &mut self,
        now: Instant,
        asker: Hashname,
        path: Path,
        who: Hashname,
        said: Vec<SocketAddr>,
    ) -> Result<(), DropReason> {
        let knows = self.terms.spacer && who != asker && self.table.line(&who).is_some();
        if !knows {
            self.say(asker, &Word::Popped { who, at: Vec::new() });
            return Err(DropReason::Misaddressed);
        }
        if !self.pops.askers.allow(now, &asker) || !self.pops.targets.allow(now, &who) {
            return Err(DropReason::RateLimited);
        }
        self.pops.expire(now);
        if self.pops.waiting.len() >= POPPING {
            return Err(DropReason::TableFull);
        }
        self.pops.waiting.push_back((asker, who, now + AGREE));
        self.counters.pops += 1;
        self.say(who, &Word::Popping { who: asker, at: addresses(path, said) });
        Ok(())
    }

    /// Somebody is coming: the peer itself, in a line that takes a detour, or another for whom the
    /// peer speaks.
    pub(super) fn popping(
        &mut self,
        now: Instant,
        peer: Hashname,
        who: Hashname,
        at: Vec<SocketAddr>,
    ) -> Result<(), DropReason> {
        if !self.pops.askers.allow(now, &peer) {
            return Err(DropReason::RateLimited);
        }
        let at: Vec<_> = at.into_iter().filter(is_somewhere).collect();
        if who == peer {
            // Trying the addresses lets it in at the same time.
            self.to(peer, Introduction::Seen { peer, at });
        } else {
            self.orders.push_back(Order::Any(Introduction::Punch(at)));
        }
        let at = self.ourselves.addresses();
        self.say(peer, &Word::Popped { who, at });
        Ok(())
    }

    /// Somebody is let in: we are, or another who waits for it.
    pub(super) fn popped(
        &mut self,
        now: Instant,
        peer: Hashname,
        path: Path,
        who: Hashname,
        said: Vec<SocketAddr>,
    ) -> Result<(), DropReason> {
        if who == self.host.us {
            // The answer to an offer of ours.
            let at = said.into_iter().filter(is_somewhere).collect();
            self.to(peer, Introduction::Seen { peer, at });
            return Ok(());
        }
        self.pops.expire(now);
        if self.pops.take(&who, &peer) {
            let at = addresses(path, said);
            self.say(who, &Word::Popped { who: peer, at });
            return Ok(());
        }
        // Believed of those that were asked: who has a line there, or named it.
        let asked = self
            .searches
            .values()
            .any(|s| (s.to == who && s.vias.contains(&peer)) || s.waits_for_from(&who, &peer));
        let lined = self.table.seen(&who).is_some_and(|seen| seen.via == peer);
        if !(asked || lined) || said.is_empty() {
            return Err(DropReason::Unhandled);
        }
        let at = said.into_iter().filter(is_somewhere).collect();
        self.to(who, Introduction::Seen { peer: who, at });
        Ok(())
    }
}
