//! The vectors of docs/PROTOCOL.md §3.3, §5 and §6.3 are what the code writes and reads (B8).

use bytes::Bytes;

use super::inner::{Inner, Part};
use super::package::{self, Code, Content, Return, Sequence};
use super::packet::Packet;
use super::sealed;
use crate::base::{Address, LineId, Priority};

const DOC: &str = include_str!("../../../../docs/PROTOCOL.md");
const LINE: LineId = LineId([0xa1; 16]);

/// The bytes of the block with that name.
fn vector(name: &str) -> Vec<u8> {
    let (_, after) = DOC.split_once(&format!("```hex {name}\n")).unwrap();
    let digits: String = after.split_once("```").unwrap().0.split_whitespace().collect();
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
    };
    let answer = package::Header {
        priority: Priority::HIGHEST,
        reply: true,
        content: Content::Return,
        destination: head.source,
        source: Address::new([0x33; 16]),
        total: 22,
        ..head
    };
    let frame = [answer.emit(Return::LEN).unwrap().as_slice(), &back.emit()].concat();
    assert_eq!(Bytes::from(vector("return")), frame);
    assert_eq!(Return::parse(&frame[package::HEADER..]), Ok(back));
}
