//! TCP tunnels, by `perf/tunnel.sh`, which starts each, loads it and prints a line for each shape.

use std::path::Path;
use std::process::Stdio;

use crate::figures::{Figures, Metric};
use crate::place::{Place, become_program};
use crate::plan::Work;
use crate::record::Measurement;

/// Whom the script knows, and what they are called here.
pub(crate) const TUNNELS: [(&str, &str); 8] = [
    ("copy", BASELINE),
    ("direct", DIRECT),
    ("link", "**trunkline**, a line over a TLS link"),
    ("relayed", RELAYED),
    ("ssh", SSH),
    ("rathole", "rathole, noise"),
    ("haproxy", "haproxy, tcp, in the clear"),
    ("socat", "socat, in the clear"),
];
const BASELINE: &str = "copy, one process, in the clear";
/// Two nodes and nothing between them.
pub(crate) const DIRECT: &str = "**trunkline**, a line over UDP";
/// A third node between them.
pub(crate) const RELAYED: &str = "**trunkline**, relayed, two TLS links";
/// The one to beat.
pub(crate) const SSH: &str = "ssh -L, aes256-gcm";
/// The shapes, and what they are called here.
const SHAPES: [(&str, &str); 4] = [
    ("bulk:1", BULK),
    ("bulk:64", "bulk, 64 connections"),
    ("new:1", "new connections, one at a time"),
    ("new:64", NEW),
];
/// Bulk over one connection.
pub(crate) const BULK: &str = "bulk, 1 connection";
/// Many connections at once.
pub(crate) const NEW: &str = "new connections, 64 at a time";

/// What tunnels are missing on this machine.
pub(crate) fn missing(place: &Place) -> Vec<&'static str> {
    let programs =
        [("ssh", "sshd"), ("rathole", "rathole"), ("haproxy", "haproxy"), ("socat", "socat")];
    programs.into_iter().filter(|(_, p)| place.program(p).is_none()).map(|(name, _)| name).collect()
}

/// All shapes of one tunnel.
pub(crate) fn measure(place: &Place, tunnel: &str, label: &str, round: u32) -> Vec<Measurement> {
    let outcome = run(place, tunnel);
    let of = |(shape, case): (&str, &str)| {
        let figures = outcome.as_ref().map_err(Clone::clone).and_then(|said| figures(said, shape));
        let failed = figures.as_ref().err().cloned();
        Measurement {
            work: Work::Tunnel,
            case: case.to_owned(),
            contender: label.to_owned(),
            baseline: BASELINE.to_owned(),
            round,
            figures: figures.unwrap_or_default(),
            failed,
            commands: vec![format!("CANDIDATES={tunnel} perf/tunnel.sh 1 {}", place.seconds)],
        }
    };
    SHAPES.into_iter().map(of).collect()
}

fn run(place: &Place, tunnel: &str) -> Result<String, String> {
    // It places its own processes, and is told to end with this one.
    let mut command = become_program(Path::new("perf/tunnel.sh"), None)?;
    command.args(["1", &place.seconds.to_string()]).stdin(Stdio::null());
    command.env("CANDIDATES", tunnel).env("SHAPES", SHAPES.map(|(s, _)| s).join(" "));
    command.env("BIN", &place.ours);
    command.env("TUNNEL_CPU", place.relay_cpu.to_string());
    command.env("LOAD_CPU", place.load_cpu.to_string());
    let said = command.output().map_err(|e| format!("perf/tunnel.sh: {e}"))?;
    if said.status.success() {
        return Ok(String::from_utf8_lossy(&said.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&said.stderr);
    Err(format!("perf/tunnel.sh: {}", words.lines().last().unwrap_or_default()))
}

/// A line of the script: round, tunnel, shape, rate, processor time a unit, busy, failed, MiB.
fn figures(said: &str, shape: &str) -> Result<Figures, String> {
    let words = said
        .lines()
        .map(|l| l.split_ascii_whitespace().collect::<Vec<_>>())
        .find(|w| w.get(2) == Some(&shape))
        .ok_or_else(|| format!("perf/tunnel.sh says nothing of {shape}"))?;
    let number = |n: usize| words.get(n).and_then(|w| w.parse::<f64>().ok());
    let (rate, cost) = number(3).zip(number(4)).ok_or("perf/tunnel.sh does not say numbers")?;
    let bulk = shape.starts_with("bulk");
    let mut figures = Figures::from([
        (if bulk { Metric::CpuPerGib } else { Metric::CpuPerConnection }, cost),
        (if bulk { Metric::Gbit } else { Metric::Connections }, rate),
    ]);
    figures.extend(number(5).map(|busy| (Metric::Busy, busy * 100.0)));
    figures.extend(number(7).map(|mib| (Metric::Peak, mib)));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_script_is_understood() {
        let said = "run rate cpu\n1 copy bulk:1   14.5  0.345 0.62 0 4.5\n1 copy new:1 6670 0.075 0.5 0 5\n";
        let bulk = figures(said, "bulk:1").expect("figures");
        assert_eq!((bulk[&Metric::Gbit], bulk[&Metric::CpuPerGib]), (14.5, 0.345));
        assert_eq!(figures(said, "new:1").expect("figures")[&Metric::Connections], 6_670.0);
        assert!(figures(said, "new:64").is_err());
    }
}
