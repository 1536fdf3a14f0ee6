use proptest::prelude::*;

use super::*;
use crate::base::Namespace;

const MOST: usize = 1 << 20;

fn envelope() -> Envelope {
    Envelope::new(Namespace::new("shop.orders").unwrap(), 7.into())
}

fn s(letters: &str) -> Sequence {
    letters.parse().unwrap()
}

/// The letters as header or line would have them.
fn came(sequence: Sequence) -> Came {
    if sequence.is_sealed() { Came::Sealed } else { Came::Plain(sequence) }
}

fn whole(packed: &Packed) -> Bytes {
    [&packed.head[..], &packed.body[..]].concat().into()
}

fn body(letters: &[u8], rest: &[u8]) -> Bytes {
    [&[u8::try_from(letters.len()).unwrap()], letters, rest].concat().into()
}

#[test]
fn n14_what_does_not_shrink_is_not_compressed_and_says_so() {
    let registry = Registry::standard();
    let noise = crate::base::Chance::from_number(1).bytes::<999>().to_vec();
    let packed = registry.pack(s("MZA"), &envelope(), &noise.into());
    assert_eq!(packed.sequence, s("MA"));
    let zeros = Bytes::from_static(&[0; 999]);
    let packed = registry.pack(s("MZA"), &envelope(), &zeros);
    assert_eq!(packed.sequence, s("MZA"));
    assert!(packed.body.len() < 100);
}

#[test]
fn n4_packing_by_m_copies_no_record() {
    let record = Bytes::from_static(&[1; 1_000]);
    for letters in ["M", "MA"] {
        let packed = Registry::standard().pack(s(letters), &envelope(), &record);
        assert_eq!(packed.body.as_ptr(), record.as_ptr());
    }
}

#[test]
fn n5_stripped_reordered_unknown_and_repeated_letters_are_refused() {
    let registry = Registry::standard();
    let cases: [(&[u8], Came, Unpackable); 12] = [
        (b"M", Came::Sealed, Unpackable::Mismatch),
        (b"MZ", Came::Sealed, Unpackable::Mismatch),
        (b"MA", Came::Plain(s("MA")), Unpackable::Mismatch),
        (b"M", Came::Plain(s("MZ")), Unpackable::Mismatch),
        (b"MZ", Came::Plain(s("M")), Unpackable::Mismatch),
        (b"ZM", Came::Plain(Sequence(*b"ZM\0\0")), Unpackable::Letters),
        (b"MAZ", Came::Sealed, Unpackable::Letters),
        (b"MZZA", Came::Sealed, Unpackable::Letters),
        (b"MPZA", Came::Sealed, Unpackable::Letters),
        (b"MQA", Came::Sealed, Unpackable::Unknown(b'Q')),
        (b"", Came::Sealed, Unpackable::Letters),
        (b"M\0\0A", Came::Sealed, Unpackable::Letters),
    ];
    for (letters, came, why) in cases {
        let wrong = registry.unpack(body(letters, &[0; 100]), came, MOST);
        assert_eq!(wrong, Err(why), "{:?}", letters.escape_ascii().to_string());
    }
    let five = registry.unpack(body(b"MZPQA", &[0; 100]), Came::Sealed, MOST);
    assert_eq!(five, Err(Unpackable::Letters));
    assert_eq!(registry.unpack(Bytes::new(), Came::Sealed, MOST), Err(Unpackable::Broken));
    let short = registry.unpack(Bytes::from_static(b"\x02M"), Came::Sealed, MOST);
    assert_eq!(short, Err(Unpackable::Broken));
}

#[test]
fn n5_a_compression_bomb_is_refused_before_memory_is_taken() {
    let registry = Registry::standard();
    let claims = |length: u32, block: &[u8]| {
        let rest = [&length.to_be_bytes(), block].concat();
        registry.unpack(body(b"MZA", &rest), Came::Sealed, MOST)
    };
    assert_eq!(claims(u32::MAX, &[0; 100]), Err(Unpackable::TooLarge));
    assert_eq!(claims(1 << 20, &[0; 100]), Err(Unpackable::Broken), "more than 100 bytes can hold");
    // A true bomb: a mebibyte and a half of zeros in six kilobytes.
    let zeros = Bytes::from(vec![0; 3 << 19]);
    let packed = registry.pack(s("MZA"), &envelope(), &zeros);
    assert!(packed.body.len() < 7_000);
    let refused = registry.unpack(whole(&packed), Came::Sealed, MOST);
    assert_eq!(refused, Err(Unpackable::TooLarge));
    assert_eq!(Unpackable::TooLarge.code(), Code::TooLarge);
    // One that lies: it says less than it holds.
    let mut lies = whole(&packed).to_vec();
    lies[4..8].copy_from_slice(&1_000u32.to_be_bytes());
    assert_eq!(registry.unpack(lies.into(), Came::Sealed, MOST), Err(Unpackable::Broken));
}

#[test]
fn b8_the_documents_packed_bodies_are_ours() {
    const DOC: &str = include_str!("../../../../../docs/PROTOCOL.md");
    let vector = |name: &str| -> Vec<u8> {
        let (_, after) = DOC.split_once(&format!("```hex {name}\n")).unwrap();
        let text = after.split_once("```").unwrap().0;
        let digits: String = text.split_whitespace().collect();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(byte).collect()
    };
    let notice = Envelope::new(Namespace::new("shop").unwrap(), 7.into());
    for (name, letters) in [("packed-m", "M"), ("packed-mpa", "MPA")] {
        let packed = Registry::standard().pack(s(letters), &notice, &Bytes::from_static(b"hi"));
        assert_eq!(vector(name), whole(&packed), "{name}");
    }
}

#[test]
fn n14_a_further_builder_is_registered_once_and_under_a_letter_of_its_own() {
    #[derive(Debug)]
    struct Named(u8);
    impl Builder for Named {
        fn letter(&self) -> u8 {
            self.0
        }
        fn rank(&self) -> u8 {
            1
        }
        fn protects(&self) -> bool {
            false
        }
        fn pack(&self, input: &[u8], out: &mut BytesMut) -> Built {
            out.extend(input.iter().rev());
            Built::Kept
        }
        fn unpack(&self, input: &[u8], most: usize, out: &mut BytesMut) -> Result<(), Unpackable> {
            if input.len() > most {
                return Err(Unpackable::TooLarge);
            }
            out.extend(input.iter().rev());
            Ok(())
        }
    }
    let mut registry = Registry::standard();
    for letter in *b"MAa1" {
        assert_eq!(registry.register(Arc::new(Named(letter))), Err(NotRegistered::Letter));
    }
    assert_eq!(registry.register(Arc::new(Named(b'Z'))), Err(NotRegistered::Taken(b'Z')));
    assert_eq!(registry.judge(s("MRA")), Err(NotPackable::Unknown(b'R')));
    registry.register(Arc::new(Named(b'R'))).unwrap();
    let packed = registry.pack(s("MRZA"), &envelope(), &Bytes::from_static(&[7; 500]));
    let (sequence, bytes) = registry.unpack(whole(&packed), Came::Sealed, MOST).unwrap();
    assert_eq!((sequence, &bytes[bytes.len() - 3..]), (s("MRZA"), &[7, 7, 7][..]));
    assert_eq!(registry.judge(s("MZRA")), Err(NotPackable::Order(b'Z', b'R')));
}

proptest! {
    #[test]
    fn n4_every_sequence_there_and_back(
        record in prop::collection::vec(0u8..4, 0..2_000),
        letters in prop::sample::select(vec!["M", "MA", "MZ", "MZA", "MP", "MPA", "MZP", "MZPA"]),
    ) {
        let (registry, record) = (Registry::standard(), Bytes::from(record));
        let packed = registry.pack(s(letters), &envelope(), &record);
        let (sequence, bytes) =
            registry.unpack(whole(&packed), came(packed.sequence), MOST).unwrap();
        prop_assert_eq!(sequence, packed.sequence);
        let (read, at) = Envelope::parse(&bytes).unwrap();
        prop_assert_eq!((read, &bytes[at..]), (envelope(), &record[..]));
    }

    #[test]
    fn n5_any_bytes_unpack_within_the_cap_or_are_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        letters in prop::sample::select(vec!["MA", "MZA", "MPA", "MZPA"]),
    ) {
        let registry = Registry::standard();
        for bytes in [bytes.clone().into(), body(letters.as_bytes(), &bytes)] {
            if let Ok((_, out)) = registry.unpack(bytes, Came::Sealed, 1_000) {
                prop_assert!(out.len() <= 1_000);
            }
        }
    }
}
