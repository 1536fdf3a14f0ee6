//! `trunkline-wire`: a link with delays and faults between two TAP devices.
//!
//! Reads the command line, arranges for the word to stop, and says what happened. The work is in
//! `trunkline_tools::wire`.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use trunkline_proto::base::Chance;
use trunkline_tools::wire::{Arguments, Wire};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trunkline-wire: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    // Before the devices exist, so that no signal can end the program without its report.
    let stop = stop_word(arguments.until_eof)?;
    let chance = Chance::from_number(arguments.seed);
    let mut wire = Wire::open(&arguments.places(), arguments.conditions(), chance)?;
    // Refused or not, the report tells how late frames were.
    let realtime = !arguments.no_realtime && wire.hurry().is_ok();
    let (a, b) = (&arguments.a, &arguments.b);
    if arguments.json {
        say(&json!({"event": "ready", "a": a, "b": b, "realtime": realtime}).to_string())?;
    } else {
        let priority = if realtime { "" } else { " at ordinary priority" };
        say(&format!("carrying frames between {a} and {b}{priority}; Ctrl-C ends"))?;
    }
    let outcome = wire.run(stop.as_fd(), arguments.seconds.map(Duration::from_secs));
    let report = wire.report();
    if arguments.json {
        say(&json!({"event": "end", "report": report}).to_string())?;
    } else {
        say(&report.to_string())?;
    }
    Ok(outcome?)
}

/// Writes a line at once. Who started the program may be gone, which is no reason to fail.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A socket that becomes readable when the program is to stop: at SIGINT, at SIGTERM and, if
/// asked for, at the end of standard input.
fn stop_word(until_eof: bool) -> io::Result<UnixStream> {
    let (hear, tell) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, tell.try_clone()?)?;
    }
    if until_eof {
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut tell = tell;
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            let _ = tell.write_all(b".");
        })?;
    }
    Ok(hear)
}
