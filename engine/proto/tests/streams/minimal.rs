//! `StreamLimits::minimal()`: the stream processing of the notes, line by line. Each test quotes
//! the line it holds to. A packet's *seq* there is here the offset its bytes begin at, *range* and
//! *miss* are an ACK's ranges and what they leave out, a *contentless packet* is an ACK.

use std::time::Duration;

use bytes::Bytes;
use trunkline_proto::base::{DropReason, Instant, Priority};
use trunkline_proto::switch::streams::{
    Code, Open, ReadState, Side, StreamEvent, StreamId, StreamLimits, Streams,
};
use trunkline_proto::wire::stream::{Ack, StreamPacket};

use crate::hostile::{data, events, sent};
use crate::pair::{Got, MS, Net, Pair};

const SEC: Duration = Duration::from_secs(1);
/// Bytes in each packet here.
const PIECE: usize = 100;

fn minimal(side: Side) -> Streams {
    Streams::new(StreamLimits::minimal(), side, 1_150)
}

fn begin() -> Instant {
    Instant::from_micros(3_600_000_000)
}

/// A receiver that knows stream 1 and has confirmed its first packet.
fn receiver() -> (Streams, Instant) {
    let (mut s, now) = (minimal(Side::Even), begin());
    s.handle_packet(now, piece(0)).unwrap();
    let later = now + SEC;
    s.handle_timeout(later);
    assert_eq!(sent(&mut s, later).len(), 1, "confirmed after a second at the latest");
    (s, later)
}

/// The packet of that number on stream 1.
fn piece(number: u64) -> Bytes {
    data(1, number * PIECE as u64, true, false, &[number as u8; PIECE])
}

fn ack_of(packet: &Bytes) -> Option<(u64, Vec<(u64, u64)>)> {
    match StreamPacket::decode(packet).unwrap() {
        StreamPacket::Ack(Ack { cumulative, ranges, .. }) => {
            Some((cumulative / PIECE as u64, ranges.iter().collect()))
        }
        _ => None,
    }
}

/// The numbers of the DATA packets among `packets`.
fn numbers(packets: &[Bytes]) -> Vec<u64> {
    let number = |p: &Bytes| match StreamPacket::decode(p).unwrap() {
        StreamPacket::Data(d) => Some(d.header.offset / PIECE as u64),
        _ => None,
    };
    packets.iter().filter_map(number).collect()
}

/// Two ends of a line, and packets carried by hand.
struct Ends {
    a: Streams,
    b: Streams,
    id: StreamId,
    now: Instant,
}

impl Ends {
    /// The stream is known to both.
    fn new() -> Self {
        let (mut a, b) = (minimal(Side::Even), minimal(Side::Odd));
        let id = a.open(Open::Generic, Priority::DEFAULT).unwrap();
        let mut ends = Self { a, b, id, now: begin() };
        for packet in sent(&mut ends.a, ends.now) {
            ends.b.handle_packet(ends.now, packet).unwrap();
        }
        ends.wait(SEC);
        ends.answer();
        // A wake-up that has become moot is looked at when it is due.
        ends.wait(5 * SEC);
        assert!(ends.a.deadline().is_none());
        ends
    }

    /// `count` packets from `a`, those that were sent.
    fn send(&mut self, count: usize) -> Vec<Bytes> {
        let mut packets = Vec::new();
        for _ in 0..count {
            self.a.write(self.id, &mut Bytes::from_static(&[7; PIECE])).unwrap();
            packets.extend(sent(&mut self.a, self.now));
        }
        packets
    }

    fn arrive(&mut self, packets: impl IntoIterator<Item = Bytes>) {
        for packet in packets {
            self.b.handle_packet(self.now, packet).unwrap();
        }
    }

    /// What `b` has to say arrives at `a`.
    fn answer(&mut self) {
        for packet in sent(&mut self.b, self.now) {
            self.a.handle_packet(self.now, packet).unwrap();
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.a.handle_timeout(self.now);
        self.b.handle_timeout(self.now);
    }
}

/// "if received index is > 100, drop (had 3 chances)"
#[test]
fn s23_notes_what_exceeds_a_received_index_of_100_is_dropped() {
    let (mut s, now) = receiver();
    for number in 2..102 {
        s.handle_packet(now, piece(number)).unwrap();
    }
    assert_eq!(s.status(StreamId(1)).unwrap().fragments, 100);
    assert_eq!(s.handle_packet(now, piece(102)), Err(DropReason::QueueFull));
    // What fills the gap is not dropped, and makes room for it.
    s.handle_packet(now, piece(1)).unwrap();
    s.handle_packet(now, piece(102)).unwrap();
    assert_eq!(s.status(StreamId(1)).unwrap().received, 103 * PIECE as u64);
}

/// "if seq was already received, dup++" and "… or dup count >= 5"
#[test]
fn s23_notes_five_duplicates_are_answered() {
    let (mut s, now) = receiver();
    for round in 0..3 {
        for _ in 0..4 {
            s.handle_packet(now, piece(0)).unwrap();
            assert!(sent(&mut s, now).is_empty(), "round {round}");
        }
        s.handle_packet(now, piece(0)).unwrap();
        // "reset dup count": the next round needs five again.
        assert_eq!(sent(&mut s, now).iter().filter_map(ack_of).collect::<Vec<_>>(), [(1, vec![])]);
    }
}

/// "if incoming seq - last confirmed seq is > 30 …"
#[test]
fn s23_notes_more_than_30_unconfirmed_packets_are_answered() {
    let (mut s, now) = receiver();
    for number in 1..=30 {
        s.handle_packet(now, piece(number)).unwrap();
        assert!(sent(&mut s, now).is_empty(), "{number}");
    }
    s.handle_packet(now, piece(31)).unwrap();
    assert_eq!(sent(&mut s, now).len(), 1);
}

/// "send contentless packet w/ current range/miss"
#[test]
fn s23_notes_the_answer_has_no_content_and_names_range_and_misses() {
    let (mut s, now) = receiver();
    for number in (1..=34).filter(|n| ![5, 11, 12].contains(n)) {
        s.handle_packet(now, piece(number)).unwrap();
    }
    let answers = sent(&mut s, now);
    assert_eq!(answers.len(), 1);
    let (cumulative, ranges) = ack_of(&answers[0]).unwrap();
    let mut ranges: Vec<_> = ranges.into_iter().map(|(a, b)| (a / 100, b / 100)).collect();
    ranges.sort_unstable();
    assert_eq!((cumulative, ranges), (5, vec![(6, 11), (13, 35)]));
}

/// "update last confirmed seq to incoming seq"
#[test]
fn s23_notes_after_an_answer_the_count_begins_anew() {
    let (mut s, now) = receiver();
    let mut answered = Vec::new();
    for number in 1..=100 {
        s.handle_packet(now, piece(number)).unwrap();
        answered.extend(sent(&mut s, now).iter().map(|_| number));
    }
    assert_eq!(answered, [31, 62, 93]);
}

/// "if seq is oldest sequential, process it and last++", "check if next seq is in received index
/// and repeat", "if not, put in received queue"
#[test]
fn s23_notes_packets_are_processed_in_sequence() {
    let (mut s, now) = receiver();
    let read = |s: &mut Streams| {
        let mut all = Vec::new();
        while let Ok(ReadState::Data(bytes)) = s.read(StreamId(1), usize::MAX) {
            all.extend(bytes.iter().step_by(PIECE).copied());
        }
        all
    };
    assert_eq!(read(&mut s), [0]);
    for number in [3, 2, 5] {
        s.handle_packet(now, piece(number)).unwrap();
        assert_eq!(read(&mut s), [0; 0], "{number} waits");
    }
    s.handle_packet(now, piece(1)).unwrap();
    assert_eq!(read(&mut s), [1, 2, 3]);
    s.handle_packet(now, piece(4)).unwrap();
    assert_eq!(read(&mut s), [4, 5]);
}

/// "any misses: start misses timer if not running, set missed=1 on outgoing index packet"
#[test]
fn s23_notes_a_miss_is_marked_and_left_to_the_timer() {
    let mut ends = Ends::new();
    let packets = ends.send(40);
    ends.wait(50 * MS);
    ends.arrive(packets.into_iter().enumerate().filter(|p| p.0 != 3).map(|p| p.1));
    ends.answer();
    assert_eq!(ends.a.stats().packets_lost, 1);
    // Nothing goes out for it before the timer, however often it is asked.
    assert!(sent(&mut ends.a, ends.now).is_empty());
    let at = ends.a.deadline().unwrap();
    assert!(at <= ends.now + 5 * SEC && at > ends.now + 4 * SEC);
    ends.wait(4 * SEC);
    assert!(sent(&mut ends.a, ends.now).is_empty());
    ends.wait(SEC);
    assert_eq!(numbers(&sent(&mut ends.a, ends.now)), [3]);
}

/// "any range (minus misses), remove from outgoing index"
#[test]
fn s23_notes_a_range_leaves_the_outgoing_index() {
    let mut ends = Ends::new();
    let packets = ends.send(31);
    let before = ends.a.stats().in_flight;
    ends.wait(50 * MS);
    ends.arrive(packets.into_iter().enumerate().filter(|p| p.0 != 3).map(|p| p.1));
    ends.wait(SEC);
    ends.answer();
    assert_eq!((ends.a.stats().in_flight, before), (0, 31 * (PIECE as u64 + 12)));
    assert_eq!(ends.a.status(ends.id).unwrap().acknowledged, 3 * PIECE as u64);
    // The index has room for what it had given back: 99 more beside the miss.
    assert_eq!(ends.send(105).len(), 99);
}

/// "outgoing packet: attach range+miss based on received index"
#[test]
fn s23_notes_an_outgoing_packet_takes_range_and_misses_along() {
    let mut ends = Ends::new();
    let packets = ends.send(3);
    ends.arrive(packets.into_iter().enumerate().filter(|p| p.0 != 1).map(|p| p.1));
    assert!(sent(&mut ends.b, ends.now).is_empty(), "two packets are not worth an answer");
    ends.b.write(ends.id, &mut Bytes::from_static(b"reply")).unwrap();
    let reply = sent(&mut ends.b, ends.now);
    assert_eq!(reply.iter().filter_map(ack_of).collect::<Vec<_>>(), [(1, vec![(200, 300)])]);
    assert_eq!(numbers(&reply), [0]);
}

/// "put in outgoing index; if outgoing index > 100: set missed=1 (if not set) on whole outgoing
/// index and start timer; don't send"
#[test]
fn s23_notes_a_full_outgoing_index_sends_nothing_and_counts_as_missed() {
    let mut ends = Ends::new();
    assert_eq!(numbers(&ends.send(100)), (0..100).collect::<Vec<_>>());
    assert_eq!(ends.a.stats().packets_lost, 0);
    assert!(ends.send(3).is_empty());
    assert_eq!(ends.a.stats().packets_lost, 100);
    assert_eq!(ends.a.deadline(), Some(ends.now + 5 * SEC));
    // What was not sent is held for later, not lost.
    assert_eq!(ends.a.status(ends.id).unwrap().written, 103 * PIECE as u64);
}

/// "misses timer 5sec: look for the first 5 misses, resend, increment"
#[test]
fn s23_notes_every_five_seconds_the_first_five_misses_are_sent_again() {
    let mut ends = Ends::new();
    ends.send(101);
    let mut repeated = Vec::new();
    for second in 1..=20 {
        ends.wait(SEC);
        let numbers = numbers(&sent(&mut ends.a, ends.now));
        if !numbers.is_empty() {
            repeated.push((second, numbers));
        }
    }
    let five = |from: u64| (from..from + 5).collect::<Vec<_>>();
    // What was just sent again is missed anew only after what has waited longer.
    assert_eq!(repeated, [(5, five(0)), (10, five(5)), (15, five(10)), (20, five(15))]);
}

/// "if any misses > 3 and last received > 1min, kill stream"
#[test]
fn s23_notes_a_stream_dies_after_three_misses_and_a_minute() {
    let mut ends = Ends::new();
    let begin = ends.now;
    ends.send(3);
    let mut sent_again = 0;
    let code = loop {
        ends.wait(SEC);
        sent_again += numbers(&sent(&mut ends.a, ends.now)).len();
        let dead = events(&mut ends.a).into_iter().find_map(|e| match e {
            StreamEvent::Reset { code, .. } => Some(code),
            _ => None,
        });
        if let Some(code) = dead {
            break code;
        }
        assert!(ends.now.since(begin) < 70 * SEC, "it never dies");
    };
    assert_eq!(code, Code::DEAD);
    assert!(ends.now.since(begin) >= 60 * SEC, "{:?}", ends.now.since(begin));
    // Three packets, by eleven ticks before the one that killed it.
    assert_eq!(sent_again, 33);
    assert!(ends.a.is_idle() && ends.a.deadline().is_none());
}

/// The same line: a stream that has heard something within the minute lives on.
#[test]
fn s23_notes_a_stream_that_hears_something_every_minute_lives() {
    let mut ends = Ends::new();
    let packets = ends.send(20);
    for packet in packets {
        ends.arrive([packet]);
        ends.wait(50 * SEC);
        sent(&mut ends.a, ends.now);
        ends.answer();
        assert!(events(&mut ends.a).iter().all(|e| !matches!(e, StreamEvent::Reset { .. })));
    }
}

/// "no misses, delete timer"
#[test]
fn s23_notes_without_misses_there_is_no_timer() {
    let mut ends = Ends::new();
    let packets = ends.send(3);
    assert!(ends.a.deadline().is_some());
    ends.arrive(packets);
    ends.wait(SEC);
    ends.answer();
    // The entry in the table may still fire once, and finds nothing to do.
    ends.wait(10 * SEC);
    assert!(sent(&mut ends.a, ends.now).is_empty());
    assert_eq!(ends.a.deadline(), None);
}

/// All lines together, and beside a peer with other limits.
#[test]
fn s23_notes_everything_arrives_by_the_notes_constants_under_loss() {
    for others in [StreamLimits::minimal(), StreamLimits::default()] {
        let net = Net { loss: 20_000, jitter: 10 * MS, duplicate: 10_000, ..Net::default() };
        let mut p = Pair::with_limits(71, 1_150, net, StreamLimits::minimal());
        p.ends[1] = Streams::new(others, Side::Odd, 1_150);
        let id = p.open(0);
        p.send(0, id, 100_000, true);
        p.send(1, id, 100_000, true);
        p.run(Duration::from_secs(600), Pair::both_idle);
        for end in 0..2 {
            assert_eq!(p.got(end, id), Got { bytes: 100_000, ended: true });
        }
    }
}
