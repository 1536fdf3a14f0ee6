//! `trunkline check`: everything wrong with a configuration, before a node starts with it.

use std::path::PathBuf;

use serde_json::json;
use trunkline::config::{Config, ConfigError, Severity};

use crate::failure::Failure;
use crate::print;

/// Judge a configuration: options, key file, addresses, records, directories
///
/// Reports all problems, not only the first. Unknown options are errors. Names are resolved and
/// ports bound for a moment, nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline check --config relay.toml

Exit code 0 means that a node would start with it; warnings are allowed.")]
pub struct Args {
    /// The configuration to judge
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON object: {"ok": …, "problems": [{"severity", "line", "option", "what"}]}
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// If anything is wrong.
pub fn run(args: Args) -> Result<(), Failure> {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) if args.json => return refused(&error),
        Err(error) => return Err(error.into()),
    };
    let findings = config.check(print::now());
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    let warnings = findings.iter().filter(|f| f.severity == Severity::Warning).count();
    if args.json {
        let problem = |f: &trunkline::config::Finding| json!({"severity": f.severity.word(), "line": null, "option": f.option, "what": f.what});
        let problems: Vec<_> = findings.iter().map(problem).collect();
        print::json(&json!({"ok": errors == 0, "problems": problems}))?;
    } else {
        for finding in &findings {
            print::line(&finding.to_string())?;
        }
        let verdict = if errors == 0 { "ok" } else { "not ok" };
        let file = args.config.display();
        print::line(&format!("{file}: {verdict} ({errors} errors, {warnings} warnings)"))?;
    }
    if errors == 0 { Ok(()) } else { Err(Failure::Told) }
}

/// The file itself is wrong, in JSON.
fn refused(error: &ConfigError) -> Result<(), Failure> {
    let mut problems: Vec<_> = error
        .problems()
        .iter()
        .map(|p| json!({"severity": "error", "line": p.line, "option": p.option, "what": p.what}))
        .collect();
    if problems.is_empty() {
        let what = error.to_string();
        problems.push(json!({"severity": "error", "line": null, "option": "", "what": what}));
    }
    print::json(&json!({"ok": false, "problems": problems}))?;
    Err(Failure::Told)
}
