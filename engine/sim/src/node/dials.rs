//! The links a node is configured to keep up, dialled again with back-off when they are lost:
//! the runtime's rules on the emulated wire.

use core::time::Duration;

use trunkline_proto::base::backoff::Backoff;
use trunkline_proto::base::{Chance, Instant, LinkId};

use crate::draw::{ms, secs};
use crate::scenario::Scenario;

/// First and longest wait before a lost link is dialled again.
const REDIAL: (Duration, Duration) = (ms(100), secs(15));
/// A link that stood this long starts over with the shortest wait.
const STABLE: Duration = secs(10);
/// A connection that is not there by then has failed.
pub(crate) const PATIENCE: Duration = secs(5);

/// How far a dial is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// To be dialled.
    Waiting,
    /// Calling since then, answered at the earliest with the next event.
    Calling(Instant),
    /// There is a connection.
    Linked(LinkId),
}

/// A configured link.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) edge: usize,
    pub(crate) stage: Stage,
    backoff: Backoff,
    up: Option<Instant>,
}

impl Dialled {
    /// The links that `node` dials.
    pub(crate) fn of(node: usize, scenario: &Scenario) -> Vec<Self> {
        let ours = scenario.edges.iter().enumerate().filter(|(_, e)| e.ends[0] == node);
        let dialled = |(edge, _)| Self {
            edge,
            stage: Stage::Waiting,
            backoff: Backoff::new(REDIAL.0, REDIAL.1),
            up: None,
        };
        ours.map(dialled).collect()
    }

    /// The neighbour is proved.
    pub(crate) const fn is_up(&mut self, now: Instant) {
        self.up = Some(now);
    }

    /// The link is lost, or could not be had: how long to wait.
    pub(crate) fn lost(&mut self, now: Instant, chance: &mut Chance) -> Duration {
        if self.up.take().is_some_and(|up| now.since(up) >= STABLE) {
            self.backoff.reset();
        }
        self.stage = Stage::Waiting;
        self.backoff.after_failure(chance)
    }
}
