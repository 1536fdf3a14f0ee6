//! What is wrong with a configuration: every problem at once, each with its line.
//!
//! Owns the wording's frame (`FILE:LINE: OPTION: what happened; what to do`). Never decides what
//! is wrong: `read` and the section readers do.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line it stands in, counted from 1; none if it is about something that is not there.
    pub line: Option<usize>,
    /// The option, as `section.key`; empty if the file is not TOML.
    pub option: String,
    /// What happened and what to do.
    pub what: String,
}

/// Why a configuration could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was read and is wrong. All problems, in the order of their lines.
    #[error("{}", Listed { origin, problems })]
    Invalid {
        /// The file, or what the caller named as the origin of the text.
        origin: PathBuf,
        /// At least one.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// The problems in the text; none if the file could not be read at all.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Invalid { problems, .. } => problems,
        }
    }
}

/// A list of problems as compilers print them, so that editors can jump to the line.
struct Listed<'a> {
    origin: &'a PathBuf,
    problems: &'a [Problem],
}

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.origin.display())?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": ")?;
            if !problem.option.is_empty() {
                write!(f, "{}: ", problem.option)?;
            }
            write!(f, "{}", problem.what)?;
        }
        Ok(())
    }
}
