//! What can be wrong with an endpoint URL.

use super::MAX_SOCKET_PATH;

/// Why a text is not an endpoint URL that this build understands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not an endpoint: {why}")]
pub struct ParseEndpointError {
    pub(super) url: String,
    pub(super) why: EndpointProblem,
}

impl ParseEndpointError {
    /// What is wrong with it.
    pub fn problem(&self) -> &EndpointProblem {
        &self.why
    }
}

/// What can be wrong with an endpoint URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointProblem {
    /// No `scheme://`.
    #[error(
        "it does not begin with a scheme; write tls://host:port, tcp://host:port, tls+nats://broker/SUBJECT, unix:///path or mem://name"
    )]
    NoScheme,
    /// A scheme nobody knows.
    #[error(
        "the scheme {0:?} is unknown; use tls, tcp, quic, tls+nats, udp, unix, mem or connect+tcp, with yamux+ or muxado+ in front for many streams"
    )]
    UnknownScheme(String),
    /// A scheme of towline's that this build lacks.
    #[error(
        "the scheme {0:?} is not supported by this build; use tls, tcp, quic, udp, unix, mem or connect+tcp, with yamux+ or muxado+ in front \
         for many streams"
    )]
    UnsupportedScheme(String),
    /// More than 8,192 characters.
    #[error("it is too long")]
    TooLong,
    /// No host in front of the port.
    #[error("the host is missing; to listen everywhere write [::]:port or 0.0.0.0:port")]
    NoHost,
    /// A host that is neither a name nor an address.
    #[error(
        "{0:?} is neither a host name nor an address (an IPv6 address stands in brackets: [::1]:port)"
    )]
    BadHost(String),
    /// No port.
    #[error("the port is missing, and there is no usual one; write host:port")]
    NoPort,
    /// A port that is no number from 0 to 65535.
    #[error("{0:?} is not a port (0 to 65535)")]
    BadPort(String),
    /// User and password.
    #[error("it names a user; towline knows its peers by keys, leave out everything up to the @")]
    User,
    /// A path behind host and port.
    #[error("a path follows the port; a path at the other end goes behind a #: host:port#{0}")]
    Path(String),
    /// A socket path that is not absolute.
    #[error("a Unix socket needs an absolute path: unix:///path/to/socket")]
    RelativeSocket,
    /// A socket path the system cannot hold.
    #[error(
        "the socket path has {0} bytes, more than the system's limit of {MAX_SOCKET_PATH}; use a shorter one"
    )]
    SocketTooLong(usize),
    /// No subject behind the broker.
    #[error("the subject is missing; write nats://host/SUBJECT")]
    NoSubject,
    /// A subject with spaces, wildcards or empty parts.
    #[error("{0:?} is no subject: write words with dots between them, without wildcards")]
    BadSubject(String),
    /// A `mem` name with other characters than letters, digits, `.`, `_` and `-`.
    #[error("a mem name consists of letters, digits, dots, dashes and underscores")]
    BadMemName,
    /// `?psk=` without a file.
    #[error("?psk= needs the path of a key file: ?psk=certs/psk.binary; `tow keys psk` makes one")]
    Psk,
    /// Another key in the query.
    #[error("the setting ?{0}= is unknown here{1}")]
    UnknownKey(String, &'static str),
    /// The same key twice.
    #[error("the setting ?{0}= is given twice")]
    TwiceKey(String),
    /// A value that the setting does not have.
    #[error("{0}")]
    BadValue(String),
    /// A `%` without two hexadecimal digits.
    #[error("a % must be followed by two hexadecimal digits; write %25 for a percent sign")]
    BadPercent,
    /// Percent-encoded bytes that are not UTF-8.
    #[error("its percent-encoded bytes are not UTF-8; names travel as UTF-8 text only")]
    NotText,
    /// A zero byte in a path.
    #[error("a path cannot contain a zero byte")]
    Zero,
}
