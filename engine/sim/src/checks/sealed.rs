//! `accepted-once`: a packet of a line is known by the line's id and its counter; no run of a
//! node accepts one twice, whoever repeats it, over whatever path.

use trunkline_proto::base::{Address, Chance, Keyed, LineId, Map};
use trunkline_proto::shard::Shard;
use trunkline_proto::wire::package::{Content, HEADER, Header};
use trunkline_proto::wire::sealed;

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
        again.map(|(line, counter)| format!("packet {counter} of line {line:?} a second time"))
    }
}

/// Packets this seat has opened so far.
pub(crate) fn unsealed(shard: &Shard) -> u64 {
    shard.switch().map_or(0, |s| s.counters().unsealed)
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
