//! A laboratory: hosts, links and faults in network namespaces, for whole-system tests.
//!
//! ```no_run
//! use trunkline_tools::lab::{Lab, LabError};
//! use trunkline_sim::emulator::Conditions;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), LabError> {
//! let Ok(mut lab) = Lab::new() else { return Ok(()) }; // it has said why on stderr
//! let (a, b) = (lab.host("a")?, lab.host("b")?);
//! let far = Conditions { delay: Duration::from_millis(25), ..Conditions::default() };
//! let link = lab.wire(&a, &b, far)?;
//! let _echo = b.echo(7)?;
//! let answers = a.probe((link.b.address, 7).into(), 10, Duration::from_millis(5))?;
//! lab.cut(&link)?;
//! # Ok(())
//! # }
//! ```
//!
//! It owns everything it makes: [`Lab`]'s drop removes namespaces (and with them devices and
//! rules) and ends every process in them, also when a test panics. Names carry the number of the
//! process, so laboratories run side by side; one that was killed is swept by the next. Nothing
//! leaves the namespaces: they have no way out.
//!
//! Hosts speak IPv4 only, so that no IPv6 housekeeping shows in counts, unless [`Lab::speak`] says
//! otherwise; know their neighbours' hardware addresses, so that a silent cut stays silent instead
//! of ending in "host unreachable" from ARP; and forward. Needs root, `ip`, `tc`, `nft` and, for wires, `/dev/net/tun`; the kernel
//! needs no netem.

mod commands;
mod family;
mod host;
mod links;
mod nat;
pub mod nodes;
mod probe;
pub mod strangers;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

pub use commands::LabError;
pub use family::Family;
pub use host::{Host, Running};
pub use links::{End, Link};
pub use nat::{GATE_PORT, Gate, Nat};
pub use probe::{Answers, Echo};

/// The first letters of every namespace a laboratory makes.
const PREFIX: &str = "trunklab";

/// The longest name of a host: devices are called after the host they lead to.
const HOST_NAME_MAX: usize = 9;

/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";

/// Why there can be no laboratory on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Skip(String);

/// A laboratory; everything in it goes with it.
#[derive(Debug)]
pub struct Lab {
    /// What the names of its namespaces begin with.
    prefix: String,
    hosts: Vec<Host>,
    family: Family,
    links: u8,
    wires: Vec<links::Spawned>,
}

impl Lab {
    /// An empty laboratory.
    ///
    /// # Errors
    /// If this machine or user cannot have one. The reason also goes to standard error, past the
    /// test harness's capture, so that a skipped test does not look like one that passed.
    pub fn new() -> Result<Self, Skip> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}{}-{number}-", process::id());
        if let Err(skip) = possible(&prefix) {
            let _ = writeln!(io::stderr(), "\nLAB SKIPPED: {skip}\n");
            return Err(skip);
        }
        sweep();
        let family = Family::default();
        Ok(Self { prefix, hosts: Vec::new(), family, links: 0, wires: Vec::new() })
    }

    /// A host: a network namespace with its loopback up and no way out yet. `name` has at most
    /// nine lower-case letters and digits.
    ///
    /// # Errors
    /// If the name is not such a one or is taken, or the namespace cannot be made.
    pub fn host(&mut self, name: &str) -> Result<Host, LabError> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if name.is_empty() || name.len() > HOST_NAME_MAX || !name.bytes().all(legal) {
            return Err(LabError::BadName(name.to_owned()));
        }
        let host = Host::create(name, format!("{}{name}", self.prefix))?;
        self.hosts.push(host.clone());
        host.prepare(self.family)?;
        Ok(host)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Wires first: they would complain about devices that vanish under them.
        self.wires.clear();
        for host in &self.hosts {
            remove_namespace(host.netns());
        }
    }
}

/// Whether this machine and user can have a laboratory.
fn possible(prefix: &str) -> Result<(), Skip> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|l| l.strip_prefix("Uid:")?.split_whitespace().nth(1));
    if effective != Some("0") {
        let why = "network namespaces need root; run the test as root (sudo)";
        return Err(Skip(why.to_owned()));
    }
    let tools =
        [("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables"), ("timeout", "coreutils")];
    for (program, package) in tools {
        if !installed(program) {
            return Err(Skip(format!("no `{program}` here; apt-get install -y {package}")));
        }
    }
    // No host can have this name: it is too long.
    let trial = format!("{prefix}namespace-trial");
    let tried = commands::run("ip", &["netns", "add", &trial]);
    remove_namespace(&trial);
    tried.map_err(|e| Skip(format!("this machine or container forbids namespaces: {e}")))
}

fn installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .any(|folder| PathBuf::from(folder).join(program).exists())
}

/// Removes what laboratories of processes that are no more have left behind.
fn sweep() {
    for entry in std::fs::read_dir(NAMES).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        let Some(owner) = owner.and_then(|(pid, _)| pid.parse::<u32>().ok()) else { continue };
        if !PathBuf::from(format!("/proc/{owner}")).exists() {
            remove_namespace(name);
        }
    }
}

/// Ends every process in the namespace, then removes it. Failures are of no use to anyone here:
/// this runs when things are already over.
fn remove_namespace(name: &str) {
    if let Ok(pids) = commands::output("ip", &["netns", "pids", name]) {
        let own = process::id().to_string();
        for pid in pids.split_whitespace().filter(|pid| *pid != own) {
            let _ = commands::run("sh", &["-c", "kill -9 \"$1\"", "sh", pid]);
        }
    }
    let _ = commands::run("ip", &["netns", "del", name]);
}
