//! What is wrong with a list of rules as a whole: rules that can never decide.
//!
//! Finds each rule that a single earlier one makes useless. A rule that only several earlier ones
//! together make useless is not found: that takes counting all messages there can be.

use super::rule::Action;
use super::rules::{Probe, Rules};

/// A rule that can never decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It says the same as an earlier one.
    Duplicate {
        /// The useless rule's number.
        rule: u16,
        /// The earlier rule's.
        of: u16,
    },
    /// It is about the same messages as an earlier one and says the opposite.
    Contradiction {
        /// The useless rule's number.
        rule: u16,
        /// The earlier rule's.
        with: u16,
    },
    /// An earlier one is about all of its messages and more.
    Unreachable {
        /// The useless rule's number.
        rule: u16,
        /// The earlier rule's.
        behind: u16,
        /// Whether the two do the same.
        alike: bool,
    },
}

impl Flaw {
    /// The number of the useless rule.
    #[must_use]
    pub const fn rule(&self) -> u16 {
        match self {
            Self::Duplicate { rule, .. }
            | Self::Contradiction { rule, .. }
            | Self::Unreachable { rule, .. } => *rule,
        }
    }
}

impl Rules {
    /// The rules that can never decide, in order. Takes as long as judging a message for each.
    pub fn audit(&self) -> impl Iterator<Item = Flaw> + '_ {
        (1u16..).zip(self.list()).filter_map(|(number, rule)| {
            let earlier = self.first(&Probe::of(rule)).filter(|first| *first < number)?;
            let first = self.rule(earlier)?;
            let alike = first.action == rule.action;
            let same_messages = {
                let action = Action::default();
                let (a, b) = (super::Rule { action, ..*first }, super::Rule { action, ..*rule });
                a == b
            };
            Some(match (same_messages, alike) {
                (true, true) => Flaw::Duplicate { rule: number, of: earlier },
                (true, false) => Flaw::Contradiction { rule: number, with: earlier },
                (false, _) => Flaw::Unreachable { rule: number, behind: earlier, alike },
            })
        })
    }
}
