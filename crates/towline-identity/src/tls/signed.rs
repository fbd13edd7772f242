//! Whether one of several authorities vouches for a certificate: of a file (docs/wire I39), or of an
//! identity that is loaded (docs/wire I15).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError as TlsCertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::problem::plain;
use super::provider::provider;
use crate::certificate::{self, Facts, date};
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

/// Checks that the first certificate of a file was signed by an authority of another file, that both
/// are valid now, and that it may be a server's (which an absent extKeyUsage allows). What the file
/// holds besides that authority does not matter, nor do names. An authority's certificate verifies
/// against itself.
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
    let roots = certificate::load_trusted(authority)?;
    facts.check_time(now, path)?;
    if roots.contains(&leaf) {
        return Ok(());
    }
    vouched(&leaf, &roots, now, Purpose::Server).map_err(|why| VerifyError::NotSigned {
        certificate: path.to_owned(),
        authority: authority.to_owned(),
        why,
    })
}

/// What a certificate is to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Server,
    /// Servers or clients, or both.
    Either,
}

/// Fails, with the reason, unless one of the authorities signed the certificate and both are valid at
/// `now`. Authorities that cannot be used or whose time is over stand in nobody's way.
pub(crate) fn vouched(
    leaf: &[u8],
    authorities: &[Vec<u8>],
    now: SystemTime,
    purpose: Purpose,
) -> Result<(), String> {
    // Of several reasons the one of the authority that did sign it says most.
    let mut reason = None;
    for authority in authorities {
        let why = match signed_by(leaf, authority, now, purpose) {
            Ok(()) => {
                // webpki does not look at an anchor's own dates.
                match Facts::read(authority).map(|facts| facts.outside(now)) {
                    Ok(None) => return Ok(()),
                    Ok(Some(outside)) => format!("the authority that signed it {outside}"),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) if is_foreign(&error) => continue,
            Err(error) => in_words(error),
        };
        reason = Some(why);
    }
    Err(reason.unwrap_or_else(|| "another authority signed it".to_owned()))
}

fn signed_by(
    leaf: &[u8],
    authority: &[u8],
    now: SystemTime,
    purpose: Purpose,
) -> Result<(), Error> {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from(authority))?;
    let der = CertificateDer::from(leaf);
    let parsed = ParsedCertificate::try_from(&der)?;
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    let now = UnixTime::since_unix_epoch(since.unwrap_or_default());
    let provider = provider(CipherSuite::default());
    let algorithms = provider.signature_verification_algorithms.all;
    match verify_server_cert_signed_by_trust_anchor(&parsed, &store, &[], now, algorithms) {
        Err(Error::InvalidCertificate(
            TlsCertificateError::InvalidPurpose | TlsCertificateError::InvalidPurposeContext { .. },
        )) if purpose == Purpose::Either => {
            WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::new(provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?
                .verify_client_cert(&der, &[], now)
                .map(drop)
        }
        judged => judged,
    }
}

/// The same subject name and another key makes a bad signature.
fn is_foreign(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            TlsCertificateError::BadSignature | TlsCertificateError::UnknownIssuer
        )
    )
}

fn in_words(error: Error) -> String {
    match error {
        Error::InvalidCertificate(TlsCertificateError::ExpiredContext { not_after, .. }) => {
            let end = SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs());
            format!("it expired on {}", date(end))
        }
        Error::InvalidCertificate(
            TlsCertificateError::InvalidPurpose | TlsCertificateError::InvalidPurposeContext { .. },
        ) => "it is not meant for servers".to_owned(),
        error => plain(&error),
    }
}
