//! What the gatekeeper goes by and has decided, as the control socket tells it.
//!
//! Rules travel in the words of the configuration, so that a command can judge by those of a running
//! node as by those of a file.

use serde::{Deserialize, Serialize};
use trunkline_proto::gate::{Action, Hits};

use crate::config::{Gate, GateRule};

/// The gatekeeper's rules and how often each decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateReport {
    /// What becomes of messages that no rule matches: `allow` or `refuse`.
    pub default: String,
    /// Whether nothing is refused.
    pub dry_run: bool,
    /// Messages that no rule matched.
    pub default_hits: u64,
    /// Messages refused, by whichever rule; in a dry run, those that would have been.
    pub refused: u64,
    /// In the order in which they are tried.
    pub rules: Vec<GateRuleReport>,
}

/// One rule; what it does not look at is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateRuleReport {
    /// Counted from 1, as in what refused messages bring back.
    pub number: u64,
    /// `allow` or `refuse`.
    pub action: String,
    /// The listening port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The neighbour, 64 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<String>,
    /// The record, as the configuration writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The namespace, or the beginning of some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The sender, 64 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// How often it decided.
    pub hits: u64,
}

impl GateReport {
    /// The report of these rules, which decided so often.
    #[must_use]
    pub fn of(gate: &Gate, hits: &Hits) -> Self {
        let counted = hits.rules.iter().copied().chain(std::iter::repeat(0));
        let rules = (1..).zip(&gate.rules).zip(counted);
        Self {
            default: gate.default.label().to_owned(),
            dry_run: gate.dry_run,
            default_hits: hits.default,
            refused: hits.refused,
            rules: rules.map(|((n, rule), hits)| GateRuleReport::of(n, rule, hits)).collect(),
        }
    }

    /// The rules, to judge by.
    ///
    /// # Errors
    /// If the node that told them has words that this program does not know.
    pub fn gate(&self) -> Result<Gate, String> {
        let default = action(&self.default)?;
        let rules = self.rules.iter().map(GateRuleReport::rule).collect::<Result<_, _>>()?;
        Ok(Gate { default, dry_run: self.dry_run, rules })
    }
}

impl GateRuleReport {
    fn of(number: u64, rule: &GateRule, hits: u64) -> Self {
        Self {
            number,
            action: rule.action.label().to_owned(),
            port: rule.port,
            neighbour: rule.neighbour.map(|h| h.to_string()),
            record: rule.record.map(|r| r.to_string()),
            namespace: rule.namespace.map(|n| n.to_string()),
            sender: rule.sender.map(|h| h.to_string()),
            comment: rule.comment.clone(),
            hits,
        }
    }

    fn rule(&self) -> Result<GateRule, String> {
        Ok(GateRule {
            action: action(&self.action)?,
            port: self.port,
            neighbour: parsed(self.neighbour.as_ref())?,
            record: parsed(self.record.as_ref())?,
            namespace: parsed(self.namespace.as_ref())?,
            sender: parsed(self.sender.as_ref())?,
            comment: self.comment.clone(),
        })
    }
}

fn action(text: &str) -> Result<Action, String> {
    let known = Action::ALL.iter().find(|a| a.label() == text);
    known.copied().ok_or_else(|| format!("`{text}` is neither allow nor refuse"))
}

fn parsed<T: std::str::FromStr<Err: ToString>>(text: Option<&String>) -> Result<Option<T>, String> {
    text.map(|t| t.parse().map_err(|e: T::Err| e.to_string())).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n20_rules_come_back_from_the_words_in_which_they_are_told() {
        let rule = GateRule {
            action: Action::Refuse,
            port: Some(22_000),
            neighbour: Some(trunkline_proto::base::Hashname::new([7; 32])),
            record: Some("\"7\"".parse().unwrap()),
            namespace: Some("shop.*".parse().unwrap()),
            sender: Some(trunkline_proto::base::Hashname::new([8; 32])),
            comment: Some("why".to_owned()),
        };
        let rules = vec![rule, GateRule::default()];
        let gate = Gate { default: Action::Refuse, dry_run: true, rules };
        let hits = Hits { rules: vec![3, 4], default: 5, refused: 6 };
        let told = serde_json::to_string(&GateReport::of(&gate, &hits)).unwrap();
        let report: GateReport = serde_json::from_str(&told).unwrap();
        assert_eq!(report.gate().unwrap(), gate);
        assert_eq!((report.rules[1].hits, report.default_hits, report.refused), (4, 5, 6));
        let strange = GateReport { default: "maybe".to_owned(), ..report };
        assert!(strange.gate().unwrap_err().contains("maybe"));
    }
}
