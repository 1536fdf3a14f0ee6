//! Senders and receivers that are no nodes: as little as speaks the protocol of a link, all on one
//! thread.
//!
//! A node that takes part in a mesh does more for a message than a relay between does, so with
//! nodes at both ends it is they who say how fast a relay is asked to be, and in which pieces.
//! Here groups of messages are made once and written whole, and what arrives is counted frame by
//! frame. That is also how light clients of other relays work, and so what to compare with.
//!
//! Messages go as in [`super::sender`], one flow for each pair; they carry an envelope, and the
//! relay between cannot tell them from a node's.

mod link;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::{Events, Poll};
use trunkline::net::LinkTls;
use trunkline_proto::base::{BootEpoch, Chance, Limits};
use trunkline_proto::crypto::Identity;

use self::link::{Batch, Link};
use super::arguments::{Arguments, Kind, Neighbour};
use super::nodes::Ends;
use super::process::Usage;
use super::receiver;
use super::report::{Latency, Node, Report};
use super::span::Span;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::kernel;

/// How long the links and routes may take to come up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is tried whether a pair's route is there.
const TRY: u64 = 200_000_000;
/// How long a window may stand still before what is in it counts as lost,
const STALL: u64 = 500_000_000;
/// and how long the rest may take to come when nothing is sent any more.
const TAIL: u64 = 700_000_000;
/// Writes of one turn, so that asking what has come is not most of the work.
const WRITES: u32 = 64;
/// Waits shorter than this are spent asking again: waking up takes longer.
const SHORT: u64 = 60_000;
/// How often links are asked whether a heartbeat is due.
const PULSE: u64 = 20_000_000;

/// Two links: one sends, and what it sends comes over the other.
struct Pair {
    sender: usize,
    batch: Batch,
    /// Messages handed over so far,
    sent: u64,
    /// such that came,
    came: u64,
    /// and messages up to the newest that came.
    settled: u64,
    /// When one came last.
    moved: u64,
}

impl Pair {
    const fn on_their_way(&self) -> u64 {
        self.sent - self.settled
    }
}

/// What is counted while a run goes on.
struct Course {
    clock: Clock,
    latency: Histogram<u64>,
    reordered: u64,
    stalls: u64,
    /// Latencies count from here on.
    measures: bool,
}

/// All links, and what goes over them.
struct Bare {
    poll: Poll,
    events: Events,
    links: Vec<Link>,
    pairs: Vec<Pair>,
    pulse: u64,
    course: Course,
}

/// Sends, and says what became of it.
///
/// # Errors
/// If links or routes do not come up, or one is lost.
pub(super) fn run(
    arguments: &Arguments,
    ends: &Ends,
    stopped: &AtomicBool,
) -> Result<Report, Failure> {
    let failed = |e: io::Error| Failure::Other(format!("bare links: {e}"));
    if arguments.kind != Kind::Message {
        let what = "bare links have no lines: with --bare, --kind is message";
        return Err(Failure::Other(what.into()));
    }
    let mut bare = Bare::new(arguments, ends).map_err(failed)?;
    bare.come_up().map_err(failed)?;
    bare.find_routes(stopped)?;
    let pids: Vec<u32> = ends.relays.iter().map(|r| r.pid()).chain(arguments.via_pid).collect();
    let from = bare.course.clock.nanos() + duration(arguments.warm_up);
    let span = Span::new(bare.course.clock, from, from + duration(arguments.duration), None);
    std::thread::scope(|scope| {
        if let (Some(beside), Some(rate)) = (&ends.beside, arguments.beside) {
            let (span, size) = (&span, arguments.size.draw(&mut Chance::from_number(0)));
            let size = size.unwrap_or_default();
            scope.spawn(move || beside.run(span, rate, size, arguments.stalled));
        }
        let report = bare.measure(arguments, &span, &pids, stopped);
        span.end();
        report.map_err(failed)
    })
}

/// How things stood.
struct Moment {
    at: u64,
    sent: u64,
    came: u64,
    relays: Vec<Usage>,
    load: Usage,
}

impl Moment {
    fn now(bare: &Bare, pids: &[u32]) -> Self {
        Self {
            at: bare.course.clock.nanos(),
            sent: bare.pairs.iter().map(|p| p.sent).sum(),
            came: bare.pairs.iter().map(|p| p.came).sum(),
            relays: pids.iter().map(|pid| Usage::of(*pid)).collect(),
            load: Usage::of(std::process::id()),
        }
    }
}

impl Bare {
    fn measure(
        &mut self,
        arguments: &Arguments,
        span: &Span,
        pids: &[u32],
        stopped: &AtomicBool,
    ) -> io::Result<Report> {
        self.send(arguments, span.begins(), stopped)?;
        self.course.measures = true;
        let before = Moment::now(self, pids);
        self.send(arguments, span.ends(), stopped)?;
        let after = Moment::now(self, pids);
        self.let_arrive()?;
        Ok(report(self, &before, &after, pids))
    }

    fn new(arguments: &Arguments, ends: &Ends) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (clock, limits) = (Clock::start(), Limits::default());
        let mut chance = Chance::from_number(arguments.seed);
        let mut draw = chance.fork();
        let mut links = Vec::new();
        let mut link = |identity: &Arc<Identity>, to: &Neighbour| -> io::Result<usize> {
            let tls = match arguments.transport {
                trunkline::config::Transport::Tls => {
                    let made = LinkTls::new(&identity.signing_pkcs8());
                    Some(made.map_err(io::Error::other)?)
                }
                trunkline::config::Transport::Plain => None,
            };
            let epoch = BootEpoch(u64::from(std::process::id()));
            let own = Arc::clone(identity);
            let mut link = Link::dial(links.len(), own, epoch, to, tls, &limits, &mut chance)?;
            link.register(poll.registry())?;
            links.push(link);
            Ok(links.len() - 1)
        };
        let mut pairs = Vec::new();
        for (number, (from, to)) in (0..).zip(&ends.pairs) {
            let receiver = link(to, &ends.last)?;
            let sender = link(from, &ends.first)?;
            debug_assert!(receiver + 1 == sender && receiver == 2 * pairs.len());
            let (source, destination) = (from.hashname().address(), to.hashname().address());
            let size = arguments.size.draw(&mut draw).unwrap_or_default();
            let priority = arguments.priority.draw(&mut draw).unwrap_or_default();
            let batch =
                Batch::new(source, destination, number, size, priority, arguments.together())
                    .map_err(|e| io::Error::other(e.label()))?;
            pairs.push(Pair { sender, batch, sent: 0, came: 0, settled: 0, moved: 0 });
        }
        let latency = receiver::histogram();
        let course = Course { clock, latency, reordered: 0, stalls: 0, measures: false };
        Ok(Self { poll, events: Events::with_capacity(1_024), links, pairs, pulse: 0, course })
    }

    /// Until all links stand and all have said who they are.
    fn come_up(&mut self) -> io::Result<()> {
        let end = self.course.clock.nanos() + duration(PATIENCE);
        while !self.links.iter().all(Link::is_up) {
            if self.course.clock.nanos() > end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a link did not come up"));
            }
            self.turn(Some(Duration::from_millis(1)))?;
        }
        Ok(())
    }

    /// Until a message of each pair has come.
    fn find_routes(&mut self, stopped: &AtomicBool) -> Result<(), Failure> {
        let failed = |e: io::Error| Failure::Other(format!("bare links: {e}"));
        let end = self.course.clock.nanos() + duration(PATIENCE);
        let mut next = 0;
        while self.pairs.iter().any(|p| p.came == 0) {
            let now = self.course.clock.nanos();
            if now > end || stopped.load(Ordering::Relaxed) {
                let missing = self.pairs.iter().filter(|p| p.came == 0).count();
                return Err(Failure::Other(format!(
                    "no route between the ends of {missing} pairs after {} s",
                    PATIENCE.as_secs()
                )));
            }
            if now >= next {
                next = now + TRY;
                for pair in self.pairs.iter_mut().filter(|p| p.came == 0) {
                    if let Some(link) = self.links.get_mut(pair.sender) {
                        link.send(pair.batch.stamped(1, pair.sent, now)).map_err(failed)?;
                        pair.sent += 1;
                    }
                }
            }
            self.turn(Some(Duration::from_millis(1))).map_err(failed)?;
        }
        self.let_arrive().map_err(failed)?;
        for pair in &mut self.pairs {
            // What went before its route was there is not asked for.
            pair.settled = pair.sent;
            pair.came = pair.sent;
        }
        Ok(())
    }

    fn send(&mut self, arguments: &Arguments, until: u64, stopped: &AtomicBool) -> io::Result<()> {
        let group = u64::from(arguments.together());
        let window = arguments.window().map(|w| u64::from(w).max(group));
        let start = self.course.clock.nanos();
        let mut turn = 0u64;
        loop {
            let now = self.course.clock.nanos();
            if now >= until || stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            let mut sent = false;
            if let Some(window) = window {
                let mut writes = 0;
                let mut full = false;
                while !full && writes < WRITES {
                    full = true;
                    for index in 0..self.pairs.len() {
                        if self.fill(index, window, group, now)? {
                            (full, sent) = (false, true);
                            writes += 1;
                        }
                    }
                }
            } else {
                #[expect(clippy::cast_precision_loss, reason = "rates and counts are small")]
                let interval = group as f64 * 1e9 / arguments.rate.unwrap_or(1) as f64;
                #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
                #[expect(clippy::cast_sign_loss, reason = "exact for hours of nanoseconds")]
                let due = start + (turn as f64 * interval) as u64;
                let early = due.saturating_sub(now);
                if early == 0 {
                    let index = usize::try_from(turn).unwrap_or(0) % self.pairs.len().max(1);
                    self.write(index, group, due)?;
                    turn += 1;
                } else if early > SHORT {
                    // Not in full: what is late by a timer would count as the relay's.
                    let patience = (early - SHORT / 2).min(PULSE);
                    kernel::wait_for_events(&self.poll, Duration::from_nanos(patience))?;
                }
            }
            let patience = (window.is_some() && !sent).then_some(Duration::from_millis(1));
            self.turn(Some(patience.unwrap_or_default()))?;
        }
    }

    /// Sends a group if the window has room for it.
    fn fill(&mut self, index: usize, window: u64, group: u64, now: u64) -> io::Result<bool> {
        let Some(pair) = self.pairs.get_mut(index) else { return Ok(false) };
        if pair.on_their_way() + group > window {
            if now.saturating_sub(pair.moved) > STALL && pair.moved > 0 {
                self.course.stalls += 1;
                pair.settled = pair.sent;
                pair.moved = now;
            }
            return Ok(false);
        }
        let full = self.links.get(pair.sender).is_none_or(Link::is_full);
        if full {
            return Ok(false);
        }
        self.write(index, group, now)?;
        Ok(true)
    }

    fn write(&mut self, index: usize, group: u64, due: u64) -> io::Result<()> {
        let Some(pair) = self.pairs.get_mut(index) else { return Ok(()) };
        let Some(link) = self.links.get_mut(pair.sender) else { return Ok(()) };
        link.send(pair.batch.stamped(group, pair.sent, due))?;
        pair.sent += group;
        if pair.moved == 0 {
            pair.moved = due;
        }
        Ok(())
    }

    /// Takes what has come, and waits for it as long as it may.
    fn turn(&mut self, patience: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = self.course.clock.nanos();
        for event in &self.events {
            let Some(link) = self.links.get_mut(event.token().0) else { continue };
            if event.is_writable() {
                link.writable(self.course.clock.now())?;
            }
            if event.is_readable() {
                // The receiving link of each pair is made before its sending one.
                let Some(pair) = self.pairs.get_mut(event.token().0 / 2) else { continue };
                let course = &mut self.course;
                let at = course.clock.now();
                link.readable(at, |stamp| course.came(pair, stamp.sequence, stamp.due, now))?;
            }
        }
        if now.saturating_sub(self.pulse) > PULSE {
            self.pulse = now;
            for link in &mut self.links {
                link.beat(self.course.clock.now())?;
            }
        }
        Ok(())
    }

    fn let_arrive(&mut self) -> io::Result<()> {
        let start = self.course.clock.nanos();
        while self.pairs.iter().any(|p| p.on_their_way() > 0)
            && self.course.clock.nanos() < start + TAIL
        {
            self.turn(Some(Duration::from_millis(1)))?;
        }
        Ok(())
    }
}

impl Course {
    fn came(&mut self, pair: &mut Pair, sequence: u64, due: u64, now: u64) {
        pair.came += 1;
        pair.moved = now;
        if sequence < pair.settled {
            self.reordered += 1;
        } else {
            pair.settled = (sequence + 1).min(pair.sent);
        }
        if self.measures {
            self.latency.saturating_record(now.saturating_sub(due).max(1));
        }
    }
}

fn duration(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn report(bare: &Bare, before: &Moment, after: &Moment, pids: &[u32]) -> Report {
    let seconds = Duration::from_nanos(after.at - before.at).as_secs_f64();
    let arrived = after.came - before.came;
    let mut processes = Vec::new();
    let relays = before.relays.iter().zip(&after.relays);
    for (i, (pid, (before, after))) in pids.iter().zip(relays).enumerate() {
        let usage = after.since(before);
        processes.push(Node::new(format!("relay {}", i + 1), *pid, usage, arrived, seconds));
    }
    let load = after.load.since(&before.load);
    processes.push(Node::new("load".into(), std::process::id(), load, arrived, seconds));
    let came: u64 = bare.pairs.iter().map(|p| p.came).sum();
    let sent = after.sent - before.sent;
    Report {
        seconds,
        sent,
        delivered: (came - before.came).min(sent),
        sent_in_time: sent,
        delivered_in_time: arrived,
        lost: after.sent.saturating_sub(came),
        reordered: bare.course.reordered,
        stalls: bare.course.stalls,
        latency: Latency::of(&bare.course.latency),
        processes,
        ..Report::default()
    }
}
