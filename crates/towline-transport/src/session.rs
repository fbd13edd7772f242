//! Many streams on one connection: those of QUIC, or the multiplexer that an endpoint names, on the connection beneath.

use std::sync::Arc;

use towline_identity::Peer;
use towline_mux::native::NativeSession;
use towline_mux::{Role, Session, Transport, muxado, yamux};

use crate::connect::{ConnectError, ConnectOptions, connect, connect_quic_session};
use crate::connection::Connection;
use crate::endpoint::{Endpoint, Multiplexer};

impl Connection {
    /// The connection as what a session of towline-mux runs on, with its addresses. A socket comes apart
    /// into halves that know of each other and need no lock between them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use towline_mux::yamux;
    /// use towline_transport::{ConnectOptions, ListenOptions, Listener, connect};
    ///
    /// let endpoint = "mem://mux".parse()?;
    /// let _listener = Listener::bind(&endpoint, &ListenOptions::new()).await?;
    /// let connection = connect(&endpoint, &ConnectOptions::new()).await?;
    /// let session = yamux::client(connection.into_transport(), yamux::Config::default())?;
    /// assert_eq!(session.peer_addr(), "mem://mux");
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_transport(self) -> Transport {
        self.io
            .into_transport()
            .addresses(self.local, self.remote)
            .with_extension(self.peer)
    }

    /// A session on the connection, with default settings; for others see
    /// [`into_transport`](Self::into_transport). Must be called within a tokio runtime.
    pub fn into_session(self, multiplexer: Multiplexer, role: Role) -> Session {
        let transport = self.into_transport();
        let started = match (multiplexer, role) {
            (Multiplexer::Yamux, Role::Client) => yamux::client(transport, <_>::default()),
            (Multiplexer::Yamux, Role::Server) => yamux::server(transport, <_>::default()),
            (Multiplexer::Muxado, Role::Client) => muxado::client(transport, <_>::default()),
            (Multiplexer::Muxado, Role::Server) => muxado::server(transport, <_>::default()),
        };
        // Only settings that contradict each other are refused; the defaults are tested not to.
        started.expect("default settings are valid")
    }
}

/// One stream of a session as a connection of its own. Its addresses are those of the connection beneath, and so is its
/// peer: whoever has proven itself there speaks on every stream. Of a session that was not made of a [`Connection`] the
/// peer is unauthenticated.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use towline_mux::{Transport, yamux};
/// use towline_transport::Connection;
///
/// # let (io, _other_end) = tokio::io::duplex(1024);
/// let transport = Transport::from(io).addresses("mem://a", "mem://b");
/// let session = yamux::client(transport, yamux::Config::default())?;
/// let connection = Connection::from(session.open().await?);
/// assert_eq!(connection.peer().address(), "mem://b");
/// # Ok(())
/// # }
/// ```
impl From<towline_mux::Stream> for Connection {
    fn from(stream: towline_mux::Stream) -> Self {
        let session = stream.session();
        let (local, remote) = (
            session.local_addr().to_owned(),
            session.peer_addr().to_owned(),
        );
        let peer = match session.extension::<Peer>() {
            Some(peer) => peer.clone(),
            None => Peer::unauthenticated(remote.clone()),
        };
        Self::new(Box::new(stream), peer, local, remote)
    }
}

/// Connects to an endpoint that names a multiplexer, and starts the client's end of a session there, with
/// default settings. At the other end, put [`Connection::into_session`] on what a listener of the
/// [transport beneath](Endpoint::with_multiplexer) accepts.
///
/// `quic://` needs no multiplexer, as its connections have streams: the other end is
/// [`Incoming::session`](crate::Incoming::session), or any listener, to which each stream is a connection of its own.
/// A peer sees a stream with its first byte, so the side that opens speaks first.
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use towline_mux::Role;
/// use towline_transport::{
///     ConnectOptions, Endpoint, ListenOptions, Listener, Multiplexer, connect_session,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint: Endpoint = "yamux+mem://many".parse()?;
/// let beneath = endpoint.clone().with_multiplexer(None);
/// let listener = Listener::bind(&beneath, &ListenOptions::new()).await?;
/// let server = async {
///     let connection = listener.accept().await?.handshake().await?;
///     let session = connection.into_session(Multiplexer::Yamux, Role::Server);
///     let mut stream = session.accept().await?.ok_or("the client left")?;
///     stream.write_all(b"hello").await?;
///     stream.shutdown().await?;
///     session.close().await?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// };
/// let client = async {
///     let session = connect_session(&endpoint, &ConnectOptions::new()).await?;
///     let mut text = String::new();
///     session.open_eager().await?.read_to_string(&mut text).await?;
///     Ok::<_, Box<dyn std::error::Error>>(text)
/// };
/// let (served, text) = tokio::join!(server, client);
/// served?;
/// assert_eq!(text?, "hello");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`ConnectError`]; [`ConnectError::NotMultiplexed`] for an endpoint that names no multiplexer and has no streams.
///
/// # Cancel safety
///
/// Dropping the future closes what was opened; nothing else remains.
pub async fn connect_session(
    endpoint: &Endpoint,
    options: &ConnectOptions,
) -> Result<Session, ConnectError> {
    let Some(multiplexer) = endpoint.multiplexer() else {
        return connect_quic_session(endpoint, options).await;
    };
    let beneath = endpoint.clone().with_multiplexer(None);
    let connection = connect(&beneath, options).await?;
    Ok(connection.into_session(multiplexer, Role::Client))
}

/// A session of a transport that has streams, with its addresses and its peer.
pub(crate) fn native_session(
    session: impl NativeSession,
    role: Role,
    peer: Peer,
    (local, remote): (String, String),
) -> Session {
    Session::over_native(session, role, local, remote, Some(Arc::new(peer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_settings_are_valid() {
        assert!(yamux::Config::default().validate().is_ok());
        assert!(muxado::Config::default().validate().is_ok());
    }

    #[tokio::test]
    async fn one_stream_of_bytes_is_no_session() {
        let endpoint: Endpoint = "tcp://127.0.0.1:1".parse().expect("an endpoint");
        let error = connect_session(&endpoint, &ConnectOptions::new())
            .await
            .expect_err("no session");
        assert!(matches!(error, ConnectError::NotMultiplexed { .. }));
    }
}
