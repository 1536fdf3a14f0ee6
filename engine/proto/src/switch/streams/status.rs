//! What the streams tell about themselves.

use super::{StreamId, StreamStats, StreamStatus, Streams};
use crate::wire::stream::VARINT_MAX;

impl Streams {
    /// Whether there is no stream and nothing to be sent.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.table.len() == 0 && self.answers.is_empty()
    }

    /// The number that the next stream of ours gets.
    #[must_use]
    pub const fn next_number(&self) -> u64 {
        self.ours.next()
    }

    /// Numbers our streams from here on: the peer may remember earlier ones after we forgot them.
    pub fn number_from(&mut self, number: u64) {
        self.ours.start_at(number);
    }

    /// The largest stream packet of the path, in bytes.
    #[must_use]
    pub const fn max_packet(&self) -> usize {
        self.max_packet
    }

    /// Figures of the line. Walks over all streams; for status, not for every packet.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        StreamStats {
            streams: self.table.len(),
            in_flight: self.path.in_flight,
            window: self.congestion.window(),
            round_trip: self.rtt.smoothed(),
            round_trip_least: self.rtt.least(),
            send_held: self.table.iter().map(|s| s.send.held()).sum(),
            receive_held: self.table.iter().map(|s| s.recv.held()).sum(),
            ..self.counts
        }
    }

    /// One stream's figures.
    #[must_use]
    pub fn status(&self, id: StreamId) -> Option<StreamStatus> {
        let s = self.table.by_id(id)?;
        Some(StreamStatus {
            id,
            opened_here: id.0 & 1 == self.own,
            open: s.open.clone(),
            priority: s.priority,
            written: s.send.written(),
            acknowledged: s.send.acknowledged(),
            credit: s.send.credit().min(VARINT_MAX).saturating_sub(s.send.next()),
            received: s.recv.received(),
            read: s.recv.read_so_far(),
            fragments: s.recv.fragments(),
        })
    }

    /// The ids of all streams, ascending.
    pub fn ids(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.table.iter().map(|s| s.id)
    }
}
