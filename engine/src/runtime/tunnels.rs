//! Local TCP connections carried by streams: the local ends of `proxy` and of `sock`.
//!
//! A tunnel joins one socket and one stream. Bytes are read from the socket into pooled memory
//! and given to the stream as they lie; what the stream delivers is written to the socket from
//! where it was decrypted, many packets in one call. Neither side is read while the other has not taken what came before,
//! so a slow end slows its other end and fills nothing.
//!
//! ```text
//!   socket ──read──► (pending, one piece) ───write──► stream
//!   socket ◄─write── (pending, some pieces) ◄──read── stream
//!   end of one direction ends that direction of the other; an error resets the other
//! ```

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use bytes::{Buf, Bytes};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use trunkline_proto::base::{FramePool, Hashname, Priority};
use trunkline_proto::proxy::AllowList;
use trunkline_proto::shard::Shard;
use trunkline_proto::stage::streams::StreamKey;
use trunkline_proto::switch::streams::{Code, Open, ReadState, StreamEvent};

use crate::net::read_socket;

/// Bytes read from a socket at a time.
const READ: usize = 64 << 10;
/// Pieces written to a socket at a time: a piece is what one packet brought.
const PIECES: usize = 64;
/// Pieces moved for one tunnel before others get their turn.
const ROUND: usize = 16;
/// Most tunnels of one worker. Each pins at most `READ` bytes each way and a stream's windows.
pub const MOST: usize = 4_096;

/// A proxy's number on its worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProxyId(pub u64);

struct Proxy {
    listener: TcpListener,
    peer: Hashname,
    open: Open,
    token: Token,
    local: SocketAddr,
    accepted: u64,
}

struct Tunnel {
    socket: TcpStream,
    stream: StreamKey,
    /// The socket is connected: at once for accepted ones, later for those we connect.
    connected: bool,
    /// Read from the socket, not yet taken by the stream.
    outward: Bytes,
    /// Read from the stream, not yet taken by the socket: at most [`READ`] bytes.
    inward: VecDeque<Bytes>,
    socket_ended: bool,
    stream_ended: bool,
    /// The socket was told that nothing more comes.
    shut: bool,
    /// Our half of the stream is finished.
    finished: bool,
    readable: bool,
    writable: bool,
}

/// What a worker's tunnels did so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct TunnelCounters {
    /// Connections accepted by local proxies.
    pub accepted: u64,
    /// Connections made for peers.
    pub connected: u64,
    /// Peers' targets refused.
    pub refused: u64,
    /// Tunnels open now.
    pub open: u64,
}

/// The tunnels of one worker.
pub struct Tunnels {
    allow: AllowList,
    proxies: HashMap<ProxyId, Proxy>,
    by_listener: HashMap<Token, ProxyId>,
    tunnels: HashMap<Token, Tunnel>,
    by_stream: HashMap<StreamKey, Token>,
    /// Tunnels that may have something to move.
    busy: Vec<Token>,
    pool: FramePool,
    counters: TunnelCounters,
}

impl Tunnels {
    /// No tunnels; peers reach what `allow` lists.
    #[must_use]
    pub fn new(allow: AllowList) -> Self {
        Self {
            allow,
            proxies: HashMap::new(),
            by_listener: HashMap::new(),
            tunnels: HashMap::new(),
            by_stream: HashMap::new(),
            busy: Vec::new(),
            pool: FramePool::new(1 << 20, 16),
            counters: TunnelCounters::default(),
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> TunnelCounters {
        TunnelCounters { open: self.tunnels.len() as u64, ..self.counters }
    }

    /// The proxies: listening where, for whom, to what, and connections accepted.
    #[must_use]
    pub fn proxies(&self) -> Vec<(SocketAddr, Hashname, String, u64)> {
        let all = self.proxies.values();
        all.map(|p| (p.local, p.peer, purpose(&p.open), p.accepted)).collect()
    }

    /// Listens at `listen`; each connection is carried by a stream to `peer`, opened for `open`.
    ///
    /// # Errors
    /// The system's: the address is in use or not ours.
    pub fn open_proxy(
        &mut self,
        id: ProxyId,
        peer: Hashname,
        open: Open,
        listen: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<SocketAddr> {
        let mut listener = TcpListener::bind(listen)?;
        let local = listener.local_addr()?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        self.by_listener.insert(token, id);
        self.proxies.insert(id, Proxy { listener, peer, open, token, local, accepted: 0 });
        Ok(local)
    }

    /// Stops listening; its connections go on. Gives back the listener's token.
    pub fn close_proxy(&mut self, id: ProxyId, registry: &Registry) -> Option<Token> {
        let mut proxy = self.proxies.remove(&id)?;
        let _ = registry.deregister(&mut proxy.listener);
        self.by_listener.remove(&proxy.token);
        Some(proxy.token)
    }

    /// A listener has connections waiting: each becomes a tunnel. `token` makes new tokens.
    pub fn accept(
        &mut self,
        ctx: &mut Context<'_>,
        listener: Token,
        mut token: impl FnMut() -> Token,
    ) {
        let id = self.by_listener.get(&listener);
        let Some(proxy) = id.and_then(|id| self.proxies.get_mut(id)) else {
            return;
        };
        let mut fresh = Vec::new();
        // Errors of single connections, and of a lack of descriptors, leave the listener as it is.
        loop {
            let socket = match proxy.listener.accept() {
                Ok((socket, _)) => socket,
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(_) => break,
            };
            if self.tunnels.len() + fresh.len() >= MOST {
                continue;
            }
            proxy.accepted += 1;
            fresh.push((socket, proxy.peer, proxy.open.clone()));
        }
        for (socket, peer, open) in fresh {
            self.counters.accepted += 1;
            let (now, wall) = (ctx.now, ctx.wall);
            match ctx.shard.open_stream(now, wall, peer, open, Priority::DEFAULT) {
                Ok(stream) => self.join(ctx, socket, stream, true, token()),
                Err(_) => abort(&socket),
            }
        }
    }

    /// A peer opened a stream to a target here: connect there, if it is on the list.
    pub fn connect(
        &mut self,
        ctx: &mut Context<'_>,
        stream: StreamKey,
        target: &str,
        token: impl FnOnce() -> Token,
    ) {
        let refuse = |this: &mut Self, ctx: &mut Context<'_>, why: &str| {
            this.counters.refused += 1;
            ctx.shard.reset_stream(ctx.now, stream, Code::REFUSED, why);
        };
        if self.tunnels.len() >= MOST {
            return refuse(self, ctx, "this node carries as many connections as it may");
        }
        let address = match self.allow.judge(target) {
            Ok(address) => address,
            Err(refusal) => return refuse(self, ctx, &refusal.to_string()),
        };
        match TcpStream::connect(address) {
            Ok(socket) => {
                self.counters.connected += 1;
                self.join(ctx, socket, stream, false, token());
            }
            Err(error) => refuse(self, ctx, &format!("cannot connect: {error}")),
        }
    }

    fn join(
        &mut self,
        ctx: &mut Context<'_>,
        mut socket: TcpStream,
        stream: StreamKey,
        connected: bool,
        token: Token,
    ) {
        let _ = socket.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if ctx.registry.register(&mut socket, token, interest).is_err() {
            ctx.shard.reset_stream(ctx.now, stream, Code::CANCELLED, "the poller is full");
            return;
        }
        let tunnel = Tunnel {
            socket,
            stream,
            connected,
            outward: Bytes::new(),
            inward: VecDeque::new(),
            socket_ended: false,
            stream_ended: false,
            shut: false,
            finished: false,
            readable: connected,
            writable: connected,
        };
        self.tunnels.insert(token, tunnel);
        self.by_stream.insert(stream, token);
        self.busy.push(token);
    }

    /// A tunnel's socket became ready.
    pub fn ready(&mut self, token: Token, readable: bool, writable: bool) {
        if let Some(tunnel) = self.tunnels.get_mut(&token) {
            tunnel.readable |= readable;
            tunnel.writable |= writable;
            self.busy.push(token);
        }
    }

    /// Something happened to a stream. Gives back the token of a tunnel that is gone.
    pub fn stream_event(
        &mut self,
        ctx: &mut Context<'_>,
        stream: StreamKey,
        event: &StreamEvent,
    ) -> Option<Token> {
        let token = *self.by_stream.get(&stream)?;
        match event {
            StreamEvent::Reset { .. } | StreamEvent::Stopped { .. } => {
                if matches!(event, StreamEvent::Stopped { .. }) {
                    ctx.shard.reset_stream(
                        ctx.now,
                        stream,
                        Code::CANCELLED,
                        "the peer reads no more",
                    );
                }
                if let Some(tunnel) = self.tunnels.get(&token) {
                    abort(&tunnel.socket);
                }
                self.part(ctx, token);
                Some(token)
            }
            _ => {
                self.busy.push(token);
                None
            }
        }
    }

    /// Whether a stream belongs to a tunnel.
    #[must_use]
    pub fn has(&self, stream: StreamKey) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// Moves what can be moved. Gives back the tokens of tunnels that are done; true if some have
    /// more to move than their turn allowed.
    pub fn pump(&mut self, ctx: &mut Context<'_>, done: &mut Vec<Token>) -> bool {
        let mut busy = std::mem::take(&mut self.busy);
        busy.sort_unstable();
        busy.dedup();
        for token in busy.drain(..) {
            let Some(tunnel) = self.tunnels.get_mut(&token) else { continue };
            match tunnel.pump(ctx, &mut self.pool) {
                Pumped::Idle => {}
                Pumped::More => self.busy.push(token),
                Pumped::Done => {
                    self.part(ctx, token);
                    done.push(token);
                }
                Pumped::Broken(error) => {
                    ctx.shard.reset_stream(
                        ctx.now,
                        tunnel.stream,
                        Code::CANCELLED,
                        &error.to_string(),
                    );
                    self.part(ctx, token);
                    done.push(token);
                }
            }
        }
        !self.busy.is_empty()
    }

    fn part(&mut self, ctx: &mut Context<'_>, token: Token) {
        if let Some(mut gone) = self.tunnels.remove(&token) {
            let _ = ctx.registry.deregister(&mut gone.socket);
            self.by_stream.remove(&gone.stream);
        }
    }
}

/// What people read of a stream's purpose.
fn purpose(open: &Open) -> String {
    match open {
        Open::Generic => "generic".to_owned(),
        Open::Sock(target) => target.to_string(),
        Open::Req => "http".to_owned(),
    }
}

/// What a call needs of its worker.
pub struct Context<'a> {
    /// The streams.
    pub shard: &'a mut Shard,
    /// The poller.
    pub registry: &'a Registry,
    /// The time.
    pub now: trunkline_proto::base::Instant,
    /// The calendar.
    pub wall: trunkline_proto::base::Wall,
}

enum Pumped {
    /// Nothing can be moved until something happens.
    Idle,
    /// More could be moved.
    More,
    /// Both directions ended in order.
    Done,
    /// The socket broke.
    Broken(io::Error),
}

impl Tunnel {
    fn pump(&mut self, ctx: &mut Context<'_>, pool: &mut FramePool) -> Pumped {
        if !self.connected {
            match self.check_connected() {
                Ok(true) => {}
                Ok(false) => return Pumped::Idle,
                Err(error) => return Pumped::Broken(error),
            }
        }
        for _ in 0..ROUND {
            let moved = self.outward(ctx, pool).and_then(|out| Ok(out | self.inward(ctx)?));
            match moved {
                Err(error) => return Pumped::Broken(error),
                Ok(_) if self.is_done() => return Pumped::Done,
                Ok(true) => {}
                Ok(false) => return Pumped::Idle,
            }
        }
        Pumped::More
    }

    fn check_connected(&mut self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => {
                self.connected = true;
                self.readable = true;
                self.writable = true;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// One piece from the socket to the stream.
    fn outward(&mut self, ctx: &mut Context<'_>, pool: &mut FramePool) -> io::Result<bool> {
        if self.outward.is_empty() && self.readable && !self.socket_ended {
            let buffer = pool.spare(READ);
            match read_socket(&self.socket, buffer, READ) {
                Ok(0) => self.socket_ended = true,
                Ok(_) => self.outward = buffer.split().freeze(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) => return Err(error),
            }
        }
        if !self.outward.is_empty() {
            let taken = ctx.shard.write_stream(self.stream, &mut self.outward);
            // A stream that takes nothing more says so with an event of its own.
            return Ok(taken.is_ok_and(|n| n > 0));
        }
        if self.socket_ended && !self.finished {
            self.finished = true;
            ctx.shard.finish_stream(self.stream);
        }
        Ok(false)
    }

    /// Some pieces from the stream to the socket.
    fn inward(&mut self, ctx: &mut Context<'_>) -> io::Result<bool> {
        if self.inward.is_empty() && !self.stream_ended {
            self.read_stream(ctx);
        }
        if self.inward.is_empty() {
            if self.stream_ended && !self.shut {
                self.shut = true;
                let _ = self.socket.shutdown(Shutdown::Write);
            }
            return Ok(false);
        }
        if !self.writable {
            return Ok(false);
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        let count = slices.iter_mut().zip(&self.inward).map(|(s, p)| *s = IoSlice::new(p)).count();
        match self.socket.write_vectored(slices.get(..count).unwrap_or_default()) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                self.written(n);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Takes what the stream has, as much as goes to the socket in one call.
    fn read_stream(&mut self, ctx: &mut Context<'_>) {
        let mut room = READ;
        while room > 0 && self.inward.len() < PIECES {
            match ctx.shard.read_stream(self.stream, room) {
                Ok(ReadState::Data(bytes)) => {
                    room = room.saturating_sub(bytes.len());
                    self.inward.push_back(bytes);
                }
                Ok(ReadState::End) => {
                    self.stream_ended = true;
                    return;
                }
                Ok(ReadState::Pending) | Err(_) => return,
            }
        }
    }

    /// The socket took so many bytes.
    fn written(&mut self, mut bytes: usize) {
        while let Some(piece) = self.inward.front_mut() {
            if piece.len() > bytes {
                piece.advance(bytes);
                return;
            }
            bytes -= piece.len();
            self.inward.pop_front();
        }
    }

    fn is_done(&self) -> bool {
        self.finished && self.stream_ended && self.inward.is_empty()
    }
}

/// Closes with a reset, so that the local program sees that it was not an orderly end.
fn abort(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
