//! A peer that may send anything: nothing panics, nothing grows, broken bounds end the stream.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use trunkline_proto::base::{Chance, DropReason, Instant, Priority};
use trunkline_proto::switch::streams::{
    Code, INITIAL_CREDIT, Open, ReadState, Side, StreamEvent, StreamId, StreamLimits, Streams,
};
use trunkline_proto::wire::stream::{
    Ack, AckRanges, DataHeader, Echo, OpenInfo, OpenWhat, Reset, VARINT_MAX,
};

use crate::pair::MS;

const OPEN: Option<OpenInfo<'static>> =
    Some(OpenInfo { what: OpenWhat::Generic, priority: Priority::DEFAULT, credit: 1 << 20 });

pub(crate) fn data(id: u64, offset: u64, open: bool, fin: bool, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    let open = if open { OPEN } else { None };
    DataHeader { id, offset, stamp: 9, open, fin, short: false }.emit(&mut out);
    out.extend_from_slice(payload);
    out.freeze()
}

pub(crate) fn ack(id: u64, cumulative: u64, runs: &[(u64, u64)]) -> Bytes {
    let mut out = BytesMut::new();
    let ranges = AckRanges::new(runs);
    Ack { id, cumulative, credit: 1 << 30, echo: None, ranges }.emit(&mut out);
    out.freeze()
}

pub(crate) fn victim() -> (Streams, Instant) {
    (Streams::new(StreamLimits::default(), Side::Even, 1_150), Instant::from_micros(3_600_000_000))
}

pub(crate) fn sent(s: &mut Streams, now: Instant) -> Vec<Bytes> {
    let mut all = Vec::new();
    let mut out = BytesMut::new();
    while s.poll_transmit(now, &mut out, 2_000).is_some() {
        all.push(out.split().freeze());
    }
    all
}

pub(crate) fn events(s: &mut Streams) -> Vec<StreamEvent> {
    std::iter::from_fn(|| s.poll_event()).collect()
}

/// The stream must be over for both, and the peer hear why.
fn broken(s: &mut Streams, now: Instant, id: u64) {
    let reset = |e: &StreamEvent| matches!(e, StreamEvent::Reset { id: i, code: Code::LIMIT_BROKEN, .. } if i.0 == id);
    assert_eq!(events(s).iter().filter(|e| reset(e)).count(), 1);
    assert!(sent(s, now).iter().any(|p| p[0] == 0x12 && p[1] == 3));
    let stats = s.stats();
    assert_eq!((stats.in_flight, stats.send_held, stats.receive_held), (0, 0, 0));
}

#[test]
fn s24_more_than_the_credit_ends_the_stream() {
    let (mut s, now) = victim();
    s.handle_packet(now, data(1, 0, true, false, b"x")).unwrap();
    let beyond = data(1, INITIAL_CREDIT, true, false, b"x");
    assert_eq!(s.handle_packet(now, beyond), Err(DropReason::LimitBroken));
    broken(&mut s, now, 1);
}

#[test]
fn s24_another_end_than_before_ends_the_stream() {
    for second in
        [data(1, 10, true, true, b""), data(1, 30, true, true, b""), data(1, 20, true, false, b"x")]
    {
        let (mut s, now) = victim();
        s.handle_packet(now, data(1, 20, true, true, b"")).unwrap();
        assert_eq!(s.handle_packet(now, second), Err(DropReason::LimitBroken));
        broken(&mut s, now, 1);
    }
    let (mut s, now) = victim();
    s.handle_packet(now, data(1, 20, true, false, b"x")).unwrap();
    assert_eq!(s.handle_packet(now, data(1, 5, true, true, b"")), Err(DropReason::LimitBroken));
    broken(&mut s, now, 1);
}

#[test]
fn s23_acknowledging_what_was_never_sent_ends_the_stream() {
    for bad in [ack(0, 6, &[]), ack(0, 0, &[(4, 7)]), ack(0, VARINT_MAX, &[])] {
        let (mut s, now) = victim();
        let id = s.open(Open::Generic, Priority::DEFAULT).unwrap();
        s.write(id, &mut Bytes::from_static(b"hello")).unwrap();
        sent(&mut s, now);
        assert_eq!(s.handle_packet(now, bad), Err(DropReason::LimitBroken));
        broken(&mut s, now, 0);
    }
    // Nothing was sent at all.
    let (mut s, now) = victim();
    s.open(Open::Generic, Priority::DEFAULT).unwrap();
    assert_eq!(s.handle_packet(now, ack(0, 0, &[])), Err(DropReason::LimitBroken));
}

#[test]
fn s23_ids_of_the_wrong_side_open_nothing() {
    let (mut s, now) = victim();
    assert_eq!(s.handle_packet(now, data(4, 0, true, false, b"x")), Err(DropReason::LimitBroken));
    assert!(events(&mut s).is_empty());
    let answers = sent(&mut s, now);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0][..2], [0x12, 7]);
}

#[test]
fn s23_unknown_streams_are_answered_at_a_bounded_rate_and_never_amplified() {
    let (mut s, now) = victim();
    let (mut count, mut bytes, mut came) = (0, 0, 0);
    for i in 0..10_000u64 {
        let packet = data(2 * i + 1, 5, false, false, b"");
        came += packet.len();
        assert_eq!(s.handle_packet(now, packet), Err(DropReason::UnknownStream));
        if i % 10 == 0 {
            let answers = sent(&mut s, now);
            count += answers.len();
            bytes += answers.iter().map(Bytes::len).sum::<usize>();
        }
    }
    assert!(count <= 100, "{count}");
    assert!(bytes <= came);
    assert!(s.is_idle() && s.deadline().is_none());
    // ACKs and answers of unknown streams are never answered.
    let _ = s.handle_packet(now + Duration::from_secs(5), ack(9, 0, &[]));
    let mut out = BytesMut::new();
    let (sending, reading, answer) = (true, true, true);
    Reset { id: 9, sending, reading, answer, code: 0, final_offset: 0, reason: "" }.emit(&mut out);
    let _ = s.handle_packet(now + Duration::from_secs(5), out.freeze());
    assert!(sent(&mut s, now).is_empty());
}

#[test]
fn s24_tiny_pieces_with_gaps_are_bounded_in_number() {
    let limits = StreamLimits { line_fragments: 5_000, ..StreamLimits::default() };
    let mut s = Streams::new(limits, Side::Even, 1_150);
    let now = Instant::from_micros(3_600_000_000);
    let mut refused = 0;
    for id in [1, 3, 5] {
        s.handle_packet(now, data(id, 0, true, false, b"")).unwrap();
        for i in 0..INITIAL_CREDIT / 2 {
            let packet = data(id, 2 * i + 1, true, false, b"x");
            match s.handle_packet(now, packet) {
                Ok(()) => {}
                Err(DropReason::QueueFull) => refused += 1,
                Err(e) => panic!("{e:?}"),
            }
        }
        assert!(s.status(StreamId(id)).unwrap().fragments <= 4_096);
        // Every ACK stays in bounds with thousands of gaps.
        assert!(sent(&mut s, now).iter().all(|p| p.len() <= 1_150));
    }
    assert!(refused > 10_000, "{refused}");
    assert!(s.stats().receive_held <= 5_000);
    // What was refused counts as lost; the stream still works when it comes again.
    for i in 0..INITIAL_CREDIT / 1_024 {
        s.handle_packet(now, data(1, i * 1_024, true, false, &[b'x'; 1_024])).unwrap();
    }
    assert_eq!(s.status(StreamId(1)).unwrap().received, INITIAL_CREDIT);
}

#[test]
fn s24_tiny_packets_do_not_pin_their_buffers() {
    let (mut s, now) = victim();
    s.handle_packet(now, data(1, 0, true, false, b"")).unwrap();
    let mut buffers = Vec::new();
    for i in 0..1_000u64 {
        let gap = u64::from(i >= 500) * 10;
        let packet = data(1, i + gap, true, false, b"x");
        buffers.push(packet.clone());
        s.handle_packet(now, packet).unwrap();
    }
    // Nobody else holds them.
    assert!(buffers.into_iter().all(|b| b.is_unique()));
    assert_eq!(s.stats().receive_held, 1_000);
    let Ok(ReadState::Data(first)) = s.read(StreamId(1), 10_000) else { panic!() };
    assert_eq!(first.len(), 500);
}

#[test]
fn s23_large_packets_are_handed_out_without_a_copy() {
    let (mut s, now) = victim();
    let packet = data(1, 0, true, false, &[b'x'; 1_000]);
    let inside = packet.as_ptr() as usize..packet.as_ptr() as usize + packet.len();
    s.handle_packet(now, packet).unwrap();
    let Ok(ReadState::Data(read)) = s.read(StreamId(1), 10_000) else { panic!() };
    assert!(read.len() == 1_000 && inside.contains(&(read.as_ptr() as usize)));
}

#[test]
fn s24_a_peer_that_opens_and_resets_without_end_fills_nothing() {
    let (mut s, now) = victim();
    for i in 0..100_000u64 {
        let id = 2 * i + 1;
        let _ = s.handle_packet(now, data(id, 0, true, false, b"x"));
        let mut out = BytesMut::new();
        let reset = Reset {
            id,
            sending: true,
            reading: true,
            answer: false,
            code: 0,
            final_offset: 1,
            reason: "",
        };
        reset.emit(&mut out);
        let _ = s.handle_packet(now, out.freeze());
    }
    // Nobody took the events: the backlog is bounded and new streams are refused meanwhile.
    assert!(s.stats().opened <= 2 * 1_024);
    assert!(events(&mut s).len() <= 2 * 1_024 + 2);
    assert!(sent(&mut s, now).len() <= 64);
    assert!(s.is_idle());
    let later = now + Duration::from_secs(2);
    s.handle_packet(later, data(300_001, 0, true, false, b"x")).unwrap();
}

#[test]
fn s23_streams_beyond_the_limit_are_refused() {
    let (mut s, now) = victim();
    for i in 0..1_024u64 {
        s.handle_packet(now, data(2 * i + 1, 0, true, false, b"x")).unwrap();
    }
    let one_more = data(4_001, 0, true, false, b"x");
    assert_eq!(s.handle_packet(now, one_more), Err(DropReason::LimitBroken));
    assert_eq!(s.stats().streams, 1_024);
    assert!(sent(&mut s, now).iter().any(|p| p[0] == 0x12));
}

#[derive(Debug, Clone)]
enum Act {
    Bytes(Vec<u8>),
    Data { id: u64, offset: u64, open: bool, fin: bool, len: usize, short: bool },
    Ack { id: u64, cumulative: u64, runs: Vec<(u64, u64)>, echo: Option<(u32, u64)>, credit: u64 },
    Reset { id: u64, bits: u8, final_offset: u64 },
    Open,
    Write(u64, usize),
    Finish(u64),
    Stop(u64),
    Kill(u64),
    Read(u64, usize),
    Wait(u64),
    MaxPacket(usize),
    Path,
}

fn act() -> impl Strategy<Value = Act> {
    let id = 0u64..8;
    let near = prop_oneof![8 => 0u64..40_000, 1 => Just(VARINT_MAX - 3), 1 => any::<u64>()]
        .prop_map(|n| n & VARINT_MAX);
    let runs = proptest::collection::vec((1u64..9_000, 1u64..9_000), 0..4);
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80).prop_map(Act::Bytes),
        (id.clone(), near.clone(), any::<bool>(), any::<bool>(), 0usize..1_400, any::<bool>())
            .prop_map(|(id, offset, open, fin, len, short)| Act::Data {
                id,
                offset,
                open,
                fin: fin && len % 3 == 0,
                len,
                short
            }),
        (
            id.clone(),
            near.clone(),
            runs,
            proptest::option::of((any::<u32>(), any::<u64>())),
            near.clone()
        )
            .prop_map(|(id, cumulative, runs, echo, credit)| Act::Ack {
                id,
                cumulative: cumulative % 30_000,
                runs,
                echo,
                credit
            }),
        (id.clone(), 1u8..8, near).prop_map(|(id, bits, final_offset)| Act::Reset {
            id,
            bits,
            final_offset
        }),
        Just(Act::Open),
        (id.clone(), 0usize..60_000).prop_map(|(id, n)| Act::Write(id, n)),
        id.clone().prop_map(Act::Finish),
        id.clone().prop_map(Act::Stop),
        id.clone().prop_map(Act::Kill),
        (id, 0usize..5_000).prop_map(|(id, n)| Act::Read(id, n)),
        (0u64..400_000).prop_map(Act::Wait),
        (0usize..20_000).prop_map(Act::MaxPacket),
        Just(Act::Path),
    ]
}

/// Does `act`; what it says may be nonsense on purpose.
fn perform(s: &mut Streams, now: &mut Instant, act: Act) {
    let mut out = BytesMut::new();
    match act {
        Act::Bytes(bytes) => {
            let _ = s.handle_packet(*now, bytes.into());
        }
        Act::Data { id, offset, open, fin, len, short } => {
            let open = if open { OPEN } else { None };
            DataHeader { id, offset, stamp: 1, open, fin, short }.emit(&mut out);
            out.resize(out.len() + len, 0);
            let _ = s.handle_packet(*now, out.freeze());
        }
        Act::Ack { id, cumulative, runs, echo, credit } => {
            let runs: Vec<_> =
                runs.iter().map(|(a, n)| (cumulative + a, cumulative + a + n)).collect();
            let echo = echo.map(|(stamp, d)| Echo { stamp, delay_us: d & VARINT_MAX });
            let ranges = AckRanges::new(&runs);
            Ack { id, cumulative, credit, echo, ranges }.emit(&mut out);
            let _ = s.handle_packet(*now, out.freeze());
        }
        Act::Reset { id, bits, final_offset } => {
            let (sending, reading, answer) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            Reset { id, sending, reading, answer, code: 1, final_offset, reason: "x" }
                .emit(&mut out);
            let _ = s.handle_packet(*now, out.freeze());
        }
        Act::Open => {
            let _ = s.open(Open::Generic, Priority::DEFAULT);
        }
        Act::Write(id, n) => {
            let _ = s.write(StreamId(id), &mut Bytes::from(vec![0; n]));
        }
        Act::Finish(id) => {
            let _ = s.finish(StreamId(id));
        }
        Act::Stop(id) => {
            let _ = s.stop(*now, StreamId(id), Code(1));
        }
        Act::Kill(id) => {
            let _ = s.reset(*now, StreamId(id), Code(2), "no more");
        }
        Act::Read(id, n) => {
            let _ = s.read(StreamId(id), n);
        }
        Act::Wait(us) => {
            *now += Duration::from_micros(us);
            s.handle_timeout(*now);
        }
        Act::MaxPacket(n) => s.set_max_packet(n),
        Act::Path => s.path_changed(*now),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn s23_no_peer_and_no_user_can_upset_the_books(
        acts in proptest::collection::vec(act(), 1..150),
    ) {
        let (_, mut now) = victim();
        let limits = StreamLimits { streams: 8, ..StreamLimits::default() };
        let mut s = Streams::new(limits, Side::Even, 1_150);
        for act in acts {
            perform(&mut s, &mut now, act);
            for packet in sent(&mut s, now) {
                prop_assert!(packet.len() <= s.max_packet());
            }
            let stats = s.stats();
            prop_assert!(stats.receive_held <= 8 * (256 << 10));
            prop_assert!(stats.send_held <= 8 << 20);
            prop_assert!(stats.streams <= 8);
            let _ = events(&mut s);
        }
        // Every wake-up moves something: time alone brings the streams to rest or death.
        for _ in 0..20_000 {
            let Some(at) = s.deadline() else { break };
            now = now.max(at);
            s.handle_timeout(now);
            let _ = sent(&mut s, now);
            let _ = events(&mut s);
        }
        prop_assert!(s.deadline().is_none(), "{:?}", s);
        for id in s.ids().collect::<Vec<_>>() {
            s.reset(now, id, Code::CANCELLED, "").unwrap();
        }
        for _ in 0..200 {
            let _ = sent(&mut s, now);
            let Some(at) = s.deadline() else { break };
            now = now.max(at);
            s.handle_timeout(now);
        }
        let stats = s.stats();
        prop_assert!(s.is_idle(), "{:?}", s);
        prop_assert_eq!((stats.in_flight, stats.send_held, stats.receive_held), (0, 0, 0));
    }
}

#[test]
fn s23_random_packets_do_no_harm() {
    let (mut s, mut now) = victim();
    let mut chance = Chance::from_number(99);
    for i in 0..200_000u32 {
        let len = chance.below(40) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| chance.u64() as u8).collect();
        if let [kind, flags, ..] = &mut bytes[..] {
            *kind = 0x10 + *kind % 3;
            *flags &= 7;
        }
        let _ = s.handle_packet(now, bytes.into());
        if i % 16 == 0 {
            now += MS;
            s.handle_timeout(now);
            let _ = sent(&mut s, now);
            let _ = events(&mut s);
        }
    }
    assert!(s.stats().streams <= 1_024);
}
