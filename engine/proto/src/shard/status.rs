//! What status looks at in a shard. Changes nothing.

use super::Shard;
use crate::base::{Drops, LinkId};
use crate::gate::Gate;
use crate::stage::forward::{Forward, Forwarded};
use crate::stage::lines::Lines;
use crate::stage::links::LinkReport;
use crate::stage::meeting::MeetingStage;
use crate::stage::outgoing::Outgoing;
use crate::stage::routing::RoutingStage;
use crate::stage::streams::{PeerReport, StreamStage};
use crate::stage::writer::Writer;
use crate::switch::Switch;

/// What status looks at.
impl Shard {
    /// The switch of this seat's partition.
    #[must_use]
    pub fn switch(&self) -> Option<&Switch> {
        self.lines.as_ref().map(Lines::switch)
    }

    /// The link state and routes, on the seat that has them.
    #[must_use]
    pub const fn routing(&self) -> Option<&RoutingStage> {
        self.routing.as_ref()
    }

    /// What is known of other hashnames, on the seat that knows.
    #[must_use]
    pub const fn meeting(&self) -> Option<&MeetingStage> {
        self.meeting.as_ref()
    }

    /// The links read on this seat.
    pub fn links(&self) -> impl Iterator<Item = LinkReport> + '_ {
        self.links.report()
    }

    /// The peers with streams on this seat.
    pub fn peers(&self) -> impl Iterator<Item = PeerReport> + '_ {
        self.streams.iter().flat_map(StreamStage::report)
    }

    /// What the gatekeeper of this seat has decided, if it has one.
    #[must_use]
    pub fn gate(&self) -> Option<&Gate> {
        self.lines.as_ref().map(|lines| lines.messages().gate())
    }

    /// The forwarder's counters.
    #[must_use]
    pub fn forwarded(&self) -> Option<&Forwarded> {
        self.forward.as_ref().map(Forward::counters)
    }

    /// The links written on this seat: what each has sent and still holds.
    pub fn written(&self) -> impl Iterator<Item = (LinkId, &Outgoing)> {
        self.writer.iter().flat_map(Writer::report)
    }

    /// Everything this seat dropped, by reason.
    #[must_use]
    pub fn drops(&self) -> Drops {
        let mut all = Drops::default();
        all.merge(self.links.drops());
        if let Some(switch) = self.switch() {
            all.merge(&switch.counters().drops);
        }
        if let Some(lines) = &self.lines {
            all.merge(lines.messages().drops());
        }
        if let Some(streams) = &self.streams {
            all.merge(streams.drops());
        }
        if let Some(routing) = &self.routing {
            all.merge(routing.drops());
        }
        if let Some(meeting) = &self.meeting {
            all.merge(&meeting.meeting().counters().drops);
        }
        if let Some(forward) = &self.forward {
            all.merge(&forward.counters().drops);
        }
        if let Some(writer) = &self.writer {
            all.merge(writer.drops());
            writer.report().for_each(|(_, out)| all.merge(&out.counters().drops));
        }
        all
    }
}
