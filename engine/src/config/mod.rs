//! The configuration: one strict TOML file, read once, in one place.
//!
//! ```text
//! file ── read (strict tables, lines) ── sections ──► Config (model, the only defaults)
//!                                          │
//!                     units · rules · limits (values with units, addresses, bounds)
//!
//! Config::check: key file, records, addresses, directories against the machine, all at once
//! Config::membership: space, operators and voucher against the key file
//! ```
//!
//! Unknown keys, values out of bounds and contradictions are errors with their line; nothing is
//! silently ignored or clamped. No other room reads files, environment or defaults. The one
//! documented file with every option is [`Config::example`].

mod check;
mod error;
pub mod gate;
pub mod keyfile;
mod limits;
pub mod membership;
mod messages;
mod model;
mod read;
pub mod record;
mod rules;
mod sections;
pub mod units;
pub mod voucher;

use std::path::{Path, PathBuf};

pub use check::{Finding, Severity};
pub use error::{ConfigError, Problem};
pub use gate::{Gate, GateRule};
pub use messages::{Messages, Pair};
pub use model::{
    Config, Control, DEFAULT_PORT, Gateway, Http, Link, LinkListener, Listen, Log, LogFormat,
    LogLevel, Mesh, Node, Operator, Peer, Placement, PlacementMode, Proxy, RecordSource, Sock,
    Space, Transport,
};
pub use rules::{Host, HostPort, NotAnAddress, TargetHosts, TargetRule};

/// The most a configuration file may hold; thousands of peers with their records fit.
const MOST_BYTES: u64 = 16 << 20;

impl Config {
    /// Reads and judges the file. Relative paths in it start from its directory.
    ///
    /// # Errors
    /// If it cannot be read, or with everything that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MOST_BYTES {
            let what = format!("{size} bytes are too many, at most {MOST_BYTES}");
            return Err(unreadable(std::io::Error::other(what)));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text, path)
    }

    /// Judges a text; `origin` is the file it is said to come from, for messages and for
    /// relative paths. Touches neither files nor the network.
    ///
    /// # Errors
    /// With everything that is wrong in it, in the order of lines.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, ConfigError> {
        let (config, problems, _) = Self::read(text, origin);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError::Invalid { origin: origin.to_owned(), problems }),
        }
    }

    /// The configuration, the problems, and the keys that were looked for and absent.
    fn read(text: &str, origin: &Path) -> (Option<Self>, Vec<Problem>, Vec<String>) {
        let (reader, table) = read::Reader::new(text);
        let base = origin.parent().unwrap_or(Path::new(""));
        // What does not parse is half there: judging it would bury the cause under consequences.
        let config = reader.is_clean().then(|| sections::read(reader.root(table), base)).flatten();
        let (problems, absent) = reader.into_findings();
        (config, problems, absent)
    }

    /// A file that shows and explains every option with its default, ready to be edited.
    #[must_use]
    pub const fn example() -> &'static str {
        include_str!("../../../docs/trunkline.example.toml")
    }

    /// Where the node keeps what must outlive it: `node.state_dir`, else the directory of the
    /// key file.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        let beside_keys = || self.node.keys.parent().map(Path::to_owned).unwrap_or_default();
        self.node.state_dir.clone().unwrap_or_else(beside_keys)
    }

    /// The control socket a node makes: `control.socket`, else the first of the places
    /// [`crate::control::path`] describes.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        let chosen = || crate::control::path::to_listen(&self.state_dir());
        self.control.socket.clone().unwrap_or_else(chosen)
    }

    /// Where a command looks for the socket of the node of this configuration, which may run in
    /// other surroundings than the command.
    #[must_use]
    pub fn control_sockets_to_try(&self) -> Vec<PathBuf> {
        match &self.control.socket {
            Some(path) => vec![path.clone()],
            None => crate::control::path::to_connect(Some(&self.state_dir())),
        }
    }
}

#[cfg(test)]
mod tests;
