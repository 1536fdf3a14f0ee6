//! NATs and firewalls in front of hosts: what stands between a guest and the rest of a laboratory.
//!
//! ```text
//!   guest ── gate ── net ── gate ── gate ── guest      a gate behind a gate: double NAT
//!                     │
//!                     └── a host with an address of its own, such as a relay
//! ```
//!
//! A [`Gate`] is a host whose packet filter does what a home router does. `net` is a host that only
//! forwards; it knows the outside addresses of gates and not what lies behind them, but for IPv6,
//! which nothing here translates. What each kind
//! does is written down in [`Nat`], made by the rules below, and seen by a probe in
//! `tests/gates.rs`: the kernel's words are not taken for it.

use std::net::Ipv4Addr;

use trunkline_sim::emulator::Conditions;

use super::{End, Host, Lab, LabError, Link};

/// The UDP port behind a gate that can be reached through it by a rule, and the port outside.
/// Others go through as the connection tracker sees fit.
pub const GATE_PORT: u16 = 42_424;

/// What a gate does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Nat {
    /// Forwards, nothing else: whoever is behind it has an address for all the world.
    Open,
    /// Forwards, and lets in only answers: the stateful firewall that stands in front of IPv6.
    Firewall,
    /// One outside port for all; everybody is let in at [`GATE_PORT`] ("full cone").
    Full,
    /// One outside port for all; lets in at [`GATE_PORT`] whoever was sent to, by address.
    Address,
    /// One outside port for all; lets in by address and port: what Linux and most home routers do.
    Port,
    /// As [`Port`](Self::Port), with nothing that drops what comes unasked: the connection tracker
    /// takes that for a connection to the gate itself, and its port is gone for the guest.
    Bare,
    /// Another outside port for each destination; lets in by address and port.
    Symmetric,
}

impl Nat {
    /// What people call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Firewall => "firewall",
            Self::Full => "full cone",
            Self::Address => "address",
            Self::Port => "port",
            Self::Bare => "bare",
            Self::Symmetric => "symmetric",
        }
    }

    /// The rule for what leaves.
    const fn translates(self) -> Option<&'static str> {
        match self {
            Self::Open | Self::Firewall => None,
            Self::Full | Self::Address | Self::Port | Self::Bare => Some("masquerade"),
            Self::Symmetric => Some("masquerade random,fully-random"),
        }
    }

    /// The rule for what comes in at the port, before where it goes is said.
    const fn admits(self) -> Option<&'static str> {
        match self {
            Self::Full => Some(""),
            Self::Address => Some("ip saddr @sent"),
            Self::Open | Self::Firewall | Self::Port | Self::Bare | Self::Symmetric => None,
        }
    }
}

/// A NAT or firewall, and where it leads.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The gate itself.
    pub host: Host,
    /// What it does.
    pub kind: Nat,
    /// Its outside end; the address is what others see of all behind it.
    pub outside: End,
    /// The other end of that link.
    pub onward: End,
}

impl Lab {
    /// A host that only forwards between those linked to it, and is silent about the rest.
    ///
    /// # Errors
    /// As [`Lab::host`].
    pub fn net(&mut self, name: &str) -> Result<Host, LabError> {
        let host = self.host(name)?;
        // "No route" would be told to the sender, who would know more than a real one.
        for family in ["-4", "-6"].iter().take(if self.family.has_v6() { 2 } else { 1 }) {
            host.ip(&[family, "route", "add", "blackhole", "default"])?;
        }
        Ok(host)
    }

    /// A gate in front of `onward`, which is a [`net`](Self::net) or another gate's host; over a
    /// wire under `conditions`, if any are given.
    ///
    /// # Errors
    /// As [`Lab::host`], [`Lab::wire`] and `nft` report.
    pub fn gate(
        &mut self,
        name: &str,
        kind: Nat,
        onward: &Host,
        conditions: Option<Conditions>,
    ) -> Result<Gate, LabError> {
        let host = self.host(name)?;
        let link = self.link_under(&host, onward, conditions)?;
        host.route_by(&link.b)?;
        let gate = Gate { host, kind, outside: link.a, onward: link.b };
        gate.host.nft(&gate.rules())?;
        Ok(gate)
    }

    /// A guest behind a gate. The first one is who the gate's port leads to.
    ///
    /// # Errors
    /// As [`Lab::host`] and `nft` report.
    pub fn behind(&mut self, name: &str, gate: &Gate) -> Result<(Host, Link), LabError> {
        let host = self.host(name)?;
        let link = self.link(&host, &gate.host)?;
        host.route_by(&link.b)?;
        gate.leads_to(&link.a)?;
        Ok((host, link))
    }

    fn link_under(
        &mut self,
        a: &Host,
        b: &Host,
        conditions: Option<Conditions>,
    ) -> Result<Link, LabError> {
        match conditions {
            Some(conditions) => self.wire(a, b, conditions),
            None => self.link(a, b),
        }
    }
}

impl Gate {
    /// Keeps those behind this gate from each other: they are customers, not a household.
    ///
    /// # Errors
    /// As `nft` reports.
    pub fn isolate(&self) -> Result<(), LabError> {
        let out = &self.outside.device;
        let rule = format!("iifname != \"{out}\" oifname != \"{out}\" drop");
        self.host.nft(&format!("add rule inet gate pass {rule}")).map(drop)
    }

    /// Drops all UDP that would leave or come in.
    ///
    /// # Errors
    /// As `nft` reports.
    pub fn block_udp(&self) -> Result<(), LabError> {
        self.host.nft("insert rule inet gate pass meta l4proto udp drop").map(drop)
    }

    fn rules(&self) -> String {
        let out = &self.outside.device;
        let mut rules = String::from("table inet gate {\n chain pass {\n");
        rules += " type filter hook forward priority 0; policy accept;\n }\n";
        if self.kind != Nat::Open && self.kind != Nat::Bare {
            // What comes unasked is dropped before the tracker remembers it.
            rules += &format!(
                " chain guard {{\n type filter hook input priority 0; policy accept;\n \
                 iifname \"{out}\" ct state new drop\n }}\n"
            );
        }
        rules += "}\n";
        // IPv6 is translated by none of them, and guarded by all that guard anything.
        let guarded = match self.kind {
            Nat::Firewall => Some(""),
            Nat::Full | Nat::Address | Nat::Port | Nat::Symmetric => Some("meta nfproto ipv6"),
            Nat::Open | Nat::Bare => None,
        };
        if let Some(which) = guarded {
            let rule = format!("{which} iifname \"{out}\" ct state new drop");
            rules += &format!("add rule inet gate pass {rule}\n");
        }
        if let Some(translate) = self.kind.translates() {
            rules += &format!(
                "table ip gate {{\n set sent {{ type ipv4_addr; flags dynamic,timeout; timeout \
                 2m; }}\n chain out {{\n type nat hook postrouting priority 100;\n oifname \
                 \"{out}\" {translate}\n }}\n chain in {{\n type nat hook prerouting priority \
                 -100;\n }}\n chain note {{\n type filter hook forward priority 0;\n oifname \
                 \"{out}\" ip protocol udp update @sent {{ ip daddr }}\n }}\n}}\n"
            );
        }
        rules
    }

    /// Somebody behind the gate has this address. Later ones share what the first one left.
    fn leads_to(&self, end: &End) -> Result<(), LabError> {
        let (out, guest) = (&self.outside.device, end.address);
        if let Some(condition) = self.kind.admits() {
            let place = format!("iifname \"{out}\" udp dport {GATE_PORT} {condition}");
            let rule = format!("add rule ip gate in {place} dnat to {guest}:{GATE_PORT}");
            self.host.nft(&rule)?;
        }
        if end.family.has_v6() {
            let inside = format!("{}/64", end.address_v6);
            let via = self.outside.address_v6.to_string();
            self.onward.host.ip(&["-6", "route", "add", &inside, "via", &via])?;
        }
        if end.family.has_v4() && self.kind.translates().is_none() {
            // Addresses behind it are everybody's: the next host knows the way there.
            let [a, b, network, _] = guest.octets();
            let inside = format!("{a}.{b}.{network}.0/24");
            let via = self.outside.address.to_string();
            self.onward.host.ip(&["route", "add", &inside, "via", &via])?;
        }
        Ok(())
    }
}

impl Host {
    /// Lets nothing pass here between two addresses, either way, until [`rejoin`](Self::rejoin).
    ///
    /// # Errors
    /// As `nft` reports.
    pub fn part(&self, a: Ipv4Addr, b: Ipv4Addr) -> Result<(), LabError> {
        let hook = "type filter hook forward priority 0; policy accept;";
        let rule = |from, to| format!("ip saddr {from} ip daddr {to} drop\n");
        let rules = format!("{hook}\n{}{}", rule(a, b), rule(b, a));
        self.nft(&format!("table ip parted {{\n chain between {{\n {rules} }}\n}}\n")).map(drop)
    }

    /// Ends what [`part`](Self::part) began.
    ///
    /// # Errors
    /// As `nft` reports.
    pub fn rejoin(&self) -> Result<(), LabError> {
        self.nft("delete table ip parted\n").map(drop)
    }
}
