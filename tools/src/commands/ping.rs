//! `trunkline ping`: round trips to a hashname, as urgent or as patient as asked.

use std::time::Duration;

use trunkline::config::units;
use trunkline::control::protocol::{Act, PingAsk, PingSummary, Probe};
use trunkline_proto::base::Hashname;

use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print;

/// Measure round trips to a hashname
///
/// Each probe travels inside a line, over the way that line takes, and says which one it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, a hundred urgent probes, ten a second:
  trunkline ping HASHNAME --count 100 --interval 100ms --priority 7

Exit code 1 means that no probe was answered.")]
pub struct Args {
    /// Whom, 64 hex digits
    hashname: Hashname,
    /// How many probes
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(PingAsk::MOST)))]
    count: u32,
    /// The time from one probe to the next
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    interval: Duration,
    /// How long an answer may take before its probe counts as lost
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    timeout: Duration,
    /// The priority of the probes, 0 to 7
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=7))]
    priority: Option<u8>,
    /// Print one JSON object for each probe, then the summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be asked, knows no way, or no probe was answered.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut client = args.node.connect()?;
    let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(PingAsk::LONGEST_MS);
    let ask = PingAsk {
        hashname: args.hashname.to_string(),
        count: args.count,
        interval_ms: ms(args.interval),
        priority: args.priority,
        timeout_ms: ms(args.timeout),
    };
    let mut printed = Ok(());
    let summary: PingSummary = client.ask(Act::Ping(ask), |probe: Probe| {
        if printed.is_ok() {
            printed = show(&probe, args.json);
        }
    })?;
    printed?;
    if args.json {
        print::json(&summary)?;
    } else {
        print::line(&format!(
            "{} sent, {} answered; min {}, median {}, p99 {}, max {}",
            summary.sent,
            summary.received,
            print::round_trip(summary.min_us),
            print::round_trip(summary.p50_us),
            print::round_trip(summary.p99_us),
            print::round_trip(summary.max_us),
        ))?;
    }
    if summary.received > 0 { Ok(()) } else { Err(Failure::Told) }
}

fn show(probe: &Probe, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print::json(probe);
    }
    let result = match probe.rtt_us {
        Some(us) => format!("{}  {}", print::round_trip(Some(us)), probe.way),
        None => format!("lost: {}", probe.lost.as_deref().unwrap_or("no answer in time")),
    };
    print::line(&format!("{:>4}  {result}", probe.seq))
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = units::duration(text).map_err(|e| e.to_string())?;
    let most = Duration::from_millis(PingAsk::LONGEST_MS);
    if time <= most { Ok(time) } else { Err(format!("at most {}", units::show_duration(most))) }
}
