//! Who takes part.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::plan::{Case, Work};

/// A program, in one way of running it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    TcpCopy,
    Reference,
    UdpCall,
    UdpBatch,
    UdpRuns,
    Plain,
    Tls,
    Bridged,
    Nats,
    Zenoh,
    Iroh,
    IrohTls,
    IrohTlsPacked,
    Coturn,
    Mosquitto,
}

use Contender::{
    Bridged, Coturn, Iroh, IrohTls, IrohTlsPacked, Mosquitto, Nats, Plain, Reference, TcpCopy, Tls,
    UdpBatch, UdpCall, UdpRuns, Zenoh,
};

/// Whose program it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub(crate) enum Peer {
    /// The least that forwarding costs
    Baseline,
    /// Our relay
    Trunkline,
    /// nats-server
    Nats,
    /// zenohd
    Zenoh,
    /// iroh-relay
    Iroh,
    /// turnserver
    Coturn,
    /// mosquitto
    Mosquitto,
}

impl Peer {
    pub(crate) const ALL: [Self; 7] = [
        Self::Baseline,
        Self::Trunkline,
        Self::Nats,
        Self::Zenoh,
        Self::Iroh,
        Self::Coturn,
        Self::Mosquitto,
    ];

    /// What it is, and what it does not do.
    pub(crate) const fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Baseline => (
                "baselines",
                "small programs of ours in `perf/src` that forward and do nothing else: no keys, \
                 limits, priorities, fairness or accounting",
            ),
            Self::Trunkline => (
                "trunkline",
                "both ends proved by key; priorities, fair queues, limits and counters; links \
                 plain or TLS 1.3; does not store messages",
            ),
            Self::Nats => (
                "nats-server",
                "core publish and subscribe through a broker that is trusted with the content, in \
                 the clear; no priorities; parts with slow readers",
            ),
            Self::Zenoh => (
                "zenohd",
                "publish and subscribe through routers that are trusted with the content, in the \
                 clear; has priorities",
            ),
            Self::Iroh => (
                "iroh-relay",
                "forwards sealed datagrams between keys that have proved themselves, over \
                 WebSockets; plain HTTP here and TLS as it is deployed; drops what a slow reader \
                 does not take",
            ),
            Self::Coturn => (
                "coturn",
                "TURN over UDP, channel data, without log-in here; no encryption of its own, and \
                 none to undo",
            ),
            Self::Mosquitto => (
                "mosquitto",
                "MQTT at quality of service 0 through a broker that is trusted with the content, \
                 in the clear",
            ),
        }
    }

    /// The program that has to be there, and how it gets there.
    const fn program(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Baseline | Self::Trunkline => return None,
            Self::Nats => ("nats-server", "apt-get install nats-server"),
            Self::Zenoh => ("zenohd", "perf/peers.sh zenohd"),
            Self::Iroh => ("iroh-relay", "perf/peers.sh iroh-relay"),
            Self::Coturn => ("turnserver", "apt-get install coturn"),
            Self::Mosquitto => ("mosquitto", "apt-get install mosquitto"),
        })
    }

    /// What its driver is called, if that is a program of its own.
    const fn driver(self) -> Option<&'static str> {
        match self {
            Self::Zenoh => Some("zenohload"),
            Self::Iroh => Some("irohload"),
            _ => None,
        }
    }

    /// Whether everything it takes is here; otherwise what is missing.
    pub(crate) fn find(self, place: &Place) -> Result<(), String> {
        let Some((program, how)) = self.program() else { return Ok(()) };
        for name in std::iter::once(program).chain(self.driver()) {
            if place.program(name).is_none() {
                return Err(format!("{name} is not here ({how})"));
            }
        }
        Ok(())
    }

    /// What it calls its version.
    pub(crate) fn version(self, place: &Place) -> Option<String> {
        let (program, _) = self.program()?;
        let flag = match self {
            Self::Mosquitto => "-h",
            _ => "--version",
        };
        let path = place.program(program)?;
        let said = std::process::Command::new(path).arg(flag).output().ok()?;
        let text = [said.stdout, said.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.split_ascii_whitespace().find_map(version).map(str::to_owned)
    }
}

/// A word that is a version: digits with points between them, after a `v` perhaps.
fn version(word: &str) -> Option<&str> {
    let word = word.trim_start_matches('v').split(['-', ',', ';']).next()?;
    let mut parts = word.split('.');
    let numbers = parts.clone().count() >= 3;
    let all = parts.all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    (numbers && all).then_some(word)
}

impl Contender {
    /// Whose it is.
    pub(crate) const fn peer(self) -> Peer {
        match self {
            TcpCopy | Reference | UdpCall | UdpBatch | UdpRuns => Peer::Baseline,
            Plain | Tls | Bridged => Peer::Trunkline,
            Nats => Peer::Nats,
            Zenoh => Peer::Zenoh,
            Iroh | IrohTls | IrohTlsPacked => Peer::Iroh,
            Coturn => Peer::Coturn,
            Mosquitto => Peer::Mosquitto,
        }
    }

    /// What it is called in tables.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            TcpCopy => "TCP copy, one connection",
            Reference => "reference relay, TCP",
            UdpCall => "UDP forwarder, a call a packet",
            UdpBatch => "UDP forwarder, batches",
            UdpRuns => "UDP forwarder, joined runs",
            Plain => "**trunkline**, plain links",
            Tls => "**trunkline**, TLS links",
            Bridged => "**trunkline**, bridged line",
            Nats => "nats-server",
            Zenoh => "zenohd",
            Iroh => "iroh-relay, plain",
            IrohTls => "iroh-relay, TLS",
            IrohTlsPacked => "iroh-relay, TLS, ten in a frame",
            Coturn => "coturn",
            Mosquitto => "mosquitto",
        }
    }
}

/// Measures one contender in one case, once.
///
/// # Errors
/// What went wrong, for the user.
pub(crate) fn measure(
    contender: Contender,
    case: &Case,
    place: &Place,
) -> Result<crate::figures::Figures, String> {
    use crate::contend::{baseline, coturn, iroh, mosquitto, nats, ours, zenoh};
    let shape = &case.shape;
    if case.work == Work::Stall {
        return match contender {
            Reference => baseline::stall(place, shape),
            Plain => ours::stall(place, shape),
            Nats => nats::stall(place, shape),
            Mosquitto => mosquitto::stall(place, shape),
            _ => Err("not measured with a stalled receiver".into()),
        };
    }
    match contender {
        TcpCopy => baseline::copy(place, shape),
        Reference => baseline::relay(place, shape),
        UdpCall => baseline::udp(place, shape, "call"),
        UdpBatch => baseline::udp(place, shape, "batch"),
        UdpRuns => baseline::udp(place, shape, "runs"),
        Plain => ours::hop(place, shape, "plain"),
        Tls => ours::hop(place, shape, "tls"),
        Bridged => ours::bridged(place, shape),
        Nats => nats::measure(place, shape),
        Zenoh => zenoh::measure(place, shape),
        Iroh => iroh::measure(place, shape, false, 1),
        IrohTls => iroh::measure(place, shape, true, 1),
        IrohTlsPacked => iroh::measure(place, shape, true, 10),
        Coturn => coturn::measure(place, shape),
        Mosquitto => mosquitto::measure(place, shape),
    }
}

/// Whether `path` is a file that can be run.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_among_words() {
        let found = |text: &str| text.split(' ').find_map(version).map(str::to_owned);
        assert_eq!(found("nats-server: v2.9.10"), Some("2.9.10".into()));
        assert_eq!(found("zenohd v1.10.2-mod built with"), Some("1.10.2".into()));
        assert_eq!(found("mosquitto version 2.0.11"), Some("2.0.11".into()));
        assert_eq!(found("no version 2 here"), None);
    }
}
