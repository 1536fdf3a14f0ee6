//! Questions about one hashname that wait for an answer: bounded, and each with an end.

use core::time::Duration;
use std::collections::VecDeque;

use super::ask::Token;
use crate::base::{Instant, Priority};

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
    pub(super) token: Token,
    pub(super) priority: Priority,
    pub(super) reply: bool,
    pub(super) payload: bytes::Bytes,
}

/// The open questions about one hashname.
#[derive(Debug, Default)]
pub(super) struct Questions {
    pings: VecDeque<Ping>,
    pub(super) waiting: VecDeque<Waiting>,
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

    /// Takes all of them.
    pub(super) fn take_all(&mut self) -> Vec<Token> {
        let pings = self.pings.drain(..).map(|p| p.token);
        let waiting = self.waiting.drain(..).map(|w| w.token);
        pings.chain(waiting).collect()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pings.iter().map(|p| p.deadline).min()
    }
}
