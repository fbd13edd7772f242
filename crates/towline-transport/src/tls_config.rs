//! TLS configurations of rustls, for servers whose clients have no keys of towline's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// How a listener shakes hands when it does not do so by an identity: any configuration of rustls, with
/// whatever certificates, versions, client verifiers and application protocols it has. It can be exchanged
/// while the listener runs; connections that are there keep theirs. Clones are the same one.
///
/// Peers are not authenticated, unless the configuration asks for certificates and a client has one with an
/// Ed25519 key.
///
/// ```no_run
/// use towline_transport::{ListenOptions, Listener, TlsConfig};
///
/// # async fn listen() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsConfig::from_pem_files("server.crt", "server.key")?;
/// let options = ListenOptions::new().tls_config(tls.clone());
/// let listener = Listener::bind(&"tls://[::]:8443".parse()?, &options).await?;
/// // After a renewal:
/// tls.load_pem_files("server.crt", "server.key")?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConfig {
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

/// Why certificate and key files give no TLS configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFilesError {
    /// A file cannot be read, or has nothing of the kind.
    #[error("{} has no usable {what}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Both can be read and do not belong together, or rustls cannot use them.
    #[error("{} and {} cannot be used together: {source}", certificate.display(), key.display())]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

impl TlsConfig {
    /// Shakes hands by this configuration.
    pub fn new(config: impl Into<Arc<ServerConfig>>) -> Self {
        Self {
            current: Arc::new(RwLock::new(config.into())),
        }
    }

    /// Proves a certificate and its chain, both from PEM files, by TLS 1.2 or 1.3, and asks clients for
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`TlsFilesError`].
    pub fn from_pem_files(
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsFilesError> {
        load(certificate.as_ref(), key.as_ref()).map(Self::new)
    }

    /// Uses another configuration from the next handshake on.
    pub fn replace(&self, config: impl Into<Arc<ServerConfig>>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config.into();
    }

    /// As [`replace`](Self::replace), with what the files hold now.
    ///
    /// # Errors
    ///
    /// [`TlsFilesError`]; the configuration in use stays.
    pub fn load_pem_files(
        &self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<(), TlsFilesError> {
        self.replace(load(certificate.as_ref(), key.as_ref())?);
        Ok(())
    }

    /// What the next handshake begins with.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Arc<ServerConfig>> for TlsConfig {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::new(config)
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsFilesError> {
    let file = |path: &Path, what| {
        let path = path.to_owned();
        move |source| TlsFilesError::File { path, what, source }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(file(certificate, "certificate"))?;
    if chain.is_empty() {
        return Err(file(certificate, "certificate")(pem::Error::NoItemsFound));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(file(key, "private key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, private)
        })
        .map(Arc::new)
        .map_err(|source| TlsFilesError::Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        })
}
