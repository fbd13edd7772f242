//! Settings of a client.

use std::{sync::Arc, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};
use towline_identity::{Identity, Peer, Trust};
use towline_transport::{ConnectOptions, Connection, Endpoint, PskLayer, Records, SharedUdp};

use super::{Client, InFlight};
use crate::{
    error::ConnectError,
    proto::{Compression, Limits},
};

/// Settings of a client's connection.
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    identity: Option<Arc<Identity>>,
    trust: Trust,
    connect_timeout: Duration,
    pub(super) compression: Compression,
    pub(super) limits: Limits,
    pub(crate) call_timeout: Option<Duration>,
    pub(super) close_grace: Duration,
    pub(super) net_rpc_pipelining: bool,
    pub(super) seed: Option<[u8; 32]>,
    pub(super) in_flight: Option<InFlight>,
    shared_udp: Option<SharedUdp>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            identity: None,
            trust: Trust::default(),
            connect_timeout: Duration::from_secs(10),
            compression: Compression::default(),
            limits: Limits::default(),
            call_timeout: Some(Duration::from_secs(10)),
            close_grace: Duration::from_secs(2),
            net_rpc_pipelining: false,
            seed: None,
            in_flight: None,
            shared_udp: None,
        }
    }
}

impl ClientBuilder {
    /// Our own key and certificate, and the authority we trust. Needed for `tls://`.
    #[must_use]
    pub fn identity(mut self, identity: Arc<Identity>) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Whom we trust, on `tls://`. Default: every server of our authority. `Trust::keys` dials by
    /// public key.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// How messages are compressed. Default: S2 (docs/wire F14). The server answers in kind.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Limits and timers of the connection.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Time from the first look-up of the name to the end of the handshake. Default: 10 s.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Dials from this UDP port on `quic://`, which a server of this process may listen on
    /// ([`ListenConfig::shared_udp`](crate::server::ListenConfig::shared_udp)). Default: a port of its own.
    #[must_use]
    pub fn shared_udp(mut self, port: &SharedUdp) -> Self {
        self.shared_udp = Some(port.clone());
        self
    }

    /// How long a call waits for its reply unless it says otherwise. Default: 10 s, as the
    /// original; `None` waits for ever.
    #[must_use]
    pub const fn call_timeout(mut self, limit: Option<Duration>) -> Self {
        self.call_timeout = limit;
        self
    }

    /// Whether net/rpc calls may overlap. Default: false, as a server of the original gives overlapping
    /// calls each other's answers (docs/wire X16). A server of towline serves them side by side.
    #[must_use]
    pub const fn net_rpc_pipelining(mut self, pipelining: bool) -> Self {
        self.net_rpc_pipelining = pipelining;
        self
    }

    /// How long [`Client::close`], or a client whose last handle was dropped, may take to write what is queued. Default: 2 s.
    #[must_use]
    pub const fn close_grace(mut self, limit: Duration) -> Self {
        self.close_grace = limit;
        self
    }

    /// How many calls the connection has in flight at once. Default: no limit; the server has one of its own, 1,024 running and
    /// 1,024 waiting if it is towline.
    #[must_use]
    pub const fn in_flight(mut self, limit: InFlight) -> Self {
        self.in_flight = Some(limit);
        self
    }

    /// What all random choices of the connection follow from: its CallIDs. Default: the system's random numbers. For
    /// tests and simulations, which then are the same at every run.
    #[must_use]
    pub const fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Connects to an endpoint such as `tls://host:8443` or `unix:///run/app.sock`. On `tls://` the
    /// server's key has been verified when this returns; whether the server accepts *our* key is
    /// learnt with its first answer (docs/wire I24).
    ///
    /// # Errors
    ///
    /// [`ConnectError`] names the endpoint and what failed on the way to it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves no connection behind.
    pub async fn connect(&self, endpoint: &str) -> Result<Client, ConnectError> {
        let endpoint: Endpoint = endpoint.parse()?;
        self.connect_endpoint(&endpoint).await
    }

    /// As [`connect`](Self::connect), with an endpoint that is parsed already.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_endpoint(&self, endpoint: &Endpoint) -> Result<Client, ConnectError> {
        Ok(self.over(self.dial_endpoint(endpoint).await?))
    }

    /// A connection on which nothing was said yet.
    pub(crate) async fn dial(&self, endpoint: &str) -> Result<Connection, ConnectError> {
        self.dial_endpoint(&endpoint.parse()?).await
    }

    async fn dial_endpoint(&self, endpoint: &Endpoint) -> Result<Connection, ConnectError> {
        let mut options = ConnectOptions::default()
            .trust(self.trust.clone())
            .connect_timeout(self.connect_timeout)
            .dead_peer(self.limits.dead_peer)
            .records(Records::Messages);
        if let Some(identity) = &self.identity {
            options = options.identity(Arc::clone(identity));
        }
        if let Some(port) = &self.shared_udp {
            options = options.shared_udp(port);
        }
        Ok(towline_transport::connect(endpoint, &options).await?)
    }

    /// Speaks the protocol over a connection that is there already: a [`Connection`], or what becomes one, as a stream of
    /// a multiplexed session. Peer and addresses are its own. Must be called within a tokio runtime.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio_util::sync::CancellationToken;
    /// use towline_mux::yamux;
    /// use towline_rpc::{Client, Context, Message, Server};
    ///
    /// let (here, there) = tokio::io::duplex(64 << 10);
    /// let server = Server::builder()
    ///     .call("echo", |_: Context, request: Message| async move {
    ///         Ok::<_, std::convert::Infallible>(Message::from_body(request.body))
    ///     })
    ///     .build();
    /// let session = yamux::server(there, yamux::Config::default())?;
    /// tokio::spawn(async move { server.serve_session(&session, CancellationToken::new()).await });
    ///
    /// let session = yamux::client(here, yamux::Config::default())?;
    /// let client = Client::builder().over(session.open().await?);
    /// assert_eq!(client.call(Message::request("echo", "hi")).await?.body, "hi");
    /// # Ok(())
    /// # }
    /// ```
    pub fn over(&self, connection: impl Into<Connection>) -> Client {
        let Connection {
            io,
            peer,
            local,
            remote,
            ..
        } = connection.into();
        Client::start(self, io, peer, &local, &remote)
    }

    /// As [`over`](Self::over), with the pre-shared-key layer on top, which `layer` describes but for its records: they
    /// hold messages. For [`from_io`](Self::from_io), make a [`Connection`] of its arguments.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] of the layer's handshake, which names the other end by its address.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves no connection behind.
    pub async fn over_psk(
        &self,
        connection: impl Into<Connection>,
        layer: &PskLayer,
    ) -> Result<Client, ConnectError> {
        let layer = layer.clone().records(Records::Messages);
        Ok(self.over(layer.dial(connection).await?))
    }

    /// Speaks the protocol over any byte stream that is connected already: `local` and `remote` are
    /// what the two ends are called in headers. Must be called within a tokio runtime.
    pub fn from_io<IO>(&self, io: IO, peer: Peer, local: &str, remote: &str) -> Client
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Client::start(self, io, peer, local, remote)
    }
}
