//! `irohload`: load for iroh-relay, by the client that iroh itself uses. `compare` runs it.
//!
//! A message is a datagram. `--packed N` puts N of them into one frame, as iroh does when its
//! kernel hands it that many at once; otherwise each has a frame of its own, up to 32 in a flush.

use std::error::Error;
use std::fs;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use iroh_base::{EndpointId, RelayUrl, SecretKey};
use iroh_dns::dns::DnsResolver;
use iroh_relay::client::{Client, ClientBuilder, ClientSink, ClientStream};
use iroh_relay::protos::relay::{ClientToRelayMsg, Datagrams, RelayToClientMsg};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::{Handle, Runtime};
use trunkline_drive::{Load, Run, tell};

type Failure = Box<dyn Error + Send + Sync>;

/// Send datagrams through an iroh-relay and tell what arrived.
#[derive(Debug, Parser)]
enum Cli {
    /// Send
    Load(Arguments),
    /// Write a certificate for 127.0.0.1 and its key, `certificate.pem` and `key.pem`
    Certificate {
        /// Into this directory
        directory: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Arguments {
    /// Where the relay is
    #[arg(long)]
    url: RelayUrl,
    /// The certificate it shows, if it speaks TLS
    #[arg(long)]
    certificate: Option<PathBuf>,
    /// Datagrams in a frame
    #[arg(long, default_value_t = 1)]
    packed: usize,
    #[command(flatten)]
    load: Load,
}

fn main() -> Result<(), Failure> {
    match Cli::parse() {
        Cli::Load(arguments) => load(arguments),
        Cli::Certificate { directory } => certificate(&directory),
    }
}

fn certificate(directory: &Path) -> Result<(), Failure> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    fs::write(directory.join("certificate.pem"), made.cert.pem())?;
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem())?;
    Ok(())
}

fn load(arguments: Arguments) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let tls = tls(arguments.certificate.as_deref())?;
    let packed = if arguments.load.rate.is_some() { 1 } else { arguments.packed.max(1) };
    let (url, pairs) = (arguments.url, arguments.load.pairs);
    let run = Arc::new(Run::new(Load {
        // What leaves in one flush: whole frames.
        group: match arguments.load.rate {
            Some(_) => 1,
            None => (arguments.load.group / packed).max(1) * packed,
        },
        ..arguments.load
    }));
    let connect = |key: SecretKey| connect(&runtime, &url, key, &tls);
    let mut senders = Vec::new();
    for _ in 0..pairs {
        let (from, to) = (SecretKey::generate(), SecretKey::generate());
        let id = to.public();
        let (stream, sink) = connect(to)?.split();
        runtime.spawn(receive(run.clone(), stream, sink));
        let (stream, sink) = connect(from)?.split();
        runtime.spawn(async move { stream.for_each(async |_| {}).await });
        senders.push((sink, id));
    }
    let handle = runtime.handle();
    thread::scope(|scope| {
        let run = &*run;
        let sending = scope.spawn(move || send(run, handle, senders, packed));
        tell(run)?;
        sending.join().map_err(|_| "the sender panicked")?
    })
}

fn connect(
    runtime: &Runtime,
    url: &RelayUrl,
    key: SecretKey,
    tls: &rustls::ClientConfig,
) -> Result<Client, Failure> {
    let client = ClientBuilder::new(url.clone(), key, DnsResolver::new());
    let client = client.tls_client_config(tls.clone());
    Ok(runtime.block_on(client.connect())?)
}

fn tls(certificate: Option<&Path>) -> Result<rustls::ClientConfig, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(file) = certificate {
        roots.add(CertificateDer::from_pem_file(file)?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Receives until the relay ends the connection, whose other half must live as long.
async fn receive(run: Arc<Run>, mut stream: ClientStream, _sink: ClientSink) {
    let size = run.load().size.max(1);
    while let Some(Ok(message)) = stream.next().await {
        if let RelayToClientMsg::Datagrams { datagrams, .. } = message {
            if run.is_timed() {
                run.took(&datagrams.contents);
            }
            run.arrived((datagrams.contents.len() / size) as u64);
        }
    }
}

fn send(
    run: &Run,
    handle: &Handle,
    mut senders: Vec<(ClientSink, EndpointId)>,
    packed: usize,
) -> Result<(), Failure> {
    let load = run.load();
    let frames = load.group / packed;
    let whole = Bytes::from(vec![b'x'; load.size * packed]);
    let segment_size = if packed > 1 { NonZeroU16::new(u16::try_from(load.size)?) } else { None };
    let outcome = run.send(|pair, stamp| {
        let Some((sink, to)) = senders.get_mut(pair) else { return Ok(()) };
        let contents = stamp.map_or_else(|| whole.clone(), |s| stamped(&whole, s));
        let frame = || ClientToRelayMsg::Datagrams {
            dst_endpoint_id: *to,
            datagrams: Datagrams { ecn: None, segment_size, contents: contents.clone() },
        };
        let flushed = handle.block_on(async {
            for _ in 0..frames.max(1) {
                sink.feed(frame()).await?;
            }
            sink.flush().await
        });
        flushed.map_err(std::io::Error::other)
    });
    Ok(outcome?)
}

fn stamped(message: &Bytes, stamp: [u8; 8]) -> Bytes {
    let mut message = message.to_vec();
    if let Some(place) = message.first_chunk_mut() {
        *place = stamp;
    }
    message.into()
}
