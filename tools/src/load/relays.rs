//! Relays in processes of their own, so that their time and memory can be told from the load's.
//!
//! A relay says where it listens and who it is in one line of JSON, and ends when its standard
//! input does: whatever becomes of the process that started it, it is not left behind.

use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trunkline::config::{Transport, keyfile};
use trunkline::{Dial, Engine, Listener, Setup, Subscription};
use trunkline_proto::stage::plan::Plan;
use trunkline_proto::wire::link::Cost;

use super::arguments::{Neighbour, RelayArguments};
use super::nodes;
use super::sender::namespace;
use crate::failure::Failure;
use crate::{kernel, print};

/// Where senders are and where receivers are when a relay bridges them: as neither reaches the
/// other's family, there is no direct path between them.
pub(super) const FAMILIES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// What a relay says of itself when it is up.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    addresses: Vec<SocketAddr>,
    hashname: String,
}

/// Bytes a second that a bridge carries: what it costs is to be measured, and not its bound.
const BRIDGE_RATE: u64 = 10 << 30;
/// Bridges of a relay: one for each pair a run can have.
const BRIDGES: usize = 1_024;

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
    /// Everywhere it receives.
    pub(super) addresses: Vec<SocketAddr>,
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
    /// Whether they carry datagrams over bridges, instead of links.
    pub(super) bridging: bool,
    /// Whether they are no relays but receivers.
    pub(super) receiving: bool,
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
        if how.bridging {
            command.arg("--bridging");
        }
        if how.receiving {
            command.arg("--receiving");
        }
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
        let addresses = ready.addresses;
        let address = *addresses.first().ok_or_else(|| failed("does not say where it is"))?;
        Ok(Self { child, at: Neighbour { address, hashname }, addresses })
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
    let (transport, cost) = (arguments.transport, Cost::ONE);
    if arguments.bridging {
        setup.udp = FAMILIES.map(|ip| SocketAddr::new(ip, 0)).to_vec();
        setup.terms.spacer = true;
        setup.terms.bridges = BRIDGES;
        setup.terms.bridge_rate = BRIDGE_RATE;
    } else {
        let address = SocketAddr::new(FAMILIES[0], 0);
        setup.listeners.push(Listener { address, transport, cost });
    }
    if let Some(Neighbour { address, hashname }) = &arguments.link {
        let (name, addresses) = ("before".into(), vec![*address]);
        setup.dials.push(Dial { name, addresses, hashname: *hashname, transport, cost });
    }
    let engine = Engine::start(setup).map_err(|e| other(&e))?;
    let addresses = [engine.link_addresses(), engine.udp_addresses()].concat();
    print::json(&Ready { addresses, hashname: engine.handle().hashname().to_string() })?;
    let inbox = arguments.receiving.then(|| engine.handle().subscribe(namespace(), None));
    let inbox = inbox.transpose().map_err(|e| other(&e))?;
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if let Some(inbox) = &inbox {
            scope.spawn(|| discard(inbox, &end));
        }
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        end.store(true, Ordering::Relaxed);
    });
    drop(inbox);
    engine.stop();
    Ok(())
}

/// Takes what comes and does nothing with it.
fn discard(inbox: &Subscription, end: &AtomicBool) {
    let mut messages = Vec::new();
    while !end.load(Ordering::Relaxed) {
        inbox.take(&mut messages, Duration::from_millis(20));
        messages.clear();
    }
}
