//! What the application and the owner want of a worker, and what it tells them of itself.

use std::collections::VecDeque;

use mio::Token;
use trunkline_proto::base::Instant;
use trunkline_proto::shard::Input;
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;

use super::connections::Dialled;
use super::{Source, Worker};
use crate::runtime::clock::Clock;
use crate::runtime::letters::{Command, Report, Written};

impl Worker {
    pub(super) fn obey(&mut self, now: Instant, command: Command) {
        match command {
            Command::OpenProxy { id, peer, open, listen, reply } => {
                let token = Token(self.sources.insert(Source::Proxy));
                let registry = self.poll.registry();
                let opened = self.tunnels.open_proxy(id, peer, open, listen, registry, token);
                if opened.is_err() {
                    self.sources.remove(token.0);
                }
                let _ = reply.send(opened);
            }
            Command::CloseProxy(id) => {
                if let Some(token) = self.tunnels.close_proxy(id, self.poll.registry()) {
                    self.sources.remove(token.0);
                }
            }
            Command::AddLink { index, dial } => self.dials.push(Dialled::new(index, *dial)),
            Command::CloseLink { link, reply } => {
                let _ = reply.send(self.close_link(now, link));
            }
            Command::CostLink { link, cost, reply } => {
                let _ = reply.send(self.cost_link(now, link, cost));
            }
            Command::Broadcast { what, record, here, reply } => {
                let said = self.shard.broadcast(now, Clock::wall(), (&what, &record), here);
                let _ = reply.send(said);
            }
            Command::Routing(look) => {
                if let Some(stage) = self.shard.routing() {
                    look(stage.routing(), now);
                }
            }
            Command::Sync(reply) => {
                let _ = reply.send(());
            }
            Command::Report(reply) => {
                let _ = reply.send(self.report(now));
            }
            Command::CloseLines => self.close_lines(now),
            Command::CloseLinks => self.shard.handle(now, Clock::wall(), Input::Close),
            // Answered after the round, when what this letter follows has been passed on.
            Command::Quiet(reply) => self.asked.push(reply),
            Command::Stop => self.stopping = true,
        }
    }

    fn close_lines(&mut self, now: Instant) {
        // Whoever says goodbye does not call again.
        self.dials.clear();
        if let Some(partition) = self.partition {
            let close = Input::Post(Role::Partition(partition), Post::CloseLines);
            self.shard.handle(now, Clock::wall(), close);
        }
    }

    /// Whether nothing waits here for a socket or another worker, or to be found out and told: who is
    /// out of reach without a link that was closed.
    pub(super) fn is_quiet(&self) -> bool {
        self.writers.is_quiet()
            && !self.shard.has_output()
            && self.kept.iter().all(VecDeque::is_empty)
            && !self.udp.iter().any(|u| u.blocked)
            && self.shard.routing().is_none_or(|r| r.routing().is_settled())
    }

    fn report(&self, now: Instant) -> Report {
        let mut drops = self.shard.drops();
        drops.merge(&self.drops);
        let links = self.shard.links().filter_map(|l| {
            let (remote, dial, tls) = self.readers.remote(l.link)?;
            Some((l, dial, remote, tls))
        });
        Report {
            seat: self.seat,
            drops,
            links: links.collect(),
            written: self.shard.written().map(|(link, o)| Written::of(link, o)).collect(),
            dials: self.dials.iter().map(|d| d.report(now)).collect(),
            contacts: self.shard.switch().map(|s| s.report(now).collect()).unwrap_or_default(),
            switch: self.shard.switch().map(|s| s.counters().clone()),
            peers: self.shard.peers().collect(),
            forwarded: self.shard.forwarded().cloned(),
            tunnels: self.tunnels.counters(),
            pipes: self.pipes.open(),
            mesh: self.shard.routing().map(|r| r.routing().nodes(now).collect()),
            adjacent: self.shard.routing().map(|r| r.routing().links(now).collect()),
            routes: self.shard.routing().map(|r| r.table().clone()),
            meeting: self.shard.meeting().map(|m| m.meeting().report(now)),
            proxies: self.tunnels.proxies(),
            rounds: self.rounds,
            gate: self.shard.gate().map(|g| g.hits().clone()).unwrap_or_default(),
        }
    }
}
