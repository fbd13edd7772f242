//! TLS configurations: the only module where types of rustls appear.
//!
//! Both sides speak TLS 1.3 only, with one cipher suite and Ed25519 certificates only, and both
//! prove themselves. By whom the other end is judged is said by a [`Trust`]; unless told otherwise a
//! peer's certificate must have been signed by one of the identity's authorities (webpki checks chain,
//! time and purpose), a server's must be made out to [`SERVER_NAME`] whatever address was dialled. No
//! ALPN, no session tickets, no resumption, no early data: the original has none of them (docs/wire
//! I16 to I22).
//!
//! An [`Acceptor`] or a [`Connector`] is made once; each handshake gets a configuration and an
//! [`Attempt`] of its own from it.

mod attempt;
mod judge;
mod problem;
mod provider;
mod sign;
mod signed;
mod verify;

use std::fmt;
use std::sync::Arc;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig, version};
use rustls_pki_types::CertificateDer;

pub use attempt::{Attempt, Refusal};
pub(crate) use judge::Judge;
pub use judge::Unvouched;
pub use problem::TlsProblem;
pub use provider::quic_initial_suite;
pub(crate) use signed::{Purpose, vouched};
pub use signed::{VerifyError, verify_certificate, verify_certificate_at};

use self::verify::{Rules, Verifier};
use crate::authorise::Authorisation;
use crate::cipher::CipherSuite;
use crate::identity::Identity;
use crate::known_keys::KnownKeysError;
use crate::peer::Peer;
use crate::trust::{Rule, Trust};

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
    /// An authority is to be asked, and no identity names one.
    #[error(
        "without keys of our own there is no authority to trust: make some with `tow keys new NAME`"
    )]
    MissingIdentity,
    /// The known-keys file cannot be read; nobody is trusted until it can.
    #[error("{0}")]
    KnownKeys(Arc<KnownKeysError>),
    /// rustls refused the parts.
    #[error("the TLS configuration cannot be made: {}", problem::plain(.0))]
    Tls(#[from] rustls::Error),
    /// The verifier could not be made.
    #[error("no certificate verifier can be made from the trusted authorities: {0}")]
    Verifier(String),
}

/// What a server needs for the handshakes of its clients.
///
/// ```
/// use towline_identity::{Authority, AuthorityOptions, Authorisation, CipherSuite, LeafOptions, Trust, tls};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = Authority::generate(&AuthorityOptions::new())?;
/// let node = authority.issue(&LeafOptions::new("node"))?;
/// let acceptor =
///     tls::Acceptor::new(&node, &Trust::authority(), &Authorisation::anyone(), CipherSuite::default())?;
/// let (config, attempt) = acceptor.begin("tcp://192.0.2.7:40000")?;
/// // Shake hands with `config`; then `attempt.admit()` says who is there.
/// # let _ = (config, attempt);
/// # Ok(())
/// # }
/// ```
pub struct Acceptor {
    rules: Arc<Rules>,
    credentials: Arc<SingleCertAndKey>,
}

impl Acceptor {
    /// For a server that proves itself with `identity`.
    ///
    /// # Errors
    ///
    /// [`TlsConfigError`].
    pub fn new(
        identity: &Identity,
        trust: &Trust,
        authorisation: &Authorisation,
        suite: CipherSuite,
    ) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(provider::provider(suite));
        Ok(Self {
            rules: Arc::new(Rules::new(Some(identity), trust, authorisation, provider)?),
            credentials: credentials(identity),
        })
    }

    /// Whether [`begin`](Self::begin) reads a file.
    pub fn reads_files(&self) -> bool {
        self.rules.trust.known_keys_file().is_some()
    }

    /// The configuration for the handshake of one client, and what will be known about it. Blocks on
    /// the disk if it [reads files](Self::reads_files).
    ///
    /// # Errors
    ///
    /// [`TlsConfigError::KnownKeys`]: refuse the client.
    pub fn begin(&self, address: &str) -> Result<(Arc<ServerConfig>, Attempt), TlsConfigError> {
        let attempt = begin(&self.rules, address)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.rules.provider))
            .with_protocol_versions(&[&version::TLS13])?;
        let builder = match self.rules.trust.0 {
            Rule::Anyone => builder.with_no_client_auth(),
            _ => {
                let verifier = Verifier::new(Arc::clone(&self.rules), attempt.clone());
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
        };
        let mut config =
            builder.with_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.credentials));
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok((Arc::new(config), attempt))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("trust", &self.rules.trust)
            .field("authorisation", &self.rules.authorisation)
            .finish_non_exhaustive()
    }
}

/// What a client needs for a handshake with a server.
pub struct Connector {
    rules: Arc<Rules>,
    credentials: Option<Arc<SingleCertAndKey>>,
}

impl Connector {
    /// For a client that proves itself with `identity`. Without one it proves nothing, which only
    /// servers accept that ask for nothing.
    ///
    /// # Errors
    ///
    /// [`TlsConfigError`]; [`TlsConfigError::MissingIdentity`] if `trust` asks an authority.
    pub fn new(
        identity: Option<&Identity>,
        trust: &Trust,
        suite: CipherSuite,
    ) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(provider::provider(suite));
        let anyone = Authorisation::anyone();
        Ok(Self {
            rules: Arc::new(Rules::new(identity, trust, &anyone, provider)?),
            credentials: identity.map(credentials),
        })
    }

    /// As [`Acceptor::reads_files`].
    pub fn reads_files(&self) -> bool {
        self.rules.trust.known_keys_file().is_some()
    }

    /// The configuration for one handshake, and what will be known about the server. Blocks on the
    /// disk if it [reads files](Self::reads_files).
    ///
    /// # Errors
    ///
    /// [`TlsConfigError::KnownKeys`]: do not connect.
    pub fn begin(&self, address: &str) -> Result<(Arc<ClientConfig>, Attempt), TlsConfigError> {
        let attempt = begin(&self.rules, address)?;
        let verifier = Verifier::new(Arc::clone(&self.rules), attempt.clone());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.rules.provider))
            .with_protocol_versions(&[&version::TLS13])?
            // Not weaker than the usual verifier: that one is in it, with further checks.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.credentials {
            Some(credentials) => {
                builder.with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(credentials))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_early_data = false;
        Ok((Arc::new(config), attempt))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("trust", &self.rules.trust)
            .finish_non_exhaustive()
    }
}

/// What a client uses to prove itself to a server and to verify that server by the authority alone.
///
/// # Errors
///
/// [`TlsConfigError`].
pub fn client_config(
    identity: &Identity,
    suite: CipherSuite,
) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let connector = Connector::new(Some(identity), &Trust::authority(), suite)?;
    Ok(connector.begin("")?.0)
}

/// What a server uses to prove itself to clients and to verify them by the authority alone.
///
/// # Errors
///
/// [`TlsConfigError`].
pub fn server_config(
    identity: &Identity,
    suite: CipherSuite,
) -> Result<Arc<ServerConfig>, TlsConfigError> {
    let anyone = Authorisation::anyone();
    let acceptor = Acceptor::new(identity, &Trust::authority(), &anyone, suite)?;
    Ok(acceptor.begin("")?.0)
}

/// The peer at the other end of a finished handshake with [`client_config`] or [`server_config`].
///
/// `None` if the connection has no peer certificate, which these configurations do not allow.
pub fn peer(connection: &rustls::CommonState, address: impl Into<String>) -> Option<Peer> {
    let leaf = connection.peer_certificates()?.first()?;
    Peer::from_verified_certificate(leaf, address).ok()
}

fn begin(rules: &Rules, address: &str) -> Result<Attempt, TlsConfigError> {
    Attempt::begin(rules, address).map_err(|error| TlsConfigError::KnownKeys(Arc::new(error)))
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
