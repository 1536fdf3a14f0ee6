//! The nodes of a run: their keys, the relays between them, and the senders and receivers, which
//! are ordinary nodes embedded in this process.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::rand;
use trunkline::config::keyfile;
use trunkline::{Dial, Engine, Known, Listener, Setup};
use trunkline_proto::base::{Chance, Hashname, Limits, Priority, Space};
use trunkline_proto::crypto::Identity;
use trunkline_proto::stage::plan::Plan;
use trunkline_proto::switch::Path;
use trunkline_proto::wire::link::Cost;

use super::arguments::{Arguments, Neighbour};
use super::beside::Beside;
use super::relays::{FAMILIES, Manner, Relay};
use crate::failure::Failure;
use crate::{kernel, print};

/// The smallest RSA keys there are: what they sign is of no worth, and they are found soonest.
const BITS: usize = 2_048;
/// How long the nodes' records hold,
const LIFE: Duration = Duration::from_secs(7 * 86_400);
/// and how long they must hold yet to be used again.
const LEFT: Duration = Duration::from_secs(2 * 3_600);
/// How long the mesh may take to come together.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Nodes {
    /// The sending nodes.
    pub(super) senders: Vec<Engine>,
    /// The receiving nodes.
    pub(super) receivers: Vec<Engine>,
    /// The relays, in the order from senders to receivers.
    pub(super) relays: Vec<Relay>,
    /// The pair that is not counted.
    pub(super) beside: Option<Beside>,
    /// Holds the keys, unless the user keeps them.
    _keys: Option<tempfile::TempDir>,
}

/// Lets all nodes of a run shake hands with a relay at once: they share one address.
pub(super) fn widen(limits: &mut Limits) {
    limits.half_open_per_address = limits.half_open;
}

/// The relays of a run, and the keys of all.
struct Chain {
    relays: Vec<Relay>,
    keys: Keys,
    temporary: Option<tempfile::TempDir>,
}

impl Chain {
    fn start(arguments: &Arguments, stage: &impl Fn(&str)) -> Result<Self, Failure> {
        let (senders, receivers) = arguments.nodes();
        let count = match arguments.via {
            Some(_) => 0,
            None if arguments.bridged => 1,
            None => arguments.hops,
        };
        let beside = 2 * u16::from(arguments.beside.is_some());
        let (directory, temporary) = keys_directory(arguments)?;
        stage("making keys");
        let keys = Keys { directory, space: space(arguments)? };
        keys.make([senders, receivers, count, beside].into_iter().map(usize::from).sum())?;
        stage("starting relays");
        let how = Manner {
            transport: arguments.transport,
            cpu: arguments.pin_relay,
            workers: arguments.relay_workers,
            bridging: arguments.bridged,
            receiving: false,
        };
        let mut relays: Vec<Relay> = Vec::new();
        for index in 0..usize::from(count) {
            let before = relays.last().map(|r| &r.at);
            let relay = Relay::start(&keys.file(index), before, &how)?;
            relays.push(relay);
        }
        // After the relays, which would inherit it.
        if let Some(cpu) = arguments.pin_load {
            let failed = |e| Failure::Other(format!("cannot stay on processor {cpu}: {e}"));
            kernel::stay_on(cpu).map_err(failed)?;
        }
        Ok(Self { relays, keys, temporary })
    }
}

/// The relays senders and receivers are linked to, if there are any.
fn doors(arguments: &Arguments, relays: &[Relay]) -> (Option<Neighbour>, Option<Neighbour>) {
    let via = arguments.via.as_ref();
    let first = via.or_else(|| relays.first().map(|r| &r.at)).cloned();
    (first, via.or_else(|| relays.last().map(|r| &r.at)).cloned())
}

/// Relays, and who their bare neighbours are.
#[derive(Debug)]
pub(super) struct Ends {
    /// The relays, in the order from senders to receivers.
    pub(super) relays: Vec<Relay>,
    /// Whom senders are linked to,
    pub(super) first: Neighbour,
    /// and receivers.
    pub(super) last: Neighbour,
    /// Each sender with its receiver.
    pub(super) pairs: Vec<(Arc<Identity>, Arc<Identity>)>,
    /// Nodes beside them that are not counted.
    pub(super) beside: Option<Beside>,
    /// Holds the keys, unless the user keeps them.
    _keys: Option<tempfile::TempDir>,
}

impl Ends {
    /// Starts the relays.
    ///
    /// # Errors
    /// If one cannot be started, or there are none.
    pub(super) fn start(arguments: &Arguments, stage: impl Fn(&str)) -> Result<Self, Failure> {
        let Chain { relays, keys, temporary } = Chain::start(arguments, &stage)?;
        let (Some(first), Some(last)) = doors(arguments, &relays) else {
            let what = "bare links need a relay: give --hops 1 or more, or --via";
            return Err(Failure::Other(what.into()));
        };
        let identity = |index| Ok::<_, Failure>(Arc::new(keyfile::read(&keys.file(index))?));
        let pairs = (0..usize::from(arguments.nodes().0)).map(|pair| {
            let index = relays.len() + 2 * pair;
            Ok((identity(index)?, identity(index + 1)?))
        });
        let pairs = pairs.collect::<Result<Vec<_>, Failure>>()?;
        let index = relays.len() + 2 * pairs.len();
        let beside = keys.beside(index, arguments, (Some(&first), Some(&last)))?;
        beside.as_ref().map_or(Ok(()), Beside::meet)?;
        Ok(Self { relays, first, last, pairs, beside, _keys: temporary })
    }
}

impl Nodes {
    /// Starts everything and waits until each pair reaches each other.
    ///
    /// # Errors
    /// If something cannot be started or the mesh does not come together.
    pub(super) fn start(arguments: &Arguments, stage: impl Fn(&str)) -> Result<Self, Failure> {
        let (senders, receivers) = arguments.nodes();
        let Chain { relays, keys, temporary } = Chain::start(arguments, &stage)?;
        let mut index = relays.len();
        stage("starting nodes");
        let mut nodes = Self {
            senders: Vec::new(),
            receivers: Vec::new(),
            relays,
            beside: None,
            _keys: temporary,
        };
        let (first, last) = doors(arguments, &nodes.relays);
        if let Some(relay) = nodes.relays.first().filter(|_| arguments.bridged) {
            for _ in 0..receivers {
                nodes.receivers.push(keys.guest(index, FAMILIES[1], relay, arguments)?);
                index += 1;
            }
            for _ in 0..senders {
                nodes.senders.push(keys.guest(index, FAMILIES[0], relay, arguments)?);
                index += 1;
            }
            stage("waiting for bridges");
            nodes.meet(arguments)?;
            return Ok(nodes);
        }
        for _ in 0..receivers {
            let links: Vec<Neighbour> = last.iter().cloned().collect();
            nodes.receivers.push(keys.engine(index, arguments, &links)?);
            index += 1;
        }
        for i in 0..usize::from(senders) {
            let links = first.clone().map_or_else(|| nodes.peers_of(arguments, i), |f| vec![f]);
            nodes.senders.push(keys.engine(index, arguments, &links)?);
            index += 1;
        }
        nodes.beside = keys.beside(index, arguments, (first.as_ref(), last.as_ref()))?;
        stage("waiting for routes");
        nodes.meet(arguments)?;
        nodes.beside.as_ref().map_or(Ok(()), Beside::meet)?;
        Ok(nodes)
    }

    /// Whom a sender sends to, by index.
    pub(super) fn receivers_of(
        &self,
        arguments: &Arguments,
        sender: usize,
    ) -> std::ops::Range<usize> {
        if arguments.pairs.is_some() { sender..sender + 1 } else { 0..self.receivers.len() }
    }

    /// Without a relay, senders link up with their receivers.
    fn peers_of(&self, arguments: &Arguments, sender: usize) -> Vec<Neighbour> {
        let those = self.receivers.get(self.receivers_of(arguments, sender));
        let neighbour = |e: &Engine| {
            let address = *e.link_addresses().first()?;
            Some(Neighbour { address, hashname: e.handle().hashname() })
        };
        those.unwrap_or_default().iter().filter_map(neighbour).collect()
    }

    fn meet(&self, arguments: &Arguments) -> Result<(), Failure> {
        for (i, sender) in self.senders.iter().enumerate() {
            let those = self.receivers.get(self.receivers_of(arguments, i)).unwrap_or_default();
            for receiver in those {
                let (a, b) = (sender.handle(), receiver.handle());
                if let Some(relay) = self.relays.first().filter(|_| arguments.bridged) {
                    bridge(sender, receiver, &relay.at.hashname)?;
                    continue;
                }
                let both = a.wait_reachable(&b.hashname(), PATIENCE)
                    && b.wait_reachable(&a.hashname(), PATIENCE);
                if !both {
                    return Err(Failure::Other(format!(
                        "no route between sender {i} and its receiver after {} s: is the relay \
                         of the same space, and does it run --transport {}?",
                        PATIENCE.as_secs(),
                        arguments.transport
                    )));
                }
                if arguments.in_lines() {
                    // What is sent before a line is up waits in a short queue, which is not what
                    // is to be measured.
                    a.ping(b.hashname(), Priority::HIGHEST, 9, PATIENCE)
                        .map_err(|e| Failure::Other(format!("no line from sender {i}: {e}")))?;
                }
            }
        }
        Ok(())
    }
}

/// Waits until two nodes have a line over a bridge, and are sure of it.
fn bridge(sender: &Engine, receiver: &Engine, relay: &Hashname) -> Result<(), Failure> {
    let failed = |what: &str| Failure::Other(format!("no bridge between a pair: {what}"));
    let (a, b) = (sender.handle(), receiver.handle());
    // Whoever is to be found has to have been heard of.
    for end in [&b, &a] {
        end.ping(*relay, Priority::HIGHEST, 9, PATIENCE).map_err(|e| failed(&e.to_string()))?;
    }
    a.ping(b.hashname(), Priority::HIGHEST, 9, PATIENCE).map_err(|e| failed(&e.to_string()))?;
    let contact = a.contact(b.hashname()).map_err(|e| failed(&e.to_string()))?;
    match contact.and_then(|c| c.path) {
        Some(Path::Bridge(_)) => Ok(()),
        other => Err(failed(&format!("the line takes another way: {other:?}"))),
    }
}

fn space(arguments: &Arguments) -> Result<Space, Failure> {
    Space::new(&arguments.space).map_err(|e| Failure::Other(format!("--space: {e}")))
}

fn keys_directory(arguments: &Arguments) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    let failed = |e: std::io::Error| Failure::Other(format!("no place for keys: {e}"));
    if let Some(kept) = &arguments.keys {
        std::fs::create_dir_all(kept).map_err(failed)?;
        return Ok((kept.clone(), None));
    }
    let temporary = tempfile::Builder::new().prefix("trunkline-load-").tempdir().map_err(failed)?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

/// Key files, by number.
#[derive(Debug)]
struct Keys {
    directory: PathBuf,
    space: Space,
}

impl Keys {
    fn file(&self, index: usize) -> PathBuf {
        self.directory.join(format!("{}-{index}.keys", self.space.as_str()))
    }

    /// Makes those that are not there, as many at a time as there are processors.
    fn make(&self, count: usize) -> Result<(), Failure> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), Failure> {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(());
                }
                self.ensure(&self.file(index))?;
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|w| {
                w.join().unwrap_or_else(|_| Err(Failure::Other("cannot make keys".into())))
            })
        })
    }

    fn ensure(&self, file: &std::path::Path) -> Result<(), Failure> {
        if file.exists() {
            let held = keyfile::read(file)?;
            if held.record().expiry() > print::now().after(LEFT) {
                return Ok(());
            }
            std::fs::remove_file(file).map_err(|e| Failure::Other(e.to_string()))?;
        }
        let mut seed = [0; 32];
        let failed = |what: &str| Failure::Other(format!("cannot make keys: {what}"));
        rand::fill(&mut seed).map_err(|_| failed("the system has no random numbers"))?;
        let mut chance = Chance::from_seed(seed);
        let identity = Identity::generate(&self.space, BITS, &mut chance, print::now(), LIFE)
            .map_err(|e| failed(&e.to_string()))?;
        Ok(keyfile::write_new(file, &identity)?)
    }

    /// Starts a sender or receiver that knows nobody but a relay, which introduces and bridges.
    fn guest(
        &self,
        index: usize,
        ip: IpAddr,
        relay: &Relay,
        arguments: &Arguments,
    ) -> Result<Engine, Failure> {
        let mut setup = Setup::new(keyfile::read(&self.file(index))?);
        widen(&mut setup.limits);
        setup.plan = Plan::collapsed(1);
        setup.udp = vec![SocketAddr::new(ip, 0)];
        // In a group of one, each datagram leaves by itself.
        setup.segment_datagrams = arguments.group != Some(1);
        let ours = |a: &&SocketAddr| a.is_ipv4() == ip.is_ipv4();
        let addresses = relay.addresses.iter().filter(ours).copied().collect();
        let hashname = relay.at.hashname;
        setup.known.push(Known { hashname, record: None, addresses });
        setup.terms.introducers.push(hashname);
        Engine::start(setup).map_err(|e| Failure::Other(e.to_string()))
    }

    /// The pair beside the others, if there is to be one; its keys are those from `index` on.
    fn beside(
        &self,
        index: usize,
        arguments: &Arguments,
        (first, last): (Option<&Neighbour>, Option<&Neighbour>),
    ) -> Result<Option<Beside>, Failure> {
        if arguments.beside.is_none() {
            return Ok(None);
        }
        let how = Manner {
            transport: arguments.transport,
            cpu: arguments.pin_load,
            workers: 1,
            bridging: false,
            receiving: true,
        };
        let receiver = Relay::start(&self.file(index), last, &how)?;
        let mine: Vec<Neighbour> = first.into_iter().cloned().collect();
        Ok(Some(Beside { sender: self.engine(index + 1, arguments, &mine)?, receiver }))
    }

    /// Starts a sender or receiver.
    fn engine(
        &self,
        index: usize,
        arguments: &Arguments,
        links: &[Neighbour],
    ) -> Result<Engine, Failure> {
        let mut setup = Setup::new(keyfile::read(&self.file(index))?);
        widen(&mut setup.limits);
        setup.plan = Plan::collapsed(1);
        if arguments.group.is_some() {
            // A group is a piece of memory, and each write takes one.
            setup.pieces_per_write = 1;
        }
        let (transport, cost) = (arguments.transport, Cost::ONE);
        if arguments.via.is_none() && arguments.hops == 0 {
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            setup.listeners.push(Listener { address, transport, cost });
        }
        for Neighbour { address, hashname } in links {
            let (name, addresses) = ("relay".into(), vec![*address]);
            setup.dials.push(Dial { name, addresses, hashname: *hashname, transport, cost });
        }
        Engine::start(setup).map_err(|e| Failure::Other(e.to_string()))
    }
}
