//! nats-server: one, or a chain of leaf nodes, each linked to the one before it. Its cluster routes
//! form a full mesh, which is one hop for everything.

use std::net::SocketAddr;

use trunkline_drive::Run;

use super::stall;
use crate::drive::{nats::Nats, tcp};
use crate::figures::{self, Figures};
use crate::place::{Place, Server, free_door};
use crate::plan::Shape;

struct Chain {
    servers: Vec<Server>,
    doors: tcp::Doors,
}

impl Chain {
    fn start(place: &Place, hops: usize) -> Result<Self, String> {
        let (mut servers, mut doors) = (Vec::new(), Vec::new());
        let mut before: Option<SocketAddr> = None;
        for number in 0..hops {
            let (door, leaf) = (free_door()?, free_door()?);
            let remote = before
                .map(|leaf| format!("remotes: [{{url: \"nats-leaf://{leaf}\"}}]"))
                .unwrap_or_default();
            let text = format!(
                "listen: {door}\nserver_name: n{number}\nleafnodes {{ listen: {leaf}, {remote} }}\n"
            );
            let name = format!("nats-{number}");
            let file = place.write(&format!("{name}.conf"), &text)?;
            let mut command = place.on_relay_cpu("nats-server")?;
            command.arg("-c").arg(file);
            let mut server = place.start(&name, command)?;
            server.wait_for(door)?;
            servers.push(server);
            doors.push(door);
            before = Some(leaf);
        }
        let ends = doors.first().copied().zip(doors.last().copied());
        let (receivers, senders) = ends.ok_or("no hop")?;
        Ok(Self { servers, doors: tcp::Doors { senders, receivers } })
    }

    fn processes(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }
}

/// Messages through one server or several.
pub(crate) fn measure(place: &Place, shape: &Shape) -> Result<Figures, String> {
    let chain = Chain::start(place, shape.hops)?;
    let run = Run::new(place.load(shape));
    let measured = tcp::drive(&run, &Nats, chain.doors, &chain.processes());
    figures::of(&measured.map_err(|e| e.to_string())?)
}

/// What others lose to a receiver that does not read.
pub(crate) fn stall(place: &Place, shape: &Shape) -> Result<Figures, String> {
    let chain = Chain::start(place, 1)?;
    stall::measure(place, shape, &Nats, chain.doors, &chain.processes())
}
