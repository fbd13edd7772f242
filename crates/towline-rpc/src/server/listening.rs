//! Serving every connection that comes to an endpoint.

use std::time::Duration;

use towline_identity::{Authorisation, LiveIdentity, Trust};
use towline_server::{Counters, Drained, Outcome, ServerHandle, SocketStream, TaskPerConnection};
use towline_transport::{
    Endpoint, ListenOptions, Listener, ParseEndpointError, Records, SharedUdp,
};

use super::Server;
use crate::close::CloseReason;

/// What is read ahead of a TLS client's records: parts of files are large.
const TLS_READ_BUFFER: usize = 64 * 1024;

/// How a server listens. The defaults suit a machine that serves thousands of peers.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    transport: ListenOptions,
    server: towline_server::Builder,
    inherited: bool,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            transport: ListenOptions::new().tls_read_buffer(TLS_READ_BUFFER),
            server: towline_server::Builder::default(),
            inherited: false,
        }
    }
}

impl ListenConfig {
    /// The defaults: no identity, at most 10,240 connections, 20 s for a handshake.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that [`towline_server::Builder`] can be told: limits for addresses and rates, networks, PROXY
    /// headers, time limits, metrics. It takes the place of what was set before.
    #[must_use]
    pub fn server(mut self, settings: towline_server::Builder) -> Self {
        self.server = settings;
        self
    }

    /// How many bytes a TLS connection reads ahead of what it decrypts: 64 KiB unless told otherwise.
    #[must_use]
    pub fn tls_read_buffer(mut self, bytes: usize) -> Self {
        self.transport = self.transport.tls_read_buffer(bytes);
        self
    }

    /// Our own key and certificate, and the authority whose clients we admit. Needed for `tls://`.
    /// With a [`LiveIdentity`] they can be exchanged while the server runs.
    #[must_use]
    pub fn identity(mut self, identity: impl Into<LiveIdentity>) -> Self {
        self.transport = self.transport.identity(identity);
        self
    }

    /// Whom we trust, on `tls://`. Default: every client of our authority.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.transport = self.transport.trust(trust);
        self
    }

    /// Who of those we trust may connect, on every transport. Default: all of them. A client that is
    /// refused hears so within its handshake (docs/wire I45).
    #[must_use]
    pub fn authorise(mut self, authorisation: Authorisation) -> Self {
        self.transport = self.transport.authorise(authorisation);
        self
    }

    /// How long a client may take for its handshake. Default: 20 s, as the original.
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.transport = self.transport.handshake_timeout(limit);
        self
    }

    /// Listens on this UDP port on `quic://`, which clients of this process dial from
    /// ([`ClientBuilder::shared_udp`](crate::client::ClientBuilder::shared_udp)); the endpoint names the same address, or port 0.
    /// Default: a port of its own.
    #[must_use]
    pub fn shared_udp(mut self, port: &SharedUdp) -> Self {
        self.transport = self.transport.shared_udp(port);
        self
    }

    /// Whether to serve on the sockets that this process was started with, as by systemd's socket activation,
    /// instead of binding one. The endpoint then says what is spoken on them ([`Listener::inherited`]). At most
    /// one server of a process may do so.
    #[must_use]
    pub const fn inherited(mut self, inherited: bool) -> Self {
        self.inherited = inherited;
        self
    }

    /// Connections that may live at once. Default: 10,240; one more is closed at once. Each costs a
    /// file descriptor and its buffers.
    #[must_use]
    pub fn max_connections(mut self, most: usize) -> Self {
        self.server = self.server.max_connections(most);
        self
    }
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The text is not an endpoint this build can listen on.
    #[error(transparent)]
    Endpoint(#[from] ParseEndpointError),
    /// The transport cannot listen there.
    #[error(transparent)]
    Transport(#[from] towline_transport::ListenError),
    /// Inherited sockets were asked for ([`ListenConfig::inherited`]).
    #[error(
        "no socket for {0} was inherited: have the supervisor pass one (LISTEN_FDS and LISTEN_PID), or listen on an \
         address"
    )]
    NothingInherited(Box<Endpoint>),
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] towline_server::ConfigError),
}

/// A server that is listening. Dropping it cuts every connection off; see
/// [`shutdown`](Self::shutdown).
#[derive(Debug)]
pub struct Listening {
    server: towline_server::Server,
    endpoint: Endpoint,
}

impl Listening {
    /// Where it listens, with the port the system chose if port 0 was asked for; of several inherited sockets
    /// the first.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connections accepted, alive, refused.
    pub fn counters(&self) -> Counters {
        self.server.counters()
    }

    /// The server beneath: its sockets with their counters, its metrics, its settings while it runs.
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    /// Stops: accepts nobody new, starts no new call, waits for running handlers until `deadline`,
    /// then cuts off the rest.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts every connection off.
    pub async fn shutdown(self, deadline: Duration) -> Drained {
        self.server.shutdown(deadline).await
    }

    /// [`shutdown`](Self::shutdown) with the deadline of the server beneath, as it is by then
    /// (`towline_server::Builder::drain_deadline`; 10 s unless told otherwise).
    ///
    /// # Cancel safety
    ///
    /// As [`shutdown`](Self::shutdown).
    pub async fn drain(self) -> Drained {
        self.server.drain().await
    }
}

impl Server {
    /// Listens on an endpoint such as `tls://0.0.0.0:8443` (port 0 lets the system choose) and serves
    /// every connection in tasks of its own, until the returned handle is dropped or shut down.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use towline_rpc::{Client, Context, Message, Server, server::ListenConfig};
    ///
    /// let server = Server::builder()
    ///     .call("echo", |_: Context, request: Message| async move {
    ///         Ok::<_, std::convert::Infallible>(Message::from_body(request.body))
    ///     })
    ///     .build();
    /// let listening = server.listen("tcp://127.0.0.1:0", ListenConfig::new()).await?;
    /// let client = Client::builder().connect(&listening.endpoint().to_string()).await?;
    /// assert_eq!(client.call(Message::request("echo", "hi")).await?.body, "hi");
    /// client.close().await;
    /// listening.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ListenError`] names the endpoint and why it cannot be listened on.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it does not listen.
    pub async fn listen(
        &self,
        endpoint: &str,
        config: ListenConfig,
    ) -> Result<Listening, ListenError> {
        let endpoint: Endpoint = endpoint.parse()?;
        let transport = config
            .transport
            .dead_peer(self.shared.limits.dead_peer)
            .records(Records::Messages);
        let listeners = if config.inherited {
            Listener::inherited(&endpoint, &transport).await?
        } else {
            vec![Listener::bind(&endpoint, &transport).await?]
        };
        let Some(first) = listeners.first() else {
            return Err(ListenError::NothingInherited(Box::new(endpoint)));
        };
        let endpoint = first.local_endpoint().clone();
        let rpc = self.clone();
        let strategy =
            TaskPerConnection::new(move |stream: SocketStream| serve(rpc.clone(), stream));
        let server = config.server.start(listeners, strategy)?;
        Ok(Listening { server, endpoint })
    }
}

/// Serves one connection to its end.
async fn serve(rpc: Server, stream: SocketStream) -> Outcome {
    let peer = stream.peer();
    let remote = stream.remote().to_string();
    let local = match stream.local_addr() {
        Ok(local) => local,
        Err(error) => {
            return Outcome::Failed(format!("the connection from {remote} failed: {error}"));
        }
    };
    let stopping = stream.stopping_token();
    tracing::debug!(%peer, "connected");
    match rpc
        .serve_io(stream, peer.clone(), &local, &remote, stopping)
        .await
    {
        reason @ (CloseReason::ClosedByPeer | CloseReason::ClosedHere) => {
            tracing::debug!(%peer, %reason, "disconnected");
            Outcome::Done
        }
        reason => Outcome::Failed(format!(
            "a connection ended badly: that of {peer}: {reason}"
        )),
    }
}
