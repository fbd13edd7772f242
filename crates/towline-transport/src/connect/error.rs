//! Why a connection was not made, and what could be done.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use towline_identity::tls::{Refusal, TlsConfigError, TlsProblem};
use towline_identity::{KnownKeysError, LoadError};

use crate::http_connect::HttpConnectError;
use crate::psk;
use crate::tls::HandshakeError;

/// Why a connection was not made. Each sentence names the endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The endpoint names a multiplexer where one stream of bytes is wanted.
    #[error("{endpoint} carries many streams on one connection, and this needs a single one")]
    Multiplexed {
        /// What was dialled.
        endpoint: String,
    },
    /// The endpoint names no multiplexer where many streams are wanted.
    #[error("{endpoint} is one stream of bytes, and this needs many on one connection")]
    NotMultiplexed {
        /// What was dialled.
        endpoint: String,
    },
    /// The endpoint has streams itself, and asks for the pre-shared-key layer, which seals single ones.
    #[error(
        "{endpoint} has many streams on one connection, and the pre-shared-key layer seals single ones"
    )]
    SealedStreams {
        /// What was dialled.
        endpoint: String,
    },
    /// The host name has no address.
    #[error("cannot find the host of {endpoint}: {source}")]
    Resolve {
        /// What was dialled.
        endpoint: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("nobody listens at {endpoint}")]
    Refused {
        /// What was dialled.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The host cannot be reached.
    #[error("cannot reach {endpoint}: {source}")]
    Unreachable {
        /// What was dialled.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The time was up.
    #[error("{endpoint} did not answer within {limit:?} ({during})")]
    TimedOut {
        /// What was dialled.
        endpoint: String,
        /// The limit.
        limit: Duration,
        /// What it was waiting for.
        during: &'static str,
    },
    /// `tls` without keys.
    #[error("{endpoint} needs keys to prove who we are, and none were given")]
    MissingIdentity {
        /// What was dialled.
        endpoint: String,
    },
    /// The identity gives no TLS configuration.
    #[error("the keys for {endpoint} cannot be used: {source}")]
    Identity {
        /// What was dialled.
        endpoint: String,
        /// Why not.
        source: TlsConfigError,
    },
    /// The file of known keys cannot be used: nobody is trusted until it can (docs/wire I43).
    #[error("{endpoint} cannot be trusted: {source}")]
    KnownKeys {
        /// What was dialled.
        endpoint: String,
        /// What is wrong with the file.
        source: Arc<KnownKeysError>,
    },
    /// The server turned us away.
    #[error("{endpoint} refused us: {why}")]
    RefusedByPeer {
        /// What was dialled.
        endpoint: String,
        /// The server's reason.
        why: String,
    },
    /// We turn the server away.
    #[error("the certificate of {endpoint} is not acceptable: {why}")]
    PeerCertificate {
        /// What was dialled.
        endpoint: String,
        /// Our reason.
        why: String,
    },
    /// The server has proven a key that we do not trust; nothing was sent to it (docs/wire I46).
    #[error("{endpoint} is not trusted: {refusal}")]
    UntrustedKey {
        /// What was dialled.
        endpoint: String,
        /// The key, our reason, and what would admit it.
        refusal: Refusal,
    },
    /// The answer is no TLS.
    #[error("{endpoint} does not speak TLS: its answer is plain text or another protocol")]
    NotTls {
        /// What was dialled.
        endpoint: String,
    },
    /// The other end hung up in the handshake without a word.
    #[error("{endpoint} hung up on our TLS handshake without a word: it may speak plain text")]
    Closed {
        /// What was dialled.
        endpoint: String,
    },
    /// TLS failed in another way.
    #[error("TLS with {endpoint} failed: {why}")]
    Tls {
        /// What was dialled.
        endpoint: String,
        /// How.
        why: String,
        /// Whether the next attempt would fail in the same way: the two ends have nothing in common.
        lasting: bool,
    },
    /// The server does not hand the connection over by HTTP CONNECT.
    #[error("{endpoint} cannot be used: {source}")]
    HttpConnect {
        /// What was dialled.
        endpoint: String,
        /// What it did instead.
        source: HttpConnectError,
    },
    /// The file of the pre-shared key cannot be used. Nothing was dialled.
    #[error("{endpoint} needs a pre-shared key: {source}")]
    PreSharedKey {
        /// What was to be dialled.
        endpoint: String,
        /// What is wrong with the file.
        source: LoadError,
    },
    /// The server has another pre-shared key: it has proven that, as this end has (docs/wire R21).
    #[error("{endpoint}: {}", psk::DIFFERENT_KEYS)]
    DifferentKeys {
        /// What was dialled.
        endpoint: String,
    },
    /// The handshake of the pre-shared-key layer failed.
    #[error("{endpoint}: {why}")]
    Sealing {
        /// What was dialled.
        endpoint: String,
        /// How.
        why: String,
        /// Whether the next attempt would fail in the same way: the two ends have different keys.
        lasting: bool,
    },
    /// This system has no such transport.
    #[error("{endpoint}: this system has no Unix sockets")]
    Unsupported {
        /// What was dialled.
        endpoint: String,
    },
}

impl ConnectError {
    /// What a person could do next.
    pub fn hint(&self) -> Option<&'static str> {
        if let Self::RefusedByPeer { why, .. } = self {
            if why.contains("cipher") {
                return Some("use the same `?cipher=` on both sides");
            }
            if why.contains("let our key in") {
                return Some("ask the server's operator to admit your key; its log says how");
            }
        }
        Some(match self {
            Self::Multiplexed { .. } => "leave out what stands in front of the +",
            Self::NotMultiplexed { .. } | Self::SealedStreams { .. } => {
                "write yamux+ or muxado+ in front of it"
            }
            Self::Resolve { .. } => "check the spelling of the host, or use its address",
            Self::Refused { .. } => {
                "start the server (`tow serve DIR --listen URL`), or check host and port"
            }
            Self::Unreachable { .. } => "check the network and the address",
            Self::TimedOut {
                during: "TLS handshake",
                ..
            } => {
                "something accepts connections there but does not speak TLS; check the port and the scheme"
            }
            Self::TimedOut {
                during: "waiting for an answer",
                ..
            } => "start the other end first, and compare the subject or the address",
            // Over UDP nobody says that a port is closed.
            Self::TimedOut {
                during: "QUIC handshake",
                ..
            } => {
                "start the server (`tow serve DIR --listen URL`), or check host and port, and that no firewall drops UDP"
            }
            Self::TimedOut {
                during: "HTTP CONNECT",
                ..
            } => "something accepts connections there but does not speak HTTP; try tcp://",
            Self::TimedOut { .. } => "check the address, and that no firewall drops the packets",
            Self::MissingIdentity { .. } => {
                "make keys with `tow keys new NAME`, or name their directory"
            }
            Self::Identity { .. } | Self::KnownKeys { .. } => return None,
            Self::PreSharedKey { .. } => {
                "copy the other end's key file here, or make one for both with `tow keys psk`"
            }
            Self::DifferentKeys { .. } => "copy the other end's key file here, and compare the two",
            Self::Sealing { .. } => {
                "both ends need ?psk= with the same file, and keys of the same authority"
            }
            Self::HttpConnect {
                source: HttpConnectError::NotHttp,
                ..
            } => "if that server is meant to be plain, use tcp://",
            Self::HttpConnect {
                source: HttpConnectError::HungUp,
                ..
            } => {
                "if that server is meant to be plain, use tcp://; it may also be at its limit of connections"
            }
            Self::HttpConnect { .. } => {
                "that is another HTTP server; check host and port, or leave out connect+"
            }
            Self::RefusedByPeer { .. } => {
                "both sides need keys of the same authority; check the server's log"
            }
            Self::PeerCertificate { why, .. } if why.contains("the authority that signed it") => {
                "renew the authority with `tow keys renew --ca` where it is, and copy ca.crt here"
            }
            Self::PeerCertificate { why, .. } if why.contains("expired") => {
                "its operator has to make it a new one; if the date is wrong here, set the clock"
            }
            Self::PeerCertificate { .. } => "both sides need keys of the same authority",
            Self::UntrustedKey { .. } => {
                "compare the key with the server's operator, over another way, before you admit it"
            }
            Self::NotTls { .. } => "if that server is meant to be plain, use tcp://",
            Self::Closed { .. } => {
                "if that server is meant to be plain, use tcp://; it may also be at its limit of connections"
            }
            Self::Tls { .. } | Self::Unsupported { .. } => return None,
        })
    }

    /// What was dialled.
    pub fn endpoint(&self) -> &str {
        match self {
            Self::Multiplexed { endpoint }
            | Self::NotMultiplexed { endpoint }
            | Self::SealedStreams { endpoint }
            | Self::Resolve { endpoint, .. }
            | Self::Refused { endpoint, .. }
            | Self::Unreachable { endpoint, .. }
            | Self::TimedOut { endpoint, .. }
            | Self::MissingIdentity { endpoint }
            | Self::Identity { endpoint, .. }
            | Self::KnownKeys { endpoint, .. }
            | Self::RefusedByPeer { endpoint, .. }
            | Self::PeerCertificate { endpoint, .. }
            | Self::UntrustedKey { endpoint, .. }
            | Self::NotTls { endpoint }
            | Self::Closed { endpoint }
            | Self::Tls { endpoint, .. }
            | Self::HttpConnect { endpoint, .. }
            | Self::PreSharedKey { endpoint, .. }
            | Self::DifferentKeys { endpoint }
            | Self::Sealing { endpoint, .. }
            | Self::Unsupported { endpoint } => endpoint,
        }
    }

    /// True if trying again would fail in the same way, until somebody changes something: an endpoint or keys that cannot
    /// be used, an end that refuses the other's key, another pre-shared key, another protocol. False where time may mend
    /// it: nobody listens, the network is down, the server is busy.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Multiplexed { .. }
            | Self::NotMultiplexed { .. }
            | Self::SealedStreams { .. }
            | Self::MissingIdentity { .. }
            | Self::Identity { .. }
            | Self::KnownKeys { .. }
            | Self::RefusedByPeer { .. }
            | Self::PeerCertificate { .. }
            | Self::UntrustedKey { .. }
            | Self::NotTls { .. }
            | Self::PreSharedKey { .. }
            | Self::DifferentKeys { .. }
            | Self::Unsupported { .. } => true,
            Self::Tls { lasting, .. } | Self::Sealing { lasting, .. } => *lasting,
            Self::HttpConnect { source, .. } => source.is_lasting(),
            Self::Resolve { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Closed { .. } => false,
        }
    }

    pub(super) fn from_handshake(endpoint: String, error: HandshakeError) -> Self {
        let error = match error {
            HandshakeError::Config(TlsConfigError::KnownKeys(source)) => {
                return Self::KnownKeys { endpoint, source };
            }
            HandshakeError::Config(source) => return Self::Identity { endpoint, source },
            HandshakeError::Refused(refusal) => return Self::UntrustedKey { endpoint, refusal },
            HandshakeError::Io(error) => error,
            stopping @ HandshakeError::Stopping => {
                let why = stopping.to_string();
                return Self::Tls {
                    endpoint,
                    why,
                    lasting: false,
                };
            }
        };
        match TlsProblem::from_io_error(&error) {
            Some(TlsProblem::Refused(why)) => Self::RefusedByPeer { endpoint, why },
            Some(TlsProblem::PeerCertificate(why)) => Self::PeerCertificate { endpoint, why },
            Some(TlsProblem::NotTls) => Self::NotTls { endpoint },
            Some(problem) => Self::Tls {
                endpoint,
                why: problem.to_string(),
                lasting: matches!(
                    problem,
                    TlsProblem::Incompatible(_) | TlsProblem::NoCertificate
                ),
            },
            None if crate::is_hung_up(&error) => Self::Closed { endpoint },
            None => Self::Tls {
                endpoint,
                why: error.to_string(),
                lasting: false,
            },
        }
    }

    pub(crate) fn from_sealing(endpoint: String, problem: psk::Problem) -> Self {
        match problem {
            psk::Problem::Config(TlsConfigError::KnownKeys(source)) => {
                Self::KnownKeys { endpoint, source }
            }
            psk::Problem::Config(source) => Self::Identity { endpoint, source },
            psk::Problem::Refused(refusal) => Self::UntrustedKey { endpoint, refusal },
            psk::Problem::DifferentKeys => Self::DifferentKeys { endpoint },
            problem => Self::Sealing {
                endpoint,
                why: problem.to_string(),
                lasting: matches!(
                    problem,
                    psk::Problem::Handshake(_) | psk::Problem::Record(_)
                ),
            },
        }
    }

    pub(super) fn from_dial(endpoint: String, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                Self::Refused { endpoint, source }
            }
            _ => Self::Unreachable { endpoint, source },
        }
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::Multiplexed { .. }
            | ConnectError::NotMultiplexed { .. }
            | ConnectError::SealedStreams { .. } => io::ErrorKind::InvalidInput,
            ConnectError::Resolve { .. } => io::ErrorKind::NotFound,
            ConnectError::Refused { .. } => io::ErrorKind::ConnectionRefused,
            ConnectError::Unreachable { source, .. } => source.kind(),
            ConnectError::TimedOut { .. } => io::ErrorKind::TimedOut,
            ConnectError::MissingIdentity { .. }
            | ConnectError::Identity { .. }
            | ConnectError::KnownKeys { .. }
            | ConnectError::PreSharedKey { .. } => io::ErrorKind::InvalidInput,
            ConnectError::RefusedByPeer { .. }
            | ConnectError::PeerCertificate { .. }
            | ConnectError::UntrustedKey { .. }
            | ConnectError::DifferentKeys { .. } => io::ErrorKind::PermissionDenied,
            ConnectError::NotTls { .. }
            | ConnectError::Tls { .. }
            | ConnectError::HttpConnect { .. }
            | ConnectError::Sealing { .. } => io::ErrorKind::InvalidData,
            ConnectError::Closed { .. } => io::ErrorKind::UnexpectedEof,
            ConnectError::Unsupported { .. } => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}
