//! The halves of links that are written on one thread, as far as their sockets take it.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};

use mio::{Interest, Registry, Token};
use trunkline_proto::base::{Instant, LinkId};
use trunkline_proto::shard::Shard;
use trunkline_proto::stage::outgoing::Outgoing;

use crate::net::{Transport, tcp};
use crate::runtime::late::Late;

/// Most pieces of memory in one write.
pub const PIECES: usize = 64;

/// One link's writing half.
struct WriteHalf {
    transport: Transport,
    token: Token,
    blocked: bool,
    late: Late,
}

/// The links written on one thread.
pub struct Writers {
    /// Most pieces in one write, at most [`PIECES`].
    pieces: usize,
    links: HashMap<LinkId, WriteHalf>,
    by_token: HashMap<Token, LinkId>,
    /// Links that may have something to write,
    busy: Vec<LinkId>,
    /// and the room for those whose turn it is, kept so that a round allocates nothing.
    turn: Vec<LinkId>,
}

impl Writers {
    /// No links yet; each write to one takes at most so many pieces of memory.
    #[must_use]
    pub fn new(pieces: usize) -> Self {
        let pieces = pieces.clamp(1, PIECES);
        let (links, by_token) = Default::default();
        Self { pieces, links, by_token, busy: Vec::new(), turn: Vec::new() }
    }

    /// Takes the writing half of a link.
    pub fn adopt(
        &mut self,
        registry: &Registry,
        (link, token): (LinkId, Token),
        mut transport: Transport,
    ) -> io::Result<()> {
        registry.register(&mut transport, token, Interest::WRITABLE)?;
        let late = Late::new(&transport);
        let half = WriteHalf { transport, token, blocked: false, late };
        self.links.insert(link, half);
        self.by_token.insert(token, link);
        self.busy.push(link);
        Ok(())
    }

    /// Which link has this token.
    #[must_use]
    pub fn link(&self, token: Token) -> Option<LinkId> {
        self.by_token.get(&token).copied()
    }

    /// A link's socket has room again.
    pub fn writable(&mut self, link: LinkId) {
        if let Some(half) = self.links.get_mut(&link) {
            half.blocked = false;
            self.busy.push(link);
        }
    }

    /// Forgets a link, after a last attempt to write what is left. Gives back its token.
    pub fn remove(&mut self, link: LinkId, registry: &Registry) -> Option<Token> {
        let mut gone = self.links.remove(&link)?;
        let _ = gone.transport.shutdown();
        let _ = registry.deregister(&mut gone.transport);
        self.by_token.remove(&gone.token);
        Some(gone.token)
    }

    /// Writes what waits, link by link, until sockets are full. Gives back the links that broke.
    pub fn flush(&mut self, now: Instant, shard: &mut Shard) -> Vec<(LinkId, io::Error)> {
        let Some(writer) = shard.writer() else { return Vec::new() };
        while let Some(link) = writer.take_ready() {
            self.busy.push(link);
        }
        let mut broken = Vec::new();
        std::mem::swap(&mut self.busy, &mut self.turn);
        for link in self.turn.drain(..) {
            let Some(half) = self.links.get_mut(&link).filter(|h| !h.blocked) else { continue };
            let Some(outgoing) = writer.outgoing(link) else { continue };
            match half.write(now, outgoing, self.pieces) {
                Ok(true) => {}
                Ok(false) => self.busy.push(link),
                Err(error) => broken.push((link, error)),
            }
        }
        broken
    }

    /// Whether everything has been written, and sent by the kernel.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let sent = |h: &WriteHalf| tcp::unsent_bytes(h.transport.socket()).is_ok_and(|b| b == 0);
        self.busy.is_empty() && self.links.values().all(|half| !half.blocked && sent(half))
    }

    /// Whether some links have more to write than their turn allowed.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }
}

impl WriteHalf {
    /// Writes until the socket is full or nothing waits (true), or its turn is over (false).
    fn write(&mut self, now: Instant, outgoing: &mut Outgoing, pieces: usize) -> io::Result<bool> {
        let mut turn = 1usize << 20;
        loop {
            if outgoing.is_empty() {
                self.late.drained(now, &mut self.transport);
                return self.flush();
            }
            let mut slices = [IoSlice::new(&[]); PIECES];
            let room = slices.get_mut(..pieces).unwrap_or_default();
            let used = outgoing.gather(self.late.budget(), room);
            let slices = slices.get(..used).unwrap_or_default();
            match self.transport.write(slices) {
                Ok(taken) => {
                    outgoing.consume(now, taken);
                    self.late.took(taken);
                    turn = turn.saturating_sub(taken);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    self.late.blocked(now, &mut self.transport);
                    return Ok(true);
                }
                Err(error) => return Err(error),
            }
            if turn == 0 {
                return Ok(false);
            }
        }
    }

    fn flush(&mut self) -> io::Result<bool> {
        if self.transport.wants_write() && !self.transport.flush()? {
            self.blocked = true;
        }
        Ok(true)
    }
}
