//! The JSON form of stream packets: the same values as the compact form, and no more than it
//! can say.

use bytes::BytesMut;
use proptest::prelude::*;
use trunkline_proto::base::DropReason;
use trunkline_proto::wire::packet::{self, MAX_JSON, Packet};
use trunkline_proto::wire::stream::{
    Ack, AckRanges, Data, DataHeader, Echo, RANGES_MAX, Reset, StreamPacket, VARINT_MAX, clip,
};

use crate::wire::{Kind, data_of, open_parts, varint};

/// Bytes that mean something in JSON, and one that is no text.
const MEANING: &[u8] = b"0123456789-.eE\"\\[]{},:tf \xff";

fn raw(json: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    packet::emit(json, &mut out).unwrap();
    out.extend_from_slice(body);
    out
}

fn refused(json: &str, body: &[u8]) -> Option<DropReason> {
    let mut raw = raw(json, body);
    let packet = match Packet::decode(&mut raw) {
        Ok(packet) => packet,
        Err(reason) => return Some(reason),
    };
    StreamPacket::from_json(&packet).err()
}

/// Both forms of `packet` decode to it. Texts full of escapes need not fit as JSON.
fn agree(packet: &StreamPacket<'_>) -> Result<(), TestCaseError> {
    let mut compact = BytesMut::new();
    packet.emit(&mut compact);
    prop_assert_eq!(compact.len(), packet.len());
    prop_assert_eq!(StreamPacket::decode(&compact), Ok(*packet));
    let text = packet.to_json();
    prop_assume!(text.len() <= MAX_JSON);
    let mut json = raw(&text, packet.payload());
    prop_assert!(json.len() > compact.len(), "nobody is sent more than came");
    let decoded = Packet::decode(&mut json).unwrap();
    prop_assert_eq!(StreamPacket::from_json(&decoded), Ok(*packet));
    Ok(())
}

proptest! {
    #[test]
    fn s23_both_forms_of_data_are_the_same_packet(
        id in varint(), offset in 0..VARINT_MAX - 100, stamp: u32, open in open_parts(),
        bits in 0u8..4, payload in proptest::collection::vec(any::<u8>(), 0..90),
    ) {
        agree(&data_of(id, offset, stamp, open.as_ref(), bits, &payload))?;
    }

    #[test]
    fn s23_both_forms_of_acks_are_the_same_packet(
        id in varint(), cumulative in 0..1u64 << 50, credit in varint(),
        echo in proptest::option::of((any::<u32>(), varint())),
        runs in proptest::collection::vec((1..1u64 << 50, 1..1u64 << 50), 0..=RANGES_MAX),
    ) {
        let runs: Vec<_> =
            runs.into_iter().map(|(a, n)| (cumulative + a, cumulative + a + n)).collect();
        let echo = echo.map(|(stamp, delay_us)| Echo { stamp, delay_us });
        let ranges = AckRanges::new(&runs);
        let ack = StreamPacket::Ack(Ack { id, cumulative, credit, echo, ranges });
        prop_assert!(ack.to_json().len() <= MAX_JSON, "a petabyte is acknowledged as JSON");
        agree(&ack)?;
    }

    #[test]
    fn s24_both_forms_of_resets_are_the_same_packet(
        id in varint(), scope in 1u8..4, answer: bool, code: u16, final_offset in varint(),
        reason: String,
    ) {
        let (sending, reading) = (scope & 1 != 0, scope & 2 != 0);
        let reason = clip(&reason);
        agree(&StreamPacket::Reset(Reset {
            id, sending, reading, answer, code, final_offset, reason,
        }))?;
    }

    /// Damaged JSON is refused, or says what the compact form can say as well.
    #[test]
    fn s23_json_says_nothing_that_the_compact_form_could_not(
        which in 0usize..5,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        numbers in proptest::option::of(any::<u64>()),
    ) {
        let texts = [
            r#"{"stream":4,"seq":0,"stamp":9,"type":"sock","sock":"[::1]:22","p":3,"credit":16384}"#,
            r#"{"stream":4,"seq":70000,"stamp":9,"end":true,"short":false,"_a":[[1,2]]}"#,
            r#"{"stream":4,"seq":0,"stamp":9,"type":"req","p":3,"credit":16384}"#,
            r#"{"stream":4,"ack":23,"credit":64,"stamp":9,"delay":15,"range":[[34,45],[25,26]]}"#,
            r#"{"stream":4,"err":6,"final":23,"sending":true,"answer":true,"reason":"no"}"#,
        ];
        let mut text = texts[which].to_owned();
        if let Some(number) = numbers {
            text = text.replacen(":9,", &format!(":{number},"), 1);
        }
        let mut text = text.into_bytes();
        for (at, byte) in edits {
            let at = at.index(text.len());
            text[at] = MEANING[usize::from(byte) % MEANING.len()];
        }
        let mut raw = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
        raw.extend(text);
        if let Ok(packet) = Packet::decode(&mut raw)
            && let Ok(packet) = StreamPacket::from_json(&packet)
        {
            let mut compact = BytesMut::new();
            packet.emit(&mut compact);
            prop_assert_eq!(StreamPacket::decode(&compact), Ok(packet));
        }
    }
}

#[test]
fn s23_hostile_json_is_refused_with_its_reason() {
    use DropReason::{BadJson, LimitBroken, Malformed, Oversized, UnknownKind};
    let data = |more: &str| format!(r#"{{"stream":4,"seq":0,"stamp":9{more}}}"#);
    let open = |more: &str| data(&format!(r#","p":3,"credit":9{more}"#));
    let ack = |more: &str| format!(r#"{{"stream":4,"ack":5,"credit":9{more}}}"#);
    let reset = |more: &str| format!(r#"{{"stream":4,"err":6,"final":9{more}}}"#);
    let ranges = |n: usize| ack(&format!(r#","range":[{}]"#, vec!["[8,9]"; n].join(",")));
    let target = |n: usize| open(&format!(r#","type":"sock","sock":"{}""#, "a".repeat(n)));
    let reason = |n: usize| reset(&format!(r#","reading":true,"reason":"{}""#, "a".repeat(n)));
    let fine = [
        data(""),
        data(r#","end":false,"miss":[],"_app":{"deep":[[[1]]]},"whatever":-1.5"#),
        open(r#","type":"generic""#),
        target(255),
        ack(""),
        ranges(32),
        ack(r#","range":[]"#),
        ack(r#","stamp":4294967295,"delay":4611686018427387903"#),
        reset(r#","sending":true"#),
        reason(128),
    ];
    for json in &fine {
        assert_eq!(refused(json, b""), None, "{json}");
    }
    let deep = format!(r#","x":{}{}"#, "[".repeat(600), "]".repeat(600));
    let many: String = (0..62).map(|i| format!(r#","k{i}":1"#)).collect();
    let cases = [
        // Not one kind.
        (r#"{"stream":4}"#.to_owned(), UnknownKind),
        (r#"{"stream":4,"seek":0,"stamp":9}"#.to_owned(), UnknownKind),
        (data(r#","ack":1"#), Malformed),
        (reset(r#","sending":true,"seq":1"#), Malformed),
        // Keys that are missing.
        (r#"{"seq":0,"stamp":9}"#.to_owned(), Malformed),
        (r#"{"stream":4,"seq":0}"#.to_owned(), Malformed),
        (r#"{"stream":4,"ack":5}"#.to_owned(), Malformed),
        (r#"{"stream":4,"err":6,"sending":true}"#.to_owned(), Malformed),
        (ack(r#","stamp":9"#), Malformed),
        (ack(r#","delay":9"#), Malformed),
        (reset(""), Malformed),
        (reset(r#","answer":true,"sending":false"#), Malformed),
        (data(r#","type":"generic","p":3"#), Malformed),
        (data(r#","type":"sock","p":3,"credit":9"#), Malformed),
        // Keys of other kinds.
        (data(r#","delay":1"#), Malformed),
        (open(""), Malformed),
        (data(r#","sock":"a""#), Malformed),
        (ack(r#","end":true"#), Malformed),
        (reset(r#","sending":true,"range":[]"#), Malformed),
        (open(r#","type":"generic","sock":"a""#), Malformed),
        (open(r#","type":"req","sock":"a""#), Malformed),
        // Numbers that are none, or too large.
        (r#"{"stream":-4,"seq":0,"stamp":9}"#.to_owned(), Malformed),
        (r#"{"stream":4.0,"seq":0,"stamp":9}"#.to_owned(), Malformed),
        (r#"{"stream":4e0,"seq":0,"stamp":9}"#.to_owned(), Malformed),
        (r#"{"stream":"4","seq":0,"stamp":9}"#.to_owned(), Malformed),
        (r#"{"stream":null,"seq":0,"stamp":9}"#.to_owned(), Malformed),
        (r#"{"stream":[4],"seq":0,"stamp":9}"#.to_owned(), Malformed),
        (r#"{"stream":4,"seq":true,"stamp":9}"#.to_owned(), Malformed),
        (r#"{"stream":4611686018427387904,"seq":0,"stamp":9}"#.to_owned(), Malformed),
        (r#"{"stream":4,"seq":18446744073709551615,"stamp":9}"#.to_owned(), Malformed),
        (r#"{"stream":4,"seq":0,"stamp":4294967296}"#.to_owned(), Malformed),
        (r#"{"stream":4,"err":65536,"final":0,"sending":true}"#.to_owned(), Malformed),
        (r#"{"stream":4,"seq":4611686018427387903,"stamp":9,"end":true}"#.to_owned(), LimitBroken),
        (data(r#","end":1"#), Malformed),
        (data(r#","end":"true""#), Malformed),
        (open(r#","type":"generic","p":8"#).replacen(r#""p":3,"#, "", 1), Malformed),
        // Openings of an unknown kind, without a target, with too long a one.
        (open(r#","type":"res","res":{}"#), UnknownKind),
        (open(r#","type":1"#), Malformed),
        (open(r#","type":"sock","sock":7"#), Malformed),
        (target(0), Malformed),
        (target(256), Oversized),
        (reason(129), Oversized),
        // Ranges: wrong, empty, touching the front, beyond the end, more than there may be.
        (ack(r#","range":7"#), Malformed),
        (ack(r#","range":[8,9]"#), Malformed),
        (ack(r#","range":[[8,9,10]]"#), Malformed),
        (ack(r#","range":[[8,9.5]]"#), Malformed),
        (ack(r#","range":[[8,"9"]]"#), Malformed),
        (ack(r#","range":[[8,8]]"#), Malformed),
        (ack(r#","range":[[9,8]]"#), Malformed),
        (ack(r#","range":[[5,8]]"#), Malformed),
        (ack(r#","range":[[8,4611686018427387904]]"#), Malformed),
        (ranges(33), Oversized),
        // No JSON, or more of it than anybody needs.
        (String::new(), BadJson),
        ("[4]".to_owned(), BadJson),
        (data(r#","stream":4"#), BadJson),
        (data(r#","s\u0065q":1"#), BadJson),
        (data(&deep), BadJson),
        (data(&many), BadJson),
        (data(","), BadJson),
    ];
    for (json, reason) in &cases {
        assert_eq!(refused(json, b""), Some(*reason), "{json}");
    }
    // A number that no integer holds is no number, whichever way the parser puts it.
    for huge in ["18446744073709551616".to_owned(), "9".repeat(300), "1e999".to_owned()] {
        let json = data("").replacen(":0,", &format!(":{huge},"), 1);
        assert!(matches!(refused(&json, b""), Some(BadJson | Malformed)), "{json}");
    }
    // Something behind the end; only DATA has a BODY.
    assert_eq!(refused(&ack(""), b"x"), Some(Malformed));
    assert_eq!(refused(&reset(r#","sending":true"#), b"x"), Some(Malformed));
    let mut long = 1_401u16.to_be_bytes().to_vec();
    long.extend(data("").bytes().chain([b' '; 1_401]));
    assert_eq!(Packet::decode(&mut long).err(), Some(Oversized));
}

#[test]
fn s23_the_largest_texts_fit_as_json() {
    let (target, reason) = ("t".repeat(255), "é".repeat(64));
    let open = (Kind::Sock(target), 7, VARINT_MAX);
    let data = data_of(VARINT_MAX, VARINT_MAX - 9, u32::MAX, Some(&open), 3, b"1");
    let reset = Reset {
        id: VARINT_MAX,
        sending: true,
        reading: true,
        answer: true,
        code: u16::MAX,
        final_offset: VARINT_MAX,
        reason: &reason,
    };
    for packet in [data, StreamPacket::Reset(reset)] {
        assert!(packet.to_json().len() <= 500);
        agree(&packet).unwrap();
    }
    let header = DataHeader { id: 0, offset: 0, stamp: 0, open: None, fin: false, short: false };
    let probe = StreamPacket::Data(Data { header, payload: b"" });
    assert_eq!(probe.to_json(), r#"{"stream":0,"seq":0,"stamp":0}"#);
}
