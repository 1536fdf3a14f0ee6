//! Links between hosts, and what can go wrong on them.
//!
//! Two kinds: a *veth* pair, as fast as the machine, on which rate and loss can be set; and a
//! *wire*, two TAP devices with `trunkline-wire` between them, which adds delay, jitter,
//! reordering, duplication and corruption. Both look the same afterwards.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use trunkline_sim::emulator::Conditions;

use super::commands::{self, LabError};
use super::{Family, Host, Lab};
use crate::wire::{self, Report};

/// One end of a link: a device in a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The host.
    pub host: Host,
    /// The device in it, called after the host it leads to.
    pub device: String,
    /// The IPv4 address of this end, if the link speaks that.
    pub address: Ipv4Addr,
    /// The IPv6 address of this end, if the link speaks that.
    pub address_v6: Ipv6Addr,
    /// What the link speaks.
    pub family: Family,
}

/// A link between two hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The end in the host named first.
    pub a: End,
    /// The end in the other.
    pub b: End,
}

/// A `trunkline-wire` that runs. Ends when dropped: closing its standard input tells it to.
#[derive(Debug)]
pub(super) struct Spawned {
    link: Link,
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Drop for Spawned {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It would end by itself, but a test that is over waits for nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lab {
    /// Links two hosts by a veth pair, in a network of its own: 10.77.n.1 and fd77:n::1 at
    /// `a`, 10.77.n.2 and fd77:n::2 at `b`. Waits until it carries a datagram each way.
    ///
    /// # Errors
    /// As `ip` reports.
    pub fn link(&mut self, a: &Host, b: &Host) -> Result<Link, LabError> {
        let link = self.number_link(a, b)?;
        let [end, peer] = [&link.a, &link.b];
        let one = ["link", "add", &end.device, "netns", a.netns(), "type", "veth"];
        let two = ["peer", "name", &peer.device, "netns", b.netns()];
        commands::run("ip", &[&one[..], &two].concat())?;
        self.bring_up(&link)?;
        // The kernel lets frames through only some time after it has said that the device is up.
        await_forwarding(&link, Duration::ZERO)?;
        Ok(link)
    }

    /// Links two hosts by a wire under `conditions`, which hold for each direction, and waits
    /// until it carries a datagram each way (unless the conditions lose more than half).
    ///
    /// # Errors
    /// If `trunkline-wire` is not built or does not come up; the error says what it said.
    pub fn wire(&mut self, a: &Host, b: &Host, conditions: Conditions) -> Result<Link, LabError> {
        let link = self.number_link(a, b)?;
        let program = program("trunkline-wire")?;
        let mut command = Command::new(&program);
        command
            .args(["--a", &link.a.device, "--netns-a", a.netns()])
            .args(["--b", &link.b.device, "--netns-b", b.netns()])
            .args(wire::as_options(&conditions))
            .args(["--seed", &self.links.to_string(), "--until-eof", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let line = || program.display().to_string();
        let mut child =
            command.spawn().map_err(|source| LabError::Start { line: line(), source })?;
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| LabError::Wire("has no output".to_owned()))?;
        let mut spawned = Spawned { link: link.clone(), child, said: BufReader::new(stdout) };
        spawned.wait_until_ready()?;
        self.wires.push(spawned);
        self.bring_up(&link)?;
        if conditions.loss_ppm <= 500_000 {
            let round_trip = (conditions.delay + conditions.jitter + conditions.reorder_by) * 2;
            await_forwarding(&link, round_trip)?;
        }
        Ok(link)
    }

    /// Ends a wire and returns its statistics. The link stays, dead.
    ///
    /// # Errors
    /// If the link is no wire, or the program does not end as it should.
    pub fn end_wire(&mut self, link: &Link) -> Result<Report, LabError> {
        let place = self.wires.iter().position(|w| w.link == *link);
        let place = place.ok_or_else(|| LabError::Wire("is not there".to_owned()))?;
        self.wires.swap_remove(place).finish()
    }

    /// Bounds what leaves at `end` to `mbit` megabits a second by a token bucket; `burst_bytes`
    /// may go at once, and what would wait longer than `latency` is dropped. Replaces an earlier
    /// bound.
    ///
    /// # Errors
    /// As `tc` reports.
    pub fn rate(
        &self,
        end: &End,
        mbit: f64,
        burst_bytes: u32,
        latency: Duration,
    ) -> Result<(), LabError> {
        let rate = format!("{mbit}mbit");
        let (burst, latency) = (burst_bytes.to_string(), format!("{}us", latency.as_micros()));
        let place = ["-n", end.host.netns(), "qdisc", "replace", "dev", &end.device, "root"];
        let bucket = ["tbf", "rate", &rate, "burst", &burst, "latency", &latency];
        commands::run("tc", &[&place[..], &bucket].concat())
    }

    /// Loses `percent` of what arrives at `end`, by chance; zero ends it. Replaces an earlier
    /// share.
    ///
    /// # Errors
    /// As `nft` reports.
    pub fn loss(&self, end: &End, percent: f64) -> Result<(), LabError> {
        // A chain for each device, so that its share can be replaced without knowing rule numbers.
        let (device, chain) = (&end.device, format!("inet lab thin-{}", end.device));
        let hook = "{ type filter hook prerouting priority -290; policy accept; }";
        let mut rules = format!("add chain {chain} {hook}\nflush chain {chain}\n");
        let ppm = (percent.clamp(0.0, 100.0) * 10_000.0).round();
        if ppm > 0.0 {
            let share = format!("numgen random mod 1000000 < {ppm}");
            rules += &format!("add rule {chain} iifname \"{device}\" {share} drop\n");
        }
        end.host.nft(&rules).map(drop)
    }

    /// Cuts a link without a word: what was sent does not arrive, either way, and nobody is told.
    ///
    /// # Errors
    /// As `nft` reports.
    pub fn cut(&self, link: &Link) -> Result<(), LabError> {
        self.block(&link.a)?;
        self.block(&link.b)
    }

    /// Ends a cut.
    ///
    /// # Errors
    /// As `nft` reports.
    pub fn heal(&self, link: &Link) -> Result<(), LabError> {
        self.unblock(&link.a)?;
        self.unblock(&link.b)
    }

    /// Cuts one direction: nothing arrives at `end` any more.
    ///
    /// # Errors
    /// As `nft` reports.
    pub fn block(&self, end: &End) -> Result<(), LabError> {
        let device = &end.device;
        end.host.nft(&format!("add element inet lab blocked {{ \"{device}\" }}")).map(drop)
    }

    /// Ends the cut of one direction. Adds before it deletes, so that it may be called anyway.
    ///
    /// # Errors
    /// As `nft` reports.
    pub fn unblock(&self, end: &End) -> Result<(), LabError> {
        let element = format!("element inet lab blocked {{ \"{}\" }}", end.device);
        end.host.nft(&format!("add {element}\ndelete {element}")).map(drop)
    }

    /// Names the devices and numbers the network of a new link.
    fn number_link(&mut self, a: &Host, b: &Host) -> Result<Link, LabError> {
        let number = self.links.checked_add(1).filter(|n| *n < 255);
        self.links = number.ok_or(LabError::TooManyLinks)?;
        let end = |host: &Host, other: &Host, last| End {
            host: host.clone(),
            device: format!("to-{}", other.name()),
            address: Ipv4Addr::new(10, 77, self.links, last),
            address_v6: Ipv6Addr::new(0xfd77, self.links.into(), 0, 0, 0, 0, 0, last.into()),
            family: self.family,
        };
        Ok(Link { a: end(a, b, 1), b: end(b, a, 2) })
    }

    /// Gives the ends their addresses, makes them known to each other and brings them up.
    fn bring_up(&self, link: &Link) -> Result<(), LabError> {
        for (end, other) in [(&link.a, &link.b), (&link.b, &link.a)] {
            let hardware = |a: Ipv4Addr| {
                let [_, _, network, host] = a.octets();
                format!("02:00:00:00:{network:02x}:{host:02x}")
            };
            let (device, own, theirs) =
                (&end.device, hardware(end.address), hardware(other.address));
            let mut script = format!("link set dev {device} address {own} up\n");
            for (address, peer) in end.addresses().iter().zip(other.addresses()) {
                let (length, nodad) = if address.is_ipv4() { (24, "") } else { (64, " nodad") };
                script += &format!(
                    "address add {address}/{length} dev {device}{nodad}\n\
                     neighbour replace {peer} lladdr {theirs} dev {device} nud permanent\n"
                );
            }
            let batch = ["-n", end.host.netns(), "-batch", "-"];
            commands::with_input("ip", &batch, &script)?;
        }
        Ok(())
    }
}

impl Spawned {
    /// Reads the line the program prints once both devices are there. It prints it or ends, so
    /// this does not wait for ever.
    fn wait_until_ready(&mut self) -> Result<(), LabError> {
        let mut line = String::new();
        if self.said.read_line(&mut line).is_ok() && line.contains("\"ready\"") {
            return Ok(());
        }
        let mut error = String::new();
        let _ = self.child.stderr.take().map(|mut e| e.read_to_string(&mut error));
        Err(LabError::Wire(format!("did not come up: {}{}", line.trim(), error.trim())))
    }

    fn finish(mut self) -> Result<Report, LabError> {
        drop(self.child.stdin.take());
        let mut line = String::new();
        let read = self.said.read_line(&mut line);
        let said: Option<serde_json::Value> = serde_json::from_str(&line).ok();
        let report = said.and_then(|mut s| serde_json::from_value(s["report"].take()).ok());
        report.ok_or_else(|| LabError::Wire(format!("ended without a report: {line} ({read:?})")))
    }
}

/// Sends datagrams over and back until one has made it.
fn await_forwarding(link: &Link, round_trip: Duration) -> Result<(), LabError> {
    let dead = || LabError::Dead(link.a.device.clone(), link.b.device.clone());
    for address in link.b.addresses() {
        let echo = link.b.host.echo_at(address, 0)?;
        let to = (address, echo.port()).into();
        let mut tries = 0..20;
        while link.a.host.probe_for(to, 1, Duration::ZERO, round_trip * 2)?.received() == 0 {
            tries.next().ok_or_else(dead)?;
        }
    }
    Ok(())
}

/// One of this package's programs, beside the one that runs or one folder up from a test.
pub(super) fn program(name: &'static str) -> Result<PathBuf, LabError> {
    let own = std::env::current_exe().unwrap_or_default();
    let mut places = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    places
        .find(|place| place.is_file())
        .ok_or_else(|| LabError::NotBuilt(name, own.display().to_string()))
}
