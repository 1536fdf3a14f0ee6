//! Bridges: this end's, and those this node carries (PROTOCOL §4.9).
//!
//! A relay knows two names for each bridge, one for each end, and two addresses. It writes one name
//! over the other and sends the bytes on: what they hold is sealed for somebody else. Both ends
//! have asked for it, on lines of their own to the relay, and it lasts as long as the relay said.

use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};

use super::ask::{CarriedEnd, Effect, Toll};
use super::contact::Contact;
use super::opens::From;
use super::partition::Switch;
use super::paths::{Bridge, Path};
use crate::base::{DropReason, Hashname, Instant, Wall};
use crate::wire::meet::{Grant, No, Word};
use crate::wire::{bridged, sealed};

/// Most bridges of one partition, each with two ends. × 2 × 160 bytes = 320 KiB.
pub(super) const MOST: usize = 1_024;
/// Slots of bridges among those of line ids: far above any contact's.
const FIRST_SLOT: u32 = 1 << 31;
/// What may come at once, in seconds of the rate.
const BURST_SECONDS: u64 = 1;

/// A bridge of ours to one peer.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) relay: Hashname,
    /// Which of our line ids packets from it say.
    pub(super) generation: u32,
    pub(super) granted: Option<(Bridge, Instant)>,
    /// What the relay said last, if it refused.
    pub(super) refused: Option<No>,
}

impl Way {
    /// Where the relay carries from, or why it does not; nothing if it has not answered.
    pub(super) fn state(&self) -> Option<Result<SocketAddr, No>> {
        let carried = self.granted.map(|(bridge, _)| Ok(bridge.relay));
        carried.or(self.refused.map(Err))
    }
}

/// One direction of a bridge this node carries.
#[derive(Debug)]
pub(super) struct Carried {
    generation: u32,
    /// Whose packets come here.
    from: Hashname,
    to: CarriedEnd,
    /// The end's address is known now.
    live: bool,
    until: Instant,
    rate: u64,
    tokens: u64,
    filled: Instant,
    /// The slot of the other direction.
    other: u32,
    pub(super) bytes: u64,
}

/// Every bridge this partition carries.
#[derive(Debug, Default)]
pub(super) struct Carrying {
    slots: Vec<Option<Carried>>,
}

impl Carrying {
    pub(super) fn len(&self) -> usize {
        self.slots.iter().flatten().count() / 2
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Carried> {
        self.slots.get_mut(slot.checked_sub(FIRST_SLOT)? as usize)?.as_mut()
    }

    /// Two free slots, made if need be.
    fn pair(&mut self) -> Option<[u32; 2]> {
        if self.len() >= MOST {
            return None;
        }
        let mut free = Vec::new();
        for at in 0..=self.slots.len() + 1 {
            if at == self.slots.len() {
                self.slots.push(None);
            }
            if self.slots.get(at).is_some_and(Option::is_none) {
                free.push(FIRST_SLOT + u32::try_from(at).ok()?);
            }
            if let [a, b] = *free.as_slice() {
                return Some([a, b]);
            }
        }
        None
    }

    /// Ends those whose time is up, and says whose they were.
    fn expire(&mut self, now: Instant) -> Vec<(Hashname, Hashname)> {
        let over = self.slots.iter_mut().filter_map(|slot| slot.take_if(|c| c.until <= now));
        over.map(|c| (c.from, c.to.who)).collect()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.slots.iter().flatten().map(|c| c.until).min()
    }
}

impl Carried {
    /// Takes `bytes` from the allowance of this direction, and counts them.
    fn take(&mut self, now: Instant, bytes: u64) -> bool {
        let elapsed = now.since(self.filled);
        let earned = u128::from(self.rate) * elapsed.as_micros() / 1_000_000;
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(u64::MAX);
            let most = self.rate.saturating_mul(BURST_SECONDS);
            self.tokens = self.tokens.saturating_add(earned).min(most);
            self.filled = now;
        }
        let may = self.tokens >= bytes;
        self.tokens -= if may { bytes } else { 0 };
        self.bytes += if may { bytes } else { 0 };
        may
    }
}

impl Switch {
    /// A datagram that is carried: by this node to somebody, or by somebody to this node.
    pub(super) fn bridged(
        &mut self,
        now: Instant,
        wall: Wall,
        from: SocketAddr,
        head: bridged::Header,
        mut bytes: BytesMut,
    ) -> Result<(), DropReason> {
        let (partition, slot, generation) =
            self.setting.ids.resolve(head.line).ok_or(DropReason::UnknownLine)?;
        if partition != self.setting.partition {
            return self.elsewhere(partition, from, bytes, Toll::Waived);
        }
        if slot >= FIRST_SLOT {
            return self.carry_on(now, from, (slot, generation), head, bytes);
        }
        let contact = self.contacts.get(slot).ok_or(DropReason::UnknownLine)?;
        let way = contact.ways.iter().find(|w| w.generation == generation);
        let granted = way.and_then(|w| w.granted).filter(|(_, until)| *until > now);
        let (bridge, _) = granted.ok_or(DropReason::UnknownLine)?;
        // From wherever a relay with several addresses sends: only it knows the name, what it carries
        // is sealed by the other end, and where we send is not decided here ([`Self::relay_moved`]).
        let inside = bytes.split_off(bridged::HEADER);
        if bridged::Header::parse(&inside)?.is_some() {
            return Err(DropReason::Malformed);
        }
        // What this bridge carries is this contact's: its line's packets and its opens.
        if let Some(head) = sealed::Header::parse(&inside)? {
            let inner = self.setting.ids.resolve(head.line).map(|(_, slot, _)| slot);
            if inner != Some(slot) {
                return Err(DropReason::Misaddressed);
            }
        }
        self.take_packet(now, wall, From::Bridge(bridge), inside, Toll::Due)
    }

    /// The other end's name is written over ours, and the rest goes on as it came.
    fn carry_on(
        &mut self,
        now: Instant,
        from: SocketAddr,
        (slot, generation): (u32, u32),
        head: bridged::Header,
        mut bytes: BytesMut,
    ) -> Result<(), DropReason> {
        let carried = self.carrying.get_mut(slot).filter(|c| c.generation == generation);
        let carried = carried.filter(|c| c.until > now).ok_or(DropReason::UnknownLine)?;
        if !carried.live {
            return Err(DropReason::LineDown);
        }
        let (to, other) = (carried.to, carried.other);
        // Only the end it was granted to sends on it, from where its own line comes.
        let sender = self.carrying.get_mut(other).map(|back| back.to.at);
        if sender != Some(from) {
            return Err(DropReason::Misaddressed);
        }
        let length = bytes.len() as u64;
        if !self.carrying.get_mut(slot).is_some_and(|c| c.take(now, length)) {
            return Err(DropReason::RateLimited);
        }
        let line = to.line;
        let room = bytes.get_mut(..bridged::HEADER).ok_or(DropReason::Truncated)?;
        room.copy_from_slice(&bridged::Header { line, ..head }.emit());
        self.counters.carried += 1;
        let (to, priority) = (to.at, head.priority);
        self.effects.push_back(Effect::Datagram { to, priority, bytes: bytes.freeze() });
        Ok(())
    }

    /// Puts what carries a packet over a bridge in front of it.
    pub(super) fn send_bridged(&mut self, bridge: Bridge, packet: &[u8]) {
        let priority = crate::base::Priority::HIGHEST;
        let head = bridged::Header { priority, line: bridge.line }.emit();
        let mut bytes = BytesMut::with_capacity(head.len() + packet.len());
        bytes.put_slice(&head);
        bytes.put_slice(packet);
        self.effects.push_back(Effect::Datagram {
            to: bridge.relay,
            priority,
            bytes: bytes.freeze(),
        });
    }

    /// Asks a relay for a bridge to a peer, naming what packets over it are to say.
    pub(super) fn ask_bridge(&mut self, peer: Hashname, relay: Hashname) {
        let Some(slot) = self.contacts.enter(peer) else { return };
        let fresh = self.new_generation();
        let Some(contact) = self.contacts.get_mut(slot) else { return };
        let generation = contact.way(relay, fresh);
        let line = self.setting.ids.mint(self.setting.partition, slot, generation);
        let packet = Word::Bridge { who: peer, line }.emit();
        self.effects.push_back(Effect::Say { peer: relay, packet });
    }

    /// A relay's answer to that.
    pub(super) fn bridge_answered(
        &mut self,
        now: Instant,
        peer: Hashname,
        relay: Hashname,
        grant: Result<(Bridge, Instant), No>,
    ) {
        let Some(slot) = self.contacts.find(&peer.address()) else { return };
        let Some(contact) = self.contacts.get_mut(slot).filter(|c| c.hashname == peer) else {
            return;
        };
        let Some(way) = contact.ways.iter_mut().find(|w| w.relay == relay) else { return };
        let before = way.granted.map(|(bridge, _)| bridge);
        way.granted = grant.ok();
        way.refused = grant.err();
        if let Ok((bridge, _)) = grant {
            let same = before.filter(|b| b.line == bridge.line && *b != bridge);
            same.into_iter().for_each(|before| self.follow_relay(slot, before, bridge));
            let Some(contact) = self.contacts.get_mut(slot) else { return };
            contact.hurry(now);
            let better =
                contact.line().is_some_and(|l| l.path.rank() > 1 || l.unanswered.is_some());
            if better {
                self.consider(now, slot, Path::Bridge(bridge));
                self.try_paths(now, slot);
            }
            self.pursue(now, slot);
        }
    }

    /// A relay of ours is heard at another address, which its own line has proved: the bridge over it
    /// goes there too.
    pub(super) fn relay_moved(&mut self, peer: Hashname, relay: Hashname, at: SocketAddr) {
        let Some(slot) = self.contacts.find(&peer.address()) else { return };
        let Some(contact) = self.contacts.get_mut(slot).filter(|c| c.hashname == peer) else {
            return;
        };
        let way = contact.ways.iter_mut().find(|w| w.relay == relay);
        let Some((bridge, _)) = way.and_then(|w| w.granted.as_mut()) else { return };
        let before = core::mem::replace(bridge, Bridge { relay: at, ..*bridge });
        let after = *bridge;
        if before != after {
            self.follow_relay(slot, before, after);
        }
    }

    /// The same bridge, by another address of its relay.
    fn follow_relay(&mut self, slot: u32, before: Bridge, after: Bridge) {
        let Some(line) = self.contacts.get_mut(slot).and_then(Contact::line_mut) else { return };
        let [before, after] = [before, after].map(Path::Bridge);
        line.paths.rename(before, after);
        if line.path == before {
            line.path = after;
            self.counters.moves += 1;
            self.tell_line(slot);
        }
    }

    /// Carries packets between two ends from now on, and tells them by which names. Asked again,
    /// it lasts longer.
    pub(super) fn carry(
        &mut self,
        now: Instant,
        ends: [CarriedEnd; 2],
        rate: u64,
        (until, seconds): (Instant, u64),
    ) {
        self.end_carrying(now);
        let [a, b] = ends;
        let held = self.carrying.slots.iter().flatten();
        let held = held.filter(|c| c.from == a.who && c.to.who == b.who).map(|c| c.other).next();
        let slots = match held.and_then(|back| Some([self.carrying.get_mut(back)?.other, back])) {
            Some(slots) => Some(slots),
            None => self.carrying.pair(),
        };
        let Some([there, back]) = slots else {
            for (end, other) in [(a, b), (b, a)] {
                self.say(end.who, &Word::Bridged { who: other.who, grant: Err(No::Full) });
            }
            return;
        };
        for (slot, other, from, to) in [(there, back, a, b), (back, there, b, a)] {
            let fresh = self.new_generation();
            let at = slot.saturating_sub(FIRST_SLOT) as usize;
            let Some(room) = self.carrying.slots.get_mut(at) else { return };
            let (generation, tokens, filled, bytes) =
                room.as_ref().map_or((fresh, rate.saturating_mul(BURST_SECONDS), now, 0), |held| {
                    (held.generation, held.tokens, held.filled, held.bytes)
                });
            *room = Some(Carried {
                generation,
                from: from.who,
                to,
                live: true,
                until,
                rate,
                tokens,
                filled,
                other,
                bytes,
            });
            let line = self.setting.ids.mint(self.setting.partition, slot, generation);
            let grant = Ok(Grant { line, rate, seconds });
            self.say(from.who, &Word::Bridged { who: to.who, grant });
        }
    }

    /// Ends what this node carries when its time is up, and tells both ends.
    pub(super) fn end_carrying(&mut self, now: Instant) {
        for (end, who) in self.carrying.expire(now) {
            self.say(end, &Word::Bridged { who, grant: Err(No::Over) });
        }
    }

    /// A peer's packets come from another address: what is carried to it follows.
    pub(super) fn carried_moved(&mut self, peer: Hashname, at: Option<SocketAddr>) {
        for carried in self.carrying.slots.iter_mut().flatten().filter(|c| c.to.who == peer) {
            carried.live = at.is_some();
            carried.to.at = at.unwrap_or(carried.to.at);
        }
    }

    pub(super) fn say(&mut self, peer: Hashname, word: &Word) {
        self.effects.push_back(Effect::Say { peer, packet: word.emit() });
    }
}
