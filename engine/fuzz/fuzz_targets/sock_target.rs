//! Targets that peers ask for, judged by any list: what is allowed is written as it will be
//! connected to, is covered by a rule, and is no special address unless a rule speaks of those.
#![no_main]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use trunkline_proto::proxy::targets::canonical;
use trunkline_proto::proxy::{AllowList, Rule};

/// A list, a target as an address, and one as a peer may write it.
#[derive(Arbitrary, Debug)]
struct Case<'a> {
    rules: Vec<(Ip, u8, u16, u16)>,
    asked: (Ip, u16),
    written: &'a str,
}

/// An address, IPv4 in IPv6 more often than chance has it.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Ip {
    V4([u8; 4]),
    V6([u8; 16]),
    Within(u8, [u8; 4]),
}

impl Ip {
    fn get(self) -> IpAddr {
        match self {
            Self::V4(four) => Ipv4Addr::from(four).into(),
            Self::V6(sixteen) => Ipv6Addr::from(sixteen).into(),
            Self::Within(form, four) => {
                let (hi, lo) = (
                    u16::from_be_bytes([four[0], four[1]]),
                    u16::from_be_bytes([four[2], four[3]]),
                );
                let segments = match form % 5 {
                    0 => [0, 0, 0, 0, 0, 0xffff, hi, lo],
                    1 => [0, 0, 0, 0, 0, 0, hi, lo],
                    2 => [0, 0, 0, 0, 0xffff, 0, hi, lo],
                    3 => [0x64, 0xff9b, 0, 0, 0, 0, hi, lo],
                    _ => [0x2002, hi, lo, 0, 0, 0, 0, 1],
                };
                Ipv6Addr::from(segments).into()
            }
        }
    }
}

fuzz_target!(|case: Case<'_>| {
    let rule = |(ip, prefix, first_port, last_port): (Ip, u8, u16, u16)| {
        let network = ip.get();
        let prefix = prefix % if network.is_ipv4() { 33 } else { 129 };
        Rule { network, prefix, first_port, last_port }
    };
    let rules: Vec<Rule> = case.rules.into_iter().map(rule).collect();
    let list = AllowList::new(rules.clone());
    let asked = SocketAddr::new(case.asked.0.get(), case.asked.1);
    for target in [asked.to_string().as_str(), case.written] {
        let Ok(allowed) = list.judge(target) else { continue };
        let written: SocketAddr = target.parse().expect("only addresses are allowed");
        assert_eq!(allowed, SocketAddr::new(canonical(written.ip()), written.port()));
        assert_eq!(canonical(allowed.ip()), allowed.ip());
        let covered = |r: &&Rule| (r.first_port..=r.last_port).contains(&allowed.port());
        let mut rules = rules.iter().filter(covered).filter(|r| covers(r, allowed.ip()));
        let named = |r: &Rule| special(canonical(r.network)) == special(allowed.ip());
        match special(allowed.ip()) {
            None => assert!(rules.next().is_some(), "{allowed} is in no rule"),
            Some((what, bits)) => assert!(
                rules.any(|r| r.prefix >= bits && named(r)),
                "{allowed}, {what}, is allowed by no rule about such"
            ),
        }
    }
});

/// Whether the address, in its own form or as IPv4 in the form of the rule, lies in the network.
fn covers(rule: &Rule, ip: IpAddr) -> bool {
    let lost = match (rule.network, canonical(rule.network)) {
        (IpAddr::V6(v6), IpAddr::V4(_)) if v6.segments()[0] == 0x2002 => 16,
        (IpAddr::V6(_), IpAddr::V4(_)) => 96,
        _ => 0,
    };
    let same = |a: &[u8], b: &[u8]| {
        let bit = |bytes: &[u8], i: usize| bytes[i / 8] >> (7 - i % 8) & 1;
        let bits = usize::from(rule.prefix.saturating_sub(lost)).min(a.len() * 8);
        rule.prefix >= lost && (0..bits).all(|i| bit(a, i) == bit(b, i))
    };
    match (ip, canonical(rule.network)) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(&a.octets(), &b.octets()),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(&a.octets(), &b.octets()),
        _ => false,
    }
}

/// What the standard library knows to be special, by name, and the bits that make it so.
fn special(ip: IpAddr) -> Option<(&'static str, u8)> {
    match ip {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some(("this network", 8)),
        IpAddr::V4(v4) if v4.is_loopback() => Some(("loopback", 8)),
        IpAddr::V4(v4) if v4.is_link_local() => Some(("link-local", 16)),
        IpAddr::V4(v4) if v4.is_multicast() => Some(("multicast", 4)),
        IpAddr::V4(v4) if v4.is_broadcast() => Some(("broadcast", 32)),
        IpAddr::V6(v6) if v6.is_loopback() => Some(("loopback", 128)),
        IpAddr::V6(v6) if v6.is_unspecified() => Some(("unspecified", 128)),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(("link-local", 10)),
        IpAddr::V6(v6) if v6.is_multicast() => Some(("multicast", 8)),
        _ => None,
    }
}
