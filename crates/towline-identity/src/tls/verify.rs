//! The one verifier, of servers and of clients: chain, possession of the key, trust, in this order.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::TlsConfigError;
use super::attempt::{Attempt, Decision};
use super::problem::plain;
use crate::authorise::Authorisation;
use crate::certificate::{self, Facts};
use crate::identity::Identity;
use crate::trust::{Rule, Trust};

/// What every handshake of a listener, or of a dialled endpoint, is judged by.
pub(super) struct Rules {
    pub(super) trust: Trust,
    pub(super) authorisation: Authorisation,
    pub(super) provider: Arc<CryptoProvider>,
    /// One for each authority, so that it is known which of them vouches for a peer.
    authorities: Vec<Authority>,
}

struct Authority {
    facts: Facts,
    servers: Arc<WebPkiServerVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Rules {
    pub(super) fn new(
        identity: Option<&Identity>,
        trust: &Trust,
        authorisation: &Authorisation,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsConfigError> {
        let authorities = match identity {
            Some(identity) if trust.asks_authority() => authorities(identity, &provider)?,
            None if trust.asks_authority() => return Err(TlsConfigError::MissingIdentity),
            _ => Vec::new(),
        };
        Ok(Self {
            trust: trust.clone(),
            authorisation: authorisation.clone(),
            provider,
            authorities,
        })
    }
}

/// All authorities of an identity. Their time is judged at each handshake: a listener may run for
/// longer than any of them lasts. With none that will ever be valid again there is no use in one.
fn authorities(
    identity: &Identity,
    provider: &Arc<CryptoProvider>,
) -> Result<Vec<Authority>, TlsConfigError> {
    let refused = |error: &dyn fmt::Display| TlsConfigError::Verifier(error.to_string());
    let now = certificate::now();
    let mut authorities = Vec::new();
    for der in identity.roots_der() {
        let facts = Facts::read(der).map_err(|error| refused(&error))?;
        let mut root = RootCertStore::empty();
        root.add(CertificateDer::from(der.clone()))
            .map_err(|error| refused(&plain(&error)))?;
        let root = Arc::new(root);
        let servers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&root), Arc::clone(provider))
                .build()
                .map_err(|error| refused(&error))?;
        let clients = WebPkiClientVerifier::builder_with_provider(root, Arc::clone(provider))
            .build()
            .map_err(|error| refused(&error))?;
        authorities.push(Authority {
            facts,
            servers,
            clients,
        });
    }
    let last = authorities.iter().map(|one| one.facts.not_after).max();
    match last {
        Some(last) if last < now => {
            Err(TlsConfigError::AuthoritiesExpired(certificate::date(last)))
        }
        _ => Ok(authorities),
    }
}

/// That an authority signed a certificate, and what is wrong with the authority's own time.
#[derive(Debug, thiserror::Error)]
#[error("the authority that signed it {0}: bring ca.crt up to date, and check the clocks")]
struct AuthorityOutsideItsTime(String);

/// webpki does not look at an anchor's own dates, Go does (docs/wire I10).
fn check_time(facts: &Facts, now: UnixTime) -> Result<(), Error> {
    let moment = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(now.as_secs()));
    match moment.and_then(|moment| facts.outside(moment)) {
        None => Ok(()),
        Some(outside) => {
            let why = Arc::new(AuthorityOutsideItsTime(outside));
            Err(CertificateError::Other(OtherError(why)).into())
        }
    }
}

/// Judges the peer of one handshake.
pub(super) struct Verifier {
    rules: Arc<Rules>,
    attempt: Attempt,
}

impl Verifier {
    pub(super) fn new(rules: Arc<Rules>, attempt: Attempt) -> Self {
        Self { rules, attempt }
    }

    /// The certificates alone: their keys, and whether one of our authorities has signed them. Whether
    /// the peer has the key is not known yet, so nothing else is decided here.
    fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
        verify: impl Fn(&Authority) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if matches!(self.rules.trust.0, Rule::Anyone) {
            return Ok(());
        }
        only_ed25519(leaf, rest)?;
        if !self.rules.trust.asks_authority() {
            return Ok(());
        }
        let mut reason = None;
        for authority in &self.rules.authorities {
            let judged = verify(authority).map_err(name_the_authority);
            match judged.and_then(|()| check_time(&authority.facts, now)) {
                Ok(()) => {
                    self.attempt.vouched_by(authority.facts.public_key);
                    return Ok(());
                }
                // Of several reasons the one of the authority that did sign it says most.
                Err(error) if reason.is_none() || !is_unknown(&error) => reason = Some(error),
                Err(_) => {}
            }
        }
        Err(reason.unwrap_or_else(|| CertificateError::UnknownIssuer.into()))
    }

    /// The peer holds the leaf's key, or this fails; then it is trusted, or this fails. What it sent
    /// beside the leaf plays no part (docs/wire I14).
    fn check_possession(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.rules.provider.signature_verification_algorithms;
        let valid = verify_tls13_signature(message, leaf, signature, algorithms)?;
        // docs/wire I46: rustls turns this error into the alert access_denied.
        match self.attempt.decide(&self.rules, leaf) {
            Decision::Admit => Ok(valid),
            Decision::Refuse => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.rules
            .provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("trust", &self.rules.trust)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_chain(leaf, rest, now, |authority| {
            authority
                .servers
                .verify_server_cert(leaf, rest, name, ocsp, now)
                .map(drop)
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_possession(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Every authority has the same subject name, so the hint would say nothing; Go sends it, but
        // a client of ours has only one certificate to choose from.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check_chain(leaf, rest, now, |authority| {
            authority
                .clients
                .verify_client_cert(leaf, rest, now)
                .map(drop)
        })?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_possession(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// Never asked: the configurations know no other version.
fn only_tls13() -> Error {
    PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into()
}

fn only_ed25519(leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
    for certificate in std::iter::once(leaf).chain(rest) {
        Facts::read(certificate)
            .map_err(|why| CertificateError::Other(OtherError(Arc::new(why))))?;
    }
    Ok(())
}

/// A foreign authority with the name of ours makes webpki report a bad signature. To a person, and in
/// the alert the peer receives, that is an unknown authority.
fn name_the_authority(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            CertificateError::UnknownIssuer.into()
        }
        error => error,
    }
}

fn is_unknown(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    )
}
