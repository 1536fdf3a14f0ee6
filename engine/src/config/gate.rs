//! `[gate]` and `[[gate.rule]]`: which messages the node takes, as the file says it, and what is
//! wrong with a list of rules as a whole.
//!
//! The rules' meaning is the gate's room in the protocols; here names of links become hashnames and
//! findings get words.

use std::fmt;

use trunkline_proto::base::{Chance, Hashname, RecordId};
use trunkline_proto::gate::{Action, Flaw, NamePattern, Rule, Rules};

use super::check::{Finding, Severity};
use super::model::{Config, Link};
use super::read::{Raw, Section};
use super::sections::{all, hashname, word};

/// Letters of a comment.
const LONGEST_COMMENT: usize = 200;

/// `[gate]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// What becomes of messages that no rule matches.
    pub default: Action,
    /// Judge, count and log, and refuse nothing.
    pub dry_run: bool,
    /// In the order in which they are tried. Rules count from 1.
    pub rules: Vec<GateRule>,
}

/// `[[gate.rule]]`; what is not set is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateRule {
    /// What becomes of a message it matches.
    pub action: Action,
    /// The listening port it came in by.
    pub port: Option<u16>,
    /// The neighbour it came over.
    pub neighbour: Option<Hashname>,
    /// What it carries.
    pub record: Option<RecordId>,
    /// Where it goes.
    pub namespace: Option<NamePattern>,
    /// Who sent it.
    pub sender: Option<Hashname>,
    /// For people.
    pub comment: Option<String>,
}

impl Gate {
    /// The rules as they are looked up. Those past [`Rules::MOST`] are left out: no file has them.
    #[must_use]
    pub fn compile(&self, chance: &mut Chance) -> Rules {
        let list = self.rules.iter().take(Rules::MOST).map(GateRule::bare).collect();
        Rules::new(list, self.default, self.dry_run, chance).unwrap_or_default()
    }

    /// The rule of that number, counted from 1.
    #[must_use]
    pub fn rule(&self, number: u16) -> Option<&GateRule> {
        self.rules.get(usize::from(number).checked_sub(1)?)
    }
}

impl GateRule {
    fn bare(&self) -> Rule {
        Rule {
            action: self.action,
            port: self.port,
            neighbour: self.neighbour.map(|h| h.address()),
            record: self.record,
            namespace: self.namespace,
            sender: self.sender.map(|h| h.address()),
        }
    }
}

/// As a sentence: `refuse record TestPing to shop.* from 00112233 over 44556677 at port 42424`.
impl fmt::Display for GateRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action.label())?;
        match &self.record {
            Some(record) => write!(f, " record {record}")?,
            None => f.write_str(" any record")?,
        }
        if let Some(namespace) = &self.namespace {
            write!(f, " to {namespace}")?;
        }
        if let Some(sender) = &self.sender {
            write!(f, " from {}", sender.short())?;
        }
        if let Some(neighbour) = &self.neighbour {
            write!(f, " over {}", neighbour.short())?;
        }
        if let Some(port) = self.port {
            write!(f, " at port {port}")?;
        }
        Ok(())
    }
}

/// Reads the section. `links` are those that rules may name.
pub(super) fn read(mut s: Section<'_, '_>, links: &[Link]) -> Gate {
    let default = s.take("default", |r| word(r, Action::ALL, Action::label));
    let dry_run = s.take("dry_run", |r| r.flag());
    let rules = all(s.sections("rule", Rules::MOST), |s| rule(s, links));
    s.finish();
    let (default, dry_run) = (default.unwrap_or_default(), dry_run.unwrap_or_default());
    Gate { default, dry_run, rules }
}

fn rule(mut s: Section<'_, '_>, links: &[Link]) -> Option<GateRule> {
    let why = "what becomes of the messages, \"allow\" or \"refuse\"";
    let action = s.need("action", why, |r| word(r, Action::ALL, Action::label));
    let port = s.take("port", |r| {
        let port = r.number(1..=u64::from(u16::MAX))?;
        u16::try_from(port).map_err(|e| e.to_string())
    });
    let neighbour = s.take("neighbour", |r| neighbour(r.text()?, links));
    let record = s.take("record", record);
    let namespace = s.take("namespace", |r| {
        r.text()?.parse::<NamePattern>().map_err(|e| format!("expected {e}"))
    });
    let sender = s.take("sender", hashname);
    let comment = s.take("comment", |r| {
        let text = r.text()?;
        let fits = text.chars().count() <= LONGEST_COMMENT && !text.chars().any(char::is_control);
        let what = || format!("a comment is one line of at most {LONGEST_COMMENT} letters");
        fits.then(|| text.to_owned()).ok_or_else(what)
    });
    s.finish();
    Some(GateRule { action: action?, port, neighbour, record, namespace, sender, comment })
}

/// A neighbour by its hashname or by the name of a link to it.
///
/// # Errors
/// With what to write instead.
pub fn neighbour(text: &str, links: &[Link]) -> Result<Hashname, String> {
    let mut named = links.iter().filter(|l| l.name == text).map(|l| l.hashname);
    match (named.next(), text.parse()) {
        (Some(first), _) if named.any(|other| other != first) => {
            Err(format!("several [[link]] to different nodes are called `{text}`"))
        }
        (Some(hashname), _) | (None, Ok(hashname)) => Ok(hashname),
        (None, Err(_)) => Err(format!(
            "no [[link]] is called `{text}`; write the name of one, or a hashname, 64 hex digits"
        )),
    }
}

fn record(raw: &Raw<'_>) -> Result<RecordId, String> {
    match raw {
        Raw::Number(n) => Ok(RecordId::Integer(*n)),
        _ => raw.text()?.parse::<RecordId>().map_err(|e| e.to_string()),
    }
}

/// What is wrong with the rules as a whole, and with the ports and neighbours they name.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let gate = &config.gate;
    let mut out = Vec::new();
    let mut find = |severity, number: u16, what: String| {
        let option = format!("gate rule {number}");
        let said = gate.rule(number).map(|rule| match &rule.comment {
            Some(comment) => format!("{rule} ({comment}): {what}"),
            None => format!("{rule}: {what}"),
        });
        out.push(Finding { severity, option, what: said.unwrap_or_default() });
    };
    // Any secret does: what is looked up here is the owner's own.
    for flaw in gate.compile(&mut Chance::from_number(0)).audit() {
        find(Severity::Warning, flaw.rule(), flaw_told(flaw));
    }
    let udp = config.listen.udp.iter();
    let ports: Vec<u16> =
        udp.chain(config.listen.links.iter().map(|l| &l.address)).map(|a| a.port()).collect();
    for (number, rule) in (1..).zip(&gate.rules) {
        if let Some(port) = rule.port.filter(|p| !ports.contains(p) && !ports.contains(&0)) {
            let what = format!("nothing listens at port {port}: it never matches");
            find(Severity::Warning, number, what);
        }
        let Some(neighbour) = rule.neighbour else { continue };
        if config.links.iter().any(|l| l.hashname == neighbour) {
            if rule.port.is_some() && config.listen.links.is_empty() {
                let what = "links that this node dials have no port: it never matches".to_owned();
                find(Severity::Warning, number, what);
            }
            continue;
        }
        let short = neighbour.short();
        if config.listen.links.is_empty() {
            let what = format!("no [[link]] leads to {short} and no neighbour can link up here");
            find(Severity::Warning, number, what + ": it never matches");
        } else {
            let what = format!("no [[link]] leads to {short}: it matches if {short} links up here");
            find(Severity::Note, number, what);
        }
    }
    out
}

fn flaw_told(flaw: Flaw) -> String {
    match flaw {
        Flaw::Duplicate { of, .. } => format!("is the same as rule {of}"),
        Flaw::Contradiction { with, .. } => {
            format!("contradicts rule {with}, which comes first and always decides")
        }
        Flaw::Unreachable { behind, alike: true, .. } => {
            format!("never decides: rule {behind} comes first, covers it and does the same")
        }
        Flaw::Unreachable { behind, alike: false, .. } => {
            format!("never decides: rule {behind} comes first and covers it; put it in front")
        }
    }
}

#[cfg(test)]
mod tests;
