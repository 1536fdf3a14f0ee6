//! Starting a node from a program, one choice after the other.

#[cfg(feature = "http")]
mod http;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trunkline_proto::base::{Chance, Hashname, Namespace, Space};
use trunkline_proto::crypto::{Identity, IdentityError, KeyRecord};
use trunkline_proto::message::{Returned, Settings};
use trunkline_proto::proxy::{AllowList, Rule};
use trunkline_proto::stage::plan::Plan;
use trunkline_proto::wire::link::Cost;
use trunkline_proto::wire::sequence::Sequence;

use crate::callbacks::{AnonPacket, Callbacks, LinePacket, StateChange};
use crate::config::keyfile::{self, KeysError};
use crate::config::{DEFAULT_PORT, HostPort, TargetHosts, TargetRule, Transport};
use crate::directory::{self, Directory, DirectoryError, Entry};
use crate::engine::{Engine, StartError};
use crate::messages::Incoming;
use crate::runtime::clock::Clock;
use crate::setup::{Dial, Known, Listener, Setup, StandingProxy};
use crate::stream::Stream;

/// How long the record of a generated key is valid.
const LIFE: Duration = Duration::from_secs(5 * 365 * 86_400);

/// Why a node was not started.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The key file.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Keys could not be made.
    #[error("cannot make keys: {0}")]
    Generate(#[from] IdentityError),
    /// The name of the space.
    #[error("`{0}` is no name for a space")]
    Space(String),
    /// An address or a rule is not one, or a name does not resolve.
    #[error("{what}: {why}")]
    Address {
        /// What was given, and for what.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The sockets or the threads.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Where a node's keys come from.
#[derive(Debug)]
pub enum KeySource {
    /// Made at the start and forgotten with the node.
    Fresh,
    /// A file that only its owner can read; made if there is none.
    File(PathBuf),
    /// These.
    Given(Box<Identity>),
}

/// What a node is to be, until [`Self::start`]; from [`Engine::builder`].
///
/// Without further words a node has fresh keys in the space `default`, listens nowhere, links to
/// nobody and gives nobody anything.
///
/// ```no_run
/// use std::io::Write;
/// use trunkline::Engine;
///
/// # fn main() -> Result<(), trunkline::BuildError> {
/// let node = Engine::builder()
///     .keys("node.keys")
///     .space("home")
///     .listen("0.0.0.0:42424")
///     .serve_streams(|mut stream| {
///         let _ = writeln!(stream, "good day");
///     })
///     .start()?;
/// println!("{}", node.handle().hashname());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a node runs from `start` on"]
pub struct Builder {
    keys: KeySource,
    space: String,
    name: Option<String>,
    udp: Vec<String>,
    listeners: Vec<(String, Transport)>,
    links: Vec<(String, Hashname, Transport)>,
    known: Vec<(Arc<KeyRecord>, Vec<SocketAddr>)>,
    allow: Vec<String>,
    proxies: Vec<(Hashname, String, String)>,
    plan: Option<Plan>,
    callbacks: Callbacks,
    directory: Option<Arc<dyn Directory>>,
    messages: Settings,
    #[cfg(feature = "http")]
    http: http::HttpWords,
}

impl Engine {
    /// A node of this process, to be described and started.
    pub fn builder() -> Builder {
        Builder {
            keys: KeySource::Fresh,
            space: "default".to_owned(),
            name: None,
            udp: Vec::new(),
            listeners: Vec::new(),
            links: Vec::new(),
            known: Vec::new(),
            allow: Vec::new(),
            proxies: Vec::new(),
            plan: None,
            callbacks: Callbacks::default(),
            directory: None,
            messages: Settings { sequence: Some(Sequence::MA), ..Settings::default() },
            #[cfg(feature = "http")]
            http: http::HttpWords::default(),
        }
    }
}

/// Who it is and where it is found. Addresses are `IP:PORT`, those of others `HOST:PORT`.
impl Builder {
    /// Keeps its keys in this file, which is made if there is none.
    pub fn keys(mut self, file: impl Into<PathBuf>) -> Self {
        self.keys = KeySource::File(file.into());
        self
    }

    /// Is this identity.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.keys = KeySource::Given(Box::new(identity));
        self
    }

    /// The space new keys are made for. Only hashnames of one space meet.
    pub fn space(mut self, name: impl Into<String>) -> Self {
        self.space = name.into();
        self
    }

    /// What people call it; the first digits of its hashname if nothing is said.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Is found by lines over UDP here.
    pub fn listen_udp(mut self, address: impl Into<String>) -> Self {
        self.udp.push(address.into());
        self
    }

    /// Lets neighbours link up here, over TLS.
    pub fn listen(self, address: impl Into<String>) -> Self {
        self.listen_over(address, Transport::Tls)
    }

    /// As [`Self::listen`], over what is chosen.
    pub fn listen_over(mut self, address: impl Into<String>, transport: Transport) -> Self {
        self.listeners.push((address.into(), transport));
        self
    }

    /// Keeps a link to a neighbour up, over TLS.
    pub fn link(self, address: impl Into<String>, hashname: Hashname) -> Self {
        self.link_over(address, hashname, Transport::Tls)
    }

    /// As [`Self::link`], over what the neighbour listens for.
    pub fn link_over(
        mut self,
        address: impl Into<String>,
        hashname: Hashname,
        transport: Transport,
    ) -> Self {
        self.links.push((address.into(), hashname, transport));
        self
    }

    /// Knows a hashname beforehand: a line to it can be opened without the mesh.
    pub fn peer(mut self, record: Arc<KeyRecord>, addresses: &[SocketAddr]) -> Self {
        self.known.push((record, addresses.to_vec()));
        self
    }

    /// Packs messages by this sequence where nothing else is said: "MA" unless this is called.
    pub fn sequence(mut self, sequence: Sequence) -> Self {
        self.messages.sequence = Some(sequence);
        self
    }

    /// How it packs messages and what it takes, with all there is to say.
    pub fn messages(mut self, settings: Settings) -> Self {
        self.messages = settings;
        self
    }

    /// Which thread does what; as the cores suggest if nothing is said.
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = Some(plan);
        self
    }
}

/// What it gives others, and takes from them.
impl Builder {
    /// Lets everyone in the space connect to what this rule covers, written as in
    /// `[sock] allow`: `127.0.0.1:8080`, `10.0.0.0/8:443`.
    pub fn allow(mut self, rule: impl Into<String>) -> Self {
        self.allow.push(rule.into());
        self
    }

    /// Opens a local port that leads to a target behind a peer, for as long as the node runs.
    pub fn proxy(
        mut self,
        peer: Hashname,
        target: impl Into<String>,
        listen: impl Into<String>,
    ) -> Self {
        self.proxies.push((peer, target.into(), listen.into()));
        self
    }
}

/// What the application is told. Functions are called on one thread, one after the other, and
/// should not take long; what comes while 1,024 events wait is refused or dropped, and counted
/// ([`Handle::callback_counters`]). Each is called once for what nothing else handled.
///
/// [`Handle::callback_counters`]: crate::Handle::callback_counters
impl Builder {
    /// Gets the streams that peers open. Hand them on: the next call waits for this one.
    pub fn on_stream(mut self, f: impl Fn(Stream) + Send + Sync + 'static) -> Self {
        self.callbacks.stream = Some(Arc::new(f));
        self
    }

    /// Gets each stream that a peer opens on a thread of its own, in which it may take its time.
    /// More than [`MOST_SERVED`] at a time are refused. Takes the place of [`Self::on_stream`].
    ///
    /// [`MOST_SERVED`]: crate::MOST_SERVED
    pub fn serve_streams(mut self, f: impl Fn(Stream) + Send + Sync + 'static) -> Self {
        self.callbacks.serve = Some(Arc::new(f));
        self
    }

    /// Gets packets from inside lines that nothing else handled.
    pub fn on_line_packet(mut self, f: impl Fn(LinePacket) + Send + Sync + 'static) -> Self {
        self.callbacks.line = Some(Arc::new(f));
        self
    }

    /// Gets packets from outside of any line that nothing else handled.
    pub fn on_anon_packet(mut self, f: impl Fn(AnonPacket) + Send + Sync + 'static) -> Self {
        self.callbacks.anon = Some(Arc::new(f));
        self
    }

    /// Hears of every change of state between this node and another.
    pub fn on_state(mut self, f: impl Fn(StateChange) + Send + Sync + 'static) -> Self {
        self.callbacks.state = Some(Arc::new(f));
        self
    }

    /// Gets messages to a namespace of this node, broadcasts among them, from the start. One that comes while 1,024 events
    /// wait goes back to its sender. Called again for each namespace.
    pub fn on_message(
        self,
        namespace: Namespace,
        f: impl Fn(Incoming) + Send + Sync + 'static,
    ) -> Self {
        self.on_message_to(namespace, None, f)
    }

    /// As [`Self::on_message`], of messages to one target there, if one is given.
    pub fn on_message_to(
        mut self,
        namespace: Namespace,
        target: Option<Namespace>,
        f: impl Fn(Incoming) + Send + Sync + 'static,
    ) -> Self {
        self.callbacks.messages.push((namespace, target, Arc::new(f)));
        self
    }

    /// Hears of messages that came back, of those nobody waits for.
    pub fn on_return(mut self, f: impl Fn(Returned) + Send + Sync + 'static) -> Self {
        self.callbacks.returned = Some(Arc::new(f));
        self
    }

    /// Answers, as an operator, questions for the keys of a hashname, on a thread of its own.
    pub fn on_op(
        mut self,
        f: impl Fn(&Hashname) -> Result<Option<Entry>, DirectoryError> + Send + Sync + 'static,
    ) -> Self {
        self.directory = Some(directory::from_fn(f));
        self
    }
}

impl Builder {
    /// Starts the node.
    ///
    /// # Errors
    /// [`BuildError`], with the first thing that is wrong; then nothing is left running.
    pub fn start(self) -> Result<Engine, BuildError> {
        Ok(Engine::start(self.into_setup()?)?)
    }

    /// What [`Engine::start`] takes, for what the builder has no word for.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn into_setup(self) -> Result<Setup, BuildError> {
        let identity = identity(self.keys, &self.space)?;
        let mut setup = Setup::new(identity);
        if let Some(name) = self.name {
            setup.name = name;
        }
        let cost = Cost::new(crate::config::Link::DEFAULT_COST).unwrap_or(Cost::ONE);
        for address in &self.udp {
            setup.udp.push(listening(address)?);
        }
        for (address, transport) in &self.listeners {
            let (address, transport) = (listening(address)?, *transport);
            setup.listeners.push(Listener { address, transport, cost });
        }
        for (address, hashname, transport) in self.links {
            let addresses = resolved(&address)?;
            setup.dials.push(Dial { name: address, addresses, hashname, transport, cost });
        }
        let known = self.known.into_iter();
        setup.known.extend(known.map(|(record, addresses)| {
            let hashname = record.hashname();
            Known { hashname, record: Some(record), addresses }
        }));
        let mut rules = Vec::new();
        for text in &self.allow {
            rules.extend(rules_of(text)?);
        }
        setup.allow = AllowList::new(rules);
        for (peer, target, listen) in self.proxies {
            let listen = listening(&listen)?;
            setup.proxies.push(StandingProxy { peer, target, listen });
        }
        if let Some(plan) = self.plan {
            setup.plan = plan;
        }
        setup.callbacks = self.callbacks;
        setup.messages = self.messages;
        setup.directory = self.directory.or(setup.directory);
        #[cfg(feature = "http")]
        self.http.fill(&mut setup.http)?;
        Ok(setup)
    }
}

fn identity(keys: KeySource, space: &str) -> Result<Identity, BuildError> {
    let file = match keys {
        KeySource::Given(identity) => return Ok(*identity),
        KeySource::Fresh => None,
        KeySource::File(path) => match keyfile::read(&path) {
            Err(KeysError::Missing { .. }) => Some(path),
            read => return Ok(read?),
        },
    };
    let space: Space = space.parse().map_err(|_| BuildError::Space(space.to_owned()))?;
    let seed = crate::engine::seed().map_err(StartError::Worker)?;
    let mut chance = Chance::from_seed(seed);
    let bits = Identity::DEFAULT_BITS;
    let identity = Identity::generate(&space, bits, &mut chance, Clock::wall(), LIFE)?;
    if let Some(path) = file {
        keyfile::write_new(&path, &identity)?;
    }
    Ok(identity)
}

fn wrong(what: &str, why: impl ToString) -> BuildError {
    BuildError::Address { what: what.to_owned(), why: why.to_string() }
}

fn listening(text: &str) -> Result<SocketAddr, BuildError> {
    text.parse().map_err(|_| wrong(text, "is not an address to listen at: write IP:PORT"))
}

fn resolved(text: &str) -> Result<Vec<SocketAddr>, BuildError> {
    let address = HostPort::parse(text, Some(DEFAULT_PORT)).map_err(|e| wrong(text, e))?;
    address.resolve().map_err(|e| wrong(text, e))
}

fn rules_of(text: &str) -> Result<Vec<Rule>, BuildError> {
    let rule: TargetRule = text.parse().map_err(|e| wrong(text, e))?;
    let (first_port, last_port) = (rule.first_port, rule.last_port);
    let make = |(network, prefix)| Rule { network, prefix, first_port, last_port };
    let networks = match rule.hosts {
        TargetHosts::Net { network, prefix } => vec![(network, prefix)],
        TargetHosts::Name(name) => {
            let found = resolved(&format!("{name}:{first_port}"))?.into_iter();
            let full = |a: SocketAddr| {
                let ip = trunkline_proto::proxy::targets::canonical(a.ip());
                (ip, if ip.is_ipv4() { 32 } else { 128 })
            };
            found.map(full).collect()
        }
    };
    Ok(networks.into_iter().map(make).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_wrong_words_are_told_before_anything_runs() {
        let text = |b: Builder| b.into_setup().unwrap_err().to_string();
        let given = || Engine::builder().keys("/nowhere/at/all/x.keys");
        assert!(text(given().space("")).contains("no name for a space"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("node.keys");
        let seed = Chance::from_number(7);
        let identity =
            Identity::generate(&"test".parse().unwrap(), 2_048, &mut { seed }, Clock::wall(), LIFE);
        keyfile::write_new(&file, &identity.unwrap()).unwrap();
        let built = || Engine::builder().keys(&file);
        let someone = Hashname::new([1; 32]);
        assert!(text(built().listen("localhost:1")).contains("write IP:PORT"));
        assert!(text(built().link("a b", someone)).contains("neither"));
        assert!(text(built().allow("127.0.0.1")).contains("no port"));
        let setup = built().listen_udp("127.0.0.1:0").link("127.0.0.1", someone).into_setup();
        let setup = setup.unwrap();
        assert_eq!(setup.dials[0].addresses, ["127.0.0.1:42424".parse().unwrap()]);
        assert_eq!(setup.udp.len(), 1);
    }
}
