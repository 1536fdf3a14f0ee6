//! Load over UDP: a socket for each sender, and one sink for all.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use trunkline_drive::Run;

use super::{Measured, joined, watch};

/// Room for datagrams that wait.
const BUFFER: usize = 4 << 20;
/// The longest run of datagrams the kernel takes at once, in bytes.
const RUN: usize = 60_000;

/// A sender.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// Connected to the peer.
    pub(crate) socket: UdpSocket,
    /// What each datagram begins with.
    pub(crate) head: Vec<u8>,
}

/// A socket with much room on an address of this machine.
///
/// # Errors
/// If there is none.
pub(crate) fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    // Past the system's limit as root, and up to it otherwise.
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
    }
    Ok(socket)
}

/// Sends straight to `to`.
///
/// # Errors
/// If there is no socket.
pub(crate) fn outlets(to: SocketAddr, pairs: usize) -> io::Result<Vec<Outlet>> {
    let outlet = |_| {
        let socket = socket()?;
        socket.connect(to)?;
        Ok(Outlet { socket, head: Vec::new() })
    };
    (0..pairs).map(outlet).collect()
}

/// Runs the load and watches the peer's processes. Groups leave as one segmented send each.
///
/// # Errors
/// If a socket fails.
pub(crate) fn drive(
    run: &Run,
    outlets: &[Outlet],
    sink: &UdpSocket,
    processes: &[u32],
) -> io::Result<Measured> {
    sink.set_read_timeout(Some(Duration::from_millis(50)))?;
    if !run.is_timed() {
        setsockopt(sink, sockopt::UdpGroSegment, &true)?;
    }
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(run, sink));
        let sending = scope.spawn(|| send(run, outlets));
        let measured = watch(run, processes);
        joined(sending)?;
        joined(receiving)?;
        Ok(measured)
    })
}

fn send(run: &Run, outlets: &[Outlet]) -> io::Result<()> {
    let load = run.load();
    let group = if run.is_timed() { 1 } else { load.group };
    let mut runs = Vec::new();
    for outlet in outlets {
        let mut datagram = outlet.head.clone();
        datagram.resize(outlet.head.len() + load.size, b'x');
        if group > 1 {
            if datagram.len() * group > RUN {
                return Err(io::Error::other("the kernel takes no run so long"));
            }
            let segment = i32::try_from(datagram.len()).unwrap_or(0);
            setsockopt(&outlet.socket, sockopt::UdpGsoSegment, &segment)?;
        }
        runs.push(datagram.repeat(group));
    }
    run.send(|pair, stamp| {
        let Some((outlet, bytes)) = outlets.get(pair).zip(runs.get_mut(pair)) else {
            return Ok(());
        };
        if let Some(stamp) = stamp
            && let Some(place) =
                bytes.get_mut(outlet.head.len()..).and_then(|p| p.first_chunk_mut())
        {
            *place = stamp;
        }
        outlet.socket.send(bytes).map(drop)
    })
}

fn receive(run: &Run, sink: &UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    while !run.is_over() {
        match sink.recv(&mut buffer) {
            Ok(count) => {
                if run.is_timed() {
                    run.took(&buffer);
                }
                // The kernel joins datagrams of one length.
                run.arrived(count.div_ceil(run.load().size.max(1)) as u64);
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
