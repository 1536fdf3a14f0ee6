//! The vectors of docs/PROTOCOL.md §3.3, §5 and §6.3 and of docs/vectors/json.txt are what the
//! code writes and reads (B8).

use bytes::Bytes;

use super::bridged;
use super::envelope::{Envelope, Kind};
use super::inner::{Back, Inner, Part};
use super::meet::{Grant, Near, No, Word};
use super::package::{self, Code, Content, Return, Sequence};
use super::packet::Packet;
use super::sealed;
use super::stream::StreamPacket;
use crate::base::{Address, Hashname, LineId, Namespace, Priority, RecordId};

const DOC: &str = include_str!("../../../../docs/PROTOCOL.md");
const JSON: &str = include_str!("../../../../docs/vectors/json.txt");
const WORDS: &str = include_str!("../../../../docs/vectors/words.txt");
const LINE: LineId = LineId([0xa1; 16]);

/// The bytes of the block with that name.
fn vector(name: &str) -> Vec<u8> {
    let (_, after) = DOC.split_once(&format!("```hex {name}\n")).unwrap();
    bytes(after.split_once("```").unwrap().0)
}

fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn header(content: Content, sequence: Sequence, priority: u8) -> package::Header {
    package::Header {
        priority: Priority::new(priority).unwrap(),
        reply: false,
        ttl: 16,
        content,
        sequence,
        destination: Address::new([0x11; 16]),
        source: Address::new([0x22; 16]),
        message: 7,
        total: 5,
        offset: 0,
    }
}

#[test]
fn b8_both_forms_of_the_documents_sealed_packet_are_ours() {
    let head = sealed::Header { priority: Priority::new(5).unwrap(), line: LINE, counter: 258 };
    assert_eq!(vector("sealed-compact"), head.emit());
    assert_eq!(sealed::Header::parse(&vector("sealed-compact")), Ok(Some(head)));
    let mut json = Vec::new();
    super::packet::emit(&head.to_json(), &mut json).unwrap();
    assert_eq!(vector("sealed-json"), json);
    let packet = Packet::decode(&mut json).unwrap();
    assert_eq!(sealed::Header::from_json(&packet), Ok(head));
}

#[test]
fn b8_the_documents_packets_inside_a_line_are_ours() {
    let mut ping = Vec::new();
    Inner::echo(true, 7, 9, &mut ping);
    assert_eq!(vector("ping"), ping);
    let part = Part { reply: false, id: 7, total: 5, offset: 0 };
    let mut message = Vec::new();
    Inner::message(part, &mut message);
    message.extend(b"hello");
    assert_eq!(vector("message"), message);
    assert_eq!(Inner::parse(&message), Ok(Inner::Message(part)));
    assert_eq!(vector("close"), Inner::close(Code::ShuttingDown as u8));
    let back = Back { id: 7, code: Code::Refused as u8, rule: 3 };
    assert_eq!(vector("returned"), Inner::returned(back));
    assert_eq!(vector("try"), Inner::probe(7));
    let at = Some(([192, 0, 2, 1], 42_424).into());
    assert_eq!(vector("tried"), Inner::probed(7, at));
    assert_eq!(Inner::parse(&vector("tried")), Ok(Inner::Tried(7, at)));
    let head = bridged::Header { priority: Priority::DEFAULT, line: LineId([0xab; 16]) };
    assert_eq!(vector("carried"), head.emit());
}

#[test]
fn b8_the_documents_words_are_ours() {
    let (who, line) = (Hashname::new([0xab; 32]), LineId([0xcd; 16]));
    let at = vec![([192, 0, 2, 1], 42_424).into()];
    let near = vec![Near { who, at: at.first().copied() }, Near { who, at: None }];
    let grant = Ok(Grant { line, rate: 8 << 20, seconds: 600 });
    let words = [
        ("op", Word::Op { id: 7, who, seq: None }),
        ("op-outside", Word::Op { id: 7, who, seq: Some(1) }),
        ("key", Word::Key { id: 7, part: Ok((0, 1, Bytes::from_static(b"k"))) }),
        ("key-none", Word::Key { id: 7, part: Err(No::Unknown) }),
        ("seek", Word::Seek { id: 7, to: who, via: None }),
        ("seek-outside", Word::Seek { id: 7, to: who, via: Some(who) }),
        ("see", Word::See { id: 7, near }),
        ("pop", Word::Pop { who, at: at.clone() }),
        ("popping", Word::Popping { who, at: at.clone() }),
        ("popped", Word::Popped { who, at }),
        ("bridge", Word::Bridge { who, line }),
        ("bridging", Word::Bridging { who }),
        ("bridged", Word::Bridged { who, grant }),
        ("bridged-not", Word::Bridged { who, grant: Err(No::Full) }),
    ];
    let lines = WORDS.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    let written: Vec<_> = lines.map(|l| l.split_once(' ').unwrap()).collect();
    assert_eq!(written.len(), words.len());
    for ((name, json), (ours, word)) in written.into_iter().zip(words) {
        assert_eq!(name, ours);
        let mut packet = word.emit().to_vec();
        assert_eq!(&packet[2..2 + json.len()], json.as_bytes(), "{name}");
        assert_eq!(Word::from_json(&Packet::decode(&mut packet).unwrap()), Ok(word), "{name}");
    }
}

#[test]
fn b8_the_documents_packages_are_ours() {
    let head = header(Content::Message, Sequence::M, 3);
    let frame = [head.emit(5).unwrap().as_slice(), b"hello"].concat();
    assert_eq!(vector("package"), frame);
    assert_eq!(package::Header::parse(&frame), Ok(head));

    let sealed =
        package::Header { message: 258, total: 0, ..header(Content::Sealed, Sequence::MA, 5) };
    let ad = package::associated_data(&sealed.emit(40).unwrap(), LINE);
    assert_eq!(vector("package-ad"), ad);

    let back = Return {
        code: Code::NoRoute,
        content: Content::Message,
        destination: head.destination,
        offset: 0,
        rule: 0,
        echo: package::echo(b"hello"),
    };
    let answer = package::Header {
        priority: Priority::HIGHEST,
        reply: true,
        content: Content::Return,
        destination: head.source,
        source: Address::new([0x33; 16]),
        total: 32,
        ..head
    };
    let frame = [answer.emit(Return::LEN).unwrap().as_slice(), &back.emit()].concat();
    assert_eq!(Bytes::from(vector("return")), frame);
    assert_eq!(Return::parse(&frame[package::HEADER..]), Ok(back));
}

#[test]
fn b8_the_documents_envelopes_are_ours() {
    let namespace = Namespace::new("shop").unwrap();
    let notice = Envelope::new(namespace, 7.into());
    let reply = Envelope {
        kind: Kind::Reply(5),
        target: Some(Namespace::new("till").unwrap()),
        ..Envelope::new(namespace, RecordId::text("TestPing").unwrap())
    };
    for (name, envelope, record) in
        [("envelope-notice", notice, b"hi"), ("envelope-reply", reply, b"ok")]
    {
        let mut ours = Vec::new();
        envelope.emit(&mut ours);
        assert_eq!(Envelope::parse(&vector(name)), Ok((envelope, ours.len())));
        ours.extend(record);
        assert_eq!(vector(name), ours, "{name}");
    }
}

#[test]
fn b8_both_forms_of_the_vectors_are_the_same_packet() {
    let mut names = Vec::new();
    for vector in JSON.split("\n\n").skip(1) {
        let (head, fields) = vector.split_once('\n').unwrap();
        let (kind, name) = head.split_once(' ').unwrap();
        let field = |key: &str| {
            fields.lines().find_map(|l| l.trim_start().strip_prefix(key)?.strip_prefix(" = "))
        };
        let (compact, json) = (bytes(field("compact").unwrap()), field("json").unwrap());
        let body = bytes(field("body").unwrap_or(""));
        let mut raw = Vec::new();
        super::packet::emit(json, &mut raw).unwrap();
        raw.extend_from_slice(&body);
        let packet = Packet::decode(&mut raw).unwrap();
        match kind {
            "stream" => {
                let read = StreamPacket::decode(&compact).unwrap();
                assert_eq!(StreamPacket::from_json(&packet), Ok(read), "{name}");
                assert_eq!((read.to_json().as_str(), read.payload()), (json, &body[..]), "{name}");
                let hex: String = compact.iter().map(|b| format!("{b:02x}")).collect();
                assert!(DOC.contains(&format!("\nvector {name}: {hex}\n")), "{name}");
            }
            "line" => {
                let read = Inner::parse(&compact);
                assert_eq!(Inner::from_json(&packet), read, "{name}");
                assert!(read.is_ok() && compact.ends_with(&body), "{name}");
            }
            "package" => {
                let read = package::Header::parse(&compact).unwrap();
                assert_eq!(package::Header::from_json(&packet), Ok(read), "{name}");
                assert_eq!(read.to_json(), json, "{name}");
                let again = [read.emit(body.len()).unwrap().as_slice(), &body].concat();
                assert_eq!(again, compact, "{name}");
            }
            other => panic!("{other}?"),
        }
        names.push(name);
    }
    assert_eq!(names.len(), 20);
    // Every stream packet of the text is here, too.
    for line in DOC.lines().filter_map(|l| l.strip_prefix("vector ")) {
        let name = line.split_once(':').unwrap().0;
        assert!(names.contains(&name), "{name}");
    }
}
