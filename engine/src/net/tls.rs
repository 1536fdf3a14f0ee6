//! TLS 1.3 for links, both sides proved by nothing but an Ed25519 key.
//!
//! Owns the configuration and the verdict on keys. It never does input or output (that is
//! [`super::transport`]) and never decides whose key is welcome: the handshake proves *which* key
//! the other side holds, the link's hello above proves that the key belongs to a hashname.
//!
//! - Certificates are raw public keys (RFC 7250): 44 bytes of SubjectPublicKeyInfo around a 32-byte
//!   Ed25519 key. There is no name, no issuer, no date and no parser for them. X.509 is neither
//!   offered nor accepted.
//! - Both sides must show a key. The only signature algorithm is Ed25519.
//! - No tickets, no resumption, no early data: a link lives long, and what is replayable or
//!   linkable is not worth the round trip saved.
//! - The name sent in the clear is the same for every node and means nothing.
//! - The exporter of RFC 8446 gives both sides 32 bytes that only this connection has. The hello
//!   signs them, so that it cannot be carried over to another connection.

use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, CipherSuite, ClientConfig, ClientConnection, Connection,
    DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, ServerConfig,
    ServerConnection, SignatureScheme,
};

/// An Ed25519 public key as the handshake proved it.
pub type PeerKey = [u8; 32];
/// What only the two ends of one connection know; the hello signs it.
pub type ChannelBinding = [u8; 32];

/// The exporter's label. Part of the protocol: both ends must use the same.
const BINDING_LABEL: &[u8] = b"EXPORTER-trunkline-link";
/// The name every client sends. `invalid` is reserved, so it can never be anybody's.
const SERVER_NAME: &str = "node.invalid";
/// What stands before the 32 key bytes in the SubjectPublicKeyInfo of an Ed25519 key (RFC 8410):
/// a sequence of 42 bytes, the algorithm 1.3.101.112, a bit string of 33 bytes without unused bits.
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Strongest first; all three are mandatory or recommended in RFC 8446.
const SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// Our side of every protected link: the key shown and the rules for theirs. Cheap to clone; made
/// anew when the signing key is renewed (standing links keep theirs).
#[derive(Clone)]
pub struct LinkTls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: ServerName<'static>,
    public: PeerKey,
}

impl LinkTls {
    /// Prepares both roles from an Ed25519 private key in PKCS#8.
    ///
    /// # Errors
    /// When `pkcs8` is no Ed25519 key.
    pub fn new(pkcs8: &[u8]) -> Result<LinkTls, Error> {
        let provider = Arc::new(link_provider());
        let private = PrivatePkcs8KeyDer::from(pkcs8.to_vec()).into();
        let key = provider.key_provider.load_private_key(private)?;
        let spki = key.public_key().ok_or_else(|| Error::General("no public key".into()))?;
        let certificate = CertificateDer::from(spki.to_vec());
        let public = key_of(&certificate)?;
        let shown = Arc::new(CertifiedKey::new(vec![certificate], key));

        let versions = [&rustls::version::TLS13];
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(RawEd25519))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                Arc::clone(&shown),
            )));
        client.resumption = Resumption::disabled();
        client.enable_early_data = false;

        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .with_client_cert_verifier(Arc::new(RawEd25519))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shown)));
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;

        let name =
            ServerName::try_from(SERVER_NAME).map_err(|_| Error::General("server name".into()))?;
        Ok(LinkTls { client: Arc::new(client), server: Arc::new(server), name, public })
    }

    /// The key we show.
    pub fn public_key(&self) -> PeerKey {
        self.public
    }

    /// State for a connection we dialled.
    pub(super) fn client(&self) -> Result<Connection, Error> {
        let connection = ClientConnection::new(Arc::clone(&self.client), self.name.clone())?;
        Ok(Connection::Client(connection))
    }

    /// State for a connection we accepted.
    pub(super) fn server(&self) -> Result<Connection, Error> {
        Ok(Connection::Server(ServerConnection::new(Arc::clone(&self.server))?))
    }
}

impl std::fmt::Debug for LinkTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkTls").finish_non_exhaustive()
    }
}

/// The provider cut down to what links speak.
fn link_provider() -> CryptoProvider {
    let mut provider = provider::default_provider();
    let known = std::mem::take(&mut provider.cipher_suites);
    for wanted in SUITES {
        provider.cipher_suites.extend(known.iter().find(|suite| suite.suite() == wanted));
    }
    provider
}

/// The key inside a raw public key certificate.
fn key_of(certificate: &CertificateDer<'_>) -> Result<PeerKey, Error> {
    certificate
        .strip_prefix(&SPKI_PREFIX)
        .and_then(|key| PeerKey::try_from(key).ok())
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// The key the other side proved to hold; only asked once its handshake is complete.
pub(super) fn peer_key(connection: &Connection) -> Result<PeerKey, Error> {
    match connection.peer_certificates() {
        Some([certificate]) => key_of(certificate),
        _ => Err(Error::NoCertificatesPresented),
    }
}

/// What only this connection knows.
pub(super) fn channel_binding(connection: &Connection) -> Result<ChannelBinding, Error> {
    connection.export_keying_material(ChannelBinding::default(), BINDING_LABEL, None)
}

/// The verdict on a key, the same for both roles: it must be a lone raw Ed25519 key, and the
/// handshake must be signed with it.
#[derive(Debug)]
struct RawEd25519;

impl RawEd25519 {
    fn lone_key(
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        if !others.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        key_of(certificate).map(|_| ())
    }

    fn signed_by(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        UnparsedPublicKey::new(&ED25519, key_of(certificate)?)
            .verify(message, signed.signature())
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadSignature))?;
        Ok(HandshakeSignatureValid::assertion())
    }

    /// TLS 1.2 is not compiled in; should it ever be, it stays refused.
    fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("links speak TLS 1.3 only".into()))
    }
}

impl ServerCertVerifier for RawEd25519 {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::lone_key(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::signed_by(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for RawEd25519 {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::lone_key(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::signed_by(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
