//! Which sequence a message is packed by: one pure function of what is wished, what the receiver
//! demands and what both have (PROTOCOL §6.6.4).
//!
//! The first wish counts: the message's, else that for the pair of nodes (one direction), else the
//! sending node's, else how the receiver likes it, else "M". What the receiver, or the message
//! that is answered, demands is added and never taken away. A builder that one end lacks is an
//! error, never a weaker sequence.

use super::Registry;
use crate::wire::sequence::{Builders, PackTerms, Sequence};

/// What there is to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// The message's own.
    pub envelope: Option<Sequence>,
    /// That for messages from this node to that one.
    pub pair: Option<Sequence>,
    /// That for all messages of this node.
    pub node: Option<Sequence>,
    /// The receiver's terms, as it announced them.
    pub receiver: PackTerms,
    /// What else must be among the builders: a reply is packed by what its request was.
    pub demanded: Builders,
    /// The message's own is meant exactly so, whatever the receiver demands. It will be refused:
    /// for those who want to see that.
    pub exactly: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            envelope: None,
            pair: None,
            node: None,
            receiver: PackTerms::BASIC,
            demanded: Builders::NONE,
            exactly: false,
        }
    }
}

/// Why a message cannot be packed for its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// This node lacks a builder that is wished or demanded.
    #[error("this node has no builder {}", char::from(*.0))]
    Ours(u8),
    /// The receiver lacks one that is wished.
    #[error("the receiver has no builder {}", char::from(*.0))]
    Theirs(u8),
    /// The wished letters are no sequence that makes sense.
    #[error("the sequence makes no sense")]
    Nonsense,
    /// What is wished and what is demanded are more letters than a sequence has.
    #[error("what is wished and what the receiver demands are too many builders")]
    TooMany,
}

/// The sequence to pack by.
///
/// # Errors
/// [`Unsendable`].
pub fn choose(registry: &Registry, wishes: &Wishes) -> Result<Sequence, Unsendable> {
    let ours = registry.letters();
    let wished = wishes.envelope.or(wishes.pair).or(wishes.node);
    let liked = || Some(wishes.receiver.preferred).filter(|s| registry.judge(*s).is_ok());
    let wished = wished.or_else(liked).unwrap_or(Sequence::M);
    if let Some(letter) = wished.builders().without(ours).letters().next() {
        return Err(Unsendable::Ours(letter));
    }
    let wished = registry.judge(wished).map_err(|_| Unsendable::Nonsense)?;
    let demanded = if wishes.exactly && wishes.envelope.is_some() {
        Builders::NONE
    } else {
        Builders(wishes.receiver.least.builders().0 | wishes.demanded.0)
    };
    let missing = demanded.without(wished.builders());
    if let Some(letter) = missing.without(ours).letters().next() {
        return Err(Unsendable::Ours(letter));
    }
    let chosen = if missing == Builders::NONE {
        wished
    } else {
        let all = Builders(wished.builders().0 | missing.0);
        registry.sequence_of(all).ok_or(Unsendable::TooMany)?
    };
    match chosen.builders().without(wishes.receiver.builders).letters().next() {
        Some(letter) => Err(Unsendable::Theirs(letter)),
        None => Ok(chosen),
    }
}

/// What a message must have been packed by for a receiver with this least sequence. What may leave
/// its work out, as Z does, cannot be insisted on.
#[must_use]
pub fn demanded(registry: &Registry, least: Sequence) -> Builders {
    Builders(least.builders().0 & registry.protecting().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(letters: &str) -> Option<Sequence> {
        (!letters.is_empty()).then(|| letters.parse().unwrap())
    }

    /// The receiver's builders besides M, Z and A, what it prefers and its least.
    fn receiver(besides: &str, preferred: &str, least: &str) -> PackTerms {
        PackTerms {
            builders: besides.bytes().fold(Builders::BASIC, Builders::with),
            preferred: s(preferred).unwrap(),
            least: s(least).unwrap(),
        }
    }

    #[test]
    fn n15_the_first_of_four_wishes_counts_and_the_receiver_only_strengthens() {
        let chosen = |letters: &str| Ok(s(letters).unwrap());
        let basic = || receiver("", "M", "M");
        let with = |least| receiver("P", "M", least);
        #[rustfmt::skip]
        let table = [
            // envelope pair  node   receiver             chosen
            ("",      "",    "",    basic(),              chosen("M")),
            ("",      "",    "MA",  basic(),              chosen("MA")),
            ("",      "MZ",  "MA",  basic(),              chosen("MZ")),
            ("MZA",   "MZ",  "MA",  basic(),              chosen("MZA")),
            ("M",     "MZA", "MA",  basic(),              chosen("M")),
            ("",      "M",   "MZA", basic(),              chosen("M")),
            ("",      "",    "",    receiver("", "MZA", "M"), chosen("MZA")),
            ("",      "",    "MA",  receiver("", "MZ", "M"), chosen("MA")),
            ("",      "",    "",    receiver("Q", "MQ", "M"), chosen("M")),
            ("",      "",    "",    with("MA"),           chosen("MA")),
            ("M",     "",    "",    with("MA"),           chosen("MA")),
            ("MZ",    "",    "",    with("MA"),           chosen("MZA")),
            ("MZ",    "",    "",    with("MPA"),          chosen("MZPA")),
            ("MZPA",  "",    "",    with("M"),            chosen("MZPA")),
            ("MPA",   "",    "",    with("MA"),           chosen("MPA")),
            ("MPA",   "",    "",    basic(),              Err(Unsendable::Theirs(b'P'))),
            ("",      "MPA", "",    basic(),              Err(Unsendable::Theirs(b'P'))),
            ("MQ",    "",    "",    receiver("Q", "M", "M"), Err(Unsendable::Ours(b'Q'))),
            ("",      "",    "MA",  receiver("Q", "M", "MQ"), Err(Unsendable::Ours(b'Q'))),
            ("MPZ",   "",    "",    with("M"),            Err(Unsendable::Nonsense)),
        ];
        let registry = Registry::standard();
        for (envelope, pair, node, receiver, expected) in table {
            let (envelope, pair, node) = (s(envelope), s(pair), s(node));
            let wishes = Wishes { envelope, pair, node, receiver, ..Wishes::default() };
            assert_eq!(choose(&registry, &wishes), expected, "{wishes:?}");
        }
    }

    #[test]
    fn n15_a_reply_is_packed_by_what_its_request_was() {
        let registry = Registry::standard();
        let wishes =
            Wishes { node: s("MZ"), demanded: Builders::NONE.with(b'A'), ..Wishes::default() };
        assert_eq!(choose(&registry, &wishes), Ok(Sequence::MZA));
    }

    #[test]
    fn n15_exactly_so_means_exactly_so_and_is_refused_on_receipt() {
        let registry = Registry::standard();
        let receiver = receiver("", "M", "MA");
        let wishes = Wishes { envelope: s("M"), receiver, exactly: true, ..Wishes::default() };
        assert_eq!(choose(&registry, &wishes), Ok(Sequence::M));
        let demanded = demanded(&registry, receiver.least);
        assert!(!Sequence::M.builders().covers(demanded));
        let unsaid = Wishes { envelope: None, node: s("M"), ..wishes };
        assert_eq!(choose(&registry, &unsaid), Ok(Sequence::MA), "only what a message says itself");
    }

    #[test]
    fn n15_what_may_be_left_out_is_not_insisted_on() {
        let registry = Registry::standard();
        let cases = [
            ("M", "M", true),
            ("M", "MZ", true),
            ("MA", "MZA", true),
            ("MZ", "MA", false),
            ("MZA", "MA", true),
            ("MZA", "MPA", false),
            ("MPA", "MPA", true),
        ];
        for (applied, least, enough) in cases {
            let (applied, least) = (s(applied).unwrap(), s(least).unwrap());
            let demanded = demanded(&registry, least);
            assert_eq!(applied.builders().covers(demanded), enough, "{applied} for {least}");
        }
    }

    #[test]
    fn n15_four_letters_are_the_most() {
        #[derive(Debug)]
        struct Other(u8);
        impl super::super::Builder for Other {
            fn letter(&self) -> u8 {
                self.0
            }
            fn rank(&self) -> u8 {
                self.0
            }
            fn protects(&self) -> bool {
                true
            }
            fn pack(&self, _: &[u8], _: &mut bytes::BytesMut) -> super::super::Built {
                super::super::Built::Skipped
            }
            fn unpack(
                &self,
                _: &[u8],
                _: usize,
                _: &mut bytes::BytesMut,
            ) -> Result<(), super::super::Unpackable> {
                Ok(())
            }
        }
        let mut registry = Registry::standard();
        registry.register(std::sync::Arc::new(Other(b'Q'))).unwrap();
        let receiver = receiver("PQ", "M", "MQA");
        let wishes = Wishes { envelope: s("MZPA"), receiver, ..Wishes::default() };
        assert_eq!(choose(&registry, &wishes), Err(Unsendable::TooMany));
    }
}
