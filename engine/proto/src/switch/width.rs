//! How large datagrams may be on a direct path: found by trying, since no answer from the way can
//! be believed (PROTOCOL §4.8; RFC 8899 and RFC 9000 §14 do the same).
//!
//! ```text
//!            ┌──────────── answered ───────────► Proved ── large ones went, a while ago ──┐
//!   Trying ──┤  ▲  ▲                             │   ▲                                   ▼
//!      ▲     └──┘  └─ time to try larger ones ───┘   └───────── answered ─────────── Confirming
//!      │  not answered: the next smaller                                                   │
//!      └────────────────────────── not answered, or large ones are lost ◄──────────────────┘
//!   any ── silence, or large ones are lost again ──► Resting ── a minute ──► Trying
//! ```
//!
//! A line begins with datagrams that fit every path. When it carries streams, larger tries are sent,
//! padded to the size in question; an answer proves the size. Nothing proves it for ever: the way
//! may change to one that swallows the large and lets the small ones through, so that the line is
//! never silent. Streams notice what they lose, and a size in use is tried again now and then.
//! Sockets see to it that no datagram is cut on the way, or a size would be proved by pieces.
//!
//! What Ethernet usually takes is tried first, since most paths take that and no more. Where it
//! passes, jumbo frames are tried next: between machines of one data centre, or on one machine, a
//! datagram that is six times as large costs hardly more.

use core::time::Duration;
use std::net::SocketAddr;

use super::paths::MAX_DATAGRAM;
use crate::base::Instant;

/// Sizes to try, the largest first, as the payload of UDP: what jumbo frames take (9,000 bytes, or
/// the 8,896 of clouds, or less behind a tunnel), what Ethernet takes, and what is left of that
/// behind the usual tunnels.
const SIZES_V4: [usize; 3] = [8_800, 1_472, 1_400];
/// The same with the header of IPv6.
const SIZES_V6: [usize; 3] = [8_800, 1_452, 1_380];
/// The size that is tried first, Ethernet's.
const FIRST: usize = 1;
/// How often a size is tried.
const TRIES: u32 = 3;
/// From one try to the next.
const SPACING: Duration = Duration::from_millis(400);
/// After a silence, how long only small datagrams are sent.
const REST: Duration = Duration::from_secs(60);
/// A size that is made use of is tried again after this long.
const CONFIRM: Duration = Duration::from_secs(10);
/// Sizes that did not pass are tried again after this long (RFC 8899, PMTU_RAISE_TIMER).
const RAISE: Duration = Duration::from_secs(600);

/// The size of datagrams on one direct path.
#[derive(Debug, Default)]
pub(super) struct Width {
    to: Option<SocketAddr>,
    state: State,
    /// When streams last lost what was large, or a size in use was taken back.
    suspected: Option<Instant>,
}

/// Where the search stands. `index` is among the sizes of the address's family.
#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nothing is known and nothing is tried.
    #[default]
    Idle,
    /// Small datagrams only, until then.
    Resting(Instant),
    /// A size is tried. Meanwhile a smaller one, proved before, may be in use.
    Trying { index: usize, held: Option<usize>, trial: Trial },
    /// This size passed then, or none did. What is larger did not and is tried again at `raise`.
    Proved { index: Option<usize>, since: Instant, raise: Instant, used: bool },
    /// This size passed and is tried again.
    Confirming { index: usize, raise: Instant, trial: Trial },
}

impl State {
    /// The search from its beginning.
    const fn anew(now: Instant) -> Self {
        Self::Trying { index: FIRST, held: None, trial: Trial::at(now) }
    }
}

/// One size on trial: how often it was sent, what its answer says, and when it is sent again.
#[derive(Clone, Copy, Debug)]
struct Trial {
    tries: u32,
    token: u64,
    next: Instant,
}

impl Trial {
    const fn at(next: Instant) -> Self {
        Self { tries: 0, token: 0, next }
    }

    /// The token to send with, if it is time to. `token` is for the first one.
    fn send(&mut self, now: Instant, token: u64) -> Option<u64> {
        if self.next > now {
            return None;
        }
        if self.tries == 0 {
            self.token = token;
        }
        self.tries += 1;
        self.next = now + SPACING;
        Some(self.token)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.tries >= TRIES && self.next <= now
    }

    const fn is_answered_by(&self, token: u64) -> bool {
        self.tries > 0 && self.token == token
    }
}

/// What is to be done now about sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Send a try of so many bytes with this token.
    Try(SocketAddr, usize, u64),
    /// The size in use does not pass any more: smaller datagrams from now on.
    Narrowed,
}

const fn sizes(to: &SocketAddr) -> [usize; 3] {
    if to.is_ipv4() { SIZES_V4 } else { SIZES_V6 }
}

impl Width {
    /// The most bytes of a datagram to `to`.
    pub(super) fn of(&self, to: SocketAddr) -> usize {
        let index = match self.state {
            _ if self.to != Some(to) => None,
            State::Idle | State::Resting(_) => None,
            State::Trying { held, .. } => held,
            State::Proved { index, .. } => index,
            State::Confirming { index, .. } => Some(index),
        };
        index.and_then(|i| sizes(&to).get(i).copied()).unwrap_or(MAX_DATAGRAM)
    }

    /// The line carries streams and goes to `to`: its size is worth knowing.
    pub(super) fn widen(&mut self, now: Instant, to: SocketAddr) {
        if self.to != Some(to) {
            let state = State::anew(now);
            *self = Self { to: Some(to), state, suspected: None };
        }
    }

    /// A datagram of so many bytes leaves. True if that makes the size due to be confirmed.
    pub(super) fn sent(&mut self, bytes: usize) -> bool {
        match &mut self.state {
            State::Proved { used, .. } if bytes > MAX_DATAGRAM => !core::mem::replace(used, true),
            _ => false,
        }
    }

    /// The line fell silent: small datagrams for a while. True if they were large.
    pub(super) fn narrow(&mut self, now: Instant) -> bool {
        let Some(to) = self.to else { return false };
        let large = self.of(to) > MAX_DATAGRAM;
        self.state = State::Resting(now + REST);
        large
    }

    /// Streams lose what is large and nothing that is small: small datagrams at once, and the sizes
    /// are tried anew. If that was so a moment ago too, single tries prove nothing here, and it
    /// rests. True if datagrams were large.
    pub(super) fn suspect(&mut self, now: Instant) -> bool {
        if self.to.is_none_or(|to| self.of(to) == MAX_DATAGRAM) {
            return false;
        }
        let again = self.suspected.replace(now).is_some_and(|at| now.since(at) < REST);
        self.state = if again { State::Resting(now + REST) } else { State::anew(now) };
        true
    }

    /// Whether what was large got lost in the last ten minutes.
    fn is_suspect(&self, now: Instant) -> bool {
        self.suspected.is_some_and(|at| now.since(at) < RAISE)
    }

    /// What time demands. `token` is for a new try.
    pub(super) fn due(&mut self, now: Instant, token: u64) -> Due {
        let Some(to) = self.to else { return Due::Nothing };
        self.begin(now, &to);
        let (index, trial) = match &mut self.state {
            State::Trying { index, held, trial } => {
                if trial.is_over(now) {
                    (*index, *trial) = (*index + 1, Trial::at(now));
                }
                if sizes(&to).get(*index).is_none() || held.is_some_and(|held| *index >= held) {
                    let (index, raise) = (*held, now + RAISE);
                    self.state = State::Proved { index, since: now, raise, used: false };
                    return Due::Nothing;
                }
                (*index, trial)
            }
            State::Confirming { index, trial, .. } if trial.is_over(now) => {
                let (index, trial) = (*index + 1, Trial::at(now));
                self.state = State::Trying { index, held: None, trial };
                // Not tried again as soon as the next smaller passes.
                self.suspected = Some(now);
                return Due::Narrowed;
            }
            State::Confirming { index, trial, .. } => (*index, trial),
            State::Idle | State::Resting(_) | State::Proved { .. } => return Due::Nothing,
        };
        match (trial.send(now, token), sizes(&to).get(index)) {
            (Some(token), Some(size)) => Due::Try(to, *size, token),
            _ => Due::Nothing,
        }
    }

    /// Leaves a state whose time is up.
    fn begin(&mut self, now: Instant, to: &SocketAddr) {
        if self.deadline(*to).is_none_or(|at| at > now) {
            return;
        }
        self.state = match self.state {
            State::Resting(_) => State::anew(now),
            State::Proved { index: Some(index), raise, .. } if index == 0 || raise > now => {
                State::Confirming { index, raise, trial: Trial::at(now) }
            }
            State::Proved { index: held, .. } => {
                State::Trying { index: 0, held, trial: Trial::at(now) }
            }
            other => other,
        };
    }

    /// A try was answered: whether the size is another now. `None` if it was none of these.
    pub(super) fn answered(&mut self, now: Instant, token: u64) -> Option<bool> {
        match self.state {
            State::Trying { index, held, trial } if trial.is_answered_by(token) => {
                // Larger ones have not been tried yet, unless they were and got lost later.
                let more = index == FIRST && held.is_none() && !self.is_suspect(now);
                let (index, raise) = (Some(index), if more { now } else { now + RAISE });
                self.state = State::Proved { index, since: now, raise, used: false };
                Some(true)
            }
            State::Confirming { index, raise, trial } if trial.is_answered_by(token) => {
                let index = Some(index);
                self.state = State::Proved { index, since: now, raise, used: false };
                Some(false)
            }
            _ => None,
        }
    }

    /// When something is due at `to`.
    pub(super) fn deadline(&self, to: SocketAddr) -> Option<Instant> {
        let at = match self.state {
            State::Idle => None,
            State::Resting(until) => Some(until),
            State::Trying { trial, .. } | State::Confirming { trial, .. } => Some(trial.next),
            State::Proved { index, since, raise, used } => {
                let confirm = (used && index.is_some()).then_some(since + CONFIRM);
                let raise = (index != Some(0)).then_some(raise);
                confirm.into_iter().chain(raise).min()
            }
        };
        at.filter(|_| self.to == Some(to))
    }
}

#[cfg(test)]
mod tests;
