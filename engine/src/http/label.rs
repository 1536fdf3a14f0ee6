//! A hashname as a label of a host name: base32 (RFC 4648), lower case, 52 characters, since a
//! label has room for 63 and hex digits would be 64.

use trunkline_proto::base::Hashname;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// 256 bits, five in each; the last four bits are zero.
const LENGTH: usize = 52;

/// The label, for `http://LABEL.localhost:PORT/`.
#[must_use]
pub fn to_label(hashname: &Hashname) -> String {
    let mut label = String::with_capacity(LENGTH);
    let (mut held, mut bits) = (0u32, 0);
    for byte in hashname.as_bytes().iter().chain(&[0]) {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 && label.len() < LENGTH {
            bits -= 5;
            let index = usize::try_from(held >> bits & 31).unwrap_or(0);
            label.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'a')));
        }
    }
    label
}

/// The hashname of a label, in either case; none if it is not one.
#[must_use]
pub fn from_label(label: &str) -> Option<Hashname> {
    if label.len() != LENGTH {
        return None;
    }
    let mut bytes = Vec::with_capacity(33);
    let (mut held, mut bits) = (0u32, 0);
    for byte in label.bytes() {
        let digit = ALPHABET.iter().position(|a| *a == byte.to_ascii_lowercase())?;
        held = (held << 5 | u32::try_from(digit).ok()?) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    // One label for each hashname.
    let rest = held & ((1 << bits) - 1);
    let bytes: [u8; 32] = bytes.try_into().ok()?;
    (rest == 0).then(|| Hashname::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn s12_a_label_is_one_hashname_and_fits_a_host_name(bytes: [u8; 32], other in "[a-z2-7]{52}") {
            let hashname = Hashname::new(bytes);
            let label = to_label(&hashname);
            proptest::prop_assert_eq!(label.len(), 52);
            proptest::prop_assert_eq!(from_label(&label), Some(hashname));
            proptest::prop_assert_eq!(from_label(&label.to_uppercase()), Some(hashname));
            if let Some(found) = from_label(&other) {
                proptest::prop_assert_eq!(to_label(&found), other);
            }
        }
    }

    #[test]
    fn s12_labels_are_those_of_the_standard() {
        // base32 of 32 bytes 0x66 is that of "ffff…": RFC 4648's "f" is "my".
        assert!(to_label(&Hashname::new([0x66; 32])).starts_with("mztgmztg"));
        assert_eq!(to_label(&Hashname::new([0; 32])), "a".repeat(52));
        assert_eq!(from_label(&"a".repeat(51)), None);
        assert_eq!(from_label(&format!("{}b", "a".repeat(51))), None);
        assert_eq!(from_label(&"1".repeat(52)), None);
    }
}
