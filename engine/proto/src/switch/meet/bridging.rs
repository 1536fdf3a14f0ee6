//! Bridges agreed upon (PROTOCOL §4.9): asked of relays for lines of our own, and granted to
//! others. Which packets go over them is the partitions' (`ways`).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::constants::{AGREE, BRIDGES_EACH, TICK};
use super::{Meeting, Order};
use crate::base::{DropReason, Hashname, Instant, LineId};
use crate::switch::{Bridge, CarriedEnd, Introduction, Path};
use crate::wire::meet::{Grant, No, Word};

/// Bridges that wait for their other end.
const PENDING: usize = 1_024;

/// A bridge others want of us.
#[derive(Debug)]
enum Stage {
    /// One end asked.
    Asked { by: Hashname, until: Instant },
    /// Both did, and may use it.
    Carried { until: Instant },
}

/// Bridges of ours and of others.
#[derive(Debug, Default)]
pub(super) struct Bridging {
    /// By both ends, the lower hashname first.
    pairs: BTreeMap<(Hashname, Hashname), Stage>,
    /// What each end of a carried bridge wants packets to say.
    lines: BTreeMap<(Hashname, Hashname), LineId>,
    /// Our own: to whom, and over whom.
    ours: BTreeMap<(Hashname, Hashname), Ours>,
}

/// A bridge of our own.
#[derive(Clone, Copy, Debug)]
struct Ours {
    /// When to ask again.
    again: Instant,
    /// The relay's name for it, once it carries.
    line: Option<LineId>,
}

fn pair(a: Hashname, b: Hashname) -> (Hashname, Hashname) {
    if a < b { (a, b) } else { (b, a) }
}

impl Bridging {
    /// How many are carried for others.
    pub(super) fn len(&self) -> usize {
        self.pairs.values().filter(|s| matches!(s, Stage::Carried { .. })).count()
    }

    fn of(&self, who: &Hashname) -> usize {
        self.pairs.keys().filter(|(a, b)| a == who || b == who).count()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let pairs = self.pairs.values().map(|s| match s {
            Stage::Asked { until, .. } | Stage::Carried { until } => *until,
        });
        pairs.chain(self.ours.values().map(|ours| ours.again)).min()
    }
}

impl Meeting {
    /// Asks for a bridge to `who` over `relay`.
    pub(super) fn ask_bridge(&mut self, now: Instant, who: Hashname, relay: Hashname) {
        let line = self.bridging.ours.get(&(who, relay)).and_then(|ours| ours.line);
        self.bridging.ours.insert((who, relay), Ours { again: now + AGREE, line });
        self.to(who, Introduction::AskBridge { peer: who, relay });
    }

    /// A peer asks us to carry packets between it and somebody else.
    pub(super) fn bridge_wanted(
        &mut self,
        now: Instant,
        asker: Hashname,
        path: Path,
        who: Hashname,
        line: LineId,
    ) -> Result<(), DropReason> {
        let refuse = |this: &mut Self, no| {
            this.say(asker, &Word::Bridged { who, grant: Err(no) });
            Err(DropReason::LimitBroken)
        };
        if self.terms.bridges == 0 || who == asker || who == self.host.us {
            return refuse(self, No::Refused);
        }
        let other = self.table.line(&who).and_then(super::table::Lined::address);
        let (Path::Direct(_), Some(_)) = (path, other) else { return refuse(self, No::Unknown) };
        let key = pair(asker, who);
        self.bridging.lines.insert((asker, who), line);
        match self.bridging.pairs.get(&key) {
            Some(Stage::Asked { by, .. }) if *by == asker => {
                // Our word to the other end, or its answer, was lost.
                self.say(who, &Word::Bridging { who: asker });
                Ok(())
            }
            Some(_) => {
                self.grant(now, key);
                Ok(())
            }
            None => {
                let full = self.bridging.pairs.len() >= self.terms.bridges
                    || [asker, who].iter().any(|end| self.bridging.of(end) >= BRIDGES_EACH);
                if full {
                    self.bridging.lines.remove(&(asker, who));
                    return refuse(self, No::Full);
                }
                let stage = Stage::Asked { by: asker, until: now + AGREE };
                self.bridging.pairs.insert(key, stage);
                self.say(who, &Word::Bridging { who: asker });
                Ok(())
            }
        }
    }

    /// Both ends asked: carried from now on, or for longer.
    fn grant(&mut self, now: Instant, key: (Hashname, Hashname)) {
        let (a, b) = key;
        let end = |who: Hashname, other: Hashname| {
            let line = *self.bridging.lines.get(&(who, other))?;
            let at = self.table.line(&who)?.address()?;
            Some(CarriedEnd { who, at, line })
        };
        let (Some(first), Some(second)) = (end(a, b), end(b, a)) else { return };
        let until = now + self.terms.bridge_time;
        self.bridging.pairs.insert(key, Stage::Carried { until });
        for end in [a, b] {
            self.to(end, Introduction::Keep { peer: end, until });
        }
        let (rate, seconds) = (self.terms.bridge_rate, self.terms.bridge_time.as_secs());
        self.to(a, Introduction::Carry { ends: [first, second], rate, until, seconds });
    }

    /// A relay says that somebody wants a bridge to us.
    pub(super) fn bridge_offered(
        &mut self,
        now: Instant,
        relay: Hashname,
        path: Path,
        who: Hashname,
    ) -> Result<(), DropReason> {
        if !matches!(path, Path::Direct(_)) || who == self.host.us || who == relay {
            return Err(DropReason::Misaddressed);
        }
        if self.bridging.ours.len() >= PENDING {
            return Err(DropReason::TableFull);
        }
        self.ask_bridge(now, who, relay);
        Ok(())
    }

    /// A relay carries, or does not.
    pub(super) fn bridge_granted(
        &mut self,
        now: Instant,
        relay: Hashname,
        path: Path,
        who: Hashname,
        grant: Result<Grant, No>,
    ) -> Result<(), DropReason> {
        let ours = self.bridging.ours.get_mut(&(who, relay));
        let Some(ours) = ours else {
            // It ends a bridge that is not looked after any more, or it is a lie about one.
            let Err(no) = grant else { return Err(DropReason::Unhandled) };
            self.to(who, Introduction::Bridged { peer: who, relay, grant: Err(no) });
            return Ok(());
        };
        let grant = match (grant, path) {
            (Ok(Grant { line, seconds, .. }), Path::Direct(at)) => {
                // Half-way there is time to ask again, whatever is lost.
                let time = core::time::Duration::from_secs(seconds.clamp(2, 86_400));
                // And a relay that started anew knows nothing of it: that shows within a tick.
                *ours = Ours { again: now + (time / 2).min(TICK), line: Some(line) };
                Ok((Bridge { relay: at, line }, now + time))
            }
            (Ok(_), _) => Err(No::Refused),
            (Err(no), _) => {
                self.bridging.ours.remove(&(who, relay));
                Err(no)
            }
        };
        self.to(who, Introduction::Bridged { peer: who, relay, grant });
        if grant.is_err() {
            self.bridge_refused(now, who);
        }
        Ok(())
    }

    /// Bridges whose time is up are forgotten, ours asked for again while they are in use.
    pub(super) fn end_bridging(&mut self, now: Instant) {
        let late = self.bridging.ours.iter().filter(|(_, ours)| ours.again <= now);
        for ((who, relay), ours) in late.map(|(k, ours)| (*k, *ours)).collect::<Vec<_>>() {
            // By the relay's name for it: its address may be another by now.
            let used = self.table.line(&who).is_some_and(|line| match line.path {
                Path::Bridge(bridge) => Some(bridge.line) == ours.line,
                Path::Direct(_) | Path::Mesh => false,
            });
            if used {
                // What a bridge carries does not keep the line to the relay, and needs it.
                self.keep(now, relay);
                self.ask_bridge(now, who, relay);
            } else {
                self.bridging.ours.remove(&(who, relay));
            }
        }
        let over = |s: &Stage| match s {
            Stage::Asked { until, .. } | Stage::Carried { until } => *until <= now,
        };
        let ended: Vec<_> =
            self.bridging.pairs.iter().filter(|(_, s)| over(s)).map(|(k, _)| *k).collect();
        for (a, b) in ended {
            if let Some(Stage::Asked { by, .. }) = self.bridging.pairs.remove(&(a, b)) {
                let who = if by == a { b } else { a };
                self.say(by, &Word::Bridged { who, grant: Err(No::Silent) });
            }
            self.bridging.lines.remove(&(a, b));
            self.bridging.lines.remove(&(b, a));
        }
    }

    /// The line to somebody goes to another address. If it is a relay of ours, bridges over it follow.
    pub(super) fn relay_moved(&mut self, relay: Hashname, at: SocketAddr) {
        let over = self.bridging.ours.keys().filter(|(_, r)| *r == relay);
        for peer in over.map(|(who, _)| *who).collect::<Vec<_>>() {
            self.to(peer, Introduction::RelayMoved { peer, relay, at });
        }
    }

    /// An end of a bridge we carry is somewhere else now, or nowhere.
    pub(super) fn bridge_end_moved(&mut self, peer: Hashname, at: Option<SocketAddr>) {
        if self.bridging.of(&peer) > 0 {
            self.orders.push_back(Order::All(Introduction::Moved { peer, at }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s22_both_ends_name_one_bridge() {
        let [a, b] = [1, 2].map(|n| Hashname::new([n; 32]));
        assert_eq!(pair(a, b), pair(b, a));
        assert_eq!(pair(a, b), (a, b));
    }
}
