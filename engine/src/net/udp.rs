//! One UDP port: datagrams in and out by the batch.
//!
//! Owns the socket. It never looks into a datagram and never decides who may talk; the shard does.
//! The worker's poller says when to call; what comes in lands in the slots of [`RecvBuffers`], what
//! goes out waits in a [`SendBatch`]. Both belong to the calling thread, so that one port may be
//! read by one thread and written by another without a lock.
//!
//! ```text
//!  socket ──recvmmsg──▶ slots of a slab ──▶ on_datagram(from, frame)
//!                         ▲                        │ dropped when done
//!                         └── slab reclaimed ◀─────┘
//!
//!  push(to, bytes) ──▶ queue ──▶ runs of one length to one address ──▶ sendmmsg (each run one segmented send)
//! ```
//!
//! IPv4 addresses stay IPv4 whatever the socket: an IPv6 socket's mapped addresses are made
//! canonical on the way in and mapped again on the way out, so nothing above sees one peer under
//! two names.
//!
//! Datagrams leave whole: nobody on the way may cut them, and what the system believes about the
//! way (which anyone can make it believe by a forged message) is not asked. So whoever finds out how
//! large datagrams may be finds out about datagrams, and not about pieces. Two are exempt: those
//! that were pushed as divisible, and those that fit every path by right and not this host's own
//! device.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::batch::SendBatch;
use super::slab::RecvBuffers;
use super::sys;

/// How a port is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Let several sockets share the address; the kernel spreads senders over them
    /// (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// An IPv6 wildcard address also takes IPv4. Ignored for IPv4 addresses.
    pub dual_stack: bool,
    /// Receive buffer in bytes. Forced past the system's limit where privileges allow, else as
    /// large as allowed.
    pub receive_bytes: usize,
    /// Send buffer in bytes, likewise.
    pub send_bytes: usize,
    /// Ask the kernel to coalesce datagrams on receipt (`UDP_GRO`); off where it cannot.
    pub coalesce: bool,
    /// Send runs of datagrams as one (`UDP_SEGMENT`) where the kernel can. Without it each leaves by
    /// itself, which serves to measure what such a neighbour costs.
    pub segment: bool,
}

impl Default for UdpOptions {
    /// 4 MiB each way: about 25 ms of 300-byte datagrams at half a million a second, counting the
    /// kernel's own overhead per datagram.
    fn default() -> Self {
        UdpOptions {
            reuse_port: false,
            dual_stack: true,
            receive_bytes: 4 << 20,
            send_bytes: 4 << 20,
            coalesce: false,
            segment: true,
        }
    }
}

/// A bound, non-blocking UDP socket. Sharing it between a receiving and a sending thread is fine.
#[derive(Debug)]
pub struct UdpPort {
    socket: mio::net::UdpSocket,
    local: SocketAddr,
    /// IPv6 that takes and sends IPv4 as well.
    both: bool,
    coalesced: bool,
    modes: Modes,
}

/// What the socket was last told, and what it turned out to be unable to do. Threads that share a
/// port may for one batch meet what another one told it: then a datagram too many is cut, or dropped.
#[derive(Debug)]
pub(super) struct Modes {
    /// Runs leave as one segmented send.
    pub(super) segmenting: AtomicBool,
    /// No datagram is cut on the way.
    whole: AtomicBool,
}

impl Modes {
    /// Lets datagrams be cut on the way, or not. True if that is another mode than before.
    pub(super) fn set_whole(&self, fd: BorrowedFd<'_>, v6: bool, whole: bool) -> bool {
        self.whole.load(Ordering::Relaxed) != whole
            && sys::set_whole(fd, v6, whole).is_ok()
            && self.whole.swap(whole, Ordering::Relaxed) != whole
    }
}

impl UdpPort {
    /// Opens a port.
    ///
    /// # Errors
    /// The system's: the address is in use or not ours, or sockets have run out. Buffer sizes,
    /// coalescing, segmenting and keeping datagrams whole are best effort and never fail.
    pub fn bind(addr: SocketAddr, options: &UdpOptions) -> io::Result<UdpPort> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        let both = options.dual_stack && addr.ip() == Ipv6Addr::UNSPECIFIED;
        if addr.is_ipv6() {
            socket.set_only_v6(!both)?;
        }
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        size_buffers(&socket, options);
        let coalesced = options.coalesce
            && sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        let probe = sys::get_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, &mut [0]);
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        let socket = mio::net::UdpSocket::from_std(socket.into());
        let local = socket.local_addr()?;
        let whole = sys::set_whole(socket.as_fd(), local.is_ipv6(), true).is_ok();
        let segmenting = AtomicBool::new(options.segment && probe.is_ok());
        let modes = Modes { segmenting, whole: AtomicBool::new(whole) };
        Ok(UdpPort { socket, local, both, coalesced, modes })
    }

    /// Registers the port with a poller without owning it alone. One poller may watch it.
    ///
    /// # Errors
    /// The poller's.
    pub fn register_shared(
        &self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, interests)
    }

    /// The address bound to, with the port the system chose if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Whether datagrams to that address can leave here, as far as its family goes.
    pub fn reaches(&self, to: SocketAddr) -> bool {
        self.both || to.is_ipv6() == self.local.is_ipv6()
    }

    /// Whether the kernel coalesces datagrams on receipt.
    pub fn coalesces(&self) -> bool {
        self.coalesced
    }

    /// Whether runs leave as one segmented send. Turns false for good when the device refuses.
    pub fn segments(&self) -> bool {
        self.modes.segmenting.load(Ordering::Relaxed)
    }

    /// Datagrams the kernel dropped since the port was opened because nobody read them in time.
    ///
    /// # Errors
    /// `Unsupported` where the kernel does not tell.
    pub fn receive_drops(&self) -> io::Result<u32> {
        sys::receive_drops(self.socket.as_fd())
    }

    /// Receives up to about `max` datagrams and hands each to `on_datagram` with its sender's
    /// canonical address.
    ///
    /// Returns how many were taken off the socket, handed over or dropped. Fewer than `max` means
    /// the socket was empty; a coalesced run is never cut, so it may be some more. Dropped and
    /// counted in [`RecvBuffers::counters`]: truncated and empty datagrams, and senders without an
    /// internet address.
    ///
    /// # Errors
    /// The socket's; never `WouldBlock`, which is a count below `max`.
    pub fn recv(
        &self,
        buffers: &mut RecvBuffers,
        max: usize,
        mut on_datagram: impl FnMut(SocketAddr, BytesMut),
    ) -> io::Result<usize> {
        let mut taken = 0;
        while taken < max {
            let (slots, scratch) = buffers.offer(max - taken, self.coalesced);
            let offered = slots.len();
            let received =
                match sys::recv_batch(self.socket.as_fd(), slots, scratch, self.coalesced) {
                    Ok(received) => received,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
            taken += buffers.deliver(received, self.coalesced, &mut on_datagram);
            // A short batch means an empty socket, which saves asking once more. Should an error
            // have cut it short instead, the next datagram raises the socket's readiness again.
            if received < offered {
                break;
            }
        }
        Ok(taken)
    }

    /// Sends what `batch` holds, in as few calls as possible, until it is empty or the socket is
    /// full.
    ///
    /// Returns how many datagrams left. Those that did not stay in the batch, in order; ask for
    /// writability and call again. A datagram the system refuses (no route, too long, forbidden,
    /// refused by the peer) is dropped and counted in [`SendBatch::counters`]; the others go on.
    ///
    /// # Errors
    /// Only what makes the whole socket useless; never `WouldBlock`.
    pub fn send(&self, batch: &mut SendBatch) -> io::Result<usize> {
        batch.flush(self.socket.as_fd(), self.local.is_ipv6(), &self.modes)
    }
}

/// Asks for the buffer sizes: past the system's limit first (which needs a privilege), else within
/// it.
fn size_buffers(socket: &Socket, options: &UdpOptions) {
    let ask = |name, bytes: usize| {
        let value = i32::try_from(bytes).unwrap_or(i32::MAX);
        sys::set_option(socket.as_fd(), libc::SOL_SOCKET, name, value)
    };
    if ask(libc::SO_RCVBUFFORCE, options.receive_bytes).is_err() {
        let _ = ask(libc::SO_RCVBUF, options.receive_bytes);
    }
    if ask(libc::SO_SNDBUFFORCE, options.send_bytes).is_err() {
        let _ = ask(libc::SO_SNDBUF, options.send_bytes);
    }
}

impl Source for UdpPort {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}
