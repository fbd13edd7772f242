//! Whether a certificate file was signed by an authority (docs/wire I39).

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError as TlsCertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::provider::provider;
use crate::certificate::{self, date};
use crate::cipher::CipherSuite;
use crate::error::LoadError;

/// Why a certificate is not one of an authority's at the moment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// One of the two files is no certificate.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The certificate is not good.
    #[error("{} was not signed by {}: {why}", certificate.display(), authority.display())]
    NotSigned {
        /// The certificate.
        certificate: PathBuf,
        /// The authority's.
        authority: PathBuf,
        /// Why not.
        why: String,
    },
}

/// Checks that the first certificate of a file was signed by an authority of another file, is valid
/// now, and may be a server's (which an absent extKeyUsage allows). Names do not matter. An
/// authority's certificate verifies against itself.
///
/// # Errors
///
/// [`VerifyError`].
pub fn verify_certificate(
    path: impl AsRef<Path>,
    authority: impl AsRef<Path>,
) -> Result<(), VerifyError> {
    verify_certificate_at(path, authority, certificate::now())
}

/// [`verify_certificate`], with the time judged at `now`.
///
/// # Errors
///
/// [`VerifyError`].
pub fn verify_certificate_at(
    path: impl AsRef<Path>,
    authority: impl AsRef<Path>,
    now: SystemTime,
) -> Result<(), VerifyError> {
    let (path, authority) = (path.as_ref(), authority.as_ref());
    let leaf = certificate::load(path)?.swap_remove(0);
    let facts = certificate::facts(&leaf, path)?;
    let roots = certificate::load(authority)?;
    let not_signed = |why: String| VerifyError::NotSigned {
        certificate: path.to_owned(),
        authority: authority.to_owned(),
        why,
    };
    facts.check_time(now, path)?;
    if roots.contains(&leaf) {
        return Ok(());
    }
    let mut store = RootCertStore::empty();
    for root in &roots {
        // webpki does not look at an anchor's own dates.
        certificate::facts(root, authority)?.check_time(now, authority)?;
        store
            .add(CertificateDer::from(root.as_slice()))
            .map_err(|error| not_signed(error.to_string()))?;
    }
    let der = CertificateDer::from(leaf.as_slice());
    let parsed =
        ParsedCertificate::try_from(&der).map_err(|error| not_signed(error.to_string()))?;
    let now = UnixTime::since_unix_epoch(
        now.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    );
    let algorithms = provider(CipherSuite::default())
        .signature_verification_algorithms
        .all;
    verify_server_cert_signed_by_trust_anchor(&parsed, &store, &[], now, algorithms)
        .map_err(|error| not_signed(reason(error)))
}

fn reason(error: Error) -> String {
    match error {
        // The same subject name, another key.
        Error::InvalidCertificate(
            TlsCertificateError::BadSignature | TlsCertificateError::UnknownIssuer,
        ) => "another authority signed it".to_owned(),
        Error::InvalidCertificate(TlsCertificateError::ExpiredContext { not_after, .. }) => {
            let end = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(not_after.as_secs());
            format!("it expired on {}", date(end))
        }
        Error::InvalidCertificate(
            TlsCertificateError::InvalidPurpose | TlsCertificateError::InvalidPurposeContext { .. },
        ) => "it is not meant for servers".to_owned(),
        error => error.to_string(),
    }
}
