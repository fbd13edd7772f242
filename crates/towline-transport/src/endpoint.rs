//! Endpoint URLs: what stands at the other end, or where to listen.

mod error;
mod nats;
mod parse;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use towline_identity::CipherSuite;

pub use self::error::{EndpointProblem, ParseEndpointError};
#[cfg(feature = "nats")]
pub(crate) use self::nats::BrokerTls;
pub(crate) use self::nats::Nats;

/// What the address of a Unix socket can hold on the smallest system, without the final zero.
const MAX_SOCKET_PATH: usize = 103;

/// The transport an endpoint names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// Plain TCP: neither encrypted nor authenticated.
    Tcp,
    /// Plain TCP behind an HTTP CONNECT, as rpc25519 and Go's net/rpc speak it.
    HttpConnect,
    /// TLS 1.3 over TCP, both sides proving themselves.
    Tls,
    /// A socket in the file system, open to its owner.
    Unix,
    /// A pipe within this process.
    Mem,
    /// A sliding-window session over UDP.
    Udp,
    /// A sliding-window session through a NATS broker.
    Nats,
    /// QUIC: one stream of a connection, both sides proving themselves as in TLS.
    Quic,
}

impl Scheme {
    /// The name in URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::HttpConnect => "connect+tcp",
            Self::Tls => "tls",
            Self::Unix => "unix",
            Self::Mem => "mem",
            Self::Udp => "udp",
            Self::Nats => "nats",
            Self::Quic => "quic",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How one connection carries many streams: the wire format of a multiplexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Multiplexer {
    /// yamux: of hashicorp and libp2p.
    Yamux,
    /// muxado, version 2: of inconshreveable and ngrok.
    Muxado,
}

impl Multiplexer {
    /// The name in URLs, in front of the `+`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yamux => "yamux",
            Self::Muxado => "muxado",
        }
    }
}

impl fmt::Display for Multiplexer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A parsed endpoint URL: the same text in code and on the command line.
///
/// `tcp://host:port`, `tls://host:port?cipher=aes-128-gcm`, `unix:///path/to/socket`, `mem://name`; each
/// with `?psk=FILE` for the pre-shared-key layer, the file's path percent-encoded where need be; with
/// `yamux+` or `muxado+` in front for many streams on the one connection: `yamux+tls://host:port`.
///
/// `connect+tcp://host:port` is plain TCP behind an HTTP CONNECT ([`http_connect`](crate::http_connect)).
///
/// `nats://host/SUBJECT?inbox=MINE` and `udp://host:port` are sliding-window sessions, `tls+nats://` and
/// `tls+udp://` TLS over them. A broker's usual port is 4222; `nats://user:password@host/SUBJECT` and
/// `nats://token@host/SUBJECT` log in there, `?broker=tls` and `?broker_ca=FILE` go there by TLS, and without
/// `?inbox=` a random subject is heard on. A listener answers clients that hear on such a one or below its own
/// subject, and with `?peers=WORDS` those below these words too. A password or token is read and never shown: `***` stands for it.
///
/// The fragment is a path at the other end, percent-decoded: `tls://host:8443#dir/file`. There is no
/// default port.
///
/// ```
/// use towline_transport::Endpoint;
///
/// let endpoint: Endpoint = "tls://[::1]:8443#dir/a%20b".parse()?;
/// assert_eq!(endpoint.host(), Some("::1"));
/// assert_eq!(endpoint.fragment(), Some("dir/a b"));
/// assert_eq!(endpoint.without_fragment().to_string(), "tls://[::1]:8443");
/// # Ok::<(), towline_transport::ParseEndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    multiplexer: Option<Multiplexer>,
    pub(crate) address: Address,
    psk: Option<PathBuf>,
    fragment: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp {
        host: String,
        port: u16,
    },
    HttpConnect {
        host: String,
        port: u16,
    },
    Tls {
        host: String,
        port: u16,
        cipher: CipherSuite,
    },
    Unix {
        path: PathBuf,
    },
    Mem {
        name: String,
    },
    Udp {
        host: String,
        port: u16,
        tls: Option<CipherSuite>,
    },
    Nats(Nats),
    Quic {
        host: String,
        port: u16,
        cipher: CipherSuite,
    },
}

impl Endpoint {
    /// How the connection carries many streams: what stands in front of the `+`. Nothing if it is one
    /// stream of bytes.
    pub fn multiplexer(&self) -> Option<Multiplexer> {
        self.multiplexer
    }

    /// Whether a connection there carries many streams: a multiplexer is named, or the transport has streams itself, as
    /// `quic` does unless the pre-shared-key layer seals a single one ([`connect_session`](crate::connect_session)).
    pub fn has_streams(&self) -> bool {
        let native = self.scheme() == Scheme::Quic && self.psk().is_none();
        native || self.multiplexer.is_some()
    }

    /// The same endpoint with another multiplexer, or with none: then it is the transport beneath.
    ///
    /// ```
    /// use towline_transport::{Endpoint, Multiplexer};
    ///
    /// let endpoint: Endpoint = "yamux+tls://db.internal:8443".parse()?;
    /// assert_eq!(endpoint.multiplexer(), Some(Multiplexer::Yamux));
    /// assert_eq!(endpoint.with_multiplexer(None).to_string(), "tls://db.internal:8443");
    /// # Ok::<(), towline_transport::ParseEndpointError>(())
    /// ```
    pub fn with_multiplexer(mut self, multiplexer: impl Into<Option<Multiplexer>>) -> Self {
        self.multiplexer = multiplexer.into();
        self
    }

    /// The transport; beneath the multiplexer, if there is one.
    pub fn scheme(&self) -> Scheme {
        match self.address {
            Address::Tcp { .. } => Scheme::Tcp,
            Address::HttpConnect { .. } => Scheme::HttpConnect,
            Address::Tls { .. } => Scheme::Tls,
            Address::Unix { .. } => Scheme::Unix,
            Address::Mem { .. } => Scheme::Mem,
            Address::Udp { .. } => Scheme::Udp,
            Address::Nats(_) => Scheme::Nats,
            Address::Quic { .. } => Scheme::Quic,
        }
    }

    /// The file with the key that both ends share: `?psk=`. With one, connections have the
    /// pre-shared-key layer, and both ends need an [`Identity`](towline_identity::Identity) on any
    /// transport.
    ///
    /// ```
    /// use towline_transport::Endpoint;
    ///
    /// let endpoint: Endpoint = "tcp://db.internal:8443?psk=certs/psk.binary".parse()?;
    /// assert_eq!(endpoint.psk(), Some("certs/psk.binary".as_ref()));
    /// # Ok::<(), towline_transport::ParseEndpointError>(())
    /// ```
    pub fn psk(&self) -> Option<&Path> {
        self.psk.as_deref()
    }

    /// The same endpoint with the pre-shared-key layer, or without it.
    pub fn with_psk(mut self, file: impl Into<Option<PathBuf>>) -> Self {
        self.psk = file.into();
        self
    }

    /// Whether both ends prove themselves by TLS: `tls`, `quic`, `tls+nats`, `tls+udp`.
    pub fn has_tls(&self) -> bool {
        self.cipher().is_some()
    }

    /// Whether whoever is at the other end has been let in by a key, by the file system or by being
    /// this process: true for `unix` and `mem`, and for everything with TLS or a pre-shared key.
    pub fn is_authenticated(&self) -> bool {
        self.has_tls() || self.psk.is_some() || matches!(self.scheme(), Scheme::Unix | Scheme::Mem)
    }

    /// The host of `tcp`, `connect+tcp`, `tls`, `quic` and `udp`, or of the broker: a name or an address, IPv6 without brackets.
    pub fn host(&self) -> Option<&str> {
        match &self.address {
            Address::Tcp { host, .. }
            | Address::HttpConnect { host, .. }
            | Address::Tls { host, .. }
            | Address::Quic { host, .. }
            | Address::Udp { host, .. }
            | Address::Nats(Nats { host, .. }) => Some(host),
            _ => None,
        }
    }

    /// The port of `tcp`, `connect+tcp`, `tls`, `quic` and `udp`, where 0 asks a listener for a free one, or of the broker.
    pub fn port(&self) -> Option<u16> {
        match self.address {
            Address::Tcp { port, .. }
            | Address::HttpConnect { port, .. }
            | Address::Tls { port, .. }
            | Address::Quic { port, .. }
            | Address::Udp { port, .. }
            | Address::Nats(Nats { port, .. }) => Some(port),
            _ => None,
        }
    }

    /// The subject of `nats`, at which a listener hears.
    pub fn subject(&self) -> Option<&str> {
        match &self.address {
            Address::Nats(nats) => Some(&nats.subject),
            _ => None,
        }
    }

    /// The same endpoint at another port; unchanged if it has none.
    pub fn with_port(mut self, new: u16) -> Self {
        if let Address::Tcp { port, .. }
        | Address::HttpConnect { port, .. }
        | Address::Tls { port, .. }
        | Address::Quic { port, .. }
        | Address::Udp { port, .. }
        | Address::Nats(Nats { port, .. }) = &mut self.address
        {
            *port = new;
        }
        self
    }

    /// The same endpoint at another address; unchanged if it has none.
    pub(crate) fn with_address(mut self, new: std::net::SocketAddr) -> Self {
        if let Address::Tcp { host, port }
        | Address::HttpConnect { host, port }
        | Address::Tls { host, port, .. } = &mut self.address
        {
            *host = new.ip().to_string();
            *port = new.port();
        }
        self
    }

    /// The path of a `unix` socket.
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.address {
            Address::Unix { path } => Some(path),
            _ => None,
        }
    }

    /// The cipher suite of TLS: `?cipher=`, or the default.
    pub fn cipher(&self) -> Option<CipherSuite> {
        match self.address {
            Address::Tls { cipher, .. } | Address::Quic { cipher, .. } => Some(cipher),
            Address::Udp { tls, .. } | Address::Nats(Nats { tls, .. }) => tls,
            _ => None,
        }
    }

    /// The path at the other end, percent-decoded.
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }

    /// The same endpoint without a fragment.
    pub fn without_fragment(&self) -> Self {
        Self {
            multiplexer: self.multiplexer,
            address: self.address.clone(),
            psk: self.psk.clone(),
            fragment: None,
        }
    }

    /// The same endpoint with this path at the other end.
    pub fn with_fragment(mut self, fragment: impl Into<String>) -> Self {
        self.fragment = Some(fragment.into());
        self
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::parse(text).map_err(|why| ParseEndpointError {
            url: text.chars().take(200).collect(),
            why,
        })
    }
}
