//! `trunkline gate`: the gatekeeper's rules with their hits, and which one would decide.

use std::path::PathBuf;

use serde_json::json;
use trunkline::config::{Config, Gate, Link, gate};
use trunkline::control::gate::{GateReport, GateRuleReport};
use trunkline::control::protocol::Act;
use trunkline_proto::base::{Chance, Hashname, Namespace, RecordId};
use trunkline_proto::gate::{Action, Entrance, Question};

use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print::{self, Table};

/// Show the gatekeeper's rules and how often each decided, or which one would
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Example:
  trunkline gate --config relay.toml
  trunkline gate test --config relay.toml --record 7 --namespace shop --sender HASHNAME"
)]
pub struct Args {
    #[command(subcommand)]
    act: Option<Sub>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

#[derive(Debug, clap::Subcommand)]
enum Sub {
    Test(Test),
}

/// Say which rule would decide about a message; nothing is sent
///
/// With --config by the rules of the file, which need no node; else by those of the running one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline gate test --config relay.toml --port 42424 --record TestPing --namespace shop.orders \\
    --sender HASHNAME

Exit code 0 means that there is an answer, whatever it is.")]
struct Test {
    /// The port it comes in by; none on a link that the node dials
    #[arg(long)]
    port: Option<u16>,
    /// The neighbour it comes over: a hashname, with --config also the name of a link
    #[arg(long)]
    neighbour: Option<String>,
    /// What it carries: a number, a text or a UUID
    #[arg(long)]
    record: RecordId,
    /// Where it goes
    #[arg(long)]
    namespace: Namespace,
    /// Who sends it, 64 hex digits
    #[arg(long)]
    sender: Hashname,
    /// The message is not sealed: the sender is a mere claim
    #[arg(long)]
    claimed: bool,
    /// Print one JSON object: {"allow", "rule", "dry_run", "comment"}; rule 0 is the default
    #[arg(long)]
    json: bool,
    /// The configuration with the rules
    #[arg(long, value_name = "FILE", conflicts_with = "control")]
    config: Option<PathBuf>,
    /// The control socket of the node that has them
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be asked, or the file is wrong.
pub fn run(args: Args) -> Result<(), Failure> {
    if let Some(Sub::Test(test)) = args.act {
        return test.run();
    }
    let report = ask(&args.node)?;
    if args.json { print::json(&report) } else { show(&report) }
}

fn ask(node: &WhichNode) -> Result<GateReport, Failure> {
    Ok(node.connect()?.ask(Act::Gate, |(): ()| {})?)
}

fn show(report: &GateReport) -> Result<(), Failure> {
    let refused = match (report.dry_run, report.refused) {
        (true, n) => format!("{n} would have been refused (dry run)"),
        (false, n) => format!("{n} refused"),
    };
    print::line(&refused)?;
    let mut table = Table::new(&[
        "rule",
        "hits",
        "action",
        "port",
        "neighbour",
        "record",
        "namespace",
        "sender",
        "comment",
    ]);
    for rule in &report.rules {
        table.row(cells(rule));
    }
    let hits = report.default_hits.to_string();
    let mut last = [const { String::new() }; 9];
    for (cell, text) in last.iter_mut().zip(["default", &hits, &report.default]) {
        text.clone_into(cell);
    }
    table.row(last).print()
}

fn cells(rule: &GateRuleReport) -> [String; 9] {
    let any = |text: &Option<String>| text.clone().unwrap_or_else(|| "any".to_owned());
    let node =
        |text: &Option<String>| text.as_deref().map_or_else(|| "any".to_owned(), super::short);
    [
        rule.number.to_string(),
        rule.hits.to_string(),
        rule.action.clone(),
        rule.port.map_or_else(|| "any".to_owned(), |p| p.to_string()),
        node(&rule.neighbour),
        any(&rule.record),
        any(&rule.namespace),
        node(&rule.sender),
        rule.comment.clone().unwrap_or_default(),
    ]
}

impl Test {
    fn run(self) -> Result<(), Failure> {
        let (gate, links) = match &self.config {
            Some(file) => {
                let config = Config::load(file)?;
                (config.gate, config.links)
            }
            None => {
                let node = WhichNode::at(self.control.clone());
                (ask(&node)?.gate().map_err(Failure::Other)?, Vec::new())
            }
        };
        let question = self.question(&links)?;
        // Any secret does: the question is the user's own.
        let rules = gate.compile(&mut Chance::from_number(0));
        let (number, action) = rules.decide(&question);
        self.tell(&gate, number, action)
    }

    fn question(&self, links: &[Link]) -> Result<Question, Failure> {
        let over = self.neighbour.as_ref().map(|text| gate::neighbour(text, links));
        let neighbour = over.transpose().map_err(Failure::Other)?.map(|h| h.address());
        Ok(Question {
            entrance: Entrance { port: self.port, neighbour },
            record: self.record,
            namespace: self.namespace,
            sender: self.sender.address(),
            proved: !self.claimed,
        })
    }

    fn tell(&self, gate: &Gate, number: u16, action: Action) -> Result<(), Failure> {
        let rule = gate.rule(number);
        let allow = action == Action::Allow;
        if self.json {
            let comment = rule.and_then(|r| r.comment.as_ref());
            return print::json(&json!({
                "allow": allow, "rule": number, "dry_run": gate.dry_run, "comment": comment,
            }));
        }
        let by = match rule {
            None => "the default".to_owned(),
            Some(rule) => match &rule.comment {
                Some(comment) => format!("rule {number}: {rule} ({comment})"),
                None => format!("rule {number}: {rule}"),
            },
        };
        let verdict = match (allow, gate.dry_run) {
            (true, _) => "allowed",
            (false, false) => "refused",
            (false, true) => "let pass, as this is a dry run; else refused",
        };
        print::line(&format!("{verdict} by {by}"))
    }
}
