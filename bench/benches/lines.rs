//! What many lines cost a node: memory for each, and what a packet and a tick of time cost with
//! one line and with all of them. One table, not criterion: making the lines takes minutes.
//!
//! `cargo bench -p trunkline-bench --bench lines [-- LINES]` (100,000). Packets are pings: each is
//! unsealed, and its answer sealed. With many lines each ping comes over another one of up to
//! 4,096 of them spread over the table, so that little of what it needs is in the processor's
//! cache.

#[path = "../tests/counting/mod.rs"]
mod counting;

use std::time::Duration;

use bytes::BytesMut;
use counting::{Counting, held};
use trunkline_bench::host::{Host, Peer, WALL};
use trunkline_proto::base::Priority;
use trunkline_proto::switch::{Ask, Question, Token};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Peers that stay to send something.
const STAY: usize = 4_096;
/// Pings of one measurement,
const PINGS: usize = 16_384;
/// and of one peer at a time: it asks no more before it has heard answers.
const AT_A_TIME: usize = 8;

/// Pings from the peers in turn, ready to be handed over.
fn pings(host: &Host, peers: &mut [Peer], token: &mut u64) -> Vec<(usize, BytesMut)> {
    (0..PINGS.min(AT_A_TIME * peers.len()))
        .filter_map(|n| {
            // A step that shares no divisor with their number.
            let which = n * 2_731 % peers.len();
            let peer = peers.get_mut(which)?;
            *token += 1;
            let patience = Duration::from_secs(5);
            let question = Question::Ping { priority: Priority::DEFAULT, length: 300, patience };
            let ask = Ask { token: Token(*token), peer: host.hashname(), question };
            peer.switch.ask(host.now, ask);
            peer.sent().pop().map(|bytes| (which, bytes))
        })
        .collect()
}

/// Nanoseconds of one ping and its answer: the least of five rounds, and their median.
#[expect(clippy::disallowed_methods, reason = "this is what measures")]
fn ping(host: &mut Host, peers: &mut [Peer], token: &mut u64) -> (f64, f64) {
    let mut each: Vec<f64> = (0..5)
        .map(|_| {
            let (mut count, mut took) = (0, Duration::ZERO);
            while count < PINGS {
                let pings = pings(host, peers, token);
                let (asked, mut answers) = (pings.len(), Vec::with_capacity(pings.len()));
                let began = std::time::Instant::now();
                for (which, bytes) in pings {
                    let at = peers[which].at;
                    host.take(at, bytes);
                    answers.extend(host.sent().into_iter().map(|(_, bytes)| (which, bytes)));
                }
                took += began.elapsed();
                assert!(asked > 0 && answers.len() == asked, "{:?}", host.shard.drops());
                count += asked;
                for (which, bytes) in answers {
                    peers[which].take(host.now, &bytes);
                    let _answered = peers[which].sent();
                }
            }
            took.as_secs_f64() * 1e9 / count as f64
        })
        .collect();
    each.sort_by(f64::total_cmp);
    (each[0], each[2])
}

/// Lets `span` pass by deadlines; seconds of the processor, wake-ups and datagrams sent meanwhile.
#[expect(clippy::disallowed_methods, reason = "this is what measures")]
fn pass(host: &mut Host, span: Duration) -> (f64, u64, usize) {
    let (end, mut wakes, mut sent) = (host.now + span, 0, 0);
    let began = std::time::Instant::now();
    while let Some(due) = host.shard.deadline().filter(|d| *d <= end) {
        host.now = host.now.max(due);
        host.shard.handle_timeout(host.now, WALL);
        sent += host.sent().len();
        wakes += 1;
    }
    host.now = end;
    (began.elapsed().as_secs_f64(), wakes, sent)
}

fn main() {
    let real = std::env::args().any(|a| a == "--bench");
    let asked = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let lines: usize = asked.unwrap_or(if real { 100_000 } else { 50 });
    let mut host = Host::new(lines);
    let (mut peers, mut token) = (vec![host.meet()], 0);
    let marks: Vec<usize> =
        [1, 1_000, 10_000].into_iter().filter(|m| *m < lines).chain([lines]).collect();
    let every = (lines / STAY).max(1);
    // Of lines whose peers are gone: those that stay are memory of this program too.
    let (mut bytes, mut counted) = (0, 0);
    println!(
        "| lines | bytes each | ns a ping, least, median | of a second of time: µs, wake-ups, sent |"
    );
    println!("| ---: | ---: | ---: | ---: |");
    for mark in marks {
        while host.opened() < mark {
            let before = held();
            let peer = host.meet();
            if host.opened().is_multiple_of(every) && peers.len() < STAY {
                peers.push(peer);
            } else {
                drop(peer);
                // The first pay for pools.
                if host.opened() > 8 {
                    (bytes, counted) = (bytes + held() - before, counted + 1);
                }
            }
        }
        let each = bytes.checked_div(counted).unwrap_or(0);
        let (least, median) = ping(&mut host, &mut peers, &mut token);
        let (seconds, wakes, sent) = pass(&mut host, Duration::from_millis(200));
        let time = format!("{:.0}, {}, {}", seconds * 5e6, wakes * 5, sent * 5);
        println!("| {mark} | {each} | {least:.0}, {median:.0} | {time} |");
    }
}
