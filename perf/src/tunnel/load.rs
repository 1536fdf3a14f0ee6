//! The near ends of connections, and the arithmetic.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use trunkline_perf::used;
use trunkline_tools::clock::Clock;

use crate::Load;
use crate::target::{ECHO, Target};

/// Before measuring begins.
const WARM_UP: Duration = Duration::from_millis(500);
/// Nothing takes longer than this, or the run has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all threads of a run share.
#[derive(Default)]
struct Run {
    bytes: AtomicU64,
    made: AtomicU64,
    failed: AtomicU64,
    end: AtomicBool,
}

struct Measured {
    bytes: u64,
    made: u64,
    failed: u64,
    cpu: f64,
    seconds: f64,
    resident: f64,
}

/// Fills connections and prints one line of JSON.
pub(crate) fn bulk(load: &Load) -> io::Result<()> {
    let m = measure(load, fill)?;
    let gib = as_f64(m.bytes) / f64::from(1 << 30);
    let report = serde_json::json!({
        "connections": load.connections,
        "gbit_s": as_f64(m.bytes) * 8.0 / m.seconds / 1e9,
        "cpu_s_per_gib": if gib > 0.0 { m.cpu / gib } else { f64::NAN },
        "busy": m.cpu / m.seconds,
        "failed": m.failed,
        "resident_mib": m.resident,
    });
    println!("{report}");
    Ok(())
}

/// Makes connections and prints one line of JSON.
pub(crate) fn new(load: &Load) -> io::Result<()> {
    let m = measure(load, knock)?;
    let made = as_f64(m.made);
    let report = serde_json::json!({
        "connections": load.connections,
        "made_s": made / m.seconds,
        "cpu_ms_each": if made > 0.0 { m.cpu * 1e3 / made } else { f64::NAN },
        "busy": m.cpu / m.seconds,
        "failed": m.failed,
        "resident_mib": m.resident,
    });
    println!("{report}");
    Ok(())
}

fn measure(load: &Load, each: fn(&Load, &Run) -> io::Result<()>) -> io::Result<Measured> {
    let (target, run) = (Target::bind(load.target)?, Run::default());
    let clock = Clock::start();
    thread::scope(|scope| {
        let run = &run;
        scope.spawn(|| target.serve(&run.bytes, &run.end));
        for _ in 0..load.connections {
            scope.spawn(|| {
                while !run.end.load(Ordering::Relaxed) {
                    if each(load, run).is_err() && !run.end.load(Ordering::Relaxed) {
                        run.failed.fetch_add(1, Ordering::Relaxed);
                        wait(Duration::from_millis(10));
                    }
                }
            });
        }
        let look = || {
            let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
            let usage = used(&load.processes);
            let now = as_f64(clock.nanos()) / 1e9;
            (
                count(&run.bytes),
                count(&run.made),
                count(&run.failed),
                usage.cpu,
                now,
                usage.resident,
            )
        };
        wait(WARM_UP);
        let a = look();
        wait(Duration::from_secs_f64(load.seconds.clamp(0.1, 600.0)));
        let b = look();
        run.end.store(true, Ordering::Relaxed);
        Ok(Measured {
            bytes: b.0 - a.0,
            made: b.1 - a.1,
            failed: b.2 - a.2,
            cpu: b.3 - a.3,
            seconds: b.4 - a.4,
            resident: b.5,
        })
    })
}

fn connect(load: &Load) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&load.through, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // So that the end of a run ends a write that nobody reads any more.
    socket.set_write_timeout(Some(PATIENCE))?;
    // Ends with a reset: thousands a second would use up the ports while they linger.
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    Ok(socket)
}

/// One connection, filled until the end.
fn fill(load: &Load, run: &Run) -> io::Result<()> {
    let mut socket = connect(load)?;
    let zeros = vec![0; 256 << 10];
    while !run.end.load(Ordering::Relaxed) {
        socket.write_all(&zeros)?;
    }
    Ok(())
}

/// One connection there, and a byte there and back.
fn knock(load: &Load, run: &Run) -> io::Result<()> {
    let mut socket = connect(load)?;
    let mut byte = [ECHO];
    socket.write_all(&byte)?;
    socket.read_exact(&mut byte)?;
    run.made.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Waits in full, whatever wakes the thread.
#[allow(clippy::disallowed_methods, reason = "what passes is what is measured")]
fn wait(time: Duration) {
    thread::sleep(time);
}

#[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
fn as_f64(n: u64) -> f64 {
    n as f64
}
