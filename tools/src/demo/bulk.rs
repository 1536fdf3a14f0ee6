//! The bulk flow: a web server with one large file, and an ordinary client that fetches it.

use std::convert::Infallible;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressStyle};
use trunkline_proto::base::{Chance, Instant};

use crate::clock::Clock;
use crate::failure::Failure;

const CHUNK: usize = 64 << 10;
/// Random bytes from which the file is cut; larger than a chunk, so that no two chunks that
/// could be swapped are equal.
const SOURCE: usize = 8 << 20;

/// The file's chunks in order: each a slice of the source at its own place.
fn chunks(source: Bytes, length: u64) -> impl Iterator<Item = Bytes> {
    let chunk = u64::try_from(CHUNK).unwrap_or(u64::MAX);
    let places = u64::try_from(SOURCE - CHUNK).unwrap_or(u64::MAX);
    (0..length.div_ceil(chunk)).map(move |n| {
        let size = usize::try_from((length - n * chunk).min(chunk)).unwrap_or(CHUNK);
        let place = usize::try_from(n.wrapping_mul(7_919_003) % places).unwrap_or(0);
        source.slice(place..place + size)
    })
}

/// A web server at a free port of loopback, for the life of the process.
pub(super) struct Server {
    address: SocketAddr,
    digest: String,
}

impl Server {
    /// Serves a file of `length` bytes at every path.
    pub(super) fn start(length: u64) -> Result<Self, Failure> {
        let wrong = |e: std::io::Error| Failure::Other(format!("cannot start a web server: {e}"));
        let mut chance = Chance::from_number(length);
        let mut source = vec![0; SOURCE];
        rand_core::RngCore::fill_bytes(&mut chance, &mut source);
        let source = Bytes::from(source);
        let mut digest = Context::new(&SHA256);
        chunks(source.clone(), length).for_each(|c| digest.update(&c));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(wrong)?;
        let serve = move || runtime.block_on(serve(listener, source, length));
        std::thread::Builder::new().name("web".to_owned()).spawn(serve).map_err(wrong)?;
        Ok(Self { address, digest: hex(digest.finish().as_ref()) })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// SHA-256 of the file, in hex.
    pub(super) fn digest(&self) -> String {
        self.digest.clone()
    }
}

async fn serve(listener: TcpListener, source: Bytes, length: u64) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((socket, _)) = listener.accept().await {
        let source = source.clone();
        let answer = move |_: Request<hyper::body::Incoming>| {
            let frames =
                chunks(source.clone(), length).map(|c| Ok::<_, Infallible>(Frame::data(c)));
            let body = StreamBody::new(futures_util::stream::iter(frames));
            let response = Response::builder().header("content-length", length).body(body);
            async move { response }
        };
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(socket), service_fn(answer));
        tokio::spawn(async move {
            // A client that hangs up is not this server's concern.
            let _ = connection.await;
        });
    }
}

/// What was fetched.
pub(super) struct Fetched {
    pub(super) bytes: u64,
    pub(super) digest: String,
    pub(super) seconds: f64,
}

/// A fetch on a thread of its own.
pub(super) struct Fetch(JoinHandle<Result<Fetched, Failure>>);

impl Fetch {
    /// Fetches the file from the web server that is reached at `address`.
    pub(super) fn start(address: SocketAddr, progress: bool) -> Result<Self, Failure> {
        let thread = std::thread::Builder::new().name("client".to_owned());
        let thread = thread.spawn(move || fetch(address, progress));
        thread.map(Self).map_err(|e| Failure::Other(format!("cannot start a client: {e}")))
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.is_finished()
    }

    pub(super) fn finish(self) -> Result<Fetched, Failure> {
        self.0.join().unwrap_or_else(|_| Err(Failure::Other("the client failed".into())))
    }
}

fn fetch(address: SocketAddr, progress: bool) -> Result<Fetched, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::Other(format!("the fetch failed: {e}"));
    let clock = Clock::start();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(120))).build().into();
    let response = agent.get(format!("http://{address}/file")).call().map_err(|e| wrong(&e))?;
    let length = response.headers().get("content-length");
    let length = length.and_then(|l| l.to_str().ok()).and_then(|l| l.parse().ok()).unwrap_or(0);
    let bar = if progress { ProgressBar::new(length) } else { ProgressBar::hidden() };
    if let Ok(style) =
        ProgressStyle::with_template("  {bar:40} {bytes}/{total_bytes} {bytes_per_sec}")
    {
        bar.set_style(style);
    }
    let mut body = response.into_body().into_reader();
    let mut digest = Context::new(&SHA256);
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let n = body.read(&mut buffer).map_err(|e| wrong(&e))?;
        let Some(got) = buffer.get(..n).filter(|g| !g.is_empty()) else { break };
        digest.update(got);
        bytes += u64::try_from(n).unwrap_or(0);
        bar.set_position(bytes);
    }
    bar.finish_and_clear();
    let seconds = clock.now().since(Instant::ZERO).as_secs_f64();
    Ok(Fetched { bytes, digest: hex(digest.finish().as_ref()), seconds })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
