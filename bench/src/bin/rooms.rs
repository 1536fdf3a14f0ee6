//! A hot room, so many times over, for `perf/instructions.sh` to count its instructions.

use std::hint::black_box;
use std::process::ExitCode;

use bytes::Bytes;
use trunkline_bench::pair::Pair;
use trunkline_bench::relay::{Relay, frames};
use trunkline_bench::rules;

/// Messages in a batch.
const BATCH: u16 = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let room = arguments.next().unwrap_or_default();
    let Some(times) = arguments.next().and_then(|n| n.parse::<u32>().ok()) else {
        eprintln!("rooms: give a room and how many times: {}", ROOMS.join(", "));
        return ExitCode::from(2);
    };
    match room.as_str() {
        "forward" => forward(Relay::new(100), &frames(BATCH, 300, 1), times),
        "forward-large" => forward(Relay::new(100), &frames(BATCH, 1_200, 1), times),
        "forward-apart" => forward(Relay::between(100, 100), &frames(BATCH, 300, 100), times),
        "forward-one" => forward(Relay::new(100), &frames(1, 300, 1), times),
        "line" => line(times),
        "gate" => gate(times),
        other => {
            eprintln!("rooms: there is no room {other}: {}", ROOMS.join(", "));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

const ROOMS: [&str; 6] =
    ["forward", "forward-large", "forward-apart", "forward-one", "line", "gate"];

/// What callgrind counts, after a little that it does not, in which pools and tables get their size.
fn measure(times: u32, mut round: impl FnMut()) {
    for _ in 0..times / 64 {
        round();
    }
    measured(times, round);
}

#[inline(never)]
fn measured(times: u32, mut round: impl FnMut()) {
    for _ in 0..times {
        round();
    }
}

/// From a read to the pieces of a write.
fn forward(mut relay: Relay, batch: &[u8], times: u32) {
    measure(times, || {
        relay.read(batch);
        relay.write(|piece| {
            black_box(piece);
        });
    });
}

/// A batch sealed by one end of a line and unsealed by the other.
fn line(times: u32) {
    let mut pair = Pair::new();
    let bodies = vec![Bytes::from(vec![0x5a; 300]); usize::from(BATCH)];
    measure(times, || {
        pair.send(&bodies);
        let frames = pair.packages();
        pair.take(frames, |effect| {
            black_box(effect);
        });
    });
}

/// A look-up among the most rules there may be, which none of them is about.
fn gate(times: u32) {
    let mut gate = rules::gate(10_000);
    let question = rules::about(10_001);
    measure(times, || {
        black_box(gate.judge(black_box(&question)));
    });
}
