//! How near hashnames are to each other, which bucket one falls into, and which network an address
//! belongs to.

use std::net::{IpAddr, SocketAddr};

use crate::base::Hashname;

/// The XOR distance of two hashnames: smaller is nearer.
#[must_use]
pub fn distance(a: &Hashname, b: &Hashname) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(a.as_bytes().iter().zip(b.as_bytes())).for_each(|(o, (a, b))| *o = a ^ b);
    out
}

/// The bucket of `other` as seen from `us`: how many leading bits they share, 0 to 255; 256 for
/// the same hashname.
#[must_use]
pub fn bucket(us: &Hashname, other: &Hashname) -> u16 {
    let mut shared = 0;
    for byte in distance(us, other) {
        shared += u16::try_from(byte.leading_zeros()).unwrap_or(0);
        if byte != 0 {
            break;
        }
    }
    shared
}

/// A network whose addresses one owner can have by the thousand: IPv4 /24, IPv6 /48. A private
/// address is a network of its own, since whoever shares a private network is known to its owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Network([u8; 18]);

impl Network {
    /// The network of an address.
    #[must_use]
    pub fn of(at: &SocketAddr) -> Self {
        let mut out = [0; 18];
        let mut fill = |from: &[u8]| out.iter_mut().zip(from).for_each(|(o, b)| *o = *b);
        let port = at.port().to_be_bytes();
        match at.ip().to_canonical() {
            IpAddr::V4(ip) if ip.is_private() || ip.is_loopback() || ip.is_link_local() => {
                let [a, b, c, d] = ip.octets();
                fill(&[4, a, b, c, d, port[0], port[1]]);
            }
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                fill(&[4, a, b, c]);
            }
            IpAddr::V6(ip) if is_private(&ip) => {
                let whole = [ip.octets().as_slice(), &port].concat();
                fill(&whole);
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                fill(&[6, a, b, c, d, e, f]);
            }
        }
        Self(out)
    }
}

fn is_private(ip: &std::net::Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
}

/// Whether a packet to this address can be meant for one host.
#[must_use]
pub fn is_somewhere(at: &SocketAddr) -> bool {
    let one = match at.ip().to_canonical() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    one && at.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(first: u8, last: u8) -> Hashname {
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (first, last);
        Hashname::new(bytes)
    }

    #[test]
    fn s10_the_bucket_is_the_number_of_leading_bits_shared() {
        assert_eq!(bucket(&name(0, 0), &name(0x80, 0)), 0);
        assert_eq!(bucket(&name(0, 0), &name(1, 0)), 7);
        assert_eq!(bucket(&name(0, 0), &name(0, 1)), 255);
        assert_eq!(bucket(&name(3, 3), &name(3, 3)), 256);
        assert!(distance(&name(0, 0), &name(1, 0)) > distance(&name(0, 0), &name(0, 255)));
    }

    #[test]
    fn s26_a_public_24_is_one_network_and_private_addresses_are_many() {
        let of = |text: &str| Network::of(&text.parse().unwrap());
        assert_eq!(of("203.0.113.1:1"), of("203.0.113.200:9"));
        assert_ne!(of("203.0.113.1:1"), of("203.0.112.1:1"));
        assert_eq!(of("[2001:db8:1::1]:1"), of("[2001:db8:1:2::9]:1"));
        assert_ne!(of("192.168.0.1:1"), of("192.168.0.2:1"));
        assert_ne!(of("127.0.0.1:1"), of("127.0.0.1:2"));
        assert_ne!(of("[fd00::1]:1"), of("[fd00::2]:1"));
    }

    #[test]
    fn s22_an_address_that_is_nobodys_is_known() {
        for text in
            ["0.0.0.0:5", "255.255.255.255:5", "224.0.0.1:5", "[::]:5", "[ff02::1]:5", "1.2.3.4:0"]
        {
            assert!(!is_somewhere(&text.parse().unwrap()), "{text}");
        }
        assert!(is_somewhere(&"1.2.3.4:5".parse().unwrap()));
    }
}
