//! One pair more, whose receiver may stop reading while its sender goes on.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use trunkline_drive::Run;

use super::joined;
use super::tcp::{Dialect, Doors, End, connect};

/// What the pair sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extra {
    /// Its number: one that no other pair has.
    pub(crate) pair: usize,
    /// Messages a second.
    pub(crate) rate: u64,
    /// Whether its receiver reads.
    pub(crate) reads: bool,
}

/// Runs `load` beside that pair, until `run` is over.
///
/// # Errors
/// What `load` says, or if the pair cannot be connected.
pub(crate) fn beside<T>(
    run: &Run,
    dialect: &dyn Dialect,
    doors: Doors,
    extra: Extra,
    load: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let mut receiver = connect(doors.receivers)?;
    dialect.greet(&mut receiver, End::Receiver, extra.pair)?;
    let mut sender = connect(doors.senders)?;
    dialect.greet(&mut sender, End::Sender, extra.pair)?;
    let payload = vec![b'x'; run.load().size];
    let message = dialect.written(extra.pair, &payload).bytes;
    thread::scope(|scope| {
        let sending = scope.spawn(|| flood(run, sender, &message, extra.rate));
        if extra.reads {
            scope.spawn(|| drain(run, receiver.try_clone()));
        }
        let outcome = load();
        run.end();
        joined(sending)?;
        outcome
    })
}

/// Sends a millisecond's messages at a time, for as long as the peer takes them.
fn flood(run: &Run, mut socket: TcpStream, message: &[u8], rate: u64) -> io::Result<()> {
    let tick = Duration::from_millis(1);
    let group = message.repeat(usize::try_from(rate / 1_000).unwrap_or(1).max(1));
    socket.set_write_timeout(Some(Duration::from_millis(50)))?;
    while !run.is_over() {
        // A peer that takes no more, or ends the connection, defends itself: that is seen in
        // what the others get.
        let mut rest = &group[..];
        while !rest.is_empty() && !run.is_over() {
            match socket.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Ok(()),
            }
        }
        thread::park_timeout(tick);
    }
    Ok(())
}

fn drain(run: &Run, socket: io::Result<TcpStream>) {
    let Ok(mut socket) = socket else { return };
    let _ = socket.set_read_timeout(Some(Duration::from_millis(50)));
    let mut buffer = vec![0; 1 << 16];
    while !run.is_over() {
        match socket.read(&mut buffer) {
            Ok(0) => return,
            Err(e) if !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            _ => {}
        }
    }
}
