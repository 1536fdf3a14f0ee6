//! Why a node is reached as it is, or is not (N12). Computed when somebody asks.

use core::time::Duration;
use std::collections::VecDeque;

use super::Routing;
use crate::base::{Address, Hashname, Instant, LinkId};
use crate::mesh::routes::{Hop, Reach};

/// Expired nodes remembered, for telling that they were there. × 56 bytes.
const REMEMBERED: usize = 1_024;

/// Why there is no way to a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// Nobody speaks of it.
    Unknown,
    /// Its announcement came to its end that long ago, and no other followed.
    Expired {
        /// How long.
        ago: Duration,
    },
    /// There is no announcement of it; these nodes announce a link to it, which alone means
    /// nothing.
    Silent {
        /// Who.
        named_by: Vec<Address>,
    },
    /// None of its links is announced by both ends, if there are any.
    OneSided {
        /// To whom it announces links that these do not announce.
        by_it: Vec<Address>,
        /// Who announces a link to it that it does not announce.
        by_others: Vec<Address>,
    },
    /// It has links that count, and none of the nodes they lead to is one that this node reaches.
    Apart {
        /// How many nodes hang together there, itself included.
        together: usize,
    },
}

impl Obstacle {
    /// The word users see.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired { .. } => "expired",
            Self::Silent { .. } => "no-announcement",
            Self::OneSided { .. } => "one-sided",
            Self::Apart { .. } => "apart",
        }
    }
}

/// A way to a node by one link of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// The link.
    pub link: LinkId,
    /// Who is at its other end.
    pub neighbour: Hashname,
    /// What the whole way costs.
    pub cost: u64,
    /// Packages take it.
    pub in_use: bool,
}

/// How a node is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The link it begins with, and its cost.
    pub hop: Hop,
    /// The nodes on the way, itself last.
    pub path: Vec<Address>,
    /// The best way by each link of this node from which there is one, the cheapest first.
    pub ways: Vec<Way>,
}

/// Who was forgotten for want of an announcement, and when.
#[derive(Debug, Default)]
pub(super) struct Gone(VecDeque<(Address, Instant)>);

impl Gone {
    pub(super) fn note(&mut self, now: Instant, who: Address) {
        self.0.retain(|(a, _)| *a != who);
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((who, now));
    }

    fn since(&self, who: &Address) -> Option<Instant> {
        self.0.iter().find(|(a, _)| a == who).map(|(_, at)| *at)
    }
}

impl Routing {
    /// How a node is reached by the routes in force, and what the other ways cost; or why it is not.
    ///
    /// # Errors
    /// [`Obstacle`]; [`Obstacle::Unknown`] for this node itself.
    pub fn explain(&self, now: Instant, to: &Address) -> Result<Route, Obstacle> {
        match self.table.reach(to) {
            Some(Reach::Through(hop)) => Ok(self.route(to, hop)),
            Some(Reach::Apart) => Err(Obstacle::Apart { together: self.planner.part_of(to) }),
            Some(Reach::Here) => Err(Obstacle::Unknown),
            Some(Reach::Unlinked) | None => Err(self.obstacle(now, to)),
        }
    }

    /// Who is spoken of without having a word of its own: named as a neighbour by somebody, or
    /// forgotten not long ago, and then how long ago. At most so many, ascending.
    #[must_use]
    pub fn wordless(&self, now: Instant, most: usize) -> Vec<(Address, Option<Duration>)> {
        let named = self.database.entries().flat_map(|(_, e)| e.neighbours.iter());
        let mut all: Vec<Address> = named.map(|n| n.address).collect();
        all.extend(self.gone.0.iter().map(|(a, _)| *a));
        all.sort_unstable();
        all.dedup();
        let wordless = all.into_iter().filter(|a| self.database.get(a).is_none()).take(most);
        wordless.map(|a| (a, self.gone.since(&a).map(|at| now.since(at)))).collect()
    }

    fn route(&self, to: &Address, hop: Hop) -> Route {
        let beyond = self.planner.costs_beyond(to);
        let cost = |peer: &Hashname| beyond.iter().find(|(h, _)| h == peer).map(|(_, c)| *c);
        let way = |n: &super::adjacent::Adjacent| {
            let (neighbour, rest) = (n.hashname(), cost(&n.hashname())?);
            let one = move |w: &super::adjacent::Way| Way {
                link: w.link,
                neighbour,
                cost: u64::from(w.cost.get()) + rest,
                in_use: w.link == hop.link,
            };
            Some(n.ways().iter().map(one).collect::<Vec<_>>())
        };
        let mut ways: Vec<Way> = self.neighbours.iter().filter_map(way).flatten().collect();
        ways.sort_by_key(|w| (!w.in_use, w.cost, w.link));
        Route { hop, path: self.table.path(to).unwrap_or_default(), ways }
    }

    fn obstacle(&self, now: Instant, to: &Address) -> Obstacle {
        let others = self.database.entries().map(|(_, e)| e);
        let others = others.filter(|e| e.neighbours.iter().any(|n| n.address == *to));
        let named_by: Vec<Address> = others.map(|e| e.hashname.address()).collect();
        let Some(entry) = self.database.get(to) else {
            return match self.gone.since(to) {
                Some(at) => Obstacle::Expired { ago: now.since(at) },
                None if named_by.is_empty() => Obstacle::Unknown,
                None => Obstacle::Silent { named_by },
            };
        };
        let says = |a: &Address| entry.neighbours.iter().any(|n| n.address == *a);
        let by_it = entry.neighbours.iter().map(|n| n.address);
        Obstacle::OneSided {
            by_it: by_it.filter(|a| !named_by.contains(a)).collect(),
            by_others: named_by.iter().filter(|a| !says(a)).copied().collect(),
        }
    }
}
