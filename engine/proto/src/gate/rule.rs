//! One rule: what it does, and which messages it is about.

use core::fmt;
use core::str::FromStr;

use super::Question;
use crate::base::{Address, Namespace, RecordId};

/// What a rule, or the default, does with a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is delivered.
    #[default]
    Allow,
    /// It goes back to its sender.
    Refuse,
}

impl Action {
    /// Both.
    pub const ALL: &'static [Self] = &[Self::Allow, Self::Refuse];

    /// The word users see and write.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Refuse => "refuse",
        }
    }
}

/// Some namespaces: one, or all that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// This one.
    Exact(Namespace),
    /// All that begin so; it ends with a dot.
    Prefix(Namespace),
}

/// Why a text is no [`NamePattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a namespace, 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', or the beginning of some and \".*\", as in \"shop.*\""
)]
pub struct NotAPattern;

/// One rule. Every field that is set has to match; a rule without any matches everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What becomes of a message it matches.
    pub action: Action,
    /// The listening port it came in by.
    pub port: Option<u16>,
    /// The neighbour it came over.
    pub neighbour: Option<Address>,
    /// Its record.
    pub record: Option<RecordId>,
    /// Where it goes.
    pub namespace: Option<NamePattern>,
    /// Who sent it. Where the action is to allow, only a sender that its session proves matches:
    /// a claim opens nothing. Where it is to refuse, the claim is enough.
    pub sender: Option<Address>,
}

impl NamePattern {
    /// Whether `name` is one of them.
    #[must_use]
    pub fn matches(&self, name: &Namespace) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.as_bytes().starts_with(prefix.as_bytes()),
        }
    }
}

impl FromStr for NamePattern {
    type Err = NotAPattern;
    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        match text.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('.') => {
                Namespace::new(prefix).map(Self::Prefix).map_err(|_| NotAPattern)
            }
            _ => Namespace::new(text).map(Self::Exact).map_err(|_| NotAPattern),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl Rule {
    /// Whether it is about this message. The definition; [`super::Rules`] finds the first rule
    /// for which it holds without asking each.
    #[must_use]
    pub fn matches(&self, q: &Question) -> bool {
        let sender = |s| s == q.sender && (q.proved || self.action == Action::Refuse);
        self.port.is_none_or(|port| q.entrance.port == Some(port))
            && self.neighbour.is_none_or(|n| q.entrance.neighbour == Some(n))
            && self.record.is_none_or(|record| record == q.record)
            && self.namespace.is_none_or(|pattern| pattern.matches(&q.namespace))
            && self.sender.is_none_or(sender)
    }
}
