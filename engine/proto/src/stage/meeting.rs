//! The stage that brings hashnames together, off the path of packets.
//!
//! Hands what partitions notice to [`Meeting`] and posts what it wants done back to the partitions
//! it concerns. Decides nothing itself.

use bytes::Bytes;

use super::plan::{Plan, Role};
use super::post::{Post, Posts};
use crate::base::{Chance, Hashname, Instant};
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
}

impl MeetingStage {
    /// Nobody is known yet.
    #[must_use]
    pub fn new(plan: Plan, host: Host, terms: Terms, chance: Chance) -> Self {
        Self { plan, meeting: Meeting::new(host, terms, chance) }
    }

    /// What is known, for status.
    #[must_use]
    pub const fn meeting(&self) -> &Meeting {
        &self.meeting
    }

    /// The next moment at which something happens by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.meeting.deadline()
    }

    /// Does what time demands.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        out: &mut Posts,
        events: &mut impl FnMut(MeetEvent),
    ) {
        self.meeting.handle_timeout(now);
        self.settle(out, events);
    }

    /// Takes a post for this stage. Others are ignored: the plan never sends them here.
    pub fn handle(
        &mut self,
        now: Instant,
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
        self.settle(out, events);
    }

    fn settle(&mut self, out: &mut Posts, events: &mut impl FnMut(MeetEvent)) {
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

/// A record and what vouches for its owner, as they travel.
#[must_use]
pub fn papers(voucher: &[u8], record: &[u8]) -> Bytes {
    let length = u8::try_from(voucher.len()).unwrap_or(0);
    let voucher = voucher.get(..usize::from(length)).unwrap_or_default();
    [&[length], voucher, record].concat().into()
}
