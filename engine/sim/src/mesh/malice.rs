//! What hostile switches answer. They open lines, answer pings and have keys as everybody; it is
//! what they say of others that is wrong.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{Hashname, Instant};
use trunkline_proto::switch::meet::distance::distance;
use trunkline_proto::wire::meet::{NEAR, Near, Word};
use trunkline_proto::wire::packet::Packet;

use super::node::Node;

/// The kinds.
#[derive(Clone, Debug)]
pub(super) enum Malice {
    /// Answers no question.
    Silent,
    /// Names a crowd that is nearer than anybody and does not exist, and keys that are wrong.
    Crowd,
    /// Says that it has a line to whoever is sought, at an address that is nobody's.
    Claims,
    /// Names its own kind, all of them behind few networks.
    Sybil(Arc<Vec<(Hashname, SocketAddr)>>),
}

impl Node {
    /// What a hostile switch makes of a word. False if it is treated as by others.
    pub(super) fn lies(&mut self, now: Instant, peer: Hashname, packet: &Bytes) -> bool {
        let Some(malice) = self.malice.clone() else { return false };
        let mut bytes = BytesMut::from(&packet[..]);
        let word = Packet::decode(&mut bytes).and_then(|p| Word::from_json(&p));
        let lie = match (word, malice) {
            (Ok(Word::Seek { .. } | Word::Op { .. } | Word::Pop { .. }), Malice::Silent) => None,
            (Ok(Word::Op { id, .. }), Malice::Crowd) => {
                let part = Ok((0, 1, Bytes::from_static(&[0; 64])));
                Some(Word::Key { id, part })
            }
            (Ok(Word::Op { .. } | Word::Pop { .. }), Malice::Claims) => None,
            (Ok(Word::Seek { id, to, .. }), Malice::Crowd) => {
                let near = (0..NEAR).map(|_| self.nobody(&to)).collect();
                Some(Word::See { id, near })
            }
            (Ok(Word::Seek { id, to, .. }), Malice::Claims) => {
                let itself = Near { who: to, at: self.nobody(&to).at };
                let others = (1..NEAR).map(|_| self.nobody(&to));
                let near = core::iter::once(itself).chain(others).collect();
                Some(Word::See { id, near })
            }
            (Ok(Word::Seek { id, to, .. }), Malice::Sybil(all)) => {
                let mut near: Vec<_> =
                    all.iter().map(|(who, at)| Near { who: *who, at: Some(*at) }).collect();
                near.sort_by_cached_key(|n| distance(&to, &n.who));
                near.truncate(NEAR);
                Some(Word::See { id, near })
            }
            _ => return false,
        };
        if let Some(lie) = lie {
            self.say(now, peer, lie.emit());
        }
        true
    }

    /// A hashname next to another, at an address of any network, that is nobody's.
    fn nobody(&mut self, next_to: &Hashname) -> Near {
        let (mut name, tail) = (*next_to.as_bytes(), self.chance.bytes::<8>());
        name.iter_mut().rev().zip(tail).for_each(|(n, t)| *n = t);
        let [a, b, c, ..] = tail;
        Near { who: Hashname::new(name), at: Some(([198, a, b, c.max(1)], 42_424).into()) }
    }
}
