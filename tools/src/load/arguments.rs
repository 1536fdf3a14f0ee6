//! The command line of `trunkline-load`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use trunkline::config::Transport;
use trunkline_proto::base::{Hashname, Priority};

use super::mix::Mix;
use super::payload::HEADER;

/// The longest run, warm-up included.
const LONGEST: f64 = 3_600.0;
/// Most nodes on each side: each is a thread, and a link at the relay.
const NODES: u16 = 512;

/// Send messages through relays and tell what arrived, when, and what it cost.
///
/// Sending and receiving nodes run in this process; relays run in processes of their own
/// (`--hops`), or the one given is used (`--via`). With `--rate` the load is an open loop: each
/// message has a moment at which it is due, whatever became of those before it, and its latency
/// counts from there. With `--window` it is a closed loop: so many messages of each pair are on
/// their way at a time.
#[derive(Debug, Parser)]
#[command(name = "trunkline-load", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What else this program is started as, by itself.
    #[command(subcommand)]
    pub(super) part: Option<Part>,
    /// The load.
    #[command(flatten)]
    pub(super) load: Arguments,
}

const EXAMPLES: &str = "\
Examples:
  trunkline-load --hops 1 --transport plain --window 2048
  trunkline-load --hops 2 --rate 5000 --group 1 --kind sealed --duration 10 --json
  trunkline-load --bridged --window 1024
  trunkline-load --pairs 50 --window 64 --size 64:50,300:40,1200:10 --priority 3:90,7:10
  trunkline-load --via 192.0.2.7:42424=HASHNAME --rate 100 --kind line-ping";

/// Parts of a run that are processes of their own.
#[derive(Debug, Subcommand)]
pub(super) enum Part {
    /// A relay, until standard input ends
    #[command(hide = true)]
    Relay(RelayArguments),
}

/// What a relay is told.
#[derive(Debug, Args)]
pub(super) struct RelayArguments {
    /// The key file it uses
    #[arg(long)]
    pub(super) keys: PathBuf,
    /// The neighbour it keeps a link to
    #[arg(long, value_name = "ADDRESS=HASHNAME")]
    pub(super) link: Option<Neighbour>,
    /// What runs over its links
    #[arg(long, value_parser = transport)]
    pub(super) transport: Transport,
    /// Carry datagrams of lines, instead of links
    #[arg(long)]
    pub(super) bridging: bool,
    /// Take the messages that come for it
    #[arg(long)]
    pub(super) receiving: bool,
    /// The processor it runs on
    #[arg(long)]
    pub(super) cpu: Option<usize>,
    /// Threads; 0 as a node chooses by itself
    #[arg(long)]
    pub(super) workers: u16,
}

/// A node to link up with.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Who it is.
    pub(super) hashname: Hashname,
}

impl std::str::FromStr for Neighbour {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, hashname) =
            text.split_once('=').ok_or("write ADDRESS:PORT=HASHNAME, as the node prints them")?;
        Ok(Self {
            address: address.parse().map_err(|e| format!("`{address}`: {e}"))?,
            hashname: hashname.parse().map_err(|e| format!("`{hashname}`: {e}"))?,
        })
    }
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Messages every hop could read (M)
    Message,
    /// Messages inside lines, encrypted end to end (MA)
    Sealed,
    /// Pings inside lines, there and back
    LinePing,
}

/// The load.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Open loop: messages a second, of all pairs together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(super) rate: Option<u64>,
    /// Closed loop: messages of each pair that are on their way at a time [default: 1024]
    #[arg(long, value_name = "N", conflicts_with = "rate",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) window: Option<u32>,
    /// Bytes of a message, or a mix SIZE:SHARE,…
    #[arg(long, default_value = "300", value_parser = sizes)]
    pub(super) size: Mix<usize>,
    /// Priority, 0 to 7, or a mix PRIORITY:SHARE,…
    #[arg(long, default_value = "3", value_parser = priorities)]
    pub(super) priority: Mix<Priority>,
    /// Sending nodes; each sends to every receiving node
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES)))]
    pub(super) senders: u16,
    /// Receiving nodes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES)))]
    pub(super) receivers: u16,
    /// Instead: so many senders, each with a receiver of its own
    #[arg(long, conflicts_with_all = ["senders", "receivers"],
          value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES)))]
    pub(super) pairs: Option<u16>,
    /// What is sent
    #[arg(long, value_enum, default_value_t = Kind::Message)]
    pub(super) kind: Kind,
    /// Senders and receivers are no nodes but bare links on one thread: for what a relay costs when
    /// the ends cost little. Each sender has a receiver of its own; messages only (no lines), all
    /// of one size and priority
    #[arg(long, conflicts_with_all = ["senders", "receivers", "count", "bridged"])]
    pub(super) bare: bool,
    /// Relays between senders and receivers, each a process of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=16))]
    pub(super) hops: u16,
    /// Instead of relays of our own: a node that runs already
    #[arg(long, value_name = "ADDRESS=HASHNAME", conflicts_with = "hops")]
    pub(super) via: Option<Neighbour>,
    /// Instead of links: lines whose datagrams one relay carries over bridges, as between nodes that
    /// do not reach each other. Senders are at 127.0.0.1, receivers at [::1]
    #[arg(long, conflicts_with_all = ["hops", "via", "transport"])]
    pub(super) bridged: bool,
    /// One more pair, which is not counted: so many messages a second, from a node of this process to
    /// one of its own process
    #[arg(long, value_name = "N", conflicts_with_all = ["via", "bridged"],
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) beside: Option<u32>,
    /// That pair's receiver stops reading, and all else, when measuring begins
    #[arg(long, requires = "beside")]
    pub(super) stalled: bool,
    /// The process whose time and memory count as the relay's, with `--via`
    #[arg(long, value_name = "PID", requires = "via")]
    pub(super) via_pid: Option<u32>,
    /// The space of our nodes, which must be the one of `--via`
    #[arg(long, default_value = "load")]
    pub(super) space: String,
    /// What runs over the links
    #[arg(long, default_value = "tls", value_parser = transport)]
    pub(super) transport: Transport,
    /// Messages that become due together and leave in one write [default: as many as wait, in
    /// groups of up to 64]. With --bridged and 1, each datagram leaves by itself
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) group: Option<u32>,
    /// Seconds before measuring begins
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(super) warm_up: Duration,
    /// Seconds of measuring
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(super) duration: Duration,
    /// End after so many messages sent, if the time is not over before
    #[arg(long, value_name = "N")]
    pub(super) count: Option<u64>,
    /// Run the relays on this processor
    #[arg(long, value_name = "CPU")]
    pub(super) pin_relay: Option<usize>,
    /// Run the senders and receivers on this processor
    #[arg(long, value_name = "CPU")]
    pub(super) pin_load: Option<usize>,
    /// Threads of a relay; 0 as a node chooses by itself
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) relay_workers: u16,
    /// Decides the order of sizes and priorities in mixes
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// A directory that keeps the nodes' keys for the next run; made anew each time otherwise
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) keys: Option<PathBuf>,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

impl Arguments {
    /// Messages on their way per pair; `None` in an open loop.
    #[must_use]
    pub(super) fn window(&self) -> Option<u32> {
        match (self.rate, self.window) {
            (Some(_), _) => None,
            (None, window) => Some(window.unwrap_or(1_024)),
        }
    }

    /// Whether messages travel inside lines.
    #[must_use]
    pub(super) fn in_lines(&self) -> bool {
        self.bridged || self.kind != Kind::Message
    }

    /// How many sending and receiving nodes there are.
    #[must_use]
    pub(super) fn nodes(&self) -> (u16, u16) {
        self.pairs.map_or((self.senders, self.receivers), |p| (p, p))
    }

    /// Messages that are handed over together.
    #[must_use]
    pub(super) fn together(&self) -> u32 {
        self.group.unwrap_or(64)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if !(0.0..=LONGEST).contains(&seconds) {
        return Err(format!("between 0 and {LONGEST} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn transport(text: &str) -> Result<Transport, String> {
    let known = Transport::ALL.iter().find(|t| t.word() == text);
    known.copied().ok_or_else(|| "tls or plain".to_owned())
}

fn sizes(text: &str) -> Result<Mix<usize>, String> {
    Mix::parse(text, |size| match size.parse() {
        Ok(size) if (HEADER..=1 << 20).contains(&size) => Ok(size),
        Ok(_) => Err(format!("between {HEADER} bytes and 1 MiB")),
        Err(e) => Err(e.to_string()),
    })
}

fn priorities(text: &str) -> Result<Mix<Priority>, String> {
    Mix::parse(text, |level| {
        level.parse().ok().and_then(Priority::new).ok_or_else(|| "0 to 7".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_loop_is_open_or_closed() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(|c| c.load.window());
        assert_eq!(parse("load").expect("the defaults"), Some(1_024));
        assert_eq!(parse("load --rate 10").expect("an open loop"), None);
        assert!(parse("load --rate 10 --window 5").is_err());
        assert!(parse("load --bridged --hops 2").is_err() && parse("load --stalled").is_err());
        assert!(parse("load --size 3").is_err() && parse("load --priority 8").is_err());
    }
}
