//! What the clients of zenohd share.

use std::error::Error;

use zenoh::{Config, Session, Wait};

/// Why a client ended.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A session with one router, named as tcp/ADDRESS:PORT, and with nobody else.
///
/// # Errors
/// What zenoh says.
pub fn open(router: &str) -> Result<Session, Failure> {
    let mut config = Config::default();
    config.insert_json5("mode", "\"client\"")?;
    config.insert_json5("connect/endpoints", &format!("[\"{router}\"]"))?;
    config.insert_json5("scouting/multicast/enabled", "false")?;
    zenoh::open(config).wait()
}
