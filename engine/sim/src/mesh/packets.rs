//! What travels between the simulated switches, and how much of it.

use std::net::SocketAddr;

use bytes::Bytes;
use trunkline_proto::base::{Hashname, LineId};
use trunkline_proto::wire::packet::{Action, Packet as Json, Place};

/// What a packet inside a line is.
#[derive(Clone, Debug)]
pub(super) enum Inside {
    /// One of the words by which hashnames find each other, as it travels.
    Word(Bytes),
    Ping(u64),
    Pong,
    Try(u64),
    Tried(u64, Option<SocketAddr>),
}

/// A packet, by what stands for its seals: who sent it, and under which keys.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    /// `by` opens, and numbers the open.
    Open { by: Hashname, number: u64, meshes: bool },
    /// `by` answers that open.
    Opened { by: Hashname, number: u64, meshes: bool },
    /// In the line that the open of that number made.
    Sealed { by: Hashname, number: u64, inside: Inside },
    /// Three bytes that only open a NAT.
    Nothing,
    /// A packet outside any line.
    Loose(Bytes),
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// The name of the bridge it goes over.
    pub(super) bridge: Option<LineId>,
    pub(super) packet: Packet,
}

/// Datagrams sent, by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// Pings and pongs that keep lines.
    pub pings: u64,
    /// `seek` and `see`.
    pub seeks: u64,
    /// `op` and `key`.
    pub keys: u64,
    /// `pop`, `popping` and `popped`.
    pub pops: u64,
    /// `bridge`, `bridging` and `bridged`.
    pub bridges: u64,
    /// Opens and their answers, renewals included.
    pub opens: u64,
    /// Tries and their answers.
    pub tries: u64,
    /// Punches, and packets outside any line.
    pub loose: u64,
    /// Of all these, those a relay passed on for others.
    pub carried: u64,
}

impl Packets {
    /// All of them. What was carried is in its kind once and here a second time: it was sent twice.
    #[must_use]
    pub const fn all(&self) -> u64 {
        let said = self.pings + self.seeks + self.keys + self.pops + self.bridges;
        said + self.opens + self.tries + self.loose + self.carried
    }

    pub(super) fn count(&mut self, packet: &Packet) {
        let kind = match packet {
            Packet::Open { .. } | Packet::Opened { .. } => &mut self.opens,
            Packet::Nothing | Packet::Loose(_) => &mut self.loose,
            Packet::Sealed { inside, .. } => match inside {
                Inside::Ping(_) | Inside::Pong => &mut self.pings,
                Inside::Try(_) | Inside::Tried(..) => &mut self.tries,
                Inside::Word(bytes) => match action(bytes) {
                    Action::Seek | Action::See => &mut self.seeks,
                    Action::Op | Action::Key => &mut self.keys,
                    Action::Pop | Action::Popping | Action::Popped => &mut self.pops,
                    _ => &mut self.bridges,
                },
            },
        };
        *kind += 1;
    }
}

/// What a packet with JSON asks for.
pub(super) fn action(bytes: &Bytes) -> Action {
    let mut work = bytes.to_vec();
    Json::decode(&mut work).map_or(Action::Unhandled, |packet| packet.action(Place::Line))
}
