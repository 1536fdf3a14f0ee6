//! TCP under links: listening, dialling, and the options that keep a link honest.
//!
//! Owns the sockets up to the moment they carry bytes; reading and writing are
//! [`super::transport::Transport`]'s. It never speaks a protocol and never retries a dial by itself: the
//! mesh decides when to try again.
//!
//! Why these options:
//! - `TCP_NODELAY`: the writer gathers; the kernel must not wait for more.
//! - `TCP_NOTSENT_LOWAT`: what the kernel holds unsent has lost its chance to be overtaken, so
//!   writability is reported only while little waits. Without it the send buffer turns priorities
//!   into a plain queue.
//! - `TCP_USER_TIMEOUT` and keepalive: a peer that vanished is noticed even when the link's own
//!   heartbeat cannot be written any more.
//! - congestion control by name: links are long-lived and shared by many flows; the system's
//!   default may be wrong for them, and an unknown name must not stop a node.

use std::io::{self, IoSlice, Write};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::addr::canonical;
use super::sys;

/// Connections the kernel finishes on its own before somebody accepts them.
const BACKLOG: i32 = 1024;

/// Where fields stand in `struct tcp_info`, counted in 32-bit words: `tcpi_snd_mss`, `tcpi_rtt`,
/// `tcpi_bytes_acked` (two words), `tcpi_min_rtt` and `tcpi_busy_time` (two words); times are
/// microseconds.
const INFO: (usize, usize, usize, usize, usize) = (4, 17, 30, 37, 42);
/// Words of it that are asked for.
const INFO_WORDS: usize = INFO.4 + 2;
/// The flag of `SO_BUF_LOCK` for the receive buffer; the other one is the send buffer's.
const RECEIVE_LOCKED: u32 = 2;
/// Most that [`bound_held`] can bound: twice the usual `net.core.wmem_max`, as the kernel doubles.
pub const HELD_MAX: usize = 416 << 10;

/// How a link's connection behaves. The values come from the configuration; zero durations turn an
/// option off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Bytes the kernel may hold unsent before the socket stops being writable
    /// (`TCP_NOTSENT_LOWAT`).
    pub unsent_limit_bytes: u32,
    /// Unacknowledged data older than this ends the connection (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
    /// Silence before the first keepalive probe, and between probes.
    pub keepalive: Duration,
    /// Congestion control to ask for, such as `bbr`; the system's default where it is unknown or
    /// `None`.
    pub congestion: Option<String>,
    /// Send buffer in bytes; `None` leaves it to the kernel, which sizes it to the path.
    pub send_bytes: Option<usize>,
    /// Receive buffer in bytes; `None` leaves it to the kernel.
    pub receive_bytes: Option<usize>,
}

impl Default for TcpOptions {
    /// 64 KiB unsent (a few tens of microseconds of a fast network, half a second of a slow one),
    /// dead after 30 s, probed after 15 s, `bbr` where the kernel has it.
    fn default() -> Self {
        TcpOptions {
            unsent_limit_bytes: 64 << 10,
            user_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(15),
            congestion: Some("bbr".into()),
            send_bytes: None,
            receive_bytes: None,
        }
    }
}

/// Prepares a connection that was dialled or accepted.
///
/// # Errors
/// When `TCP_NODELAY` cannot be set, which only happens to sockets that are no longer connected.
/// Everything else is best effort: a link works without it, only less well.
pub fn tune(stream: &TcpStream, options: &TcpOptions) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let _ = set_unsent_limit(stream, options.unsent_limit_bytes);
    if !options.user_timeout.is_zero() {
        let _ = socket.set_tcp_user_timeout(Some(options.user_timeout));
    }
    if !options.keepalive.is_zero() {
        let probes =
            TcpKeepalive::new().with_time(options.keepalive).with_interval(options.keepalive);
        let _ = socket.set_tcp_keepalive(&probes);
    }
    if let Some(name) = &options.congestion {
        let _ = socket.set_tcp_congestion(name.as_bytes());
    }
    size_buffers(&socket, options);
    Ok(())
}

fn size_buffers(socket: &Socket, options: &TcpOptions) {
    if let Some(bytes) = options.send_bytes {
        let _ = socket.set_send_buffer_size(bytes);
    }
    if let Some(bytes) = options.receive_bytes {
        let _ = socket.set_recv_buffer_size(bytes);
    }
}

/// Bounds what the kernel holds unsent on this connection, in bytes (`TCP_NOTSENT_LOWAT`).
///
/// The socket counts as writable only while less waits. It does not stop a single large write; the
/// writer keeps those small while urgent traffic waits.
///
/// # Errors
/// The system's.
pub fn set_unsent_limit(stream: &TcpStream, bytes: u32) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(bytes)
}

/// Where a link's bytes go: its socket, and whether each write ends a segment (`MSG_EOR`), so that
/// the next one is held to the unsent limit instead of being added to what waits.
#[derive(Clone, Copy, Debug)]
pub struct Outlet<'a> {
    socket: &'a TcpStream,
    exact: bool,
}

impl<'a> Outlet<'a> {
    /// Writes to this socket.
    pub const fn new(socket: &'a TcpStream, exact: bool) -> Self {
        Outlet { socket, exact }
    }
}

impl Write for Outlet<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.exact {
            return (&*self.socket).write_vectored(bufs);
        }
        let flags = libc::MSG_EOR | libc::MSG_NOSIGNAL;
        SockRef::from(self.socket).send_vectored_with_flags(bufs, flags)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes accepted by the kernel that it has not sent for the first time (`SIOCOUTQNSD`).
///
/// # Errors
/// The system's.
pub fn unsent_bytes(stream: &TcpStream) -> io::Result<usize> {
    sys::unsent_bytes(stream.as_fd())
}

/// How fast a connection's path takes bytes, as the kernel measures it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// The largest segment sent, in bytes. Who has less than two unread may acknowledge when it
    /// suits (RFC 9293, 3.8.6.3).
    pub segment: u64,
    /// The round trip lately, averaged.
    pub round_trip: Duration,
    /// The least one seen in the last minutes.
    pub least_round_trip: Duration,
    /// Bytes acknowledged since the beginning.
    pub acknowledged: u64,
    /// For how long, since the beginning, some bytes were on their way.
    pub busy: Duration,
}

/// How fast this connection's path takes bytes.
///
/// # Errors
/// The system's; `Unsupported` from kernels that do not tell (before 4.10).
pub fn pace(stream: &TcpStream) -> io::Result<Pace> {
    let mut info = [0; INFO_WORDS];
    let filled = sys::get_option(stream.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
    if filled < info.len() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let word = |at: usize| info.get(at).copied().unwrap_or_default();
    let long = |at: usize| {
        let [a, b, c, d] = word(at).to_ne_bytes();
        let [e, f, g, h] = word(at + 1).to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    };
    let (segment, round_trip, acknowledged, least, busy) = INFO;
    Ok(Pace {
        segment: word(segment).into(),
        round_trip: Duration::from_micros(word(round_trip).into()),
        least_round_trip: Duration::from_micros(word(least).into()),
        acknowledged: long(acknowledged),
        busy: Duration::from_micros(long(busy)),
    })
}

/// Bounds what the kernel holds of this connection, sent but unacknowledged or not sent yet, to
/// about so many bytes. `None` leaves it to the kernel again, which grows it with the path.
///
/// Queues on the way, in our own network card or in a router that buffers too much, are made of
/// what is unacknowledged; what is not there can be overtaken here.
///
/// # Errors
/// The system's; kernels before 5.14 cannot be given the choice back and are left alone.
pub fn bound_held(stream: &TcpStream, bytes: Option<usize>) -> io::Result<()> {
    let (fd, level, name) = (stream.as_fd(), libc::SOL_SOCKET, libc::SO_BUF_LOCK);
    let mut locks = [0];
    sys::get_option(fd, level, name, &mut locks)?;
    // The kernel doubles what it is told, for its own records of each segment, and from then on
    // takes the choice for ours.
    SockRef::from(stream).set_send_buffer_size(bytes.unwrap_or(HELD_MAX) / 2)?;
    let [others] = locks.map(|l| (l & RECEIVE_LOCKED).cast_signed());
    if bytes.is_none() { sys::set_option(fd, level, name, others) } else { Ok(()) }
}

/// The congestion control in use.
///
/// # Errors
/// The system's.
pub fn congestion(stream: &TcpStream) -> io::Result<String> {
    let name = SockRef::from(stream).tcp_congestion()?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// Starts a connection without waiting for it. Progress shows as writability; then ask
/// [`connected`].
///
/// # Errors
/// The system's, as far as it knows at once: no route, out of sockets, refused locally.
pub fn dial(to: SocketAddr, options: &TcpOptions) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Buffer sizes decide the window scale, which is settled by the first packet.
    size_buffers(&socket, options);
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let stream = TcpStream::from_std(socket.into());
    tune(&stream, options)?;
    Ok(stream)
}

/// Whether a dialled connection stands. False means still under way.
///
/// # Errors
/// Why it failed: refused, timed out, unreachable.
pub fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// What one attempt to accept brought.
#[derive(Debug)]
pub enum Accepted {
    /// A tuned connection and where it comes from, canonical.
    Link(TcpStream, SocketAddr),
    /// Nobody waits; the next one raises readiness.
    Empty,
    /// Descriptors or memory have run out. Connections still wait, so readiness would not be raised
    /// again and asking at once would spin: call again after a pause, or once a connection has been
    /// closed.
    Exhausted,
}

/// How a listener is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Let several listeners share the address; the kernel spreads connections over them.
    pub reuse_port: bool,
    /// An IPv6 wildcard address also takes IPv4. Ignored for IPv4 addresses.
    pub dual_stack: bool,
}

impl Default for ListenOptions {
    /// Alone on its address, for both families.
    fn default() -> Self {
        ListenOptions { reuse_port: false, dual_stack: true }
    }
}

/// A listening socket for links and tunnels.
#[derive(Debug)]
pub struct LinkListener {
    listener: TcpListener,
    options: TcpOptions,
    local: SocketAddr,
}

impl LinkListener {
    /// Listens on `addr`; `options` are given to each accepted connection.
    ///
    /// # Errors
    /// The system's: the address is in use or not ours.
    pub fn bind(
        addr: SocketAddr,
        options: TcpOptions,
        listen: ListenOptions,
    ) -> io::Result<LinkListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if let SocketAddr::V6(v6) = addr {
            let shared = listen.dual_stack && *v6.ip() == Ipv6Addr::UNSPECIFIED;
            socket.set_only_v6(!shared)?;
        }
        // Without this a restarted node waits a minute for its own closed connections.
        socket.set_reuse_address(true)?;
        if listen.reuse_port {
            socket.set_reuse_port(true)?;
        }
        size_buffers(&socket, &options);
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into());
        let local = listener.local_addr()?;
        Ok(LinkListener { listener, options, local })
    }

    /// The address listened on, with the port the system chose if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Takes one waiting connection. Call until it says [`Accepted::Empty`] or
    /// [`Accepted::Exhausted`].
    ///
    /// # Errors
    /// Only what makes the listener useless. A connection that died while it waited is passed over.
    pub fn accept(&self) -> io::Result<Accepted> {
        loop {
            match self.listener.accept() {
                Ok((stream, from)) => {
                    if tune(&stream, &self.options).is_ok() {
                        return Ok(Accepted::Link(stream, canonical(from)));
                    }
                }
                Err(error) => match error.raw_os_error() {
                    _ if error.kind() == io::ErrorKind::WouldBlock => return Ok(Accepted::Empty),
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        return Ok(Accepted::Exhausted);
                    }
                    // Errors of the connection, not of the listener; accept(2) passes them on.
                    Some(
                        libc::ECONNABORTED
                        | libc::EINTR
                        | libc::EPROTO
                        | libc::EPERM
                        | libc::ENETDOWN
                        | libc::ENOPROTOOPT
                        | libc::EHOSTDOWN
                        | libc::ENONET
                        | libc::EHOSTUNREACH
                        | libc::EOPNOTSUPP
                        | libc::ENETUNREACH,
                    ) => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

impl Source for LinkListener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.listener.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.listener.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.listener.deregister(registry)
    }
}
