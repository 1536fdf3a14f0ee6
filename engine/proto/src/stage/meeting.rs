//! The stage that brings hashnames together, off the path of packets.
//!
//! Hands what partitions notice to [`Meeting`] and posts what it wants done back to the partitions
//! it concerns. Decides nothing itself.

use std::sync::Arc;

use bytes::Bytes;

use super::plan::{Plan, Role};
use super::post::{Post, Posts};
use super::renewal::Renewal;
use crate::base::{Chance, Hashname, Instant, Wall};
use crate::crypto::SpaceRules;
use crate::switch::meet::{Host, Meeting, Order, Terms};
use crate::switch::{Introduction, Token};

/// What reaches the application from there.
#[derive(Debug)]
pub enum MeetEvent {
    /// Look this key up in the directory; the answer is [`Post::LookedUp`].
    LookUp {
        /// Who asks.
        asker: Hashname,
        /// Its number for the question.
        id: u64,
        /// Whose key.
        who: Hashname,
    },
    /// The answer to [`Post::Nearest`].
    Nearest(Token, Vec<Hashname>),
}

/// [`Meeting`] on its thread.
#[derive(Debug)]
pub struct MeetingStage {
    plan: Plan,
    meeting: Meeting,
    renewal: Renewal,
}

impl MeetingStage {
    /// The stage of the owner of `record`, who belongs to `space`. Nobody is known yet.
    #[must_use]
    pub fn new(
        plan: Plan,
        us: Hashname,
        record: Bytes,
        space: Arc<SpaceRules>,
        terms: Terms,
        chance: Chance,
    ) -> Self {
        let renewal = Renewal::new(us, record, space);
        let host = Host { us, papers: renewal.papers(), partitions: plan.partitions() };
        Self { plan, meeting: Meeting::new(host, terms, chance), renewal }
    }

    /// What is known, for status.
    #[must_use]
    pub const fn meeting(&self) -> &Meeting {
        &self.meeting
    }

    /// The next moment at which something happens by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        [self.meeting.deadline(), self.renewal.deadline()].into_iter().flatten().min()
    }

    /// Does what time demands.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        wall: Wall,
        out: &mut Posts,
        events: &mut impl FnMut(MeetEvent),
    ) {
        self.renewal.handle_timeout(now, wall, &mut self.meeting);
        self.meeting.handle_timeout(now);
        self.settle(wall, out, events);
    }

    /// Takes a post for this stage. Others are ignored: the plan never sends them here.
    pub fn handle(
        &mut self,
        now: Instant,
        wall: Wall,
        post: Post,
        out: &mut Posts,
        events: &mut impl FnMut(MeetEvent),
    ) {
        match post {
            Post::Note(note) => self.meeting.note(now, note),
            Post::Nearest(token, to) => self.meeting.nearest(now, token, to),
            Post::LookedUp { asker, id, who, papers } => {
                self.meeting.looked_up(asker, id, who, papers.as_ref());
            }
            _ => {}
        }
        self.settle(wall, out, events);
    }

    fn settle(&mut self, wall: Wall, out: &mut Posts, events: &mut impl FnMut(MeetEvent)) {
        while let Some(order) = self.meeting.poll() {
            match order {
                Order::To(who, what) => {
                    let partition = self.plan.partition_of(&who.address());
                    out.push(Role::Partition(partition), Post::Introduce(what));
                }
                Order::Any(what) => out.push(Role::Partition(0), Post::Introduce(what)),
                Order::All(what) => {
                    for partition in 0..self.plan.partitions() {
                        out.push(Role::Partition(partition), Post::Introduce(repeated(&what)));
                    }
                }
                Order::Vouched(papers) => {
                    self.renewal.offered(wall, &papers, &mut self.meeting);
                }
                Order::LookUp { asker, id, who } => events(MeetEvent::LookUp { asker, id, who }),
                Order::Nearest(token, found) => events(MeetEvent::Nearest(token, found)),
            }
        }
    }
}

/// The same for another partition. Only what is for all of them is repeated.
const fn repeated(what: &Introduction) -> Introduction {
    match what {
        Introduction::Moved { peer, at } => Introduction::Moved { peer: *peer, at: *at },
        _ => Introduction::Census,
    }
}
