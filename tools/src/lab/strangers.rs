//! Two guests that have never met, each behind gates, and the relay that introduces them.
//!
//! ```text
//!   a ── gates ── net ── gates ── b        guests know the relay's address and hashname,
//!                  │                       and of each other the hashname
//!                  v                       relay: [mesh] spacer = true
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use trunkline::control::protocol::PingAsk;
use trunkline_sim::emulator::Conditions;

use super::nodes::{Duties, Node, Nodes, PORT, wait_for};
use super::{Family, Gate, Host, Lab, LabError, Nat};
use crate::clock::Clock;

/// What stands in front of two guests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Each has a gate.
    Apart(Nat, Nat),
    /// Both are behind one gate and reach each other there.
    Household(Nat),
    /// Both are behind one gate that keeps them apart, and they cannot turn round at it.
    Customers(Nat),
    /// The first is behind two gates in a row, named from the inside; the second behind one.
    Doubled([Nat; 2], Nat),
    /// Each has a gate, and both of these are behind a third.
    Carrier([Nat; 2], Nat),
}

impl Place {
    /// What the two are behind, for people.
    #[must_use]
    pub fn labels(self) -> [String; 2] {
        let one = |n: Nat| n.label().to_owned();
        match self {
            Self::Apart(a, b) => [one(a), one(b)],
            Self::Household(n) => [one(n), "same, one network".to_owned()],
            Self::Customers(n) => [one(n), "same, kept apart".to_owned()],
            Self::Doubled([inner, outer], b) => {
                [format!("{} in {}", inner.label(), outer.label()), one(b)]
            }
            Self::Carrier([a, b], c) => {
                [a, b].map(|n| format!("{} in shared {}", n.label(), c.label()))
            }
        }
    }
}

/// One of the two.
#[derive(Debug)]
pub struct Guest {
    /// Where it is.
    pub host: Host,
    /// Its node.
    pub node: Node,
    /// What is right in front of it.
    pub gate: Gate,
    /// Its address for the world, as far as it has one: the outermost gate's.
    pub outside: Ipv4Addr,
}

/// All of them.
#[derive(Debug)]
pub struct Strangers {
    /// The files.
    pub nodes: Nodes,
    /// What lies between.
    pub net: Host,
    /// Who introduces and carries.
    pub relay: Node,
    /// Its host.
    pub relay_host: Host,
    /// Where it listens: over IPv4, unless no guest speaks that.
    pub relay_at: SocketAddr,
    /// The two.
    pub guests: [Guest; 2],
}

/// What a set-up may differ in.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the guests' ways to `net` are like: wires if given.
    pub far: Option<Conditions>,
    /// What others may reach through the second guest.
    pub allow: Vec<String>,
    /// More of the relay's configuration, in its section `[mesh]`.
    pub relay: String,
    /// What each guest speaks, if they are [`Place::Apart`]; the relay and what lies between speak
    /// all of it.
    pub speak: [Family; 2],
}

/// How two met.
#[derive(Clone, Debug)]
pub struct Met {
    /// From the question to the answer; none if there was none.
    pub first: Option<Duration>,
    /// From the question until both had the way they ended with.
    pub settled: Duration,
    /// That way, as each of them says.
    pub ways: [String; 2],
}

impl Met {
    /// Whether both send to each other themselves.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.ways.iter().all(|w| w.starts_with("direct"))
    }

    /// Whether both send over a relay.
    #[must_use]
    pub fn is_bridged(&self) -> bool {
        self.ways.iter().all(|w| w.starts_with("bridge"))
    }
}

impl Lab {
    /// Builds the place and starts the nodes; both guests have their line to the relay when this
    /// is back, and have not asked for each other.
    ///
    /// # Errors
    /// If a part cannot be made or started.
    ///
    /// # Panics
    /// If a node does not come up or gets no line to the relay.
    pub fn strangers(&mut self, place: Place, options: &Options) -> Result<Strangers, LabError> {
        let [first, second] = options.speak;
        let family = first.and(second);
        self.speak(family);
        let net = self.net("net")?;
        let relay_host = self.host("v")?;
        let link = self.link(&relay_host, &net)?;
        relay_host.route_by(&link.b)?;
        let relay_at = link.a.addresses();
        let gates = self.gates(place, &net, options)?;

        let nodes = Nodes::new();
        let [v, a, b] = ["v", "a", "b"].map(|name| nodes.keys(name));
        let more = format!("[mesh]\nspacer = true\n{}", options.relay);
        let duties = Duties { udp: true, family, more: &more, ..Duties::default() };
        let relay = nodes.start(&relay_host, "v", &v, &duties)?;
        let mut guest = |name, hashname: &str, (gate, outside): (Gate, Ipv4Addr), allow| {
            let family = gate.outside.family;
            self.speak(family);
            let (host, _) = self.behind(name, &gate)?;
            let reach = |a: &&IpAddr| if a.is_ipv4() { family.has_v4() } else { family.has_v6() };
            let at: Vec<String> = relay_at
                .iter()
                .filter(reach)
                .map(|a| SocketAddr::new(*a, PORT).to_string())
                .collect();
            let peer =
                format!("[[peer]]\nhashname = \"{v}\"\naddresses = {at:?}\nintroducer = true\n");
            let duties = Duties { udp: true, family, allow, more: &peer, ..Duties::default() };
            let node = nodes.start(&host, name, hashname, &duties)?;
            Ok::<_, LabError>(Guest { host, node, gate, outside })
        };
        let [first, second] = gates;
        let guests =
            [guest("a", &a, first, Vec::new())?, guest("b", &b, second, options.allow.clone())?];
        for guest in &guests {
            let lined = || guest.node.why(&v).way.starts_with("direct");
            wait_for("a line to the relay", lined);
        }
        let relay_at = SocketAddr::new(link.a.first_address(), PORT);
        Ok(Strangers { nodes, net, relay, relay_host, relay_at, guests })
    }

    /// The innermost gate of each, and the address of the outermost.
    fn gates(
        &mut self,
        place: Place,
        net: &Host,
        options: &Options,
    ) -> Result<[(Gate, Ipv4Addr); 2], LabError> {
        let far = options.far;
        let with = |gate: Gate| {
            let outside = gate.outside.address;
            (gate, outside)
        };
        Ok(match place {
            Place::Apart(a, b) => {
                self.speak(options.speak[0]);
                let a = with(self.gate("nata", a, net, far)?);
                self.speak(options.speak[1]);
                [a, with(self.gate("natb", b, net, far)?)]
            }
            Place::Household(kind) | Place::Customers(kind) => {
                let gate = self.gate("nat", kind, net, far)?;
                if matches!(place, Place::Customers(_)) {
                    gate.isolate()?;
                }
                [with(gate.clone()), with(gate)]
            }
            Place::Doubled([inner, outer], b) => {
                let outer = self.gate("outer", outer, net, far)?;
                let inner = self.gate("nata", inner, &outer.host, None)?;
                [(inner, outer.outside.address), with(self.gate("natb", b, net, far)?)]
            }
            Place::Carrier([a, b], carrier) => {
                let outer = self.gate("outer", carrier, net, far)?;
                let [a, b] = [("nata", a), ("natb", b)]
                    .map(|(name, kind)| self.gate(name, kind, &outer.host, None));
                let outside = outer.outside.address;
                [(a?, outside), (b?, outside)]
            }
        })
    }
}

impl Strangers {
    /// The first guest asks for the second, and both are watched until they reach each other
    /// directly, or for `patience` after the answer.
    #[must_use]
    pub fn meet(&self, patience: Duration) -> Met {
        let [a, b] = [&self.guests[0].node, &self.guests[1].node];
        let clock = Clock::start();
        // A ping is sent once: where packets are lost it is the caller who asks again.
        let ask = || PingAsk { timeout_ms: 1_000, ..PingAsk::once(String::new()) };
        let end = clock.now() + Duration::from_secs(20);
        let reaches = || a.ping(&b.hashname, ask()).is_some_and(|s| s.received > 0);
        let mut answered = reaches();
        while !answered && clock.now() < end {
            answered = reaches();
        }
        let mut met = Met {
            first: answered.then(|| Duration::from_nanos(clock.nanos())),
            settled: Duration::ZERO,
            ways: [const { String::new() }; 2],
        };
        let end = clock.now() + patience;
        while !met.is_direct() && clock.now() < end {
            let ways = self.ways();
            if ways != met.ways {
                met = Met { ways, settled: Duration::from_nanos(clock.nanos()), ..met };
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        met
    }

    /// The way each of the two sends to the other now; empty without a line.
    #[must_use]
    pub fn ways(&self) -> [String; 2] {
        let [a, b] = [&self.guests[0].node, &self.guests[1].node];
        [a.why(&b.hashname).way, b.why(&a.hashname).way]
    }

    /// What each knows of the way to the other, and what their logs say: for messages of tests
    /// that fail.
    #[must_use]
    pub fn account(&self) -> String {
        let [a, b] = [&self.guests[0].node, &self.guests[1].node];
        let log = |n: &Node| self.nodes.log(&n.name);
        let whys = [a.why(&b.hashname), b.why(&a.hashname)];
        format!("{whys:#?}\na:\n{}b:\n{}v:\n{}", log(a), log(b), log(&self.relay))
    }
}
