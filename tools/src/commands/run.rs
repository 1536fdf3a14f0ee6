//! `trunkline run`: a node, until it is told to end.

use std::path::PathBuf;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{info, warn};
use trunkline::config::{Config, LogFormat};
use trunkline::control::{ControlServer, ControlTarget};
use trunkline::{Engine, Owner, Setup};

use crate::failure::Failure;

/// Run a node in the foreground, until SIGTERM, SIGINT or `stop` over its control socket
///
/// On the first signal it says goodbye to its peers and neighbours and ends; the second ends it at
/// once. What it does is logged on standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, with the configuration that `trunkline config example` prints:
  trunkline run --config relay.toml")]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be started; the reason says what to do.
pub fn run(args: Args) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    start_log(&config);
    let setup = Setup::from_config(&config).map_err(|e| Failure::Other(e.to_string()))?;
    let engine = Engine::start(setup.clone()).map_err(|e| Failure::Other(e.to_string()))?;
    let (udp, links) = (engine.udp_addresses(), engine.link_addresses());
    let owner = Arc::new(Owner::new(engine.handle().clone(), &setup, udp, links));
    let socket = config.control_socket();
    let control = ControlServer::start(&socket, owner.clone())
        .map_err(|e| Failure::Other(format!("cannot serve the control socket: {e}")))?;
    watch_signals(owner.clone())?;
    let hashname = engine.handle().hashname();
    info!(%hashname, name = setup.name, ?links, ?udp, control = %socket.display(), "running");
    owner.wait();
    info!("stopping: saying goodbye");
    drop(control);
    engine.stop();
    info!("stopped");
    Ok(())
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

/// The first signal asks the node to end, the second ends the process.
fn watch_signals(owner: Arc<Owner>) -> Result<(), Failure> {
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
            owner.stop();
        }
    };
    let started = std::thread::Builder::new().name("signals".to_owned()).spawn(watch);
    started.map(drop).map_err(|e| Failure::Other(format!("cannot watch signals: {e}")))
}
