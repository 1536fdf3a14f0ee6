//! The words of the streams' interface: ids, openings, codes, events, errors and figures.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::base::Priority;

/// One stream of a line. Even ids were opened by one side, odd ids by the other; an id is never
/// used twice on a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.0)
    }
}

/// Which ids this side gives to the streams it opens. The line decides; its two ends differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// 0, 2, 4 …
    Even,
    /// 1, 3, 5 …
    Odd,
}

impl Side {
    pub(super) const fn first(self) -> u64 {
        match self {
            Self::Even => 0,
            Self::Odd => 1,
        }
    }
}

/// What a stream is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Open {
    /// The application's own.
    Generic,
    /// A TCP connection to this target, 1 to 255 bytes, as the opener wrote it.
    Sock(Box<str>),
    /// HTTP requests and their responses, as HTTP/1.1 has them on a connection.
    Req,
}

/// Why a stream ended before its time. Numbers below 256 are the protocol's, the others the
/// application's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Code(pub u16);

impl Code {
    /// Given up without saying more.
    pub const CANCELLED: Self = Self(0);
    /// The peer knows no such stream.
    pub const UNKNOWN: Self = Self(1);
    /// The peer holds as many streams as it may.
    pub const TOO_MANY: Self = Self(2);
    /// A bound was broken that the other had been told.
    pub const LIMIT_BROKEN: Self = Self(3);
    /// Nothing was heard for too long.
    pub const DEAD: Self = Self(4);
    /// The line is gone.
    pub const LINE_DOWN: Self = Self(5);
    /// The target was refused or could not be reached.
    pub const REFUSED: Self = Self(6);
}

/// What happened to a stream. At most one of each kind waits for each stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamEvent {
    /// The peer opened a stream.
    Opened {
        /// Its id.
        id: StreamId,
        /// What it is for.
        open: Open,
        /// What it travels with, both ways.
        priority: Priority,
    },
    /// There is something to read, or the end to be seen.
    Readable(StreamId),
    /// A write that was refused for want of room may be tried again.
    Writable(StreamId),
    /// Everything written was acknowledged, the end included.
    Finished(StreamId),
    /// The peer reads no more; what was unacknowledged is gone. Reading goes on.
    Stopped {
        /// The stream.
        id: StreamId,
        /// Why.
        code: Code,
    },
    /// The stream ended out of order and is forgotten.
    Reset {
        /// The stream.
        id: StreamId,
        /// Why.
        code: Code,
        /// Why, for people.
        reason: Box<str>,
    },
    /// The stream ended in order in both directions and is forgotten.
    Closed(StreamId),
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// As many streams are open as may be; try when one has closed.
    #[error("as many streams as the line may have")]
    TooMany,
    /// A socket target has 1 to 255 bytes.
    #[error("a socket target has 1 to 255 bytes")]
    BadTarget,
    /// The line has used up its ids.
    #[error("no stream ids left on this line")]
    Exhausted,
}

/// Why nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// No room; [`StreamEvent::Writable`] follows.
    #[error("no room now")]
    Blocked,
    /// `finish` was called before.
    #[error("the stream was finished")]
    Finished,
    /// The peer reads no more.
    #[error("the peer stopped reading: {0:?}")]
    Stopped(Code),
    /// There is no such stream, or no more.
    #[error("no such stream")]
    Unknown,
}

/// Why nothing was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// `stop` was called before.
    #[error("reading was stopped")]
    Stopped,
    /// There is no such stream, or no more.
    #[error("no such stream")]
    Unknown,
}

/// What reading gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadState {
    /// The next bytes, never empty.
    Data(Bytes),
    /// Nothing now; [`StreamEvent::Readable`] follows.
    Pending,
    /// Everything has been read.
    End,
}

/// There is no such stream, or no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no such stream")]
pub struct UnknownStream;

/// Figures of all streams of a line since it opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamStats {
    /// Streams now.
    pub streams: usize,
    /// Streams ever opened, by either side.
    pub opened: u64,
    /// Payload bytes sent for the first time.
    pub bytes_sent: u64,
    /// Payload bytes received for the first time.
    pub bytes_received: u64,
    /// Payload bytes sent again.
    pub bytes_resent: u64,
    /// DATA packets sent, repetitions included.
    pub packets_sent: u64,
    /// DATA packets received, repetitions included.
    pub packets_received: u64,
    /// Packets taken for lost.
    pub packets_lost: u64,
    /// Packets taken for lost that had arrived after all.
    pub packets_lost_falsely: u64,
    /// ACK packets sent.
    pub acks_sent: u64,
    /// Times a silence was answered with a probe.
    pub probes: u64,
    /// Bytes on their way.
    pub in_flight: u64,
    /// The congestion window in bytes.
    pub window: u64,
    /// The smoothed round trip, or what is assumed of it.
    pub round_trip: Duration,
    /// The least round trip measured on this path.
    pub round_trip_least: Option<Duration>,
    /// Bytes held for sending, unsent or unacknowledged.
    pub send_held: u64,
    /// Bytes received and not yet read, gaps' far sides included.
    pub receive_held: u64,
}

/// One stream as status shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamStatus {
    /// The stream.
    pub id: StreamId,
    /// Whether this side opened it.
    pub opened_here: bool,
    /// What it is for.
    pub open: Open,
    /// What it travels with.
    pub priority: Priority,
    /// Bytes taken from the writer.
    pub written: u64,
    /// Bytes the peer has acknowledged.
    pub acknowledged: u64,
    /// Bytes the peer would take before more credit.
    pub credit: u64,
    /// Bytes received in order.
    pub received: u64,
    /// Bytes handed to the reader.
    pub read: u64,
    /// Pieces waiting for something before them.
    pub fragments: usize,
}
