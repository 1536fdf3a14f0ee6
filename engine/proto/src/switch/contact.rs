//! What the switch knows of one hashname, and where it stands with it.
//!
//! ```text
//!              address            asked for its key
//!   UNKNOWN ──────────► SEEN ──────────► RESOLVING
//!      │ └────────────────────────────────▲  │ key came
//!      │ key came         key came           ▼
//!      └──────────────────────────────► RESOLVED ◄──────────┐
//!                                          │ open sent       │ failed, closed, idle
//!                                          ▼                 │
//!                                     CONNECTING ────────────┤
//!                                          │ line opened     │
//!   (an open of theirs: from any state) ► CONNECTED ─────────┘
//! ```
//!
//! Each state holds what is true in it and nothing else; leaving it drops that.

use std::net::SocketAddr;
use std::sync::Arc;

use super::line::Line;
use super::opening::Opening;
use super::paths::Path;
use super::questions::Questions;
use super::ways::Way;
use crate::base::{BootEpoch, Hashname, Instant};
use crate::crypto::open::Capabilities;
use crate::crypto::{Admission, KeyRecord};

/// Most addresses kept for one hashname.
pub const MAX_ADDRESSES: usize = 4;

/// Most relays asked to carry packets to one hashname.
const MAX_WAYS: usize = 2;

/// Where the switch stands with a hashname.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No contact.
    Unknown,
    /// An address is known, the key is not.
    Seen,
    /// The key is being asked for.
    Resolving,
    /// The key is known.
    Resolved,
    /// An open was sent.
    Connecting,
    /// A line is open.
    Connected,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Unknown,
        Self::Seen,
        Self::Resolving,
        Self::Resolved,
        Self::Connecting,
        Self::Connected,
    ];

    /// The word users see.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Seen => "seen",
            Self::Resolving => "resolving",
            Self::Resolved => "resolved",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
        }
    }

    /// Whether a contact may go from this state to `next`.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use State::{Connected, Connecting, Resolved, Resolving, Seen, Unknown};
        matches!(
            (self, next),
            (Unknown, Seen | Resolving | Resolved | Connected)
                | (Seen, Resolving | Resolved | Connected)
                | (Resolving, Seen | Unknown | Resolved | Connected)
                | (Resolved, Connecting | Connected)
                | (Connecting, Resolved | Connected)
                | (Connected, Resolved | Connecting)
        )
    }
}

/// A state with what is true in it.
#[derive(Debug)]
pub(super) enum Standing {
    Unknown,
    Seen,
    /// Until when an answer is worth waiting for.
    Resolving(Instant),
    Resolved,
    Connecting(Box<Opening>),
    Connected(Box<Line>),
}

/// One hashname.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) hashname: Hashname,
    /// Which tenant of its slot: changes with every line and every contact, so that nobody takes
    /// one line for another.
    pub(super) tenant: u32,
    pub(super) record: Option<Arc<KeyRecord>>,
    /// How it was let in when it last opened or answered.
    pub(super) admission: Option<Admission>,
    /// Where it was heard, newest first.
    pub(super) addresses: Vec<SocketAddr>,
    /// Where others say it is, newest first.
    pub(super) seen: Vec<SocketAddr>,
    /// Relays that carry, or were asked to carry, packets to it.
    pub(super) ways: Vec<Way>,
    /// Where the configuration says it is.
    pub(super) fixed: Vec<SocketAddr>,
    /// Whether the mesh has a route.
    pub(super) reachable: bool,
    /// Named by the configuration: never evicted.
    pub(super) configured: bool,
    /// What it said it can do, last.
    pub(super) capabilities: Capabilities,
    /// The newest open of theirs that was believed: nothing older is.
    pub(super) last_open: Option<(BootEpoch, u64)>,
    /// Streams need a line: one is opened, and kept.
    pub(super) wanted: bool,
    /// A line is worth having until then, whoever uses it.
    pub(super) kept_until: Option<Instant>,
    /// Somebody was asked to find it.
    pub(super) sought: bool,
    /// And looks until then.
    pub(super) patience: Option<Instant>,
    /// Streams were told of the line, so they must be told of its end.
    pub(super) told: bool,
    pub(super) questions: Questions,
    /// Wanted and known, but nowhere to be found: until when that may change.
    pub(super) pathless_until: Option<Instant>,
    standing: Standing,
}

impl Contact {
    pub(super) fn new(hashname: Hashname, tenant: u32) -> Self {
        Self {
            hashname,
            tenant,
            record: None,
            admission: None,
            addresses: Vec::new(),
            seen: Vec::new(),
            ways: Vec::new(),
            fixed: Vec::new(),
            reachable: false,
            configured: false,
            capabilities: Capabilities::default(),
            last_open: None,
            wanted: false,
            kept_until: None,
            sought: false,
            patience: None,
            told: false,
            questions: Questions::default(),
            pathless_until: None,
            standing: Standing::Unknown,
        }
    }

    pub(super) const fn state(&self) -> State {
        match self.standing {
            Standing::Unknown => State::Unknown,
            Standing::Seen => State::Seen,
            Standing::Resolving(_) => State::Resolving,
            Standing::Resolved => State::Resolved,
            Standing::Connecting(_) => State::Connecting,
            Standing::Connected(_) => State::Connected,
        }
    }

    pub(super) const fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) const fn standing_mut(&mut self) -> &mut Standing {
        &mut self.standing
    }

    /// Moves to another state and hands out what the old one held. An illegal move is not made.
    pub(super) fn become_(&mut self, next: Standing) -> Option<Standing> {
        let after = Self { standing: next, ..Self::new(self.hashname, 0) };
        if !self.state().may_become(after.state()) {
            return None;
        }
        Some(core::mem::replace(&mut self.standing, after.standing))
    }

    pub(super) const fn line(&self) -> Option<&Line> {
        match &self.standing {
            Standing::Connected(line) => Some(line),
            _ => None,
        }
    }

    pub(super) const fn line_mut(&mut self) -> Option<&mut Line> {
        match &mut self.standing {
            Standing::Connected(line) => Some(line),
            _ => None,
        }
    }

    /// The state without any line or opening: what the contact falls back to.
    pub(super) fn rest(&self) -> Standing {
        if self.record.is_some() {
            Standing::Resolved
        } else if self.all_addresses().is_empty() {
            Standing::Unknown
        } else {
            Standing::Seen
        }
    }

    /// Keeps an address, newest first, a few of them.
    pub(super) fn found_at(&mut self, address: SocketAddr) {
        self.addresses.retain(|a| *a != address);
        self.addresses.insert(0, address);
        self.addresses.truncate(MAX_ADDRESSES);
    }

    /// Keeps an address that somebody else named, newest first, a few of them. True if it is new.
    pub(super) fn seen_at(&mut self, address: SocketAddr) -> bool {
        let held = self.seen.len();
        self.seen.retain(|a| *a != address);
        let new = self.seen.len() == held && !self.is_proved(&address);
        self.seen.insert(0, address);
        self.seen.truncate(MAX_ADDRESSES);
        new
    }

    /// Whether there is any way to send to it.
    pub(super) fn has_path(&self, now: Instant) -> bool {
        self.all_paths(now).next().is_some()
    }

    /// Whether an address is the configuration's, or the peer was heard from there.
    pub(super) fn is_proved(&self, address: &SocketAddr) -> bool {
        self.fixed.contains(address) || self.addresses.contains(address)
    }

    /// Every address worth trying: those of the configuration are never forgotten.
    pub(super) fn all_addresses(&self) -> Vec<SocketAddr> {
        let heard = self.addresses.iter().filter(|a| !self.fixed.contains(a));
        let seen = self.seen.iter().filter(|a| !self.is_proved(a));
        self.fixed.iter().chain(heard).chain(seen).copied().collect()
    }

    /// Every path worth trying, the best first.
    pub(super) fn all_paths(&self, now: Instant) -> impl Iterator<Item = Path> + '_ {
        let direct = self.all_addresses().into_iter().map(Path::Direct);
        let bridges = self.ways.iter().filter_map(move |w| w.granted.filter(|(_, end)| *end > now));
        let bridges = bridges.map(|(bridge, _)| Path::Bridge(bridge));
        direct.chain(bridges).chain(self.reachable.then_some(Path::Mesh))
    }

    /// The generation of the line id that packets over `relay`'s bridge say: `fresh` if there is
    /// no such bridge yet.
    pub(super) fn way(&mut self, relay: Hashname, fresh: u32) -> u32 {
        if let Some(way) = self.ways.iter().find(|w| w.relay == relay) {
            return way.generation;
        }
        if self.ways.len() >= MAX_WAYS {
            self.ways.remove(0);
        }
        self.ways.push(Way { relay, generation: fresh, granted: None, refused: None });
        fresh
    }

    /// Whether anybody has a use for a line to it.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        self.wanted || !self.questions.is_empty() || self.kept_until.is_some_and(|k| k > now)
    }

    /// Whether others are asked for it if it is not where it should be: somebody here wants it, or
    /// the configuration names it. Lines that are only worth having are not: whoever found them
    /// worth it has asked for what they need, and a liar could have each of its inventions sought.
    pub(super) fn is_worth_a_search(&self) -> bool {
        self.wanted || !self.questions.is_empty() || !self.fixed.is_empty()
    }

    /// What is under way is tried again sooner: there is another path.
    pub(super) fn hurry(&mut self, now: Instant) {
        match &mut self.standing {
            Standing::Connecting(opening) => opening.hurry(now),
            Standing::Connected(line) => {
                if let Some(renewal) = &mut line.renewal {
                    renewal.hurry(now);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s16_the_table_of_legal_transitions() {
        let mut table = String::new();
        for from in State::ALL {
            let to: Vec<_> =
                State::ALL.iter().filter(|n| from.may_become(**n)).map(|n| n.label()).collect();
            table += &format!("{} > {}\n", from.label(), to.join(" "));
        }
        let expected = "\
unknown > seen resolving resolved connected
seen > resolving resolved connected
resolving > unknown seen resolved connected
resolved > connecting connected
connecting > resolved connected
connected > resolved connecting
";
        assert_eq!(table, expected);
    }

    #[test]
    fn s16_an_illegal_move_is_not_made() {
        let mut c = Contact::new(Hashname::new([1; 32]), 0);
        assert!(c.become_(Standing::Seen).is_some());
        assert!(c.become_(Standing::Unknown).is_none());
        assert_eq!(c.state(), State::Seen);
    }

    #[test]
    fn s15_only_the_newest_addresses_are_kept() {
        let mut c = Contact::new(Hashname::new([1; 32]), 0);
        for port in 1..=10u16 {
            c.found_at(([127, 0, 0, 1], port).into());
        }
        let ports: Vec<u16> = c.addresses.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [10, 9, 8, 7]);
    }
}
