//! What stands in front of a simulated switch: whom it lets in, and as whom it shows the switch.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use trunkline_proto::base::Instant;

/// A NAT forgets whom its host has sent to after this long.
const FORGETS: Duration = Duration::from_secs(120);
/// More entries than this and the old ones are thrown out.
const MANY: usize = 1_024;

/// The kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Nothing.
    Open,
    /// One port for all; lets in by address and port.
    Cone,
    /// Another port for each destination; lets in by address and port.
    Symmetric,
}

/// One switch's.
#[derive(Debug)]
pub(super) struct Nat {
    kind: Kind,
    home: SocketAddr,
    /// By destination: the port shown there, and when it was last used.
    sent: BTreeMap<SocketAddr, (u16, Instant)>,
    ports: u16,
}

impl Nat {
    pub(super) const fn new(kind: Kind, home: SocketAddr) -> Self {
        Self { kind, home, sent: BTreeMap::new(), ports: 0 }
    }

    /// Where the switch is seen by whoever it sends to first.
    pub(super) const fn home(&self) -> SocketAddr {
        self.home
    }

    /// The address a datagram to `to` comes from.
    pub(super) fn out(&mut self, now: Instant, to: SocketAddr) -> SocketAddr {
        if self.kind == Kind::Open {
            return self.home;
        }
        if self.sent.len() > MANY {
            self.sent.retain(|_, (_, at)| now.since(*at) < FORGETS);
        }
        let held = self.sent.get(&to).filter(|(_, at)| now.since(*at) < FORGETS);
        let port = match (held, self.kind) {
            (Some((port, _)), _) => *port,
            (None, Kind::Symmetric) => {
                self.ports = (self.ports + 1) % 40_000;
                20_000 + self.ports
            }
            (None, Kind::Open | Kind::Cone) => self.home.port(),
        };
        self.sent.insert(to, (port, now));
        SocketAddr::new(self.home.ip(), port)
    }

    /// Whether a datagram gets through to the switch.
    pub(super) fn lets_in(&self, now: Instant, from: SocketAddr, to: SocketAddr) -> bool {
        match self.kind {
            Kind::Open => to == self.home,
            Kind::Cone | Kind::Symmetric => self
                .sent
                .get(&from)
                .is_some_and(|(port, at)| *port == to.port() && now.since(*at) < FORGETS),
        }
    }
}
