//! Datagrams on their way out, grouped into as few system calls as possible.
//!
//! Owns the queue of one sending thread and the grouping; it never chooses what is sent first (the
//! writer's lanes do) and never waits. [`super::udp::UdpPort::send`] flushes it.
//!
//! Up to 256 datagrams are looked at together. Datagrams of one length to one address become one
//! run, which leaves as a single segmented send (`UDP_SEGMENT`: up to 64 segments and 65,000 bytes,
//! only the last may be shorter); up to 64 runs leave by one `sendmmsg`. Datagrams to one address
//! never overtake each other; those to different addresses may, within the window, which is what
//! lets interleaved traffic form runs. Measured on one core, a segmented run costs 1.6 to 3 times
//! less per datagram than single sends in a batch.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use trunkline_proto::base::DropReason;

use super::addr::Name;
use super::sys::{self, BATCH, Message, SendScratch};
use super::udp::Modes;

/// Most datagrams in one segmented send; the limit of the oldest kernels that know it.
const MAX_SEGMENTS: usize = 64;
/// Most bytes in one segmented send: what an IP packet can carry, less headers.
const MAX_SEGMENTED_BYTES: usize = 65_000;
/// Datagrams looked at together; also the number of slices on the stack.
const WINDOW: usize = 256;
/// Places of the table that finds an address's last run; a power of two.
const TABLE: usize = 128;
/// Marks an empty place of that table, and the end of a run's chain.
const NONE: u16 = u16::MAX;
/// Fits every path that carries IPv6, and so nearly every one that carries IPv4.
const FITS_EVERYWHERE: usize = 1_232;

/// What became of datagrams handed to a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCounters {
    /// Accepted by the system.
    pub datagrams: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// System calls that took something.
    pub calls: u64,
    /// Segmented sends among what they took.
    pub runs: u64,
    /// Times the socket was full.
    pub blocked: u64,
    /// Dropped: longer than the system or the path takes (`EMSGSIZE`).
    pub too_long: u64,
    /// Dropped: an address nothing can be sent to, such as port 0 (`EINVAL`).
    pub invalid: u64,
    /// Dropped: no way there (`ENETUNREACH`, `EHOSTUNREACH`, `ENETDOWN`, `EADDRNOTAVAIL`,
    /// `EAFNOSUPPORT`).
    pub unreachable: u64,
    /// Dropped: an earlier datagram came back refused (`ECONNREFUSED`).
    pub refused: u64,
    /// Dropped: a local rule forbids it (`EPERM`, `EACCES`).
    pub forbidden: u64,
    /// Dropped: the device's queue or memory was full (`ENOBUFS`, `ENOMEM`).
    pub no_room: u64,
}

/// One datagram on its way out.
#[derive(Debug)]
pub(super) struct Outbound {
    to: SocketAddr,
    frame: Bytes,
    /// It may be cut on the way.
    divisible: bool,
}

impl Outbound {
    fn kind(&self) -> Kind {
        match (self.frame.len() > FITS_EVERYWHERE, self.divisible) {
            (false, _) => Kind::Any,
            (true, false) => Kind::Whole,
            (true, true) => Kind::Cut,
        }
    }
}

/// A bounded queue of datagrams and their addresses, in the order they should leave.
pub struct SendBatch {
    queue: VecDeque<Outbound>,
    limit: usize,
    plan: Plan,
    scratch: SendScratch,
    counters: SendCounters,
}

impl SendBatch {
    /// A batch that holds at most `limit` datagrams (at least one).
    pub fn new(limit: usize) -> Self {
        SendBatch {
            queue: VecDeque::new(),
            limit: limit.max(1),
            plan: Plan::new(),
            scratch: SendScratch::new(),
            counters: SendCounters::default(),
        }
    }

    /// Queues a datagram for the next flush. `BytesMut::freeze` turns a received frame into one
    /// without a copy.
    ///
    /// # Errors
    /// The datagram itself, when the batch is full.
    pub fn push(&mut self, to: SocketAddr, frame: Bytes) -> Result<(), Bytes> {
        self.push_as(to, frame, false)
    }

    /// As [`Self::push`]; the datagram may be cut on the way where it is too long for it.
    ///
    /// # Errors
    /// The datagram itself, when the batch is full.
    pub fn push_divisible(&mut self, to: SocketAddr, frame: Bytes) -> Result<(), Bytes> {
        self.push_as(to, frame, true)
    }

    fn push_as(&mut self, to: SocketAddr, frame: Bytes, divisible: bool) -> Result<(), Bytes> {
        if self.queue.len() >= self.limit {
            return Err(frame);
        }
        self.queue.push_back(Outbound { to, frame, divisible });
        Ok(())
    }

    /// Datagrams waiting.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Drops everything that waits; returns how many.
    pub fn clear(&mut self) -> usize {
        let dropped = self.queue.len();
        self.queue.clear();
        dropped
    }

    /// What became of everything sent through this batch.
    pub fn counters(&self) -> SendCounters {
        self.counters
    }

    /// Sends until the queue is empty or the socket full; see [`super::udp::UdpPort::send`].
    pub(super) fn flush(
        &mut self,
        fd: BorrowedFd<'_>,
        v6: bool,
        modes: &Modes,
    ) -> io::Result<usize> {
        let before = self.counters.datagrams;
        let mut narrow = false;
        while !self.queue.is_empty() {
            self.plan.make(&self.queue, v6, modes.segmenting.load(Ordering::Relaxed), narrow);
            match self.plan.kind {
                Kind::Any => false,
                Kind::Whole => modes.set_whole(fd, v6, true),
                Kind::Cut => modes.set_whole(fd, v6, false),
            };
            let outcome = self.send_plan(fd, v6, modes);
            self.remove_settled();
            match outcome? {
                Outcome::Settled => {}
                Outcome::Blocked => break,
                Outcome::Narrow => narrow = true,
            }
        }
        Ok(usize::try_from(self.counters.datagrams - before).unwrap_or(usize::MAX))
    }

    /// Sends the planned messages in turn, marking what is settled.
    fn send_plan(&mut self, fd: BorrowedFd<'_>, v6: bool, modes: &Modes) -> io::Result<Outcome> {
        let SendBatch { queue, plan, scratch, counters, .. } = self;
        let queue = &*queue;
        let mut pieces = [IoSlice::new(&[]); WINDOW];
        for (piece, index) in pieces.iter_mut().zip(&plan.order) {
            if let Some(outbound) = queue.get(usize::from(*index)) {
                *piece = IoSlice::new(&outbound.frame);
            }
        }
        let mut next = 0;
        while let Some(messages) = plan.messages.get(next..).filter(|rest| !rest.is_empty()) {
            match sys::send_batch(fd, messages, &pieces, scratch) {
                Ok(sent) => {
                    counters.calls += 1;
                    for _ in 0..sent.max(1) {
                        plan.settle(next, |frame_index| {
                            counters.count_sent(queue.get(frame_index))
                        });
                        counters.runs += u64::from(plan.segmented(next));
                        next += 1;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    counters.blocked += 1;
                    return Ok(Outcome::Blocked);
                }
                Err(error) if plan.segmented(next) => {
                    plan.split_run(next, &error, &modes.segmenting);
                }
                // Whoever is behind a device as narrow as that has no other way to be reached.
                Err(error)
                    if error.raw_os_error() == Some(libc::EMSGSIZE)
                        && plan.fits_everywhere(next, queue)
                        && modes.set_whole(fd, v6, false) =>
                {
                    // What must not be cut may stand behind it.
                    if plan.kind == Kind::Whole {
                        return Ok(Outcome::Narrow);
                    }
                }
                Err(error) => {
                    let count = refusal(&error).ok_or(error)?;
                    plan.settle(next, |_| *count(counters) += 1);
                    next += 1;
                }
            }
        }
        Ok(Outcome::Settled)
    }

    /// Takes what is settled out of the queue; the rest stays in order.
    fn remove_settled(&mut self) {
        let window = self.plan.settled.len();
        let done = self.plan.settled.iter().take_while(|settled| **settled).count();
        self.queue.drain(..done.min(self.queue.len()));
        if done < window {
            let mut settled = self.plan.settled.iter().skip(done);
            self.queue.retain(|_| !settled.next().copied().unwrap_or(false));
        }
        self.plan.settled.clear();
    }
}

/// Which counter an error of a single datagram belongs to; nothing for errors of the whole socket.
fn refusal(error: &io::Error) -> Option<fn(&mut SendCounters) -> &mut u64> {
    Some(match error.raw_os_error()? {
        libc::EMSGSIZE => |c| &mut c.too_long,
        libc::EINVAL => |c| &mut c.invalid,
        libc::ENETUNREACH
        | libc::EHOSTUNREACH
        | libc::ENETDOWN
        | libc::EADDRNOTAVAIL
        | libc::EAFNOSUPPORT
        | libc::EHOSTDOWN => |c| &mut c.unreachable,
        libc::ECONNREFUSED => |c| &mut c.refused,
        libc::EPERM | libc::EACCES => |c| &mut c.forbidden,
        libc::ENOBUFS | libc::ENOMEM => |c| &mut c.no_room,
        _ => return None,
    })
}

/// How the socket must treat the datagrams of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// As it likes: they fit every path.
    Any,
    /// Some must not be cut.
    Whole,
    /// Some may have to be cut.
    Cut,
}

/// How far a window got.
enum Outcome {
    /// All of it has left or was dropped.
    Settled,
    /// The socket is full.
    Blocked,
    /// This host's own device is narrower than what fits every path: such datagrams have to be cut,
    /// and those that must not be cannot go beside them.
    Narrow,
}

/// One run while it is being put together; its datagrams are chained by index.
#[derive(Clone, Copy)]
struct Run {
    to: SocketAddr,
    head: u16,
    tail: u16,
    count: u16,
    segment: usize,
    bytes: usize,
    /// The last datagram was shorter than the others, so none may follow.
    closed: bool,
}

/// How the front of a queue is to be sent. Kept between flushes for its memory.
struct Plan {
    runs: Vec<Run>,
    /// For each datagram of the window, the next one of its run.
    chain: Vec<u16>,
    /// Datagrams of the window, run by run.
    order: Vec<u16>,
    messages: Vec<Message>,
    /// For each datagram of the window, whether it has left or was dropped.
    settled: Vec<bool>,
    kind: Kind,
    table: [u16; TABLE],
}

impl Plan {
    fn new() -> Self {
        let (runs, chain, order) = (Vec::new(), Vec::new(), Vec::new());
        Plan {
            runs,
            chain,
            order,
            messages: Vec::new(),
            settled: Vec::new(),
            kind: Kind::Any,
            table: [NONE; TABLE],
        }
    }

    /// Plans the front of `queue`: up to [`BATCH`] runs of up to [`WINDOW`] datagrams together.
    /// What must be whole does not stand beside what may be cut; and if `narrow`, beside nothing
    /// else.
    fn make(&mut self, queue: &VecDeque<Outbound>, v6: bool, segmenting: bool, narrow: bool) {
        self.runs.clear();
        self.chain.clear();
        self.table = [NONE; TABLE];
        let mut room = BATCH;
        self.kind = Kind::Any;
        for (index, outbound) in (0_u16..).zip(queue.iter().take(WINDOW)) {
            let Outbound { to, frame, .. } = outbound;
            match (outbound.kind(), self.kind) {
                (kind, held) if kind == held => {}
                (Kind::Any, _) if !narrow => {}
                (kind, Kind::Any) if index == 0 || !narrow => self.kind = kind,
                _ => break,
            }
            let place = place_of(to);
            let last = self.table.get(place).copied().unwrap_or(NONE);
            let open = if segmenting { self.runs.get_mut(usize::from(last)) } else { None };
            match open.filter(|run| run.takes(to, frame.len())) {
                Some(run) => {
                    if let Some(link) = self.chain.get_mut(usize::from(run.tail)) {
                        *link = index;
                    }
                    run.add(index, frame.len());
                }
                None if room > 0 => {
                    room -= 1;
                    if let Some(entry) = self.table.get_mut(place) {
                        *entry = u16::try_from(self.runs.len()).unwrap_or(NONE);
                    }
                    self.runs.push(Run::new(*to, index, frame.len()));
                }
                None => break,
            }
            self.chain.push(NONE);
        }
        self.settled.clear();
        self.settled.resize(self.chain.len(), false);
        self.lay_out(v6);
    }

    /// Turns the runs into messages and the order of their pieces.
    fn lay_out(&mut self, v6: bool) {
        self.order.clear();
        self.messages.clear();
        for run in &self.runs {
            let segment = if run.count > 1 { u16::try_from(run.segment).unwrap_or(0) } else { 0 };
            let first = u16::try_from(self.order.len()).unwrap_or(0);
            self.messages.push(Message {
                to: Name::encode(run.to, v6),
                first,
                pieces: run.count,
                segment,
            });
            let mut index = run.head;
            while index != NONE {
                self.order.push(index);
                index = self.chain.get(usize::from(index)).copied().unwrap_or(NONE);
            }
        }
    }
}

impl Plan {
    /// Whether message `at` is a run the system is to segment.
    fn segmented(&self, at: usize) -> bool {
        self.messages.get(at).is_some_and(|message| message.segment != 0)
    }

    /// Whether message `at` is one datagram that should not be too long anywhere.
    fn fits_everywhere(&self, at: usize, queue: &VecDeque<Outbound>) -> bool {
        let message = self.messages.get(at);
        let index = message.and_then(|m| self.order.get(usize::from(m.first)));
        let outbound = index.and_then(|i| queue.get(usize::from(*i)));
        outbound.is_some_and(|o| o.frame.len() <= FITS_EVERYWHERE)
    }

    /// Marks the datagrams of message `at` as done with, telling `count` the place of each in the
    /// queue.
    fn settle(&mut self, at: usize, mut count: impl FnMut(usize)) {
        let Some(message) = self.messages.get(at) else { return };
        let run = usize::from(message.first)..usize::from(message.first + message.pieces);
        for index in self.order.get(run).unwrap_or_default() {
            let index = usize::from(*index);
            count(index);
            if let Some(settled) = self.settled.get_mut(index) {
                *settled = true;
            }
        }
    }

    /// Replaces a run the system would not segment by single datagrams, whose own errors then
    /// count.
    fn split_run(&mut self, at: usize, error: &io::Error, segmenting: &AtomicBool) {
        // EIO is a device that cannot compute checksums, the others a kernel that cannot segment at
        // all: it will not change. Anything else (a path narrower than the datagrams, say) concerns
        // this run alone.
        let never = [libc::EIO, libc::EOPNOTSUPP, libc::ENOPROTOOPT];
        if error.raw_os_error().is_some_and(|code| never.contains(&code)) {
            segmenting.store(false, Ordering::Relaxed);
        }
        let Some(run) = self.messages.get(at).copied() else { return };
        let singles = (run.first..run.first + run.pieces).map(|first| Message {
            to: run.to,
            first,
            pieces: 1,
            segment: 0,
        });
        self.messages.splice(at..=at, singles);
    }
}

impl SendCounters {
    /// What was dropped since `before`, by the reasons the rest of the node counts by.
    pub fn drops_since(&self, before: &Self) -> [(DropReason, u64); 4] {
        let since = |of: fn(&Self) -> u64| of(self).saturating_sub(of(before));
        [
            (DropReason::Oversized, since(|c| c.too_long)),
            (DropReason::Misaddressed, since(|c| c.invalid)),
            (DropReason::NoRoute, since(|c| c.unreachable + c.refused + c.forbidden)),
            (DropReason::QueueFull, since(|c| c.no_room)),
        ]
    }

    fn count_sent(&mut self, sent: Option<&Outbound>) {
        self.datagrams += 1;
        self.bytes += sent.map_or(0, |outbound| outbound.frame.len() as u64);
    }
}

impl Run {
    fn new(to: SocketAddr, index: u16, len: usize) -> Self {
        Run { to, head: index, tail: index, count: 1, segment: len, bytes: len, closed: len == 0 }
    }

    /// Whether a datagram of `len` bytes may follow in this run.
    fn takes(&self, to: &SocketAddr, len: usize) -> bool {
        !self.closed
            && self.to == *to
            && len > 0
            && len <= self.segment
            && usize::from(self.count) < MAX_SEGMENTS
            && self.bytes + len <= MAX_SEGMENTED_BYTES
    }

    fn add(&mut self, index: u16, len: usize) {
        self.tail = index;
        self.count += 1;
        self.bytes += len;
        self.closed = len < self.segment;
    }
}

/// Where the last run of an address is remembered. Two addresses in one place only cost a shorter
/// run.
fn place_of(to: &SocketAddr) -> usize {
    let ip = match to.ip() {
        IpAddr::V4(v4) => u32::from_be_bytes(v4.octets()),
        IpAddr::V6(v6) => v6.segments().iter().fold(0, |sum, part| (sum << 3) ^ u32::from(*part)),
    };
    let mixed = (ip ^ u32::from(to.port()).rotate_left(16)).wrapping_mul(0x9e37_79b1);
    (mixed >> 25) as usize & (TABLE - 1)
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
