//! Our relay, driven by `trunkline-load`, which starts the relays itself: they are of the same
//! engine as `trunkline run`.

use std::process::Stdio;

use serde::Deserialize;

use super::stall::compare;
use crate::figures::{Figures, Metric};
use crate::place::{Place, WARM_UP};
use crate::plan::Shape;

/// What `trunkline-load --json` prints.
#[derive(Deserialize)]
struct Report {
    delivered_per_s: f64,
    sent_in_time: u64,
    delivered_in_time: u64,
    lost: u64,
    latency: Latency,
    processes: Vec<Process>,
}

#[derive(Deserialize)]
struct Latency {
    p50_us: f64,
    p99_us: f64,
    p99_9_us: f64,
}

#[derive(Deserialize)]
struct Process {
    name: String,
    busy: f64,
    cpu_s_per_million: f64,
    peak_rss_bytes: u64,
}

/// Messages through one relay or several over bare links, which sleep and wake as the other clients do.
pub(crate) fn hop(place: &Place, shape: &Shape, transport: &str) -> Result<Figures, String> {
    let hops = shape.hops.to_string();
    let bare = ["--bare", "--hops", &hops, "--transport", transport, "--kind", "message"];
    run(place, shape, &bare)
}

/// Datagrams of lines through a relay that carries them over a bridge.
pub(crate) fn bridged(place: &Place, shape: &Shape) -> Result<Figures, String> {
    run(place, shape, &["--bridged"])
}

/// What others lose to a receiver that does not read.
pub(crate) fn stall(place: &Place, shape: &Shape) -> Result<Figures, String> {
    let rate = super::stall::RATE.to_string();
    let plain = ["--bare", "--hops", "1", "--transport", "plain", "--beside", &rate];
    let before = run(place, shape, &plain)?;
    let stalled: Vec<&str> = plain.into_iter().chain(["--stalled"]).collect();
    compare(&before, run(place, shape, &stalled)?)
}

fn run(place: &Place, shape: &Shape, more: &[&str]) -> Result<Figures, String> {
    let program = "trunkline-load";
    let mut command = place.anywhere(program)?;
    for (flag, value) in [
        ("--size", shape.size.to_string()),
        ("--pairs", shape.pairs.to_string()),
        ("--group", shape.group.to_string()),
        ("--warm-up", WARM_UP.to_string()),
        ("--duration", place.seconds.to_string()),
        ("--pin-relay", place.relay_cpu.to_string()),
        ("--pin-load", place.load_cpu.to_string()),
    ] {
        command.arg(flag).arg(value);
    }
    match shape.rate {
        Some(rate) => command.arg("--rate").arg(rate.to_string()),
        // Its window is that of each pair.
        None => command.arg("--window").arg((shape.window / shape.pairs as u64).max(1).to_string()),
    };
    command.arg("--keys").arg(&place.keys).arg("--json").args(more);
    place.note(&command);
    let said = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let words = String::from_utf8_lossy(&said.stderr);
    let report: Report = serde_json::from_slice(&said.stdout)
        .map_err(|_| format!("{program}: {}", words.lines().last().unwrap_or_default()))?;
    figures(&report, shape.rate.is_some())
}

fn figures(report: &Report, timed: bool) -> Result<Figures, String> {
    let relays = || report.processes.iter().filter(|p| p.name.starts_with("relay"));
    if report.delivered_in_time == 0 {
        return Err("nothing arrived".into());
    }
    #[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
    let (sent, lost) = (report.sent_in_time.max(1) as f64, report.lost as f64);
    #[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
    let peak = relays().map(|p| p.peak_rss_bytes).sum::<u64>() as f64 / f64::from(1 << 20);
    let mut figures = Figures::from([
        (Metric::CpuPerMillion, relays().map(|p| p.cpu_s_per_million).sum()),
        (Metric::Rate, report.delivered_per_s),
        (Metric::Busy, relays().map(|p| p.busy).sum::<f64>() * 100.0),
        (Metric::Peak, peak),
        (Metric::Lost, lost / sent * 100.0),
    ]);
    if timed {
        let l = &report.latency;
        figures.extend([
            (Metric::P50, l.p50_us),
            (Metric::P99, l.p99_us),
            (Metric::P999, l.p99_9_us),
        ]);
    }
    Ok(figures)
}
