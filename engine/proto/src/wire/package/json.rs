//! A package's header as JSON (PROTOCOL §6.3.4): the same value, to be written down and read by
//! eye. Links carry the bytes only, for hops read them where they lie.
//!
//! ```text
//!   {"package":7,"to":"<address>","from":"<address>","p":3,"ttl":16,"content":"message",
//!    "sequence":"M","total":5,"offset":0,"reply":true} body
//! ```

use super::{Content, Header, Sequence};
use crate::base::{Address, DropReason, Priority};
use crate::wire::packet::{Packet, from_hex, hex, quoted};

impl Content {
    const ALL: [Self; 5] = [Self::Message, Self::Switch, Self::Sealed, Self::Return, Self::Probe];

    const fn label(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Switch => "switch",
            Self::Sealed => "sealed",
            Self::Return => "return",
            Self::Probe => "probe",
        }
    }
}

impl Header {
    /// Reads the JSON form. [`Self::emit`] makes of it the bytes that are authenticated.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] if a key is missing or its value impossible,
    /// [`DropReason::UnknownKind`] for another content.
    pub fn from_json(packet: &Packet<'_>) -> Result<Self, DropReason> {
        let content = packet.text("content").ok_or(DropReason::Malformed)?;
        let content = Content::ALL.into_iter().find(|c| c.label() == content);
        Ok(Self {
            priority: Priority::new(packet.need("p")?).ok_or(DropReason::Malformed)?,
            reply: packet.flag("reply")?,
            ttl: packet.need("ttl")?,
            content: content.ok_or(DropReason::UnknownKind)?,
            sequence: packet.text("sequence").and_then(letters).ok_or(DropReason::Malformed)?,
            destination: address(packet, "to")?,
            source: address(packet, "from")?,
            message: packet.need("package")?,
            total: packet.need("total")?,
            offset: packet.need("offset")?,
        })
    }

    /// The JSON form: the text that stands before the body.
    #[must_use]
    pub fn to_json(&self) -> String {
        let letters: String =
            self.sequence.0.iter().filter(|b| **b != 0).map(|b| char::from(*b)).collect();
        format!(
            concat!(
                r#"{{"package":{},"to":"{}","from":"{}","p":{},"ttl":{},"content":"{}","#,
                r#""sequence":{},"total":{},"offset":{}{}}}"#
            ),
            self.message,
            hex(self.destination.as_bytes()),
            hex(self.source.as_bytes()),
            self.priority.level(),
            self.ttl,
            self.content.label(),
            quoted(&letters),
            self.total,
            self.offset,
            if self.reply { r#","reply":true"# } else { "" },
        )
    }
}

/// Up to four letters, zeros behind them.
fn letters(text: &str) -> Option<Sequence> {
    let fits = text.len() <= 4 && text.bytes().all(|b| b.is_ascii_uppercase());
    let mut letters = [0; 4];
    letters.iter_mut().zip(text.bytes()).for_each(|(l, b)| *l = b);
    fits.then_some(Sequence(letters))
}

fn address(packet: &Packet<'_>, key: &str) -> Result<Address, DropReason> {
    packet.text(key).and_then(from_hex).map(Address::new).ok_or(DropReason::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::LineId;
    use crate::wire::package::{associated_data, split_sealed};
    use crate::wire::packet;
    use proptest::prelude::*;

    fn decode(json: &str) -> Result<Header, DropReason> {
        let mut raw = Vec::new();
        packet::emit(json, &mut raw).unwrap();
        Header::from_json(&Packet::decode(&mut raw)?)
    }

    proptest! {
        #[test]
        fn n4_both_forms_are_the_same_header_and_authenticate_the_same_bytes(
            level in 0u8..8, reply: bool, ttl: u8, content in 0usize..5, sequence in "[A-Z]{0,4}",
            to: [u8; 16], from: [u8; 16], message: u64, total: u32, offset: u32, line: [u8; 16],
        ) {
            let header = Header {
                priority: Priority::new(level).unwrap(),
                reply,
                ttl,
                content: Content::ALL[content],
                sequence: letters(&sequence).unwrap(),
                destination: Address::new(to),
                source: Address::new(from),
                message,
                total,
                offset,
            };
            let read = decode(&header.to_json());
            prop_assert_eq!(read, Ok(header));
            let compact = header.emit(16).unwrap();
            prop_assert_eq!(Header::parse(&compact), read);
            let mut frame = [compact.as_slice(), &line].concat();
            let ad = associated_data(&read.unwrap().emit(16).unwrap(), LineId(line));
            prop_assert_eq!(split_sealed(&mut frame).unwrap().0, ad);
        }
    }

    #[test]
    fn n4_what_the_bytes_could_not_say_is_refused() {
        let good = concat!(
            r#"{"package":7,"to":"11111111111111111111111111111111","#,
            r#""from":"22222222222222222222222222222222","p":3,"ttl":16,"content":"message","#,
            r#""sequence":"M","total":5,"offset":0}"#
        );
        assert_eq!(decode(good).map(|h| h.to_json()), Ok(good.to_owned()));
        let cases = [
            (r#""p":3"#, r#""p":8"#, DropReason::Malformed),
            (r#""ttl":16"#, r#""ttl":256"#, DropReason::Malformed),
            (r#""ttl":16"#, r#""hops":16"#, DropReason::Malformed),
            (r#""to":"1"#, r#""to":"+"#, DropReason::Malformed),
            (r#""from":"22"#, r#""from":"2"#, DropReason::Malformed),
            ("message", "parcel", DropReason::UnknownKind),
            (r#""M""#, r#""MAZZA""#, DropReason::Malformed),
            (r#""M""#, r#""m""#, DropReason::Malformed),
            (r#""total":5"#, r#""total":4294967296"#, DropReason::Malformed),
            (r#""offset":0"#, r#""offset":-1"#, DropReason::Malformed),
            (r#""offset":0"#, r#""offset":0,"reply":1"#, DropReason::Malformed),
        ];
        for (was, is, reason) in cases {
            assert_eq!(decode(&good.replacen(was, is, 1)), Err(reason), "{is}");
        }
    }
}
