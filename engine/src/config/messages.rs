//! `[messages]` and `[[messages.pair]]`: how messages are packed, and what is taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use trunkline_proto::base::{Address, Hashname};
use trunkline_proto::crypto::packing::Registry;
use trunkline_proto::message::Settings;
use trunkline_proto::wire::sequence::{PackTerms, Sequence};

use super::read::{Raw, Section};

/// `[[messages.pair]]` sections.
const MOST_PAIRS: usize = 4_096;

/// `[messages]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages {
    /// How messages are packed where nothing else is said.
    pub sequence: Sequence,
    /// How others are to pack messages to this node, if they have nothing else to go by.
    pub preferred: Sequence,
    /// What is packed more weakly goes back.
    pub least: Sequence,
    /// How messages from one node to another are packed.
    pub pairs: Vec<Pair>,
}

/// `[[messages.pair]]`: one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// From which node; this one if it is not said.
    pub from: Option<Hashname>,
    /// To which node.
    pub to: Hashname,
    /// How.
    pub sequence: Sequence,
}

/// Sealed unless told otherwise: nobody should have to find out that messages can be read on the
/// way.
impl Default for Messages {
    fn default() -> Self {
        Self {
            sequence: Sequence::MA,
            preferred: Sequence::M,
            least: Sequence::M,
            pairs: Vec::new(),
        }
    }
}

impl Messages {
    /// What a node of that name is told.
    #[must_use]
    pub fn settings(&self, us: &Hashname) -> Settings {
        let registry = Registry::standard();
        let ours = self.pairs.iter().filter(|p| p.from.is_none_or(|from| from == *us));
        let pairs: BTreeMap<Address, Sequence> =
            ours.map(|p| (p.to.address(), p.sequence)).collect();
        Settings {
            terms: PackTerms {
                builders: registry.letters(),
                preferred: self.preferred,
                least: self.least,
            },
            registry: Arc::new(registry),
            sequence: Some(self.sequence),
            pairs: Arc::new(pairs),
        }
    }
}

pub(super) fn read(mut s: Section<'_, '_>) -> Messages {
    let usual = Messages::default();
    let given = s.take("sequence", sequence);
    let preferred = s.take("preferred", sequence);
    let least = s.take("least", sequence);
    if let Some(least) = least.filter(|l| l.has(b'Z')) {
        s.report(format!(
            "least = \"{least}\": Z is left out where it would not help, so nobody can insist on \
             it; write it in sequence or preferred"
        ));
    }
    let pairs = s.sections("pair", MOST_PAIRS).into_iter().filter_map(pair).collect();
    s.finish();
    Messages {
        sequence: given.unwrap_or(usual.sequence),
        preferred: preferred.unwrap_or(usual.preferred),
        least: least.unwrap_or(usual.least),
        pairs,
    }
}

fn pair(mut s: Section<'_, '_>) -> Option<Pair> {
    let from = s.take("from", super::sections::hashname);
    let to = s.need("to", "to whom, 64 hex digits", super::sections::hashname);
    let given = s.need("sequence", "how, as in \"MZA\"", sequence);
    s.finish();
    Some(Pair { from, to: to?, sequence: given? })
}

fn sequence(raw: &Raw<'_>) -> Result<Sequence, String> {
    let text = raw.text()?;
    let known = |s: Sequence| Registry::standard().judge(s).map_err(|e| e.to_string());
    let read = text.parse::<Sequence>().map_err(|e| e.to_string()).and_then(known);
    read.map_err(|e| format!("`{text}`: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Messages, String> {
        let text = format!("[node]\nkeys = \"k\"\n{text}");
        Config::parse(&text, std::path::Path::new("/"))
            .map(|c| c.messages)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn n15_sequences_are_configured_for_the_node_and_for_pairs_of_nodes() {
        let (us, them, other) =
            (Hashname::new([1; 32]), Hashname::new([2; 32]), Hashname::new([3; 32]));
        let text = format!(
            "[messages]\nsequence = \"MZA\"\npreferred = \"MZ\"\nleast = \"MA\"\n\
             [[messages.pair]]\nto = \"{them}\"\nsequence = \"M\"\n\
             [[messages.pair]]\nfrom = \"{them}\"\nto = \"{other}\"\nsequence = \"MPA\"\n"
        );
        let messages = parse(&text).unwrap();
        let settings = messages.settings(&us);
        assert_eq!(settings.sequence, Some(Sequence::MZA));
        assert_eq!((settings.terms.preferred, settings.terms.least), (Sequence::MZ, Sequence::MA));
        assert!(settings.terms.is_sound());
        assert_eq!(*settings.pairs, BTreeMap::from([(them.address(), Sequence::M)]));
        assert_eq!(parse("").unwrap().settings(&us).sequence, Some(Sequence::MA), "sealed");
    }

    #[test]
    fn n14_nonsense_is_refused_at_configuration() {
        for (line, why) in [
            ("sequence = \"ZM\"", "begins with M"),
            ("sequence = \"MAZ\"", "A comes last"),
            ("sequence = \"MPZ\"", "makes no sense behind"),
            ("sequence = \"MQ\"", "no builder Q"),
            ("preferred = \"\"", "1 to 4 letters"),
            ("least = \"MZA\"", "nobody can insist"),
        ] {
            let error = parse(&format!("[messages]\n{line}\n")).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
