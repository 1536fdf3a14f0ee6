//! What the demonstration found, as a table and as JSON.

use serde::Serialize;
use trunkline::control::protocol::{PingSummary, TraceReport};
use trunkline::control::report::StatusReport;

use crate::failure::Failure;
use crate::print::{self, Table};

/// The raw measurements.
pub(super) struct Measured {
    pub(super) hops: usize,
    pub(super) bytes: u64,
    pub(super) expected: String,
    pub(super) digest: String,
    pub(super) seconds: f64,
    pub(super) relay_cpu: f64,
    pub(super) idle: PingSummary,
    pub(super) loaded: PingSummary,
    pub(super) lost: u64,
}

/// The result; its fields are a contract.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The file came whole, and no urgent message was lost.
    pub(super) ok: bool,
    /// Links between A and B.
    hops: usize,
    /// Bytes fetched.
    bytes: u64,
    /// Whether their SHA-256 is the server's.
    sha256_ok: bool,
    /// Goodput of the fetch.
    gbit_s: f64,
    /// Processor time of R for each GiB.
    relay_cpu_s_per_gib: f64,
    /// Round trip of urgent messages at idle.
    urgent_idle_p50_us: u64,
    /// See `urgent_idle_p50_us`.
    urgent_idle_p99_us: u64,
    /// Round trip of urgent messages while the fetch saturates the path.
    urgent_loaded_p50_us: u64,
    /// See `urgent_loaded_p50_us`.
    urgent_loaded_p99_us: u64,
    /// Urgent messages measured under load.
    urgent_loaded_count: u32,
    /// Urgent messages lost.
    lost: u64,
}

impl Report {
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn new(m: &Measured) -> Self {
        let sha256_ok = m.digest == m.expected;
        let gib = m.bytes as f64 / f64::from(1u32 << 30);
        Self {
            ok: sha256_ok && m.lost == 0 && m.loaded.received > 0 && m.hops == 2,
            hops: m.hops,
            bytes: m.bytes,
            sha256_ok,
            gbit_s: round(m.bytes as f64 * 8.0 / 1e9 / m.seconds.max(1e-9)),
            relay_cpu_s_per_gib: round(m.relay_cpu / gib.max(1e-9)),
            urgent_idle_p50_us: m.idle.p50_us.unwrap_or(0),
            urgent_idle_p99_us: m.idle.p99_us.unwrap_or(0),
            urgent_loaded_p50_us: m.loaded.p50_us.unwrap_or(0),
            urgent_loaded_p99_us: m.loaded.p99_us.unwrap_or(0),
            urgent_loaded_count: m.loaded.received,
            lost: m.lost,
        }
    }

    pub(super) fn print(
        &self,
        json: bool,
        way: &TraceReport,
        relay: &StatusReport,
        a: &str,
        b: &str,
    ) -> Result<(), Failure> {
        if json {
            return print::json(self);
        }
        trace(way)?;
        seen(relay, a, b)?;
        let ms = |us: u64| print::round_trip(Some(us));
        let mut table = Table::new(&[]);
        table.pair("fetched", format!("{} in {:.2} Gbit/s", print::size(self.bytes), self.gbit_s));
        table.pair("SHA-256", if self.sha256_ok { "as served" } else { "WRONG" });
        table.pair("R's processor time", format!("{} s for each GiB", self.relay_cpu_s_per_gib));
        let idle = (ms(self.urgent_idle_p50_us), ms(self.urgent_idle_p99_us));
        table.pair("urgent, idle", format!("p50 {}  p99 {}", idle.0, idle.1));
        let loaded = (ms(self.urgent_loaded_p50_us), ms(self.urgent_loaded_p99_us));
        let of = self.urgent_loaded_count;
        table.pair("urgent, loaded", format!("p50 {}  p99 {}  ({of})", loaded.0, loaded.1));
        table.pair("urgent, lost", self.lost);
        print::line("\nSummary")?;
        table.print()?;
        print::line(if self.ok { "\nok" } else { "\nFAILED" })
    }
}

fn trace(way: &TraceReport) -> Result<(), Failure> {
    let mut table = Table::new(&["hop", "node", "name", "cost", "round trip"]);
    for hop in &way.hops {
        table.row([
            hop.number.to_string(),
            hop.hashname.chars().take(8).collect(),
            hop.name.clone().unwrap_or_default(),
            hop.cost.to_string(),
            print::round_trip(hop.rtt_us),
        ]);
    }
    print::line("\nThe way from A to B")?;
    table.print()
}

/// What R can tell of the two, from its own status: packages and bytes, and no line to either.
fn seen(relay: &StatusReport, a: &str, b: &str) -> Result<(), Failure> {
    let lines = relay.lines.iter().filter(|l| l.hashname == a || l.hashname == b).count();
    let f = relay.totals.forwarded;
    let mut table = Table::new(&[]);
    table.pair(
        "sees",
        format!("{} packages, {}, between two addresses", f.packets, print::size(f.bytes)),
    );
    table.pair("sees", "their sizes, priorities and hop counts");
    table.pair("has", format!("{lines} lines with A or B: no key to anything inside"));
    print::line("\nWhat R can and cannot see")?;
    table.print()
}

fn round(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}
