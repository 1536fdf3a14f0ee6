//! Introductions: letting two hashnames in to each other through what stands in front of them
//! (PROTOCOL §5.16).
//!
//! The introducer puts the address it sees the asker at in front of whatever the asker says of
//! itself, and passes on an answer only to who asked. Whoever is asked to let somebody in sends
//! three bytes to at most four addresses.
//!
//! Whom an introducer brings a hashname is bounded, and fairly: of what a target gets an asker has a
//! small part and all askers of one network half, so that a flood of theirs leaves the rest to
//! others.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::constants::{AGREE, POPPING, POPPING_EACH, POPS, POPS_EACH, POPS_FROM_ONE_NETWORK};
use super::distance::{Network, is_somewhere};
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
    /// By asker and target.
    pairs: RateTable,
    /// By the asker's network and target.
    networks: RateTable,
    targets: RateTable,
}

impl Pops {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let mut table = |(rate, burst), size| RateTable::new(rate, burst, size, chance);
        Self {
            waiting: VecDeque::new(),
            askers: table(POPS, 4_096),
            // More than of anything else, and who shares a place with a flood is kept out by it.
            pairs: table(POPS_EACH, 16_384),
            networks: table(POPS_FROM_ONE_NETWORK, 4_096),
            targets: table(POPS, 4_096),
        }
    }

    /// Whether one more introduction may be passed on. Who is refused takes nothing from what is
    /// shared with others.
    fn allow(&mut self, now: Instant, asker: Hashname, path: Path, who: Hashname) -> bool {
        let network = match path {
            Path::Direct(at) => Some(Network::of(&at)),
            // Where it is, is not known: all of them are as good as one network.
            Path::Bridge(_) | Path::Mesh => None,
        };
        self.askers.allow(now, &asker)
            && self.pairs.allow(now, &(asker, who))
            && self.networks.allow(now, &(network, who))
            && self.targets.allow(now, &who)
    }

    /// Waits for the answer of `who`. If there are too many the oldest goes: answers that come at
    /// all come soon. Says whether one went.
    fn wait(&mut self, now: Instant, asker: Hashname, who: Hashname) -> Result<bool, DropReason> {
        self.expire(now);
        if self.waiting.iter().filter(|(a, ..)| *a == asker).count() >= POPPING_EACH {
            return Err(DropReason::TableFull);
        }
        let full = self.waiting.len() >= POPPING && self.waiting.pop_front().is_some();
        self.waiting.push_back((asker, who, now + AGREE));
        Ok(full)
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
        if !self.pops.allow(now, asker, path, who) {
            return Err(DropReason::RateLimited);
        }
        if self.pops.wait(now, asker, who)? {
            self.counters.drops.count(DropReason::CrowdedOut);
        }
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
