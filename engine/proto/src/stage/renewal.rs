//! This node's voucher, renewed before it ends: its operators are asked for the next one.
//!
//! Half of the time a voucher had when it was first seen here is left to the operators' peace; then
//! they are asked, and if none answers, again at the half of what is left. Decides when, and
//! whether an answer is believed; [`Meeting`] asks. Only in closed spaces: elsewhere there is
//! nothing to renew. PROTOCOL §2.5.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Hashname, Instant, Wall};
use crate::crypto::{SpaceRules, voucher};
use crate::switch::meet::Meeting;

/// How often our voucher is looked at: whoever runs the node may have put another in its place.
const LOOK: Duration = Duration::from_secs(60);
/// A node that starts with less than this left does not wait for the half of it.
const SHORT: Duration = Duration::from_secs(2 * 86_400);
/// So often operators are asked in turn: the first time there may be no line yet,
const ASKS: u32 = 6;
/// and so long after each other.
const AGAIN: Duration = Duration::from_secs(3);

/// Watches over one node's voucher.
#[derive(Debug)]
pub(super) struct Renewal {
    us: Hashname,
    record: Bytes,
    space: Arc<SpaceRules>,
    /// What was shown at the last look.
    shown: Bytes,
    /// When the next is asked for.
    due: Option<Wall>,
    asked: u32,
    next: Instant,
    /// Whether there was a look already.
    begun: bool,
}

impl Renewal {
    pub(super) fn new(us: Hashname, record: Bytes, space: Arc<SpaceRules>) -> Self {
        Self {
            shown: space.our_voucher(),
            us,
            record,
            space,
            due: None,
            asked: 0,
            next: Instant::ZERO,
            begun: false,
        }
    }

    /// The record and what vouches for its owner, as they travel.
    pub(super) fn papers(&self) -> Bytes {
        papers(&self.space.our_voucher(), &self.record)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let renews = self.space.is_closed() && !self.space.is_operator(&self.us);
        renews.then_some(self.next)
    }

    /// Looks at the voucher, if it is time.
    pub(super) fn handle_timeout(&mut self, now: Instant, wall: Wall, meeting: &mut Meeting) {
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        self.next = now + LOOK;
        self.look(wall, meeting);
        if self.due.is_some_and(|due| due.as_secs() <= wall.as_secs()) {
            meeting.ask_for_voucher(now);
            self.asked += 1;
            self.next = now + AGAIN;
            if self.asked >= ASKS {
                self.wait(wall);
            }
        }
    }

    /// Somebody who was asked says that these are our papers: the voucher among them is shown if
    /// peers would take it and it lasts longer than the one there is.
    pub(super) fn offered(&mut self, wall: Wall, theirs: &Bytes, meeting: &mut Meeting) {
        let Some((&length, rest)) = theirs.split_first() else { return };
        let Some(offered) = rest.get(..usize::from(length)) else { return };
        let ends = |bytes: &[u8]| voucher::parse(bytes).map_or(0, |claim| claim.expiry.as_secs());
        let later = ends(offered) > ends(&self.space.our_voucher());
        if later && self.space.vouched(&self.us, offered, wall).is_ok() {
            self.space.show(Bytes::copy_from_slice(offered));
            self.look(wall, meeting);
        }
    }

    fn look(&mut self, wall: Wall, meeting: &mut Meeting) {
        let ours = self.space.our_voucher();
        let first = !core::mem::replace(&mut self.begun, true);
        if ours == self.shown && !first {
            return;
        }
        self.shown = ours;
        meeting.show(self.papers());
        let short = first && self.left(wall).is_some_and(|left| left < SHORT);
        if short {
            (self.due, self.asked) = (Some(wall), 0);
        } else {
            self.wait(wall);
        }
    }

    /// Until half of what is left has passed.
    fn wait(&mut self, wall: Wall) {
        self.asked = 0;
        self.due = self.left(wall).map(|left| wall.after(left / 2));
    }

    fn left(&self, wall: Wall) -> Option<Duration> {
        let ends = voucher::parse(&self.shown).ok()?.expiry;
        Some(Duration::from_secs(ends.as_secs().saturating_sub(wall.as_secs())))
    }
}

/// A record and what vouches for its owner, as they travel.
#[must_use]
pub fn papers(voucher: &[u8], record: &[u8]) -> Bytes {
    let length = u8::try_from(voucher.len()).unwrap_or(0);
    let voucher = voucher.get(..usize::from(length)).unwrap_or_default();
    [&[length], voucher, record].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Chance, Space};
    use crate::crypto::{Flags, Identity};
    use crate::switch::meet::{Host, Order, Terms};
    use crate::switch::{Introduction, Note, Path};

    const WALL: Wall = Wall::from_secs(1_800_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    struct Node {
        operator: Identity,
        renewal: Renewal,
        meeting: Meeting,
        now: Instant,
        wall: Wall,
    }

    impl Node {
        /// With a line to its operator, and a voucher for so long.
        fn new(days: u32) -> Self {
            let space = Space::new("club").unwrap();
            let operator =
                Identity::generate(&space, 2_048, &mut Chance::from_number(1), WALL, 99 * DAY)
                    .unwrap();
            let us = Hashname::new([7; 32]);
            let rules = Arc::new(SpaceRules::closed(space, [operator.hashname()]));
            rules.learned(operator.record());
            let terms = Terms { operators: vec![operator.hashname()], ..Terms::default() };
            let host = Host { us, papers: Bytes::new(), partitions: 1 };
            let mut meeting = Meeting::new(host, terms, Chance::from_number(2));
            let now = Instant::from_micros(1);
            let path = Some(Path::Mesh);
            meeting.note(now, Note::Line { peer: operator.hashname(), path, spacer: false });
            let renewal = Renewal::new(us, Bytes::from_static(b"record"), rules);
            let node = Self { operator, renewal, meeting, now, wall: WALL };
            node.renewal.space.show(node.voucher(us, days));
            node
        }

        fn voucher(&self, subject: Hashname, days: u32) -> Bytes {
            let ends = self.wall.after(DAY * days);
            voucher::issue(&self.operator, &subject, Flags::SPACER, ends).to_vec().into()
        }

        /// Lets that pass, and counts the questions meanwhile.
        fn pass(&mut self, time: Duration) -> usize {
            let mut asked = 0;
            for _ in 0..time.as_secs() / 600 {
                self.now += 10 * LOOK;
                self.wall = self.wall.after(10 * LOOK);
                self.renewal.handle_timeout(self.now, self.wall, &mut self.meeting);
                self.meeting.handle_timeout(self.now);
                let said = |o: &Order| matches!(o, Order::To(_, Introduction::Say { .. }));
                asked += std::iter::from_fn(|| self.meeting.poll()).filter(said).count();
            }
            asked
        }
    }

    #[test]
    fn s5_a_voucher_is_asked_for_at_half_its_time_and_again_at_half_of_the_rest() {
        let mut node = Node::new(8);
        assert_eq!(node.pass(4 * DAY - 10 * LOOK), 0);
        assert!(node.pass(DAY / 4) >= 1, "at half its time");
        assert_eq!(node.pass(DAY), 0, "nobody answers, and nobody is pestered");
        assert!(node.pass(DAY) >= 1, "at half of the rest");
    }

    #[test]
    fn s5_a_node_that_starts_with_little_left_asks_at_once() {
        let mut node = Node::new(1);
        assert!(node.pass(DAY / 24) >= 1);
    }

    #[test]
    fn s5_an_offered_voucher_is_shown_if_it_is_true_and_lasts_longer() {
        let mut node = Node::new(8);
        node.pass(DAY / 24);
        let us = node.renewal.us;
        let before = node.renewal.space.our_voucher();
        let mut forged = node.voucher(us, 30).to_vec();
        forged[40] ^= 1;
        for bad in [forged.into(), node.voucher(us, 2), node.voucher(Hashname::new([8; 32]), 30)] {
            let theirs = papers(&bad, b"record");
            node.renewal.offered(node.wall, &theirs, &mut node.meeting);
            assert_eq!(node.renewal.space.our_voucher(), before);
        }
        for cut in [&[][..], &[200], &[3, 1]] {
            let cut = Bytes::copy_from_slice(cut);
            node.renewal.offered(node.wall, &cut, &mut node.meeting);
        }
        let next = node.voucher(us, 30);
        node.renewal.offered(node.wall, &papers(&next, b"record"), &mut node.meeting);
        assert_eq!(node.renewal.space.our_voucher(), next);
        assert_eq!(node.pass(14 * DAY), 0, "and half of its time is waited for");
    }
}
