//! One search through the mesh: whom to ask next (PROTOCOL §5.15).
//!
//! A search takes [`DISJOINT`] ways at once. Each asks the nearest hashnames it has heard of, nearer
//! and nearer ones as they are named, and no hashname is asked by more than one way: who answers
//! with lies misleads the way it is on and no other. A way is over when the nearest it knows have
//! all answered.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::constants::{DISJOINT, FRONTIER, PARALLEL, SEARCH};
use super::distance::distance;
use crate::base::{Hashname, Instant};
use crate::switch::Token;
use crate::wire::meet::{NEAR, Near};

/// What a search is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aim {
    /// A line to that hashname is wanted.
    Line {
        /// Its key is known.
        known: bool,
    },
    /// The application asks who is nearest.
    Nearest(Token),
    /// The node itself wants to be known there, and to know who is.
    Upkeep,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    New,
    Waiting(Instant),
    Answered,
    Failed,
}

/// Somebody to ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) who: Hashname,
    /// Who named it; nobody if there was a line already.
    pub(super) via: Option<Hashname>,
    pub(super) at: Option<SocketAddr>,
    way: usize,
    state: State,
}

impl Step {
    /// Somebody there is a line with by now.
    pub(super) const fn to(who: Hashname) -> Self {
        Self { who, via: None, at: None, way: 0, state: State::New }
    }
}

/// One search.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) to: Hashname,
    pub(super) aim: Aim,
    pub(super) until: Instant,
    /// Those who have a line to what is sought, in the order they said so.
    pub(super) vias: Vec<Hashname>,
    /// When to ask the next of them for a bridge.
    pub(super) bridge_at: Option<Instant>,
    pub(super) bridges: usize,
    steps: Vec<Step>,
    claimed: BTreeSet<Hashname>,
}

impl Search {
    /// A search that begins with `first`, nearest first.
    pub(super) fn new(now: Instant, to: Hashname, aim: Aim, first: &[Hashname]) -> Self {
        let mut search = Self {
            to,
            aim,
            until: now + SEARCH,
            vias: Vec::new(),
            bridge_at: None,
            bridges: 0,
            steps: Vec::new(),
            claimed: BTreeSet::new(),
        };
        for (i, who) in first.iter().take(DISJOINT * NEAR).enumerate() {
            search.add(Near { who: *who, at: None }, None, i % DISJOINT);
        }
        search
    }

    fn add(&mut self, near: Near, via: Option<Hashname>, way: usize) {
        if near.who == self.to || !self.claimed.insert(near.who) {
            return;
        }
        let step = Step { who: near.who, via, at: near.at, way, state: State::New };
        let far = |s: &Step| distance(&self.to, &s.who);
        let place = self.steps.partition_point(|s| far(s) < far(&step));
        self.steps.insert(place, step);
        let held = self.steps.iter().filter(|s| s.way == way).count();
        if held > FRONTIER {
            let last = self.steps.iter().rposition(|s| s.way == way && s.state == State::New);
            if let Some(last) = last {
                self.steps.remove(last);
            }
        }
    }

    /// Whether there was ever anybody to ask.
    pub(super) fn has_begun(&self) -> bool {
        !self.claimed.is_empty()
    }

    /// There is somebody to ask now.
    pub(super) fn begin(&mut self, who: Hashname) {
        self.add(Near { who, at: None }, None, self.claimed.len() % DISJOINT);
    }

    /// The nearest of one way that count: those that failed do not.
    fn nearest(&self, way: usize) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |s| s.way == way && s.state != State::Failed).take(NEAR)
    }

    /// Whom to ask now. Asked until [`Self::waiting`] says how long is waited for the answer.
    pub(super) fn next(&mut self) -> Option<Step> {
        for way in 0..DISJOINT {
            let waiting = |s: &Step| s.way == way && matches!(s.state, State::Waiting(_));
            if self.steps.iter().filter(|s| waiting(s)).count() >= PARALLEL {
                continue;
            }
            let next = self.nearest(way).find(|s| s.state == State::New).copied();
            if next.is_some() {
                return next;
            }
        }
        None
    }

    fn step(&mut self, who: &Hashname) -> Option<&mut Step> {
        self.steps.iter_mut().find(|s| s.who == *who)
    }

    /// Whether it waits for somebody's answer.
    pub(super) fn waits_for(&self, who: &Hashname) -> bool {
        self.steps.iter().any(|s| s.who == *who && matches!(s.state, State::Waiting(_)))
    }

    /// Whether it waits for a line to somebody that was named by that one.
    pub(super) fn waits_for_from(&self, who: &Hashname, via: &Hashname) -> bool {
        let named = |s: &&Step| s.who == *who && s.via == Some(*via);
        self.steps.iter().find(named).is_some_and(|s| matches!(s.state, State::Waiting(_)))
    }

    /// Somebody was asked, and has until then.
    pub(super) fn waiting(&mut self, who: &Hashname, until: Instant) {
        if let Some(step) = self.step(who) {
            step.state = State::Waiting(until);
        }
    }

    /// Somebody will not answer.
    pub(super) fn failed(&mut self, who: &Hashname) {
        if let Some(step) = self.step(who).filter(|s| s.state != State::Answered) {
            step.state = State::Failed;
        }
    }

    /// Somebody answered. True if that one has a line to what is sought.
    pub(super) fn answered(&mut self, who: &Hashname, near: &[Near]) -> bool {
        let Some(step) = self.step(who).filter(|s| matches!(s.state, State::Waiting(_))) else {
            return false;
        };
        step.state = State::Answered;
        let way = step.way;
        for named in near.iter().take(NEAR) {
            self.add(*named, Some(*who), way);
        }
        let has = near.iter().any(|n| n.who == self.to);
        if has && !self.vias.contains(who) {
            self.vias.push(*who);
        }
        has
    }

    /// Fails those whose time is up.
    pub(super) fn expire(&mut self, now: Instant) {
        for step in &mut self.steps {
            if matches!(step.state, State::Waiting(until) if until <= now) {
                step.state = State::Failed;
            }
        }
    }

    /// Whether nobody is left to ask.
    pub(super) fn is_over(&self) -> bool {
        let open = |s: &Step| matches!(s.state, State::New | State::Waiting(_));
        (0..DISJOINT).all(|way| !self.nearest(way).any(open))
    }

    /// The nearest that answered, and what was sought itself if somebody has a line to it.
    pub(super) fn found(&self) -> Vec<Hashname> {
        let itself = (!self.vias.is_empty()).then_some(self.to);
        let answered = self.steps.iter().filter(|s| s.state == State::Answered).map(|s| s.who);
        itself.into_iter().chain(answered).take(NEAR).collect()
    }

    pub(super) fn deadline(&self) -> Instant {
        let waiting = self.steps.iter().filter_map(|s| match s.state {
            State::Waiting(until) => Some(until),
            _ => None,
        });
        waiting.chain(self.bridge_at).chain([self.until]).min().unwrap_or(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Chance;
    use core::time::Duration;

    const T0: Instant = Instant::from_micros(1);

    fn names(n: usize, seed: u64) -> Vec<Hashname> {
        let mut chance = Chance::from_number(seed);
        (0..n).map(|_| Hashname::new(chance.bytes())).collect()
    }

    /// Runs a search over hashnames that each know what `knows` says.
    fn run(search: &mut Search, knows: impl Fn(&Hashname) -> Option<Vec<Hashname>>) -> usize {
        let mut asked = 0;
        while let Some(step) = search.next() {
            search.waiting(&step.who, T0 + Duration::from_secs(1));
            asked += 1;
            match knows(&step.who) {
                Some(near) => {
                    let near: Vec<_> = near.iter().map(|w| Near { who: *w, at: None }).collect();
                    search.answered(&step.who, &near);
                }
                None => search.failed(&step.who),
            }
        }
        assert!(search.is_over());
        asked
    }

    fn nearest<'a>(of: impl Iterator<Item = &'a Hashname>, to: &Hashname) -> Vec<Hashname> {
        let mut all: Vec<_> = of.copied().collect();
        all.sort_by_key(|w| distance(to, w));
        all.truncate(NEAR);
        all
    }

    #[test]
    fn s10_a_search_finds_what_brute_force_finds() {
        let all = names(500, 1);
        for to in names(20, 2) {
            let mut search = Search::new(T0, to, Aim::Upkeep, &all[..4]);
            // Everybody knows every eighth hashname and its own neighbourhood.
            let asked = run(&mut search, |who| {
                let at = all.iter().position(|w| w == who).unwrap();
                let mut known: Vec<_> = all.iter().skip(at % 8).step_by(8).copied().collect();
                known.extend(nearest(all.iter(), who));
                Some(nearest(known.iter(), &to))
            });
            let found = search.found();
            let best = nearest(all.iter(), &to);
            let hit = found.iter().filter(|w| best.contains(w)).count();
            assert!(hit >= NEAR - 1, "{hit} of {NEAR}");
            assert!(asked <= 60, "{asked} asked");
        }
    }

    #[test]
    fn s21_who_answers_with_lies_misleads_one_way_only() {
        let (all, to) = (names(200, 3), names(1, 4)[0]);
        let sorted = nearest(all.iter(), &to);
        let liar = all[0];
        // The liar names a crowd that is nearer than anybody and never answers.
        let crowd: Vec<_> = (0..200u8)
            .map(|n| {
                let mut bytes = *to.as_bytes();
                bytes[31] ^= n.max(1);
                Hashname::new(bytes)
            })
            .collect();
        let mut search = Search::new(T0, to, Aim::Upkeep, &[liar, all[1]]);
        run(&mut search, |who| match who {
            w if *w == liar => Some(crowd[..NEAR].to_vec()),
            w if crowd.contains(w) => Some(crowd.clone()),
            w => {
                let at = all.iter().position(|a| a == w).unwrap();
                let known: Vec<_> = all.iter().skip((at + 1) % 4).step_by(4).copied().collect();
                let near = nearest(known.iter(), &to);
                Some(near.into_iter().chain(nearest(all.iter(), w)).collect())
            }
        });
        let honest = search.steps.iter().filter(|s| s.state == State::Answered && s.way == 1);
        let found: Vec<_> = honest.map(|s| s.who).collect();
        assert!(sorted[..4].iter().all(|w| found.contains(w)), "the other way got there");
    }

    #[test]
    fn s21_a_search_asks_few_at_a_time_and_remembers_few() {
        let (all, to) = (names(2_000, 5), names(1, 6)[0]);
        let mut search = Search::new(T0, to, Aim::Upkeep, &all[..16]);
        let mut waiting = Vec::new();
        while let Some(step) = search.next() {
            search.waiting(&step.who, T0 + Duration::from_secs(1));
            waiting.push(step.who);
        }
        assert_eq!(waiting.len(), DISJOINT * PARALLEL);
        for (i, who) in waiting.into_iter().enumerate() {
            let near: Vec<_> =
                all[16 + i * 300..][..300].iter().map(|w| Near { who: *w, at: None }).collect();
            search.answered(&who, &near);
        }
        assert!(search.steps.len() <= DISJOINT * FRONTIER);
        search.expire(T0 + Duration::from_secs(2));
        assert!(search.next().is_some());
    }

    #[test]
    fn s21_an_answer_nobody_asked_for_is_not_believed() {
        let (all, to) = (names(10, 7), names(1, 8)[0]);
        let mut search = Search::new(T0, to, Aim::Line { known: false }, &all[..1]);
        assert!(!search.answered(&all[5], &[Near { who: to, at: None }]));
        assert!(!search.answered(&all[0], &[Near { who: to, at: None }]), "not asked yet");
        search.waiting(&all[0], T0 + Duration::from_secs(1));
        assert!(search.answered(&all[0], &[Near { who: to, at: None }]));
        assert_eq!(search.vias, [all[0]]);
    }
}
