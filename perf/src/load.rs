//! The generator and the sink, and what the copy used meanwhile.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use trunkline_perf::{Kept, used};

use crate::Arguments;

/// Before measuring begins.
const WARM_UP: Duration = Duration::from_millis(500);

/// Measures and prints one line of JSON.
pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let mut copy = start(arguments.pin_copy)?;
    let mut port = String::new();
    let output = copy.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    BufReader::new(output).read_line(&mut port)?;
    let connect = || {
        let stream = TcpStream::connect(format!("127.0.0.1:{}", port.trim()))?;
        stream.set_nodelay(true)?;
        io::Result::Ok(stream)
    };
    let (source, sink) = (connect()?, connect()?);
    let (arrived, end) = (AtomicU64::new(0), AtomicBool::new(false));
    let (frames, cpu, peak, seconds) = thread::scope(|scope| {
        let sinking = scope.spawn(|| drain(&sink, arguments.frame(), &arrived));
        let generating = scope.spawn(|| generate(&source, arguments, &arrived, &end));
        let look = || (arrived.load(Ordering::Relaxed), used(&[copy.0.id()]));
        wait(WARM_UP);
        #[allow(
            clippy::disallowed_methods,
            reason = "the time that was measured, not what was asked"
        )]
        let started = std::time::Instant::now();
        let before = look();
        wait(arguments.time());
        let after = look();
        let seconds = started.elapsed().as_secs_f64();
        end.store(true, Ordering::Relaxed);
        let _ = generating.join();
        let _ = source.shutdown(std::net::Shutdown::Both);
        let _ = sink.shutdown(std::net::Shutdown::Both);
        let _ = sinking.join();
        (after.0 - before.0, after.1.cpu - before.1.cpu, after.1.peak, seconds)
    });
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 frames")]
    let count = frames as f64;
    let report = serde_json::json!({
        "size": arguments.size,
        "group": arguments.group,
        "delivered": frames,
        "delivered_per_s": count / seconds,
        "cpu_s_per_million": cpu / (count / 1e6),
        "busy": cpu / seconds,
        "peak_mib": peak,
    });
    println!("{report}");
    Ok(())
}

fn start(processor: Option<usize>) -> io::Result<Kept> {
    let program = std::env::current_exe()?;
    let mut command = match processor {
        Some(number) => {
            let mut taskset = Command::new("taskset");
            taskset.arg("-c").arg(number.to_string()).arg(program);
            taskset
        }
        None => Command::new(program),
    };
    command.arg("copy").stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map(Kept)
}

/// Writes groups of frames as long as fewer than the window are on their way.
fn generate(
    mut source: &TcpStream,
    arguments: &Arguments,
    arrived: &AtomicU64,
    end: &AtomicBool,
) -> io::Result<()> {
    let group = u64::from(arguments.group);
    let window = arguments.window.map_or(u64::MAX, u64::from).max(group);
    let length = u16::try_from(arguments.frame() - 4).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![0x5a; arguments.frame()];
    frame.iter_mut().zip([length[0], length[1], 6, 3]).for_each(|(byte, value)| *byte = value);
    let groups = frame.repeat(usize::from(arguments.group));
    let mut sent = 0;
    while !end.load(Ordering::Relaxed) {
        if sent + group > arrived.load(Ordering::Relaxed).saturating_add(window) {
            thread::yield_now();
            continue;
        }
        source.write_all(&groups)?;
        sent += group;
    }
    Ok(())
}

/// Counts whole frames.
fn drain(mut sink: &TcpStream, frame: usize, arrived: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0u64;
    loop {
        match sink.read(&mut buffer)? {
            0 => return Ok(()),
            count => bytes += count as u64,
        }
        arrived.store(bytes / frame as u64, Ordering::Relaxed);
    }
}

/// Waits in full, whatever wakes the thread.
#[allow(clippy::disallowed_methods, reason = "what passes is what is measured")]
fn wait(time: Duration) {
    thread::sleep(time);
}
