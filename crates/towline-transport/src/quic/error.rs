//! What ended a QUIC connection, in the errors of TLS and of streams.

use std::io;

use quinn::ConnectionError;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// Alerts are the codes 0x100 to 0x1ff.
const ALERTS: u64 = 0x100;

/// As an `io::Error` with the error of rustls inside that [`TlsProblem`](crate::TlsProblem) reads.
pub(super) fn io_error(error: ConnectionError) -> io::Error {
    let tls = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
    match error {
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code.into()) {
            Some(alert) => tls(Error::AlertReceived(alert)),
            None => ConnectionError::ConnectionClosed(close).into(),
        },
        // Found here, and told the other end by this alert.
        ConnectionError::TransportError(found) => match alert(found.code.into()) {
            Some(AlertDescription::UnknownCA) => {
                tls(Error::InvalidCertificate(CertificateError::UnknownIssuer))
            }
            Some(AlertDescription::CertificateExpired) => {
                tls(Error::InvalidCertificate(CertificateError::Expired))
            }
            Some(AlertDescription::CertificateRequired) => tls(Error::NoCertificatesPresented),
            Some(_) => tls(Error::General(found.reason)),
            None => ConnectionError::TransportError(found).into(),
        },
        error => error.into(),
    }
}

fn alert(code: u64) -> Option<AlertDescription> {
    let alert = u8::try_from(code.checked_sub(ALERTS)?).ok()?;
    Some(alert.into())
}

/// Whether the other end has closed the connection as both sides do when they are done.
pub(super) fn is_closed(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == super::CLOSED)
}
