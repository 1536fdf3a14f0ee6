//! zenohd: one router, or a chain of them, driven by zenoh's own client (`perf/zenoh`).

use std::net::SocketAddr;

use crate::figures::{self, Figures};
use crate::place::{Place, Server, drive, free_door};
use crate::plan::Shape;

/// Messages through one router or several.
pub(crate) fn measure(place: &Place, shape: &Shape) -> Result<Figures, String> {
    let (mut routers, mut doors) = (Vec::new(), Vec::<SocketAddr>::new());
    for number in 0..shape.hops {
        let door = free_door()?;
        let mut command = place.on_relay_cpu("zenohd")?;
        command.env("RUST_LOG", "error").args(["--no-multicast-scouting", "-l"]);
        command.arg(format!("tcp/{door}"));
        if let Some(before) = doors.last() {
            command.arg("-e").arg(format!("tcp/{before}"));
        }
        let mut router = place.start(&format!("zenohd-{number}"), command)?;
        router.wait_for(door)?;
        routers.push(router);
        doors.push(door);
    }
    let (near, far) = doors.last().zip(doors.first()).ok_or("no hop")?;
    let near = ["--near".to_owned(), format!("tcp/{near}")];
    let arguments: Vec<String> =
        near.into_iter().chain(["--far".to_owned(), format!("tcp/{far}")]).collect();
    let processes: Vec<u32> = routers.iter().map(Server::pid).collect();
    figures::of(&drive(place, "zenohload", &arguments, shape, &processes)?)
}
