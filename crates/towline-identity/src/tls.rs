//! TLS configurations: the only module where types of rustls appear.
//!
//! Both sides speak TLS 1.3 only, with one cipher suite and Ed25519 certificates only, and both
//! prove themselves. A peer's certificate must have been signed by one of the identity's authorities
//! (webpki checks chain, time and purpose), a server's must be made out to [`SERVER_NAME`] whatever
//! address was dialled. No ALPN, no session tickets, no resumption, no early data: the original has
//! none of them (docs/wire I16 to I22).

mod problem;
mod sign;
mod verify;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring as provider};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme, version};
use rustls_pki_types::CertificateDer;

pub use problem::TlsProblem;

use crate::certificate;
use crate::cipher::CipherSuite;
use crate::identity::Identity;
use crate::peer::Peer;

/// The DNS name in every certificate, and what every client asks for.
pub const SERVER_NAME: &str = "localhost";

/// Why a configuration could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// Every trusted authority has expired.
    #[error(
        "every authority this identity trusts has expired (the last on {0}): get a current ca.crt"
    )]
    AuthoritiesExpired(String),
    /// rustls refused the parts.
    #[error("the TLS configuration cannot be made: {0}")]
    Tls(#[from] rustls::Error),
    /// The verifier could not be made.
    #[error("no certificate verifier can be made from the trusted authorities: {0}")]
    Verifier(String),
}

/// What a client uses to prove itself to a server and to verify that server.
///
/// # Errors
///
/// [`TlsConfigError`].
pub fn client_config(
    identity: &Identity,
    suite: CipherSuite,
) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let provider = Arc::new(provider(suite));
    let verifier = verify::Verifier::for_servers(roots(identity)?, Arc::clone(&provider))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        // Not weaker than the usual verifier: it is the usual one with a further check.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(credentials(identity));
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// What a server uses to prove itself to clients and to verify them.
///
/// # Errors
///
/// [`TlsConfigError`].
pub fn server_config(
    identity: &Identity,
    suite: CipherSuite,
) -> Result<Arc<ServerConfig>, TlsConfigError> {
    let provider = Arc::new(provider(suite));
    let verifier = verify::Verifier::for_clients(roots(identity)?, Arc::clone(&provider))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(credentials(identity));
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The peer at the other end of a finished handshake.
///
/// `None` if the connection has no peer certificate, which these configurations do not allow.
pub fn peer(connection: &rustls::CommonState, address: impl Into<String>) -> Option<Peer> {
    let leaf = connection.peer_certificates()?.first()?;
    Peer::from_verified_certificate(leaf, address).ok()
}

/// The ring provider reduced to one suite and to Ed25519 signatures.
fn provider(suite: CipherSuite) -> CryptoProvider {
    let wanted = match suite {
        CipherSuite::ChaCha20Poly1305 => rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::Aes128Gcm => rustls::CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::Aes256Gcm => rustls::CipherSuite::TLS13_AES_256_GCM_SHA384,
    };
    let mut provider = provider::default_provider();
    provider
        .cipher_suites
        .retain(|suite| suite.suite() == wanted);
    provider.signature_verification_algorithms =
        ed25519_only(provider.signature_verification_algorithms);
    provider
}

/// An empty set, which refuses every certificate, if the provider had no Ed25519.
fn ed25519_only(all: WebPkiSupportedAlgorithms) -> WebPkiSupportedAlgorithms {
    let ours = all
        .mapping
        .iter()
        .position(|(scheme, _)| *scheme == SignatureScheme::ED25519);
    match ours {
        Some(at) => WebPkiSupportedAlgorithms {
            all: all.mapping[at].1,
            mapping: &all.mapping[at..=at],
        },
        None => WebPkiSupportedAlgorithms {
            all: &[],
            mapping: &[],
        },
    }
}

/// The authorities whose time is not over: webpki does not look at an anchor's own dates, Go does.
fn roots(identity: &Identity) -> Result<Arc<RootCertStore>, TlsConfigError> {
    let now = certificate::now();
    let mut roots = RootCertStore::empty();
    let mut last = None;
    for der in identity.roots_der() {
        let facts = certificate::Facts::read(der)
            .map_err(|error| TlsConfigError::Verifier(error.to_string()))?;
        if facts.not_after < now {
            last = last.max(Some(facts.not_after));
        } else {
            roots.add(CertificateDer::from(der.clone()))?;
        }
    }
    match last {
        Some(last) if roots.is_empty() => {
            Err(TlsConfigError::AuthoritiesExpired(certificate::date(last)))
        }
        _ => Ok(Arc::new(roots)),
    }
}

/// The leaf alone, and the key that stays ours. Loading has checked that they belong together.
fn credentials(identity: &Identity) -> Arc<SingleCertAndKey> {
    let leaf = CertificateDer::from(identity.certificate_der().to_vec());
    let key = sign::HandshakeKey(Arc::clone(identity.key()));
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(
        vec![leaf],
        Arc::new(key),
    )))
}
