//! One thread's gatekeeper: judges, counts, and remembers what it refused last for the log.

use std::sync::Arc;

use super::rule::Action;
use super::rules::Rules;
use super::{Question, Verdict};
use crate::base::Instant;
use core::time::Duration;

/// Refusals are told at most so often: the counters have all of them.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// Judges by the rules and counts.
#[derive(Debug)]
pub struct Gate {
    rules: Arc<Rules>,
    hits: Hits,
    /// The last refusal that was not told yet.
    note: Option<Note>,
    /// The next may be told from then on.
    next_note: Instant,
}

/// How often each rule decided. Those of several threads can be added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// By the number of the rule, less one.
    pub rules: Vec<u64>,
    /// The default.
    pub default: u64,
    /// Refused by whichever; in a dry run, those that would have been.
    pub refused: u64,
}

/// A refusal, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The last message that was refused.
    pub question: Question,
    /// By which rule; 0 is the default.
    pub rule: u16,
    /// Refused since the last note, this one included.
    pub refused: u64,
    /// They were let pass all the same.
    pub dry_run: bool,
}

impl Gate {
    /// A gatekeeper that has judged nothing yet.
    #[must_use]
    pub fn new(rules: Arc<Rules>) -> Self {
        let hits = Hits { rules: vec![0; rules.list().len()], ..Hits::default() };
        Self { rules, hits, note: None, next_note: Instant::ZERO }
    }

    /// Whether nothing can be refused; if so, one more message has passed and nobody need look at
    /// what it is.
    pub fn waves_through(&mut self) -> bool {
        let open = self.rules.is_open();
        self.hits.default = self.hits.default.saturating_add(u64::from(open));
        open
    }

    /// Judges a message that is to be delivered here.
    pub fn judge(&mut self, question: &Question) -> Verdict {
        if self.waves_through() {
            return Verdict { allow: true, rule: 0 };
        }
        let (rule, action) = self.rules.decide(question);
        let index = usize::from(rule).checked_sub(1);
        let counter = match index.and_then(|i| self.hits.rules.get_mut(i)) {
            Some(counter) => counter,
            None => &mut self.hits.default,
        };
        *counter = counter.saturating_add(1);
        if action == Action::Allow {
            return Verdict { allow: true, rule };
        }
        self.hits.refused = self.hits.refused.saturating_add(1);
        let dry_run = self.rules.is_dry_run();
        let before = self.note.map_or(0, |note| note.refused);
        let refused = before.saturating_add(1);
        self.note = Some(Note { question: *question, rule, refused, dry_run });
        Verdict { allow: dry_run, rule }
    }

    /// The last refusal, if it is time to tell of one.
    pub fn take_note(&mut self, now: Instant) -> Option<Note> {
        if self.note.is_none() || now < self.next_note {
            return None;
        }
        self.next_note = now + NOTE_INTERVAL;
        self.note.take()
    }

    /// When there is something to tell.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.note.map(|_| self.next_note)
    }

    /// The rules.
    #[must_use]
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// How often each decided.
    #[must_use]
    pub const fn hits(&self) -> &Hits {
        &self.hits
    }
}

impl Hits {
    /// Adds those of another thread.
    pub fn merge(&mut self, other: &Self) {
        if self.rules.len() < other.rules.len() {
            self.rules.resize(other.rules.len(), 0);
        }
        for (a, b) in self.rules.iter_mut().zip(&other.rules) {
            *a = a.saturating_add(*b);
        }
        self.default = self.default.saturating_add(other.default);
        self.refused = self.refused.saturating_add(other.refused);
    }
}
