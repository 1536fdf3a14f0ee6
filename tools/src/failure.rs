//! Why a command failed. The text is what the user sees: what happened, to what, what to do.

use std::io;

use trunkline::config::ConfigError;
use trunkline::config::keyfile::KeysError;
use trunkline::control::ClientError;

/// Why a command failed; all end with exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key file is.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The node did not do it.
    #[error(transparent)]
    Node(#[from] ClientError),
    /// Nothing can be printed any more.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// The output has said it all; only the exit code is missing.
    #[error("failed")]
    Told,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
