//! A peer that keeps to the form and lies: gaps that never fill, credit taken back, ACKs for what
//! has not arrived, stamps that were never sent.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{DropReason, Instant, Priority};
use trunkline_proto::switch::streams::{
    Code, CongestionKind, INITIAL_CREDIT, Open, ReadState, Side, StreamId, StreamLimits, Streams,
};
use trunkline_proto::wire::stream::{Ack, AckRanges, Echo};

use crate::hostile::{data, events, sent, victim};
use crate::pair::MS;

#[test]
fn s23_gaps_that_never_fill_hold_no_more_than_the_window() {
    let (mut s, mut now) = victim();
    s.handle_packet(now, data(1, 0, true, false, b"")).unwrap();
    let (mut came, mut answered) = (0u64, 0u64);
    for round in 0..2_000u64 {
        // Byte 0 never comes; what lies beyond comes again and again, in other pieces.
        for i in 0..15 {
            let offset = 1 + (i * 1_024 + round * 37) % (INITIAL_CREDIT - 1_100);
            let piece = data(1, offset, true, false, &[b'x'; 1_024]);
            assert!(matches!(s.handle_packet(now, piece), Ok(()) | Err(DropReason::QueueFull)));
            came += 1;
        }
        answered += sent(&mut s, now).len() as u64;
        now += Duration::from_secs(2);
        s.handle_timeout(now);
        let _ = events(&mut s);
        let status = s.status(StreamId(1)).unwrap();
        assert!(s.stats().receive_held <= INITIAL_CREDIT && status.fragments <= 4_096);
    }
    assert!(answered <= came);
    assert_eq!(s.read(StreamId(1), 10), Ok(ReadState::Pending));
    s.fail_all(Code::LINE_DOWN);
    assert_eq!((s.stats().receive_held, s.is_idle()), (0, true));
}

/// The stream that `victim` opened, with `bytes` written and sent.
fn opened(s: &mut Streams, now: Instant, bytes: usize) -> (StreamId, Vec<Bytes>) {
    let id = s.open(Open::Generic, Priority::DEFAULT).unwrap();
    s.write(id, &mut Bytes::from(vec![7; bytes])).unwrap();
    (id, sent(s, now))
}

#[test]
fn s24_credit_that_shrinks_changes_nothing() {
    let (mut s, mut now) = victim();
    let (id, _) = opened(&mut s, now, 100_000);
    now += 50 * MS;
    let ack = |cumulative, credit| {
        let mut out = BytesMut::new();
        let ranges = AckRanges::EMPTY;
        Ack { id: id.0, cumulative, credit, echo: None, ranges }.emit(&mut out);
        out.freeze()
    };
    s.handle_packet(now, ack(1_000, 20_000)).unwrap();
    let _ = sent(&mut s, now);
    let before = s.status(id).unwrap();
    for credit in [19_000, 1, 0] {
        s.handle_packet(now, ack(1_000, credit)).unwrap();
        assert_eq!(s.status(id).unwrap().credit, before.credit);
    }
    // What was sent under the credit that was taken back stays sent and is not sent again.
    assert!(sent(&mut s, now).is_empty());
}

#[test]
fn s23_optimistic_acknowledgements_gain_no_more_than_the_limits() {
    for congestion in [CongestionKind::Cubic, CongestionKind::Bbr] {
        let limits = StreamLimits { congestion, ..StreamLimits::default() };
        let mut s = Streams::new(limits.clone(), Side::Even, 1_150);
        let mut now = Instant::from_micros(3_600_000_000);
        let (id, _) = opened(&mut s, now, 60_000);
        let mut granted = INITIAL_CREDIT;
        for _ in 0..3_000 {
            // Whatever was sent counts as arrived a microsecond later.
            let stamp = now.as_micros() as u32;
            now += Duration::from_micros(1);
            // All that was sent: what of the credit is used.
            let cumulative = granted - s.status(id).unwrap().credit;
            granted = 1 << 40;
            let mut out = BytesMut::new();
            let echo = Some(Echo { stamp, delay_us: 0 });
            let ranges = AckRanges::EMPTY;
            Ack { id: id.0, cumulative, credit: granted, echo, ranges }.emit(&mut out);
            s.handle_packet(now, out.freeze()).unwrap();
            while s.write(id, &mut Bytes::from(vec![7; 60_000])).is_ok() {}
            let _ = sent(&mut s, now);
            let stats = s.stats();
            assert!(stats.window <= limits.in_flight && stats.in_flight <= limits.in_flight);
            assert!(stats.send_held <= limits.send_buffer_max);
        }
    }
}

#[test]
fn s23_echoes_of_what_was_never_sent_measure_nothing() {
    let (mut s, mut now) = victim();
    let (id, _) = opened(&mut s, now, 3_000);
    let assumed = s.stats().round_trip;
    let begin = now;
    now += 200 * MS;
    let ack = |cumulative, sent: Instant| {
        let mut out = BytesMut::new();
        let echo = Some(Echo { stamp: sent.as_micros() as u32, delay_us: 0 });
        let ranges = AckRanges::EMPTY;
        Ack { id: id.0, cumulative, credit: 1 << 20, echo, ranges }.emit(&mut out);
        out.freeze()
    };
    s.handle_packet(now, ack(1_000, begin + 199 * MS)).unwrap();
    assert_eq!(s.stats().round_trip, assumed);
    s.handle_packet(now, ack(2_000, begin)).unwrap();
    assert_eq!(s.stats().round_trip, 200 * MS);
}
