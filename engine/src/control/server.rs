//! Serving the control socket: accepts in a thread of its own, answers each client in one of its
//! own, and asks the [`ControlTarget`] for everything.
//!
//! Owns the connections and their bounds: 16 clients, requests of 2 MiB, 5 s for a client to
//! take its answer. Never touches the packet path, and never believes a request: hashnames,
//! targets and numbers are judged here, before the engine sees them.

mod messages;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use serde::Serialize;
use tracing::{debug, warn};
use trunkline_proto::base::{Hashname, Namespace, Priority};
use trunkline_proto::message::Outbound;

use super::finding::{SeekReport, WhyReport};
use super::gate::GateReport;
use super::mesh::{LinkAddAsk, LinkCloseAsk, LinkCostAsk, LinksReport, NodesReport, RoutesReport};
use super::messages::{Heard, Judged, Sent};
use super::protocol::{
    Act, Answer, Fault, Hop, LONGEST_REQUEST, MemberList, OperatorAsk, PingAsk, PingSummary, Probe,
    ProxyAsk, ProxyOpened, Request, TraceAsk, TraceReport, What, codes,
};
use super::report::StatusReport;
use super::socket::{ControlError, Socket};
use crate::config::HostPort;

pub use messages::Listening;

/// Clients served at a time; the next one is told so.
pub const MOST_CLIENTS: usize = 16;

/// A client that does not take its answer for this long is cut off.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
/// After a failed accept (no descriptors left, say), the next attempt comes this much later.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

const LISTENER: Token = Token(0);
const STOP: Token = Token(1);

/// What a node can be asked to do. Calls come from the clients' threads, several at a time, and
/// may take as long as the work takes.
///
/// `tell` gets what happens on the way; once it breaks, the client is gone and the call should
/// end early. What has passed here has been judged: `ask`'s hashname is `to`, its numbers are in
/// bounds.
pub trait ControlTarget: Send + Sync {
    /// How the node is.
    fn status(&self) -> StatusReport;

    /// Sends probes and waits for their answers.
    ///
    /// # Errors
    /// If nothing could be sent; a lost probe is none.
    fn ping(
        &self,
        to: Hashname,
        ask: &PingAsk,
        tell: &mut dyn FnMut(Probe) -> ControlFlow<()>,
    ) -> Result<PingSummary, Fault>;

    /// Finds the hops of the way there.
    ///
    /// # Errors
    /// If no way is known.
    fn trace(
        &self,
        to: Hashname,
        ask: &TraceAsk,
        tell: &mut dyn FnMut(Hop) -> ControlFlow<()>,
    ) -> Result<TraceReport, Fault>;

    /// Opens a local port that leads to `target` behind `to`, until the answer is dropped.
    ///
    /// # Errors
    /// If it cannot be listened at `listen`.
    fn proxy(
        &self,
        to: Hashname,
        target: HostPort,
        listen: SocketAddr,
    ) -> Result<Box<dyn OpenProxy>, Fault>;

    /// Opens a local port whose connections are HTTP connections to `to`, until the answer is
    /// dropped.
    ///
    /// # Errors
    /// If it cannot be listened at `listen`.
    fn http(&self, to: Hashname, listen: SocketAddr) -> Result<Box<dyn OpenProxy>, Fault>;

    /// Sends a message, and waits until it was handed over if that is wanted.
    ///
    /// # Errors
    /// If it came back, or nobody knows in time.
    fn send(&self, message: &Judged, wait: bool) -> Result<Sent, Fault> {
        let _ = wait;
        Err(Fault::new(codes::NO_ROUTE, format!("no way to {}", message.to.short())))
    }

    /// Says something to all nodes, and to this one if `here`.
    ///
    /// # Errors
    /// If it cannot be said.
    fn broadcast(&self, what: &Outbound, record: Bytes, here: bool) -> Result<Sent, Fault> {
        let _ = (what, record, here);
        Err(Fault::new(codes::BUSY, "this node has nobody to say it to"))
    }

    /// Sends a message and waits for its reply.
    ///
    /// # Errors
    /// If it came back, or there is no reply in time.
    fn request(&self, message: &Judged) -> Result<Heard, Fault> {
        Err(Fault::new(codes::NO_ROUTE, format!("no way to {}", message.to.short())))
    }

    /// Takes messages until what is answered is dropped.
    ///
    /// # Errors
    /// If there are as many subscriptions as may be.
    fn listen(
        &self,
        namespace: Namespace,
        target: Option<Namespace>,
    ) -> Result<Box<dyn Listening>, Fault> {
        let _ = (namespace, target);
        Err(Fault::new(codes::BUSY, "this node takes no messages"))
    }

    /// Answers a message somebody listened to.
    ///
    /// # Errors
    /// If it is not known any more.
    fn reply(&self, number: u64, record: Bytes) -> Result<(), Fault> {
        let _ = record;
        Err(Fault::new(codes::NO_MESSAGE, format!("there is no message {number} to answer")))
    }

    /// Tells all that is known of the way to a hashname.
    fn why(&self, to: Hashname) -> WhyReport {
        WhyReport { hashname: to.to_string(), ..WhyReport::default() }
    }

    /// Finds who is nearest to something.
    ///
    /// # Errors
    /// If there is nobody to ask, as there is by default.
    fn seek(&self, what: &str) -> Result<SeekReport, Fault> {
        let _ = what;
        Err(Fault::new(codes::NO_ROUTE, "this node has nobody to ask"))
    }

    /// What the gatekeeper goes by and has decided; by default it takes everything.
    fn gate(&self) -> GateReport {
        GateReport::default()
    }

    /// The links, connected or not.
    fn links(&self) -> LinksReport {
        LinksReport::default()
    }

    /// The nodes, in reach or not.
    ///
    /// # Errors
    /// If the node is too busy to tell.
    fn nodes(&self) -> Result<NodesReport, Fault> {
        Ok(NodesReport::default())
    }

    /// The routes to all nodes, or the one to this node with its reasons.
    ///
    /// # Errors
    /// If the node is too busy to tell.
    fn routes_to(&self, to: Option<Hashname>) -> Result<RoutesReport, Fault> {
        let _ = to;
        Ok(RoutesReport::default())
    }

    /// Opens a link to a neighbour and keeps it up.
    ///
    /// # Errors
    /// If it cannot be had, as it cannot by default.
    fn link_add(&self, to: Hashname, ask: &LinkAddAsk) -> Result<(), Fault> {
        let _ = (to, ask);
        Err(no_link())
    }

    /// Closes a link.
    ///
    /// # Errors
    /// If there is none of that name or number, as there is none by default.
    fn link_close(&self, ask: &LinkCloseAsk) -> Result<(), Fault> {
        let _ = ask;
        Err(no_link())
    }

    /// Gives a link another cost.
    ///
    /// # Errors
    /// As [`Self::link_close`].
    fn link_cost(&self, ask: &LinkCostAsk) -> Result<(), Fault> {
        let _ = ask;
        Err(no_link())
    }

    /// Does something with the members of the space.
    ///
    /// # Errors
    /// If the node is no operator, as this is by default, or it cannot be done.
    fn operator(&self, ask: &OperatorAsk) -> Result<MemberList, Fault> {
        let _ = ask;
        Err(Fault::new(codes::NO_MEMBER, "this node is no operator: node.directory makes it one"))
    }

    /// Lets the node drain and end. Only signals: the caller's answer has yet to be sent.
    fn stop(&self);
}

fn no_link() -> Fault {
    Fault::new(codes::NO_LINK, "this node has no links")
}

/// A proxy that lives until it is dropped.
pub trait OpenProxy: Send {
    /// Where local programs connect.
    fn listening(&self) -> SocketAddr;
}

/// The serving thread. Dropping it closes the socket and hangs up on all clients.
#[derive(Debug)]
pub struct ControlServer {
    waker: Waker,
    acceptor: Option<JoinHandle<()>>,
    clients: Arc<Clients>,
}

impl ControlServer {
    /// Makes the socket and starts serving.
    ///
    /// # Errors
    /// If the socket cannot be made, or another node has it.
    pub fn start(path: &Path, target: Arc<dyn ControlTarget>) -> Result<Self, ControlError> {
        let system = |source| ControlError::System { path: path.to_owned(), source };
        let socket = Socket::bind(path)?;
        let poll = Poll::new().map_err(system)?;
        let waker = Waker::new(poll.registry(), STOP).map_err(system)?;
        poll.registry()
            .register(&mut SourceFd(&socket.listener.as_raw_fd()), LISTENER, Interest::READABLE)
            .map_err(system)?;
        let clients = Arc::new(Clients::default());
        let acceptor = Acceptor { poll, socket, target, clients: Arc::clone(&clients) };
        let acceptor = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || acceptor.run())
            .map_err(system)?;
        Ok(Self { waker, acceptor: Some(acceptor), clients })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        // A waker that fails has lost its poll, and then the thread is ending anyway.
        if self.waker.wake().is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
        // The clients' threads end with their connections; joining them here would be joining
        // ourselves when a client's `stop` is what brought us here.
        self.clients.hang_up();
    }
}

/// The connections that are open.
#[derive(Debug, Default)]
struct Clients(Mutex<HashMap<u64, UnixStream>>);

impl Clients {
    fn add(&self, id: u64, stream: UnixStream) -> bool {
        let mut open = self.0.lock();
        let room = open.len() < MOST_CLIENTS;
        if room {
            open.insert(id, stream);
        }
        room
    }

    fn remove(&self, id: u64) {
        self.0.lock().remove(&id);
    }

    fn hang_up(&self) {
        for stream in self.0.lock().values() {
            // Already gone is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

struct Acceptor {
    poll: Poll,
    socket: Socket,
    target: Arc<dyn ControlTarget>,
    clients: Arc<Clients>,
}

impl Acceptor {
    fn run(mut self) {
        let mut events = Events::with_capacity(4);
        let mut next_id = 0;
        let mut pause = None;
        loop {
            match self.poll.poll(&mut events, pause.take()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return warn!(%error, "control: the poller failed, no more clients"),
                Ok(()) if events.iter().any(|e| e.token() == STOP) => return,
                Ok(()) => {}
            }
            loop {
                match self.socket.listener.accept() {
                    Ok((stream, _)) => {
                        next_id += 1;
                        self.welcome(next_id, stream);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        warn!(%error, "control: cannot accept a client");
                        pause = Some(ACCEPT_PAUSE);
                        break;
                    }
                }
            }
        }
    }

    fn welcome(&self, id: u64, stream: UnixStream) {
        let prepared = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_write_timeout(Some(WRITE_PATIENCE)))
            .and_then(|()| Ok((stream.try_clone()?, stream.try_clone()?)));
        let (own, reader) = match prepared {
            Ok(streams) => streams,
            Err(error) => return warn!(%error, "control: cannot serve a client"),
        };
        if !self.clients.add(id, own) {
            let message = format!("{MOST_CLIENTS} clients are connected already; end one of them");
            let fault = Fault::new(codes::BUSY, message).with("limit", MOST_CLIENTS);
            let _ = send(&stream, 0, What::Error(fault));
            return;
        }
        let (target, clients) = (Arc::clone(&self.target), Arc::clone(&self.clients));
        let started = thread::Builder::new().name(format!("control-{id}")).spawn(move || {
            let guard = Leaving { id, clients };
            let mut client = ClientThread { reader: BufReader::new(reader), stream, target };
            if let Err(error) = client.serve() {
                debug!(%error, "control: a client went away");
            }
            drop(guard);
        });
        if let Err(error) = started {
            self.clients.remove(id);
            warn!(%error, "control: cannot start a thread for a client");
        }
    }
}

/// Gives a client's place back, however its thread ends.
struct Leaving {
    id: u64,
    clients: Arc<Clients>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.clients.remove(self.id);
    }
}

struct ClientThread {
    reader: BufReader<UnixStream>,
    stream: UnixStream,
    target: Arc<dyn ControlTarget>,
}

impl ClientThread {
    /// Answers one request after the other until the client hangs up.
    fn serve(&mut self) -> io::Result<()> {
        while let Some(line) = self.read_line()? {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<Request>(&line) {
                Ok(request) => self.answer(request)?,
                Err(error) => {
                    let fault = bad(format!("not a request: {error}"));
                    send(&self.stream, id_of(&line), What::Error(fault))?;
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, Request { id, act }: Request) -> io::Result<()> {
        let (stream, target) = (&self.stream, Arc::clone(&self.target));
        let done = match act {
            Act::Status => ok(&target.status()),
            Act::Ping(ask) => judge_ping(&ask).and_then(|to| {
                let summary = target.ping(to, &ask, &mut |probe| tell(stream, id, &probe))?;
                ok(&summary)
            }),
            Act::Trace(ask) => judge_trace(&ask).and_then(|to| {
                let report = target.trace(to, &ask, &mut |hop| tell(stream, id, &hop))?;
                ok(&report)
            }),
            Act::Proxy(ask) => match open_proxy(&*target, &ask) {
                Ok(proxy) => return self.keep_open(id, proxy),
                Err(fault) => Err(fault),
            },
            Act::Http(ask) => {
                match hashname(&ask.hashname).and_then(|to| target.http(to, ask.listen)) {
                    Ok(proxy) => return self.keep_open(id, proxy),
                    Err(fault) => Err(fault),
                }
            }
            Act::Send(ask) => messages::sending(&*target, &ask),
            Act::Request(ask) => messages::asking(&*target, &ask),
            Act::Broadcast(ask) => ask
                .judge()
                .and_then(|(what, record)| target.broadcast(&what, record, ask.here))
                .and_then(|sent| ok(&sent)),
            Act::Listen(ask) => return self.listen(id, &ask),
            Act::Reply(ask) => messages::replying(&*target, &ask),
            Act::Why(ask) => hashname(&ask.hashname).and_then(|to| ok(&target.why(to))),
            Act::Seek(ask) => target.seek(&ask.what).and_then(|found| ok(&found)),
            Act::Gate => ok(&target.gate()),
            Act::Links => ok(&target.links()),
            Act::Nodes => target.nodes().and_then(|nodes| ok(&nodes)),
            Act::Routes(ask) => {
                let to = ask.hashname.as_deref().map(hashname).transpose();
                to.and_then(|to| target.routes_to(to)).and_then(|routes| ok(&routes))
            }
            Act::LinkAdd(ask) => hashname(&ask.hashname)
                .and_then(|to| target.link_add(to, &ask))
                .and_then(|()| ok(&serde_json::json!({}))),
            Act::LinkClose(ask) => {
                target.link_close(&ask).and_then(|()| ok(&serde_json::json!({})))
            }
            Act::LinkCost(ask) => target.link_cost(&ask).and_then(|()| ok(&serde_json::json!({}))),
            Act::Operator(ask) => target.operator(&ask).and_then(|members| ok(&members)),
            Act::Stop => {
                // Answered first: the node may be gone before a later answer is sent.
                send(stream, id, What::Ok(serde_json::json!({})))?;
                target.stop();
                return Ok(());
            }
        };
        send(&self.stream, id, done.map_or_else(What::Error, What::Ok))
    }

    /// Keeps a proxy until its client hangs up.
    fn keep_open(&mut self, id: u64, proxy: Box<dyn OpenProxy>) -> io::Result<()> {
        let opened = ProxyOpened { listening: proxy.listening() };
        let event = serde_json::to_value(&opened).map_err(io::Error::other)?;
        send(&self.stream, id, What::Event(event))?;
        while let Some(line) = self.read_line()? {
            let message = "this connection keeps a proxy open; ask on another one";
            let fault = Fault::new(codes::BUSY, message);
            send(&self.stream, id_of(&line), What::Error(fault))?;
        }
        Ok(())
    }

    /// The next line, or none when the client hung up. A line that is too long ends the
    /// conversation: where the next one begins is no longer known.
    fn read_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let most = u64::try_from(LONGEST_REQUEST).unwrap_or(u64::MAX);
        self.reader.by_ref().take(most).read_until(b'\n', &mut line)?;
        if line.len() == LONGEST_REQUEST && line.last() != Some(&b'\n') {
            let fault = bad(format!("a request has at most {LONGEST_REQUEST} bytes"));
            send(&self.stream, 0, What::Error(fault))?;
            return Ok(None);
        }
        Ok((!line.is_empty()).then_some(line))
    }
}

fn send(mut stream: &UnixStream, id: u64, what: What) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Answer { id, what }).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn tell(stream: &UnixStream, id: u64, event: &impl Serialize) -> ControlFlow<()> {
    let sent = serde_json::to_value(event)
        .map_err(io::Error::other)
        .and_then(|event| send(stream, id, What::Event(event)));
    if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn ok(answer: &impl Serialize) -> Result<serde_json::Value, Fault> {
    serde_json::to_value(answer)
        .map_err(|e| Fault::new(codes::INTERNAL, format!("the answer cannot be written: {e}")))
}

fn bad(message: impl Into<String>) -> Fault {
    Fault::new(codes::BAD_REQUEST, message)
}

/// The id of a request that could not be understood, so that its asker can tell which.
fn id_of(line: &[u8]) -> u64 {
    let value: Option<serde_json::Value> = serde_json::from_slice(line).ok();
    value.and_then(|v| v.get("id")?.as_u64()).unwrap_or(0)
}

fn hashname(text: &str) -> Result<Hashname, Fault> {
    text.parse().map_err(|e| bad(format!("`{text}` is no hashname: {e}")))
}

fn judge_time(name: &str, ms: u64) -> Result<(), Fault> {
    let most = PingAsk::LONGEST_MS;
    if ms <= most { Ok(()) } else { Err(bad(format!("{name} {ms} is over {most}"))) }
}

fn judge_ping(ask: &PingAsk) -> Result<Hashname, Fault> {
    judge_time("interval_ms", ask.interval_ms)?;
    judge_time("timeout_ms", ask.timeout_ms)?;
    if ask.count == 0 || ask.count > PingAsk::MOST {
        return Err(bad(format!("count {} is not 1 to {}", ask.count, PingAsk::MOST)));
    }
    if let Some(level) = ask.priority.filter(|level| Priority::new(*level).is_none()) {
        return Err(bad(format!("priority {level} is not 0 to 7")));
    }
    hashname(&ask.hashname)
}

fn judge_trace(ask: &TraceAsk) -> Result<Hashname, Fault> {
    judge_time("timeout_ms", ask.timeout_ms)?;
    hashname(&ask.hashname)
}

fn open_proxy(target: &dyn ControlTarget, ask: &ProxyAsk) -> Result<Box<dyn OpenProxy>, Fault> {
    let to = hashname(&ask.hashname)?;
    let host_port = ask.target.parse::<HostPort>().map_err(|e| bad(e.to_string()))?;
    target.proxy(to, host_port, ask.listen)
}
