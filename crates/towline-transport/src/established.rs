//! What an accepted connection is when its handshakes are done, with its socket still in the open.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use towline_identity::Peer;

use crate::connection::{BoxIo, Connection};
use crate::tcp;

/// An accepted connection that has shaken hands.
///
/// A [`Connection`] hides what carries its bytes; this does not, for servers that wait for the socket
/// itself. Addresses are kept as numbers, so that an idle connection costs little.
#[derive(Debug)]
#[non_exhaustive]
pub struct Established {
    /// What carries the bytes.
    pub stream: Stream,
    /// Where they come from.
    pub remote: Remote,
    /// Who has proven to be there; nobody on transports without keys.
    pub peer: Option<Box<Peer>>,
    /// This side's address as text, where the stream itself cannot tell it.
    pub local: Option<Box<str>>,
}

/// What carries the bytes of an accepted connection.
#[non_exhaustive]
pub enum Stream {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    /// Anything else: TLS, memory, streams of other layers.
    Other(BoxIo),
}

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remote {
    /// From an address; an IPv4 address is never shown as IPv6.
    Address(SocketAddr),
    /// From something that has a name of its own, such as `unix:///run/app.sock@7`.
    Named(Box<str>),
}

impl Remote {
    /// An address; one of IPv4 in the form of IPv6 is taken for what it is.
    pub fn address(address: SocketAddr) -> Self {
        Self::Address(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    fn read(text: String) -> Self {
        match text.strip_prefix("tcp://").map(str::parse) {
            Some(Ok(address)) => Self::address(address),
            _ => Self::Named(text.into()),
        }
    }

    /// The address, if it has one.
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Named(_) => None,
        }
    }

    /// The host alone, without a port and without brackets; a name as it is.
    pub fn host(&self) -> String {
        match self {
            Self::Address(address) => address.ip().to_string(),
            Self::Named(name) => name.to_string(),
        }
    }
}

/// As it stands in logs and in message headers: `tcp://127.0.0.1:59705`.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => f.write_str(&tcp::text(*address)),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl Stream {
    /// Any of them as bytes both ways.
    pub fn into_io(self) -> BoxIo {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Box::new(stream),
            Self::Other(io) => io,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            #[cfg(unix)]
            Self::Unix(_) => "Unix",
            Self::Other(_) => "Other",
        })
    }
}

impl Established {
    /// Puts one together, for transports made elsewhere and for tests.
    pub fn new(stream: Stream, remote: Remote) -> Self {
        Self {
            stream,
            remote,
            peer: None,
            local: None,
        }
    }

    /// Who is at the other end, as far as it has proven itself.
    pub fn peer(&self) -> Peer {
        match &self.peer {
            Some(peer) => (**peer).clone(),
            None => Peer::unauthenticated(self.remote.to_string()),
        }
    }

    /// This side's address, such as `tcp://127.0.0.1:59705`.
    ///
    /// # Errors
    ///
    /// What the system says about its own socket.
    pub fn local_addr(&self) -> io::Result<String> {
        match (&self.local, &self.stream) {
            (None, Stream::Tcp(stream)) => stream.local_addr().map(tcp::text),
            (local, _) => Ok(local.as_deref().unwrap_or_default().to_owned()),
        }
    }

    /// The same with its socket hidden.
    ///
    /// # Errors
    ///
    /// As [`local_addr`](Self::local_addr).
    pub fn into_connection(self) -> io::Result<Connection> {
        let (peer, local) = (self.peer(), self.local_addr()?);
        let remote = self.remote.to_string();
        Ok(Connection::new(self.stream.into_io(), peer, local, remote))
    }
}

impl From<Connection> for Established {
    fn from(connection: Connection) -> Self {
        Self {
            remote: Remote::read(connection.remote),
            local: Some(connection.local.into()),
            stream: Stream::Other(connection.io),
            peer: Some(Box::new(connection.peer)),
        }
    }
}
