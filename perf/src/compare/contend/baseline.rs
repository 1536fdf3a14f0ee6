//! The least that forwarding costs: `tcpcopy` and `baseline`, small programs of ours.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde::Deserialize;
use trunkline_drive::Run;
use trunkline_perf::Kept;

use super::stall;
use crate::drive::{reference::Reference, tcp, udp};
use crate::figures::{self, Figures, Metric};
use crate::place::Place;
use crate::plan::Shape;

/// What `tcpcopy` prints.
#[derive(Deserialize)]
struct Copied {
    delivered_per_s: f64,
    cpu_s_per_million: f64,
    busy: f64,
    peak_mib: f64,
}

/// Frames from one connection to another.
pub(crate) fn copy(place: &Place, shape: &Shape) -> Result<Figures, String> {
    let mut command = place.on_load_cpu("tcpcopy")?;
    command.args(["--pin-copy", &place.relay_cpu.to_string(), "--size", &shape.size.to_string()]);
    command.args(["--group", &shape.group.to_string(), "--seconds", &place.seconds.to_string()]);
    command.args(["--window", &shape.window.to_string()]);
    place.note(&command);
    let said = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let copied: Copied = serde_json::from_slice(&said.stdout)
        .map_err(|_| format!("tcpcopy: {}", String::from_utf8_lossy(&said.stderr)))?;
    Ok(Figures::from([
        (Metric::CpuPerMillion, copied.cpu_s_per_million),
        (Metric::Rate, copied.delivered_per_s),
        (Metric::Busy, copied.busy * 100.0),
        (Metric::Peak, copied.peak_mib),
    ]))
}

/// Frames with addresses over many connections.
pub(crate) fn relay(place: &Place, shape: &Shape) -> Result<Figures, String> {
    let (relay, doors) = start_relay(place)?;
    let run = Run::new(place.load(shape));
    let measured = tcp::drive(&run, &Reference, doors, &[relay.0.id()]);
    figures::of(&measured.map_err(|e| e.to_string())?)
}

/// What others lose to a receiver that does not read.
pub(crate) fn stall(place: &Place, shape: &Shape) -> Result<Figures, String> {
    let (relay, doors) = start_relay(place)?;
    stall::measure(place, shape, &Reference, doors, &[relay.0.id()])
}

fn start_relay(place: &Place) -> Result<(Kept, tcp::Doors), String> {
    let mut command = place.on_relay_cpu("baseline")?;
    command.arg("relay");
    let (relay, door) = start(place, command)?;
    Ok((relay, tcp::Doors { senders: door, receivers: door }))
}

/// Every datagram to one address.
pub(crate) fn udp(place: &Place, shape: &Shape, by: &str) -> Result<Figures, String> {
    let failed = |e: std::io::Error| e.to_string();
    let sink = udp::socket().map_err(failed)?;
    let to = sink.local_addr().map_err(failed)?;
    let mut command = place.on_relay_cpu("baseline")?;
    command.args(["udp", &to.to_string(), "--by", by]);
    let (forwarder, door) = start(place, command)?;
    let outlets = udp::outlets(door, shape.pairs).map_err(failed)?;
    let run = Run::new(place.load(shape));
    let measured = udp::drive(&run, &outlets, &sink, &[forwarder.0.id()]);
    figures::of(&measured.map_err(failed)?)
}

/// Starts one, and where it listens, which is the first thing it says.
fn start(place: &Place, mut command: Command) -> Result<(Kept, SocketAddr), String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    place.note(&command);
    let mut child = Kept(command.spawn().map_err(|e| e.to_string())?);
    let mut port = String::new();
    if let Some(out) = child.0.stdout.take() {
        BufReader::new(out).read_line(&mut port).map_err(|e| e.to_string())?;
    }
    let port: u16 = port.trim().parse().map_err(|_| "a baseline does not come up".to_owned())?;
    Ok((child, SocketAddr::from(([127, 0, 0, 1], port))))
}
