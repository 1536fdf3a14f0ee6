//! `zenohasks`: a client of zenohd for `perf/urgent.sh`: what zenoh's priorities offer a request beside
//! bulk. Whoever asks, answers, floods or takes the flood is a process with a session of its own.

use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use trunkline_perf_zenoh::{Failure, open};
use zenoh::bytes::ZBytes;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::sample::Sample;
use zenoh::{Session, Wait};

/// How long answers may take, and the router to be there.
const LATE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a message of the bulk.
const PIECE: usize = 16 << 10;
const QUESTIONS: &str = "urgent/questions";
const ANSWERS: &str = "urgent/answers";
const BULK: &str = "bulk";

/// Take part in a measurement of urgent requests beside bulk.
#[derive(Debug, Parser)]
struct Arguments {
    part: Part,
    /// The router, as tcp/ADDRESS:PORT
    router: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    /// Answer at the question's priority, until ended
    Answer,
    /// Take the bulk, until ended
    Sink,
    /// Publish bulk at the default priority as fast as it is taken, until ended
    Flood,
    /// Ask as lines of standard input say: PRIORITY (1, the most urgent, to 7) COUNT MILLISECONDS (from
    /// one to the next); each is answered with median, 99th percentile (ms) and how many had no answer
    Ask,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let session = connect(&arguments.router)?;
    match arguments.part {
        Part::Answer => answer(&session),
        Part::Sink => sink(&session),
        Part::Flood => flood(&session),
        Part::Ask => ask(&session),
    }
}

fn connect(router: &str) -> Result<Session, Failure> {
    let began = Instant::now();
    loop {
        match open(router) {
            Err(_) if began.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(100)),
            outcome => return outcome,
        }
    }
}

fn say(session: &Session, key: &str, what: ZBytes, priority: Priority) -> Result<(), Failure> {
    session
        .put(key, what)
        .congestion_control(CongestionControl::Block)
        .priority(priority)
        .express(true)
        .wait()
}

fn answer(session: &Session) -> Result<(), Failure> {
    let questions = session.declare_subscriber(QUESTIONS).wait()?;
    while let Ok(question) = questions.recv() {
        say(session, ANSWERS, question.payload().clone(), question.priority())?;
    }
    Ok(())
}

fn sink(session: &Session) -> Result<(), Failure> {
    let _taken = session.declare_subscriber(BULK).callback(drop::<Sample>).wait()?;
    loop {
        thread::park();
    }
}

fn flood(session: &Session) -> Result<(), Failure> {
    let bulk = session.declare_publisher(BULK).congestion_control(CongestionControl::Block);
    let bulk = bulk.wait()?;
    let piece = ZBytes::from(vec![b'x'; PIECE]);
    loop {
        bulk.put(piece.clone()).wait()?;
    }
}

/// When each question was asked, and how long its answer took.
type Asked = Vec<(Instant, Option<Duration>)>;

fn ask(session: &Session) -> Result<(), Failure> {
    let asked: Arc<Mutex<Asked>> = Arc::default();
    let heard = asked.clone();
    let _answers = session
        .declare_subscriber(ANSWERS)
        .callback(move |answer| {
            let number = answer.payload().to_bytes().as_ref().try_into().map(u64::from_le_bytes);
            let mut asked = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let number = number.ok().and_then(|n| usize::try_from(n).ok());
            if let Some((at, took)) = number.and_then(|n| asked.get_mut(n)) {
                *took = Some(at.elapsed());
            }
        })
        .wait()?;
    let look = || asked.lock().unwrap_or_else(PoisonError::into_inner);
    let next = |priority| {
        let mut all = look();
        let number = all.len() as u64;
        all.push((Instant::now(), None));
        drop(all);
        say(session, QUESTIONS, number.to_le_bytes().to_vec().into(), priority)
    };
    // Until somebody answers.
    while look().iter().all(|(_, took)| took.is_none()) {
        next(Priority::RealTime)?;
        thread::sleep(Duration::from_millis(100));
    }
    println!("ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [priority, count, interval] = words[..] else {
            return Err(format!("not a question: {line}").into());
        };
        let priority = Priority::try_from(u8::try_from(priority)?)?;
        let (began, first) = (Instant::now(), look().len());
        for n in 0..count {
            let due = Duration::from_millis(interval * n);
            thread::sleep(due.saturating_sub(began.elapsed()));
            next(priority)?;
        }
        let end = Instant::now() + LATE;
        let took = || -> Vec<Duration> {
            look().iter().skip(first).filter_map(|(_, took)| *took).collect()
        };
        while (took().len() as u64) < count && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        println!("{}", told(took(), count));
        io::stdout().flush()?;
    }
    Ok(())
}

/// Median, 99th percentile and what is missing of `count`.
fn told(mut took: Vec<Duration>, count: u64) -> String {
    took.sort_unstable();
    let at = |percent: usize| {
        let rank = (took.len() * percent).div_ceil(100).max(1) - 1;
        took.get(rank).map_or("-".into(), |t| format!("{:.1}", t.as_secs_f64() * 1e3))
    };
    format!("{} {} {}", at(50), at(99), count - took.len() as u64)
}
