//! Socket addresses in the kernel's layout, and one name per peer.
//!
//! Owns the translation, bytewise and without unsafe code; it never resolves a name. An IPv6 socket
//! sees IPv4 peers under mapped addresses (`::ffff:a.b.c.d`); everything above knows them as IPv4,
//! or one peer would have two names.

use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::c_int;

/// Size of the larger of the two socket addresses (`sockaddr_in6`).
pub(super) const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// A socket address in the kernel's layout, filled and read bytewise.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Name {
    pub(super) bytes: [u8; NAME_BYTES],
    pub(super) len: u8,
}

impl Name {
    pub(super) const EMPTY: Name = Name { bytes: [0; NAME_BYTES], len: 0 };

    /// The address as a socket of the given family wants it: on an IPv6 socket an IPv4 address
    /// travels mapped (`::ffff:a.b.c.d`).
    pub(crate) fn encode(addr: SocketAddr, v6_socket: bool) -> Name {
        match addr {
            SocketAddr::V4(v4) if v6_socket => {
                let mapped = SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0);
                Name::encode_v6(&mapped)
            }
            SocketAddr::V4(v4) => {
                let mut name = Name::EMPTY;
                name.bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                name.bytes[2..4].copy_from_slice(&v4.port().to_be_bytes());
                name.bytes[4..8].copy_from_slice(&v4.ip().octets());
                name.len = size_of::<libc::sockaddr_in>() as u8;
                name
            }
            SocketAddr::V6(v6) => Name::encode_v6(&v6),
        }
    }

    fn encode_v6(addr: &SocketAddrV6) -> Name {
        let mut name = Name::EMPTY;
        name.bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        name.bytes[2..4].copy_from_slice(&addr.port().to_be_bytes());
        name.bytes[4..8].copy_from_slice(&addr.flowinfo().to_be_bytes());
        name.bytes[8..24].copy_from_slice(&addr.ip().octets());
        name.bytes[24..28].copy_from_slice(&addr.scope_id().to_ne_bytes());
        name.len = NAME_BYTES as u8;
        name
    }

    /// The canonical address (a mapped IPv4 address comes back as IPv4), or nothing when the
    /// kernel gave no internet address.
    pub(super) fn decode(&self, len: usize) -> Option<SocketAddr> {
        let family = c_int::from(u16::from_ne_bytes([self.bytes[0], self.bytes[1]]));
        let port = u16::from_be_bytes([self.bytes[2], self.bytes[3]]);
        match family {
            libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => {
                let ip: [u8; 4] = self.bytes[4..8].try_into().ok()?;
                Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
            }
            libc::AF_INET6 if len >= NAME_BYTES => {
                let ip: [u8; 16] = self.bytes[8..24].try_into().ok()?;
                let ip = Ipv6Addr::from(ip);
                if let Some(v4) = ip.to_ipv4_mapped() {
                    return Some(SocketAddrV4::new(v4, port).into());
                }
                let scope = u32::from_ne_bytes(self.bytes[24..28].try_into().ok()?);
                Some(SocketAddrV6::new(ip, port, 0, scope).into())
            }
            _ => None,
        }
    }
}

/// An IPv4 address as IPv4, even when an IPv6 socket saw it.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => addr,
        },
        SocketAddr::V4(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::{NAME_BYTES, Name, canonical};
    use std::net::SocketAddr;

    #[test]
    fn addresses_survive_the_kernels_layout() {
        for text in
            ["1.2.3.4:5", "255.255.255.255:65535", "[::1]:80", "[fe80::1%7]:9", "[2001:db8::5]:1"]
        {
            let addr: SocketAddr = text.parse().unwrap();
            let name = Name::encode(addr, addr.is_ipv6());
            assert_eq!(name.decode(usize::from(name.len)), Some(addr), "{text}");
            assert_eq!(name.decode(3), None, "cut short");
            if addr.is_ipv4() {
                let mapped = Name::encode(addr, true);
                assert_eq!(usize::from(mapped.len), NAME_BYTES);
                assert_eq!(mapped.decode(NAME_BYTES), Some(addr), "{text} on an IPv6 socket");
            }
        }
        assert_eq!(Name::EMPTY.decode(NAME_BYTES), None, "no internet address");
    }

    #[test]
    fn a_mapped_address_has_one_name() {
        let mapped: SocketAddr = "[::ffff:1.2.3.4]:5".parse().unwrap();
        assert_eq!(canonical(mapped), "1.2.3.4:5".parse().unwrap());
        let other: SocketAddr = "[::1]:5".parse().unwrap();
        assert_eq!(canonical(other), other);
    }
}
