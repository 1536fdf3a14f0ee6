//! The links of a worker as connections: accepted, dialled, handed to their writer, and dialled anew
//! after a wait when they are lost.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::Token;
use mio::net::TcpStream;
use trunkline_proto::base::backoff::Backoff;
use trunkline_proto::base::{DropReason, Instant, LinkId};
use trunkline_proto::mesh::Side;
use trunkline_proto::shard::Input;
use trunkline_proto::wire::link::Cost;

use super::{Source, Worker};
use crate::config::Transport as Kind;
use crate::net::{Accepted, Transport, tcp};
use crate::runtime::clock::Clock;
use crate::runtime::letters::{DialReport, Letter, LinkRef};
use crate::runtime::links::{Closed, Connection};
use crate::runtime::mailbox::Lane;
use crate::setup::Dial;

/// Connections accepted before others get their turn.
const ACCEPTS: usize = 64;
/// First and longest wait before a lost link is dialled again.
const REDIAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));
/// A link that stood this long starts over with the shortest wait.
const STABLE: Duration = Duration::from_secs(10);

/// A configured link.
pub(super) struct Dialled {
    index: usize,
    dial: Dial,
    link: Option<LinkId>,
    backoff: Backoff,
    /// Which of its addresses is next.
    turn: usize,
    pub(super) retry: Option<Instant>,
    up: Option<Instant>,
    losses: u64,
    last_error: Option<String>,
}

impl Dialled {
    /// Due at once.
    pub(super) fn new(index: usize, dial: Dial) -> Self {
        Self {
            index,
            dial,
            link: None,
            backoff: Backoff::new(REDIAL.0, REDIAL.1),
            turn: 0,
            retry: Some(Instant::ZERO),
            up: None,
            losses: 0,
            last_error: None,
        }
    }

    /// Its neighbour has proved itself.
    pub(super) fn came_up(&mut self, now: Instant) {
        self.up = Some(now);
        self.last_error = None;
    }

    pub(super) fn report(&self, now: Instant) -> DialReport {
        DialReport {
            index: self.index,
            link: self.link,
            losses: self.losses,
            last_error: self.last_error.clone(),
            retry_in: self.retry.map(|r| r.since(now)),
        }
    }
}

impl Worker {
    /// The configured link of this index.
    pub(super) fn dialled(&mut self, index: Option<usize>) -> Option<&mut Dialled> {
        self.dials.iter_mut().find(|d| Some(d.index) == index)
    }

    pub(super) fn accept(&mut self, now: Instant, index: usize) {
        for _ in 0..ACCEPTS {
            let Some((listener, what)) = self.listeners.get(index) else { return };
            let what = *what;
            match listener.accept() {
                Ok(Accepted::Link(stream, remote)) => {
                    if !self.readers.admits(remote.ip(), &self.shared.limits) {
                        self.drops.count(DropReason::TableFull);
                        continue;
                    }
                    let (kind, port) = (what.transport, Some(what.address.port()));
                    if let Err(error) = self.connect(
                        now,
                        stream,
                        (kind, port),
                        Side::Accepted,
                        what.cost,
                        None,
                        remote,
                    ) {
                        tracing::debug!(%remote, %error, "an incoming link was not taken");
                    }
                }
                Ok(Accepted::Empty) => return,
                Ok(Accepted::Exhausted) => {
                    self.paused = Some(now + Duration::from_millis(100));
                    return;
                }
                Err(error) => {
                    tracing::error!(address = %listener.local_addr(), %error, "cannot accept");
                    return;
                }
            }
        }
        // More wait than one round takes: the next one goes on.
        self.paused = Some(now);
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one connection")]
    fn connect(
        &mut self,
        now: Instant,
        stream: TcpStream,
        (kind, port): (Kind, Option<u16>),
        side: Side,
        cost: Cost,
        dial: Option<usize>,
        remote: SocketAddr,
    ) -> io::Result<LinkId> {
        let transport = match (kind, side) {
            (Kind::Plain, _) => Transport::plain(stream),
            (Kind::Tls, Side::Dialed { .. }) => Transport::dialled(stream, &self.tls)?,
            (Kind::Tls, Side::Accepted) => Transport::accepted(stream, &self.tls)?,
        };
        let link = self.new_link();
        let token = Token(self.sources.insert(Source::Reader));
        let connection = Connection { transport, side, cost, port, dial, remote };
        let limits = &self.shared.limits;
        let added = self.readers.add(now, limits, self.poll.registry(), (link, token), connection);
        if added.is_err() {
            self.sources.remove(token.0);
        }
        added.map(|()| link)
    }

    /// A number that no other link has and whose reader is this seat.
    fn new_link(&mut self) -> LinkId {
        let partition = u32::from(self.partition.unwrap_or(0));
        let link = LinkId(self.next_link * u32::from(self.plan.partitions()) + partition);
        self.next_link += 1;
        link
    }

    /// Reads a link's turn, and passes on what was read if that is much.
    pub(super) fn link_ready(&mut self, now: Instant, link: LinkId) {
        self.read_link(now, link);
        if self.readers.is_full() {
            self.settle(now);
            self.flush(now);
        }
    }

    /// Reads a link's turn. Passes nothing on: what writes calls this for links that broke, which would
    /// go as deep as there are such links.
    pub(super) fn read_link(&mut self, now: Instant, link: LinkId) {
        let clock = (now, Clock::wall());
        match self.readers.ready(link, clock, &mut self.shard, &mut self.pool) {
            Ok(None) => {}
            Ok(Some(transport)) => {
                let writer = self.plan.seat(self.plan.writer_of(link));
                if writer == self.seat {
                    self.adopt(link, transport);
                } else {
                    self.send(writer, Lane::Urgent, Letter::Adopt(link, transport));
                }
            }
            Err(why) => {
                // A goodbye that came with the end of the connection is the better reason.
                self.settle(now);
                self.close(now, link, why);
            }
        }
    }

    pub(super) fn adopt(&mut self, link: LinkId, transport: Transport) {
        let token = Token(self.sources.insert(Source::Writer));
        let adopted = self.writers.adopt(self.poll.registry(), (link, token), transport);
        if let Err(error) = adopted {
            tracing::warn!(%error, "a link cannot be written to");
            self.sources.remove(token.0);
        }
    }

    pub(super) fn abandon(&mut self, link: LinkId) {
        if let Some(token) = self.writers.remove(link, self.poll.registry()) {
            self.sources.remove(token.0);
        }
    }

    /// Ends a link of this seat, whatever it was doing.
    pub(super) fn close(&mut self, now: Instant, link: LinkId, why: String) {
        self.shard.handle(now, Clock::wall(), Input::LinkClosed(link));
        let Some(closed) = self.readers.remove(link, self.poll.registry(), why) else { return };
        self.sources.remove(closed.token.0);
        let writer = self.plan.seat(self.plan.writer_of(link));
        if writer == self.seat {
            self.abandon(link);
        } else {
            self.send(writer, Lane::Urgent, Letter::Abandon(link));
        }
        self.lost(now, &closed);
    }

    /// Where a link stands among those that are kept up here.
    fn dialled_at(&self, link: LinkRef) -> Option<usize> {
        self.dials.iter().position(|d| match link {
            LinkRef::Dialled(index) => d.index == index,
            LinkRef::Number(link) => d.link == Some(link),
        })
    }

    /// Ends a link of this seat that its owner does not want any more. False if there is none.
    pub(super) fn close_link(&mut self, now: Instant, link: LinkRef) -> bool {
        let gone = self.dialled_at(link).map(|at| self.dials.remove(at));
        if let Some(gone) = &gone {
            self.shared.dialled.forget(gone.index);
        }
        let connected = match link {
            LinkRef::Number(link) => Some(link),
            LinkRef::Dialled(_) => gone.as_ref().and_then(|d| d.link),
        };
        let connected = connected.filter(|link| self.readers.remote(*link).is_some());
        if let Some(link) = connected {
            self.shard.dismiss_link(now, Clock::wall(), link);
            self.settle(now);
            // One that had not come as far as a goodbye.
            if self.readers.remote(link).is_some() {
                self.close(now, link, "closed by its owner".into());
            }
        }
        gone.is_some() || connected.is_some()
    }

    /// Sending over a link of this seat costs something else. False if there is none.
    pub(super) fn cost_link(&mut self, now: Instant, link: LinkRef, cost: Cost) -> bool {
        let at = self.dialled_at(link);
        let dialled = at.and_then(|at| self.dials.get_mut(at));
        let known = dialled.is_some();
        let connected = match (link, dialled) {
            (LinkRef::Number(link), None) => Some(link),
            (_, Some(dialled)) => {
                dialled.dial.cost = cost;
                dialled.link
            }
            (LinkRef::Dialled(_), None) => None,
        };
        let Some(link) = connected else { return known };
        self.readers.set_cost(link, cost) | self.shard.set_link_cost(now, Clock::wall(), link, cost)
    }

    fn lost(&mut self, now: Instant, closed: &Closed) {
        let Closed { remote, why, dial, .. } = closed;
        let Some(d) = self.dials.iter_mut().find(|d| Some(d.index) == *dial) else {
            tracing::info!(%remote, %why, "link closed");
            return;
        };
        if d.up.take().is_some_and(|up| now.since(up) >= STABLE) {
            d.backoff.reset();
        }
        let wait = d.backoff.after_failure(&mut self.chance);
        tracing::info!(name = d.dial.name, %remote, %why, ?wait, "link lost, dialling again");
        d.link = None;
        d.losses += 1;
        d.last_error = Some(why.clone());
        d.retry = Some(now + wait);
    }

    pub(super) fn dial(&mut self, now: Instant, i: usize) {
        let Some(d) = self.dials.get_mut(i) else { return };
        d.retry = None;
        let count = d.dial.addresses.len().max(1);
        let Some(&remote) = d.dial.addresses.get(d.turn % count) else { return };
        d.turn += 1;
        let (kind, cost, index) = (d.dial.transport, d.dial.cost, d.index);
        let side = Side::Dialed { expect: Some(d.dial.hashname) };
        let dialled = tcp::dial(remote, &self.tcp)
            .and_then(|s| self.connect(now, s, (kind, None), side, cost, Some(index), remote));
        let Some(d) = self.dials.get_mut(i) else { return };
        match dialled {
            Ok(link) => d.link = Some(link),
            Err(error) => {
                d.last_error = Some(error.to_string());
                d.retry = Some(now + d.backoff.after_failure(&mut self.chance));
            }
        }
    }
}
