//! What a run came to, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::arguments::Arguments;
use super::process::Usage;
use super::receiver::Level;
use crate::failure::Failure;
use crate::print::{self, Table};

/// A whole run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Seconds measured.
    pub(super) seconds: f64,
    /// Messages due in the time measured.
    pub(super) sent: u64,
    /// Of these, such that came, whenever that was.
    pub(super) delivered: u64,
    /// Messages handed to the nodes in that time: what rates are made of.
    pub(super) sent_in_time: u64,
    /// Messages that came in that time, whenever they were due.
    pub(super) delivered_in_time: u64,
    /// Sent and never come.
    pub(super) lost: u64,
    /// Come after a newer one of the same pair and priority.
    pub(super) reordered: u64,
    /// Come again.
    pub(super) duplicated: u64,
    /// None of this run's.
    pub(super) strange: u64,
    /// Come, and dropped because a receiver did not take them in time.
    pub(super) untaken: u64,
    /// How often a window stood still for a second and was given up.
    pub(super) stalls: u64,
    /// How often a sending node's own queue was full.
    pub(super) refused: u64,
    /// Come back to their senders, by code; nodes tell only of so many a second.
    pub(super) returned: BTreeMap<String, u64>,
    /// From when a message was due to when it came; there and back for pings.
    pub(super) latency: Latency,
    /// The same by priority, from the most urgent, if several were sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) priorities: Vec<OfPriority>,
    /// What it cost, process by process.
    pub(super) processes: Vec<Node>,
}

/// What came of one priority.
#[derive(Debug, Serialize)]
pub(super) struct OfPriority {
    priority: usize,
    /// Messages that came in the time measured, a second.
    delivered_per_s: f64,
    /// Of all that came, whenever that was.
    latency: Latency,
}

/// Each priority of which something came, from the most urgent.
#[must_use]
pub(super) fn priorities(levels: &[Option<Level>], seconds: f64) -> Vec<OfPriority> {
    let known = levels.iter().enumerate().rev();
    let of = |(priority, level): (usize, &Option<Level>)| {
        let level = level.as_ref()?;
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 messages")]
        let count = level.in_time as f64;
        let delivered_per_s = if seconds > 0.0 { count / seconds } else { 0.0 };
        Some(OfPriority { priority, delivered_per_s, latency: Latency::of(&level.latency) })
    };
    known.filter_map(of).collect()
}

/// Latencies, in microseconds.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) struct Latency {
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    max_us: f64,
}

impl Latency {
    /// What a histogram of nanoseconds says.
    #[must_use]
    pub(super) fn of(nanos: &Histogram<u64>) -> Self {
        let us = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1e6;
        let at = |quantile| us(nanos.value_at_quantile(quantile));
        Self {
            mean_us: nanos.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: us(nanos.max()),
        }
    }
}

/// What one process used.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    name: String,
    pid: u32,
    /// Processor seconds in the time measured, in its own code and in the kernel for it.
    user_s: f64,
    system_s: f64,
    /// Share of one processor.
    busy: f64,
    /// Processor seconds for a million messages that came.
    cpu_s_per_million: f64,
    #[serde(flatten)]
    usage: Usage,
}

impl Node {
    /// What a process used while `arrived` messages came in so many seconds.
    #[must_use]
    pub(super) fn new(name: String, pid: u32, usage: Usage, arrived: u64, seconds: f64) -> Self {
        let cpu = usage.cpu().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 messages")]
        let millions = arrived as f64 / 1e6;
        let per = |whole: f64| if whole > 0.0 { cpu / whole } else { 0.0 };
        Self {
            name,
            pid,
            user_s: usage.user.as_secs_f64(),
            system_s: usage.system.as_secs_f64(),
            busy: per(seconds),
            cpu_s_per_million: per(millions),
            usage,
        }
    }
}

impl Report {
    /// Prints it, as the arguments say.
    ///
    /// # Errors
    /// If nobody reads it.
    pub(super) fn print(&self, arguments: &Arguments) -> Result<(), Failure> {
        if arguments.json {
            let settings = Settings::of(arguments);
            return print::json(&Line { settings, report: self, rates: self.rates() });
        }
        self.messages().print()?;
        if !self.priorities.is_empty() {
            print::line("")?;
            self.by_priority().print()?;
        }
        print::line("")?;
        self.costs().print()
    }

    fn rates(&self) -> Rates {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 messages")]
        let rate = |count: u64| if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 };
        Rates { sent_per_s: rate(self.sent_in_time), delivered_per_s: rate(self.delivered_in_time) }
    }

    fn messages(&self) -> Table {
        let rates = self.rates();
        let mut table = Table::new(&[]);
        table.pair("sent", format!("{} ({:.0} a second)", self.sent, rates.sent_per_s));
        table.pair(
            "delivered",
            format!("{} ({:.0} a second)", self.delivered, rates.delivered_per_s),
        );
        table.pair("lost", self.lost);
        table.pair("reordered", self.reordered);
        table.pair("duplicated", self.duplicated);
        for (code, count) in &self.returned {
            table.pair(&format!("returned: {code}"), count);
        }
        let rare = [
            ("strange", self.strange),
            ("dropped at receivers", self.untaken),
            ("stalled windows", self.stalls),
            ("sender's queue full", self.refused),
        ];
        rare.iter().filter(|(_, n)| *n > 0).for_each(|(name, n)| {
            table.pair(name, n);
        });
        let l = &self.latency;
        table.pair(
            "latency",
            format!(
                "p50 {:.0} µs, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
                l.p50_us, l.p90_us, l.p99_us, l.p99_9_us, l.max_us
            ),
        );
        table
    }

    fn by_priority(&self) -> Table {
        let mut table = Table::new(&["priority", "delivered", "p50", "p99", "max"]);
        for p in &self.priorities {
            table.row([
                p.priority.to_string(),
                format!("{:.0} a second", p.delivered_per_s),
                format!("{:.0} µs", p.latency.p50_us),
                format!("{:.0} µs", p.latency.p99_us),
                format!("{:.0} µs", p.latency.max_us),
            ]);
        }
        table
    }

    fn costs(&self) -> Table {
        let mut table =
            Table::new(&["process", "pid", "cpu-s/M", "user", "system", "busy", "memory", "peak"]);
        for n in &self.processes {
            let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
            table.row([
                n.name.clone(),
                n.pid.to_string(),
                format!("{:.3}", n.cpu_s_per_million),
                format!("{:.2} s", n.user_s),
                format!("{:.2} s", n.system_s),
                format!("{:.0} %", n.busy * 100.0),
                mib(n.usage.rss_bytes),
                mib(n.usage.peak_rss_bytes),
            ]);
        }
        table
    }
}

#[derive(Debug, Serialize)]
struct Rates {
    sent_per_s: f64,
    delivered_per_s: f64,
}

/// What was asked for, as far as it explains the figures.
#[derive(Debug, Serialize)]
struct Settings {
    kind: super::arguments::Kind,
    bare: bool,
    rate: Option<u64>,
    window: Option<u32>,
    group: Option<u32>,
    hops: Option<u16>,
    transport: &'static str,
    senders: u16,
    receivers: u16,
    seed: u64,
}

impl Settings {
    fn of(arguments: &Arguments) -> Self {
        let (senders, receivers) = arguments.nodes();
        Self {
            kind: arguments.kind,
            bare: arguments.bare,
            rate: arguments.rate,
            window: arguments.window(),
            group: arguments.group,
            hops: arguments.via.is_none().then_some(arguments.hops),
            transport: arguments.transport.word(),
            senders,
            receivers,
            seed: arguments.seed,
        }
    }
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    settings: Settings,
    #[serde(flatten)]
    rates: Rates,
    #[serde(flatten)]
    report: &'a Report,
}
