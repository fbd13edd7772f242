//! Why an endpoint cannot be listened on, and why a client's handshake fails.

use std::io;
use std::time::Duration;

use towline_identity::LoadError;
use towline_identity::tls::{Refusal, TlsConfigError, TlsProblem};

use crate::http_connect::HttpConnectError;
use crate::psk;

/// Why an endpoint cannot be listened on. Each sentence names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The endpoint names a multiplexer where single streams of bytes are wanted.
    #[error(
        "{endpoint} carries many streams on one connection, and this serves single ones: \
         leave out what stands in front of the +"
    )]
    Multiplexed {
        /// Where to listen.
        endpoint: String,
    },
    /// The host name has no address.
    #[error("cannot find the host of {endpoint}: {source}")]
    Resolve {
        /// Where to listen.
        endpoint: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("{endpoint} is in use: stop the program that listens there, or choose another")]
    InUse {
        /// Where to listen.
        endpoint: String,
    },
    /// The system refused.
    #[error("cannot listen on {endpoint}: {source}")]
    Bind {
        /// Where to listen.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// `tls` without keys.
    #[error(
        "{endpoint} needs keys to prove who we are: make some with `tow keys new NAME`, or name their directory"
    )]
    MissingIdentity {
        /// Where to listen.
        endpoint: String,
    },
    /// The identity gives no TLS configuration.
    #[error("the keys for {endpoint} cannot be used: {source}")]
    Identity {
        /// Where to listen.
        endpoint: String,
        /// Why not.
        source: TlsConfigError,
    },
    /// The file of the pre-shared key cannot be used.
    #[error("{endpoint} needs a pre-shared key: {source}")]
    PreSharedKey {
        /// Where to listen.
        endpoint: String,
        /// What is wrong with the file.
        source: LoadError,
    },
    /// This system has no such transport.
    #[error("{endpoint}: this system has no Unix sockets")]
    Unsupported {
        /// Where to listen.
        endpoint: String,
    },
}

/// Why a client's handshake failed. The connection is closed by then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// It took too long.
    #[error("{remote} did not finish its handshake within {limit:?}")]
    TimedOut {
        /// The client.
        remote: String,
        /// The limit.
        limit: Duration,
    },
    /// Many streams were asked for, and the connection is one stream of bytes, or would need the pre-shared-key layer on
    /// each.
    #[error(
        "the connection from {remote} is a single stream, and this needs many: use yamux+ or muxado+"
    )]
    NotMultiplexed {
        /// The client.
        remote: String,
    },
    /// It sent something else than TLS.
    #[error("{remote} does not speak TLS: it sent plain text or another protocol")]
    NotTls {
        /// The client.
        remote: String,
    },
    /// It has no certificate that counts here, or its address does not.
    #[error("{remote} was refused: {why}")]
    Refused {
        /// The client.
        remote: String,
        /// Our reason.
        why: String,
    },
    /// It has proven a key that is not trusted or not authorised here (docs/wire I46).
    #[error("{remote} was refused: {refusal}")]
    NotAdmitted {
        /// The client.
        remote: String,
        /// The key, our reason, and what would admit it.
        refusal: Refusal,
    },
    /// It does not accept us.
    #[error("{remote} refused us: {why}")]
    RefusedByPeer {
        /// The client.
        remote: String,
        /// Its reason.
        why: String,
    },
    /// It hung up.
    #[error("{remote} closed the connection during the handshake")]
    Closed {
        /// The client.
        remote: String,
    },
    /// It did not connect by HTTP.
    #[error("{remote}: {source}")]
    HttpConnect {
        /// The client.
        remote: String,
        /// How it failed.
        source: HttpConnectError,
    },
    /// It has another pre-shared key (docs/wire R21).
    #[error("{remote}: {}", psk::DIFFERENT_KEYS)]
    DifferentKeys {
        /// The client.
        remote: String,
    },
    /// The handshake of the pre-shared-key layer failed.
    #[error("{remote}: {why}")]
    Sealing {
        /// The client.
        remote: String,
        /// How.
        why: String,
    },
    /// TLS failed in another way.
    #[error("TLS with {remote} failed: {why}")]
    Tls {
        /// The client.
        remote: String,
        /// How.
        why: String,
    },
    /// The socket failed.
    #[error("the connection from {remote} failed: {source}")]
    Io {
        /// The client.
        remote: String,
        /// What the system said.
        source: io::Error,
    },
}

impl AcceptError {
    pub(crate) fn from_handshake(remote: String, error: io::Error) -> Self {
        match TlsProblem::from_io_error(&error) {
            Some(TlsProblem::NotTls) => Self::NotTls { remote },
            Some(TlsProblem::PeerCertificate(why)) => Self::Refused {
                remote,
                why: format!("its certificate is not acceptable: {why}"),
            },
            Some(TlsProblem::NoCertificate) => Self::Refused {
                remote,
                why: "it presented no certificate that we accept".to_owned(),
            },
            Some(TlsProblem::Refused(why)) => Self::RefusedByPeer { remote, why },
            Some(problem) => Self::Tls {
                remote,
                why: problem.to_string(),
            },
            None if crate::is_hung_up(&error) => Self::Closed { remote },
            None => Self::Io {
                remote,
                source: error,
            },
        }
    }
}
