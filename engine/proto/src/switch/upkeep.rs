//! What the switch does by itself: the next step towards a line that somebody wants, opens repeated,
//! keys renewed or retired, and the end of what took too long.

use core::time::Duration;

use super::ask::{Answer, Effect, Token};
use super::contact::{Standing, State};
use super::opening::{Opening, Targets};
use super::opens::open_packet;
use super::partition::Switch;
use crate::base::{Address, DropReason, Instant, Priority, Wall};
use crate::crypto::PendingOpen;
use crate::crypto::open::{Capabilities, Opener};
use crate::wire::inner;
use crate::wire::package::Code;

/// How long a key may take to arrive before those who wait are told.
const RESOLVING: Duration = Duration::from_secs(5);
/// Least time between two looks at a contact whose time is up.
const BREATH: Duration = Duration::from_millis(10);
impl Switch {
    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant, wall: Wall) {
        while let Some(slot) = self.timers.pop_due(now) {
            self.contact_timeout(now, wall, slot);
            self.schedule(slot);
            // Whatever a state forgot to move on, it cannot hold the thread.
            if self.timers.of(slot).is_some_and(|d| d <= now) {
                self.timers.set(slot, Some(now + BREATH));
            }
        }
        let late: Vec<Token> =
            self.probes.iter().filter(|(_, (_, end))| *end <= now).map(|(t, _)| *t).collect();
        for token in late {
            self.probes.remove(&token);
            self.fail(token, Code::TimedOut);
        }
    }

    fn contact_timeout(&mut self, now: Instant, _wall: Wall, slot: u32) {
        let limits = self.setting.limits.clone();
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let code = match contact.state() {
            State::Connecting | State::Connected => Code::TimedOut,
            // Nothing has left: to whom, or on what way, is not known.
            State::Unknown | State::Seen | State::Resolving | State::Resolved => Code::NoRoute,
        };
        for token in contact.questions.expired(now) {
            self.effects.push_back(Effect::Answered(token, Answer::Failed { code, by: None }));
        }
        let wanted = contact.wanted;
        let pathless = contact.pathless_until.is_some_and(|end| end <= now);
        match contact.standing_mut() {
            Standing::Resolving(end) if *end <= now => self.fall(slot, Code::NoRoute),
            Standing::Resolved if pathless => {
                self.fall(slot, Code::NoRoute);
            }
            Standing::Connecting(opening) if opening.is_hopeless(now, &limits) => {
                self.fall(slot, Code::TimedOut);
            }
            Standing::Connecting(_) => self.repeat_open(now, slot),
            Standing::Connected(line) => {
                let unconfirmed = line.next.is_some();
                let over = line.expire(now, &limits);
                if unconfirmed && line.next.is_none() {
                    self.unconfirmed = self.unconfirmed.saturating_sub(1);
                }
                if over {
                    return self.fall(slot, Code::TimedOut);
                }
                if line.renewal.as_ref().is_some_and(|r| r.is_hopeless(now, &limits)) {
                    line.renewal = None;
                    // A peer that is heard needs no new line, only new keys: tried again.
                    if !line.is_up() || now.since(line.heard) >= limits.open_timeout {
                        return self.fall(slot, Code::TimedOut);
                    }
                }
                if line.retire(now, &limits, wanted) {
                    return self.retired(slot);
                }
                let owed = line.take_owed(now);
                let renew = line.renewal.is_none() && line.wants_renewal(now, &limits, wanted);
                if renew && !self.begin_open(now, slot) {
                    return self.fall(slot, Code::NoKey);
                }
                self.repeat_open(now, slot);
                if owed {
                    self.pong(now, slot, Priority::HIGHEST, 0, inner::ECHO);
                }
            }
            _ => {}
        }
    }

    /// A line's keys are used for sending no more. Streams had no use for it when that was decided;
    /// one that begins at this very moment waits for new keys.
    fn retired(&mut self, slot: u32) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        if core::mem::take(&mut contact.told) {
            self.effects.push_back(Effect::LineRests { peer: contact.hashname });
        }
    }

    /// Takes the next step towards a line, if somebody wants one.
    pub(super) fn pursue(&mut self, now: Instant, slot: u32) {
        if let Some(contact) = self.contacts.get_mut(slot) {
            let wanted = contact.wanted || !contact.questions.is_empty();
            match contact.state() {
                State::Unknown | State::Seen if wanted => {
                    contact.become_(Standing::Resolving(now + RESOLVING));
                }
                State::Resolved if wanted && contact.has_path() => {
                    contact.pathless_until = None;
                    if !self.begin_open(now, slot) {
                        return self.fall(slot, Code::NoKey);
                    }
                    self.repeat_open(now, slot);
                }
                // Somebody's open waits for its first packet: it may never come, so ours starts.
                State::Connected
                    if wanted
                        && contact.has_path()
                        && contact.line().is_some_and(|l| !l.is_up() && l.renewal.is_none()) =>
                {
                    self.begin_open(now, slot);
                    self.repeat_open(now, slot);
                }
                State::Resolved if wanted => {
                    // The key is known and no way is: wait as long for a route as for a key.
                    contact.pathless_until.get_or_insert(now + RESOLVING);
                }
                _ => {}
            }
        }
        self.schedule(slot);
    }

    /// Starts a handshake with a contact whose record is known. False if its key is of no use.
    fn begin_open(&mut self, now: Instant, slot: u32) -> bool {
        let generation = self.new_generation();
        let ours = self.setting.ids.mint(self.setting.partition, slot, generation);
        self.opens_made += 1;
        let Some(contact) = self.contacts.get_mut(slot) else { return false };
        let Some(record) = contact.record.clone() else { return false };
        let opener = Opener {
            line: ours,
            epoch: self.setting.epoch,
            counter: self.opens_made,
            capabilities: Capabilities::default(),
        };
        let (us, voucher) = (&self.setting.identity, self.setting.space.our_voucher());
        let pending = PendingOpen::start(us, &record, opener, &voucher, &mut self.chance);
        let Ok(pending) = pending else {
            self.counters.drops.count(DropReason::BadSignature);
            return false;
        };
        let opening = Box::new(Opening::new(now, pending, generation));
        match contact.standing_mut() {
            Standing::Connected(line) => {
                self.counters.renewals += 1;
                line.renewal = Some(opening);
            }
            _ => {
                contact.become_(Standing::Connecting(opening));
            }
        }
        true
    }

    /// Sends the open under way, if it is time to.
    pub(super) fn repeat_open(&mut self, now: Instant, slot: u32) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let (addresses, reachable) = (contact.all_addresses(), contact.reachable);
        let peer = contact.hashname.address();
        let opening = match contact.standing_mut() {
            Standing::Connecting(opening) => opening,
            Standing::Connected(line) => match &mut line.renewal {
                Some(renewal) => renewal,
                None => return,
            },
            _ => return,
        };
        let Some(targets) = opening.attempt(now, &addresses, reachable, &mut self.chance) else {
            return;
        };
        let body = opening.pending.body().clone();
        self.send_open(targets, peer, &body);
    }

    fn send_open(&mut self, targets: Targets, peer: Address, body: &[u8]) {
        let Some(bytes) = open_packet(body) else { return };
        for to in targets.addresses {
            self.counters.opens_sent += 1;
            let priority = Priority::HIGHEST;
            self.effects.push_back(Effect::Datagram { to, priority, bytes: bytes.clone() });
        }
        if targets.mesh {
            self.counters.opens_sent += 1;
            self.send_switch(peer, &bytes);
        }
    }

    /// A line ended or could not be opened: back to what is known, and everyone is told.
    pub(super) fn fall(&mut self, slot: u32, code: Code) {
        let tenant = self.contacts.new_tenant();
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let rest = contact.rest();
        let before = contact.become_(rest);
        if let Some(Standing::Connected(line)) = before {
            self.unconfirmed = self.unconfirmed.saturating_sub(usize::from(line.next.is_some()));
        }
        contact.tenant = tenant;
        contact.pathless_until = None;
        let peer = contact.hashname;
        let tokens = contact.questions.take_all();
        if core::mem::take(&mut contact.wanted) | core::mem::take(&mut contact.told) {
            self.effects.push_back(Effect::LineDown { peer, code });
        }
        for token in tokens {
            self.fail(token, code);
        }
        self.schedule(slot);
    }

    pub(super) fn schedule(&mut self, slot: u32) {
        let limits = &self.setting.limits;
        let deadline = self.contacts.get(slot).and_then(|contact| {
            let standing = match contact.standing() {
                Standing::Resolving(end) => Some(*end),
                Standing::Connecting(opening) => Some(opening.deadline()),
                Standing::Connected(line) => Some(line.deadline(limits, contact.wanted)),
                Standing::Resolved => contact.pathless_until,
                Standing::Unknown | Standing::Seen => None,
            };
            standing.into_iter().chain(contact.questions.deadline()).min()
        });
        self.timers.set(slot, deadline);
    }
}
