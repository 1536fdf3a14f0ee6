//! `asks`: a node that asks and a node that answers, for `perf/urgent.sh`. Both are embedded, so that a
//! round trip wakes the nodes on its way and the thread that asked, and no other process.

use std::io::{self, BufRead, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use trunkline::{Engine, Handle, Hashname, Namespace, Outbound, Priority};
use trunkline_tools::clock::Clock;

/// How long the other end may take to be reached.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an answer may take.
const LATE: Duration = Duration::from_secs(5);
/// Threads that ask: so many answers may be outstanding.
const ASKERS: u32 = 16;

/// Ask a node through others, or be the one that answers.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Answer until standard input ends
    Answer(Answer),
    /// Ask as lines of standard input say: `request PRIORITY COUNT MILLISECONDS`, the last from one to
    /// the next, or `ping` likewise; each is answered with median, 99th percentile (ms) and how many
    /// had no answer
    Ask(Ask),
}

#[derive(Debug, Args)]
struct Answer {
    /// The node's key file
    #[arg(long)]
    keys: std::path::PathBuf,
    /// Where it listens for links
    #[arg(long)]
    listen: String,
    /// A target that streams may be led to
    #[arg(long)]
    allow: String,
}

#[derive(Debug, Args)]
struct Ask {
    /// The node's key file
    #[arg(long)]
    keys: std::path::PathBuf,
    /// The address of its neighbour,
    #[arg(long)]
    link: String,
    /// and who that is
    #[arg(long)]
    neighbour: Hashname,
    /// Whom it asks
    #[arg(long)]
    to: Hashname,
    /// A local port that leads to a target there
    #[arg(long, num_args = 2, value_names = ["TARGET", "LISTEN"])]
    proxy: Vec<String>,
    /// The same to the neighbour
    #[arg(long, num_args = 2, value_names = ["TARGET", "LISTEN"])]
    next: Vec<String>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Cli::parse().part {
        Part::Answer(arguments) => answer(&arguments),
        Part::Ask(arguments) => ask(&arguments),
    }
}

fn namespace() -> Namespace {
    // The name is a constant that is one.
    Namespace::new("clock").expect("a name")
}

fn answer(arguments: &Answer) -> Result<(), Box<dyn std::error::Error>> {
    let node = Engine::builder()
        .keys(&arguments.keys)
        .space("urgent")
        .listen(&arguments.listen)
        .allow(&arguments.allow)
        .on_message(namespace(), |question| {
            // Lost only if this node is full, which the asker counts.
            let _ = question.reply("noon");
        })
        .start()?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    node.stop();
    Ok(())
}

fn ask(arguments: &Ask) -> Result<(), Box<dyn std::error::Error>> {
    let mut node = Engine::builder()
        .keys(&arguments.keys)
        .space("urgent")
        .link(&arguments.link, arguments.neighbour);
    for (to, proxy) in [(arguments.to, &arguments.proxy), (arguments.neighbour, &arguments.next)] {
        if let [target, listen] = &proxy[..] {
            node = node.proxy(to, target, listen);
        }
    }
    let node = node.start()?;
    if !node.handle().wait_reachable(&arguments.to, PATIENCE) {
        return Err("nobody of that hashname is reached".into());
    }
    // The line is opened by the first question.
    node.handle()
        .ping(arguments.to, Priority::HIGHEST, 9, PATIENCE)
        .map_err(|e| format!("{e:?}"))?;
    println!("ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [what, priority, count, interval] = words[..] else {
            return Err(format!("not a question: {line}").into());
        };
        let priority = Priority::new(priority.parse()?).ok_or("priorities are 0 to 7")?;
        let run = Run {
            node: node.handle(),
            to: arguments.to,
            pings: what == "ping",
            priority,
            count: count.parse()?,
            interval: Duration::from_millis(interval.parse()?),
        };
        println!("{}", run.go());
        io::stdout().flush()?;
    }
    node.stop();
    Ok(())
}

/// So many questions at a steady pace.
struct Run<'a> {
    node: &'a Handle,
    to: Hashname,
    pings: bool,
    priority: Priority,
    count: u32,
    interval: Duration,
}

impl Run<'_> {
    fn go(&self) -> String {
        let (clock, tickets, took) = (Clock::start(), AtomicU32::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..ASKERS {
                scope.spawn(|| {
                    loop {
                        // Whoever is free takes the next one that is due.
                        let ticket = tickets.fetch_add(1, Ordering::Relaxed);
                        if ticket >= self.count {
                            return;
                        }
                        pause(&clock, self.interval * ticket);
                        let began = clock.nanos();
                        if self.ask() {
                            let nanos = clock.nanos() - began;
                            took.lock().unwrap_or_else(|e| e.into_inner()).push(nanos);
                        }
                    }
                });
            }
        });
        let mut took = took.into_inner().unwrap_or_else(|e| e.into_inner());
        took.sort_unstable();
        let at = |percent: usize| {
            let rank = (took.len() * percent).div_ceil(100).max(1) - 1;
            let nanos = took.get(rank).map(|n| Duration::from_nanos(*n));
            nanos.map_or("-".into(), |t| format!("{:.1}", t.as_secs_f64() * 1e3))
        };
        format!("{} {} {}", at(50), at(99), self.count as usize - took.len())
    }

    fn ask(&self) -> bool {
        if self.pings {
            return self.node.ping(self.to, self.priority, 9, LATE).is_ok();
        }
        let mut what = Outbound::to(namespace(), 1.into());
        what.priority = self.priority;
        self.node.request(self.to, &what, "?", LATE).is_ok()
    }
}

/// Waits until so long after the clock's start.
#[allow(clippy::disallowed_methods, reason = "what passes is the pace that was asked for")]
fn pause(clock: &Clock, until: Duration) {
    std::thread::sleep(until.saturating_sub(Duration::from_nanos(clock.nanos())));
}
