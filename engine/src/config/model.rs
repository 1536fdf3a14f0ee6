//! What a configuration says, as plain data, and what is so if it says nothing.
//!
//! These are the only defaults of the program; everything else takes what it is given. Programs
//! that embed a node may build a [`Config`] by hand, starting from [`Config::new`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use trunkline_proto::base::{Hashname, Limits};
use trunkline_proto::switch::meet::constants::LEVEL;

use super::gate::Gate;
use super::messages::Messages;
use super::rules::{HostPort, TargetRule};

/// The port of a node, UDP and TCP, where none is said.
pub const DEFAULT_PORT: u16 = 42_424;

/// Everything a node is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who it is.
    pub node: Node,
    /// Who else belongs to its space.
    pub space: Space,
    /// Where it can be reached.
    pub listen: Listen,
    /// The links it keeps up.
    pub links: Vec<Link>,
    /// Hashnames it can open a direct line to without asking anyone.
    pub peers: Vec<Peer>,
    /// What it does for others who look for each other.
    pub mesh: Mesh,
    /// Which messages it takes.
    pub gate: Gate,
    /// How messages are packed, and what is taken.
    pub messages: Messages,
    /// What others may reach through it.
    pub sock: Sock,
    /// Tunnels that are there as long as the node runs.
    pub proxies: Vec<Proxy>,
    /// What it serves to others over HTTP.
    pub http: Http,
    /// How browsers of this machine reach others.
    pub gateway: Gateway,
    /// How its owner talks to it.
    pub control: Control,
    /// How its work is spread over threads.
    pub placement: Placement,
    /// What it bears.
    pub limits: Limits,
    /// What it tells.
    pub log: Log,
}

impl Config {
    /// The configuration of an empty file with nothing but a key file.
    #[must_use]
    pub fn new(keys: PathBuf) -> Self {
        Self {
            node: Node { name: None, keys, state_dir: None, voucher: None, directory: None },
            space: Space::default(),
            listen: Listen::default(),
            links: Vec::new(),
            peers: Vec::new(),
            mesh: Mesh::default(),
            gate: Gate::default(),
            messages: Messages::default(),
            sock: Sock::default(),
            proxies: Vec::new(),
            http: Http::default(),
            gateway: Gateway::default(),
            control: Control::default(),
            placement: Placement::default(),
            limits: Limits::default(),
            log: Log::default(),
        }
    }
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What people call it in status and trace; the short hashname if there is none.
    pub name: Option<String>,
    /// The key file.
    pub keys: PathBuf,
    /// Where it keeps what must outlive it; see [`Config::state_dir`].
    pub state_dir: Option<PathBuf>,
    /// The file with the voucher by which it belongs to a closed space.
    pub voucher: Option<PathBuf>,
    /// The file of the members it answers for as an operator.
    pub directory: Option<PathBuf>,
}

/// `[space]` and `[[operator]]`: who belongs to the space of the key file. See
/// [`Config::membership`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Whether an operator has to vouch for everybody in it.
    pub closed: bool,
    /// Whose word that is.
    pub operators: Vec<Operator>,
}

/// `[[operator]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Who.
    pub hashname: Hashname,
    /// Where it listens on UDP.
    pub address: Option<HostPort>,
    /// Its key record, if that is not to be asked for at `address`.
    pub record: Option<RecordSource>,
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Sockets for lines over UDP.
    pub udp: Vec<SocketAddr>,
    /// Ports where neighbours link up.
    pub links: Vec<LinkListener>,
}

impl Default for Listen {
    fn default() -> Self {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), DEFAULT_PORT);
        let links = vec![LinkListener { address: any, transport: Transport::Tls }];
        Self { udp: vec![any], links }
    }
}

/// One port where neighbours link up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkListener {
    /// Where.
    pub address: SocketAddr,
    /// What runs over the connections.
    pub transport: Transport,
}

/// `[[link]]`: an adjacency this node dials and keeps up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What people call it; the address if nothing was said.
    pub name: String,
    /// Where the neighbour listens.
    pub address: HostPort,
    /// Who has to answer there.
    pub hashname: Hashname,
    /// What runs over the connection.
    pub transport: Transport,
    /// What a package pays for crossing it, at least 1.
    pub cost: u32,
}

impl Link {
    /// The cost of a link where none is said: room for cheaper and for dearer ones.
    pub const DEFAULT_COST: u32 = 10;
    /// The highest cost, so that a path of [`Limits::ttl`] hops stays far from overflow.
    pub const MAX_COST: u32 = 65_535;
}

/// `[[peer]]`: a hashname whose record and addresses are known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub hashname: Hashname,
    /// Its key record; see [`Peer::key_record`]. Without one it is asked for at the addresses.
    pub record: Option<RecordSource>,
    /// Where it listens on UDP.
    pub addresses: Vec<HostPort>,
    /// Whether a line to it is kept, to be found and to find others through it.
    pub introducer: bool,
}

/// `[mesh]`: what the node does for others who look for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// Whether it answers those who look for hashnames, introduces them, and keeps lines for that.
    pub spacer: bool,
    /// Lines it aims at.
    pub level: usize,
    /// Pairs of hashnames whose packets it carries at once.
    pub bridges: usize,
    /// Bytes a second it carries for each of them, each way.
    pub bridge_rate: u64,
    /// How long it carries before they have to ask again.
    pub bridge_time: Duration,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            spacer: false,
            level: LEVEL,
            bridges: 256,
            bridge_rate: 8 << 20,
            bridge_time: Duration::from_secs(600),
        }
    }
}

/// Where a peer's key record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordSource {
    /// In the configuration, as `trunkline keys show --record` prints it.
    Inline(String),
    /// In a file of that content.
    File(PathBuf),
}

/// `[sock]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sock {
    /// The targets remote hashnames may reach; none unless listed.
    pub allow: Vec<TargetRule>,
}

/// `[[proxy]]`: a local port that leads to a target behind another hashname.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Who reaches the target for us.
    pub hashname: Hashname,
    /// What is reached, as seen from there.
    pub target: HostPort,
    /// Where local programs connect.
    pub listen: SocketAddr,
}

/// `[http]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// The server that requests of other hashnames go to; none are taken without one.
    pub backend: Option<HostPort>,
    /// Whether it hears the Host the asker wrote instead of its own address.
    pub pass_host: bool,
}

/// `[gateway]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateway {
    /// Where browsers connect; there is no gateway without it.
    pub listen: Option<SocketAddr>,
    /// `[gateway.names]`: what hashnames are called.
    pub names: BTreeMap<String, Hashname>,
}

/// `[control]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The control socket; see [`Config::control_socket`].
    pub socket: Option<PathBuf>,
}

/// `[placement]`: how work is spread over threads. 0 leaves a number to the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Whether the stages have threads of their own.
    pub mode: PlacementMode,
    /// Threads with a poller and a shard.
    pub workers: usize,
    /// Threads for streams, in spread placement.
    pub streams: usize,
    /// Threads for forwarding, in spread placement.
    pub forwarders: usize,
    /// Threads that write to sockets, in spread placement.
    pub writers: usize,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important thing that is told.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
}

/// An enumeration written as one of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word in the configuration.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// What runs over a link's TCP connection. Both are authenticated.
    Transport {
        /// TLS 1.3.
        #[default]
        Tls = "tls",
        /// Nothing: who can watch the wire sees who talks to whom, and how much.
        Plain = "plain",
    }
}

words! {
    /// How work is spread over threads.
    PlacementMode {
        /// As the cores suggest.
        #[default]
        Auto = "auto",
        /// Every stage runs on the shard's thread.
        Collapsed = "collapsed",
        /// Shards, streams, forwarding and writing have their own threads.
        Spread = "spread",
    }
}

words! {
    /// How important something must be to be told.
    LogLevel {
        /// What stops the node or a part of it.
        Error = "error",
        /// What the owner should look at.
        Warn = "warn",
        /// Links, lines and routes as they come and go.
        #[default]
        Info = "info",
        /// Why they did.
        Debug = "debug",
        /// Every step of it; still nothing per packet.
        Trace = "trace",
    }
}

words! {
    /// How log lines look.
    LogFormat {
        /// For people.
        #[default]
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}
