//! `trunkline-load`: messages through relays, and what became of them.
//!
//! ```text
//!   senders ──► relay ──► … ──► relay ──► receivers
//!   (this process)   (a process each)   (this process)
//! ```
//!
//! `nodes` starts everything and `relays` the processes between; `sender` and `receiver`
//! (or `pings`) run on threads of their own for a `span` of time, and `report` says what came
//! out. One process sends and receives, so one clock tells when a message was due and when it came.
//! Everything is bounded in time and number, and nothing outlives the run.

mod arguments;
mod bare;
mod beside;
mod mix;
mod nodes;
mod payload;
mod pings;
mod process;
mod receiver;
mod relays;
mod report;
mod sender;
mod span;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use trunkline::Handle;
use trunkline_proto::base::Chance;

pub use arguments::Cli;
use arguments::{Arguments, Kind, Part};
use nodes::{Ends, Nodes};
use process::Usage;
use receiver::{Received, Receiver};
use report::{Node, Report};
use sender::{Manner, Pace, Sender, Sent};
use span::{Pair, Span};

use crate::clock::Clock;
use crate::failure::Failure;

/// How often progress is shown.
const SHOW: Duration = Duration::from_millis(100);
/// How long what is on its way may take to come after the last message was sent,
const TAIL: Duration = Duration::from_secs(5);
/// and how long nothing may come before it counts as lost.
const QUIET: Duration = Duration::from_millis(700);

/// Runs what the command line says.
///
/// # Errors
/// If the nodes do not come up, or nothing arrived.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.part {
        Some(Part::Relay(relay)) => relays::run(relay),
        None => load(&cli.load),
    }
}

fn load(arguments: &Arguments) -> Result<(), Failure> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends the process at once; its relays end with it.
        signal_hook::flag::register_conditional_shutdown(signal, 130, stopped.clone())
            .and_then(|_| signal_hook::flag::register(signal, stopped.clone()))
            .map_err(|e| Failure::Other(format!("cannot listen for signals: {e}")))?;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
        bar.set_style(style);
    }
    let stage = |stage: &str| {
        bar.set_message(stage.to_owned());
        bar.tick();
    };
    let report = if arguments.bare {
        let ends = Ends::start(arguments, stage)?;
        bar.set_message("measuring");
        bare::run(arguments, &ends, &stopped)?
    } else {
        let nodes = Nodes::start(arguments, stage)?;
        measure(arguments, &nodes, &stopped, &bar)
    };
    bar.finish_and_clear();
    report.print(arguments)?;
    if report.delivered == 0 {
        return Err(Failure::Other("nothing arrived".into()));
    }
    Ok(())
}

/// The pairs, sender by sender. Each has a number at its receiver.
fn pairs(arguments: &Arguments, nodes: &Nodes) -> Vec<Vec<Pair>> {
    let mut numbers = vec![0; nodes.receivers.len()];
    let of = |sender| {
        let mut pairs = Vec::new();
        for receiver in nodes.receivers_of(arguments, sender) {
            let engine = nodes.receivers.get(receiver);
            let Some((engine, number)) = engine.zip(numbers.get_mut(receiver)) else { continue };
            pairs.push(Pair::new(engine.handle().hashname(), *number));
            *number += 1;
        }
        pairs
    };
    (0..nodes.senders.len()).map(of).collect()
}

fn manner(arguments: &Arguments, senders: usize) -> Manner {
    let group = arguments.together();
    let together = if arguments.kind == Kind::LinePing { 1 } else { group };
    let drivers = if arguments.kind == Kind::LinePing { 1 } else { senders };
    let pace = match (arguments.window(), arguments.rate) {
        (Some(window), _) => Pace::Closed { window },
        (None, rate) => {
            #[expect(clippy::cast_precision_loss, reason = "numbers of nodes and rates are small")]
            let each = rate.unwrap_or(1) as f64 / drivers.max(1) as f64;
            Pace::Open { interval: f64::from(together) * 1e9 / each }
        }
    };
    Manner {
        pace,
        group: together,
        size: arguments.size.clone(),
        priority: arguments.priority.clone(),
        sealed: arguments.in_lines(),
    }
}

/// What the threads of a run bring home.
#[derive(Default)]
struct Yield {
    sent: Sent,
    received: Received,
    failed: BTreeMap<String, u64>,
    before: Snapshot,
    after: Snapshot,
}

/// The state of everything at one moment.
#[derive(Default)]
struct Snapshot {
    at: u64,
    sent: u64,
    arrived: u64,
    relays: Vec<Usage>,
    load: Usage,
}

fn measure(
    arguments: &Arguments,
    nodes: &Nodes,
    stopped: &AtomicBool,
    bar: &ProgressBar,
) -> Report {
    let pairs = pairs(arguments, nodes);
    let how = manner(arguments, pairs.len());
    let clock = Clock::start();
    let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    let from = nanos(arguments.warm_up);
    let span = Span::new(clock, from, from + nanos(arguments.duration), arguments.count);
    let end = AtomicBool::new(false);
    let pids: Vec<u32> =
        nodes.relays.iter().map(relays::Relay::pid).chain(arguments.via_pid).collect();
    let course = Course { pairs: &pairs, span: &span, pids: &pids, stopped, bar };
    let mut got = thread::scope(|scope| {
        let receivers: Vec<_> = nodes
            .receivers
            .iter()
            .map(|engine| {
                let to = engine.handle().hashname();
                let inbox = engine.handle().subscribe(sender::namespace(), None);
                // Nothing else subscribes at a node of this program.
                let inbox = inbox.expect("a subscription");
                let mut own: Vec<&Pair> = pairs.iter().flatten().filter(|p| p.to == to).collect();
                own.sort_by_key(|p| p.number);
                let receiver = Receiver::new(inbox, &span, own);
                let end = &end;
                scope.spawn(move || receiver.run(end))
            })
            .collect();
        if let (Some(beside), Some(rate)) = (&nodes.beside, arguments.beside) {
            let size = arguments.size.draw(&mut Chance::from_number(arguments.seed)).unwrap_or(0);
            let span = &span;
            scope.spawn(move || beside.run(span, rate, size, arguments.stalled));
        }
        let mut got = Yield::default();
        if arguments.kind == Kind::LinePing {
            let sources: Vec<(Handle, Vec<&Pair>)> = nodes
                .senders
                .iter()
                .zip(&pairs)
                .map(|(e, p)| (e.handle().clone(), p.iter().collect()))
                .collect();
            let (span, how) = (&span, &how);
            let pings = scope.spawn(move || pings::run(&sources, span, how, arguments.seed));
            (got.before, got.after) = course.watch();
            if let Ok(pinged) = pings.join() {
                got.sent.measured = pinged.sent;
                got.received.add(&pinged.received);
                got.failed = pinged.failed;
            }
        } else {
            let mut senders = Vec::new();
            for (seed, (engine, own)) in (arguments.seed..).zip(nodes.senders.iter().zip(&pairs)) {
                let (handle, chance) = (engine.handle().clone(), Chance::from_number(seed));
                let sender = Sender::new(handle, &span, own.iter(), how.clone(), chance);
                senders.push(scope.spawn(move || sender.run()));
            }
            (got.before, got.after) = course.watch();
            senders.into_iter().filter_map(|s| s.join().ok()).for_each(|s| got.sent.add(&s));
        }
        course.let_arrive();
        end.store(true, Ordering::Relaxed);
        let received = receivers.into_iter().filter_map(|r| r.join().ok());
        received.for_each(|r| got.received.add(&r));
        got
    });
    came_back(nodes, &mut got.failed);
    let mut report = report(nodes, &got, &pids);
    if !arguments.priority.is_single() {
        report.priorities = report::priorities(&got.received.levels, report.seconds);
    }
    report
}

/// Watching over a run while its threads work.
struct Course<'a> {
    pairs: &'a [Vec<Pair>],
    span: &'a Span,
    pids: &'a [u32],
    stopped: &'a AtomicBool,
    bar: &'a ProgressBar,
}

impl Course<'_> {
    fn snapshot(&self) -> Snapshot {
        let sum = |of: fn(&Pair) -> u64| self.pairs.iter().flatten().map(of).sum();
        Snapshot {
            at: self.span.now(),
            sent: sum(|p| p.sent.load(Ordering::Relaxed)),
            arrived: sum(|p| p.arrived.load(Ordering::Relaxed)),
            relays: self.pids.iter().map(|pid| Usage::of(*pid)).collect(),
            load: Usage::of(std::process::id()),
        }
    }

    /// Waits until the run is over; how things stood when measuring began and ended.
    fn watch(&self) -> (Snapshot, Snapshot) {
        self.wait_until(self.span.begins());
        let before = self.snapshot();
        self.wait_until(self.span.ends());
        (before, self.snapshot())
    }

    fn wait_until(&self, moment: u64) {
        loop {
            let now = self.span.now();
            if self.stopped.load(Ordering::Relaxed) {
                self.span.end();
            }
            if now >= moment || self.span.is_over(now) {
                return;
            }
            self.show(now);
            thread::park_timeout(SHOW.min(Duration::from_nanos(moment - now)));
        }
    }

    fn show(&self, now: u64) {
        if self.bar.is_hidden() {
            return;
        }
        let s = self.snapshot();
        let stage = if now < self.span.begins() { "warming up" } else { "measuring" };
        self.bar.set_message(format!("{stage}: {} sent, {} arrived", s.sent, s.arrived));
        self.bar.tick();
    }

    /// Gives what is on its way the time to come.
    fn let_arrive(&self) {
        let start = self.span.now();
        let (mut seen, mut since) = (0, start);
        loop {
            let now = self.span.now();
            let s = self.snapshot();
            if s.arrived != seen {
                (seen, since) = (s.arrived, now);
            }
            let over = |from: u64, limit: Duration| Duration::from_nanos(now - from) > limit;
            let done = s.arrived >= s.sent || over(since, QUIET) || over(start, TAIL);
            if done || self.stopped.load(Ordering::Relaxed) {
                return;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// Adds what came back to its senders, by code, and what receivers could not take.
fn came_back(nodes: &Nodes, failed: &mut BTreeMap<String, u64>) {
    for engine in &nodes.senders {
        for (code, count) in engine.handle().came_back_by_code().filter(|(_, n)| *n > 0) {
            *failed.entry(code.label().to_owned()).or_default() += count;
        }
    }
}

fn report(nodes: &Nodes, got: &Yield, pids: &[u32]) -> Report {
    let (before, after) = (&got.before, &got.after);
    let arrived = after.arrived.saturating_sub(before.arrived);
    let seconds = Duration::from_nanos(after.at.saturating_sub(before.at)).as_secs_f64();
    let node = |name: String, pid, before: &Usage, after: &Usage| {
        Node::new(name, pid, after.since(before), arrived, seconds)
    };
    let mut processes: Vec<Node> = Vec::new();
    for (i, (pid, (b, a))) in pids.iter().zip(before.relays.iter().zip(&after.relays)).enumerate() {
        processes.push(node(format!("relay {}", i + 1), *pid, b, a));
    }
    processes.push(node("load".into(), std::process::id(), &before.load, &after.load));
    Report {
        seconds,
        sent: got.sent.measured,
        delivered: got.received.measured,
        sent_in_time: after.sent.saturating_sub(before.sent),
        delivered_in_time: arrived,
        lost: got.sent.measured.saturating_sub(got.received.measured),
        reordered: got.received.reordered,
        duplicated: got.received.duplicated,
        strange: got.received.strange,
        untaken: nodes.receivers.iter().map(|e| e.handle().overflowed()).sum(),
        stalls: got.sent.stalls,
        refused: got.sent.refused,
        returned: got.failed.clone(),
        latency: report::Latency::of(&got.received.latency()),
        priorities: Vec::new(),
        processes,
    }
}
