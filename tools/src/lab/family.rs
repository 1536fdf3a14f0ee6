//! Which of the two Internets hosts and links speak.

use std::net::{IpAddr, SocketAddr};

use super::{End, Host, Lab, LabError};

/// The addresses that hosts and links have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Family {
    /// IPv4 alone.
    #[default]
    V4,
    /// IPv6 alone: no host has an IPv4 address but its loopback.
    V6,
    /// Both.
    Both,
}

impl Family {
    /// Whether there is IPv4.
    #[must_use]
    pub const fn has_v4(self) -> bool {
        matches!(self, Self::V4 | Self::Both)
    }

    /// Whether there is IPv6.
    #[must_use]
    pub const fn has_v6(self) -> bool {
        matches!(self, Self::V6 | Self::Both)
    }

    /// What is in either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::V4, Self::V4) => Self::V4,
            (Self::V6, Self::V6) => Self::V6,
            _ => Self::Both,
        }
    }

    /// What a socket for all of it listens at.
    #[must_use]
    pub fn listen(self, port: u16) -> Vec<SocketAddr> {
        let v4 = self.has_v4().then(|| SocketAddr::from(([0, 0, 0, 0], port)));
        let v6 = self.has_v6().then(|| SocketAddr::from(([0; 8], port)));
        v4.into_iter().chain(v6).collect()
    }
}

impl Lab {
    /// Says what the hosts and links made from here on speak: IPv4, until this is called. A link
    /// must not speak what one of its hosts does not.
    pub const fn speak(&mut self, family: Family) {
        self.family = family;
    }
}

impl End {
    /// The first of [`addresses`](Self::addresses).
    #[must_use]
    pub const fn first_address(&self) -> IpAddr {
        match self.family {
            Family::V4 | Family::Both => IpAddr::V4(self.address),
            Family::V6 => IpAddr::V6(self.address_v6),
        }
    }

    /// The addresses of this end, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let v4 = self.family.has_v4().then_some(IpAddr::V4(self.address));
        let v6 = self.family.has_v6().then_some(IpAddr::V6(self.address_v6));
        v4.into_iter().chain(v6).collect()
    }
}

impl Host {
    /// Sends everything that has no better way over the other end of a link.
    ///
    /// # Errors
    /// As `ip` reports.
    pub fn route_by(&self, via: &End) -> Result<(), LabError> {
        for address in via.addresses() {
            let version = if address.is_ipv4() { "-4" } else { "-6" };
            self.ip(&[version, "route", "replace", "default", "via", &address.to_string()])?;
        }
        Ok(())
    }
}
