//! Listening: sockets that hand out connections one by one, handshakes not yet done.

mod bind;
mod error;
mod incoming;
mod sealing;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use towline_identity::{Authorisation, LiveIdentity, Trust};

use self::bind::{bind_error, bind_first, bind_tcp, bind_udp, handshakes, server_tls};
use self::incoming::Raw;
use crate::endpoint::{Address, Endpoint};
use crate::established::Remote;
use crate::psk::{PskLayer, Records};
use crate::quic::SharedUdp;
use crate::server_tls::{Handshakes, ServerTls};
use crate::tls::Allowance;
use crate::tls_config::TlsConfig;
use crate::{mem, quic, swp, tcp};

pub use self::error::{AcceptError, ListenError};
pub use self::incoming::Incoming;

/// How long a broker may take until a listener's subject is heard on.
#[cfg(feature = "nats")]
const BROKER_LIMIT: Duration = Duration::from_secs(10);

/// How to listen. The default has no identity and gives a handshake 20 seconds, as the original does.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    identity: Option<LiveIdentity>,
    trust: Trust,
    authorisation: Authorisation,
    tls_config: Option<TlsConfig>,
    handshake_timeout: Duration,
    dead_peer: Option<Duration>,
    tls_read_buffer: usize,
    sharing: tcp::Sharing,
    records: Records,
    shared_udp: Option<SharedUdp>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            identity: None,
            trust: Trust::default(),
            authorisation: Authorisation::default(),
            tls_config: None,
            handshake_timeout: Duration::from_secs(20),
            dead_peer: None,
            tls_read_buffer: 16 * 1024,
            sharing: tcp::Sharing::default(),
            records: Records::default(),
            shared_udp: None,
        }
    }
}

impl ListenOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What this side proves itself with, and by which it judges clients; `tls` needs one. With a
    /// [`LiveIdentity`] it can be exchanged while the listener runs.
    pub fn identity(mut self, identity: impl Into<LiveIdentity>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Whom this side trusts, on `tls`: by default everybody to whom the identity's authority has
    /// given a certificate.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Who of those it trusts may connect, on every transport: by default all of them. A client that
    /// is refused hears so inside its handshake, or on transports without one is hung up on
    /// (docs/wire I45).
    pub fn authorise(mut self, authorisation: Authorisation) -> Self {
        self.authorisation = authorisation;
        self
    }

    /// Whether `[::]` takes IPv6 alone, on `tcp`, `connect+tcp` and `tls`; IPv4 as well unless told otherwise (docs/wire
    /// L28).
    pub fn ipv6_only(mut self, only: bool) -> Self {
        self.sharing.ipv6_only = only;
        self
    }

    /// Whether several listeners may be bound to one port, on `tcp`, `connect+tcp` and `tls`; none unless told otherwise.
    /// The system spreads connections over them, so that a server can be given several listeners and
    /// accept with all of them at once. Any program of the same user can then join in. Where the system
    /// has nothing of the kind, binding fails.
    pub fn reuse_port(mut self, share: bool) -> Self {
        self.sharing.reuse_port = share;
        self
    }

    /// How long a client may take for its handshake: 20 seconds unless told otherwise. Less turns
    /// away clients on slow links, more lets silent ones hold their place longer.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Shakes hands by this configuration instead of an identity, on `tls`, `tls+udp` and `tls+nats`: for
    /// clients that have no keys of towline's. Trust has no say then; whom the configuration lets in is
    /// judged by [`authorise`](Self::authorise) when the handshake is done.
    pub fn tls_config(mut self, config: impl Into<TlsConfig>) -> Self {
        self.tls_config = Some(config.into());
        self
    }

    /// How many bytes a TLS connection reads ahead of what it decrypts: 16 KiB unless told otherwise, a
    /// record. It is the larger part of what an idle connection costs; with 128 KiB a file comes in with a
    /// fifth of the system calls. A buffer of 0 reads 4 KiB at a time.
    pub fn tls_read_buffer(mut self, bytes: usize) -> Self {
        self.tls_read_buffer = bytes;
        self
    }

    /// After how long a peer that is silent counts as gone: never unless told otherwise, but for what the system and QUIC
    /// do by themselves (docs/wire K6). On `tcp`, `connect+tcp` and `tls` the system asks a silent peer three times within
    /// this time, and on Linux a peer that takes nothing of what was sent for so long is gone as well, even if it is only
    /// slow. On `quic` a peer from which no packet comes is gone, within 30 s in any case. At least 3 s are of use.
    pub fn dead_peer(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.dead_peer = limit.into();
        self
    }

    /// What the records of the pre-shared-key layer hold, where the endpoint asks for it. The default
    /// is bytes.
    pub fn records(mut self, records: Records) -> Self {
        self.records = records;
        self
    }

    /// Uses this UDP port, on `quic`, beside the process's clients. The endpoint
    /// names the same address, or port 0. Default: a port of its own.
    pub fn shared_udp(mut self, port: &SharedUdp) -> Self {
        self.shared_udp = Some(port.clone());
        self
    }
}

/// A bound endpoint.
///
/// Dropping it closes it; the file of a Unix socket is removed. Connections already accepted live on.
pub struct Listener {
    socket: Socket,
    local: Endpoint,
    authorisation: Authorisation,
    allowance: Allowance,
    dead_peer: Option<Duration>,
    sealing: Option<Arc<PskLayer>>,
}

/// A socket that somebody else has bound.
pub(crate) enum Bound {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

enum Socket {
    Tcp(TcpListener),
    HttpConnect(TcpListener),
    Tls(TcpListener, Handshakes),
    #[cfg(unix)]
    Unix(crate::unix::Listener),
    Mem(mem::Listener),
    Session(swp::Listener, Option<Handshakes>),
    Quic(quic::Listener, ServerTls),
}

impl Listener {
    /// Binds an endpoint and listens. Port 0 asks for a free port, which
    /// [`local_endpoint`](Self::local_endpoint) tells; `[::]` accepts IPv4 as well; of a name with
    /// several addresses the first that can be bound is used. The queue of clients that wait to be
    /// accepted is as long as the system allows.
    ///
    /// A Unix socket gets mode 0600; a socket file that nobody listens on is replaced.
    ///
    /// # Errors
    ///
    /// [`ListenError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing bound.
    pub async fn bind(endpoint: &Endpoint, options: &ListenOptions) -> Result<Self, ListenError> {
        Self::with_socket(endpoint, options, None).await
    }

    /// As [`bind`](Self::bind), on a socket that is bound already if there is one: of TCP or Unix, as the
    /// endpoint says.
    pub(crate) async fn with_socket(
        endpoint: &Endpoint,
        options: &ListenOptions,
        bound: Option<Bound>,
    ) -> Result<Self, ListenError> {
        let endpoint = endpoint.without_fragment();
        if endpoint.multiplexer().is_some() {
            return Err(ListenError::Multiplexed {
                endpoint: endpoint.to_string(),
            });
        }
        let sealing = match endpoint.psk() {
            Some(file) => Some(Arc::new(sealing::layer(&endpoint, file, options).await?)),
            None => None,
        };
        let (socket, local) = match &endpoint.address {
            Address::Tcp { host, port } => {
                let (listener, port) = match bound {
                    Some(Bound::Tcp(bound)) => (bound, *port),
                    _ => bind_tcp(&endpoint, host, *port, options.sharing).await?,
                };
                (Socket::Tcp(listener), endpoint.clone().with_port(port))
            }
            Address::HttpConnect { host, port } => {
                let (listener, port) = match bound {
                    Some(Bound::Tcp(bound)) => (bound, *port),
                    _ => bind_tcp(&endpoint, host, *port, options.sharing).await?,
                };
                (
                    Socket::HttpConnect(listener),
                    endpoint.clone().with_port(port),
                )
            }
            Address::Tls { host, port, cipher } => {
                let settings = handshakes(&endpoint, *cipher, options)?;
                let (listener, port) = match bound {
                    Some(Bound::Tcp(bound)) => (bound, *port),
                    _ => bind_tcp(&endpoint, host, *port, options.sharing).await?,
                };
                (
                    Socket::Tls(listener, settings),
                    endpoint.clone().with_port(port),
                )
            }
            #[cfg(unix)]
            Address::Unix { path } => {
                let listener = match bound {
                    Some(Bound::Unix(bound)) => crate::unix::Listener::adopt(bound, path),
                    _ => crate::unix::Listener::bind(path)
                        .map_err(|error| bind_error(&endpoint, error))?,
                };
                (Socket::Unix(listener), endpoint)
            }
            #[cfg(not(unix))]
            Address::Unix { .. } => {
                return Err(ListenError::Unsupported {
                    endpoint: endpoint.to_string(),
                });
            }
            Address::Mem { name } => {
                let listener =
                    mem::Listener::bind(name).map_err(|error| bind_error(&endpoint, error))?;
                (Socket::Mem(listener), endpoint)
            }
            Address::Udp { host, port, tls } => {
                let tls = tls
                    .map(|cipher| handshakes(&endpoint, cipher, options))
                    .transpose()?;
                let (listener, port) = bind_udp(&endpoint, host, *port).await?;
                (
                    Socket::Session(listener, tls),
                    endpoint.clone().with_port(port),
                )
            }
            Address::Quic { host, port, cipher } => {
                let settings = server_tls(&endpoint, *cipher, options)?;
                let closing_is_end = options.records == Records::Messages;
                let acceptor = settings.acceptor();
                let (shared, dead_peer) = (options.shared_udp.as_ref(), options.dead_peer);
                let bind = async |address| {
                    quic::Listener::bind(address, &acceptor, closing_is_end, shared, dead_peer)
                };
                let listener = bind_first(&endpoint, host, *port, bind).await?;
                let port = listener
                    .local_addr()
                    .map_err(|error| bind_error(&endpoint, error))?
                    .port();
                (
                    Socket::Quic(listener, settings),
                    endpoint.clone().with_port(port),
                )
            }
            #[cfg(feature = "nats")]
            Address::Nats(nats) => {
                let tls = nats
                    .tls
                    .map(|cipher| handshakes(&endpoint, cipher, options))
                    .transpose()?;
                let listener = swp::Listener::bind_nats(nats, BROKER_LIMIT)
                    .await
                    .map_err(|error| bind_error(&endpoint, error))?;
                (Socket::Session(listener, tls), endpoint)
            }
            #[cfg(not(feature = "nats"))]
            Address::Nats(_) => {
                let error = io::ErrorKind::Unsupported.into();
                return Err(bind_error(&endpoint, error));
            }
        };
        Ok(Self {
            socket,
            local,
            authorisation: options.authorisation.clone(),
            allowance: Allowance {
                time: options.handshake_timeout,
                read_buffer: options.tls_read_buffer,
            },
            dead_peer: options.dead_peer,
            sealing,
        })
    }

    /// Where this listens, with the real port.
    pub fn local_endpoint(&self) -> &Endpoint {
        &self.local
    }

    /// Waits for the next client and returns its raw connection; nothing was read from it yet.
    ///
    /// # Errors
    ///
    /// What the system says. Most of it passes: a client that is gone already, or too many open files
    /// for the moment. Wait a little and go on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a client is either returned or still waiting.
    pub async fn accept(&self) -> io::Result<Incoming> {
        let (raw, remote) = match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                (Raw::Tcp(stream), Remote::address(address))
            }
            Socket::HttpConnect(listener) => {
                let (stream, address) = listener.accept().await?;
                (Raw::HttpConnect(stream), Remote::address(address))
            }
            Socket::Tls(listener, settings) => {
                let (stream, address) = listener.accept().await?;
                (
                    Raw::Tls(stream, settings.shaker()),
                    Remote::address(address),
                )
            }
            #[cfg(unix)]
            Socket::Unix(listener) => {
                let (stream, remote) = listener.accept().await?;
                (
                    Raw::Unix(stream, listener.address()),
                    Remote::Named(remote.into()),
                )
            }
            Socket::Mem(listener) => {
                let pipe = listener.accept().await?;
                (
                    Raw::Mem(pipe.io, self.local.to_string()),
                    Remote::Named(pipe.remote.into()),
                )
            }
            Socket::Quic(listener, settings) => match listener.accept().await? {
                quic::Found::Connection(unopened, remote) => (
                    Raw::Quic(unopened, settings.acceptor(), self.local_udp(listener)),
                    Remote::Named(remote.into()),
                ),
                quic::Found::Stream(opened) => {
                    let remote = Remote::Named(opened.remote.clone().into());
                    (Raw::QuicStream(opened, self.local_udp(listener)), remote)
                }
            },
            Socket::Session(listener, settings) => {
                let opened = listener.accept().await?;
                let shaker = settings.as_ref().map(Handshakes::shaker);
                (
                    Raw::Session(opened.io, shaker, opened.local),
                    Remote::Named(opened.remote.into()),
                )
            }
        };
        Ok(Incoming {
            raw,
            remote,
            authorisation: self.authorisation.clone(),
            allowance: self.allowance,
            dead_peer: self.dead_peer,
            sealing: self.sealing.clone(),
        })
    }
}

impl Listener {
    /// This side's address in the form that QUIC connections have.
    fn local_udp(&self, listener: &quic::Listener) -> String {
        match listener.local_addr() {
            Ok(address) => quic::text(address),
            Err(_) => self.local.to_string(),
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
