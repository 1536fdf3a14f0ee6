//! The links of this node as the first hops of all routes.

use super::graph::{Change, Graph};
use super::{LocalLink, Node};
use crate::base::{Hashname, LinkId};

/// The link to one neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Exit {
    pub(super) link: LinkId,
    pub(super) peer: Node,
    pub(super) cost: u32,
    /// The peer says the same, or has just proved it.
    pub(super) counts: bool,
}

impl Exit {
    const fn counted(&self) -> u32 {
        if self.counts { self.cost } else { 0 }
    }
}

/// One exit a peer: of several links the cheapest, then the one with the lowest id; any of them may
/// prove the peer. At most 65,536, ascending by peer.
pub(super) fn cheapest(links: &[LocalLink]) -> Vec<LocalLink> {
    let mut all = links.to_vec();
    all.sort_unstable_by_key(|l| (l.peer, l.cost, l.link));
    all.dedup_by(|next, kept| {
        let same = next.peer == kept.peer;
        kept.proved |= same && next.proved;
        same
    });
    all.truncate(usize::from(u16::MAX) + 1);
    all
}

/// The exits over these links, one a peer; `None` if a peer is not in the directory.
pub(super) fn of(links: &[LocalLink], graph: &Graph, here: Node) -> Option<Vec<Exit>> {
    let exit = |l: &LocalLink| {
        let peer = find(graph, &l.peer)?;
        let counts = l.proved || graph.says(peer, here);
        Some(Exit { link: l.link, peer, cost: l.cost.get(), counts })
    };
    links.iter().map(exit).collect()
}

fn find(graph: &Graph, hashname: &Hashname) -> Option<Node> {
    let node = graph.directory().find(&hashname.address())?;
    (graph.directory().get(node) == Some(*hashname)).then_some(node)
}

/// Compares the exits as they were to the exits as they are: what it changes goes to `changes`, the
/// new rank of each former exit to `ranks`. `None` if a node went that has no word, and with it
/// its place in the directory.
pub(super) fn compare(
    (former, exits): (&[Exit], &[Exit]),
    (here, graph): (Node, &Graph),
    changes: &mut Vec<Change>,
    ranks: &mut Vec<Option<u16>>,
) -> Option<()> {
    ranks.clear();
    let mut tell = |peer, before: u32, now: u32| {
        if before != now {
            changes.push(Change { from: here, to: peer, before, now });
        }
    };
    let mut now = (0u16..).zip(exits).peekable();
    for old in former {
        while let Some((_, new)) = now.next_if(|(_, e)| e.peer < old.peer) {
            tell(new.peer, 0, new.counted());
        }
        let same = now.next_if(|(_, e)| e.peer == old.peer);
        if same.is_none() && !graph.spoke(old.peer) {
            return None;
        }
        tell(old.peer, old.counted(), same.map_or(0, |(_, e)| e.counted()));
        ranks.push(same.map(|(rank, _)| rank));
    }
    now.for_each(|(_, new)| tell(new.peer, 0, new.counted()));
    Some(())
}
