//! Relays in processes of their own, so that their time and memory can be told from the load's.
//!
//! A relay says where it listens and who it is in one line of JSON, and ends when its standard
//! input does: whatever becomes of the process that started it, it is not left behind.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};
use trunkline::config::{Transport, keyfile};
use trunkline::{Dial, Engine, Listener, Setup};
use trunkline_proto::stage::plan::Plan;
use trunkline_proto::wire::link::Cost;

use super::arguments::{Neighbour, RelayArguments};
use super::nodes;
use crate::failure::Failure;
use crate::{kernel, print};

/// What a relay says of itself when it is up.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    address: std::net::SocketAddr,
    hashname: String,
}

/// A process that is ended, however its owner ends.
#[derive(Debug)]
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A relay that runs as long as this lives.
#[derive(Debug)]
pub(super) struct Relay {
    child: Kept,
    /// Where and who it is.
    pub(super) at: Neighbour,
}

/// How relays are started.
#[derive(Debug)]
pub(super) struct Manner {
    /// What runs over their links.
    pub(super) transport: Transport,
    /// The processor they run on.
    pub(super) cpu: Option<usize>,
    /// Their threads.
    pub(super) workers: u16,
}

impl Relay {
    /// Starts one with these keys, linked to the one before it.
    ///
    /// # Errors
    /// If it cannot be started or does not come up; what it says is on standard error.
    pub(super) fn start(
        keys: &Path,
        before: Option<&Neighbour>,
        how: &Manner,
    ) -> Result<Self, Failure> {
        let failed = |what: &str| Failure::Other(format!("a relay {what}"));
        let program = std::env::current_exe().map_err(|e| failed(&e.to_string()))?;
        let mut command = Command::new(program);
        command.arg("relay").arg("--keys").arg(keys);
        command.args(["--transport", how.transport.word()]);
        command.args(["--workers", &how.workers.to_string()]);
        if let Some(Neighbour { address, hashname }) = before {
            command.args(["--link", &format!("{address}={hashname}")]);
        }
        if let Some(cpu) = how.cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn();
        let mut child = Kept(child.map_err(|e| failed(&format!("could not be started: {e}")))?);
        let mut line = String::new();
        if let Some(out) = child.0.stdout.take() {
            // It ends, and so does its output, if it cannot come up.
            let _ = BufReader::new(out).read_line(&mut line);
        }
        let ready: Ready = serde_json::from_str(&line).map_err(|_| failed("did not come up"))?;
        let hashname = ready.hashname.parse().map_err(|_| failed("does not know its name"))?;
        Ok(Self { child, at: Neighbour { address: ready.address, hashname } })
    }

    /// Its process.
    #[must_use]
    pub(super) fn pid(&self) -> u32 {
        self.child.0.id()
    }
}

/// Is a relay until standard input ends.
///
/// # Errors
/// If it cannot come up.
pub(super) fn run(arguments: &RelayArguments) -> Result<(), Failure> {
    let other = |e: &dyn std::fmt::Display| Failure::Other(format!("relay: {e}"));
    kernel::end_with_parent().map_err(|e| other(&e))?;
    if let Some(cpu) = arguments.cpu {
        kernel::stay_on(cpu).map_err(|e| other(&e))?;
    }
    let identity = keyfile::read(&arguments.keys)?;
    let mut setup = Setup::new(identity);
    nodes::widen(&mut setup.limits);
    if arguments.workers > 0 {
        setup.plan = Plan::collapsed(arguments.workers);
    }
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let (transport, cost) = (arguments.transport, Cost::ONE);
    setup.listeners.push(Listener { address, transport, cost });
    if let Some(Neighbour { address, hashname }) = &arguments.link {
        let (name, addresses) = ("before".into(), vec![*address]);
        setup.dials.push(Dial { name, addresses, hashname: *hashname, transport, cost });
    }
    let engine = Engine::start(setup).map_err(|e| other(&e))?;
    let address = *engine.link_addresses().first().ok_or_else(|| other(&"no listener"))?;
    print::json(&Ready { address, hashname: engine.handle().hashname().to_string() })?;
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    engine.stop();
    Ok(())
}
