//! The gatekeeper: which messages for this node are welcome.
//!
//! Owns the rules, the look-up of the one that decides, and how often each did. Asked by the
//! messages' stage for what is delivered here and for nothing else: what a node forwards it cannot
//! read, and answers to its own requests were asked for. Never reads a packet, never answers one:
//! whoever asks gives refused messages back with the number of the rule (PROTOCOL §6.4).
//!
//! ```text
//!   [gate] ── Rule, Rule, … ──► Rules (shared, immutable) ──► Gate (one for each thread)
//!                                 │                             judge ► Verdict, counted
//!                                 └► Rules::audit: what can never decide
//! ```
//!
//! The first rule that matches decides, in the order they were written; if none does, the default.
//! Rules are numbered from 1, so that 0 can mean the default.

mod audit;
mod keeper;
mod rule;
mod rules;

pub use audit::Flaw;
pub use keeper::{Gate, Hits, Note};
pub use rule::{Action, NamePattern, NotAPattern, Rule};
pub use rules::{Rules, TooManyRules};

use crate::base::{Address, Namespace, RecordId};

pub use crate::base::Entrance;

/// What is known of a message that is to be delivered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Where it came in.
    pub entrance: Entrance,
    /// Which kind of record it carries.
    pub record: RecordId,
    /// Where it goes here.
    pub namespace: Namespace,
    /// Who sent it, by its own word
    pub sender: Address,
    /// or, if it was sealed, by the session's.
    pub proved: bool,
}

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Whether it is delivered. In a dry run everything is.
    pub allow: bool,
    /// The number of the rule that decided, counted from 1; 0 is the default.
    pub rule: u16,
}

#[cfg(test)]
mod tests;
