//! iroh-relay, driven by iroh's own client (`perf/iroh`).

use std::process::Command;

use crate::figures::{self, Figures};
use crate::place::{Place, drive, free_door};
use crate::plan::Shape;

/// It drops what more than 512 packets wait for a receiver.
const WINDOW: u64 = 400;

/// Datagrams through one relay.
pub(crate) fn measure(
    place: &Place,
    shape: &Shape,
    tls: bool,
    packed: usize,
) -> Result<Figures, String> {
    let (http, https) = (free_door()?, free_door()?);
    let mut text = format!(
        "http_bind_addr = \"{http}\"\nenable_metrics = false\nenable_quic_addr_discovery = false\n"
    );
    let certificate = place.scratch.join("certificate.pem");
    if tls {
        make_certificate(place)?;
        let key = place.scratch.join("key.pem");
        text.push_str(&format!(
            "[tls]\nhttps_bind_addr = \"{https}\"\nhostname = [\"127.0.0.1\"]\ncert_mode = \"Manual\"\n\
             manual_cert_path = {:?}\nmanual_key_path = {:?}\n",
            certificate, key
        ));
    }
    let file = place.write("iroh.toml", &text)?;
    let mut command = place.on_relay_cpu("iroh-relay")?;
    command.arg("--config-path").arg(file);
    let mut server = place.start("iroh-relay", command)?;
    let door = if tls { https } else { http };
    server.wait_for(door)?;
    let scheme = if tls { "https" } else { "http" };
    let mut arguments = vec!["load".to_owned(), "--url".into(), format!("{scheme}://{door}")];
    arguments.extend(["--packed".into(), packed.to_string()]);
    if tls {
        arguments.extend(["--certificate".into(), certificate.display().to_string()]);
    }
    // Frames, and not datagrams, are what its queue counts.
    let (away, group) = (WINDOW * packed as u64, shape.group.min(32).max(packed));
    let window = shape.window.min(away * shape.pairs as u64);
    let shape = Shape { window, group, ..*shape };
    figures::of(&drive(place, "irohload", &arguments, &shape, &[server.pid()])?)
}

fn make_certificate(place: &Place) -> Result<(), String> {
    let program = place.program("irohload").ok_or("irohload is not here")?;
    let made = Command::new(program).arg("certificate").arg(&place.scratch).status();
    if made.is_ok_and(|s| s.success()) {
        Ok(())
    } else {
        Err("irohload makes no certificate".into())
    }
}
