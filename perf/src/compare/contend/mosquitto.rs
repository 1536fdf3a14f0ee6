//! mosquitto.

use trunkline_drive::Run;

use super::stall;
use crate::drive::{mqtt::Mqtt, tcp};
use crate::figures::{self, Figures};
use crate::place::{Place, Server, free_door};
use crate::plan::Shape;

fn start(place: &Place) -> Result<(Server, tcp::Doors), String> {
    let door = free_door()?;
    // As the drivers of the others: no delay, and no bound of its own on what waits.
    let text = format!(
        "listener {} {}\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\n",
        door.port(),
        door.ip()
    );
    let file = place.write("mosquitto.conf", &text)?;
    let mut command = place.on_relay_cpu("mosquitto")?;
    command.arg("-c").arg(file);
    let mut server = place.start("mosquitto", command)?;
    server.wait_for(door)?;
    Ok((server, tcp::Doors { senders: door, receivers: door }))
}

/// Messages through one broker.
pub(crate) fn measure(place: &Place, shape: &Shape) -> Result<Figures, String> {
    let (server, doors) = start(place)?;
    let run = Run::new(place.load(shape));
    let measured = tcp::drive(&run, &Mqtt, doors, &[server.pid()]);
    figures::of(&measured.map_err(|e| e.to_string())?)
}

/// What others lose to a receiver that does not read.
pub(crate) fn stall(place: &Place, shape: &Shape) -> Result<Figures, String> {
    let (server, doors) = start(place)?;
    stall::measure(place, shape, &Mqtt, doors, &[server.pid()])
}
