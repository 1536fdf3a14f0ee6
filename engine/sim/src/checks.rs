//! What must hold, looked at while the world runs and when it ends. Each check has a name; the
//! first violation ends the run.
//!
//! | check | says |
//! | --- | --- |
//! | `accepted-once` | no run of a node accepts a packet of a line, or an open, twice |
//! | `legal-states` | a contact moves only along its state diagram |
//! | `latest-word` | the database never goes back to an older announcement of an origin |
//! | `hops` | a hop lowers the time to live, and forwards only what it was given |
//! | `no-way-back` | a package does not leave over the link it came by |
//! | `no-loop` | once routes have settled, no node sends a package on twice |
//! | `bounds` | queues, tables and stream buffers stay within their limits |
//! | `conservation` | what was queued for a link was sent, is held or was dropped for a reason |
//! | `routes` | after quiet, databases agree and routes are the cheapest there are; none leads to the dead |
//! | `reopening` | after healing, any two that can meet do within 30 seconds |
//! | `line-end` | streams hear of it when their line is gone |
//! | `streams` | bytes exactly once, in order, complete if nothing ended the stream |
//! | `messages` | at most once, whole, unaltered; all of them where nothing goes wrong |
//! | `broadcasts` | at most once in a run, unaltered; by everybody where nothing goes wrong |
//! | `progress` | nobody keeps the world from going on |
//! | `answers` | every question is answered, or comes back with a code, once |

pub(crate) mod bounds;
pub(crate) mod ends;
pub(crate) mod packages;
pub(crate) mod sealed;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{Address, Chance, Hashname, Instant, LinkId, Wall};
use trunkline_proto::shard::{Input, Shard};
use trunkline_proto::stage::post::Post;
use trunkline_proto::switch::State;
use trunkline_proto::wire::announce::Order;
use trunkline_proto::wire::link::{LinkHeader, LinkKind};

use crate::forger::Seen;
use crate::node::seat::Letter;
use packages::Packages;
use sealed::Accepted;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which check found it.
    pub check: &'static str,
    /// When.
    pub at: Instant,
    /// At which node, if at one.
    pub node: Option<usize>,
    /// What was found.
    pub text: String,
}

/// What is known of one node's present run.
struct Watched {
    address: Address,
    states: BTreeMap<Hashname, State>,
    orders: BTreeMap<Address, Order>,
    /// Announcements came since its database was looked at.
    heard: bool,
    accepted: Accepted,
    answered: Accepted,
}

/// What came in by one input, by name.
#[derive(Default)]
struct Names {
    packets: Vec<sealed::Key>,
    opens: Vec<sealed::Key>,
}

impl Names {
    fn package(&mut self, frame: &[u8], here: &Address) {
        self.packets.extend(sealed::of_package(frame, here));
        self.opens.extend(sealed::open_of_package(frame, here));
    }
}

/// Everyone who watches the nodes while they work.
pub(crate) struct Watch {
    pub(crate) violation: Option<Violation>,
    nodes: Vec<Watched>,
    pub(crate) packages: Packages,
    /// What passed by, for the forger.
    pub(crate) seen: Seen,
    /// Letters that found a mailbox full.
    pub(crate) mail_lost: u64,
    /// Runs of nodes begun, and whether one of them was not the first of its node.
    runs: usize,
    restarted: bool,
}

impl Watch {
    pub(crate) fn new(
        addresses: &[Address],
        ttl: u8,
        settled: Instant,
        chance: &mut Chance,
    ) -> Self {
        let nodes = addresses.iter().map(|address| Watched {
            address: *address,
            states: BTreeMap::new(),
            orders: BTreeMap::new(),
            heard: false,
            accepted: Accepted::new(chance),
            answered: Accepted::new(chance),
        });
        Self {
            violation: None,
            nodes: nodes.collect(),
            packages: Packages::new(addresses, ttl, settled, chance),
            seen: Seen::new(chance),
            mail_lost: 0,
            runs: 0,
            restarted: false,
        }
    }

    /// Notes a violation, the first one only: what follows may be its consequence.
    pub(crate) fn blame(
        &mut self,
        check: &'static str,
        at: Instant,
        node: impl Into<Option<usize>>,
        text: String,
    ) {
        let node = node.into();
        self.violation.get_or_insert(Violation { check, at, node, text });
    }

    /// A run of a node begins.
    pub(crate) fn started(&mut self, node: usize) {
        self.stopped(node);
        // Between runs of a peer nobody can tell which of its opens is older (PROTOCOL §4.2): one
        // of another run may be answered again, with keys that nobody will use.
        self.runs += 1;
        self.restarted |= self.runs > self.nodes.len();
    }

    /// A run of a node is over, and nothing of it is remembered.
    pub(crate) fn stopped(&mut self, node: usize) {
        let watched = &mut self.nodes[node];
        watched.states.clear();
        watched.orders.clear();
        watched.accepted.clear();
        watched.answered.clear();
    }

    /// A letter found a mailbox full.
    pub(crate) fn mail_dropped(&mut self, letter: &Letter) {
        // Questions of applications that find no room are refused at once, as the handle does.
        let counted = !matches!(letter, Letter::Job(_));
        self.mail_lost += u64::from(counted);
    }

    /// Hands an input to a shard and looks at what that does.
    pub(crate) fn handle(
        &mut self,
        node: usize,
        shard: &mut Shard,
        (world, now, wall): (Instant, Instant, Wall),
        input: Input,
    ) {
        let watched = &mut self.nodes[node];
        let mut names = Names::default();
        match &input {
            Input::Datagram { bytes, .. } | Input::Post(_, Post::Datagram { bytes, .. }) => {
                names.packets.extend(sealed::of_datagram(bytes));
                names.opens.extend(sealed::open_of_datagram(bytes));
            }
            Input::Post(_, Post::Package { frame, .. }) => names.package(frame, &watched.address),
            Input::Post(_, Post::Announcement { .. }) => watched.heard = true,
            _ => {}
        }
        let before = sealed::accepted(shard);
        shard.handle(now, wall, input);
        self.took(node, world, &names, before, sealed::accepted(shard));
    }

    /// Some of what has these names was accepted.
    fn took(
        &mut self,
        node: usize,
        world: Instant,
        names: &Names,
        before: (u64, u64),
        after: (u64, u64),
    ) {
        let watched = &mut self.nodes[node];
        let packets = watched.accepted.took(&names.packets, after.0 - before.0);
        let opens = watched.answered.took(&names.opens, after.1 - before.1);
        let opens = opens.filter(|_| !self.restarted);
        if let Some(text) = packets.or(opens) {
            self.blame("accepted-once", world, node, text);
        }
    }

    /// Hands a link's bytes to a shard and looks at what that does.
    pub(crate) fn received(
        &mut self,
        node: usize,
        shard: &mut Shard,
        (world, now, wall): (Instant, Instant, Wall),
        link: LinkId,
        bytes: &mut BytesMut,
    ) {
        let watched = &mut self.nodes[node];
        let mut names = Names::default();
        let mut rest: &[u8] = bytes;
        while let Ok(Some(header)) = LinkHeader::peek(rest)
            && let Some((frame, after)) = rest.split_at_checked(header.frame_len())
        {
            watched.heard |= header.kind == LinkKind::Announcement;
            if header.kind == LinkKind::Package {
                names.package(frame, &watched.address);
            }
            rest = after;
        }
        let before = sealed::accepted(shard);
        shard.received(now, wall, link, bytes);
        self.took(node, world, &names, before, sealed::accepted(shard));
    }

    /// A node wrote a frame to a link; `far` is who reads it, and what the link is called there.
    pub(crate) fn sent(
        &mut self,
        near: (usize, LinkId),
        far: Option<(usize, LinkId)>,
        header: LinkHeader,
        frame: &Bytes,
    ) {
        self.seen.frame(near, far, header, frame);
        if header.kind == LinkKind::Package {
            self.packages.sent(near, far, frame);
        }
    }

    /// A node sent a datagram.
    pub(crate) fn datagram(&mut self, from: usize, to: usize, bytes: &Bytes) {
        self.seen.datagram(from, to, bytes);
    }

    /// A seat has done a round.
    pub(crate) fn after_round(
        &mut self,
        node: usize,
        _seat: usize,
        shard: &Shard,
        (world, now): (Instant, Instant),
    ) {
        if let Some((check, text)) = self.packages.found.take() {
            self.blame(check, world, node, text);
        }
        let watched = &mut self.nodes[node];
        let mut wrong = None;
        for contact in shard.switch().into_iter().flat_map(|s| s.report(now)) {
            let before = watched.states.insert(contact.hashname, contact.state);
            let before = before.unwrap_or(State::Unknown);
            if !leads_to(before, contact.state) {
                let (peer, after) = (contact.hashname, contact.state);
                wrong = Some(format!("{peer:?} went from {before:?} to {after:?}"));
            }
        }
        if let Some(text) = wrong {
            self.blame("legal-states", world, node, text);
        }
        if shard.routing().is_some() && core::mem::take(&mut self.nodes[node].heard) {
            self.compare_words(node, shard, (world, now));
        }
    }

    fn compare_words(&mut self, node: usize, shard: &Shard, (world, now): (Instant, Instant)) {
        let watched = &mut self.nodes[node];
        let mut wrong = None;
        for word in shard.routing().into_iter().flat_map(|r| r.routing().nodes(now)) {
            let before = watched.orders.insert(word.hashname.address(), word.order);
            if let Some(before) = before.filter(|b| *b > word.order) {
                let (of, after) = (word.hashname, word.order);
                wrong = Some(format!("of {of:?} it held {before:?} and now holds {after:?}"));
            }
        }
        if let Some(text) = wrong {
            self.blame("latest-word", world, node, text);
        }
    }
}

/// Whether a contact may come from one state to another in one round, which is a few steps.
fn leads_to(from: State, to: State) -> bool {
    let step = |a: State, b: State| a == b || a.may_become(b);
    State::ALL
        .into_iter()
        .any(|x| step(from, x) && State::ALL.into_iter().any(|y| step(x, y) && step(y, to)))
}
