//! What the switch does by itself: the next step towards a line that somebody wants, opens repeated,
//! keys renewed or retired, and the end of what took too long.

use core::time::Duration;

use super::ask::{Answer, Effect, Note, Token};
use super::contact::{Standing, State};
use super::opening::Opening;
use super::opens::open_packet;
use super::partition::Switch;
use super::paths::Path;
use crate::base::{Address, DropReason, Instant, Priority, Wall};
use crate::crypto::PendingOpen;
use crate::crypto::open::Opener;
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
        if self.carrying.deadline().is_some_and(|d| d <= now) {
            self.end_carrying(now);
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
        let to = contact.hashname.address();
        let (late, overdue) = (contact.questions.expired(now), contact.questions.overdue(now));
        for token in late {
            self.effects.push_back(Effect::Answered(token, Answer::Failed { code, by: None }));
        }
        for token in overdue {
            self.bounce(token, to, code);
        }
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        contact.kept_until.take_if(|k| *k <= now);
        let wanted = contact.wanted || contact.kept_until.is_some();
        let pathless = contact.pathless_until.is_some_and(|end| end <= now);
        match contact.standing_mut() {
            Standing::Resolving(end) if *end <= now => self.fall(slot, Code::NoRoute),
            Standing::Resolved if pathless => {
                self.fall(slot, Code::NoRoute);
            }
            Standing::Connecting(opening) if opening.is_hopeless(now, &limits) => {
                self.fall(slot, Code::TimedOut);
            }
            Standing::Connecting(_) => {
                self.repeat_open(now, slot);
                self.ask_for_more(slot);
            }
            Standing::Connected(line) => {
                let ticket = line.next.as_ref().and_then(|n| n.ticket);
                let over = line.expire(now, &limits);
                if let Some(ticket) = ticket.filter(|_| line.next.is_none()) {
                    self.half_opens.leave(ticket);
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
                let doubt = line.take_doubt(now);
                let renew = line.renewal.is_none() && line.wants_renewal(now, &limits, wanted);
                if renew && !self.begin_open(now, slot) {
                    return self.fall(slot, Code::NoKey);
                }
                self.repeat_open(now, slot);
                if doubt {
                    self.doubt(now, slot);
                }
                self.try_paths(now, slot);
                self.ask_around(now, slot);
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
        self.tell_line(slot);
    }

    /// Takes the next step towards a line, if somebody wants one.
    pub(super) fn pursue(&mut self, now: Instant, slot: u32) {
        if let Some(contact) = self.contacts.get_mut(slot) {
            let wanted = contact.is_wanted(now);
            match contact.state() {
                State::Unknown | State::Seen if wanted => {
                    self.becomes(slot, Standing::Resolving(now + RESOLVING));
                    self.seek(slot);
                }
                State::Resolving if wanted => self.seek(slot),
                State::Resolved if wanted && contact.has_path(now) => {
                    contact.pathless_until = None;
                    if !self.begin_open(now, slot) {
                        return self.fall(slot, Code::NoKey);
                    }
                    self.repeat_open(now, slot);
                }
                // Somebody's open waits for its first packet: it may never come, so ours starts.
                State::Connected
                    if wanted
                        && contact.has_path(now)
                        && contact.line().is_some_and(|l| !l.is_up() && l.renewal.is_none()) =>
                {
                    self.begin_open(now, slot);
                    self.repeat_open(now, slot);
                }
                State::Resolved if wanted => {
                    // The key is known and no way is: wait as long for a route as for a key.
                    let until = (now + RESOLVING).max(contact.patience.unwrap_or(now));
                    contact.pathless_until.get_or_insert(until);
                    self.seek(slot);
                }
                _ => {}
            }
        }
        self.schedule(slot);
    }

    /// Somebody wants a line to a contact, and its key, or every way to it, is missing. Asked for
    /// once until a line is up or hope is gone.
    fn seek(&mut self, slot: u32) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        if contact.is_worth_a_search() && !core::mem::replace(&mut contact.sought, true) {
            let (peer, known) = (contact.hashname, contact.record.is_some());
            let at = contact.fixed.clone();
            self.effects.push_back(Effect::Note(Note::Find { peer, known, at }));
        }
    }

    /// Where it was known to be does not answer at once: it may be elsewhere by now, or has to let
    /// us in first.
    fn ask_for_more(&mut self, slot: u32) {
        let again = self.contacts.get(slot).is_some_and(|contact| match contact.standing() {
            Standing::Connecting(opening) => opening.is_repeated(),
            _ => false,
        });
        if again {
            self.seek(slot);
        }
    }

    /// Starts a handshake with a contact whose record is known. False if its key is of no use.
    fn begin_open(&mut self, now: Instant, slot: u32) -> bool {
        let generation = self.new_generation();
        let ours = self.setting.ids.mint(self.setting.partition, slot, generation);
        self.opens_made += 1;
        let room = self.contacts.has_room_for_a_line();
        let Some(contact) = self.contacts.get_mut(slot) else { return false };
        let Some(record) = contact.record.clone() else { return false };
        let unlined = contact.line().is_none();
        if unlined && !room {
            self.counters.drops.count(DropReason::TableFull);
            return false;
        }
        let opener = Opener {
            line: ours,
            epoch: self.setting.epoch,
            counter: self.opens_made,
            capabilities: self.setting.capabilities,
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
                self.becomes(slot, Standing::Connecting(opening));
            }
        }
        true
    }

    /// Sends the open under way, if it is time to.
    pub(super) fn repeat_open(&mut self, now: Instant, slot: u32) {
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let current = contact.line().filter(|l| l.current.is_some()).map(|l| l.path);
        let mut paths: Vec<Path> = contact.all_paths(now).collect();
        paths.extend(current.filter(|c| !paths.contains(c)));
        let peer = contact.hashname.address();
        let (opening, in_use) = match contact.standing_mut() {
            Standing::Connecting(opening) => (opening, None),
            Standing::Connected(line) => match &mut line.renewal {
                Some(renewal) => (renewal, line.current.is_some().then_some(line.path)),
                None => return,
            },
            _ => return,
        };
        let Some(paths) = opening.attempt(now, paths, in_use, &mut self.chance) else { return };
        let body = opening.pending.body().clone();
        for path in paths {
            self.send_open(now, slot, path, peer, &body);
        }
    }

    fn send_open(&mut self, now: Instant, slot: u32, path: Path, peer: Address, body: &[u8]) {
        let Some(bytes) = open_packet(body) else { return };
        match path {
            Path::Direct(to) => {
                let proved = self.contacts.get(slot).is_some_and(|c| c.is_proved(&to));
                if !proved && !self.spend_on_stranger(now, &to) {
                    return;
                }
                let priority = Priority::HIGHEST;
                self.effects.push_back(Effect::Datagram { to, priority, bytes });
            }
            Path::Bridge(bridge) => self.send_bridged(bridge, &bytes),
            Path::Mesh => self.send_switch(peer, &bytes),
        }
        self.counters.opens_sent += 1;
    }

    /// A line ended or could not be opened: back to what is known, and everyone is told.
    pub(super) fn fall(&mut self, slot: u32, code: Code) {
        let tenant = self.contacts.new_tenant();
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let rest = contact.rest();
        let before = self.becomes(slot, rest);
        if let Some(Standing::Connected(line)) = before {
            let ticket = line.next.as_ref().and_then(|n| n.ticket);
            ticket.into_iter().for_each(|ticket| self.half_opens.leave(ticket));
            self.tell_line(slot);
        }
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        contact.tenant = tenant;
        contact.pathless_until = None;
        // What keeps a line begins anew when it still wants one.
        contact.kept_until = None;
        contact.patience = None;
        if core::mem::take(&mut contact.sought) {
            self.effects.push_back(Effect::Note(Note::Found(contact.hashname)));
        }
        let peer = contact.hashname;
        let (pings, messages) = contact.questions.take_all();
        if core::mem::take(&mut contact.wanted) | core::mem::take(&mut contact.told) {
            self.effects.push_back(Effect::LineDown { peer, code });
        }
        for token in pings {
            self.fail(token, code);
        }
        for token in messages {
            self.bounce(token, peer.address(), code);
        }
        self.effects.push_back(Effect::Fell { peer: peer.address(), code, by: None });
        self.schedule(slot);
    }

    pub(super) fn schedule(&mut self, slot: u32) {
        let limits = &self.setting.limits;
        let deadline = self.contacts.get(slot).and_then(|contact| {
            let standing = match contact.standing() {
                Standing::Resolving(end) => Some(*end),
                Standing::Connecting(opening) => Some(opening.deadline()),
                Standing::Connected(line) => {
                    let wanted = contact.wanted || contact.kept_until.is_some();
                    Some(line.deadline(limits, contact.wanted, wanted))
                }
                Standing::Resolved => contact.pathless_until,
                Standing::Unknown | Standing::Seen => None,
            };
            let others = contact.questions.deadline().into_iter().chain(contact.kept_until);
            standing.into_iter().chain(others).min()
        });
        self.timers.set(slot, deadline);
    }
}
