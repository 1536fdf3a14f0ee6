//! Questions about one hashname that wait for an answer: bounded, and each with an end.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

use super::ask::Token;
use super::sending::Outgoing;
use crate::base::{Instant, Limits, Priority};

/// Most open questions about one hashname.
pub(super) const MOST: usize = 1_024;

/// A ping that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ping {
    pub(super) token: Token,
    pub(super) priority: Priority,
    pub(super) length: usize,
    pub(super) deadline: Instant,
    /// When it left; not yet if there is no line.
    pub(super) sent: Option<Instant>,
}

/// A message that waits for a line.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) how: Outgoing,
    pub(super) head: Bytes,
    pub(super) body: Bytes,
    /// Sent by then, or back with a code.
    pub(super) deadline: Instant,
    _share: Share,
}

/// Memory that waiting messages of all hashnames may take together. Whatever becomes of a message,
/// its share is given back when it goes.
#[derive(Debug)]
pub(super) struct Room {
    used: Arc<AtomicUsize>,
    most: usize,
}

#[derive(Debug)]
struct Share(Arc<AtomicUsize>, usize);

impl Drop for Share {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

impl Room {
    pub(super) fn new(most: usize) -> Self {
        Self { used: Arc::default(), most }
    }

    fn take(&self, bytes: usize) -> Option<Share> {
        // One thread alone adds.
        if self.used.load(Relaxed).saturating_add(bytes) > self.most {
            return None;
        }
        self.used.fetch_add(bytes, Relaxed);
        Some(Share(self.used.clone(), bytes))
    }
}

/// Packets of messages that left for the mesh most recently, by counter, so that a message is
/// known when one of its packets comes back. 256 × 16 bytes, for lines that need it.
#[derive(Debug)]
struct Left([(u64, u64); Self::MOST]);

impl Left {
    const MOST: usize = 256;

    fn place(counter: u64) -> usize {
        usize::try_from(counter % Self::MOST as u64).unwrap_or(0)
    }
}

/// The open questions about one hashname.
#[derive(Debug, Default)]
pub(super) struct Questions {
    pings: VecDeque<Ping>,
    waiting: VecDeque<Waiting>,
    left: Option<Box<Left>>,
}

impl Questions {
    pub(super) fn is_empty(&self) -> bool {
        self.pings.is_empty() && self.waiting.is_empty()
    }

    /// False if there are too many already.
    pub(super) fn add(&mut self, ping: Ping) -> bool {
        if self.pings.len() >= MOST {
            return false;
        }
        self.pings.push_back(ping);
        true
    }

    /// Marks those not yet sent as sent and returns them.
    pub(super) fn take_unsent(&mut self, now: Instant) -> Vec<Ping> {
        let unsent = self.pings.iter_mut().filter(|p| p.sent.is_none());
        unsent
            .map(|p| {
                p.sent = Some(now);
                *p
            })
            .collect()
    }

    /// The answer to `token` came: how long it took.
    pub(super) fn answered(&mut self, token: Token, now: Instant) -> Option<Duration> {
        let at = self.pings.iter().position(|p| p.token == token && p.sent.is_some())?;
        let sent = self.pings.remove(at)?.sent?;
        Some(now.since(sent))
    }

    /// Whether messages wait for the line.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Lets a message wait for the line. False if there is no room.
    pub(super) fn wait(
        &mut self,
        room: &Room,
        limits: &Limits,
        deadline: Instant,
        (how, head, body): (Outgoing, &Bytes, &Bytes),
    ) -> bool {
        let bytes = head.len() + body.len();
        let held: usize = self.waiting.iter().map(|w| w.head.len() + w.body.len()).sum();
        if self.waiting.len() >= limits.queued_for_open.min(MOST)
            || held + bytes > limits.waiting_bytes_each
        {
            return false;
        }
        let Some(_share) = room.take(bytes) else { return false };
        let (head, body) = (head.clone(), body.clone());
        self.waiting.push_back(Waiting { how, head, body, deadline, _share });
        true
    }

    /// Takes the messages that waited.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Waiting> {
        core::mem::take(&mut self.waiting)
    }

    /// A packet of a message left for the mesh.
    pub(super) fn left(&mut self, counter: u64, message: u64) {
        let left = self.left.get_or_insert_with(|| Box::new(Left([(u64::MAX, 0); Left::MOST])));
        if let Some(place) = left.0.get_mut(Left::place(counter)) {
            *place = (counter, message);
        }
    }

    /// Which message the packet of this counter belonged to; once.
    pub(super) fn take_left(&mut self, counter: u64) -> Option<u64> {
        let place = self.left.as_mut()?.0.get_mut(Left::place(counter))?;
        let (held, message) = *place;
        (held == counter && counter != u64::MAX).then(|| {
            place.0 = u64::MAX;
            message
        })
    }

    /// Takes those whose time is up.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Token> {
        let mut gone = Vec::new();
        self.pings.retain(|p| {
            let up = p.deadline <= now;
            if up {
                gone.push(p.token);
            }
            !up
        });
        gone
    }

    /// Takes the messages that waited too long.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Token> {
        let mut gone = Vec::new();
        // They wait in the order of their deadlines.
        while let Some(over) = self.waiting.pop_front_if(|w| w.deadline <= now) {
            gone.push(over.how.token);
        }
        gone
    }

    /// Takes all pings, and all messages that wait.
    pub(super) fn take_all(&mut self) -> (Vec<Token>, Vec<Token>) {
        let pings = self.pings.drain(..).map(|p| p.token).collect();
        let waiting = self.waiting.drain(..).map(|w| w.how.token).collect();
        (pings, waiting)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.front().map(|w| w.deadline);
        self.pings.iter().map(|p| p.deadline).chain(waiting).min()
    }
}
