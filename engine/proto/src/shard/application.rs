//! What an application and an owner do with a shard, beside what comes from the network: messages,
//! streams, links. Each call does everything on this seat that follows from it.

use bytes::Bytes;

use super::{Output, Shard};
use crate::base::{Hashname, Instant, LinkId, Priority, Wall};
use crate::message::{Incoming, Outbound};
use crate::stage::streams::StreamKey;
use crate::switch::streams::{Code, Open, OpenError, ReadError, ReadState, WriteError};
use crate::wire::link::Cost;
use crate::wire::package::Code as MessageCode;

/// What an owner does with links while the node runs, on the seat that reads them.
impl Shard {
    /// Ends a link of this seat with a goodbye, for its owner does not want it any more. False if
    /// there is no such link.
    pub fn dismiss_link(&mut self, now: Instant, wall: Wall, link: LinkId) -> bool {
        let Self { links, posts, outputs, .. } = self;
        let found = links.dismiss(link, posts, &mut |e| outputs.push_back(Output::Link(e)));
        self.run(now, wall);
        found
    }

    /// Sending over a link of this seat costs something else from now on. False if there is no such
    /// link.
    pub fn set_link_cost(&mut self, now: Instant, wall: Wall, link: LinkId, cost: Cost) -> bool {
        let found = self.links.set_cost(link, cost, &mut self.posts);
        self.run(now, wall);
        found
    }
}

/// What an application does with messages, on the seat of the partition that brought them; what it
/// says to all, on the seat that routes.
impl Shard {
    /// Says something to every node in reach, and to this one if `here`. For the seat of routing.
    ///
    /// # Errors
    /// As [`broadcast`](crate::stage::routing::RoutingStage::broadcast) of its stage.
    pub fn broadcast(
        &mut self,
        now: Instant,
        wall: Wall,
        (outbound, record): (&Outbound, &Bytes),
        here: bool,
    ) -> Result<u64, MessageCode> {
        let Self { routing, posts, outputs, .. } = self;
        let routing = routing.as_mut().ok_or(MessageCode::UnknownTarget)?;
        let events = &mut |e| outputs.push_back(Output::Mesh(e));
        let sent = routing.broadcast(now, (outbound, record), here, posts, events);
        self.run(now, wall);
        sent
    }

    /// Tells the sender of a message what became of it: that it was handed over, if it asks for
    /// that, or that nobody has room for it.
    pub fn give_back(&mut self, now: Instant, wall: Wall, incoming: &Incoming, code: MessageCode) {
        let Self { lines, posts, outputs, .. } = self;
        if let Some(lines) = lines {
            let events = &mut |e| outputs.push_back(Output::Line(e));
            lines.give_back(now, incoming, code, posts, events);
        }
        self.run(now, wall);
    }
}

/// What an application does with streams; all of it on the seat of the peer's stream worker.
impl Shard {
    /// Opens a stream to a peer, wanting a line to it if there is none.
    ///
    /// # Errors
    /// [`OpenError`], when there are too many.
    pub fn open_stream(
        &mut self,
        now: Instant,
        wall: Wall,
        peer: Hashname,
        open: Open,
        priority: Priority,
    ) -> Result<StreamKey, OpenError> {
        let streams = self.streams.as_mut().ok_or(OpenError::TooMany)?;
        let key = streams.open(peer, open, priority);
        self.run(now, wall);
        key
    }

    /// Gives bytes to a stream; what it took is gone from the front of `bytes`. Nothing is sent
    /// before [`Self::flush`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write_stream(&mut self, key: StreamKey, bytes: &mut Bytes) -> Result<usize, WriteError> {
        self.streams.as_mut().ok_or(WriteError::Unknown)?.write(key, bytes)
    }

    /// Takes bytes that arrived on a stream. Credit goes out with [`Self::flush`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_stream(&mut self, key: StreamKey, max: usize) -> Result<ReadState, ReadError> {
        self.streams.as_mut().ok_or(ReadError::Unknown)?.read(key, max)
    }

    /// Ends our half of a stream.
    pub fn finish_stream(&mut self, key: StreamKey) {
        if let Some(streams) = &mut self.streams {
            streams.finish(key);
        }
    }

    /// Reads no more of a stream.
    pub fn stop_stream(&mut self, now: Instant, key: StreamKey) {
        if let Some(streams) = &mut self.streams {
            streams.stop(now, key);
        }
    }

    /// Ends a stream at once, both halves.
    pub fn reset_stream(&mut self, now: Instant, key: StreamKey, code: Code, reason: &str) {
        if let Some(streams) = &mut self.streams {
            streams.reset(now, key, code, reason);
        }
    }

    /// Who a stream leads to.
    #[must_use]
    pub fn stream_peer(&self, key: StreamKey) -> Option<Hashname> {
        self.streams.as_ref()?.peer_of(key)
    }

    /// Sends what the calls above made ready.
    pub fn flush(&mut self, now: Instant, wall: Wall) {
        self.run(now, wall);
    }
}
