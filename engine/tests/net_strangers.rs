//! Links meet TLS peers that are not ours: whoever shows no key, another kind of key, or a
//! certificate is refused by both roles, and a well-behaved stranger with a raw Ed25519 key is
//! served.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use bytes::BytesMut;
use mio::{Events, Interest, Poll, Token};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme, Stream,
};
use trunkline::net::{HandshakeState, LinkTls, PeerProof, ReadOutcome, Transport};

/// From a true public key to what is shown instead.
type Shown = fn(Vec<u8>) -> Vec<Vec<u8>>;

const PATIENCE: Duration = Duration::from_secs(20);

/// Accepts whatever it is shown; only asks for the kind of certificate it is told to.
#[derive(Debug)]
struct Credulous {
    raw: bool,
}

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

impl ClientCertVerifier for Credulous {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

/// Shows one thing, as a raw key or as a certificate, or nothing at all.
#[derive(Debug)]
struct Shows {
    what: Option<Arc<CertifiedKey>>,
    raw: bool,
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.what.clone()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }

    fn has_certs(&self) -> bool {
        self.what.is_some()
    }
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.what.clone()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }
}

fn certified(pkcs8: &[u8], shown: impl FnOnce(Vec<u8>) -> Vec<Vec<u8>>) -> Arc<CertifiedKey> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = PrivatePkcs8KeyDer::from(pkcs8.to_vec()).into();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let chain = shown(key.public_key().unwrap().to_vec());
    Arc::new(CertifiedKey::new(chain.into_iter().map(CertificateDer::from).collect(), key))
}

fn ed25519() -> Arc<CertifiedKey> {
    let pair = Ed25519KeyPair::generate().unwrap();
    certified(pair.to_pkcs8v1().unwrap().as_ref(), |spki| vec![spki])
}

fn p256() -> Arc<CertifiedKey> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    certified(pair.to_pkcs8v1().unwrap().as_ref(), |spki| vec![spki])
}

fn client(raw_server: bool, shows: impl ResolvesClientCert + 'static) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous { raw: raw_server }))
        .with_client_cert_resolver(Arc::new(shows))
}

fn server(shows: impl ResolvesServerCert + 'static) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Credulous { raw: true }))
        .with_cert_resolver(Arc::new(shows))
}

fn ours() -> ([u8; 32], LinkTls) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let tls = LinkTls::new(pair.to_pkcs8v1().unwrap().as_ref()).unwrap();
    (pair.public_key().as_ref().try_into().unwrap(), tls)
}

/// A blocking socket for the stranger, a non-blocking one for us.
fn sockets() -> (std::net::TcpStream, mio::net::TcpStream) {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let stranger = std::net::TcpStream::connect(addr).unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    let (us, _) = listener.accept().unwrap();
    us.set_nonblocking(true).unwrap();
    (stranger, mio::net::TcpStream::from_std(us))
}

/// Waits for our side's socket between calls of `step` until it has a result.
fn drive<R>(end: &mut Transport, mut step: impl FnMut(&mut Transport) -> Option<R>) -> R {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    poll.registry().register(end, Token(0), Interest::READABLE | Interest::WRITABLE).unwrap();
    loop {
        if let Some(result) = step(end) {
            poll.registry().deregister(end).unwrap();
            return result;
        }
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "nothing happens any more");
    }
}

fn shake(end: &mut Transport) -> std::io::Result<PeerProof> {
    drive(end, |end| match end.handshake() {
        Ok(HandshakeState::Wants { .. }) => None,
        Ok(HandshakeState::Done { peer }) => Some(Ok(peer.unwrap())),
        Err(error) => Some(Err(error)),
    })
}

/// A stranger dials us; returns what our handshake came to.
fn dialled_by(config: ClientConfig) -> std::io::Result<PeerProof> {
    let (mut socket, us) = sockets();
    let (_, tls) = ours();
    let mut us = Transport::accepted(us, &tls).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let name = ServerName::try_from("node.invalid").unwrap();
            let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
            // Ours decides; the stranger only has to come as far as it can.
            let _ = Stream::new(&mut tls, &mut socket).write_all(b"hello");
            let _ = Stream::new(&mut tls, &mut socket).read(&mut [0; 16]);
        });
        let outcome = shake(&mut us);
        drop(us);
        outcome
    })
}

/// We dial a stranger; returns what our handshake came to.
fn dialling(config: ServerConfig) -> std::io::Result<PeerProof> {
    let (mut socket, us) = sockets();
    let (_, tls) = ours();
    let mut us = Transport::dialled(us, &tls).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
            let _ = Stream::new(&mut tls, &mut socket).read(&mut [0; 16]);
        });
        let outcome = shake(&mut us);
        drop(us);
        outcome
    })
}

fn is_refused(outcome: std::io::Result<PeerProof>) {
    let kind = outcome.map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::InvalidData));
}

#[test]
fn a_raw_ed25519_key_is_enough() {
    let key = ed25519();
    let expected = key.cert[0][12..].to_vec();
    let proof = dialled_by(client(true, AlwaysResolvesClientRawPublicKeys::new(key))).unwrap();
    assert_eq!(proof.key[..], expected);
    let key = ed25519();
    let expected = key.cert[0][12..].to_vec();
    let proof = dialling(server(AlwaysResolvesServerRawPublicKeys::new(key))).unwrap();
    assert_eq!(proof.key[..], expected);
}

#[test]
fn a_client_that_shows_nothing_is_refused() {
    is_refused(dialled_by(client(true, Shows { what: None, raw: true })));
    is_refused(dialled_by(client(true, Shows { what: None, raw: false })));
}

#[test]
fn a_certificate_is_refused_in_either_role() {
    // Shown as X.509, where our side only speaks raw keys: what is in it does not come to matter.
    is_refused(dialled_by(client(true, Shows { what: Some(ed25519()), raw: false })));
    is_refused(dialled_by(client(false, Shows { what: Some(ed25519()), raw: true })));
    is_refused(dialling(server(Shows { what: Some(ed25519()), raw: false })));
}

#[test]
fn another_kind_of_key_is_refused_in_either_role() {
    is_refused(dialled_by(client(true, Shows { what: Some(p256()), raw: true })));
    is_refused(dialling(server(Shows { what: Some(p256()), raw: true })));
}

#[test]
fn a_key_that_is_not_the_signing_one_is_refused() {
    // Shows somebody else's public key, signs with its own.
    let other = ed25519().cert[0].to_vec();
    let forged = || {
        let pair = Ed25519KeyPair::generate().unwrap();
        certified(pair.to_pkcs8v1().unwrap().as_ref(), |_| vec![other.clone()])
    };
    is_refused(dialled_by(client(true, Shows { what: Some(forged()), raw: true })));
    is_refused(dialling(server(Shows { what: Some(forged()), raw: true })));
}

#[test]
fn a_malformed_or_second_key_is_refused() {
    let twice = |spki: Vec<u8>| vec![spki.clone(), spki];
    let longer = |mut spki: Vec<u8>| {
        spki.push(0);
        vec![spki]
    };
    let shorter = |spki: Vec<u8>| vec![spki[..43].to_vec()];
    let shown: [Shown; 3] = [twice, longer, shorter];
    for what in shown {
        let key = || {
            let pair = Ed25519KeyPair::generate().unwrap();
            Some(certified(pair.to_pkcs8v1().unwrap().as_ref(), what))
        };
        is_refused(dialled_by(client(true, Shows { what: key(), raw: true })));
        is_refused(dialling(server(Shows { what: key(), raw: true })));
    }
}

#[test]
fn keys_may_be_renewed_while_the_link_stands() {
    let (mut socket, us) = sockets();
    let (_, tls) = ours();
    let mut us = Transport::accepted(us, &tls).unwrap();
    let config = client(true, AlwaysResolvesClientRawPublicKeys::new(ed25519()));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let name = ServerName::try_from("node.invalid").unwrap();
            let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
            let mut answer = [0; 4];
            for round in 0..20_u8 {
                Stream::new(&mut tls, &mut socket).write_all(&[round; 4]).unwrap();
                Stream::new(&mut tls, &mut socket).read_exact(&mut answer).unwrap();
                assert_eq!(answer, [round; 4], "echo under the keys of round {round}");
                tls.refresh_traffic_keys().unwrap();
            }
            tls.send_close_notify();
            Stream::new(&mut tls, &mut socket).flush().unwrap();
        });
        shake(&mut us).unwrap();
        let mut buf = BytesMut::with_capacity(4096);
        let echoed = drive(&mut us, |us| {
            loop {
                buf.reserve(64);
                match us.read(&mut buf).unwrap() {
                    ReadOutcome::Bytes(count) | ReadOutcome::Drained(count) => {
                        let new = &buf[buf.len() - count..];
                        assert_eq!(us.write(&[IoSlice::new(new)]).unwrap(), count);
                    }
                    ReadOutcome::Blocked => return None,
                    ReadOutcome::Closed => return Some(buf.len()),
                }
            }
        });
        assert_eq!(echoed, 80);
    });
}
