//! The vectors of docs/PROTOCOL.md are what the code writes and reads.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::base::{Address, BootEpoch, Priority};
use crate::wire::announce::{
    Announcement, AnnouncementHead, Digest, DigestEntry, DigestWriter, Draft, Neighbour, Order,
    announcement_frame,
};
use crate::wire::broadcast;
use crate::wire::link::{
    Capabilities, Cost, Goodbye, HEADER_LEN, Hello, LinkKind, NodeName, Stamp, Transcript,
};

use crate::wire::package::Sequence;

const DOC: &str = include_str!("../../../../../docs/PROTOCOL.md");
const RECORD: [u8; 4] = [0xaa, 0xbb, 0xcc, 0xdd];

/// The bytes of the block with that name.
fn vector(name: &str) -> Vec<u8> {
    let (_, after) = DOC.split_once(&format!("```hex {name}\n")).unwrap();
    let digits: String = after.split_once("```").unwrap().0.split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn hello(nonce: u8) -> Vec<u8> {
    let hello = Hello {
        heartbeat_ms: 250,
        cost: Cost::new(10).unwrap(),
        capabilities: Capabilities(3),
        epoch: BootEpoch(7),
        nonce: [nonce; 32],
        name: NodeName::new(b"core").unwrap(),
        record: &RECORD,
        voucher: &[],
    };
    hello.frame().unwrap().to_vec()
}

fn transcript() -> [u8; Transcript::LEN] {
    let of = |nonce| digest(&SHA256, &hello(nonce)[HEADER_LEN..]).as_ref().try_into().unwrap();
    let t = Transcript { binding: None, dialer_hello: of(9), acceptor_hello: of(10) };
    t.bytes(true)
}

/// A signature for a purpose, by its definition.
fn sign(purpose: u8, bytes: &[u8]) -> [u8; 64] {
    let key = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    assert_eq!(key.public_key().as_ref(), vector("signing-key"));
    let bound = [b"trunkline signature\0", &[purpose][..], bytes].concat();
    let signature = key.sign(&bound);
    UnparsedPublicKey::new(&ED25519, key.public_key()).verify(&bound, signature.as_ref()).unwrap();
    signature.as_ref().try_into().unwrap()
}

#[test]
fn n7_the_broadcast_of_the_document_is_ours() {
    let draft = broadcast::Draft {
        ttl: 16,
        priority: Priority::new(5).unwrap(),
        letters: Sequence::M,
        origin: Address::new([9; 16]),
        epoch: BootEpoch(4),
        sequence: 6,
        payload: b"hello",
    };
    let frame = draft.sign(|bytes| sign(5, bytes)).unwrap();
    let hex: String = frame.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(vector("broadcast"), frame, "{hex}");
    let read = broadcast::Broadcast::parse(&frame).unwrap();
    assert_eq!((read.payload, read.sequence, read.ttl), (&b"hello"[..], 6, 16));
}

fn order() -> Order {
    Order { serial: 3, epoch: BootEpoch(4), sequence: 5 }
}

#[test]
fn n2_the_frames_of_the_document_are_ours() {
    assert_eq!(vector("heartbeat"), Stamp(0x0102_0304).frame(LinkKind::Heartbeat));
    assert_eq!(vector("goodbye"), Goodbye { code: 1, text: "bye" }.frame());
    assert_eq!(vector("hello"), hello(9));
}

#[test]
fn n17_the_proof_of_the_document_is_ours() {
    assert_eq!(vector("transcript"), transcript());
    assert_eq!(vector("proof"), sign(4, &transcript()));
}

#[test]
fn n11_the_announcement_and_the_digest_of_the_document_are_ours() {
    let origin = Address::new([9; 16]);
    let neighbour = Neighbour { address: Address::new([0x11; 16]), cost: Cost::new(7).unwrap() };
    let draft = Draft {
        life_secs: 1_800,
        head: AnnouncementHead { origin, order: order() },
        capabilities: Capabilities(6),
        packing: Default::default(),
        name: NodeName::new(b"core").unwrap(),
        record: &RECORD,
        neighbours: &[neighbour],
    };
    let body = draft.sign(|bytes| sign(1, bytes)).unwrap();
    let frame = announcement_frame(&body, 5).unwrap();
    assert_eq!(vector("announcement"), frame[HEADER_LEN..]);
    assert_eq!(Announcement::parse(&vector("announcement")).unwrap().age_secs, 5);
    let mut writer = DigestWriter::new(Address::new([0; 16]));
    let entry = DigestEntry { origin, order: order() };
    writer.push(entry);
    assert_eq!(vector("digest"), writer.frame(Address::new([0x7f; 16])).unwrap());
    let read: Vec<_> = Digest::parse(&vector("digest")[HEADER_LEN..]).unwrap().entries().collect();
    assert_eq!(read, [entry]);
}
