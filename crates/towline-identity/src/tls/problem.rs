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
            other => Self::Other(other_text(other)),
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

/// An error of rustls in words that need no knowledge of it.
pub(super) fn plain(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => alert_text(*alert),
        Error::NoCertificatesPresented => "it presented no certificate".to_owned(),
        Error::InvalidCertificate(why) => certificate_text(why),
        Error::InvalidMessage(_) => "what it sent is not TLS".to_owned(),
        Error::PeerIncompatible(why) => incompatible_text(why),
        other => other_text(other),
    }
}

fn other_text(error: &Error) -> String {
    let text = match error {
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the other end sent a message of TLS out of its turn"
        }
        Error::PeerMisbehaved(_) => "the other end broke the rules of TLS 1.3",
        Error::PeerSentOversizedRecord => "the other end sent a record that is too long",
        Error::DecryptError => {
            "what arrived does not decrypt: it was changed on the way, or the other end is broken"
        }
        Error::EncryptError => "what is to be sent cannot be encrypted",
        Error::FailedToGetCurrentTime => "this machine does not tell the time",
        Error::FailedToGetRandomBytes => "the system's random number generator failed",
        Error::HandshakeNotComplete => "the handshake is not over yet",
        Error::InconsistentKeys(_) => "the key and the certificate do not belong together",
        // Ours, or of those who extend the library: written for people.
        Error::General(text) => return text.clone(),
        Error::Other(inner) => return inner.to_string(),
        _ => "for a reason that this version has no words for",
    };
    text.to_owned()
}

fn alert_text(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::UnknownCA => "it does not know the authority of our certificate",
        AlertDescription::CertificateExpired => {
            "our certificate has expired, or is not valid yet by its clock"
        }
        AlertDescription::CertificateRequired => "it wants a certificate and got none",
        AlertDescription::BadCertificate => "it does not accept our certificate",
        AlertDescription::CertificateUnknown => {
            "it does not accept our certificate, or its authority's at this time"
        }
        AlertDescription::UnsupportedCertificate => "it does not accept this kind of certificate",
        AlertDescription::CertificateRevoked => "our certificate was revoked",
        AlertDescription::AccessDenied => "it does not let our key in",
        AlertDescription::DecryptError => "a signature of ours does not verify there",
        AlertDescription::ProtocolVersion => "it does not speak TLS 1.3",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "no cipher suite or kind of key in common"
        }
        AlertDescription::UnrecognisedName => "it does not serve the name `localhost`",
        AlertDescription::InternalError => "something failed there; its log may say what",
        AlertDescription::UserCanceled | AlertDescription::CloseNotify => "it gave up",
        AlertDescription::UnexpectedMessage
        | AlertDescription::BadRecordMac
        | AlertDescription::RecordOverflow
        | AlertDescription::IllegalParameter
        | AlertDescription::DecodeError
        | AlertDescription::MissingExtension
        | AlertDescription::UnsupportedExtension => "it says that we broke the rules of TLS",
        AlertDescription::NoApplicationProtocol => "it wants a protocol named by ALPN",
        other => return format!("it sent the alert of TLS with number {}", u8::from(other)),
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
        CertificateError::BadEncoding => "it is damaged, or not an X.509 certificate".to_owned(),
        CertificateError::UnhandledCriticalExtension => {
            "it makes a condition that is not understood here (a critical extension)".to_owned()
        }
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed in a way that is not accepted here; only Ed25519 is".to_owned()
        }
        _ => "it fails a check for which this version has no words".to_owned(),
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
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::KeyShareExtensionRequired => {
            "no way in common to agree on keys; X25519 is one".to_owned()
        }
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            "it does not accept Ed25519 keys".to_owned()
        }
        _ => "it wants a part of TLS that is not spoken here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of the library's variants are no words: they run letters of both cases together.
    #[test]
    fn errors_are_told_in_plain_words() {
        let all = [
            Error::AlertReceived(AlertDescription::BadRecordMac),
            Error::AlertReceived(AlertDescription::UnknownPSKIdentity),
            Error::AlertReceived(AlertDescription::from(200)),
            Error::InvalidCertificate(CertificateError::BadEncoding),
            Error::InvalidCertificate(CertificateError::UnhandledCriticalExtension),
            Error::InvalidCertificate(CertificateError::InvalidOcspResponse),
            Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
            Error::PeerIncompatible(PeerIncompatible::NullCompressionRequired),
            Error::PeerMisbehaved(rustls::PeerMisbehaved::TooMuchEarlyDataReceived),
            Error::InappropriateMessage {
                expect_types: vec![rustls::ContentType::Handshake],
                got_type: rustls::ContentType::ApplicationData,
            },
            Error::DecryptError,
            Error::BadMaxFragmentSize,
        ];
        for error in all {
            for text in [TlsProblem::from_error(&error).to_string(), plain(&error)] {
                let strange = text.split(|c: char| !c.is_alphanumeric()).find(|word| {
                    let inner = word.chars().skip(1);
                    let known = ["TLS", "ALPN", "X25519", "Ed25519"].contains(word);
                    !known && inner.clone().any(char::is_uppercase)
                });
                assert_eq!(strange, None, "{text}");
                assert!(
                    !text.contains(['{', '(']) || text.contains("(a critical"),
                    "{text}"
                );
            }
        }
    }
}
