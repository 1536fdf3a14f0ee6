//! Links and nodes as they come and go, for whoever wants to follow (N1).
//!
//! One stage of the node tells of all of them, in the order in which they count; this hub passes them
//! to every follower. A follower first gets what is there already, as if it had just come, so that
//! nothing falls between looking and following. Each change is told exactly once. What a follower does
//! not take in time is bounded: then it gets [`MeshChange::Missed`] in the place of what is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use trunkline_proto::base::{Hashname, LinkId};
use trunkline_proto::stage::routing::MeshEvent;

/// Changes that wait for a follower. × 48 bytes = 3 MiB a follower.
const MOST: usize = 65_536;

/// Something that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshChange {
    /// A link to a neighbour that proved who it is became part of the mesh.
    LinkUp {
        /// Its number, never used again by this node.
        link: LinkId,
        /// The neighbour.
        peer: Hashname,
    },
    /// It is gone.
    LinkDown {
        /// Which.
        link: LinkId,
        /// The neighbour.
        peer: Hashname,
    },
    /// A node came into reach.
    NodeUp(Hashname),
    /// A node went out of reach.
    NodeDown(Hashname),
    /// So many changes were lost here, because they were not taken in time.
    Missed(u64),
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<(VecDeque<MeshChange>, bool)>,
    arrived: Condvar,
}

impl Queue {
    fn put(&self, change: MeshChange) {
        let mut waiting = self.waiting.lock();
        let (changes, _) = &mut *waiting;
        let waiting_here = changes.len();
        match changes.back_mut() {
            Some(MeshChange::Missed(n)) if waiting_here >= MOST => *n += 1,
            _ if waiting_here + 1 >= MOST => changes.push_back(MeshChange::Missed(1)),
            _ => changes.push_back(change),
        }
        self.arrived.notify_one();
    }

    fn close(&self) {
        self.waiting.lock().1 = true;
        self.arrived.notify_all();
    }
}

/// The changes of a node from some moment on; from [`Handle::changes`].
///
/// [`Handle::changes`]: crate::Handle::changes
#[derive(Debug)]
pub struct MeshChanges(Arc<Queue>);

impl MeshChanges {
    /// The next change; `None` when `patience` ends first or the node is gone.
    #[must_use]
    pub fn next(&self, patience: Duration) -> Option<MeshChange> {
        let mut waiting = self.0.waiting.lock();
        let nothing = |w: &mut (VecDeque<MeshChange>, bool)| w.0.is_empty() && !w.1;
        self.0.arrived.wait_while_for(&mut waiting, nothing, patience);
        waiting.0.pop_front()
    }
}

/// Where changes come from and whom they go to.
#[derive(Debug, Default)]
pub(crate) struct Hub(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<LinkId, Hashname>,
    nodes: BTreeSet<Hashname>,
    followers: Vec<Weak<Queue>>,
    closed: bool,
}

impl Hub {
    /// Passes on what is a change of links or nodes.
    pub(crate) fn tell(&self, event: &MeshEvent) {
        let mut state = self.0.lock();
        let change = match *event {
            MeshEvent::LinkUp(link, peer) => {
                state.links.insert(link, peer);
                MeshChange::LinkUp { link, peer }
            }
            MeshEvent::LinkDown(link, peer) => {
                state.links.remove(&link);
                MeshChange::LinkDown { link, peer }
            }
            MeshEvent::NodeUp(node) => {
                state.nodes.insert(node);
                MeshChange::NodeUp(node)
            }
            MeshEvent::NodeDown(node) => {
                state.nodes.remove(&node);
                MeshChange::NodeDown(node)
            }
            _ => return,
        };
        state.followers.retain(|f| f.upgrade().map(|q| q.put(change)).is_some());
    }

    /// A new follower, which gets what is there first.
    pub(crate) fn follow(&self) -> MeshChanges {
        let mut state = self.0.lock();
        let queue = Arc::new(Queue::default());
        let links = state.links.iter();
        let links = links.map(|(link, peer)| MeshChange::LinkUp { link: *link, peer: *peer });
        let nodes = state.nodes.iter().map(|n| MeshChange::NodeUp(*n));
        links.chain(nodes).for_each(|change| queue.put(change));
        if state.closed {
            queue.close();
        }
        state.followers.retain(|f| f.strong_count() > 0);
        state.followers.push(Arc::downgrade(&queue));
        MeshChanges(queue)
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.followers.iter().filter_map(Weak::upgrade).for_each(|q| q.close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u8) -> Hashname {
        Hashname::new([n; 32])
    }

    fn all(changes: &MeshChanges) -> Vec<MeshChange> {
        std::iter::from_fn(|| changes.next(Duration::ZERO)).collect()
    }

    #[test]
    fn n1_a_follower_gets_what_is_there_and_then_each_change_once() {
        let hub = Hub::default();
        let early = hub.follow();
        hub.tell(&MeshEvent::LinkUp(LinkId(4), name(1)));
        hub.tell(&MeshEvent::NodeUp(name(1)));
        hub.tell(&MeshEvent::NodeUp(name(2)));
        hub.tell(&MeshEvent::NodeDown(name(2)));
        let late = hub.follow();
        hub.tell(&MeshEvent::LinkDown(LinkId(4), name(1)));
        hub.tell(&MeshEvent::Superseded(3));
        let (link, peer) = (LinkId(4), name(1));
        let (up, down) = (MeshChange::LinkUp { link, peer }, MeshChange::LinkDown { link, peer });
        let came = [up, MeshChange::NodeUp(name(1))];
        let brief = [MeshChange::NodeUp(name(2)), MeshChange::NodeDown(name(2))];
        assert_eq!(all(&early), [&came[..], &brief, &[down]].concat());
        assert_eq!(all(&late), [&came[..], &[down]].concat());
        drop(early);
        hub.close();
        assert_eq!(late.next(Duration::from_secs(3_600)), None);
        assert_eq!(all(&hub.follow()), [MeshChange::NodeUp(name(1))]);
    }

    #[test]
    fn n1_a_follower_that_does_not_follow_is_told_how_much_it_missed() {
        let hub = Hub::default();
        let slow = hub.follow();
        let most = u64::try_from(MOST).unwrap();
        for _ in 0..most + 9 {
            hub.tell(&MeshEvent::NodeUp(name(1)));
        }
        let got = all(&slow);
        assert_eq!((got.len(), got.last()), (MOST, Some(&MeshChange::Missed(10))));
        hub.tell(&MeshEvent::NodeDown(name(1)));
        assert_eq!(all(&slow), [MeshChange::NodeDown(name(1))]);
    }
}
