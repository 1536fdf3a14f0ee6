//! What becomes of an announcement that a neighbour brings: news or not, now or later, true or not.
//!
//! **What a bad neighbour costs.** Copies and old announcements are told by their heads. What
//! looks new is verified at most as often as the neighbour's budget allows, and a signature that
//! does not hold (no honest node passes one on) uses up a quarter of a second of it. What the
//! budget does not allow yet waits, the latest of each origin and neighbour; what does not find
//! room to wait comes back with the next digest.
//!
//! Nothing here changes the database before a signature held.

use std::sync::Arc;

use super::own::Heard;
use super::{Routing, RoutingOutput};
use crate::base::{Address, DropReason, Instant, Wall};
use crate::crypto::{KeyRecord, Purpose};
use crate::mesh::database::Freshness;
use crate::wire::announce::{Announcement, AnnouncementHead};

impl Routing {
    /// Judges an announcement brought by a neighbour, for the first time or after it waited.
    pub(super) fn consider(
        &mut self,
        now: Instant,
        wall: Wall,
        from: Address,
        body: &[u8],
    ) -> Result<(), DropReason> {
        let head = AnnouncementHead::peek(body)?;
        let signature = body.last_chunk::<64>().ok_or(DropReason::Truncated)?;
        if head.origin == self.identity.hashname().address() {
            return self.hear_own(now, wall, from, body);
        }
        let freshness = self.database.judge(&head, signature);
        if let (Some(slot), Some(sender)) =
            (self.database.slot(&head.origin), self.neighbours.get_mut(&from))
        {
            match freshness {
                Freshness::Same => sender.has(slot),
                Freshness::Older => sender.lacks(slot),
                _ => {}
            }
        }
        if matches!(freshness, Freshness::Same | Freshness::Older) {
            return Err(DropReason::StaleAnnouncement);
        }
        let budget = self.verifies_from(now, &from);
        let pace = self.database.waits_until(now, &head.origin);
        if let Some(until) = budget.max(pace) {
            return self.waiting.put(until, from, &head, body);
        }
        let said = Announcement::parse(body)?;
        let record = self.verified(now, wall, from, &said)?;
        self.install(now, Some(from), &record, body, &said)
    }

    /// When a signature may be verified for this neighbour, behind all that wait already; `None`
    /// for at once.
    fn verifies_from(&self, now: Instant, from: &Address) -> Option<Instant> {
        self.neighbours.get(from)?.verifies_from(now, self.waiting.count(from))
    }

    /// Checks record and signature, at the cost of the neighbour that brought them.
    fn verified(
        &mut self,
        now: Instant,
        wall: Wall,
        from: Address,
        said: &Announcement<'_>,
    ) -> Result<Arc<KeyRecord>, DropReason> {
        let result = self.check(wall, said);
        if let Some(sender) = self.neighbours.get_mut(&from) {
            sender.verified(now, !matches!(result, Err(DropReason::BadSignature)));
        }
        result
    }

    fn check(&self, wall: Wall, said: &Announcement<'_>) -> Result<Arc<KeyRecord>, DropReason> {
        let own =
            Some(self.identity.record()).filter(|r| r.hashname().address() == said.head.origin);
        let known = own.or_else(|| self.records.get(&said.head.origin));
        let record = match known.filter(|r| r.encoded()[..] == *said.record) {
            Some(record) if wall.is_past(record.expiry()) => return Err(DropReason::Expired),
            Some(record) => Arc::clone(record),
            None => {
                let claimed = KeyRecord::parse(said.record)?;
                if claimed.space() != *self.identity.space() {
                    return Err(DropReason::WrongSpace);
                }
                Arc::new(claimed.verify(wall)?)
            }
        };
        // The head is what was judged; it must be what is signed and whose.
        let head = said.head;
        if record.hashname().address() != head.origin
            || record.serial() != head.order.serial
            || !record.verify_signature(Purpose::Announcement, said.signed(), said.signature())
        {
            return Err(DropReason::BadSignature);
        }
        Ok(record)
    }

    /// An announcement that bears this node's address came back.
    fn hear_own(
        &mut self,
        now: Instant,
        wall: Wall,
        from: Address,
        body: &[u8],
    ) -> Result<(), DropReason> {
        let said = Announcement::parse(body)?;
        let held = self.database.judge(&said.head, said.signature());
        let serial = self.identity.record().serial();
        // The same word of the past comes from every neighbour, and the database may still hold an
        // older one of ours: what is below the order we go on from is nothing new.
        let ours = self.own.order(serial);
        let order = &said.head.order;
        if *order < ours || (*order == ours && held != Freshness::Newer) {
            return Err(DropReason::StaleAnnouncement);
        }
        if let Some(until) = self.verifies_from(now, &from) {
            return self.waiting.put(until, from, &said.head, body);
        }
        let record = self.verified(now, wall, from, &said)?;
        if record.hashname() != self.identity.hashname() {
            return Err(DropReason::Misaddressed);
        }
        if record.serial() > serial {
            // It comes again with every digest; once says it.
            if self.superseded != Some(record.serial()) {
                self.superseded = Some(record.serial());
                self.outputs.push_back(RoutingOutput::Superseded(record.serial()));
            }
            return Err(DropReason::StaleAnnouncement);
        }
        if self.own.outrun(now, &said.head.order) == Heard::Clone {
            self.outputs.push_back(RoutingOutput::Cloned(self.identity.hashname()));
        }
        Ok(())
    }
}
