//! What a simulated partition knows of one hashname: as the switch's own contacts and lines, with
//! numbers in place of keys. The times are the switch's.

use core::time::Duration;
use std::net::SocketAddr;

use trunkline_proto::base::{Hashname, Instant, LineId};
use trunkline_proto::switch::{Bridge, Path};

/// Keys are renewed if needed, retired if not, and dead at these ages.
pub(super) const RENEW: Duration = Duration::from_secs(120);
pub(super) const RETIRE: Duration = Duration::from_secs(150);
pub(super) const DEAD: Duration = Duration::from_secs(180);
/// Silence after which paths are tried, and after which new keys are.
pub(super) const DOUBT: Duration = Duration::from_millis(600);
pub(super) const SUSPECT: Duration = Duration::from_secs(3);
/// An open is repeated for so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// A key, or a way, may take so long to come.
pub(super) const RESOLVING: Duration = Duration::from_secs(5);
/// Keys made by answering wait so long for their first packet.
const UNCONFIRMED: Duration = Duration::from_secs(25);
/// Addresses of each kind that are kept.
const ADDRESSES: usize = 4;
/// Paths of a line on trial.
const TRIALS: usize = 8;
/// How often each is tried, and after how many tries without an answer it counts as silent.
const TRIES: u32 = 4;
const SILENT: u32 = 3;

/// Keys of a line: the number of the open that made them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    pub(super) number: u64,
    pub(super) made: Instant,
}

impl Keys {
    fn alive(self, now: Instant) -> bool {
        now.since(self.made) < DEAD
    }
}

/// An open of ours under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) number: u64,
    began: Instant,
    attempts: u32,
    next: Instant,
}

impl Opening {
    pub(super) const fn new(now: Instant, number: u64) -> Self {
        Self { number, began: now, attempts: 0, next: now }
    }

    pub(super) fn hurry(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    pub(super) fn is_hopeless(&self, now: Instant) -> bool {
        now.since(self.began) >= PATIENCE
    }

    /// Whether it was sent no more than twice: a renewal has gone the line's own way only.
    pub(super) const fn is_new(&self) -> bool {
        self.attempts <= 2
    }

    pub(super) const fn is_repeated(&self) -> bool {
        self.attempts >= 2
    }

    /// Whether to send it now; the next time is further off.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        let wait = Duration::from_millis(300) * (1 << self.attempts.min(4));
        self.attempts += 1;
        self.next = now + wait.min(Duration::from_secs(4));
        true
    }
}

/// A path tried.
#[derive(Clone, Copy, Debug)]
struct Trial {
    path: Path,
    token: u64,
    tries: u32,
    last: Instant,
    next: Option<Instant>,
    proved: bool,
}

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) current: Option<Keys>,
    previous: Option<Keys>,
    pub(super) next: Option<Keys>,
    pub(super) path: Path,
    pub(super) heard: Instant,
    pub(super) used: Instant,
    pub(super) unanswered: Option<Instant>,
    /// The present silence: its paths are tried, others were asked for a way.
    pub(super) doubted: bool,
    pub(super) despaired: bool,
    pub(super) retired: bool,
    pub(super) renewal: Option<Opening>,
    trials: Vec<Trial>,
}

impl Line {
    pub(super) const fn new(now: Instant, path: Path) -> Self {
        Self {
            current: None,
            previous: None,
            next: None,
            path,
            heard: now,
            used: now,
            unanswered: None,
            doubted: false,
            despaired: false,
            retired: false,
            renewal: None,
            trials: Vec::new(),
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.current.is_some() && !self.retired
    }

    /// Uses keys from now on.
    pub(super) fn install(&mut self, keys: Keys) {
        self.previous = self.current.replace(keys).or(self.previous);
        self.retired = false;
        self.renewal = None;
    }

    /// Whether a packet under these keys is this line's. Ones that wait for their first packet are
    /// used from now on: then the second is true.
    pub(super) fn opens(&mut self, number: u64) -> (bool, bool) {
        if [self.current, self.previous].iter().flatten().any(|k| k.number == number) {
            return (true, false);
        }
        match self.next.take_if(|k| k.number == number) {
            Some(keys) => {
                self.install(keys);
                (true, true)
            }
            None => (false, false),
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        (self.heard, self.unanswered) = (now, None);
        (self.doubted, self.despaired) = (false, false);
    }

    /// Drops what time has ended; true if nothing is left.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        self.previous.take_if(|k| !k.alive(now));
        self.current.take_if(|k| !k.alive(now));
        self.next.take_if(|k| now.since(k.made) >= UNCONFIRMED);
        let keys = [self.current, self.previous, self.next];
        self.renewal.is_none() && keys.iter().flatten().next().is_none()
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        self.current.map_or(Duration::ZERO, |k| now.since(k.made))
    }

    pub(super) fn is_needed(&self, kept: bool) -> bool {
        kept || self.current.is_some_and(|k| self.used > k.made)
    }

    pub(super) fn consider(&mut self, now: Instant, path: Path, token: u64) {
        let fresh = Trial { path, token, tries: 0, last: now, next: Some(now), proved: false };
        if let Some(trial) = self.trials.iter_mut().find(|t| t.path == path) {
            if trial.next.is_none() && now.since(trial.last) >= Duration::from_secs(1) {
                *trial = fresh;
            }
            return;
        }
        if self.trials.len() >= TRIALS {
            self.trials.remove(0);
        }
        self.trials.push(fresh);
    }

    /// The next path to try now.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Path, u64)> {
        let trial = self.trials.iter_mut().find(|t| t.next.is_some_and(|n| n <= now))?;
        if trial.tries >= TRIES {
            trial.next = None;
            return self.due(now);
        }
        trial.next = Some(now + Duration::from_millis(150) * (1 << trial.tries));
        trial.tries += 1;
        trial.last = now;
        Some((trial.path, trial.token))
    }

    /// A try was answered; true if the line takes another path for it.
    pub(super) fn tried(&mut self, token: u64) -> bool {
        let Some(trial) = self.trials.iter_mut().find(|t| t.token == token) else { return false };
        (trial.next, trial.proved) = (None, true);
        let path = trial.path;
        let better = path != self.path && (rank(path) < rank(self.path) || self.is_silent());
        if better {
            self.path = path;
        }
        better
    }

    /// Whether the path in use does not answer tries.
    pub(super) fn is_silent(&self) -> bool {
        let silent = |t: &Trial| t.path == self.path && t.tries >= SILENT && !t.proved;
        self.trials.iter().any(silent)
    }

    pub(super) fn deadline(&self, kept: bool) -> Instant {
        let keys = self.current.map(|k| {
            let age = if self.retired {
                DEAD
            } else if self.is_needed(kept) {
                RENEW
            } else {
                RETIRE
            };
            k.made + age
        });
        let keys = keys.filter(|_| self.renewal.is_none());
        let renewal = self.renewal.map(|o| o.next);
        let next = self.next.map(|k| k.made + UNCONFIRMED);
        let previous = self.previous.map(|k| k.made + DEAD);
        let unanswered = self.unanswered.filter(|_| self.is_up() && self.renewal.is_none());
        let silence = unanswered.map(|s| s + if self.doubted { SUSPECT } else { DOUBT });
        let trials = self.trials.iter().filter_map(|t| t.next).min();
        let all = [keys, renewal, next, previous, silence, trials];
        all.into_iter().flatten().min().unwrap_or(self.heard + DEAD)
    }
}

/// Lower is better.
pub(super) const fn rank(path: Path) -> u8 {
    match path {
        Path::Direct(_) => 0,
        Path::Bridge(_) => 1,
        Path::Mesh => 2,
    }
}

/// A bridge to it over a relay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) relay: Hashname,
    pub(super) ours: LineId,
    pub(super) granted: Option<(Bridge, Instant)>,
}

/// One hashname.
#[derive(Debug, Default)]
pub(super) struct Contact {
    pub(super) papers: bool,
    /// What it said of itself.
    pub(super) meshes: bool,
    /// From the configuration; never forgotten.
    pub(super) fixed: Vec<SocketAddr>,
    /// Where it was heard.
    pub(super) addresses: Vec<SocketAddr>,
    /// Where others say it is.
    pub(super) seen: Vec<SocketAddr>,
    pub(super) ways: Vec<Way>,
    pub(super) kept_until: Option<Instant>,
    pub(super) wanted: bool,
    pub(super) sought: bool,
    /// Until when a key or a way is waited for.
    pub(super) waits_until: Option<Instant>,
    pub(super) opening: Option<Opening>,
    pub(super) line: Option<Line>,
    /// When it is looked at next; anything earlier on the agenda is out of date.
    pub(super) due: Option<Instant>,
}

impl Contact {
    pub(super) fn up(&self) -> Option<&Line> {
        self.line.as_ref().filter(|l| l.is_up())
    }

    pub(super) const fn is_kept(&self) -> bool {
        self.wanted || self.kept_until.is_some()
    }

    pub(super) fn is_idle(&self) -> bool {
        let stays = self.is_kept() || !self.fixed.is_empty();
        !stays && self.line.is_none() && self.opening.is_none()
    }

    pub(super) const fn is_worth_a_search(&self) -> bool {
        self.wanted || !self.fixed.is_empty()
    }

    /// Every path worth trying.
    pub(super) fn paths(&self, now: Instant) -> Vec<Path> {
        let mut at: Vec<SocketAddr> = Vec::new();
        for address in self.fixed.iter().chain(&self.addresses).chain(&self.seen) {
            if !at.contains(address) {
                at.push(*address);
            }
        }
        let granted = self.ways.iter().filter_map(|w| w.granted).filter(|(_, end)| *end > now);
        let bridges = granted.map(|(bridge, _)| Path::Bridge(bridge));
        at.into_iter().map(Path::Direct).chain(bridges).collect()
    }

    pub(super) fn hurry(&mut self, now: Instant) {
        let renewal = self.line.as_mut().and_then(|l| l.renewal.as_mut());
        for opening in self.opening.as_mut().into_iter().chain(renewal) {
            opening.hurry(now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let line = self.line.as_ref().map(|l| l.deadline(self.is_kept()));
        let opening = self.opening.map(|o| o.next);
        [line, opening, self.waits_until, self.kept_until].into_iter().flatten().min()
    }
}

/// Keeps an address, newest first, a few of them.
pub(super) fn remember(held: &mut Vec<SocketAddr>, at: SocketAddr) {
    held.retain(|a| *a != at);
    held.insert(0, at);
    held.truncate(ADDRESSES);
}
