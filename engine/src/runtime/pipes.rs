//! The streams of one worker that applications hold: the worker's ends of their [`Pipe`]s.
//!
//! What [`super::tunnels`] does with a socket is done here with shared memory. A pipe is looked
//! at when its application rang or its stream said something, and moves a bounded number of
//! pieces before others get their turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use slab::Slab;
use trunkline_proto::base::{Hashname, Priority};
use trunkline_proto::stage::streams::StreamKey;
use trunkline_proto::switch::streams::{Code, OpenError, ReadState, StreamEvent, WriteError};

use super::pipe::{Bell, NOWHERE, PIECE, Pipe, StreamError, THEIRS};
use super::tunnels::Context;

/// Pieces sent for one pipe before others get their turn.
const ROUND: usize = 16;

/// A pipe with its stream.
struct Joined {
    pipe: Arc<Pipe>,
    stream: StreamKey,
    /// The peer opened it.
    theirs: bool,
    /// Taken from the pipe, not yet by the stream.
    pending: Bytes,
    finished: bool,
    stopped: bool,
    ended: bool,
}

/// The pipes of one worker.
pub(crate) struct Pipes {
    bell: Arc<Bell>,
    joined: Slab<Joined>,
    by_stream: HashMap<StreamKey, usize>,
    /// How many each peer opened, by its number with the shard.
    theirs: HashMap<u32, usize>,
    /// Pipes that may have something to move.
    busy: Vec<usize>,
    rung: Vec<Arc<Pipe>>,
    arrived: Vec<Bytes>,
}

impl Pipes {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self {
            bell,
            joined: Slab::new(),
            by_stream: HashMap::new(),
            theirs: HashMap::new(),
            busy: Vec::new(),
            rung: Vec::new(),
            arrived: Vec::new(),
        }
    }

    /// How many pipes there are.
    pub(crate) fn open(&self) -> usize {
        self.bell.pipes()
    }

    /// Whether a stream belongs to a pipe.
    pub(crate) fn has(&self, stream: StreamKey) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// A pipe for a stream that a peer opened, if there may be one more.
    pub(crate) fn accept(
        &mut self,
        stream: StreamKey,
        peer: Hashname,
        priority: Priority,
    ) -> Option<Arc<Pipe>> {
        let (most, most_of_one) = THEIRS;
        let all: usize = self.theirs.values().sum();
        let of_one = self.theirs.get(&stream.peer).copied().unwrap_or(0);
        if all >= most || of_one >= most_of_one || !self.bell.admit() {
            return None;
        }
        *self.theirs.entry(stream.peer).or_default() += 1;
        let pipe = Pipe::new(peer, priority, None, self.bell.clone());
        self.join(pipe.clone(), stream, true);
        Some(pipe)
    }

    fn join(&mut self, pipe: Arc<Pipe>, stream: StreamKey, theirs: bool) {
        let (finished, stopped, ended) = (false, false, false);
        let entry = self.joined.vacant_entry();
        let slot = entry.key();
        pipe.slot.store(slot, Ordering::Relaxed);
        let pending = Bytes::new();
        entry.insert(Joined { pipe, stream, theirs, pending, finished, stopped, ended });
        self.by_stream.insert(stream, slot);
        self.busy.push(slot);
    }

    /// Looks at the pipes whose applications rang.
    pub(crate) fn answer(&mut self, ctx: &mut Context<'_>) {
        let mut rung = std::mem::take(&mut self.rung);
        self.bell.answer(&mut rung);
        for pipe in rung.drain(..) {
            let open = pipe.open.lock().take();
            if let Some(open) = open {
                match ctx.shard.open_stream(ctx.now, ctx.wall, pipe.peer, open, pipe.priority) {
                    Ok(stream) => self.join(pipe, stream, false),
                    Err(error) => {
                        self.bell.release();
                        pipe.fail(why_not(error));
                    }
                }
                continue;
            }
            let slot = pipe.slot.load(Ordering::Relaxed);
            if self.joined.get(slot).is_some_and(|j| Arc::ptr_eq(&j.pipe, &pipe)) {
                self.busy.push(slot);
            }
        }
        self.rung = rung;
    }

    /// Something happened to a stream of a pipe.
    pub(crate) fn stream_event(&mut self, stream: StreamKey, event: &StreamEvent) {
        let Some(&slot) = self.by_stream.get(&stream) else { return };
        let Some(joined) = self.joined.get(slot) else { return };
        match event {
            StreamEvent::Reset { code, reason, .. } => {
                joined.pipe.fail(StreamError::Reset { code: *code, reason: reason.clone() });
                self.part(slot);
            }
            StreamEvent::Closed(_) => self.part(slot),
            StreamEvent::Stopped { code, .. } => {
                joined.pipe.peer_stopped(*code);
                self.busy.push(slot);
            }
            StreamEvent::Finished(_) => joined.pipe.delivered(),
            StreamEvent::Readable(_) | StreamEvent::Writable(_) => self.busy.push(slot),
            StreamEvent::Opened { .. } => {}
        }
    }

    /// Moves what can be moved; true if some have more to move than their turn allowed.
    pub(crate) fn pump(&mut self, ctx: &mut Context<'_>) -> bool {
        let mut busy = std::mem::take(&mut self.busy);
        busy.sort_unstable();
        busy.dedup();
        for slot in busy.drain(..) {
            let Some(joined) = self.joined.get_mut(slot) else { continue };
            match joined.pump(ctx, &mut self.arrived) {
                Pumped::Idle => {}
                Pumped::More => self.busy.push(slot),
                Pumped::GivenUp => self.part(slot),
            }
        }
        !self.busy.is_empty()
    }

    fn part(&mut self, slot: usize) {
        let Some(gone) = self.joined.try_remove(slot) else { return };
        gone.pipe.slot.store(NOWHERE, Ordering::Relaxed);
        self.by_stream.remove(&gone.stream);
        self.bell.release();
        if gone.theirs
            && let Some(count) = self.theirs.get_mut(&gone.stream.peer)
        {
            *count -= 1;
            if *count == 0 {
                self.theirs.remove(&gone.stream.peer);
            }
        }
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        self.bell.close();
        for (_, joined) in &self.joined {
            joined.pipe.fail(StreamError::NodeGone);
        }
    }
}

fn why_not(error: OpenError) -> StreamError {
    match error {
        OpenError::TooMany => StreamError::TooMany,
        OpenError::BadTarget | OpenError::Exhausted => {
            StreamError::Reset { code: Code::CANCELLED, reason: error.to_string().into() }
        }
    }
}

enum Pumped {
    /// Nothing can be moved until something happens.
    Idle,
    /// More could be moved.
    More,
    /// The application gave the stream up.
    GivenUp,
}

impl Joined {
    fn pump(&mut self, ctx: &mut Context<'_>, arrived: &mut Vec<Bytes>) -> Pumped {
        let (reset, stop) = self.pipe.wishes(|s| (s.reset.clone(), s.stop));
        if let Some((code, reason)) = reset {
            ctx.shard.reset_stream(ctx.now, self.stream, code, &reason);
            self.pipe.fail(StreamError::EndedHere);
            return Pumped::GivenUp;
        }
        if stop && !self.stopped && !self.ended {
            self.stopped = true;
            ctx.shard.stop_stream(ctx.now, self.stream);
        }
        let more = self.outward(ctx) | self.inward(ctx, arrived);
        if more { Pumped::More } else { Pumped::Idle }
    }

    /// From the pipe to the stream; true if there may be more than a turn allows.
    fn outward(&mut self, ctx: &mut Context<'_>) -> bool {
        for _ in 0..ROUND {
            if self.pending.is_empty() {
                match self.pipe.take_outbound() {
                    Some(piece) => self.pending = piece,
                    None => {
                        self.finish_if_wanted(ctx);
                        return false;
                    }
                }
            }
            let taken = ctx.shard.write_stream(self.stream, &mut self.pending);
            match taken {
                Ok(_) | Err(WriteError::Blocked) if !self.pending.is_empty() => {
                    self.pipe.wishes(|s| s.outbound_stuck = true);
                    return false;
                }
                Ok(_) | Err(WriteError::Blocked) => {}
                Err(_) => {
                    // Stopped, or gone: an event says so.
                    self.pending = Bytes::new();
                    return false;
                }
            }
        }
        true
    }

    fn finish_if_wanted(&mut self, ctx: &mut Context<'_>) {
        let finish = self.pipe.wishes(|s| s.finish && s.is_outbound_empty());
        if finish && !self.finished {
            self.finished = true;
            ctx.shard.finish_stream(self.stream);
        }
    }

    /// From the stream to the pipe, as much as there is room for; true if the reader made room
    /// meanwhile.
    fn inward(&mut self, ctx: &mut Context<'_>, arrived: &mut Vec<Bytes>) -> bool {
        if self.ended || self.stopped {
            return false;
        }
        let (mut room, mut pieces) = self.pipe.wishes(|s| s.inbound_room());
        let full = loop {
            if room == 0 || pieces == 0 {
                break true;
            }
            match ctx.shard.read_stream(self.stream, room.min(PIECE)) {
                Ok(ReadState::Data(bytes)) => {
                    room = room.saturating_sub(bytes.len());
                    pieces -= 1;
                    arrived.push(bytes);
                }
                Ok(ReadState::End) => {
                    self.ended = true;
                    break false;
                }
                Ok(ReadState::Pending) | Err(_) => break false,
            }
        };
        if !arrived.is_empty() || self.ended {
            self.pipe.put_inbound(arrived, self.ended);
        }
        full && self.pipe.await_room()
    }
}
