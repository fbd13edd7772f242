//! Judging a certificate that came by another way than a TLS handshake.

use std::fmt;
use std::time::SystemTime;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError as TlsCertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::attempt::{Attempt, Decision, Refusal};
use super::problem::plain;
use super::provider::provider;
use super::verify::Rules;
use super::{TlsConfigError, begin};
use crate::authorise::Authorisation;
use crate::certificate::Facts;
use crate::cipher::CipherSuite;
use crate::identity::Identity;
use crate::public_key::PublicKey;
use crate::trust::{Rule, Trust};

/// Why no authority of ours stands behind a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unvouched {
    /// It cannot be read, or is for another kind of key.
    #[error("{0}")]
    Certificate(#[from] crate::error::CertificateError),
    /// It was signed by somebody else, or nobody.
    #[error("none of our authorities has signed the other end's certificate")]
    UnknownAuthority,
    /// Its time, or that of every authority that signed it, is over or has not come.
    #[error("the other end's certificate, or our authority's, is not valid now")]
    Time,
    /// It says what it may be used for, and a server is not among it (docs/wire R6).
    #[error(
        "the other end's certificate is not meant for servers, as this handshake asks of both ends"
    )]
    Purpose,
    /// webpki found something else.
    #[error("the other end's certificate is not valid: {0}")]
    Invalid(String),
}

/// The same trust and authorisation as in TLS, for certificates from elsewhere.
pub(crate) struct Judge {
    rules: Rules,
    roots: Vec<Vec<u8>>,
}

impl Judge {
    pub(crate) fn new(
        identity: &Identity,
        trust: &Trust,
        authorisation: &Authorisation,
    ) -> Result<Self, TlsConfigError> {
        // docs/wire R6: an authority is asked even if TLS beneath is told to trust anyone.
        let trust = match trust.0 {
            Rule::Anyone => &Trust::authority(),
            _ => trust,
        };
        let provider = provider(CipherSuite::default()).into();
        Ok(Self {
            rules: Rules::new(Some(identity), trust, authorisation, provider)?,
            roots: identity.roots_der().to_vec(),
        })
    }

    pub(crate) fn reads_files(&self) -> bool {
        self.rules.trust.known_keys_file().is_some()
    }

    /// Blocks on the disk if it [reads files](Self::reads_files).
    pub(crate) fn begin(&self, address: &str) -> Result<Attempt, TlsConfigError> {
        begin(&self.rules, address)
    }

    /// The key of a certificate that one of our authorities stands behind. Whether the other end holds
    /// it is for the caller to find out.
    pub(crate) fn vouch(
        &self,
        attempt: &Attempt,
        leaf: &[u8],
        now: SystemTime,
    ) -> Result<PublicKey, Unvouched> {
        let key = Facts::read(leaf)?.public_key;
        if !self.rules.trust.asks_authority() {
            return Ok(key);
        }
        let der = CertificateDer::from(leaf);
        let parsed =
            ParsedCertificate::try_from(&der).map_err(|error| Unvouched::Invalid(plain(&error)))?;
        let mut why = Unvouched::UnknownAuthority;
        for root in &self.roots {
            match self.signed_by(&parsed, root, now) {
                Ok(authority) => {
                    attempt.vouched_by(authority);
                    return Ok(key);
                }
                // Of several reasons the one of the authority that did sign it says most.
                Err(Unvouched::UnknownAuthority) => {}
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    fn signed_by(
        &self,
        leaf: &ParsedCertificate<'_>,
        root: &[u8],
        now: SystemTime,
    ) -> Result<PublicKey, Unvouched> {
        let facts = Facts::read(root)?;
        let mut store = RootCertStore::empty();
        store
            .add(CertificateDer::from(root))
            .map_err(|error| Unvouched::Invalid(plain(&error)))?;
        let unix = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        verify_server_cert_signed_by_trust_anchor(
            leaf,
            &store,
            &[],
            UnixTime::since_unix_epoch(unix),
            self.rules.provider.signature_verification_algorithms.all,
        )
        .map_err(unvouched)?;
        // webpki does not look at an anchor's own dates.
        if now < facts.not_before || now > facts.not_after {
            return Err(Unvouched::Time);
        }
        Ok(facts.public_key)
    }

    /// Called once the other end has proven that it holds the leaf's key.
    pub(crate) fn decide(&self, attempt: &Attempt, leaf: &[u8]) -> Result<(), Refusal> {
        match (attempt.decide(&self.rules, leaf), attempt.refusal()) {
            (Decision::Refuse, Some(refusal)) => Err(refusal),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge")
            .field("trust", &self.rules.trust)
            .finish_non_exhaustive()
    }
}

fn unvouched(error: Error) -> Unvouched {
    use TlsCertificateError as Found;
    let Error::InvalidCertificate(found) = error else {
        return Unvouched::Invalid(plain(&error));
    };
    match found {
        // A foreign authority with the name of ours looks like a bad signature.
        Found::UnknownIssuer | Found::BadSignature => Unvouched::UnknownAuthority,
        Found::Expired
        | Found::ExpiredContext { .. }
        | Found::NotValidYet
        | Found::NotValidYetContext { .. } => Unvouched::Time,
        Found::InvalidPurpose | Found::InvalidPurposeContext { .. } => Unvouched::Purpose,
        other => Unvouched::Invalid(plain(&Error::InvalidCertificate(other))),
    }
}
