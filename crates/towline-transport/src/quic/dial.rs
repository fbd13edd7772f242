//! The dialling side.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use towline_identity::Peer;
use towline_identity::tls::{self, Connector, SERVER_NAME};

use super::error::io_error;
use super::{QuicSession, SharedUdp, Stream, Windows, endpoint, text, transport};
use crate::tls::{HandshakeError, admit, begin};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// The socket, or the way to the host.
    Dial(io::Error),
    Handshake(HandshakeError),
}

/// What was dialled, the peer, and the two addresses.
pub(crate) struct Dialled<T> {
    pub(crate) io: T,
    pub(crate) peer: Peer,
    pub(crate) local: String,
    pub(crate) remote: String,
}

/// A connection whose handshake is over.
pub(crate) type Connected = Dialled<quinn::Connection>;

impl Connected {
    /// Opens the one stream. It becomes visible at the other end with the first byte that is written.
    pub(crate) async fn into_stream(
        self,
        closing_is_end: bool,
    ) -> Result<Dialled<Stream>, HandshakeError> {
        let opened = self.io.open_bi().await;
        let streams = opened.map_err(|error| HandshakeError::Io(io_error(error)))?;
        Ok(self.map(|connection| Stream::new(connection, streams, closing_is_end)))
    }

    /// For any number of streams.
    pub(crate) fn into_session(self) -> Dialled<QuicSession> {
        self.map(QuicSession::start)
    }
}

impl<T> Dialled<T> {
    fn map<U>(self, with: impl FnOnce(T) -> U) -> Dialled<U> {
        Dialled {
            io: with(self.io),
            peer: self.peer,
            local: self.local,
            remote: self.remote,
        }
    }
}

/// Connects to one address.
pub(crate) async fn dial(
    address: SocketAddr,
    connector: Connector,
    windows: Windows,
    shared: Option<&SharedUdp>,
    dead_peer: Option<Duration>,
) -> Result<Dialled<quinn::Connection>, DialError> {
    let endpoint = match shared {
        Some(shared) => shared.endpoint.clone(),
        None => endpoint(SocketAddr::new(any(address), 0), None).map_err(DialError::Dial)?,
    };
    let remote = text(address);
    let local = local(address, &endpoint).map_err(DialError::Dial)?;
    let (config, attempt) = begin(connector.reads_files(), &remote, move |remote| {
        connector.begin(remote)
    })
    .await
    .map_err(DialError::Handshake)?;
    let crypto = QuicClientConfig::with_initial(config, tls::quic_initial_suite())
        .map_err(|error| DialError::Dial(io::Error::other(error)))?;
    let mut client = quinn::ClientConfig::new(Arc::new(crypto));
    client.transport_config(transport(true, dead_peer, windows));
    let connecting = endpoint
        .connect_with(client, address, SERVER_NAME)
        .map_err(|error| DialError::Dial(io::Error::other(error)))?;
    let connection = connecting.await.map_err(|error| {
        DialError::Handshake(match attempt.refusal() {
            Some(refusal) => HandshakeError::Refused(refusal),
            None => HandshakeError::Io(io_error(error)),
        })
    })?;
    let peer = admit(attempt).await.map_err(DialError::Handshake)?;
    Ok(Dialled {
        io: connection,
        peer,
        local,
        remote,
    })
}

/// Every address of the same kind.
fn any(address: SocketAddr) -> IpAddr {
    match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The address that packets leave from: the system tells it of a connected socket only.
fn local(to: SocketAddr, endpoint: &quinn::Endpoint) -> io::Result<String> {
    let bound = endpoint.local_addr()?;
    if to.is_ipv6() && bound.is_ipv4() {
        let why = "the shared UDP port is of IPv4: bind it to [::]";
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why));
    }
    let from = match bound.ip() {
        ip if ip.is_unspecified() => any(to),
        ip => ip,
    };
    let probe = UdpSocket::bind(SocketAddr::new(from, 0))?;
    // Sends nothing.
    probe.connect(to)?;
    Ok(text(SocketAddr::new(
        probe.local_addr()?.ip(),
        bound.port(),
    )))
}
