//! Addresses as people write them: `host:port` and the targets `sock` may reach.
//!
//! Plain data. Resolving a name once and pinning it, and deciding whether an address is covered,
//! belong to the proxy room of the protocols; here a rule only becomes unambiguous. Forms that
//! some resolvers read as addresses and others as names (`127.1`, `0x7f.1`, `2130706433`) are
//! refused: such forms have opened closed proxies before.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Where something listens, by address or by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The machine.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// By address; IPv4 addresses mapped into IPv6 are written as IPv4.
    Ip(IpAddr),
    /// By name, in lower case.
    Name(String),
}

/// Why a text is not an address or a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnAddress(String);

fn wrong<T>(what: impl Into<String>) -> Result<T, NotAnAddress> {
    Err(NotAnAddress(what.into()))
}

impl HostPort {
    /// Reads `host:port`, or `host` alone with the given port.
    ///
    /// # Errors
    /// If it is neither, or the port is 0.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, NotAnAddress> {
        let (host, port) = split_port(text)?;
        let port = match (port, default_port) {
            (Some(port), _) => parse_port(port)?,
            (None, Some(port)) => port,
            (None, None) => return wrong(format!("`{text}` has no port: write {text}:PORT")),
        };
        Ok(Self { host: host.parse()?, port })
    }

    /// All addresses of it, asking the resolver if it is a name.
    ///
    /// # Errors
    /// If the resolver knows none.
    pub fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Name(name) => (name.as_str(), self.port).to_socket_addrs().map(Iterator::collect),
        }
    }
}

impl FromStr for HostPort {
    type Err = NotAnAddress;
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        Self::parse(text, None)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => write!(f, "{}", SocketAddr::new(*ip, self.port)),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl FromStr for Host {
    type Err = NotAnAddress;
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(ip.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let label = |l: &str| !l.is_empty() && l.len() <= 63 && l.chars().all(word);
        if name.len() > 253 || !name.split('.').all(label) {
            return wrong(format!("`{text}` is neither an IP address nor a host name"));
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.chars().all(|c| c.is_ascii_digit()) || last.starts_with("0x") {
            return wrong(format!("`{text}` is not an IP address; write all of its four numbers"));
        }
        Ok(Self::Name(name))
    }
}

/// One target, or range of targets, that remote hashnames may reach through `sock`.
///
/// Covering an address is not enough for loopback, link-local and metadata addresses: those need
/// a rule of their own, which is for the proxy room to enforce.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetRule {
    /// The machines.
    pub hosts: TargetHosts,
    /// The lowest port, never 0.
    pub first_port: u16,
    /// The highest port, at least the lowest.
    pub last_port: u16,
}

/// The machines of a [`TargetRule`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetHosts {
    /// A network; a single address is a network of full length. No bit is set past the prefix,
    /// and IPv4 is never written as IPv6.
    Net {
        /// Its first address.
        network: IpAddr,
        /// How many leading bits count: at most 32 or 128.
        prefix: u8,
    },
    /// A name, in lower case, matched as asked for.
    Name(String),
}

impl FromStr for TargetRule {
    type Err = NotAnAddress;
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (hosts, ports) = split_port(text)?;
        let Some(ports) = ports else {
            return wrong(format!("`{text}` has no port: write {text}:PORT or {text}:FIRST-LAST"));
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (first_port, last_port) = (parse_port(first)?, parse_port(last)?);
        if first_port > last_port {
            return wrong(format!("ports {ports} run backwards: write {last}-{first}"));
        }
        Ok(Self { hosts: parse_hosts(hosts)?, first_port, last_port })
    }
}

impl fmt::Display for TargetRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            TargetHosts::Net { network: IpAddr::V4(ip), prefix: 32 } => write!(f, "{ip}")?,
            TargetHosts::Net { network: IpAddr::V6(ip), prefix: 128 } => write!(f, "[{ip}]")?,
            TargetHosts::Net { network: IpAddr::V4(ip), prefix } => write!(f, "{ip}/{prefix}")?,
            TargetHosts::Net { network: IpAddr::V6(ip), prefix } => write!(f, "[{ip}/{prefix}]")?,
            TargetHosts::Name(name) => write!(f, "{name}")?,
        }
        write!(f, ":{}", self.first_port)?;
        if self.last_port > self.first_port { write!(f, "-{}", self.last_port) } else { Ok(()) }
    }
}

fn parse_hosts(text: &str) -> Result<TargetHosts, NotAnAddress> {
    let Some((ip, prefix)) = text.split_once('/') else {
        return Ok(match text.parse::<Host>()? {
            Host::Ip(ip) => TargetHosts::Net { network: ip, prefix: full_length(ip) },
            Host::Name(name) => TargetHosts::Name(name),
        });
    };
    let Ok(ip) = ip.parse::<IpAddr>() else {
        return wrong(format!("`{ip}` is not an IP address; only addresses have a /length"));
    };
    let Some(prefix) = prefix.parse::<u8>().ok().filter(|p| *p <= full_length(ip)) else {
        return wrong(format!("`/{prefix}` is not a length, choose /0 to /{}", full_length(ip)));
    };
    let (ip, prefix) = match ip.to_canonical() {
        canonical if canonical == ip => (ip, prefix),
        // An IPv4 network in IPv6 clothes: its length counts 96 bits more.
        v4 => match prefix.checked_sub(96) {
            Some(prefix) => (v4, prefix),
            None => return wrong(format!("`{text}` mixes IPv4 and IPv6; write it as IPv4")),
        },
    };
    let network = masked(ip, prefix);
    if network != ip {
        return wrong(format!("`{text}` has bits past its length; write {network}/{prefix}"));
    }
    Ok(TargetHosts::Net { network, prefix })
}

const fn full_length(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    let dropped = u32::from(full_length(ip).saturating_sub(prefix));
    match ip {
        IpAddr::V4(ip) => {
            IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(dropped).unwrap_or(0)).into())
        }
        IpAddr::V6(ip) => {
            IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(dropped).unwrap_or(0)).into())
        }
    }
}

/// `host:port`, `[v6]:port`, or a host alone, in two parts.
fn split_port(text: &str) -> Result<(&str, Option<&str>), NotAnAddress> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, rest)) = rest.split_once(']') else {
            return wrong(format!("`{text}`: the bracket is never closed"));
        };
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => wrong(format!("`{text}`: after ] comes :PORT")),
        };
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => {
            wrong(format!("`{text}`: write IPv6 addresses in brackets, [ADDRESS]:PORT"))
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, NotAnAddress> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => wrong(format!("`{text}` is not a port, choose 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_show_as_they_are_read() {
        for text in [
            "127.0.0.1:8080",
            "10.0.0.0/8:443",
            "localhost:22",
            "[fd00::1]:80",
            "[fd00::/8]:443",
            "0.0.0.0/0:1-65535",
            "db_1.example-x.org:5000-5010",
        ] {
            assert_eq!(text.parse::<TargetRule>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn mapped_addresses_become_what_they_are() {
        for (text, same) in [
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("[::ffff:10.0.0.0/104]:80", "10.0.0.0/8:80"),
            ("LOCALHOST.:80", "localhost:80"),
        ] {
            assert_eq!(text.parse::<TargetRule>().unwrap().to_string(), same);
        }
    }

    #[test]
    fn ambiguous_or_broken_rules_are_refused_with_advice() {
        for (text, part) in [
            ("127.0.0.1", "127.0.0.1:PORT"),
            ("127.0.0.1:0", "not a port"),
            ("127.0.0.1:80-", "not a port"),
            ("127.0.0.1:90-80", "write 80-90"),
            ("127.1:80", "four numbers"),
            ("2130706433:80", "four numbers"),
            ("0x7f000001:80", "four numbers"),
            ("127.0.0.0x1:80", "four numbers"),
            ("10.1.2.3/8:80", "write 10.0.0.0/8"),
            ("10.0.0.0/33:80", "/0 to /32"),
            ("[::ffff:10.0.0.0/90]:80", "write it as IPv4"),
            ("localhost/8:80", "only addresses"),
            ("::1:80", "in brackets"),
            ("[::1:80", "never closed"),
            ("[::1]80", "after ]"),
            ("a b:80", "neither"),
            (":80", "neither"),
            ("*.example.org:80", "neither"),
        ] {
            let error = text.parse::<TargetRule>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_missing_port_is_the_default_where_there_is_one() {
        let parse = |text| HostPort::parse(text, Some(42_424)).map(|h| h.to_string());
        assert_eq!(parse("relay.example.org").unwrap(), "relay.example.org:42424");
        assert_eq!(parse("[::1]").unwrap(), "[::1]:42424");
        assert_eq!(parse("192.0.2.1:7").unwrap(), "192.0.2.1:7");
        assert!("192.0.2.1".parse::<HostPort>().is_err());
    }
}
