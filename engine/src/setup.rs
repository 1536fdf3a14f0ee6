//! What a node is started with: a configuration made concrete. Files are read and names resolved
//! here, once; the threads see addresses and keys only.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use trunkline_proto::base::{Hashname, Limits};
use trunkline_proto::crypto::{Identity, KeyRecord, SpaceRules};
use trunkline_proto::message::Settings;
use trunkline_proto::proxy::{AllowList, Rule};
use trunkline_proto::stage::plan::Plan;
use trunkline_proto::switch::meet::Terms;
use trunkline_proto::switch::streams::StreamLimits;
use trunkline_proto::wire::link::Cost;
use trunkline_proto::wire::sequence::Sequence;

use crate::callbacks::Callbacks;
use crate::config::{Config, Gate, Mesh, PlacementMode, TargetHosts, Transport};
use crate::directory::{Directory, Register};
#[cfg(feature = "http")]
use crate::http::{Backend, GatewaySetup, HttpSetup};

/// A port where neighbours link up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// What runs over the connections.
    pub transport: Transport,
    /// Our cost of sending to those who link up here.
    pub cost: Cost,
}

/// A link this node keeps up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// What people call it.
    pub name: String,
    /// Where the neighbour listens: the first address that answers is used.
    pub addresses: Vec<SocketAddr>,
    /// Who has to answer.
    pub hashname: Hashname,
    /// What runs over the connection.
    pub transport: Transport,
    /// Our cost of sending there.
    pub cost: Cost,
}

/// A hashname known beforehand.
#[derive(Clone, Debug)]
pub struct Known {
    /// Who.
    pub hashname: Hashname,
    /// Its verified record; asked for at the addresses if there is none.
    pub record: Option<Arc<KeyRecord>>,
    /// Where it listens on UDP.
    pub addresses: Vec<SocketAddr>,
}

/// An operator and where it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorAt {
    /// Who.
    pub hashname: Hashname,
    /// Where it listens on UDP; none if only its record is known.
    pub addresses: Vec<SocketAddr>,
}

/// A tunnel that is there as long as the node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingProxy {
    /// Who reaches the target.
    pub peer: Hashname,
    /// What is reached from there.
    pub target: String,
    /// Where local programs connect.
    pub listen: SocketAddr,
}

/// Everything a node is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Who belongs to its space, and the voucher it shows. Shared with the running node: what is
    /// learned or renewed here counts at once.
    pub space: Arc<SpaceRules>,
    /// What people call it.
    pub name: String,
    /// Sockets for lines over UDP.
    pub udp: Vec<SocketAddr>,
    /// Ports where neighbours link up.
    pub listeners: Vec<Listener>,
    /// Links it keeps up.
    pub dials: Vec<Dial>,
    /// Hashnames known beforehand.
    pub known: Vec<Known>,
    /// The operators of its space and where they listen on UDP, also of those whose record is not
    /// known yet. The ones whose record is known are among `known`, too.
    pub operators: Vec<OperatorAt>,
    /// What it answers from as an operator, if it is one.
    pub directory: Option<Arc<dyn Directory>>,
    /// The same as its owner edits it, if it is the node's own.
    pub register: Option<Arc<Register>>,
    /// What it does for others who look for each other, and whom it keeps a line to so that it is
    /// found. Operators, the directory and own addresses are added at the start.
    pub terms: Terms,
    /// How it packs messages and what it takes.
    pub messages: Settings,
    /// What peers may reach.
    pub allow: AllowList,
    /// Which messages it takes.
    pub gate: Gate,
    /// Tunnels that are there as long as it runs.
    pub proxies: Vec<StandingProxy>,
    /// Who does what.
    pub plan: Plan,
    /// The bounds.
    pub limits: Limits,
    /// The bounds of streams.
    pub stream_limits: StreamLimits,
    /// Most pieces of memory that one write to a link takes, each a run of frames that go the
    /// same way. Fewer than the default serve to measure what such a neighbour costs.
    pub pieces_per_write: usize,
    /// Whether runs of datagrams leave as one segmented send. Off, it serves to measure what a
    /// neighbour costs whose kernel cannot do that.
    pub segment_datagrams: bool,
    /// What the application wants to be told.
    pub callbacks: Callbacks,
    /// What HTTP it serves.
    #[cfg(feature = "http")]
    pub http: HttpSetup,
}

/// Why a configuration could not be made concrete.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The key file.
    #[error(transparent)]
    Keys(#[from] crate::config::keyfile::KeysError),
    /// The space would not let the node in.
    #[error("{option}: {error}", option = .0.option(), error = .0)]
    Membership(#[from] crate::config::membership::MembershipError),
    /// The directory of an operator.
    #[error(transparent)]
    Directory(#[from] crate::directory::DirectoryError),
    /// A name did not resolve.
    #[error("cannot resolve {what}: {source}; check the name, or write the address")]
    Resolve {
        /// What the configuration says.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// HTTP is wanted and was left out when this was built.
    #[error("this program was built without HTTP: [http] and [gateway] cannot be used")]
    NoHttp,
    /// A peer's record.
    #[error("the record of peer {hashname} cannot be used: {why}")]
    Record {
        /// Whose.
        hashname: Hashname,
        /// Why.
        why: String,
    },
}

impl Setup {
    /// A node with an identity and nothing else: no ports, no links, nothing allowed.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let name = identity.hashname().short();
        Self {
            space: Arc::new(SpaceRules::open(*identity.space())),
            identity: Arc::new(identity),
            name,
            udp: Vec::new(),
            listeners: Vec::new(),
            dials: Vec::new(),
            known: Vec::new(),
            operators: Vec::new(),
            directory: None,
            register: None,
            terms: Terms { bridges: Mesh::default().bridges, ..Terms::default() },
            messages: Settings { sequence: Some(Sequence::MA), ..Settings::default() },
            allow: AllowList::default(),
            gate: Gate::default(),
            proxies: Vec::new(),
            plan: default_plan(),
            limits: Limits::default(),
            stream_limits: StreamLimits::default(),
            pieces_per_write: crate::runtime::links::PIECES,
            segment_datagrams: true,
            callbacks: Callbacks::default(),
            #[cfg(feature = "http")]
            http: HttpSetup::default(),
        }
    }

    /// Reads the files and resolves the names of a configuration.
    ///
    /// # Errors
    /// [`SetupError`], naming what is wrong.
    pub fn from_config(config: &Config) -> Result<Self, SetupError> {
        let identity = crate::config::keyfile::read(&config.node.keys)?;
        let mut setup = Self::new(identity);
        if let Some(name) = &config.node.name {
            setup.name.clone_from(name);
        }
        setup.udp.clone_from(&config.listen.udp);
        setup.limits = config.limits.clone();
        setup.plan = plan(config);
        for l in &config.listen.links {
            let cost = cost(crate::config::Link::DEFAULT_COST);
            setup.listeners.push(Listener { address: l.address, transport: l.transport, cost });
        }
        for link in &config.links {
            setup.dials.push(Dial {
                name: link.name.clone(),
                addresses: resolve(&link.address)?,
                hashname: link.hashname,
                transport: link.transport,
                cost: cost(link.cost),
            });
        }
        for peer in &config.peers {
            let bad = |why: String| SetupError::Record { hashname: peer.hashname, why };
            let record = peer
                .key_record(crate::runtime::clock::Clock::wall())
                .map_err(|e| bad(e.to_string()))?;
            let mut addresses = Vec::new();
            for address in &peer.addresses {
                addresses.extend(resolve(address)?);
            }
            let (hashname, record) = (peer.hashname, record.map(Arc::new));
            setup.known.push(Known { hashname, record, addresses });
            if peer.introducer {
                setup.terms.introducers.push(hashname);
            }
        }
        let Mesh { spacer, level, bridges, bridge_rate, bridge_time } = config.mesh;
        setup.terms = Terms { spacer, level, bridges, bridge_rate, bridge_time, ..setup.terms };
        setup.messages = config.messages.settings(&setup.identity.hashname());
        setup.join(config)?;
        setup.allow = allow_list(config)?;
        setup.gate = config.gate.clone();
        for p in &config.proxies {
            let (peer, target, listen) = (p.hashname, p.target.to_string(), p.listen);
            setup.proxies.push(StandingProxy { peer, target, listen });
        }
        add_http(&mut setup, config)?;
        Ok(setup)
    }
}

impl Setup {
    /// Takes what the configuration says of the space: rules, operators, the own directory.
    fn join(&mut self, config: &Config) -> Result<(), SetupError> {
        let own = self.identity.record();
        let membership = config.membership(own, crate::runtime::clock::Clock::wall())?;
        self.space = Arc::new(membership.rules);
        for operator in &config.space.operators {
            let address = operator.address.as_ref().map(resolve).transpose()?;
            let addresses = address.unwrap_or_default();
            self.operators.push(OperatorAt { hashname: operator.hashname, addresses });
        }
        for (hashname, record) in self.space.operators() {
            let Some(record) = record.filter(|r| r.hashname() != own.hashname()) else { continue };
            let at = self.operators.iter().find(|o| o.hashname == hashname);
            let addresses = at.map(|o| o.addresses.clone()).unwrap_or_default();
            self.known.push(Known { hashname, record: Some(record), addresses });
        }
        if let Some(path) = &config.node.directory {
            let register = Arc::new(Register::open(path, self.identity.clone())?);
            self.directory = Some(register.clone());
            self.register = Some(register);
        }
        Ok(())
    }
}

/// The configuration has judged it: at least 1.
fn cost(cost: u32) -> Cost {
    Cost::new(cost).unwrap_or(Cost::ONE)
}

fn resolve(what: &crate::config::HostPort) -> Result<Vec<SocketAddr>, SetupError> {
    what.resolve().map_err(|source| SetupError::Resolve { what: what.to_string(), source })
}

/// Names on the list are resolved here, once, and mean those addresses from then on.
fn allow_list(config: &Config) -> Result<AllowList, SetupError> {
    let mut rules = Vec::new();
    for rule in &config.sock.allow {
        let (first_port, last_port) = (rule.first_port, rule.last_port);
        let mut add = |network, prefix| rules.push(Rule { network, prefix, first_port, last_port });
        match &rule.hosts {
            TargetHosts::Net { network, prefix } => add(*network, *prefix),
            TargetHosts::Name(name) => {
                let host = crate::config::Host::Name(name.clone());
                let what = crate::config::HostPort { host, port: first_port };
                for address in resolve(&what)? {
                    let ip = trunkline_proto::proxy::targets::canonical(address.ip());
                    add(ip, if ip.is_ipv4() { 32 } else { 128 });
                }
            }
        }
    }
    Ok(AllowList::new(rules))
}

#[cfg(feature = "http")]
fn add_http(setup: &mut Setup, config: &Config) -> Result<(), SetupError> {
    if let Some(backend) = &config.http.backend {
        let none = || std::io::ErrorKind::NotFound.into();
        let what = || backend.to_string();
        let address = resolve(backend)?.first().copied();
        let address =
            address.ok_or_else(|| SetupError::Resolve { what: what(), source: none() })?;
        setup.http.backend = Some(Backend { address, pass_host: config.http.pass_host });
    }
    setup.http.gateway = config
        .gateway
        .listen
        .map(|listen| GatewaySetup { listen, names: config.gateway.names.clone() });
    Ok(())
}

#[cfg(not(feature = "http"))]
fn add_http(_: &mut Setup, config: &Config) -> Result<(), SetupError> {
    let wanted = config.http.backend.is_some() || config.gateway.listen.is_some();
    if wanted { Err(SetupError::NoHttp) } else { Ok(()) }
}

fn default_plan() -> Plan {
    Plan::for_cores(std::thread::available_parallelism().map_or(1, usize::from))
}

fn plan(config: &Config) -> Plan {
    let count = |n: usize, or: u16| match u16::try_from(n) {
        Ok(0) | Err(_) => or,
        Ok(n) => n,
    };
    let p = &config.placement;
    match p.mode {
        PlacementMode::Auto if p.workers == 0 => default_plan(),
        PlacementMode::Auto | PlacementMode::Collapsed => {
            Plan::collapsed(count(p.workers, default_plan().partitions()))
        }
        PlacementMode::Spread => Plan::spread(
            count(p.workers, 1),
            count(p.streams, 1),
            count(p.forwarders, 1),
            count(p.writers, 1),
        ),
    }
}
