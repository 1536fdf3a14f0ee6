//! Which targets strangers may reach through this node: none, unless listed.
//!
//! An address is judged in its canonical form: IPv4 inside IPv6 (mapped, compatible, NAT64, 6to4)
//! counts as the IPv4 address it leads to. *Special* addresses (loopback, link-local, cloud
//! metadata, unspecified, multicast, broadcast) are allowed only by a rule that lies within the
//! special range itself: `0.0.0.0/0` does not open them. A target is an address in the one usual
//! spelling; names and the other spellings that some resolvers accept are refused, because what
//! was judged must be what is connected to.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Some addresses and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// An address of the network; bits past the prefix do not matter.
    pub network: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
    /// First port.
    pub first_port: u16,
    /// Last port.
    pub last_port: u16,
}

/// What may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Rule>);

/// Why a target was refused. The text goes to the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not `IP:PORT` in the usual spelling.
    NotAnAddress,
    /// Port 0.
    NoPort,
    /// Not on the list.
    NotListed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnAddress => "the target is not IP:PORT in the usual spelling",
            Self::NoPort => "the target has no port",
            Self::NotListed => "the target is not on this node's list ([sock] allow)",
        })
    }
}

impl AllowList {
    /// A list of these rules.
    #[must_use]
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// Judges a target as a peer wrote it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn judge(&self, target: &str) -> Result<SocketAddr, Refusal> {
        let asked: SocketAddr = target.parse().map_err(|_| Refusal::NotAnAddress)?;
        // A scope id would choose an interface of ours.
        if matches!(asked, SocketAddr::V6(v6) if v6.scope_id() != 0 || v6.flowinfo() != 0) {
            return Err(Refusal::NotAnAddress);
        }
        if asked.port() == 0 {
            return Err(Refusal::NoPort);
        }
        let ip = canonical(asked.ip());
        let listed = self.0.iter().any(|r| r.covers(ip, asked.port()));
        if listed { Ok(SocketAddr::new(ip, asked.port())) } else { Err(Refusal::NotListed) }
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.0.is_empty()
    }
}

impl Rule {
    /// The network in the form addresses are judged in. `None` for a network of IPv6 addresses
    /// that hold IPv4 ones only in part: it means no IPv4 network.
    fn canonical(&self) -> Option<(IpAddr, u8)> {
        let network = canonical(self.network);
        if network.is_ipv4() == self.network.is_ipv4() {
            return Some((network, self.prefix));
        }
        let IpAddr::V6(v6) = self.network else { return None };
        let embedded_after = if v6.segments().first() == Some(&0x2002) { 16 } else { 96 };
        Some((network, self.prefix.checked_sub(embedded_after)?.min(32)))
    }

    fn covers(&self, ip: IpAddr, port: u16) -> bool {
        let Some((network, prefix)) = self.canonical() else { return false };
        (self.first_port..=self.last_port).contains(&port)
            && within(ip, network, prefix)
            && special_range(ip)
                .is_none_or(|(range, bits)| prefix >= bits && within(network, range, bits))
    }
}

/// The address that a packet would really go to.
#[must_use]
pub fn canonical(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    if v6.is_unspecified() || v6.is_loopback() {
        return ip;
    }
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |hi: u16, lo: u16| {
        let ([p, q], [r, s]) = (hi.to_be_bytes(), lo.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(p, q, r, s))
    };
    match [a, b, c, d, e, f] {
        // IPv4-mapped and IPv4-compatible.
        [0, 0, 0, 0, 0, 0 | 0xffff] => v4(g, h),
        // IPv4-translated (RFC 2765) and NAT64 with its well-known prefix.
        [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        // 6to4.
        [0x2002, hi, lo, ..] => v4(hi, lo),
        _ => ip,
    }
}

/// The special range an address lies in, if it does.
fn special_range(ip: IpAddr) -> Option<(IpAddr, u8)> {
    const V4: [([u8; 4], u8); 8] = [
        ([0, 0, 0, 0], 8),
        ([127, 0, 0, 0], 8),
        ([169, 254, 0, 0], 16),
        ([100, 100, 100, 200], 32),
        ([192, 0, 0, 192], 32),
        ([168, 63, 129, 16], 32),
        ([224, 0, 0, 0], 4),
        ([255, 255, 255, 255], 32),
    ];
    const V6: [([u16; 8], u8); 9] = [
        ([0, 0, 0, 0, 0, 0, 0, 1], 128),
        ([0, 0, 0, 0, 0, 0, 0, 0], 128),
        ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
        ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),
        ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0], 32),
        ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
        ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
        // Teredo carries an IPv4 address in disguise, the local-use NAT64 prefix any.
        ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
    ];
    let v4 = V4.iter().map(|(a, bits)| (IpAddr::V4(Ipv4Addr::from(*a)), *bits));
    let v6 = V6.iter().map(|(a, bits)| (IpAddr::V6(Ipv6Addr::from(*a)), *bits));
    v4.chain(v6).find(|(range, bits)| within(ip, *range, *bits))
}

fn within(ip: IpAddr, network: IpAddr, prefix: u8) -> bool {
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            a.to_bits() & mask == b.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            a.to_bits() & mask == b.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rules: &[(&str, u8, u16)]) -> AllowList {
        let rule = |(net, prefix, port): &(&str, u8, u16)| Rule {
            network: net.parse().unwrap(),
            prefix: *prefix,
            first_port: *port,
            last_port: *port,
        };
        AllowList::new(rules.iter().map(rule).collect())
    }

    #[test]
    fn s8_closed_by_default() {
        assert!(AllowList::default().is_closed());
        assert_eq!(AllowList::default().judge("192.0.2.1:80"), Err(Refusal::NotListed));
    }

    #[test]
    fn s8_only_what_is_listed_is_reached() {
        let l = list(&[("10.1.0.0", 16, 80), ("127.0.0.1", 32, 8080)]);
        assert_eq!(l.judge("10.1.2.3:80"), Ok("10.1.2.3:80".parse().unwrap()));
        assert_eq!(l.judge("10.2.2.3:80"), Err(Refusal::NotListed));
        assert_eq!(l.judge("10.1.2.3:81"), Err(Refusal::NotListed));
        assert!(l.judge("127.0.0.1:8080").is_ok());
        assert_eq!(l.judge("127.0.0.2:8080"), Err(Refusal::NotListed));
    }

    #[test]
    fn s8_special_addresses_need_a_rule_of_their_own() {
        let open = list(&[("0.0.0.0", 0, 80), ("::", 0, 80)]);
        for target in [
            "127.0.0.1:80",
            "127.255.1.2:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "169.254.169.254:80",
            "100.100.100.200:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[::1]:80",
            "[::]:80",
            "[::ffff:127.0.0.1]:80",
            "[::127.0.0.1]:80",
            "[::ffff:0:127.0.0.1]:80",
            "[64:ff9b::7f00:1]:80",
            "[2002:7f00:1::]:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "[ff02::1]:80",
            "[2001:0:53aa:64c:0:0:80ff:fffe]:80",
        ] {
            assert_eq!(open.judge(target), Err(Refusal::NotListed), "{target}");
        }
        assert!(open.judge("192.0.2.1:80").is_ok());
        assert_eq!(
            open.judge("[::ffff:192.0.2.1]:80"),
            Ok("192.0.2.1:80".parse().unwrap()),
            "what is judged is what is connected to"
        );
    }

    #[test]
    fn s8_a_rule_for_embedded_addresses_opens_no_more_than_it_says() {
        let nat64 = list(&[("64:ff9b::", 96, 80)]);
        assert_eq!(nat64.judge("0.0.0.0:80"), Err(Refusal::NotListed));
        assert_eq!(nat64.judge("127.0.0.1:80"), Err(Refusal::NotListed));
        let one = list(&[("64:ff9b::c000:201", 128, 80)]);
        assert!(one.judge("192.0.2.1:80").is_ok());
        assert_eq!(one.judge("192.0.2.2:80"), Err(Refusal::NotListed));
        let part = list(&[("::", 64, 80)]);
        assert_eq!(part.judge("[::1.2.3.4]:80"), Err(Refusal::NotListed));
    }

    #[test]
    fn s8_only_the_usual_spelling_is_an_address() {
        let l = list(&[("127.0.0.1", 32, 80)]);
        for target in [
            "localhost:80",
            "127.1:80",
            "0x7f.0.0.1:80",
            "2130706433:80",
            "0177.0.0.1:80",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:080000",
            " 127.0.0.1:80",
            "127.0.0.1:80 ",
            "[::1%lo]:80",
            "127.0.0.1:65536",
            "",
            ":80",
            "①②⑦.0.0.1:80",
            "127.0.0.1.:80",
        ] {
            assert_eq!(l.judge(target), Err(Refusal::NotAnAddress), "{target}");
        }
        assert_eq!(l.judge("127.0.0.1:0"), Err(Refusal::NoPort));
    }

    /// Every way to write an IPv4 address that some resolver, parser or tunnel understands.
    fn spellings(ip: Ipv4Addr) -> Vec<String> {
        let [a, b, c, d] = ip.octets();
        let n = ip.to_bits();
        let (high, low) = (n >> 16, n & 0xffff);
        let mut hosts = vec![
            format!("{a}.{b}.{c}.{d}"),
            format!("{n}"),
            format!("{n:#x}"),
            format!("{n:#X}"),
            format!("0{n:o}"),
            format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("{a:03}.{b:03}.{c:03}.{d:03}"),
            format!("{a}.{}", n & 0x00ff_ffff),
            format!("{a}.{b}.{}", n & 0xffff),
            format!("{a}.{b}.{c}.{d}."),
            format!("{a}.{b}.{c}.{d}%20"),
            format!("{a}%2e{b}%2e{c}%2e{d}"),
            format!("{a}。{b}。{c}。{d}"),
            format!("user@{a}.{b}.{c}.{d}"),
            format!("[{a}.{b}.{c}.{d}]"),
            format!("{a}.{b}.{c}.{d}.nip.io"),
            format!("\t{a}.{b}.{c}.{d}"),
            format!("{a}.{b}.{c}.{d}\0"),
            format!("//{a}.{b}.{c}.{d}"),
        ];
        let v6 = [
            format!("::ffff:{a}.{b}.{c}.{d}"),
            format!("::ffff:{high:x}:{low:x}"),
            format!("::FFFF:{high:X}:{low:X}"),
            format!("0:0:0:0:0:ffff:{high:04x}:{low:04x}"),
            format!("0000:0000:0000:0000:0000:ffff:{a}.{b}.{c}.{d}"),
            format!("::{a}.{b}.{c}.{d}"),
            format!("::{high:x}:{low:x}"),
            format!("::ffff:0:{a}.{b}.{c}.{d}"),
            format!("64:ff9b::{a}.{b}.{c}.{d}"),
            format!("64:ff9b::{high:x}:{low:x}"),
            format!("64:ff9b:0:0:0:0:{high:04X}:{low:04X}"),
            format!("64:ff9b:1::{a}.{b}.{c}.{d}"),
            format!("2002:{high:x}:{low:x}::"),
            format!("2002:{high:x}:{low:x}:0:0:0:0:1"),
            format!("2001:0:{high:x}:{low:x}::1"),
            format!("2001:0:1:2:3:4:{:x}:{:x}", high ^ 0xffff, low ^ 0xffff),
        ];
        hosts.extend(v6.iter().map(|h| format!("[{h}]")));
        hosts.extend(v6.iter().take(4).map(|h| format!("[{h}%1]")));
        hosts.extend(v6.iter().take(4).cloned());
        hosts.into_iter().map(|host| format!("{host}:80")).collect()
    }

    #[test]
    fn s8_hundreds_of_spellings_of_forbidden_addresses_reach_nothing() {
        let open = list(&[("0.0.0.0", 0, 80), ("::", 0, 80)]);
        let forbidden = [
            [127, 0, 0, 1],
            [127, 255, 255, 254],
            [169, 254, 169, 254],
            [169, 254, 170, 2],
            [100, 100, 100, 200],
            [0, 0, 0, 0],
            [224, 0, 0, 251],
        ];
        let mut targets: Vec<String> =
            forbidden.into_iter().flat_map(|ip| spellings(Ipv4Addr::from(ip))).collect();
        let names = [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "localhost.localdomain",
            "ip6-localhost",
            "metadata.google.internal",
            "metadata",
            "127.0.0.1.xip.io",
            "①②⑦.0.0.1",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::]",
            "[::0001]",
            "[fe80::1]",
            "[FE80::1%eth0]",
            "[febf::1]",
            "[fd00:ec2::254]",
            "[ff02::1]",
            "[ff05::1:3]",
            "::1",
            "[::1]]",
            "[[::1]]",
        ];
        targets.extend(names.iter().map(|name| format!("{name}:80")));
        targets.sort();
        targets.dedup();
        assert!(targets.len() >= 200, "{}", targets.len());
        for target in targets {
            assert!(open.judge(&target).is_err(), "{target:?} is let through");
        }
    }
}
