//! A line: the sessions between this node and one peer, and the path they take (PROTOCOL §4.3).
//!
//! ```text
//!   our open answered ────────────────► current ──► previous ──► dropped when dead
//!   their open answered ──► next ──first packet──►─┘
//! ```
//!
//! Three sets of keys may be alive at once, so that no packet is lost at a change. New keys change
//! nothing for what is inside, a new boot epoch of the peer ends it. The line lives as long as the
//! peer does and somebody uses it: keys that nobody needed are retired in place of being renewed,
//! which means that they still open packets but seal no more, and the line ends when they die.
//!
//! When both ends open at the same time both handshakes succeed. The session opened by the lower
//! hashname is the one to use, and both ends see it that way.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;

use super::half_opens::Ticket;
use super::opening::Opening;
use super::paths::{MAX_DATAGRAM, Path, Paths};
use super::width::Width;
use crate::base::{Address, BootEpoch, DropReason, Frame, Instant, Limits, LineId, Priority};
use crate::crypto::{KeysState, Session};
use crate::wire::inner::Inner;
use crate::wire::{bridged, package, sealed};

/// Two sessions made within this time were made at once.
const AT_ONCE: Duration = Duration::from_secs(5);
/// An answered open that carries no packet within this time is forgotten. Longer than an opener
/// repeats itself, so that a repetition always finds its answer.
pub(super) const UNCONFIRMED: Duration = Duration::from_secs(25);
/// Sent this long ago and nothing heard since: the path is tried, and others with it.
const DOUBT: Duration = Duration::from_millis(600);
/// Sent this long ago and nothing heard since: something is wrong with the line.
const SUSPECT: Duration = Duration::from_secs(3);
/// What expects an answer and got none by itself is answered with an empty packet after this long,
/// well before the other end grows suspicious.
const OWED: Duration = Duration::from_secs(1);

/// One session with the names both ends gave it.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) session: Session,
    /// Ours: the generation our line id carries.
    pub(super) generation: u32,
    /// Theirs.
    pub(super) peer_line: LineId,
    pub(super) epoch: BootEpoch,
    pub(super) made: Instant,
    /// Whether the lower hashname opened it.
    pub(super) by_lower: bool,
    /// The highest counter received under it.
    pub(super) highest: Option<u64>,
}

/// Keys made by answering an open; used once a packet came under them.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) keys: Keys,
    /// The open that was answered, and the answer, for when it is repeated.
    pub(super) open: (BootEpoch, u64),
    pub(super) answer: Bytes,
    /// Its place among the half-open, if the line has no other keys.
    pub(super) ticket: Option<Ticket>,
}

/// The sessions and the path of a line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) previous: Option<Keys>,
    pub(super) current: Option<Keys>,
    pub(super) next: Option<Next>,
    pub(super) renewal: Option<Box<Opening>>,
    pub(super) path: Path,
    /// The others.
    pub(super) paths: Paths,
    /// The path is an address from which the peer was heard and to which nothing was proved yet:
    /// how many bytes may go there, and what waits until more may.
    pub(super) unproved: Option<Unproved>,
    /// How large its datagrams may be.
    pub(super) width: Width,
    /// What was done about the present silence.
    doubt: Doubt,
    /// Which run of the peer the line is with. Outlives the keys: all of them may have died before
    /// the peer, started again, answers.
    epoch: Option<BootEpoch>,
    pub(super) heard: Instant,
    /// The first time something was sent that expects an answer, after the last time something was
    /// heard.
    pub(super) unanswered: Option<Instant>,
    /// Something was received that expects an answer: until when one must have left.
    owed: Option<Instant>,
    /// The last time the line carried anything but its own upkeep.
    used: Instant,
    /// The current keys are not used for sending any more.
    retired: bool,
}

/// A path that an authentic packet came by and on which nothing was answered yet. Whoever sends may
/// claim any address: it gets no more than it brought, until it answers a try.
#[derive(Debug, Default)]
pub(super) struct Unproved {
    pub(super) credit: usize,
    pub(super) held: VecDeque<(Priority, Frame)>,
}

/// Packets held for a path that is not proved yet: ten of the largest are what streams begin with.
pub(super) const HELD: usize = 64;

/// What was done about a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    None,
    /// Paths are tried.
    Tried,
    /// Others were asked for a way.
    Asked,
}

/// What an authentic packet says of the line's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// The line takes the packet's path now.
    pub(super) moved: bool,
    /// It does not, and the packet is the newest: the peer may be somewhere else.
    pub(super) elsewhere: bool,
}

/// A decrypted packet and whether it changed which keys are current.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Same,
    /// The keys are new; true if the peer's boot epoch is.
    Promoted {
        restarted: bool,
    },
}

impl Line {
    pub(super) fn new(now: Instant, path: Path) -> Self {
        Self {
            previous: None,
            current: None,
            next: None,
            renewal: None,
            path,
            paths: Paths::default(),
            unproved: None,
            width: Width::default(),
            doubt: Doubt::None,
            epoch: None,
            heard: now,
            unanswered: None,
            owed: None,
            used: now,
            retired: false,
        }
    }

    /// Whether packets can be sent.
    pub(super) const fn is_up(&self) -> bool {
        self.current.is_some() && !self.retired
    }

    /// Whether there are keys that packets came or may come under.
    pub(super) const fn has_keys(&self) -> bool {
        self.current.is_some() || self.previous.is_some()
    }

    /// Keys of our own open. Used at once, unless the peer's open of the same moment goes first.
    pub(super) fn opened(&mut self, keys: Keys) -> Turn {
        self.install(keys)
    }

    fn install(&mut self, keys: Keys) -> Turn {
        let yields = self.current.as_ref().is_some_and(|current| {
            let apart = keys.made.since(current.made).max(current.made.since(keys.made));
            apart < AT_ONCE && current.epoch == keys.epoch && current.by_lower && !keys.by_lower
        });
        if yields {
            self.previous = Some(keys);
            return Turn::Same;
        }
        let restarted = self.epoch.replace(keys.epoch).is_some_and(|e| e != keys.epoch);
        self.previous = self.current.replace(keys).or(self.previous.take());
        self.retired = false;
        Turn::Promoted { restarted }
    }

    /// Decrypts in place with the keys named by `generation`.
    pub(super) fn unseal<'a>(
        &mut self,
        generation: u32,
        counter: u64,
        ad: &[u8],
        bytes: &'a mut [u8],
    ) -> Result<(&'a mut [u8], Turn), DropReason> {
        let known = [self.current.as_mut(), self.previous.as_mut()];
        for keys in known.into_iter().flatten() {
            if keys.generation == generation {
                return Ok((keys.session.open_in_place(counter, ad, bytes)?, Turn::Same));
            }
        }
        let next = self.next.as_mut().filter(|n| n.keys.generation == generation);
        let plain =
            next.ok_or(DropReason::StaleKeys)?.keys.session.open_in_place(counter, ad, bytes)?;
        let turn = match self.next.take() {
            Some(next) => self.install(next.keys),
            None => Turn::Same,
        };
        Ok((plain, turn))
    }

    /// Something authentic arrived over `path`. True if the path changed by it.
    pub(super) fn heard(&mut self, now: Instant, path: Path) -> bool {
        self.heard = now;
        self.unanswered = None;
        self.doubt = Doubt::None;
        let moved = core::mem::replace(&mut self.path, path) != path;
        if moved {
            self.paths.improve((path.rank() > 0).then_some(now));
        }
        moved
    }

    /// Most bytes of a datagram, if the path it takes is a direct one.
    pub(super) fn datagram(&self) -> Option<usize> {
        match self.path {
            Path::Direct(to) => Some(self.width.of(to)),
            Path::Bridge(_) | Path::Mesh => None,
        }
    }

    /// Most bytes of a packet inside the line, on the path it takes.
    pub(super) fn max_packet(&self, limits: &Limits) -> usize {
        let more = self.datagram().map_or(0, |most| most - MAX_DATAGRAM);
        self.path.max_packet(limits) + more
    }

    /// Whether nothing has been heard for long enough to try the path and others. Once for each
    /// silence.
    pub(super) fn take_doubt(&mut self, now: Instant) -> bool {
        let silent = self.unanswered.is_some_and(|since| now.since(since) >= DOUBT);
        let doubt = silent && self.is_up() && self.doubt == Doubt::None;
        if doubt {
            self.doubt = Doubt::Tried;
        }
        doubt
    }

    /// Whether the path in use did not answer tries either, so that others are asked for a way. A
    /// peer that is only slow to answer costs a try and nobody else anything. Once for each
    /// silence.
    pub(super) fn take_despair(&mut self, now: Instant) -> bool {
        let despair = self.doubt == Doubt::Tried && self.paths.is_silent(now, self.path);
        if despair {
            self.doubt = Doubt::Asked;
        }
        despair
    }

    /// A packet was authentic. It moves the line to the path it took only if it is the newest so
    /// far, so that neither a late nor a repeated packet can, and only if that path cannot lead
    /// anywhere but to the peer: an address has to answer first ([`Self::paths`]), a path over the
    /// mesh or a relay is taken when a better one has gone quiet.
    ///
    /// The first packet under new keys comes the way the handshake found, and moves the line there
    /// whatever it took before; what may go there until it is proved is little ([`Unproved`]).
    pub(super) fn heard_under(
        &mut self,
        now: Instant,
        (generation, counter): (u32, u64),
        path: Path,
        first: bool,
    ) -> Heard {
        let current = self.current.as_mut().filter(|k| k.generation == generation);
        let newest = current.is_some_and(|keys| {
            let newer = keys.highest.is_none_or(|h| counter > h);
            keys.highest = keys.highest.max(Some(counter));
            newer
        });
        let quiet = self.unanswered.is_some_and(|since| now.since(since) >= SUSPECT);
        let safe = !matches!(path, Path::Direct(_));
        let moves = newest && (first || (safe && quiet && path.rank() > self.path.rank()));
        let elsewhere = newest && !moves && path != self.path;
        let keep = if moves { path } else { self.path };
        Heard { moved: self.heard(now, keep), elsewhere }
    }

    /// Seals `frame` for a path, this line's or one on trial, and puts the headers around it. Gives
    /// back the packet's counter.
    pub(super) fn seal(
        &mut self,
        now: Instant,
        path: Path,
        ends: (Address, Address),
        limits: &Limits,
        priority: Priority,
        frame: &mut Frame,
    ) -> Result<u64, DropReason> {
        let keys = self.current.as_mut().filter(|_| !self.retired).ok_or(DropReason::LineDown)?;
        if keys.session.keys_state(now, limits) == KeysState::Dead {
            return Err(DropReason::StaleKeys);
        }
        if Inner::expects_answer(frame.as_mut_slice()) {
            self.unanswered.get_or_insert(now);
        }
        self.owed = None;
        let counter = keys.session.next_counter();
        let head = sealed::Header { priority, line: keys.peer_line, counter }.emit();
        match path {
            Path::Direct(_) => seal_around(&mut keys.session, &head, &[&head], frame)?,
            Path::Bridge(bridge) => {
                let carried = bridged::Header { priority, line: bridge.line }.emit();
                seal_around(&mut keys.session, &head, &[&head, &carried], frame)?;
            }
            Path::Mesh => {
                let (source, destination) = ends;
                let head = package::Header {
                    priority,
                    reply: false,
                    ttl: limits.ttl,
                    content: package::Content::Sealed,
                    sequence: package::Sequence::MA,
                    destination,
                    source,
                    message: counter,
                    total: 0,
                    offset: 0,
                }
                .emit(LineId::LEN + frame.len() + sealed::TAG)?;
                let ad = package::associated_data(&head, keys.peer_line);
                seal_around(&mut keys.session, &ad, &[&keys.peer_line.0, &head], frame)?;
            }
        }
        Ok(counter)
    }

    /// Whether a sealed package that came back began like this: it was for the line, under keys
    /// in use.
    pub(super) fn began(&self, echo: &package::Echo) -> bool {
        let keys = self.current.iter().chain(&self.previous);
        keys.into_iter().any(|k| k.peer_line.0.first_chunk() == Some(echo))
    }

    /// The line carried something that was not its own upkeep. Keys that were retired are not:
    /// the peer still uses them. True if it was so.
    pub(super) const fn used(&mut self, now: Instant) -> bool {
        self.used = now;
        core::mem::replace(&mut self.retired, false)
    }

    /// A packet came that nothing here may answer. True if that changes when the line is due.
    pub(super) fn owes(&mut self, now: Instant) -> bool {
        self.owed.replace(self.owed.unwrap_or(now + OWED)).is_none()
    }

    /// Whether the peer has waited for an answer long enough. It is asked once: a line that cannot
    /// answer any more must not be due for it again and again.
    pub(super) fn take_owed(&mut self, now: Instant) -> bool {
        self.owed.take_if(|by| *by <= now).is_some()
    }

    /// Whether keys that grow old are worth new ones. If not they are retired: lines that nobody
    /// uses would otherwise renew their keys for ever.
    fn is_needed(&self, current: &Keys, wanted: bool) -> bool {
        wanted || self.used > current.made
    }

    /// Stops sending under keys that nobody needed, half-way between old and dead. They go on
    /// receiving until they are dead, so that whatever the peer still sends under them, before it
    /// retires them too, arrives. True if it was so now.
    pub(super) fn retire(&mut self, now: Instant, limits: &Limits, wanted: bool) -> bool {
        let unneeded = |k: &Keys| !self.is_needed(k, wanted) && now >= k.made + unused(limits);
        let due = self.renewal.is_none() && self.is_up();
        self.retired |= due && self.current.as_ref().is_some_and(unneeded);
        due && self.retired
    }

    /// Whether a new handshake should be under way: the keys are old and needed, or nobody
    /// answers.
    pub(super) fn wants_renewal(&self, now: Instant, limits: &Limits, wanted: bool) -> bool {
        let Some(current) = self.current.as_ref().filter(|_| !self.retired) else { return false };
        let old = current.session.keys_state(now, limits) != KeysState::Fresh;
        (old && self.is_needed(current, wanted))
            || self.unanswered.is_some_and(|since| now.since(since) >= SUSPECT)
    }

    /// The next moment at which something about this line changes by itself.
    /// Streams may want it, or somebody else.
    pub(super) fn deadline(&self, limits: &Limits, streams: bool, wanted: bool) -> Instant {
        let mut at = match (&self.renewal, &self.next) {
            (Some(renewal), _) => renewal.deadline(),
            (None, Some(next)) => next.keys.made + UNCONFIRMED,
            (None, None) => self.heard + limits.line_idle,
        };
        if self.renewal.is_none() {
            // Only keys in use are renewed: without them silence is nothing to act upon, and a
            // deadline that nothing answers would come again at once, for ever.
            if let Some(current) = self.current.as_ref().filter(|_| self.retired) {
                at = at.min(current.made + limits.keys_dead_after);
            } else if let Some(current) = &self.current {
                let needed = self.is_needed(current, wanted);
                let age = if needed { limits.rekey_after } else { unused(limits) };
                at = at.min(current.made + age);
                let suspect = self.unanswered.map(|since| since + SUSPECT);
                at = suspect.map_or(at, |s| at.min(s));
            }
        }
        if let Some(next) = &self.next {
            at = at.min(next.keys.made + UNCONFIRMED);
        }
        if self.is_up() {
            let untried = self.unanswered.filter(|_| self.doubt == Doubt::None);
            let doubt = untried.map(|since| since + DOUBT);
            // Sizes are tried for streams, and on the direct path they are of.
            let width = match self.path {
                Path::Direct(to) if streams => self.width.deadline(to),
                _ => None,
            };
            let paths = self.paths.deadline().into_iter().chain(width);
            at = doubt.into_iter().chain(paths).fold(at, Instant::min);
        }
        if let Some(previous) = &self.previous {
            at = at.min(previous.made + limits.keys_dead_after);
        }
        self.owed.map_or(at, |by| at.min(by))
    }

    /// Drops what time has ended. True if nothing is left to send or receive with.
    pub(super) fn expire(&mut self, now: Instant, limits: &Limits) -> bool {
        let dead = |k: &Keys| now.since(k.made) >= limits.keys_dead_after;
        if self.previous.as_ref().is_some_and(dead) {
            self.previous = None;
        }
        if self.current.as_ref().is_some_and(dead) {
            self.current = None;
        }
        if self.next.as_ref().is_some_and(|n| now.since(n.keys.made) >= UNCONFIRMED) {
            self.next = None;
        }
        // Openings, ours and theirs, have ends of their own, and are what the silence may end with.
        let opening = self.renewal.is_some() || self.next.is_some();
        let keyless = !self.has_keys();
        let idle = now.since(self.heard) >= limits.line_idle;
        !opening && (idle || keyless)
    }
}

/// Age of keys that nobody needs when they are used for sending no more.
fn unused(limits: &Limits) -> Duration {
    limits.rekey_after.saturating_add(limits.keys_dead_after) / 2
}

fn seal_around(
    session: &mut Session,
    ad: &[u8],
    headers: &[&[u8]],
    frame: &mut Frame,
) -> Result<(), DropReason> {
    let (_, tag) = session.seal_in_place(ad, frame.as_mut_slice())?;
    let whole = frame.push_back(&tag) && headers.iter().all(|h| frame.push_front(h));
    if whole { Ok(()) } else { Err(DropReason::Oversized) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s17_a_line_without_keys_in_use_does_not_wake_for_silence() {
        let limits = Limits::default();
        let mut line = Line::new(Instant::ZERO, Path::Mesh);
        line.unanswered = Some(Instant::ZERO);
        let later = Instant::ZERO + SUSPECT;
        assert!(!line.wants_renewal(later, &limits, true));
        assert!(line.deadline(&limits, true, true) > later);
    }

    fn keys(epoch: u64) -> Keys {
        let session = Session::new(&Default::default(), true, Instant::ZERO).unwrap();
        let (peer_line, epoch) = (LineId([0; 16]), BootEpoch(epoch));
        let (generation, made, by_lower) = (0, Instant::ZERO, true);
        Keys { session, generation, peer_line, epoch, made, by_lower, highest: None }
    }

    #[test]
    fn s19_a_line_that_cannot_answer_is_due_for_it_once() {
        let limits = Limits::default();
        let mut line = Line::new(Instant::ZERO, Path::Mesh);
        line.previous = Some(keys(1));
        assert!(line.owes(Instant::ZERO) && !line.owes(Instant::ZERO));
        let due = line.deadline(&limits, false, false);
        assert_eq!(due, Instant::ZERO + OWED);
        assert!(line.take_owed(due) && !line.take_owed(due));
        assert!(line.deadline(&limits, false, false) > due);
    }

    #[test]
    fn s22_new_keys_free_a_line_from_an_address_that_was_only_claimed() {
        let claimed = Path::Direct(([203, 0, 113, 9], 666).into());
        let mut line = Line::new(Instant::ZERO, claimed);
        line.opened(keys(1));
        assert!(!line.heard_under(Instant::ZERO, (0, 1), Path::Mesh, false).moved);
        assert!(line.heard_under(Instant::ZERO, (0, 2), Path::Mesh, true).moved);
        assert_eq!(line.path, Path::Mesh);
    }

    #[test]
    fn s22_an_authentic_packet_from_elsewhere_moves_nothing_by_itself() {
        let [here, there] = [1, 2].map(|n| Path::Direct(([203, 0, 113, n], 666).into()));
        let mut line = Line::new(Instant::ZERO, here);
        line.opened(keys(1));
        let heard = |moved, elsewhere| Heard { moved, elsewhere };
        assert_eq!(line.heard_under(Instant::ZERO, (0, 5), there, false), heard(false, true));
        assert_eq!(line.heard_under(Instant::ZERO, (0, 4), there, false), heard(false, false));
        line.unanswered = Some(Instant::ZERO);
        let later = Instant::ZERO + SUSPECT;
        assert_eq!(line.heard_under(later, (0, 6), there, false), heard(false, true));
        line.unanswered = Some(Instant::ZERO);
        assert_eq!(line.heard_under(later, (0, 7), Path::Mesh, false), heard(true, false));
    }

    #[test]
    fn s18_a_peer_that_restarted_is_known_even_after_all_keys_have_died() {
        let limits = Limits::default();
        let mut line = Line::new(Instant::ZERO, Path::Mesh);
        assert_eq!(line.opened(keys(1)), Turn::Promoted { restarted: false });
        let (open, answer) = ((BootEpoch(2), 1), Bytes::new());
        line.next = Some(Next { keys: keys(2), open, answer, ticket: None });
        line.expire(Instant::ZERO + limits.keys_dead_after, &limits);
        assert!(!line.is_up());
        assert_eq!(line.opened(keys(1)), Turn::Promoted { restarted: false });
        line.expire(Instant::ZERO + limits.keys_dead_after, &limits);
        assert_eq!(line.opened(keys(2)), Turn::Promoted { restarted: true });
    }
}
