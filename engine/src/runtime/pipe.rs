//! A stream's bytes between the application and the worker that owns the stream.
//!
//! Two bounded queues under one lock, which either side holds for a few moves of pointers or the
//! copy of a small piece. What the application does marks the pipe and rings the worker's
//! [`Bell`], once however much is done before the worker looks. What the worker does wakes
//! whoever waits, blocked thread or task.
//!
//! ```text
//!   application ──write──► outbound ──► worker: Shard::write_stream
//!               ◄──read─── inbound  ◄── worker: Shard::read_stream
//!   finish, stop, reset ──► wishes      failed, stopped, ended ◄── what became of the stream
//! ```
//!
//! Back-pressure is not reading: the worker takes from the stream what inbound has room for, and
//! the stream gives the peer credit for what was taken.

mod bell;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use trunkline_proto::base::{Hashname, Priority};
use trunkline_proto::switch::streams::{Code, Open};

pub(crate) use bell::Bell;
use state::State;

/// Pipes of one worker. Each pins at most [`OUTBOUND`] + [`INBOUND`] + 128 KiB, so together
/// 640 MiB, and what their streams' windows hold.
pub(crate) const MOST: usize = 1_024;
/// How many of them peers may open, so that there is room for our own, and each single peer.
pub(super) const THEIRS: (usize, usize) = (768, 256);
/// Bytes written and not yet taken by the worker; one piece may lie over it.
pub(super) const OUTBOUND: usize = 256 << 10;
/// Bytes taken from the stream and not yet read.
pub(super) const INBOUND: usize = 256 << 10;
/// Pieces of [`INBOUND`]: small packets are not to make long queues.
const PIECES: usize = 2_048;
/// The largest piece.
pub(crate) const PIECE: usize = 64 << 10;
/// What is smaller than this is gathered.
const SMALL: usize = 4 << 10;

/// Why a stream can no longer be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// It was reset: by the peer, or because its line is gone or silent. The codes below 256 are
    /// those of [`Code`]; the others are the applications' own.
    #[error("the stream was reset with code {}{}{reason}", code.0, if reason.is_empty() { "" } else { ": " })]
    Reset {
        /// Why.
        code: Code,
        /// Why, for people.
        reason: Box<str>,
    },
    /// The peer reads no more of it.
    #[error("the peer reads no more of the stream (code {})", .0.0)]
    Stopped(Code),
    /// This side reset or finished it before.
    #[error("the stream was ended here")]
    EndedHere,
    /// As many streams are open with the peer as may be.
    #[error("as many streams are open as may be")]
    TooMany,
    /// The node is gone.
    #[error("the node has stopped")]
    NodeGone,
}

/// One stream in an application's hands.
pub(crate) struct Pipe {
    pub(crate) peer: Hashname,
    pub(crate) priority: Priority,
    /// What it is opened for; none once the worker has it, or if the peer opened it.
    pub(super) open: Mutex<Option<Open>>,
    state: Mutex<State>,
    readable: Condvar,
    writable: Condvar,
    bell: Arc<Bell>,
    /// It is on the bell's list.
    marked: AtomicBool,
    /// Its place with the worker.
    pub(super) slot: AtomicUsize,
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// No place yet, or no more.
pub(super) const NOWHERE: usize = usize::MAX;

impl Pipe {
    pub(super) fn new(
        peer: Hashname,
        priority: Priority,
        open: Option<Open>,
        bell: Arc<Bell>,
    ) -> Arc<Self> {
        Arc::new(Self {
            peer,
            priority,
            open: Mutex::new(open),
            state: Mutex::default(),
            readable: Condvar::new(),
            writable: Condvar::new(),
            bell,
            marked: AtomicBool::new(false),
            slot: AtomicUsize::new(NOWHERE),
        })
    }

    fn ring(self: &Arc<Self>) {
        self.bell.ring(self);
    }
}

/// What the application does.
impl Pipe {
    /// Reads without waiting; `None` if there is nothing now. With a waker, it is woken when there
    /// is something.
    pub(crate) fn read(
        self: &Arc<Self>,
        into: &mut [u8],
        waker: Option<&Waker>,
    ) -> Option<Result<usize, StreamError>> {
        let mut state = self.state.lock();
        let (read, ring) = state.read(into);
        if read.is_none() {
            state.reader = waker.cloned();
        }
        drop(state);
        if ring {
            self.ring();
        }
        read
    }

    /// Waits until there is something to read; false when `patience` ends first.
    pub(crate) fn wait_readable(&self, patience: Option<Duration>) -> bool {
        wait(&self.readable, &self.state, patience, |s| !s.is_readable())
    }

    /// Takes one piece from `bytes` without waiting, or says why it takes none. `None` if there is
    /// no room now.
    pub(crate) fn write(
        self: &Arc<Self>,
        bytes: &[u8],
        waker: Option<&Waker>,
    ) -> Option<Result<usize, StreamError>> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        if piece.len() < SMALL {
            return self.put(waker, |state| state.gather(piece));
        }
        let mut state = self.state.lock();
        if state.not_writable().is_none() && state.outbound_bytes >= OUTBOUND {
            state.writer = waker.cloned();
            return None;
        }
        drop(state);
        // Copied outside of the lock: the worker is not to wait for it.
        let piece = Bytes::copy_from_slice(piece);
        self.put(waker, |state| state.push(piece))
    }

    /// As [`Self::write`], the whole of `bytes` as it lies.
    pub(crate) fn write_bytes(
        self: &Arc<Self>,
        bytes: Bytes,
        waker: Option<&Waker>,
    ) -> Option<Result<usize, StreamError>> {
        self.put(waker, |state| state.push(bytes))
    }

    fn put(
        self: &Arc<Self>,
        waker: Option<&Waker>,
        add: impl FnOnce(&mut State) -> usize,
    ) -> Option<Result<usize, StreamError>> {
        let mut state = self.state.lock();
        if let Some(error) = state.not_writable() {
            return Some(Err(error));
        }
        if state.outbound_bytes >= OUTBOUND {
            state.writer = waker.cloned();
            return None;
        }
        let taken = add(&mut state);
        let ring = !state.outbound_stuck;
        drop(state);
        if ring && taken > 0 {
            self.ring();
        }
        Some(Ok(taken))
    }

    /// Waits until something can be written; false when `patience` ends first.
    pub(crate) fn wait_writable(&self, patience: Option<Duration>) -> bool {
        let full = |s: &mut State| s.not_writable().is_none() && s.outbound_bytes >= OUTBOUND;
        wait(&self.writable, &self.state, patience, full)
    }

    /// Waits until everything written was acknowledged or nothing more can be, at most for
    /// `patience`; says whether it was.
    pub(crate) fn wait_delivered(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let waits = |s: &mut State| !s.delivered && s.stopped.is_none() && s.failed.is_none();
        self.writable.wait_while_for(&mut state, waits, patience);
        state.delivered
    }

    /// Nothing more will be written.
    pub(crate) fn finish(self: &Arc<Self>) {
        self.wish(|state| !std::mem::replace(&mut state.finish, true));
    }

    /// Nothing more will be read.
    pub(crate) fn stop(self: &Arc<Self>) {
        self.wish(|state| {
            state.drop_inbound();
            !std::mem::replace(&mut state.stop, true) && !state.ended
        });
    }

    /// The stream is given up.
    pub(crate) fn reset(self: &Arc<Self>, code: Code, reason: &str) {
        self.wish(|state| {
            let first = state.reset.is_none();
            if first {
                state.reset = Some((code, reason.into()));
            }
            first
        });
    }

    fn wish(self: &Arc<Self>, wish: impl FnOnce(&mut State) -> bool) {
        let mut state = self.state.lock();
        let news = wish(&mut state) && state.failed.is_none();
        drop(state);
        if news {
            self.ring();
        }
        self.wake_all();
    }

    fn wake_all(&self) {
        let mut state = self.state.lock();
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        self.readable.notify_all();
        self.writable.notify_all();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// Waits while `state` is so; false when `patience` ends first.
fn wait(
    condition: &Condvar,
    state: &Mutex<State>,
    patience: Option<Duration>,
    so: impl FnMut(&mut State) -> bool,
) -> bool {
    let mut state = state.lock();
    match patience {
        None => {
            condition.wait_while(&mut state, so);
            true
        }
        Some(patience) => !condition.wait_while_for(&mut state, so, patience).timed_out(),
    }
}

/// What the worker does.
impl Pipe {
    /// What the application wants of the stream, and room for what arrived.
    pub(super) fn wishes<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock())
    }

    /// The next piece to be sent.
    pub(super) fn take_outbound(&self) -> Option<Bytes> {
        let mut state = self.state.lock();
        let piece = match state.outbound.pop_front() {
            Some(piece) => piece,
            None if state.tail.is_empty() => {
                // From here on the application rings for what it writes.
                state.outbound_stuck = false;
                return None;
            }
            None => state.tail.split().freeze(),
        };
        let before = state.outbound_bytes;
        state.outbound_bytes = before.saturating_sub(piece.len());
        // Not at every piece: whoever waits gets room for several at once.
        let wake = before > OUTBOUND / 2 && state.outbound_bytes <= OUTBOUND / 2;
        let waker = if wake { state.writer.take() } else { None };
        drop(state);
        if wake {
            self.writable.notify_all();
            waker.into_iter().for_each(Waker::wake);
        }
        Some(piece)
    }

    /// Hands over what arrived, and the end if it was seen.
    pub(super) fn put_inbound(&self, pieces: &mut Vec<Bytes>, ended: bool) {
        let mut state = self.state.lock();
        if state.stop {
            pieces.clear();
        }
        for piece in pieces.drain(..) {
            state.inbound_bytes += piece.len();
            state.inbound.push_back(piece);
        }
        state.ended |= ended;
        let waker = state.reader.take();
        drop(state);
        self.readable.notify_all();
        waker.into_iter().for_each(Waker::wake);
    }

    /// The application is to ring when it has made room. True if it has made it already.
    pub(super) fn await_room(&self) -> bool {
        let mut state = self.state.lock();
        let room = state.has_inbound_room();
        state.inbound_full = !room;
        room
    }

    /// The peer reads no more.
    pub(super) fn peer_stopped(&self, code: Code) {
        let mut state = self.state.lock();
        state.stopped = Some(code);
        state.drop_outbound();
        drop(state);
        self.wake_all();
    }

    /// Everything written has been acknowledged.
    pub(super) fn delivered(&self) {
        self.state.lock().delivered = true;
        self.wake_all();
    }

    /// The stream is gone. What arrived before can still be read.
    pub(super) fn fail(&self, error: StreamError) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(error);
        state.drop_outbound();
        drop(state);
        self.wake_all();
    }
}
