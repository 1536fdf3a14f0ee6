//! `trunkline run`: a node, until it is told to end.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{info, warn};
use trunkline::config::{Config, LogFormat, voucher};
use trunkline::control::{ControlServer, ControlTarget};
use trunkline::runtime::clock::Clock;
use trunkline::{Engine, Owner, Setup};
use trunkline_proto::crypto::Refusal;

use crate::failure::Failure;

/// How often the file of the voucher is looked at.
const VOUCHER_EVERY: Duration = Duration::from_secs(60);

/// Run a node in the foreground, until SIGTERM, SIGINT or `stop` over its control socket
///
/// On the first signal it says goodbye to its peers and neighbours and ends; the second ends it at
/// once. What it does is logged on standard error.
///
/// With several configurations it runs a node for each, in one process: hashnames and spaces of
/// their own, ports and control sockets of their own, nothing shared. What they log is as the
/// first one says.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, with the configuration that `trunkline config example` prints:
  trunkline run --config relay.toml")]
pub struct Args {
    /// The configuration file; once for each hashname
    #[arg(long, value_name = "FILE", required = true)]
    config: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be started; the reason says what to do.
pub fn run(args: Args) -> Result<(), Failure> {
    let configs =
        args.config.iter().map(|file| Config::load(file)).collect::<Result<Vec<_>, _>>()?;
    if let Some(first) = configs.first() {
        start_log(first);
    }
    // All or none: what has started ends when the rest cannot.
    let nodes = configs.into_iter().map(Node::start).collect::<Result<Vec<_>, _>>()?;
    watch_signals(nodes.iter().map(|node| node.owner.clone()).collect())?;
    let threads = nodes.into_iter().map(Node::tend).collect::<Result<Vec<_>, _>>()?;
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// A running node and what belongs to it.
struct Node {
    setup: Setup,
    voucher: Option<VoucherFile>,
    engine: Engine,
    owner: Arc<Owner>,
    control: ControlServer,
}

impl Node {
    fn start(config: Config) -> Result<Self, Failure> {
        let setup = Setup::from_config(&config).map_err(|e| Failure::Other(e.to_string()))?;
        // Before the node runs: from then on its operators may give it another.
        let voucher = config.node.voucher.clone().map(|path| VoucherFile::new(path, &setup));
        let engine = Engine::start(setup.clone()).map_err(|e| Failure::Other(e.to_string()))?;
        let (udp, links) = (engine.udp_addresses(), engine.link_addresses());
        let owner = Arc::new(Owner::new(engine.handle().clone(), &setup, udp, links));
        let socket = config.control_socket();
        let control = ControlServer::start(&socket, owner.clone())
            .map_err(|e| Failure::Other(format!("cannot serve the control socket: {e}")))?;
        let (hashname, space) = (engine.handle().hashname(), setup.space.space());
        let (name, control_at) = (&setup.name, socket.display());
        info!(%hashname, %space, name, ?links, ?udp, control = %control_at, "running");
        Ok(Self { setup, voucher, engine, owner, control })
    }

    /// Waits in a thread of its own until the node is to end, and ends it.
    fn tend(self) -> Result<JoinHandle<()>, Failure> {
        let name = format!("owner-{}", self.setup.name);
        let started = std::thread::Builder::new().name(name).spawn(move || {
            let (setup, name) = (self.setup, self.engine.handle().hashname());
            let mut file = self.voucher;
            while !self.owner.wait_for(VOUCHER_EVERY) {
                file.iter_mut().for_each(|file| file.look(&setup));
            }
            file.iter_mut().for_each(|file| file.look(&setup));
            info!(hashname = %name, "stopping: saying goodbye");
            drop(self.control);
            self.engine.stop();
            info!(hashname = %name, "stopped");
        });
        started.map_err(|e| Failure::Other(format!("cannot start a thread: {e}")))
    }
}

/// The file a node's voucher came from. What is put there is shown from then on; what the node's
/// operators gave it meanwhile is kept there for its next start.
struct VoucherFile {
    path: PathBuf,
    /// What stood in it at the last look.
    holds: Bytes,
}

impl VoucherFile {
    fn new(path: PathBuf, setup: &Setup) -> Self {
        Self { path, holds: setup.space.our_voucher() }
    }

    fn look(&mut self, setup: &Setup) {
        let file = self.path.display();
        let found = match voucher::read(&self.path) {
            Ok(voucher) => voucher,
            Err(error) => return warn!(%error, "the voucher is not renewed"),
        };
        let shown = setup.space.our_voucher();
        if found != self.holds {
            self.holds.clone_from(&found);
            if found != shown {
                show(found, setup);
            }
        } else if shown != self.holds {
            // One try for each voucher: the reason why not will not go away by itself.
            self.holds.clone_from(&shown);
            match voucher::replace(&self.path, &shown) {
                Ok(()) => info!(%file, "an operator has renewed the voucher"),
                Err(error) => warn!(
                    %file, %error,
                    "an operator has renewed the voucher, but it cannot be kept for the next start"
                ),
            }
        }
    }
}

/// Shows a voucher that somebody has put into the file, if it is a good one.
fn show(voucher: Bytes, setup: &Setup) {
    let us = setup.identity.hashname();
    match setup.space.vouched(&us, &voucher, Clock::wall()) {
        Ok(_) | Err(Refusal::OperatorUnresolved) => {
            info!("the voucher is renewed from its file");
            setup.space.show(voucher);
        }
        Err(refusal) => warn!(%refusal, "the new voucher is not shown, the former one still is"),
    }
}

fn start_log(config: &Config) {
    let level = config.log.level.word();
    let filter = tracing_subscriber::EnvFilter::new(format!("warn,trunkline={level}"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// The first signal asks all nodes to end, the second ends the process.
fn watch_signals(owners: Vec<Arc<Owner>>) -> Result<(), Failure> {
    let signals = Signals::new([SIGTERM, SIGINT]);
    let mut signals = signals.map_err(|e| Failure::Other(format!("cannot watch signals: {e}")))?;
    let watch = move || {
        let mut told = false;
        for signal in signals.forever() {
            if told {
                warn!(signal, "ending at once");
                signal_hook::low_level::exit(1);
            }
            told = true;
            owners.iter().for_each(|owner| owner.stop());
        }
    };
    let started = std::thread::Builder::new().name("signals".to_owned()).spawn(watch);
    started.map(drop).map_err(|e| Failure::Other(format!("cannot watch signals: {e}")))
}
