//! Where something came in, for rules about entrances.

use super::Address;

/// Where a package or a datagram came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entrance {
    /// The listening port of the link or of the UDP socket; none on a link that we dialled.
    pub port: Option<u16>,
    /// The neighbour it came over; none if its line is direct.
    pub neighbour: Option<Address>,
}

impl Entrance {
    /// A UDP socket at this port.
    #[must_use]
    pub const fn udp(port: u16) -> Self {
        Self { port: Some(port), neighbour: None }
    }
}
