//! What the shard tells: passed on to the application, the log, or whoever waits for it.

use trunkline_proto::base::{DropReason, Instant};
use trunkline_proto::stage::lines::LineEvent;
use trunkline_proto::stage::links::LinkEvent;
use trunkline_proto::stage::meeting::MeetEvent;
use trunkline_proto::stage::routing::MeshEvent;
use trunkline_proto::switch::Answer;

use super::Worker;
use crate::callbacks::{AnonPacket, Event, LinePacket, StateChange};
use crate::meeting::LookUp;

impl Worker {
    /// What the switch leaves to the application: packets in lines and outside of them that
    /// nothing else handled. What nobody takes is counted.
    pub(super) fn unhandled(&mut self, event: Option<Event>) {
        if event.is_none_or(|event| self.shared.dispatch.dispatch(event).is_err()) {
            self.drops.count(DropReason::Unhandled);
        }
    }

    pub(super) fn meet_event(&mut self, event: MeetEvent) {
        match event {
            MeetEvent::Nearest(token, found) => {
                self.shared.answered(token, Answer::Nearest(found));
            }
            MeetEvent::LookUp { asker, id, who } => {
                let look_up = LookUp { asker, id, who };
                let asked = self.lookups.as_ref().is_some_and(|l| l.try_send(look_up).is_ok());
                if !asked {
                    self.drops.count(DropReason::QueueFull);
                }
            }
        }
    }

    pub(super) fn line_event(&mut self, event: LineEvent) {
        match event {
            LineEvent::Answered(token, answer) => self.shared.answered(token, answer),
            LineEvent::Delivered(id, message) => self.keep(id, message),
            LineEvent::Replied(id, message) => self.shared.post.replied(id, message),
            LineEvent::CameBack(back) => self.shared.came_back(back),
            LineEvent::Reachable(peer, yes) => self.shared.reachable(peer, yes),
            LineEvent::Unhandled { peer, packet } => {
                self.unhandled(LinePacket::new(peer, packet).map(Event::LinePacket));
            }
            LineEvent::Anonymous { from, packet } => {
                self.unhandled(AnonPacket::new(from, packet).map(Event::AnonPacket));
            }
            LineEvent::State(peer, state) => {
                // Who does not ask for these misses nothing.
                let _ = self.shared.dispatch.dispatch(Event::State(StateChange { peer, state }));
            }
        }
    }

    pub(super) fn link_event(&mut self, now: Instant, event: LinkEvent) {
        match event {
            LinkEvent::Up(link, record) => {
                let peer = record.hashname();
                let (remote, dial, tls) = match self.readers.remote(link) {
                    Some(r) => r,
                    None => return,
                };
                tracing::info!(%peer, %remote, tls, "link up");
                if let Some(dialled) = self.dialled(dial) {
                    dialled.came_up(now);
                }
            }
            LinkEvent::Close(link, reason) => {
                // The goodbye is in the lanes: it gets its chance before the socket closes.
                self.writers.flush(now, &mut self.shard);
                self.close(now, link, reason.to_string());
            }
        }
    }

    pub(super) fn mesh_event(&self, event: MeshEvent) {
        self.shared.changes.tell(&event);
        match event {
            MeshEvent::LinkUp(..) | MeshEvent::LinkDown(..) => {}
            MeshEvent::NodeUp(node) => tracing::info!(%node, "node reachable"),
            MeshEvent::Cloned(node) => {
                tracing::error!(%node, "this identity runs twice: stop one of the two");
            }
            MeshEvent::Superseded(serial) => {
                tracing::error!(serial, "this node runs on an old key file: use the renewed one");
            }
            MeshEvent::NodeDown(node) => tracing::info!(%node, "node unreachable"),
        }
    }
}

/// What the gatekeeper refused; its own pace keeps this from being told for each message.
pub(super) fn tell_refused(note: &trunkline_proto::gate::Note) {
    let q = &note.question;
    let (rule, refused, port) = (note.rule, note.refused, q.entrance.port);
    let (record, namespace, sender) = (q.record, q.namespace, q.sender);
    let what = if note.dry_run { "would refuse" } else { "refused" };
    tracing::warn!(rule, refused, ?port, %record, %namespace, ?sender, proved = q.proved, "the gatekeeper {what} messages; this was the last");
}
