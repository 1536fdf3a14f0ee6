//! Running the system's network tools, with errors that show what was run and what it said.

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Why something in the laboratory could not be done.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A name that cannot be a host's.
    #[error("`{0}` cannot name a host: one to nine lower-case letters and digits")]
    BadName(String),
    /// More links than there are networks to number them with.
    #[error("a laboratory has at most 254 links")]
    TooManyLinks,
    /// A program could not be started.
    #[error("cannot start `{line}`: {source}")]
    Start {
        /// The command line.
        line: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{line}` failed ({status}): {said}")]
    Command {
        /// The command line.
        line: String,
        /// How it ended.
        status: String,
        /// Its output.
        said: String,
    },
    /// A wire did not come up or ended early.
    #[error("the wire {0}")]
    Wire(String),
    /// A program of this package is missing.
    #[error("`{0}` is not built beside {1}: cargo build -p trunkline-tools --bin {0}")]
    NotBuilt(&'static str, String),
    /// A link is there and does not carry.
    #[error("the link {0} <-> {1} is up but carried none of 20 datagrams")]
    Dead(String, String),
    /// A socket or a thread inside a host failed.
    #[error("inside host {host}: {source}")]
    Inside {
        /// The host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs a program to its end; its output counts only if it fails.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<(), LabError> {
    output(program, arguments).map(drop)
}

/// Runs a program to its end and returns what it printed.
pub(super) fn output(program: &str, arguments: &[&str]) -> Result<String, LabError> {
    with_input(program, arguments, "")
}

/// Runs a program to its end with `input` on its standard input and returns what it printed.
pub(super) fn with_input(
    program: &str,
    arguments: &[&str],
    input: &str,
) -> Result<String, LabError> {
    let line = || format!("{program} {}", arguments.join(" "));
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let ended = started.and_then(|mut child| {
        // The scripts are far smaller than a pipe, so this cannot wait for a reader that waits.
        // A program that ends without reading says why itself.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        child.wait_with_output()
    });
    let ended = ended.map_err(|source| LabError::Start { line: line(), source })?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    if ended.status.success() {
        return Ok(said);
    }
    let said = format!("{said}{}", String::from_utf8_lossy(&ended.stderr));
    let said = said.trim().to_owned();
    let input = if input.is_empty() { String::new() } else { format!(" <<< {}", input.trim()) };
    Err(LabError::Command { line: line() + &input, status: ended.status.to_string(), said })
}
