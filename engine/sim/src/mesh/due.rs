//! What time demands of a simulated switch's lines: opens repeated, keys renewed or retired, paths
//! tried, and the end of what took too long. As the switch's own upkeep.

use trunkline_proto::base::{Hashname, Instant};
use trunkline_proto::switch::{Note, Path};

use super::contact::{Contact, DOUBT, Opening, PATIENCE, RENEW, RETIRE, SUSPECT, rank};
use super::node::Node;
use super::packets::Inside;

impl Node {
    /// The moment a contact was to be looked at has come.
    pub(super) fn contact_due(&mut self, now: Instant, peer: Hashname) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        contact.due = None;
        if contact.deadline().is_some_and(|d| d <= now) {
            self.look_at(now, peer);
        }
        self.schedule(now, peer);
        self.settle(now);
    }

    fn look_at(&mut self, now: Instant, peer: Hashname) {
        let number = self.number();
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        contact.kept_until.take_if(|k| *k <= now);
        let kept = contact.is_kept();
        let waited = contact.waits_until.is_some_and(|end| end <= now);
        if contact.opening.is_some_and(|o| o.is_hopeless(now)) || waited {
            return self.fall(peer);
        }
        let Some(line) = &mut contact.line else {
            self.repeat_open(now, peer);
            return self.ask_for_more(peer);
        };
        if line.renewal.take_if(|r| r.is_hopeless(now)).is_some()
            && (!line.is_up() || now.since(line.heard) >= PATIENCE)
        {
            return self.fall(peer);
        }
        if line.expire(now) {
            return self.fall(peer);
        }
        let idle = line.renewal.is_none() && line.is_up();
        if idle && !line.is_needed(kept) && line.age(now) >= RETIRE {
            line.retired = true;
            return self.tell_line(peer);
        }
        let silence = line.unanswered.map(|since| now.since(since));
        let old = line.age(now) >= RENEW && line.is_needed(kept);
        if idle && (old || silence.is_some_and(|s| s >= SUSPECT)) {
            line.renewal = Some(Opening::new(now, number));
        }
        let doubt = line.is_up() && !line.doubted && silence.is_some_and(|s| s >= DOUBT);
        line.doubted |= doubt;
        self.repeat_open(now, peer);
        if doubt {
            self.doubt(now, peer);
        }
        self.try_paths(now, peer);
        self.ask_around(now, peer);
    }

    /// Where it was does not answer: it may be elsewhere, or has to let us in.
    fn ask_for_more(&mut self, peer: Hashname) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let again = contact.opening.is_some_and(|o| o.is_repeated());
        if again && contact.is_worth_a_search() && !core::mem::replace(&mut contact.sought, true) {
            let at = contact.fixed.clone();
            self.note(Note::Find { peer, known: true, at });
        }
    }

    /// Tries everything that might lead to the peer.
    fn doubt(&mut self, now: Instant, peer: Hashname) {
        let Some(contact) = self.contacts.get(&peer) else { return };
        let Some(current) = contact.up().map(|l| l.path) else { return };
        let paths: Vec<Path> = core::iter::once(current).chain(contact.paths(now)).collect();
        for path in &paths {
            self.consider(now, peer, *path);
        }
    }

    /// Others are asked for a way if the one in use answers nothing and there is no detour.
    fn ask_around(&mut self, now: Instant, peer: Hashname) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let detour = contact.paths(now).iter().any(|p| rank(*p) > 0);
        let detour = detour || !contact.is_worth_a_search();
        let Some(line) = contact.line.as_mut() else { return };
        let despairs = line.doubted && !line.despaired && line.is_silent();
        line.despaired |= despairs;
        if despairs && !detour {
            contact.sought = true;
            self.note(Note::Find { peer, known: true, at: Vec::new() });
        }
    }

    pub(super) fn consider(&mut self, now: Instant, peer: Hashname, path: Path) {
        let token = self.chance.u64();
        if let Some(line) = self.line(&peer).filter(|l| l.is_up()) {
            line.consider(now, path, token);
        }
    }

    /// Sends the tries that are due.
    pub(super) fn try_paths(&mut self, now: Instant, peer: Hashname) {
        while let Some((path, token)) =
            self.line(&peer).filter(|l| l.is_up()).and_then(|l| l.due(now))
        {
            self.seal(now, peer, Some(path), Inside::Try(token));
        }
    }

    /// A line ended or could not be opened: everyone is told.
    pub(super) fn fall(&mut self, peer: Hashname) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let before = core::mem::take(contact);
        *contact = Contact {
            papers: before.papers,
            meshes: before.meshes,
            fixed: before.fixed,
            addresses: before.addresses,
            seen: before.seen,
            ..Contact::default()
        };
        for way in before.ways {
            self.ways.remove(&way.ours.0);
        }
        if before.line.is_some() {
            self.tell_line(peer);
        }
        if before.sought {
            self.note(Note::Found(peer));
        }
        if before.wanted {
            self.came.push((peer, false));
        }
    }
}
