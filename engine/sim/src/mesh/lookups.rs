//! Look-ups made by the world, and what they are compared with.

use core::time::Duration;
use std::collections::BTreeMap;

use trunkline_proto::base::{Hashname, Instant};
use trunkline_proto::switch::Token;
use trunkline_proto::switch::meet::distance::distance;
use trunkline_proto::wire::meet::NEAR;

use super::packets::Packets;
use super::percent;
use super::world::World;
use crate::draw::Draw;

/// Look-ups for the hashnames nearest to a random one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nearests {
    /// How many.
    pub asked: u64,
    /// The nearest honest one was among the answer.
    pub nearest: u64,
    /// The honest ones of the answer were the nearest honest ones there are, in order.
    pub exact: u64,
    /// Of the eight nearest honest ones, how many were in the answers, all together.
    pub hits: u64,
    /// How many of these there were.
    pub best: u64,
    /// Time all of them took.
    pub took: Duration,
}

/// Lines wanted to a hashname that was not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finds {
    /// How many.
    pub asked: u64,
    /// The line came.
    pub found: u64,
    /// Time those took.
    pub took: Duration,
    /// The longest of them.
    pub longest: Duration,
}

/// One minute of a mesh.
#[derive(Clone, Copy, Debug, Default)]
pub struct Minute {
    /// Live switches at its end.
    pub nodes: usize,
    /// Look-ups that ended in it.
    pub nearests: Nearests,
    /// Likewise.
    pub finds: Finds,
    /// Packets sent.
    pub packets: Packets,
}

impl Nearests {
    /// How many found the nearest, in percent.
    #[must_use]
    pub fn success(&self) -> f64 {
        percent(self.nearest, self.asked)
    }
}

impl Finds {
    /// How many found their line, in percent.
    #[must_use]
    pub fn success(&self) -> f64 {
        percent(self.found, self.asked)
    }
}

/// Look-ups under way.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    number: u64,
    nearests: BTreeMap<Token, (Instant, Hashname)>,
    finds: BTreeMap<(usize, Hashname), Instant>,
}

impl World {
    /// A random honest switch that meshes asks who is nearest to a random hashname.
    pub(super) fn ask_nearest(&mut self, now: Instant) {
        // One that does not mesh may be unable to reach those that do.
        let Some(asker) = self.draw_honest().filter(|n| self.meshes(*n)) else { return };
        let to = Hashname::new(self.chance.bytes());
        self.lookups.number += 1;
        let token = Token(self.lookups.number);
        self.lookups.nearests.insert(token, (now, to));
        self.with(now, asker, |node| {
            node.meeting.nearest(now, token, to);
            node.settle(now);
        });
    }

    /// A random honest switch wants a line to a random honest one.
    pub(super) fn ask_line(&mut self, now: Instant) {
        let (Some(asker), Some(peer)) = (self.draw_honest(), self.draw_honest()) else { return };
        let Some(who) = self.name_of(peer).filter(|_| asker != peer) else { return };
        let mut fresh = false;
        self.with(now, asker, |node| {
            fresh = node.contacts.get(&who).is_none_or(|c| c.is_idle());
        });
        if fresh {
            self.lookups.finds.insert((asker, who), now);
            self.with(now, asker, |node| node.want(now, who));
        }
    }

    fn draw_honest(&mut self) -> Option<usize> {
        let at = self.chance.index(self.honest.len());
        self.honest.get(at).copied()
    }

    /// Compares an answer with the truth of this moment.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        asker: usize,
        token: Token,
        found: &[Hashname],
    ) {
        let Some((since, to)) = self.lookups.nearests.remove(&token) else { return };
        let meshing = self.honest.iter().filter(|n| **n != asker && self.meshes(**n));
        let mut truth: Vec<Hashname> = meshing.filter_map(|n| self.name_of(*n)).collect();
        truth.sort_by_cached_key(|who| distance(&to, who));
        let honest: Vec<_> = found.iter().filter(|who| truth.contains(who)).collect();
        truth.truncate(NEAR);
        let hits = truth.iter().filter(|who| found.contains(who)).count();
        let exact = honest.iter().zip(&truth).all(|(a, b)| *a == b);
        for n in [&mut self.minute.nearests, &mut self.report_nearests] {
            n.asked += 1;
            n.nearest += u64::from(truth.first().is_some_and(|who| found.contains(who)));
            n.exact += u64::from(exact && !honest.is_empty());
            n.hits += hits as u64;
            n.best += truth.len() as u64;
            n.took += now.since(since);
        }
    }

    /// A wanted line came, or was given up.
    pub(super) fn line_came(&mut self, now: Instant, asker: usize, who: Hashname, found: bool) {
        let Some(since) = self.lookups.finds.remove(&(asker, who)) else { return };
        if !self.is_alive(&who) {
            return;
        }
        for f in [&mut self.minute.finds, &mut self.report_finds] {
            f.asked += 1;
            if found {
                f.found += 1;
                f.took += now.since(since);
                f.longest = f.longest.max(now.since(since));
            }
        }
    }
}
