//! A configuration against the machine it is to run on: everything that would go wrong, at once,
//! before it does.
//!
//! Reads key files and records, asks the resolver, binds what is to be listened on and lets go
//! of it again. A node that starts does not ask for this: a neighbour's name that does not
//! resolve today is no reason to stay down.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use trunkline_proto::base::{Hashname, Wall};
use trunkline_proto::crypto::{Admission, Identity, KeyRecord};

use super::gate;
use super::keyfile;
use super::membership::Membership;
use super::model::Config;
use super::rules::{Host, HostPort, TargetHosts};
use crate::control;
use crate::directory::{DirectoryError, Store};

/// A record that ends within this time is worth a word.
const EXPIRY_NOTICE: Duration = Duration::from_secs(30 * 86_400);

/// A voucher that ends within this time is.
const VOUCHER_NOTICE: Duration = Duration::from_secs(2 * 86_400);

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It works; worth knowing.
    Note,
    /// It works, and may not be what was meant.
    Warning,
    /// It does not work.
    Error,
}

impl Severity {
    /// The word users see.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that would go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The option, as `section.key` or `link NAME`.
    pub option: String,
    /// What happened and what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity.word(), self.option, self.what)
    }
}

impl Config {
    /// Everything that would go wrong on this machine at this time.
    #[must_use]
    pub fn check(&self, now: Wall) -> Vec<Finding> {
        let running = self.control_sockets_to_try().iter().any(|s| control::is_answered(s));
        let mut check = Check { config: self, now, running, findings: Vec::new() };
        let identity = check.keys();
        check.membership(identity.as_ref());
        check.directories();
        check.listeners();
        check.links(identity.as_ref());
        check.peers(identity.as_ref());
        check.findings.extend(gate::findings(self));
        check.sock();
        check.proxies(identity.as_ref());
        check.http();
        check.gateway(identity.as_ref());
        check.purpose();
        check.findings
    }
}

struct Check<'c> {
    config: &'c Config,
    now: Wall,
    /// A node answers on the control socket, most likely the one this configuration is for.
    running: bool,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn error(&mut self, option: impl Into<String>, what: impl fmt::Display) {
        let (option, what) = (option.into(), what.to_string());
        self.findings.push(Finding { severity: Severity::Error, option, what });
    }

    fn warn(&mut self, option: impl Into<String>, what: impl fmt::Display) {
        let (option, what) = (option.into(), what.to_string());
        self.findings.push(Finding { severity: Severity::Warning, option, what });
    }

    fn note(&mut self, option: impl Into<String>, what: impl fmt::Display) {
        let (option, what) = (option.into(), what.to_string());
        self.findings.push(Finding { severity: Severity::Note, option, what });
    }

    fn keys(&mut self) -> Option<Identity> {
        match keyfile::read(&self.config.node.keys) {
            Ok(identity) => {
                self.expiry("node.keys", identity.record());
                Some(identity)
            }
            Err(error) => {
                self.error("node.keys", error);
                None
            }
        }
    }

    fn expiry(&mut self, option: &str, record: &KeyRecord) {
        let left = record.expiry().as_secs().saturating_sub(self.now.as_secs());
        if self.now.is_past(record.expiry()) {
            self.error(option, "the key record has expired, nobody accepts it any more");
        } else if left < EXPIRY_NOTICE.as_secs() {
            self.warn(option, format!("the key record expires in {} days", left / 86_400));
        }
    }

    /// Whether the space lets this node in, and for how long.
    fn membership(&mut self, own: Option<&Identity>) {
        let Some(own) = own else { return };
        match self.config.membership(own.record(), self.now) {
            Err(error) => self.error(error.option(), &error),
            Ok(membership) => {
                for (_, record) in membership.rules.operators() {
                    if let Some(record) = record.filter(|r| r.hashname() != own.hashname()) {
                        self.expiry(&format!("operator {}", record.hashname().short()), &record);
                    }
                }
                self.voucher(&membership);
            }
        }
        for operator in &self.config.space.operators {
            if let Some(address) = &operator.address {
                self.resolved(&format!("operator {}", operator.hashname.short()), address);
            }
        }
    }

    fn voucher(&mut self, membership: &Membership) {
        let option = "node.voucher";
        let shown = !membership.rules.our_voucher().is_empty();
        match membership.admission {
            None => {
                let what = "whether it is good shows when the record of its operator has come: \
                            with record_file in [[operator]] it could be judged now";
                self.warn(option, what);
            }
            Some(Admission { until: Some(until), flags }) => {
                let left = until.as_secs().saturating_sub(self.now.as_secs());
                let what = format!(
                    "valid for {} days and {} hours, allows: {flags}",
                    left / 86_400,
                    left / 3_600 % 24
                );
                if left < VOUCHER_NOTICE.as_secs() {
                    self.warn(option, what + "; ask an operator for the next one");
                } else {
                    self.note(option, what);
                }
            }
            Some(_) if shown && !membership.rules.is_closed() => {
                self.note(option, "the space is open: nobody looks at it");
            }
            Some(_) if shown => self.note(option, "an operator needs none"),
            Some(_) => {}
        }
    }

    fn directories(&mut self) {
        let state = self.config.state_dir();
        if let Err(error) = usable_directory(&state) {
            let what = format!("cannot write to {}: {error}", shown(&state));
            self.error("node.state_dir", what);
        }
        self.members();
        let socket = self.config.control_socket();
        let usable = usable_directory(socket.parent().unwrap_or(Path::new("")));
        if let Err(what) = control::path::fits(&socket) {
            self.error("control.socket", what);
        } else if let Err(error) = usable {
            let what = format!("cannot make a socket at {}: {error}", shown(&socket));
            self.error("control.socket", what);
        } else if self.running {
            let what = format!("a node answers on {} already", shown(&socket));
            self.warn("control.socket", what);
        }
    }

    /// The file of an operator's members: opened and let go, if it is there.
    fn members(&mut self) {
        let Some(path) = self.config.node.directory.clone() else { return };
        let option = "node.directory";
        if !path.exists() {
            if let Err(error) = usable_directory(path.parent().unwrap_or(Path::new(""))) {
                self.error(option, format!("cannot make {}: {error}", shown(&path)));
            }
            return;
        }
        match Store::open(&path) {
            Err(DirectoryError::Locked { .. }) if self.running => {}
            Err(error) => self.error(option, error),
            Ok(_) => {}
        }
    }

    fn listeners(&mut self) {
        for address in &self.config.listen.udp {
            self.bound("listen.udp", *address, UdpSocket::bind(*address).map(drop));
        }
        for listener in &self.config.listen.links {
            let option = format!("listen.{}", listener.transport);
            self.bound(&option, listener.address, TcpListener::bind(listener.address).map(drop));
        }
    }

    fn bound(&mut self, option: &str, address: SocketAddr, result: io::Result<()>) {
        let Err(error) = result else { return };
        match error.kind() {
            io::ErrorKind::AddrInUse if self.running => {
                self.warn(option, format!("{address} is in use, presumably by the running node"));
            }
            io::ErrorKind::AddrInUse => {
                let what = format!(
                    "{address} is in use by another program: stop it (`ss -lnp` names it) or \
                     choose another port"
                );
                self.error(option, what);
            }
            io::ErrorKind::PermissionDenied => {
                let what = format!(
                    "{address} is not for this user: choose a port above 1023, or grant \
                     CAP_NET_BIND_SERVICE"
                );
                self.error(option, what);
            }
            io::ErrorKind::AddrNotAvailable => {
                self.error(option, format!("{address} is no address of this machine"));
            }
            _ => self.error(option, format!("cannot listen on {address}: {error}")),
        }
    }

    fn links(&mut self, own: Option<&Identity>) {
        let mut seen = HashSet::new();
        for link in &self.config.links {
            let option = format!("link {}", link.name);
            self.not_self(&option, link.hashname, own);
            self.resolved(&option, &link.address);
            if !seen.insert((&link.address, link.hashname)) {
                self.warn(option, "is listed twice; only one of the two will be up");
            }
        }
    }

    fn peers(&mut self, own: Option<&Identity>) {
        let mut seen = HashSet::new();
        for peer in &self.config.peers {
            let option = format!("peer {}", peer.hashname.short());
            self.not_self(&option, peer.hashname, own);
            match peer.key_record(self.now).transpose() {
                None => {}
                Some(Err(error)) => self.error(&option, error),
                Some(Ok(record)) => {
                    self.expiry(&option, &record);
                    let space = own.map(|own| own.record().space());
                    if let Some(space) = space.filter(|space| *space != record.space()) {
                        let what = format!(
                            "lives in the space {}, this node in {}: they can never meet",
                            record.space().as_str(),
                            space.as_str()
                        );
                        self.error(&option, what);
                    }
                }
            }
            for address in &peer.addresses {
                self.resolved(&option, address);
            }
            if !seen.insert(peer.hashname) {
                self.error(&option, "is listed twice; put all addresses into one section");
            }
        }
    }

    fn sock(&mut self) {
        for rule in &self.config.sock.allow {
            let TargetHosts::Name(name) = &rule.hosts else { continue };
            let target = HostPort { host: Host::Name(name.clone()), port: rule.first_port };
            if let Err(error) = target.resolve() {
                self.warn("sock.allow", format!("{rule} does not resolve now: {error}"));
            }
        }
    }

    fn proxies(&mut self, own: Option<&Identity>) {
        for proxy in &self.config.proxies {
            let option = format!("proxy {}", proxy.listen);
            self.not_self(&option, proxy.hashname, own);
            self.bound(&option, proxy.listen, TcpListener::bind(proxy.listen).map(drop));
            if !proxy.listen.ip().to_canonical().is_loopback() {
                let what = format!(
                    "whoever reaches {} gets through to {}: listen on 127.0.0.1 unless that is \
                     what you want",
                    proxy.listen, proxy.target
                );
                self.warn(option, what);
            }
        }
    }

    fn http(&mut self) {
        if let Some(backend) = &self.config.http.backend {
            self.resolved("http.backend", backend);
        } else if self.config.http.pass_host {
            self.warn("http.pass_host", "has no effect without http.backend");
        }
    }

    fn gateway(&mut self, own: Option<&Identity>) {
        let gateway = &self.config.gateway;
        match gateway.listen {
            Some(listen) => {
                self.bound("gateway.listen", listen, TcpListener::bind(listen).map(drop))
            }
            None if !gateway.names.is_empty() => {
                self.warn("gateway.names", "has no effect without gateway.listen");
            }
            None => {}
        }
        for (name, hashname) in &gateway.names {
            self.not_self(&format!("gateway.names.{name}"), *hashname, own);
        }
    }

    fn purpose(&mut self) {
        let c = self.config;
        if c.listen.udp.is_empty() && c.listen.links.is_empty() && c.links.is_empty() {
            self.error("listen", "nothing to listen on and no [[link]]: nobody can be reached");
        }
    }

    fn not_self(&mut self, option: &str, hashname: Hashname, own: Option<&Identity>) {
        if own.is_some_and(|own| own.record().hashname() == hashname) {
            self.error(option, "is this node itself: write the other side's hashname");
        }
    }

    fn resolved(&mut self, option: &str, address: &HostPort) {
        match address.resolve() {
            Ok(found) if found.is_empty() => {
                self.error(option, format!("{address} has no address"));
            }
            Ok(_) => {}
            Err(error) => self.error(option, format!("{address} does not resolve: {error}")),
        }
    }
}

/// Whether files can be made in `dir`, or it can be made itself.
fn usable_directory(dir: &Path) -> Result<(), String> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    match std::fs::metadata(dir) {
        Ok(meta) if !meta.is_dir() => Err("it is not a directory".to_owned()),
        Ok(_) if control::path::is_writable(dir) => Ok(()),
        Ok(_) => Err("this user may not, or the file system is read-only".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match dir.parent() {
            Some(parent) => usable_directory(parent),
            None => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    }
}

fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { ".".to_owned() } else { path.display().to_string() }
}
