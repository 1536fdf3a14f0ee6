//! `quinnbulk`: one stream of quinn as it comes, but for the congestion controller.
//!
//! `quinnbulk receive ADDRESS SECONDS` takes one connection and prints how many bytes came within
//! that many seconds of the first. `quinnbulk send ADDRESS SECONDS cubic|bbr` sends zeros for a
//! little longer. The certificate is made on the spot and believed blindly: who sends and who
//! receives are the same script.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::time::{Instant, timeout, timeout_at};

type Outcome = Result<(), Box<dyn Error>>;

/// Where the receiver leaves its certificate for the sender.
const CERTIFICATE: &str = "quinnbulk.der";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["receive", address, seconds] => receive(address.parse()?, seconds.parse()?).await,
        ["send", address, seconds, congestion] => {
            send(address.parse()?, seconds.parse()?, congestion).await
        }
        _ => Err("quinnbulk receive ADDRESS SECONDS | send ADDRESS SECONDS cubic|bbr".into()),
    }
}

async fn receive(address: SocketAddr, seconds: f64) -> Outcome {
    let made = rcgen::generate_simple_self_signed(vec!["receiver".into()])?;
    let certificate = CertificateDer::from(made.cert);
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into())?;
    let endpoint = Endpoint::server(config, address)?;
    std::fs::write(CERTIFICATE, &certificate)?;
    let connection = endpoint.accept().await.ok_or("nobody came")?.await?;
    let mut stream = connection.accept_uni().await?;
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = stream.read(&mut buffer).await?.unwrap_or(0);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while let Ok(read) = timeout_at(end, stream.read(&mut buffer)).await {
        let Some(read) = read? else { break };
        bytes += read;
    }
    println!("{bytes}");
    connection.close(0u32.into(), b"enough");
    timeout(Duration::from_secs(1), endpoint.wait_idle()).await.ok();
    Ok(())
}

async fn send(address: SocketAddr, seconds: f64, congestion: &str) -> Outcome {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(std::fs::read(CERTIFICATE)?))?;
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    match congestion {
        "bbr" => transport.congestion_controller_factory(Arc::new(BbrConfig::default())),
        _ => transport.congestion_controller_factory(Arc::new(CubicConfig::default())),
    };
    config.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client("0.0.0.0:0".parse()?)?;
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(address, "receiver")?.await?;
    let mut stream = connection.open_uni().await?;
    let zeros = vec![0; 1 << 18];
    let end = Instant::now() + Duration::from_secs_f64(seconds + 5.0);
    // Ends when the receiver has enough and closes.
    while let Ok(Ok(())) = timeout_at(end, stream.write_all(&zeros)).await {}
    Ok(())
}
