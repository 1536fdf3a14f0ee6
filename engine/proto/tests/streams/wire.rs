//! The bytes of stream packets: there and back, and nothing but what the format says.

use bytes::BytesMut;
use proptest::prelude::*;
use trunkline_proto::base::{DropReason, Priority};
use trunkline_proto::wire::stream::{
    Ack, AckRanges, Data, DataHeader, Echo, OpenInfo, OpenWhat, RANGES_MAX, REASON_MAX, Reset,
    StreamPacket, TARGET_MAX, VARINT_MAX, clip,
};

/// Writes `packet` and checks that the length was foretold.
fn emit(packet: &StreamPacket<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    packet.emit(&mut out);
    assert_eq!(out.len(), packet.len());
    out
}

pub(crate) fn varint() -> impl Strategy<Value = u64> {
    (0u32..62, any::<u64>()).prop_map(|(bits, n)| n & ((2 << bits) - 1) & VARINT_MAX)
}

/// What an opening says: kind, priority, credit.
pub(crate) type OpenParts = (Kind, u8, u64);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Generic,
    Sock(String),
    Req,
}

pub(crate) fn open_parts() -> impl Strategy<Value = Option<OpenParts>> {
    let kind = prop_oneof![
        Just(Kind::Generic),
        "[a-z0-9.:é]{1,120}".prop_map(Kind::Sock),
        Just(Kind::Req),
    ];
    proptest::option::of((kind, 0u8..8, varint()))
}

pub(crate) fn data_of<'a>(
    id: u64,
    offset: u64,
    stamp: u32,
    open: Option<&'a OpenParts>,
    bits: u8,
    payload: &'a [u8],
) -> StreamPacket<'a> {
    let open = open.map(|(kind, level, credit)| OpenInfo {
        what: match kind {
            Kind::Generic => OpenWhat::Generic,
            Kind::Sock(target) => OpenWhat::Sock(target),
            Kind::Req => OpenWhat::Req,
        },
        priority: Priority::from_low_bits(*level),
        credit: *credit,
    });
    let (fin, short) = (bits & 1 != 0, bits & 2 != 0);
    StreamPacket::Data(Data { header: DataHeader { id, offset, stamp, open, fin, short }, payload })
}

proptest! {
    #[test]
    fn s23_data_packets_read_back_what_was_written(
        id in varint(), offset in 0..VARINT_MAX - 100, stamp: u32, open in open_parts(),
        bits in 0u8..4, payload in proptest::collection::vec(any::<u8>(), 0..90),
    ) {
        let packet = data_of(id, offset, stamp, open.as_ref(), bits, &payload);
        let bytes = emit(&packet);
        prop_assert_eq!(StreamPacket::decode(&bytes), Ok(packet));
        // Cut anywhere in the header, it is short and nothing else.
        let header = bytes.len() - payload.len();
        for cut in 0..header {
            prop_assert_eq!(StreamPacket::decode(&bytes[..cut]), Err(DropReason::Truncated));
        }
    }

    #[test]
    fn s23_ack_packets_read_back_what_was_written(
        id in varint(), cumulative in 0..VARINT_MAX >> 1, credit in varint(),
        echo in proptest::option::of((any::<u32>(), varint())),
        runs in proptest::collection::vec((1..VARINT_MAX >> 3, 1..VARINT_MAX >> 3), 0..=RANGES_MAX),
    ) {
        let runs: Vec<_> =
            runs.into_iter().map(|(a, n)| (cumulative + a, cumulative + a + n)).collect();
        let echo = echo.map(|(stamp, delay_us)| Echo { stamp, delay_us });
        let ack = Ack { id, cumulative, credit, echo, ranges: AckRanges::new(&runs) };
        let packet = StreamPacket::Ack(ack);
        let bytes = emit(&packet);
        prop_assert_eq!(StreamPacket::decode(&bytes), Ok(packet));
        for cut in 0..bytes.len() {
            prop_assert_eq!(StreamPacket::decode(&bytes[..cut]), Err(DropReason::Truncated));
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        prop_assert_eq!(StreamPacket::decode(&longer), Err(DropReason::Malformed));
    }

    #[test]
    fn s24_reset_packets_read_back_what_was_written(
        id in varint(), scope in 1u8..4, answer: bool, code: u16, final_offset in varint(),
        reason in "[ -~é]{0,64}",
    ) {
        let (sending, reading) = (scope & 1 != 0, scope & 2 != 0);
        let reason = clip(&reason);
        let packet = StreamPacket::Reset(Reset {
            id, sending, reading, answer, code, final_offset, reason,
        });
        let bytes = emit(&packet);
        prop_assert_eq!(StreamPacket::decode(&bytes), Ok(packet));
    }

    #[test]
    fn s23_what_decodes_has_exactly_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        // Most random bytes are no packet; give them a kind and few flags.
        let mut bytes = bytes;
        if let [kind, flags, ..] = &mut bytes[..] {
            *kind = 0x10 + *kind % 3;
            *flags &= 7;
        }
        if let Ok(packet) = StreamPacket::decode(&bytes) {
            prop_assert_eq!(&emit(&packet)[..], &bytes[..]);
        }
    }

    #[test]
    fn s23_a_flipped_bit_never_reads_as_the_same_packet(
        id in varint(), offset in 0..VARINT_MAX - 100, open in open_parts(),
        payload in proptest::collection::vec(any::<u8>(), 0..40), flip: prop::sample::Index,
    ) {
        let packet = data_of(id, offset, 7, open.as_ref(), 0, &payload);
        let mut bytes = emit(&packet).to_vec();
        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(StreamPacket::decode(&bytes), Ok(packet));
    }
}

#[test]
fn s23_malformed_packets_are_told_apart() {
    let cases: &[(&[u8], DropReason)] = &[
        (&[], DropReason::Truncated),
        (&[0x13], DropReason::UnknownKind),
        (&[0x0f, 0, 0], DropReason::UnknownKind),
        // Unknown flags.
        (&[0x10, 8, 0, 0, 0, 0, 0, 0], DropReason::Malformed),
        (&[0x11, 2, 0, 0, 0, 0], DropReason::Malformed),
        (&[0x12, 8, 0, 0, 0, 0], DropReason::Malformed),
        // A reset of nothing.
        (&[0x12, 4, 0, 0, 0, 0], DropReason::Malformed),
        // A number that is longer than it needs to be.
        (&[0x10, 0, 0x40, 0x01, 0, 0, 0, 0, 0], DropReason::Malformed),
        // An opening of an unknown kind, with a reserved bit, without a target, with no text.
        (&[0x10, 1, 0, 0, 0, 0, 0, 0, 0x33, 0], DropReason::UnknownKind),
        (&[0x10, 1, 0, 0, 0, 0, 0, 0, 0x80, 0], DropReason::Malformed),
        (&[0x10, 1, 0, 0, 0, 0, 0, 0, 0x31, 0, 0], DropReason::Malformed),
        (&[0x10, 1, 0, 0, 0, 0, 0, 0, 0x31, 0, 1, 0xff], DropReason::Malformed),
        (&[0x10, 1, 0, 0, 0, 0, 0, 0, 0x31, 0, 9, b'a'], DropReason::Truncated),
        // Ranges: empty, touching the front, more than there may be.
        (&[0x11, 0, 0, 0, 0, 1, 1, 0], DropReason::Malformed),
        (&[0x11, 0, 0, 0, 0, 1, 0, 1], DropReason::Malformed),
        (&[0x11, 0, 0, 0, 0, 33], DropReason::Oversized),
        // Something behind the end.
        (&[0x11, 0, 0, 0, 0, 0, 0], DropReason::Malformed),
        (&[0x12, 3, 0, 0, 0, 0, 0xff], DropReason::Malformed),
    ];
    for (bytes, reason) in cases {
        assert_eq!(StreamPacket::decode(bytes), Err(*reason), "{bytes:02x?}");
    }
    let mut long = vec![0x12, 3, 0, 0, 0, 0];
    long.extend([b'x'; REASON_MAX + 1]);
    assert_eq!(StreamPacket::decode(&long), Err(DropReason::Oversized));
}

#[test]
fn s23_no_packet_ends_beyond_the_largest_offset() {
    for (back, len, fin, fine) in
        [(3, 3, false, true), (3, 3, true, false), (3, 2, true, true), (0, 1, false, false)]
    {
        let header = DataHeader {
            id: 0,
            offset: VARINT_MAX - back,
            stamp: 0,
            open: None,
            fin,
            short: false,
        };
        let payload = vec![0; len];
        let packet = StreamPacket::Data(Data { header, payload: &payload });
        let bytes = emit(&packet);
        let expected = if fine { Ok(packet) } else { Err(DropReason::LimitBroken) };
        assert_eq!(StreamPacket::decode(&bytes), expected);
    }
    let mut ack = vec![0x11, 0, 0];
    ack.extend((VARINT_MAX | 3 << 62).to_be_bytes());
    ack.extend([0, 1, 1, 1]);
    assert_eq!(StreamPacket::decode(&ack), Err(DropReason::Malformed));
}

#[test]
fn s24_reasons_are_cut_at_a_character() {
    assert_eq!(clip("short"), "short");
    assert_eq!(clip(&"é".repeat(100)), "é".repeat(64));
    assert_eq!(clip(&format!("x{}", "é".repeat(100))).len(), 127);
}

/// The vectors of the protocol text: name and bytes.
fn vectors() -> Vec<(String, Vec<u8>)> {
    include_str!("../../../../docs/PROTOCOL.md")
        .lines()
        .filter_map(|l| l.strip_prefix("vector "))
        .map(|l| {
            let (name, hex) = l.split_once(": ").unwrap();
            let hex: String = hex.split_whitespace().collect();
            let bytes = (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                .collect();
            (name.to_owned(), bytes)
        })
        .collect()
}

#[test]
fn s23_the_vectors_of_the_protocol_text_hold() {
    let data = |header, payload| StreamPacket::Data(Data { header, payload });
    let plain =
        DataHeader { id: 4, offset: 0, stamp: 0x0102_0304, open: None, fin: false, short: false };
    let open = |what, level, credit| {
        Some(OpenInfo { what, priority: Priority::from_low_bits(level), credit })
    };
    let target = "example.org:22";
    assert!(target.len() <= TARGET_MAX);
    let runs = [(3_448, 4_596), (5_744, 6_892)];
    let expected = [
        (
            "data-open-generic",
            data(DataHeader { open: open(OpenWhat::Generic, 3, 262_144), ..plain }, b"hello"),
        ),
        (
            "data-open-sock",
            data(
                DataHeader { id: 7, open: open(OpenWhat::Sock(target), 6, 262_144), ..plain },
                b"",
            ),
        ),
        (
            "data-open-req",
            data(DataHeader { id: 8, open: open(OpenWhat::Req, 3, 262_144), ..plain }, b"GET "),
        ),
        ("data-end", data(DataHeader { id: 1_000, offset: 70_000, fin: true, ..plain }, b"bye")),
        ("data-short", data(DataHeader { offset: 16_383, short: true, ..plain }, b"!")),
        ("probe", data(DataHeader { offset: 16_384, ..plain }, b"")),
        (
            "ack",
            StreamPacket::Ack(Ack {
                id: 4,
                cumulative: 2_300,
                credit: 264_444,
                echo: Some(Echo { stamp: 0x0102_0304, delay_us: 1_500 }),
                ranges: AckRanges::new(&runs),
            }),
        ),
        (
            "ack-credit",
            StreamPacket::Ack(Ack {
                id: 4,
                cumulative: 262_144,
                credit: 524_288,
                echo: None,
                ranges: AckRanges::EMPTY,
            }),
        ),
        (
            "reset",
            StreamPacket::Reset(Reset {
                id: 4,
                sending: true,
                reading: true,
                answer: false,
                code: 6,
                final_offset: 2_300,
                reason: "refused",
            }),
        ),
        (
            "stop",
            StreamPacket::Reset(Reset {
                id: 4,
                sending: false,
                reading: true,
                answer: false,
                code: 256,
                final_offset: 0,
                reason: "",
            }),
        ),
        (
            "reset-answer",
            StreamPacket::Reset(Reset {
                id: 4,
                sending: true,
                reading: true,
                answer: true,
                code: 6,
                final_offset: 10,
                reason: "",
            }),
        ),
    ];
    let vectors = vectors();
    let names: Vec<_> = vectors.iter().map(|v| v.0.as_str()).collect();
    assert_eq!(names, expected.iter().map(|e| e.0).collect::<Vec<_>>());
    for ((name, bytes), (_, packet)) in vectors.iter().zip(&expected) {
        let made: String = emit(packet).iter().map(|b| format!("{b:02x}")).collect();
        let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(made, text, "{name}");
        assert_eq!(StreamPacket::decode(bytes), Ok(*packet), "{name}");
    }
}
