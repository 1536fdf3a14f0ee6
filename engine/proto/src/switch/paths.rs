//! The paths of a line beside the one in use: tried, proved, and chosen (PROTOCOL §4.8).
//!
//! A path is proved by a try that was answered: that the other end is heard from somewhere does not
//! mean that it can be reached there, and only who holds the line's keys can answer. A better path
//! that is proved is taken at once; an equal or worse one only when the one in use has fallen
//! silent, which is found by trying that one too. So both ends may choose for themselves and never
//! chase each other.

use core::time::Duration;
use std::net::SocketAddr;

use crate::base::{Instant, Limits, LineId};
use crate::wire::{bridged, package, sealed};

/// Largest datagram sent: fits every path that carries IPv6, tunnels included.
pub const MAX_DATAGRAM: usize = 1_232;

/// Whether a datagram may be cut on the way: an open that has no shorter form, carried or not. What
/// is sealed has the size its path was proved to take, and must not be.
#[must_use]
pub fn may_be_cut(datagram: &[u8]) -> bool {
    let carried = matches!(bridged::Header::parse(datagram), Ok(Some(_)));
    let packet = datagram.get(if carried { bridged::HEADER } else { 0 }..).unwrap_or_default();
    packet.first_chunk().is_some_and(|length| *length != [0, 0])
}

/// Most paths of one line on trial. × 96 bytes, for lines that have any.
const MOST: usize = 8;
/// How often a path is tried before it counts as closed.
const TRIES: u32 = 4;
/// Unanswered tries after which the path in use counts as silent.
const SILENT: u32 = 3;
/// Wait before the second try; twice that before the others.
const SPACING: Duration = Duration::from_millis(150);
/// How long the last of these may take to be answered.
const PATIENCE: Duration = Duration::from_millis(150);
/// A path that was tried is not tried again before this.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a proof is worth something.
const FRESH: Duration = Duration::from_secs(10);
/// When better paths are looked for, counted from the moment the line left the best kind.
const ROUNDS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// A path through a relay that carries sealed packets by an id of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bridge {
    /// Where the relay is.
    pub relay: SocketAddr,
    /// The relay's name for this way.
    pub line: LineId,
}

/// Where a line's packets go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Path {
    /// As datagrams to an address.
    Direct(SocketAddr),
    /// As datagrams to a relay that passes them on.
    Bridge(Bridge),
    /// As packages, wherever the mesh leads.
    Mesh,
}

impl Path {
    /// Most bytes of a packet inside a line that takes this path.
    #[must_use]
    pub const fn max_packet(self, limits: &Limits) -> usize {
        let datagram = MAX_DATAGRAM - sealed::HEADER - sealed::TAG;
        match self {
            Self::Direct(_) => datagram,
            Self::Bridge(_) => datagram - bridged::HEADER,
            Self::Mesh => limits.frame - package::SEALED_HEADER - sealed::TAG,
        }
    }

    /// Lower is better.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Direct(_) => 0,
            Self::Bridge(_) => 1,
            Self::Mesh => 2,
        }
    }
}

/// What became of a path that was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tried {
    /// No answer yet.
    Waiting,
    /// It answered after this long.
    Answers(Duration),
    /// It never answered.
    Silent,
}

/// One path on trial, for status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathReport {
    /// Which.
    pub path: Path,
    /// What became of it.
    pub tried: Tried,
    /// Since it was last tried.
    pub ago: Duration,
}

#[derive(Debug)]
struct Trial {
    path: Path,
    token: u64,
    tries: u32,
    last: Instant,
    /// When to try again; never if the trial is over.
    next: Option<Instant>,
    proved: Option<(Instant, Duration)>,
}

impl Trial {
    fn is_proved(&self, now: Instant) -> bool {
        self.proved.is_some_and(|(at, _)| now.since(at) < FRESH)
    }

    fn is_silent(&self, now: Instant) -> bool {
        let waited = now.since(self.last);
        let long = self.tries > SILENT || (self.tries == SILENT && waited >= PATIENCE);
        self.proved.is_none() && long && waited < FRESH
    }
}

/// The paths of one line on trial.
#[derive(Debug, Default)]
pub(super) struct Paths {
    trials: Vec<Trial>,
    round: usize,
    next_round: Option<Instant>,
}

impl Paths {
    /// Tries a path, unless that was done of late. `token` is what its answer must say.
    pub(super) fn consider(&mut self, now: Instant, current: Path, path: Path, token: u64) {
        // The path in use leads to the peer or did: asking there once more is soon and cheap.
        let again = if path == current { SPACING } else { AGAIN };
        let fresh = Trial { path, token, tries: 0, last: now, next: Some(now), proved: None };
        if let Some(trial) = self.trials.iter_mut().find(|t| t.path == path) {
            if trial.next.is_none() && now.since(trial.last) >= again {
                *trial = fresh;
            }
            return;
        }
        if self.trials.len() >= MOST {
            // The oldest that is of no use; who offers many addresses loses its own oldest first.
            let idle = self.trials.iter().enumerate().filter(|(_, t)| !t.is_proved(now));
            let Some(at) = idle.min_by_key(|(_, t)| t.last).map(|(at, _)| at) else { return };
            self.trials.remove(at);
        }
        // Most lines have one path: room for more is memory of lines that rest.
        self.trials.reserve_exact(1);
        self.trials.push(fresh);
    }

    /// A path has another address, and is the same.
    pub(super) fn rename(&mut self, before: Path, after: Path) {
        self.trials.retain(|t| t.path != after);
        for trial in self.trials.iter_mut().filter(|t| t.path == before) {
            trial.path = after;
        }
    }

    /// The next path to try now, and the token to try it with.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Path, u64)> {
        let trial = self.trials.iter_mut().find(|t| t.next.is_some_and(|n| n <= now))?;
        if trial.tries >= TRIES {
            trial.next = None;
            return self.due(now);
        }
        trial.next = Some(now + SPACING * (1 << trial.tries.min(1)));
        trial.tries += 1;
        trial.last = now;
        Some((trial.path, trial.token))
    }

    /// A try was answered. False if it was none of these.
    pub(super) fn answered(&mut self, now: Instant, token: u64) -> bool {
        let Some(trial) = self.trials.iter_mut().find(|t| t.token == token) else { return false };
        trial.next = None;
        trial.proved = Some((now, now.since(trial.last)));
        true
    }

    /// Whether a path answered of late.
    pub(super) fn is_proved(&self, now: Instant, path: Path) -> bool {
        self.trials.iter().any(|t| t.path == path && t.is_proved(now))
    }

    /// Whether a path was tried of late and did not answer.
    pub(super) fn is_silent(&self, now: Instant, path: Path) -> bool {
        self.trials.iter().any(|t| t.path == path && t.is_silent(now))
    }

    /// The path to change to, if there is a better one than `current` or that is silent.
    pub(super) fn choose(&self, now: Instant, current: Path) -> Option<Path> {
        let silent = self.is_silent(now, current);
        let others = self.trials.iter().filter(|t| t.path != current && t.is_proved(now));
        let best = others.min_by_key(|t| (t.path.rank(), t.proved.map(|(_, rtt)| rtt)))?;
        (silent || best.path.rank() < current.rank()).then_some(best.path)
    }

    /// Looks for better paths from now on, or no more.
    pub(super) fn improve(&mut self, now: Option<Instant>) {
        self.round = 0;
        self.next_round = now;
    }

    /// Whether it is time to look for better paths again.
    pub(super) fn take_round(&mut self, now: Instant) -> bool {
        if self.next_round.is_none_or(|at| at > now) {
            return false;
        }
        self.round = (self.round + 1).min(ROUNDS.len() - 1);
        let wait = ROUNDS.get(self.round).copied().unwrap_or(FRESH);
        self.next_round = Some(now + wait);
        true
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.trials.iter().filter_map(|t| t.next).chain(self.next_round).min()
    }

    /// Every path on trial, for status.
    pub(super) fn report(&self, now: Instant) -> impl Iterator<Item = PathReport> + '_ {
        self.trials.iter().map(move |t| PathReport {
            path: t.path,
            ago: now.since(t.last),
            tried: match (t.proved, t.next) {
                (Some((_, rtt)), _) => Tried::Answers(rtt),
                (None, Some(_)) => Tried::Waiting,
                (None, None) => Tried::Silent,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn s22_opens_may_be_cut_and_what_is_sealed_may_not() {
        let open = [&b"\0\x0a{\"open\":1}"[..], &[1; 1_400]].concat();
        let (priority, line) = (crate::base::Priority::DEFAULT, LineId([0xab; 16]));
        let sealed = sealed::Header { priority, line, counter: 7 }.emit();
        let carried = |what: &[u8]| [&bridged::Header { priority, line }.emit(), what].concat();
        assert!(may_be_cut(&open) && may_be_cut(&carried(&open)));
        assert!(!may_be_cut(&sealed) && !may_be_cut(&carried(&sealed)));
        assert!(!may_be_cut(&[]) && !may_be_cut(&bridged::NOTHING));
    }

    fn direct(n: u8) -> Path {
        Path::Direct(([192, 0, 2, n], 42_424).into())
    }

    /// Lets time pass until `until`; paths in `open` answer after 20 ms.
    fn pass(p: &mut Paths, from: Instant, until: Duration, open: &[Path]) -> Vec<Path> {
        let (mut sent, mut answers) = (Vec::new(), Vec::new());
        for ms in 0..u32::try_from(until.as_millis()).unwrap() {
            let now = from + MS * ms;
            while let Some((path, token)) = p.due(now) {
                sent.push(path);
                if open.contains(&path) {
                    answers.push((now + 20 * MS, token));
                }
            }
            answers.retain(|(at, token)| *at > now || !p.answered(now, *token));
        }
        sent
    }

    #[test]
    fn s22_a_better_path_is_taken_once_it_answers_and_not_before() {
        let (mut p, t0) = (Paths::default(), Instant::from_micros(1));
        p.consider(t0, Path::Mesh, direct(1), 1);
        assert_eq!(p.choose(t0, Path::Mesh), None);
        pass(&mut p, t0, 100 * MS, &[direct(1)]);
        assert_eq!(p.choose(t0 + 100 * MS, Path::Mesh), Some(direct(1)));
        assert_eq!(p.choose(t0 + 100 * MS, direct(1)), None);
    }

    #[test]
    fn s22_an_equal_path_is_taken_only_when_the_one_in_use_is_silent() {
        let t0 = Instant::from_micros(1);
        for (open, expected) in
            [(vec![direct(1), direct(2)], None), (vec![direct(2)], Some(direct(2)))]
        {
            let mut p = Paths::default();
            p.consider(t0, Path::Mesh, direct(1), 1);
            p.consider(t0, Path::Mesh, direct(2), 2);
            pass(&mut p, t0, 600 * MS, &open);
            assert_eq!(p.choose(t0 + 600 * MS, direct(1)), expected);
        }
    }

    #[test]
    fn s22_a_silent_path_falls_back_to_a_worse_one_that_answers() {
        let (mut p, t0) = (Paths::default(), Instant::from_micros(1));
        p.consider(t0, Path::Mesh, direct(1), 1);
        p.consider(t0, direct(1), Path::Mesh, 2);
        pass(&mut p, t0, 100 * MS, &[Path::Mesh]);
        assert_eq!(p.choose(t0 + 100 * MS, direct(1)), None, "too soon to say");
        pass(&mut p, t0 + 100 * MS, 500 * MS, &[Path::Mesh]);
        assert_eq!(p.choose(t0 + 600 * MS, direct(1)), Some(Path::Mesh));
    }

    #[test]
    fn s22_a_path_that_never_answers_is_tried_four_times() {
        let (mut p, t0) = (Paths::default(), Instant::from_micros(1));
        p.consider(t0, Path::Mesh, direct(1), 1);
        assert_eq!(pass(&mut p, t0, 60_000 * MS, &[]).len(), 4);
        assert_eq!(p.deadline(), None);
        let report: Vec<_> = p.report(t0 + 60_000 * MS).map(|r| r.tried).collect();
        assert_eq!(report, [Tried::Silent]);
    }

    #[test]
    fn s22_who_offers_a_thousand_addresses_gets_eight_tried() {
        let (mut p, t0) = (Paths::default(), Instant::from_micros(1));
        for n in 0..1_000u16 {
            p.consider(t0, Path::Mesh, Path::Direct(([192, 0, 2, 1], n).into()), n.into());
        }
        assert_eq!(p.trials.len(), MOST);
    }

    #[test]
    fn s22_better_paths_are_looked_for_less_and_less() {
        let (mut p, t0) = (Paths::default(), Instant::from_micros(1));
        assert!(!p.take_round(t0));
        p.improve(Some(t0));
        let rounds = (0..300u32).filter(|s| p.take_round(t0 + 1_000 * MS * *s)).count();
        assert!((7..=10).contains(&rounds), "{rounds}");
        p.improve(None);
        assert!(!p.take_round(t0 + 400_000 * MS));
    }
}
