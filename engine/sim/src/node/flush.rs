//! What leaves a seat at the end of its round: frames into connections, as many as they take, and
//! datagrams onto their paths.

use std::io::IoSlice;

use bytes::BytesMut;
use trunkline_proto::base::LinkId;

use super::seat::Seat;
use super::{Around, Node};
use crate::agenda::Event;
use crate::draw::Draw;
use crate::network::Datagram;
use crate::network::connection::Segment;
use crate::scenario::node_at;

/// Most bytes in one write.
const WRITE: u64 = 32 << 10;

impl Node {
    /// Flushes every output once.
    pub(super) fn flush(&mut self, seat: usize, around: &mut Around<'_>) {
        self.write_links(seat, around);
        let from = self.index;
        let Some(writer) = self.seats[seat].shard.writer() else { return };
        while let Some((_, datagram)) = writer.next_datagram() {
            let Some(to) = node_at(datagram.to).filter(|n| *n < around.scenario.nodes.len()) else {
                continue;
            };
            around.watch.datagram(from, to, &datagram.bytes);
            let source = crate::scenario::address_of(from);
            let datagram = Datagram { from: source, bytes: datagram.bytes };
            around.network.send(around.now, (from, to), datagram, around.agenda);
        }
    }

    /// Writes what waits, link by link, until connections are full.
    pub(super) fn write_links(&mut self, seat: usize, around: &mut Around<'_>) {
        let (now, _) = self.clock(around.now);
        let Seat { shard, busy, writers, chance, .. } = &mut self.seats[seat];
        let Some(writer) = shard.writer() else { return };
        while let Some(link) = writer.take_ready() {
            busy.push(link);
        }
        for link in core::mem::take(busy) {
            let Some(&(connection, end)) = writers.get(&link) else { continue };
            let Some(outgoing) = writer.outgoing(link) else { continue };
            let Some(held) = around.network.connections.get_mut(connection) else { continue };
            let other = held.ends[1 - end].node;
            let far = held.ends[1 - end].link;
            let pipe = &mut held.pipes[end];
            while !outgoing.is_empty() {
                let room = pipe.room();
                if room == 0 {
                    pipe.blocked = true;
                    break;
                }
                let budget = if chance.percent(10) { chance.span(1, 1_500) } else { WRITE };
                let budget = usize::try_from(budget).unwrap_or(1).min(room);
                let mut slices = [IoSlice::new(&[]); 16];
                let used = outgoing.gather(budget, &mut slices);
                let mut bytes = BytesMut::with_capacity(budget);
                slices[..used].iter().for_each(|s| bytes.extend_from_slice(s));
                let bytes = bytes.freeze();
                outgoing.consume(now, bytes.len());
                let watch = &mut *around.watch;
                pipe.framer.take(bytes.clone(), |header, frame| {
                    watch.sent((self.index, link), other.map(|n| (n, far)), header, &frame);
                });
                pipe.push(around.now, Segment::Bytes(bytes));
            }
            if let Some(at) = pipe.schedule() {
                around.agenda.at(at, Event::Pipe { connection, from: end });
            }
        }
    }

    /// A connection has room again.
    pub(crate) fn writable(&mut self, link: LinkId, around: &mut Around<'_>) {
        let seat = self.plan.seat(self.plan.writer_of(link));
        self.seats[seat].busy.push(link);
        self.wake(seat, around);
    }
}
