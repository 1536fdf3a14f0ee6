//! `zenohload`: load for zenohd, by zenoh's own client. `compare` runs it.
//!
//! Publishers and subscribers, a session each, one key for each pair. zenoh packs what waits, so
//! there are no groups; timed messages are express, which it does not pack.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use trunkline_drive::{Load, Run, tell};
use trunkline_perf_zenoh::{Failure, open};
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::pubsub::Publisher;
use zenoh::qos::CongestionControl;

/// Publish through zenoh routers and tell what arrived.
#[derive(Debug, Parser)]
struct Arguments {
    /// The router of the publishers, as tcp/ADDRESS:PORT
    #[arg(long)]
    near: String,
    /// The router of the subscribers
    #[arg(long)]
    far: String,
    #[command(flatten)]
    load: Load,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let run = Arc::new(Run::new(Load { group: 1, ..arguments.load }));
    let (mut publishers, mut kept) = (Vec::new(), Vec::new());
    for pair in 0..run.load().pairs {
        let key = format!("t/{pair:03}");
        let (far, near) = (open(&arguments.far)?, open(&arguments.near)?);
        let shared = run.clone();
        let subscriber = far.declare_subscriber(key.clone()).callback(move |sample| {
            if shared.is_timed() {
                shared.took(&sample.payload().to_bytes());
            }
            shared.arrived(1);
        });
        let subscriber = subscriber.wait()?;
        let publisher = near.declare_publisher(key);
        let publisher = publisher.congestion_control(CongestionControl::Block);
        publishers.push(publisher.express(run.is_timed()).wait()?);
        // A session closes when it is dropped, whatever was declared in it.
        kept.push((far, near, subscriber));
    }
    // News of who subscribes has to spread.
    pause(Duration::from_millis(500));
    thread::scope(|scope| {
        let run = &*run;
        let sending = scope.spawn(move || send(run, &publishers));
        tell(run)?;
        sending.join().map_err(|_| "the sender panicked")?
    })
}

fn send(run: &Run, publishers: &[Publisher<'_>]) -> Result<(), Failure> {
    let message = vec![b'x'; run.load().size.max(8)];
    let whole = ZBytes::from(message.clone());
    let outcome = run.send(|pair, stamp| {
        let Some(publisher) = publishers.get(pair) else { return Ok(()) };
        let payload = stamp.map_or_else(|| whole.clone(), |s| stamped(&message, s));
        publisher.put(payload).wait().map_err(std::io::Error::other)
    });
    Ok(outcome?)
}

fn stamped(message: &[u8], stamp: [u8; 8]) -> ZBytes {
    let mut message = message.to_vec();
    if let Some(place) = message.first_chunk_mut() {
        *place = stamp;
    }
    message.into()
}

/// Waits in full.
fn pause(time: Duration) {
    thread::sleep(time);
}
