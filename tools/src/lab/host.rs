//! One host of a laboratory: what can be done and run in it.

use std::process::{Child, Command};

use super::Family;
use super::commands::{self, LabError};
use crate::netns;

/// Seconds after which a program run by [`Host::exec`] is ended.
const PATIENCE_S: &str = "30";

/// A host: a network namespace. A handle, cheap to clone; the laboratory owns the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    name: String,
    netns: String,
}

impl Host {
    pub(super) fn create(name: &str, netns: String) -> Result<Self, LabError> {
        commands::run("ip", &["netns", "add", &netns])?;
        Ok(Self { name: name.to_owned(), netns })
    }

    /// Sets what every host starts from. See the head of the laboratory for the reasons.
    pub(super) fn prepare(&self, family: Family) -> Result<(), LabError> {
        // With IPv6, an address counts at once and nobody is asked for more of them.
        let v6 = if family.has_v6() {
            "cd /proc/sys/net/ipv6/conf; echo 0 > all/disable_ipv6; echo 0 > default/disable_ipv6; \
             echo 0 > default/accept_dad; echo 0 > default/accept_ra; \
             echo 1 > default/addr_gen_mode; echo 1 > all/forwarding"
        } else {
            "cd /proc/sys/net/ipv6/conf; echo 1 > all/disable_ipv6; echo 1 > default/disable_ipv6"
        };
        self.exec("sh", &["-c", &format!("{v6}; echo 1 > /proc/sys/net/ipv4/ip_forward")])?;
        self.ip(&["link", "set", "lo", "up"])?;
        // Early, before connection tracking and routing see a packet: what is blocked or lost has
        // never been.
        self.nft(
            "table inet lab {
                set blocked { type ifname; }
                chain arrive {
                    type filter hook prerouting priority -300; policy accept;
                    iifname @blocked drop;
                }
            }",
        )?;
        Ok(())
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its network namespace, for `ip netns exec` by hand.
    #[must_use]
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// A command that will run `program` in this host. Arguments, environment and streams are the
    /// caller's to add; see [`start`](Self::start) for one that ends by itself.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns, program]);
        command
    }

    /// Runs a program in this host to its end, at most for 30 seconds, and returns what it
    /// printed.
    ///
    /// # Errors
    /// If it cannot be started, takes too long or reports failure; the error shows its output.
    pub fn exec(&self, program: &str, arguments: &[&str]) -> Result<String, LabError> {
        let mut all = vec!["netns", "exec", &self.netns, "timeout", "-k", "1", PATIENCE_S, program];
        all.extend(arguments);
        commands::output("ip", &all)
    }

    /// Starts a command made by [`command`](Self::command). The program ends when the handle is
    /// dropped.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, mut command: Command) -> Result<Running, LabError> {
        match command.spawn() {
            Ok(child) => Ok(Running(child)),
            Err(source) => Err(LabError::Start { line: format!("{command:?}"), source }),
        }
    }

    /// Does `work` on a thread in this host. Sockets it makes belong to the host wherever they
    /// are used afterwards.
    ///
    /// # Errors
    /// If the namespace is gone.
    ///
    /// # Panics
    /// If `work` does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        netns::inside(&self.netns, work).map_err(|source| self.failed(source))
    }

    /// Runs `ip` on this host's devices, addresses and routes, as in
    /// `host.ip(&["route", "add", "default", "via", "10.77.1.2"])`.
    ///
    /// # Errors
    /// As `ip` reports.
    pub fn ip(&self, arguments: &[&str]) -> Result<String, LabError> {
        commands::output("ip", &[&["-n", self.netns.as_str()], arguments].concat())
    }

    /// Feeds `rules` to `nft` in this host. The table `inet lab` is the laboratory's own; with
    /// any other, a host becomes a NAT or a firewall.
    ///
    /// # Errors
    /// As `nft` reports.
    pub fn nft(&self, rules: &str) -> Result<String, LabError> {
        let arguments = ["netns", "exec", &self.netns, "nft", "-f", "-"];
        commands::with_input("ip", &arguments, rules)
    }

    pub(super) fn failed(&self, source: std::io::Error) -> LabError {
        LabError::Inside { host: self.name.clone(), source }
    }
}

/// A program that runs in a host, and is killed and waited for when this is dropped.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
