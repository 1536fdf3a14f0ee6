//! `bounds`, `conservation` and `line-end`: what each seat holds, looked at every now and then.

use core::time::Duration;
use std::collections::BTreeMap;

use trunkline_proto::base::{Hashname, Instant, Limits};
use trunkline_proto::shard::Shard;
use trunkline_proto::switch::State;
use trunkline_proto::switch::streams::{INITIAL_CREDIT, StreamLimits};

/// Streams may outlive what they know to be a line for so long: a key takes five seconds to be
/// given up, and an open twenty.
const LINE_END: Duration = Duration::from_secs(30);

/// What is wrong with what a seat holds.
pub(crate) fn seat(
    shard: &mut Shard,
    now: Instant,
    limits: &Limits,
    streams: &StreamLimits,
) -> Option<(&'static str, String)> {
    let most = limits.lane_bytes * 4 + limits.frame;
    for (link, outgoing) in shard.written() {
        if outgoing.bytes() > most {
            let text = format!("{} bytes wait for link {}", outgoing.bytes(), link.0);
            return Some(("bounds", text));
        }
        let (sent, held) = (outgoing.counters(), outgoing.frames_held());
        if sent.queued != sent.frames + sent.drops.total() + held {
            let text = format!("link {}: {sent:?}, {held} held", link.0);
            return Some(("conservation", text));
        }
    }
    let contacts = shard.switch().map_or(0, |s| s.report(now).count());
    if contacts > limits.contacts_per_shard.saturating_add(limits.lines_per_shard) {
        return Some(("bounds", format!("{contacts} contacts")));
    }
    for peer in shard.peers() {
        let s = &peer.stats;
        let floor = s.streams as u64 * INITIAL_CREDIT;
        let held = s.send_held > streams.line_send_buffer + floor
            || s.receive_held > streams.line_window + floor
            || s.streams > streams.streams;
        // One packet may be on its way beyond what a controller allows.
        if held || s.in_flight > streams.in_flight + limits.frame as u64 {
            return Some(("bounds", format!("streams with {:?}: {s:?}", peer.hashname)));
        }
    }
    None
}

/// Since when streams of a node have had no line under them.
#[derive(Default)]
pub(crate) struct Lineless(BTreeMap<(usize, Hashname), Instant>);

impl Lineless {
    /// Looks at one node: peers with streams, and where the switch stands with them.
    pub(crate) fn look(
        &mut self,
        node: usize,
        world: Instant,
        peers: &[(Hashname, usize)],
        states: &BTreeMap<Hashname, State>,
    ) -> Option<String> {
        for (peer, streams) in peers {
            let state = states.get(peer).copied().unwrap_or(State::Unknown);
            if *streams == 0 || matches!(state, State::Connected | State::Connecting) {
                self.0.remove(&(node, *peer));
                continue;
            }
            let since = *self.0.entry((node, *peer)).or_insert(world);
            if world.since(since) > LINE_END {
                return Some(format!("{streams} streams to {peer:?}, which is {state:?}"));
            }
        }
        self.0.retain(|(n, p), _| *n != node || peers.iter().any(|(q, _)| q == p));
        None
    }
}
