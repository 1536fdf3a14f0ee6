//! `accepted-once`: a packet of a line is known by the line's id and its counter, an open by its
//! bytes; no run of a node accepts one twice, whoever repeats it, over whatever path.

use trunkline_proto::base::{Address, Chance, Keyed, LineId, Map};
use trunkline_proto::shard::Shard;
use trunkline_proto::wire::package::{Content, HEADER, Header};
use trunkline_proto::wire::sealed;

use crate::trace::digest;

/// A packet's name: which line of the receiver, which counter.
pub(crate) type Key = (LineId, u64);

/// What a run of a node has accepted.
pub(crate) struct Accepted {
    keys: Map<Key, ()>,
}

impl Accepted {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        Self { keys: Keyed::map(chance) }
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
    }

    /// `count` of these were accepted. Which ones is known only if it was all of them.
    pub(crate) fn took(&mut self, keys: &[Key], count: u64) -> Option<String> {
        if count != keys.len() as u64 {
            return None;
        }
        let again = keys.iter().find(|key| self.keys.insert(**key, ()).is_some());
        again.map(|(line, number)| match line.0 {
            [0, ..] if line.0 == [0; 16] => format!("answered the open {number:x} a second time"),
            _ => format!("packet {number} of line {line:?} a second time"),
        })
    }
}

/// Packets this seat has opened so far, and opens it has answered with new keys.
pub(crate) fn accepted(shard: &Shard) -> (u64, u64) {
    shard.switch().map(|s| s.counters()).map_or((0, 0), |c| (c.unsealed, c.opens_answered))
}

/// An open as a datagram. Its answer looks alike, and is not counted as answered.
pub(crate) fn open_of_datagram(bytes: &[u8]) -> Option<Key> {
    let open = of_datagram(bytes).is_none() && bytes.len() > 100;
    open.then(|| (LineId([0; 16]), digest(bytes)))
}

/// An open as a package for this node.
pub(crate) fn open_of_package(frame: &[u8], here: &Address) -> Option<Key> {
    let header = Header::parse(frame).ok()?;
    let open = header.content == Content::Switch && header.destination == *here;
    open_of_datagram(frame.get(HEADER..).filter(|_| open)?)
}

/// The name of a datagram that is a sealed packet.
pub(crate) fn of_datagram(bytes: &[u8]) -> Option<Key> {
    let header = sealed::Header::parse(bytes).ok()??;
    Some((header.line, header.counter))
}

/// The name of a package that is a sealed packet for this node.
pub(crate) fn of_package(frame: &[u8], here: &Address) -> Option<Key> {
    let header = Header::parse(frame).ok()?;
    if header.content != Content::Sealed || header.destination != *here {
        return None;
    }
    let line = frame.get(HEADER..)?.first_chunk()?;
    Some((LineId(*line), header.message))
}
