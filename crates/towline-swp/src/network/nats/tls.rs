//! TLS to a broker. It protects the way to the broker; who can reach the broker's subjects is its affair
//! (docs/wire W9).

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Who vouches for a broker, and what this end proves itself with. TLS 1.3 is required.
#[derive(Debug, Clone)]
pub struct NatsTls(ClientConfig);

/// Why files for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsTlsError {
    /// There is no such file.
    #[error("certLoad: path '{}' does not exist", .0.display())]
    Missing(PathBuf),
    /// The certificate and the key cannot be read, or are not of each other.
    #[error("certLoad: error parsing X509 cert='{}'/key='{}', error was: '{why}'", cert.display(), key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// Its key.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file of authorities cannot be read.
    #[error("certLoad: error loading rootCA file '{}': {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It holds no certificate.
    #[error("certLoad: failed to parse root certificate from {}", .0.display())]
    NoRoots(PathBuf),
    /// The provider of cryptography lacks TLS 1.3.
    #[error("TLS 1.3 is not available: {0}")]
    Provider(String),
}

impl NatsTls {
    /// The system's authorities vouch for the broker.
    ///
    /// # Errors
    ///
    /// [`NatsTlsError::Provider`].
    pub fn platform() -> Result<Self, NatsTlsError> {
        let mut roots = RootCertStore::empty();
        // None at all is found out when a broker asks for TLS.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = builder()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(config))
    }

    /// The authorities in this PEM file vouch for the broker, and nobody else.
    ///
    /// # Errors
    ///
    /// [`NatsTlsError`].
    pub fn authority(file: impl AsRef<Path>) -> Result<Self, NatsTlsError> {
        let roots = roots(file.as_ref())?;
        let config = builder()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(config))
    }

    /// The original's layout: `certs/internal.crt` and `private/internal.key` prove who we are,
    /// `certs/ca.pem` vouches for the broker.
    ///
    /// # Errors
    ///
    /// [`NatsTlsError`], in the original's words.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self, NatsTlsError> {
        let dir = dir.as_ref();
        let cert = dir.join("certs").join("internal.crt");
        let key = dir.join("private").join("internal.key");
        let authority = dir.join("certs").join("ca.pem");
        for path in [&cert, &key, &authority] {
            if !path.exists() {
                return Err(NatsTlsError::Missing(path.clone()));
            }
        }
        let pair = |why: String| NatsTlsError::Pair {
            cert: cert.clone(),
            key: key.clone(),
            why,
        };
        let chain = CertificateDer::pem_file_iter(&cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| pair(error.to_string()))?;
        let private =
            PrivateKeyDer::from_pem_file(&key).map_err(|error| pair(error.to_string()))?;
        let roots = roots(&authority)?;
        let config = builder()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private)
            .map_err(|error| pair(error.to_string()))?;
        Ok(Self(config))
    }

    pub(super) fn into_config(self) -> ClientConfig {
        self.0
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, NatsTlsError> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| NatsTlsError::Provider(error.to_string()))
}

fn roots(path: &Path) -> Result<RootCertStore, NatsTlsError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => NatsTlsError::Missing(path.to_owned()),
        _ => NatsTlsError::Unreadable {
            path: path.to_owned(),
            source,
        },
    })?;
    let found: Vec<_> = CertificateDer::pem_reader_iter(BufReader::new(file))
        .collect::<Result<_, _>>()
        .map_err(|_| NatsTlsError::NoRoots(path.to_owned()))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found);
    if added == 0 {
        return Err(NatsTlsError::NoRoots(path.to_owned()));
    }
    Ok(roots)
}
