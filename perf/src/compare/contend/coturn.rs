//! coturn: allocations without log-in, and channels from each to one plain sink.

use std::net::UdpSocket;

use trunkline_drive::Run;

use crate::drive::{turn, udp};
use crate::figures::{self, Figures};
use crate::place::{Place, free_door};
use crate::plan::Shape;

/// Datagrams through one server.
pub(crate) fn measure(place: &Place, shape: &Shape) -> Result<Figures, String> {
    let failed = |e: std::io::Error| e.to_string();
    let door = free_door()?;
    let mut command = place.on_relay_cpu("turnserver")?;
    command.args(["-n", "--no-auth", "--no-tls", "--no-dtls", "--no-cli", "--simple-log"]);
    // Both ends of this are on the loopback device, which it refuses otherwise.
    command.args(["--allow-loopback-peers", "-L", "127.0.0.1", "-E", "127.0.0.1", "-m", "1"]);
    command.args(["--listening-port", &door.port().to_string()]);
    for (flag, file) in [("--log-file", "turn"), ("--pidfile", "turn.pid"), ("--db", "turn.db")] {
        command.arg(flag).arg(place.scratch.join(file));
    }
    let mut server = place.start("turnserver", command)?;
    // It listens over TCP as well, as soon as it is up.
    server.wait_for(door)?;
    let sink: UdpSocket = udp::socket().map_err(failed)?;
    let to = sink.local_addr().map_err(failed)?;
    let outlets = turn::outlets(door, to, shape.pairs, shape.size).map_err(failed)?;
    let run = Run::new(place.load(shape));
    let measured = udp::drive(&run, &outlets, &sink, &[server.pid()]);
    figures::of(&measured.map_err(failed)?)
}
