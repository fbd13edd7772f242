//! What a failed handshake means to a person.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Why a TLS connection failed, in terms a person can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The other end refused us and said why in an alert.
    #[error("the other end refused us: {0}")]
    Refused(String),
    /// We refuse the other end's certificate.
    #[error("the other end's certificate is not acceptable: {0}")]
    PeerCertificate(String),
    /// The other end presented no certificate.
    #[error("the other end presented no certificate")]
    NoCertificate,
    /// The other end does not speak TLS.
    #[error("the other end does not speak TLS: it sent plain text, or another protocol")]
    NotTls,
    /// Nothing in common: versions, suites or key types.
    #[error("nothing in common with the other end: {0}")]
    Incompatible(String),
    /// Anything else.
    #[error("TLS failed: {0}")]
    Other(String),
}

impl TlsProblem {
    /// Classifies an error of rustls.
    pub fn from_error(error: &Error) -> Self {
        match error {
            Error::AlertReceived(alert) => Self::Refused(alert_text(*alert)),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(why) => Self::PeerCertificate(certificate_text(why)),
            Error::InvalidMessage(_) => Self::NotTls,
            Error::PeerIncompatible(why) => Self::Incompatible(incompatible_text(why)),
            other => Self::Other(other.to_string()),
        }
    }

    /// Classifies an I/O error that carries an error of rustls; `None` for every other one.
    ///
    /// In TLS 1.3 a client has finished its handshake before the server has judged its certificate:
    /// the refusal arrives as an error of the client's first read.
    pub fn from_io_error(error: &io::Error) -> Option<Self> {
        error
            .get_ref()?
            .downcast_ref::<Error>()
            .map(Self::from_error)
    }
}

fn alert_text(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::UnknownCA => "it does not know the authority of our certificate",
        AlertDescription::CertificateExpired => {
            "our certificate has expired, or is not valid yet by its clock"
        }
        AlertDescription::CertificateRequired => "it wants a certificate and got none",
        AlertDescription::BadCertificate => "it does not accept our certificate",
        AlertDescription::CertificateUnknown => "it does not accept our certificate",
        AlertDescription::UnsupportedCertificate => "it does not accept this kind of certificate",
        AlertDescription::CertificateRevoked => "our certificate was revoked",
        AlertDescription::AccessDenied => "it does not let our key in",
        AlertDescription::DecryptError => "a signature of ours does not verify there",
        AlertDescription::ProtocolVersion => "it does not speak TLS 1.3",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "no cipher suite or kind of key in common"
        }
        AlertDescription::UnrecognisedName => "it does not serve the name `localhost`",
        other => return format!("alert {other:?}"),
    };
    text.to_owned()
}

fn certificate_text(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "it was signed by an authority we do not know".to_owned()
        }
        // Of the handshake: a chain's bad signature is an unknown issuer to us.
        CertificateError::BadSignature => "the other end does not hold its key".to_owned(),
        CertificateError::ApplicationVerificationFailure => {
            "its key is not trusted here".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet (check the clocks)".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("it is not made out to `{}`", super::SERVER_NAME)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not meant for this side of a connection".to_owned()
        }
        CertificateError::Other(inner) => inner.to_string(),
        other => other.to_string(),
    }
}

fn incompatible_text(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::NoCipherSuitesInCommon => {
            "no cipher suite in common; use the same `?cipher=` on both sides".to_owned()
        }
        PeerIncompatible::NoSignatureSchemesInCommon => {
            "it does not accept Ed25519 keys".to_owned()
        }
        PeerIncompatible::Tls13RequiredForQuic
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "it does not speak TLS 1.3".to_owned()
        }
        other => format!("{other:?}"),
    }
}
