//! The UDP sockets of a worker: received a batch a round, sent what the lanes have when a socket has
//! room.

use std::io;
use std::sync::Arc;

use mio::{Interest, Token};
use trunkline_proto::base::{DropReason, Instant};
use trunkline_proto::shard::Input;
use trunkline_proto::switch::may_be_cut;

use super::{Source, Worker};
use crate::net::{SendBatch, UdpPort};
use crate::runtime::clock::Clock;

/// Datagrams received before others get their turn.
const DATAGRAMS: usize = 256;

pub(super) struct Udp {
    pub(super) port: Arc<UdpPort>,
    pub(super) batch: SendBatch,
    pub(super) blocked: bool,
    /// There may be more to receive.
    pub(super) unread: bool,
}

impl Worker {
    /// A partition's seat receives; any seat may send. Only one poller may watch a socket, so a
    /// writer on another seat asks again after a moment when the socket is full.
    pub(super) fn add_udp(&mut self, port: Arc<UdpPort>) -> io::Result<()> {
        if self.partition.is_some() {
            let token = Token(self.sources.insert(Source::Udp(self.udp.len())));
            let interest = Interest::READABLE | Interest::WRITABLE;
            port.register_shared(self.poll.registry(), token, interest)?;
        }
        self.udp.push(Udp { port, batch: SendBatch::new(256), blocked: false, unread: false });
        Ok(())
    }

    pub(super) fn udp_ready(&mut self, index: usize, event: &mio::event::Event) {
        let Some(udp) = self.udp.get_mut(index) else { return };
        udp.blocked &= !event.is_writable();
        udp.unread |= event.is_readable();
    }

    /// One batch a round: who floods a socket does not keep the others from theirs.
    pub(super) fn read_datagrams(&mut self, now: Instant, index: usize) {
        let wall = Clock::wall();
        let Self { udp, received, shard, .. } = self;
        let Some(udp) = udp.get_mut(index).filter(|u| u.unread) else { return };
        let port = udp.port.local_addr().port();
        let take = |from, bytes| shard.handle(now, wall, Input::Datagram { from, port, bytes });
        match udp.port.recv(received, DATAGRAMS, take) {
            Ok(n) => udp.unread = n >= DATAGRAMS,
            Err(error) => {
                udp.unread = false;
                tracing::warn!(%error, "a UDP socket failed to receive");
            }
        }
    }

    pub(super) fn flush_datagrams(&mut self) {
        let Some(writer) = self.shard.writer() else { return };
        let drops = &mut self.drops;
        // A full socket keeps the rest in the lanes, where what is urgent can still overtake.
        let room = |udp: &Vec<Udp>| udp.iter().all(|u| u.batch.len() < 256);
        while room(&self.udp)
            && let Some((_, datagram)) = writer.next_datagram()
        {
            match self.udp.iter_mut().find(|u| u.port.reaches(datagram.to)) {
                Some(udp) => {
                    let pushed = if may_be_cut(&datagram.bytes) {
                        udp.batch.push_divisible(datagram.to, datagram.bytes)
                    } else {
                        udp.batch.push(datagram.to, datagram.bytes)
                    };
                    if pushed.is_err() {
                        drops.count(DropReason::QueueFull);
                    }
                }
                None => drops.count(DropReason::NoRoute),
            }
        }
        for udp in &mut self.udp {
            if udp.batch.is_empty() {
                continue;
            }
            let before = udp.batch.counters();
            let sent = udp.port.send(&mut udp.batch);
            for (reason, count) in udp.batch.counters().drops_since(&before) {
                drops.add(reason, count);
            }
            match sent {
                Ok(_) => udp.blocked = !udp.batch.is_empty(),
                Err(error) => {
                    tracing::warn!(%error, "a UDP socket failed to send");
                    drops.add(DropReason::LinkDown, udp.batch.clear() as u64);
                }
            }
        }
    }
}
