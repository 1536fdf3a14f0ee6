//! Finding the node a command is to talk to.

use std::path::PathBuf;

use trunkline::config::Config;
use trunkline::control::{Client, path};

use crate::failure::Failure;

/// Which node; without either option, the one of this session or of this machine.
#[derive(Debug, clap::Args)]
pub struct WhichNode {
    /// The node's control socket
    #[arg(long, value_name = "SOCKET", conflicts_with = "config")]
    control: Option<PathBuf>,
    /// The node's configuration, to find its control socket
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl WhichNode {
    /// The one behind this socket, if one is said.
    #[must_use]
    pub const fn at(control: Option<PathBuf>) -> Self {
        Self { control, config: None }
    }

    /// Connects to it.
    ///
    /// # Errors
    /// If none is found, with the places that were looked at.
    pub fn connect(&self) -> Result<Client, Failure> {
        let places = match (&self.control, &self.config) {
            (Some(path), _) => vec![path.clone()],
            (None, Some(file)) => Config::load(file)?.control_sockets_to_try(),
            (None, None) => path::to_connect(None),
        };
        if let [only] = &places[..] {
            return Ok(Client::connect(only)?);
        }
        if let Some(found) = places.iter().find(|place| place.exists()) {
            return Ok(Client::connect(found)?);
        }
        let places: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        Err(Failure::Other(format!(
            "no running node found: nothing at {}; start one with `trunkline run`, or say where \
             it is with --control SOCKET or --config FILE",
            places.join(" nor at ")
        )))
    }
}
