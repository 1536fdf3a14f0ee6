//! The streams of a line under a hostile peer. Each input is a sequence of frames, one length
//! byte and that many bytes of a packet; length 0 lets time pass, 255 lets the user act. Checks
//! that nothing panics, that what decodes has one encoding, and that the bounds hold.
#![no_main]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use trunkline_proto::base::{Instant, Priority};
use trunkline_proto::switch::streams::{Code, Open, Side, StreamId, StreamLimits, Streams};
use trunkline_proto::wire::stream::StreamPacket;

fuzz_target!(|input: &[u8]| {
    let limits = StreamLimits { streams: 16, ..StreamLimits::default() };
    let mut streams = Streams::new(limits, Side::Even, 1_150);
    let mut now = Instant::from_micros(1_000_000);
    let mut out = BytesMut::new();
    let mut rest = input;
    while let Some((len, tail)) = rest.split_first() {
        rest = match len {
            0 => {
                now += Duration::from_millis(7);
                streams.handle_timeout(now);
                tail
            }
            255 => user(&mut streams, now, tail),
            len => {
                let (packet, tail) = tail.split_at(tail.len().min(usize::from(*len)));
                one_encoding(packet);
                let _ = streams.handle_packet(now, Bytes::copy_from_slice(packet));
                tail
            }
        };
        while streams.poll_transmit(now, &mut out, 1_150).is_some() {
            assert!(out.len() <= 1_150 && StreamPacket::decode(&out).is_ok());
            out.clear();
        }
        while streams.poll_event().is_some() {}
        let stats = streams.stats();
        assert!(stats.streams <= 16 && stats.receive_held <= 16 * (256 << 10));
    }
});

/// One act of the local user, as two bytes say.
fn user<'a>(streams: &mut Streams, now: Instant, rest: &'a [u8]) -> &'a [u8] {
    let [act, id, tail @ ..] = rest else { return &[] };
    let id = StreamId(u64::from(*id % 32));
    match act % 6 {
        0 => drop(streams.open(Open::Generic, Priority::from_low_bits(*act))),
        1 => drop(streams.write(id, &mut Bytes::from_static(&[7; 3_000]))),
        2 => drop(streams.finish(id)),
        3 => drop(streams.read(id, 1_000)),
        4 => drop(streams.stop(now, id, Code::CANCELLED)),
        _ => drop(streams.reset(now, id, Code::CANCELLED, "")),
    }
    tail
}

/// What decodes is written back as the same bytes.
fn one_encoding(packet: &[u8]) {
    let mut out = BytesMut::new();
    match StreamPacket::decode(packet) {
        Ok(StreamPacket::Data(d)) => {
            d.header.emit(&mut out);
            out.extend_from_slice(d.payload);
        }
        Ok(StreamPacket::Ack(a)) => a.emit(&mut out),
        Ok(StreamPacket::Reset(r)) => r.emit(&mut out),
        Err(_) => return,
    }
    assert_eq!(out, packet);
}
