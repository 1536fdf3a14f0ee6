//! Keys asked for and given (PROTOCOL §5.14): questions of our own with their parts put together,
//! and others' answered from the directory, or with what this node knows itself.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::constants::{ANSWER, ASKED, REPEAT, REPEATS};
use super::{Meeting, Order};
use crate::base::{DropReason, Hashname, Instant};
use crate::switch::Introduction;
use crate::wire::meet::{No, PARTS, Word, parts};

/// Whom was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// A peer, inside the line.
    Line(Hashname),
    /// An address, outside any.
    Address(SocketAddr),
}

/// What was asked.
#[derive(Debug)]
pub(super) enum What {
    Key { parts: Vec<Option<Bytes>> },
    Near,
}

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) whom: Source,
    /// Whose key, or near whom.
    pub(super) who: Hashname,
    pub(super) what: What,
    pub(super) until: Instant,
    /// How often an address was asked, or a peer again.
    tries: u32,
}

/// How often an address is asked for its key, a longer wait after each time.
const TRIES: u32 = 5;
/// A question outside a line is this long, so that its answer need not be longer.
const PADDED: usize = 1_100;

impl Meeting {
    /// A question of our own. `None` if there are too many already.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        whom: Source,
        who: Hashname,
        what: What,
    ) -> Option<u64> {
        if self.asked.len() >= ASKED {
            self.counters.drops.count(DropReason::TableFull);
            return None;
        }
        let id = self.chance.u64();
        self.asked.insert(id, Asked { whom, who, what, until: now + REPEAT, tries: 0 });
        Some(id)
    }

    /// Whether anybody was asked for this key and has not answered.
    pub(super) fn awaits_key(&self, who: &Hashname) -> bool {
        self.asked.values().any(|a| a.who == *who && matches!(a.what, What::Key { .. }))
    }

    /// Whether anybody at this address was asked and has not answered.
    pub(super) fn awaits_address(&self, at: SocketAddr) -> bool {
        self.asked.values().any(|a| a.whom == Source::Address(at))
    }

    /// Asks a peer for a key.
    pub(super) fn ask_key(&mut self, now: Instant, peer: Hashname, who: Hashname) {
        let what = What::Key { parts: Vec::new() };
        if let Some(id) = self.ask(now, Source::Line(peer), who, what) {
            self.say(peer, &Word::Op { id, who, seq: None });
        }
    }

    /// Asks the operators for our own papers, with the voucher they have for us by now. Lines to
    /// them are wanted first: call it again until the answer has come.
    pub fn ask_for_voucher(&mut self, now: Instant) {
        let us = self.host.us;
        for operator in self.terms.operators.clone() {
            self.keep(now, operator);
            let waits = |a: &Asked| a.who == us && a.whom == Source::Line(operator);
            if self.table.line(&operator).is_some() && !self.asked.values().any(waits) {
                self.ask_key(now, operator, us);
            }
        }
    }

    /// Asks an address for the key of whoever should be there.
    pub(super) fn ask_address(&mut self, now: Instant, at: SocketAddr, who: Hashname) {
        let what = What::Key { parts: Vec::new() };
        if let Some(id) = self.ask(now, Source::Address(at), who, what) {
            self.ask_part(now, id, at, who, 0);
        }
    }

    fn ask_part(&mut self, now: Instant, id: u64, at: SocketAddr, who: Hashname, seq: u8) {
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.until = now + ANSWER / 4 * (1 << asked.tries.min(3));
            asked.tries += 1;
        }
        let mut bytes = BytesMut::from(&Word::Op { id, who, seq: Some(seq) }.emit()[..]);
        bytes.resize(PADDED, 0);
        let bytes = bytes.freeze();
        self.orders.push_back(Order::Any(Introduction::Answer { to: at, bytes }));
    }

    /// Questions whose time is up: asked again a few times, since one datagram that is lost must
    /// not hide whoever was asked from a search.
    pub(super) fn forget_questions(&mut self, now: Instant) {
        let late: Vec<u64> =
            self.asked.iter().filter(|(_, a)| a.until <= now).map(|(id, _)| *id).collect();
        for id in late {
            let Some(asked) = self.asked.get(&id) else { continue };
            match (asked.whom, &asked.what) {
                (Source::Address(at), What::Key { parts }) if asked.tries < TRIES => {
                    let missing = parts.iter().position(Option::is_none).unwrap_or(0);
                    let (who, seq) = (asked.who, u8::try_from(missing).unwrap_or(0));
                    self.ask_part(now, id, at, who, seq);
                }
                (Source::Line(peer), what) if asked.tries < REPEATS => {
                    let who = asked.who;
                    let word = match what {
                        What::Key { .. } => Word::Op { id, who, seq: None },
                        What::Near => Word::Seek { id, to: who, via: None },
                    };
                    self.repeat(now, id, peer, &word);
                }
                (Source::Line(peer), What::Near) => {
                    let who = asked.who;
                    self.asked.remove(&id);
                    self.search_failed(&who, &peer);
                }
                _ => {
                    self.asked.remove(&id);
                }
            }
        }
    }

    fn repeat(&mut self, now: Instant, id: u64, peer: Hashname, word: &Word) {
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.until = now + REPEAT;
            asked.tries += 1;
        }
        self.say(peer, word);
    }

    /// A part of a key, or why there is none.
    pub(super) fn key_came(
        &mut self,
        now: Instant,
        from: Source,
        id: u64,
        part: Result<(u8, u8, Bytes), No>,
    ) -> Result<(), DropReason> {
        let asked = self.asked.get_mut(&id).filter(|a| a.whom == from);
        let asked = asked.ok_or(DropReason::Unhandled)?;
        let What::Key { parts } = &mut asked.what else { return Err(DropReason::Unhandled) };
        let Ok((seq, of, bytes)) = part else {
            self.asked.remove(&id);
            self.drive_searches(now);
            return Ok(());
        };
        if parts.is_empty() {
            parts.resize(usize::from(of.min(PARTS)), None);
        }
        if parts.len() != usize::from(of) {
            return Err(DropReason::Malformed);
        }
        let slot = parts.get_mut(usize::from(seq)).ok_or(DropReason::Malformed)?;
        let new = slot.is_none();
        if slot.get_or_insert(bytes.clone()) != &bytes {
            return Err(DropReason::Malformed);
        }
        let who = asked.who;
        match parts.iter().position(Option::is_none) {
            None => {
                let papers: BytesMut = parts.iter().flatten().flatten().copied().collect();
                self.asked.remove(&id);
                let papers = papers.freeze();
                if who == self.host.us {
                    self.orders.push_back(Order::Vouched(papers));
                    return Ok(());
                }
                self.to(who, Introduction::Papers { peer: who, papers });
            }
            Some(missing) => {
                // A part that comes again is worth no new question.
                if let Source::Address(at) = from
                    && new
                {
                    asked.tries = 0;
                    self.ask_part(now, id, at, who, u8::try_from(missing).unwrap_or(0));
                }
            }
        }
        Ok(())
    }

    /// A peer asks for a key: the directory's, ours, or one of those this node has a line with.
    pub(super) fn asked_for_key(
        &mut self,
        asker: Hashname,
        id: u64,
        who: Hashname,
    ) -> Result<(), DropReason> {
        self.counters.ops += 1;
        if who == self.host.us {
            let papers = self.host.papers.clone();
            self.looked_up(asker, id, who, Some(&papers));
        } else if self.terms.serves_keys {
            self.orders.push_back(Order::LookUp { asker, id, who });
        } else {
            self.looked_up(asker, id, who, None);
        }
        Ok(())
    }

    /// What the directory has: if nothing, what this node knows as a meshing one.
    pub fn looked_up(&mut self, asker: Hashname, id: u64, who: Hashname, papers: Option<&Bytes>) {
        match papers {
            Some(papers) => {
                for part in parts(id, papers) {
                    self.say(asker, &part);
                }
            }
            None if self.terms.spacer && self.table.line(&who).is_some() => {
                self.to(who, Introduction::ShowPapers { peer: who, to: asker, id });
            }
            None => {
                let knows = self.terms.spacer || self.terms.serves_keys;
                let no = if knows { No::Unknown } else { No::Refused };
                self.say(asker, &Word::Key { id, part: Err(no) });
            }
        }
    }

    /// Somebody outside asks for our own papers: one part an asking, and only if it was as long.
    pub(super) fn show_ourselves(
        &mut self,
        from: SocketAddr,
        id: u64,
        seq: u8,
        length: usize,
    ) -> Result<(), DropReason> {
        let papers = self.host.papers.clone();
        let part = parts(id, &papers).nth(usize::from(seq)).ok_or(DropReason::Malformed)?;
        let bytes = part.emit();
        if bytes.len() > length {
            return Err(DropReason::Truncated);
        }
        self.orders.push_back(Order::Any(Introduction::Answer { to: from, bytes }));
        Ok(())
    }
}
