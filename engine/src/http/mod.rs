//! HTTP over streams: serving `req` streams of peers, asking peers, and the gateway through which
//! a browser does.
//!
//! A `req` stream is one HTTP/1.1 connection. hyper reads and writes it, on one thread with a
//! small runtime of its own that is started when it is first needed; workers know nothing of
//! HTTP, and no worker ever waits for this thread. Bodies pass frame by frame, so that memory
//! is what the bounds of streams and pipes say, however large they are.
//!
//! ```text
//!   peer ══ req stream ══► worker ─ pipe ─► [http thread] serve ─► forward ─► backend (TCP)
//!                                                           └────► the application's service
//!   browser ── TCP ──► [http thread] gateway ─ pipe ─► worker ══ req stream ══► peer
//!   Handle::http ────► [http thread] call    ─ pipe ─► worker ══ req stream ══► peer
//! ```
//!
//! What a peer or a browser sends is read strictly, by the rules of `forward`, and written anew:
//! nothing of its framing reaches the other side.

mod body;
mod call;
mod exchange;
mod forward;
mod gateway;
mod label;
mod patient;
mod serve;
mod service;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper::server::conn::http1;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use trunkline_proto::base::Hashname;
use trunkline_proto::switch::streams::Code;

pub use body::Body;
pub use call::{Answer, Call, CallError, Client};
pub use forward::HASHNAME_HEADER;
pub use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
pub use label::{from_label, to_label};
pub use service::{Request, Response};

use crate::stream::Stream;
pub(crate) use service::Service;

/// HTTP connections of peers and browsers that are served at a time. Each pins two buffers of
/// [`HEAD_BYTES`], two more where it is passed on, and a pipe (640 KiB): 256 × 0.9 MiB = 230 MiB when
/// all stand still with everything full, and what the streams' windows hold. What the program itself
/// asks is bounded by the number of pipes.
pub(crate) const MOST: usize = 256;
/// How many of them peers may have, so that there is room for browsers, and each single peer.
const THEIRS: (usize, usize) = (192, 64);
/// Connections to servers and peers that are kept between requests. Fewer than a peer gives one
/// asker: who keeps them may still ask.
const KEPT: usize = 48;
/// Most bytes of a message's head, and of what is read ahead.
const HEAD_BYTES: usize = 64 << 10;
/// Most header fields of one message.
const FIELDS: usize = 100;
/// Threads for services and for readers that are sent: never more than there is work for.
const BLOCKING: usize = 2 * MOST;
/// Jobs on their way to the thread.
const JOBS: usize = 256;

/// How long others may take.
pub(crate) mod patience {
    use std::time::Duration;

    /// For a whole head, from the first byte or since the last answer.
    pub(crate) const HEAD: Duration = Duration::from_secs(30);
    /// Without a byte of a body that is being sent to us.
    pub(crate) const BODY: Duration = Duration::from_secs(60);
    /// For the rest of a body that nobody reads, in all and without a byte.
    pub(crate) const REST: Duration = Duration::from_secs(30);
    pub(crate) const REST_PIECE: Duration = Duration::from_secs(5);
    /// Without a byte taken of what we send.
    pub(crate) const WRITE: Duration = Duration::from_secs(120);
    /// For a connection to the backend.
    pub(crate) const CONNECT: Duration = Duration::from_secs(5);
    /// For the head of an answer.
    pub(crate) const ANSWER: Duration = Duration::from_secs(300);
}

/// What HTTP a node serves.
#[derive(Clone, Debug, Default)]
pub struct HttpSetup {
    /// Peers' requests go to this server.
    pub backend: Option<Backend>,
    /// Peers' requests are answered by the application; it comes before the backend.
    pub(crate) service: Option<Service>,
    /// Browsers of this machine reach peers here.
    pub gateway: Option<GatewaySetup>,
}

/// The one server that peers' requests go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where.
    pub address: SocketAddr,
    /// Whether it hears the Host the asker wrote; else it hears its own address.
    pub pass_host: bool,
}

/// The local port for browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySetup {
    /// Where browsers connect.
    pub listen: SocketAddr,
    /// Names of hashnames: `NAME.localhost` leads there.
    pub names: BTreeMap<String, Hashname>,
}

/// What the thread is asked to do.
pub(crate) enum Job {
    /// Serve a peer's stream.
    Serve(Stream),
    /// Ask a peer.
    Call(Box<call::Asked>),
    /// Take browsers' connections.
    Gateway(std::net::TcpListener, Box<gateway::Gateway>),
}

/// The way to the HTTP thread.
pub(crate) struct Http {
    setup: HttpSetup,
    running: Mutex<Running>,
}

enum Running {
    NotYet,
    Now { jobs: mpsc::Sender<Job>, thread: JoinHandle<()> },
    Ended,
}

impl Http {
    pub(crate) const fn new(setup: HttpSetup) -> Self {
        Self { setup, running: Mutex::new(Running::NotYet) }
    }

    /// Whether peers' requests are answered.
    pub(crate) const fn serves(&self) -> bool {
        self.setup.backend.is_some() || self.setup.service.is_some()
    }

    /// Starts what the set-up asks for.
    pub(crate) fn start(&self, handle: &crate::handle::Handle) -> io::Result<Option<SocketAddr>> {
        if self.serves() {
            self.jobs()?;
        }
        let Some(setup) = &self.setup.gateway else { return Ok(None) };
        let listener = std::net::TcpListener::bind(setup.listen)?;
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        let gateway = gateway::Gateway::new(handle.clone(), setup.names.clone());
        self.give(Job::Gateway(listener, Box::new(gateway)))
            .map_err(|_| io::Error::other("the HTTP thread has ended"))?;
        Ok(Some(local))
    }

    /// Hands over a job, or back if the thread is behind or gone.
    pub(crate) fn give(&self, job: Job) -> Result<(), Job> {
        let Ok(jobs) = self.jobs() else { return Err(job) };
        jobs.try_send(job).map_err(|e| match e {
            mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job) => job,
        })
    }

    fn jobs(&self) -> io::Result<mpsc::Sender<Job>> {
        let mut running = self.running.lock();
        match &*running {
            Running::Now { jobs, .. } => return Ok(jobs.clone()),
            Running::Ended => return Err(io::ErrorKind::NotConnected.into()),
            Running::NotYet => {}
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(BLOCKING)
            .thread_name("http-work")
            .build()?;
        let (jobs, queue) = mpsc::channel(JOBS);
        let site = Arc::new(Site::new(&self.setup));
        let run = move || {
            runtime.block_on(work(queue, site));
            // A service that hangs is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(run)?;
        *running = Running::Now { jobs: jobs.clone(), thread };
        Ok(jobs)
    }

    /// Ends the thread and all that runs there.
    pub(crate) fn stop(&self) {
        let ended = std::mem::replace(&mut *self.running.lock(), Running::Ended);
        if let Running::Now { jobs, thread } = ended {
            drop(jobs);
            let _ = thread.join();
        }
    }
}

/// What connections share.
pub(crate) struct Site {
    backend: Option<Backend>,
    service: Option<Service>,
    places: Places,
    /// Room for connections that are kept.
    kept: Arc<Semaphore>,
}

impl Site {
    fn new(setup: &HttpSetup) -> Self {
        let (backend, service) = (setup.backend, setup.service.clone());
        let kept = Arc::new(Semaphore::new(KEPT));
        Self { backend, service, places: Places::default(), kept }
    }
}

async fn work(mut queue: mpsc::Receiver<Job>, site: Arc<Site>) {
    while let Some(job) = queue.recv().await {
        match job {
            Job::Serve(stream) => {
                let peer = stream.peer();
                match Places::take(&site, Some(peer)) {
                    Some(place) => drop(tokio::spawn(serve::serve(stream, place))),
                    None => {
                        let why = "as many HTTP connections are served as may be";
                        stream.reset(Code::TOO_MANY.0, why);
                    }
                }
            }
            Job::Call(asked) => drop(tokio::spawn(asked.run())),
            Job::Gateway(listener, gateway) => {
                drop(tokio::spawn(gateway.run(listener, site.clone())));
            }
        }
    }
}

/// Who has how many connections.
#[derive(Default)]
struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    all: usize,
    /// At most [`MOST`] entries.
    by_peer: HashMap<Hashname, usize>,
}

/// A connection's place; free again when it is dropped.
pub(crate) struct Place {
    site: Arc<Site>,
    peer: Option<Hashname>,
}

impl Places {
    /// A place for a peer, or for a browser of this machine.
    fn take(site: &Arc<Site>, peer: Option<Hashname>) -> Option<Place> {
        let mut taken = site.places.0.lock();
        if taken.all >= MOST {
            return None;
        }
        if let Some(peer) = peer {
            let (most, most_of_one) = THEIRS;
            let all: usize = taken.by_peer.values().sum();
            let of_one = taken.by_peer.get(&peer).copied().unwrap_or(0);
            if all >= most || of_one >= most_of_one {
                return None;
            }
            *taken.by_peer.entry(peer).or_default() += 1;
        }
        taken.all += 1;
        drop(taken);
        Some(Place { site: site.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.site.places.0.lock();
        taken.all -= 1;
        if let Some(peer) = self.peer
            && let Some(count) = taken.by_peer.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_peer.remove(&peer);
            }
        }
    }
}

/// How requests are read, from peers and browsers alike.
fn reader() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(patience::HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_header_size(HEAD_BYTES)
        .max_headers(FIELDS)
        // Who has said all that is to be said may still wait for the answer.
        .half_close(true);
    builder
}

/// How answers are read, from backends and peers alike.
fn asker() -> hyper::client::conn::http1::Builder {
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES).max_header_size(HEAD_BYTES).max_headers(FIELDS);
    builder
}
