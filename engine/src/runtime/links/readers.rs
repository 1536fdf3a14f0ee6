//! The halves of links that are read on one thread: dialled or accepted, shaken hands on, read in turn.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use mio::{Interest, Registry, Token};
use trunkline_proto::base::{Alarms, FramePool, Instant, Limits, LinkId, Wall};
use trunkline_proto::mesh as session;
use trunkline_proto::shard::{Input, Shard};
use trunkline_proto::wire::link::Cost;

use super::{Closed, Connection};
use crate::net::{HandshakeState, PeerProof, ReadOutcome, Transport};

/// Bytes read from a link before others get their turn: as many at a time as come decrypted together.
const READ: usize = 128 << 10;
/// Bytes read from links after which what they brought is passed on at once, while the processor still
/// has it in its cache: what other reads have driven out costs a tenth more to write, large frames
/// a seventh.
const AT_HAND: usize = 64 << 10;

/// One link's reading half.
struct Reader {
    transport: Transport,
    token: Token,
    side: session::Side,
    cost: Cost,
    /// The port of ours it was accepted at.
    port: Option<u16>,
    /// Which of the configured links this is.
    dial: Option<usize>,
    remote: SocketAddr,
    /// Until when the handshake must be done; `None` once it is.
    handshake: Option<Instant>,
    /// The beginning of a frame that has not come whole yet.
    partial: BytesMut,
    /// The poller said that the other side ended its stream.
    ending: bool,
    /// It is among those with more to read.
    queued: bool,
}

/// The links read on one thread.
#[derive(Default)]
pub struct Readers {
    links: HashMap<LinkId, Reader>,
    by_token: HashMap<Token, LinkId>,
    /// Until when those that shake hands must be done.
    handshakes: Alarms<LinkId>,
    /// Links with more to read than their turn allowed, each once.
    unread: VecDeque<LinkId>,
    moved: Moved,
    /// Bytes read since they were last passed on.
    brought: usize,
}

/// What links brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many links were ready.
    pub links: u32,
    /// How many packages they brought.
    pub packages: u32,
}

impl Readers {
    /// How many links there are, handshakes included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether another connection from this address may shake hands.
    #[must_use]
    pub fn admits(&self, from: IpAddr, limits: &Limits) -> bool {
        let (mut all, mut same) = (0, 0);
        for link in self.links.values().filter(|l| l.handshake.is_some()) {
            all += 1;
            same += usize::from(link.remote.ip() == from);
        }
        all < limits.half_open && same < limits.half_open_per_address && self.len() < limits.links
    }

    /// Takes a new connection.
    ///
    /// # Errors
    /// When the poller does not take it.
    pub fn add(
        &mut self,
        now: Instant,
        limits: &Limits,
        registry: &Registry,
        (link, token): (LinkId, Token),
        mut connection: Connection,
    ) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut connection.transport, token, interest)?;
        let Connection { transport, side, cost, port, dial, remote } = connection;
        let mut handshake = None;
        self.handshakes.set(link, &mut handshake, Some(now + limits.tls_handshake));
        let partial = BytesMut::new();
        let reader = Reader {
            transport,
            token,
            side,
            cost,
            port,
            dial,
            remote,
            handshake,
            partial,
            ending: false,
            queued: false,
        };
        self.links.insert(link, reader);
        self.by_token.insert(token, link);
        Ok(())
    }

    /// Which link has this token.
    #[must_use]
    pub fn link(&self, token: Token) -> Option<LinkId> {
        self.by_token.get(&token).copied()
    }

    /// Where a link leads, and which of the configured links it is.
    #[must_use]
    pub fn remote(&self, link: LinkId) -> Option<(SocketAddr, Option<usize>, bool)> {
        self.links.get(&link).map(|l| (l.remote, l.dial, l.transport.is_protected()))
    }

    /// A link whose handshake is still under way is to come up at this cost. False if there is no
    /// such link.
    pub fn set_cost(&mut self, link: LinkId, cost: Cost) -> bool {
        let reader = self.links.get_mut(&link);
        reader.map(|reader| reader.cost = cost).is_some()
    }

    /// How many links have more to read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Takes out the link that has waited longest with more to read.
    pub fn next_unread(&mut self) -> Option<LinkId> {
        let link = self.unread.pop_front()?;
        if let Some(reader) = self.links.get_mut(&link) {
            reader.queued = false;
        }
        Some(link)
    }

    /// When the first handshake under way runs out of time.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.handshakes.next()
    }

    /// Takes a link whose handshake took too long; it is to be removed.
    pub fn pop_late(&mut self, now: Instant) -> Option<LinkId> {
        let link = self.handshakes.pop_due(now)?;
        if let Some(reader) = self.links.get_mut(&link) {
            reader.handshake = None;
        }
        Some(link)
    }

    /// A link's socket will have nothing to say any more: read until its end.
    pub fn ending(&mut self, link: LinkId) {
        if let Some(reader) = self.links.get_mut(&link) {
            reader.ending = true;
        }
    }

    /// What was read since this was last asked.
    pub const fn take_moved(&mut self) -> Moved {
        let moved = self.moved;
        self.moved = Moved { links: 0, packages: 0 };
        moved
    }

    /// Whether so much was read that it is time to pass it on.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.brought >= AT_HAND
    }

    /// All that was read is passed on.
    pub const fn pass_on(&mut self) {
        self.brought = 0;
    }

    /// A link's socket is ready, or it had more to read.
    pub fn ready(
        &mut self,
        link: LinkId,
        (now, wall): (Instant, Wall),
        shard: &mut Shard,
        pool: &mut FramePool,
    ) -> Result<Option<Transport>, String> {
        let Some(reader) = self.links.get_mut(&link) else { return Ok(None) };
        let mut opened = None;
        if reader.handshake.is_some() {
            match reader.transport.handshake() {
                Ok(HandshakeState::Wants { .. }) => return Ok(None),
                Ok(HandshakeState::Done { peer }) => {
                    self.handshakes.set(link, &mut reader.handshake, None);
                    let transport = proof(peer);
                    let (side, cost, port) = (reader.side, reader.cost, reader.port);
                    opened = Some(reader.transport.try_clone().map_err(|e| e.to_string())?);
                    let input = Input::LinkOpened { link, side, transport, cost, port };
                    shard.handle(now, wall, input);
                }
                Err(error) => return Err(format!("handshake: {error}")),
            }
        }
        self.moved.links += 1;
        let end = self.brought + READ;
        while self.brought < end {
            match reader.read(link, (now, wall), shard, pool, &mut self.moved) {
                Ok(ReadOutcome::Bytes(bytes)) => self.brought += bytes,
                Ok(ReadOutcome::Drained(bytes)) => {
                    self.brought += bytes;
                    if !reader.ending {
                        return Ok(opened);
                    }
                }
                Ok(ReadOutcome::Blocked) => return Ok(opened),
                Ok(ReadOutcome::Closed) => return Err("the neighbour closed the connection".into()),
                Err(error) => return Err(error.to_string()),
            }
        }
        if !reader.queued {
            reader.queued = true;
            self.unread.push_back(link);
        }
        Ok(opened)
    }

    /// Forgets a link and closes its socket.
    pub fn remove(&mut self, link: LinkId, registry: &Registry, why: String) -> Option<Closed> {
        let mut gone = self.links.remove(&link)?;
        self.handshakes.set(link, &mut gone.handshake, None);
        let _ = registry.deregister(&mut gone.transport);
        let _ = gone.transport.shutdown();
        self.by_token.remove(&gone.token);
        Some(Closed { link, dial: gone.dial, token: gone.token, remote: gone.remote, why })
    }
}

impl Reader {
    fn read(
        &mut self,
        link: LinkId,
        (now, wall): (Instant, Wall),
        shard: &mut Shard,
        pool: &mut FramePool,
        moved: &mut Moved,
    ) -> io::Result<ReadOutcome> {
        let buffer = pool.spare(self.partial.len() + READ);
        buffer.extend_from_slice(&self.partial);
        let outcome = self.transport.read(buffer);
        // Before anything else: what is left in the pool would begin the next link's bytes.
        let mut bytes = buffer.split();
        let outcome = outcome?;
        if let ReadOutcome::Bytes(_) | ReadOutcome::Drained(_) = outcome {
            self.partial.clear();
            moved.packages += shard.received(now, wall, link, &mut bytes);
            // At most one frame that has not come whole: the only bytes ever copied here.
            self.partial.extend_from_slice(&bytes);
        }
        if self.transport.wants_write() {
            self.transport.flush()?;
        }
        Ok(outcome)
    }
}

fn proof(peer: Option<PeerProof>) -> session::Transport {
    match peer {
        Some(p) => session::Transport::Tls { peer_key: p.key, binding: p.binding },
        None => session::Transport::Plain,
    }
}
