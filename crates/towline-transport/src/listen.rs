//! Listening: sockets that hand out connections one by one, handshakes not yet done.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use towline_identity::tls::{Acceptor, Refusal, TlsConfigError, TlsProblem};
use towline_identity::{
    Authorisation, CipherSuite, LiveIdentity, LoadError, Peer, PreSharedKey, Trust, Verdict,
};
use towline_swp::ByteStream;

use crate::connection::{Connection, Io};
use crate::endpoint::{Address, Endpoint};
use crate::established::{Established, Remote, Stream};
use crate::psk::{self, Records};
use crate::server_tls::ServerTls;
use crate::{mem, quic, swp, tcp, tls};

/// How long a broker may take until a listener's subject is heard on.
#[cfg(feature = "nats")]
const BROKER_LIMIT: Duration = Duration::from_secs(10);

/// How to listen. The default has no identity and gives a handshake 20 seconds, as the original does.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    identity: Option<LiveIdentity>,
    trust: Trust,
    authorisation: Authorisation,
    handshake_timeout: Duration,
    sharing: tcp::Sharing,
    records: Records,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            identity: None,
            trust: Trust::default(),
            authorisation: Authorisation::default(),
            handshake_timeout: Duration::from_secs(20),
            sharing: tcp::Sharing::default(),
            records: Records::default(),
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

    /// Whether `[::]` takes IPv6 alone, on `tcp` and `tls`; IPv4 as well unless told otherwise (docs/wire
    /// L28).
    pub fn ipv6_only(mut self, only: bool) -> Self {
        self.sharing.ipv6_only = only;
        self
    }

    /// Whether several listeners may be bound to one port, on `tcp` and `tls`; none unless told otherwise.
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

    /// What the records of the pre-shared-key layer hold, where the endpoint asks for it. The default
    /// is bytes.
    pub fn records(mut self, records: Records) -> Self {
        self.records = records;
        self
    }
}

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
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Self::Closed { remote },
                _ => Self::Io {
                    remote,
                    source: error,
                },
            },
        }
    }
}

/// A bound endpoint.
///
/// Dropping it closes it; the file of a Unix socket is removed. Connections already accepted live on.
pub struct Listener {
    socket: Socket,
    local: Endpoint,
    authorisation: Authorisation,
    handshake_timeout: Duration,
    sealing: Option<Arc<Sealing>>,
}

/// What the pre-shared-key layer needs for each client.
struct Sealing {
    key: Arc<PreSharedKey>,
    identity: LiveIdentity,
    trust: Trust,
    authorisation: Authorisation,
    records: Records,
}

enum Socket {
    Tcp(TcpListener),
    Tls(TcpListener, ServerTls),
    #[cfg(unix)]
    Unix(crate::unix::Listener),
    Mem(mem::Listener),
    Session(swp::Listener, Option<ServerTls>),
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

    /// As [`bind`](Self::bind), on a TCP socket that is bound already if there is one.
    pub(crate) async fn with_socket(
        endpoint: &Endpoint,
        options: &ListenOptions,
        bound: Option<TcpListener>,
    ) -> Result<Self, ListenError> {
        let endpoint = endpoint.without_fragment();
        if endpoint.multiplexer().is_some() {
            return Err(ListenError::Multiplexed {
                endpoint: endpoint.to_string(),
            });
        }
        let sealing = match endpoint.psk() {
            Some(file) => Some(Arc::new(Sealing::new(&endpoint, file, options).await?)),
            None => None,
        };
        let (socket, local) = match &endpoint.address {
            Address::Tcp { host, port } => {
                let (listener, port) = match bound {
                    Some(bound) => (bound, *port),
                    None => bind_tcp(&endpoint, host, *port, options.sharing).await?,
                };
                (Socket::Tcp(listener), endpoint.clone().with_port(port))
            }
            Address::Tls { host, port, cipher } => {
                let settings = server_tls(&endpoint, *cipher, options)?;
                let (listener, port) = match bound {
                    Some(bound) => (bound, *port),
                    None => bind_tcp(&endpoint, host, *port, options.sharing).await?,
                };
                (
                    Socket::Tls(listener, settings),
                    endpoint.clone().with_port(port),
                )
            }
            #[cfg(unix)]
            Address::Unix { path } => {
                let listener = crate::unix::Listener::bind(path)
                    .map_err(|error| bind_error(&endpoint, error))?;
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
                    .map(|cipher| server_tls(&endpoint, cipher, options))
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
                let bind = |address| quic::Listener::bind(address, &acceptor, closing_is_end);
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
                    .map(|cipher| server_tls(&endpoint, cipher, options))
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
            handshake_timeout: options.handshake_timeout,
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
            Socket::Tls(listener, settings) => {
                let (stream, address) = listener.accept().await?;
                (
                    Raw::Tls(stream, settings.acceptor()),
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
                let acceptor = settings.as_ref().map(ServerTls::acceptor);
                (
                    Raw::Session(opened.io, acceptor, opened.local),
                    Remote::Named(opened.remote.into()),
                )
            }
        };
        Ok(Incoming {
            raw,
            remote,
            authorisation: self.authorisation.clone(),
            handshake_timeout: self.handshake_timeout,
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

impl Sealing {
    async fn new(
        endpoint: &Endpoint,
        file: &std::path::Path,
        options: &ListenOptions,
    ) -> Result<Self, ListenError> {
        let name = || endpoint.to_string();
        let identity = options
            .identity
            .clone()
            .ok_or_else(|| ListenError::MissingIdentity { endpoint: name() })?;
        let key = psk::load(file)
            .await
            .map_err(|source| ListenError::PreSharedKey {
                endpoint: name(),
                source,
            })?;
        Ok(Self {
            key,
            identity,
            trust: options.trust.clone(),
            authorisation: options.authorisation.clone(),
            records: options.records,
        })
    }

    /// Puts the layer on a connection whose other handshakes are done.
    async fn seal(&self, beneath: Connection, limit: Duration) -> Result<Connection, AcceptError> {
        let Connection {
            io,
            peer,
            local,
            remote,
        } = beneath;
        let settings = psk::Settings {
            key: Arc::clone(&self.key),
            identity: self.identity.current(),
            trust: &self.trust,
            authorisation: self.authorisation.clone(),
            records: self.records,
        };
        match timeout(limit, psk::serve(io, settings, &peer)).await {
            Ok(Ok((io, peer))) => Ok(Connection::new(Box::new(io), peer, local, remote)),
            Ok(Err(psk::Problem::Refused(refusal))) => {
                Err(AcceptError::NotAdmitted { remote, refusal })
            }
            Ok(Err(problem)) => {
                let why = problem.to_string();
                Err(AcceptError::Sealing { remote, why })
            }
            Err(_) => Err(AcceptError::TimedOut { remote, limit }),
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

/// A client that was accepted and has not shaken hands yet. Dropping it hangs up.
pub struct Incoming {
    raw: Raw,
    remote: Remote,
    authorisation: Authorisation,
    handshake_timeout: Duration,
    sealing: Option<Arc<Sealing>>,
}

enum Raw {
    Tcp(TcpStream),
    Tls(TcpStream, Arc<Acceptor>),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream, String),
    Mem(DuplexStream, String),
    Session(ByteStream, Option<Arc<Acceptor>>, String),
    Quic(Box<quic::Unopened>, Arc<Acceptor>, String),
    /// A further stream of a connection that has shaken hands.
    QuicStream(Box<quic::Opened>, String),
}

impl Incoming {
    /// Where it comes from, such as `tcp://127.0.0.1:59705`.
    pub const fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Says where it comes from, when something in front of this listener knows better. Whoever judges
    /// peers by their address judges this one.
    pub fn set_remote(&mut self, remote: Remote) {
        self.remote = remote;
    }

    /// The bytes below every handshake: what a proxy says before the client speaks is read from here.
    /// What is read is gone for the handshake. `None` where nothing is below: QUIC's bytes are part of
    /// its handshake.
    pub fn raw_mut(&mut self) -> Option<&mut dyn Io> {
        Some(match &mut self.raw {
            Raw::Tcp(stream) | Raw::Tls(stream, _) => stream,
            #[cfg(unix)]
            Raw::Unix(stream, _) => stream,
            Raw::Mem(stream, _) => stream,
            Raw::Session(stream, ..) => stream,
            Raw::Quic(..) | Raw::QuicStream(..) => return None,
        })
    }

    /// Whether [`establish`](Self::establish) waits for the client.
    pub const fn shakes_hands(&self) -> bool {
        matches!(
            self.raw,
            Raw::Tls(..) | Raw::Session(_, Some(_), _) | Raw::Quic(..)
        ) || self.sealing.is_some()
    }

    /// Finishes every handshake of the stack. Call it in the connection's own task: a client may take
    /// its time.
    ///
    /// A client that is refused is given up to a second to read why.
    ///
    /// # Errors
    ///
    /// [`AcceptError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn handshake(self) -> Result<Connection, AcceptError> {
        self.establish().await?.into_accepted()
    }

    /// As [`handshake`](Self::handshake), and leaves the socket in the open.
    ///
    /// # Errors
    ///
    /// [`AcceptError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn establish(mut self) -> Result<Established, AcceptError> {
        let limit = self.handshake_timeout;
        match self.sealing.take() {
            Some(sealing) => {
                let beneath = self.open(true).await?.into_accepted()?;
                sealing.seal(beneath, limit).await.map(Established::from)
            }
            None => self.open(false).await,
        }
    }

    /// Everything beneath the pre-shared-key layer. If there is one, who has not proven a key yet is
    /// judged there.
    async fn open(self, judged_later: bool) -> Result<Established, AcceptError> {
        let (stream, local): (_, Option<Box<str>>) = match self.raw {
            Raw::Tcp(stream) => {
                prepare(&stream, &self.remote)?;
                (Stream::Tcp(stream), None)
            }
            Raw::Tls(stream, acceptor) => {
                let local = tcp::text(prepare(&stream, &self.remote)?).into();
                let admitted = (&self.authorisation, self.handshake_timeout);
                return accept_tls(stream, acceptor, admitted, local, self.remote).await;
            }
            Raw::Session(stream, Some(acceptor), local) => {
                let admitted = (&self.authorisation, self.handshake_timeout);
                return accept_tls(stream, acceptor, admitted, local.into(), self.remote).await;
            }
            Raw::Quic(unopened, acceptor, local) => {
                let remote = self.remote.to_string();
                let nobody = Peer::unauthenticated(remote.as_str());
                if let Some(ip) = nobody.ip()
                    && let Verdict::Refuse(why) = self.authorisation.check_address(ip)
                {
                    unopened.refuse();
                    return Err(AcceptError::Refused { remote, why });
                }
                let limit = self.handshake_timeout;
                let opened = unopened.handshake(acceptor, &remote, limit).await?;
                return Ok(Established::from(opened.into_connection(local)));
            }
            Raw::QuicStream(opened, local) => {
                return Ok(Established::from(opened.into_connection(local)));
            }
            Raw::Session(stream, None, local) => {
                (Stream::Other(Box::new(stream)), Some(local.into()))
            }
            #[cfg(unix)]
            Raw::Unix(stream, local) => (Stream::Unix(stream), Some(local.into())),
            Raw::Mem(stream, local) => (Stream::Other(Box::new(stream)), Some(local.into())),
        };
        let mut established = Established::new(stream, self.remote);
        established.local = local;
        let verdict = match established.peer().ip() {
            Some(ip) if judged_later => self.authorisation.check_address(ip),
            _ if judged_later => Verdict::Allow,
            _ => self.authorisation.check(&established.peer()),
        };
        if let Verdict::Refuse(why) = verdict {
            let remote = established.remote.to_string();
            return Err(AcceptError::Refused { remote, why });
        }
        Ok(established)
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl Established {
    fn into_accepted(self) -> Result<Connection, AcceptError> {
        let remote = self.remote.to_string();
        self.into_connection()
            .map_err(|source| AcceptError::Io { remote, source })
    }
}

/// Shakes hands by TLS, if the address may.
async fn accept_tls<S: tls::Beneath + Send + 'static>(
    stream: S,
    acceptor: Arc<Acceptor>,
    (authorisation, limit): (&Authorisation, Duration),
    local: Box<str>,
    remote: Remote,
) -> Result<Established, AcceptError> {
    let shown = remote.to_string();
    let nobody = Peer::unauthenticated(shown.as_str());
    if let Some(ip) = nobody.ip()
        && let Verdict::Refuse(why) = authorisation.check_address(ip)
    {
        tls::deny(stream).await;
        return Err(AcceptError::Refused { remote: shown, why });
    }
    let (stream, peer) = tls::accept(stream, acceptor, &shown, limit).await?;
    let mut established = Established::new(Stream::Other(Box::new(stream)), remote);
    established.peer = Some(Box::new(peer));
    established.local = Some(local);
    Ok(established)
}

fn server_tls(
    endpoint: &Endpoint,
    cipher: CipherSuite,
    options: &ListenOptions,
) -> Result<ServerTls, ListenError> {
    let name = || endpoint.to_string();
    let identity = options
        .identity
        .clone()
        .ok_or_else(|| ListenError::MissingIdentity { endpoint: name() })?;
    let (trust, authorisation) = (options.trust.clone(), options.authorisation.clone());
    ServerTls::new(identity, trust, authorisation, cipher).map_err(|source| ListenError::Identity {
        endpoint: name(),
        source,
    })
}

/// Sets the options of an accepted socket and returns its own address.
fn prepare(stream: &TcpStream, remote: &Remote) -> Result<SocketAddr, AcceptError> {
    tcp::set_up(stream)
        .and_then(|()| stream.local_addr())
        .map_err(|source| AcceptError::Io {
            remote: remote.to_string(),
            source,
        })
}

async fn bind_tcp(
    endpoint: &Endpoint,
    host: &str,
    port: u16,
    sharing: tcp::Sharing,
) -> Result<(TcpListener, u16), ListenError> {
    let addresses = tcp::resolve(host, port)
        .await
        .map_err(|source| ListenError::Resolve {
            endpoint: endpoint.to_string(),
            source,
        })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        let bound = tcp::listen(address, sharing).and_then(|listener| {
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        });
        match bound {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(bind_error(endpoint, last))
}

/// The first of a name's addresses that can be bound.
async fn bind_first<T>(
    endpoint: &Endpoint,
    host: &str,
    port: u16,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> Result<T, ListenError> {
    let addresses = tcp::resolve(host, port)
        .await
        .map_err(|source| ListenError::Resolve {
            endpoint: endpoint.to_string(),
            source,
        })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match bind(address) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(bind_error(endpoint, last))
}

async fn bind_udp(
    endpoint: &Endpoint,
    host: &str,
    port: u16,
) -> Result<(swp::Listener, u16), ListenError> {
    let addresses = tcp::resolve(host, port)
        .await
        .map_err(|source| ListenError::Resolve {
            endpoint: endpoint.to_string(),
            source,
        })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match swp::Listener::bind_udp(address).await {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(bind_error(endpoint, last))
}

fn bind_error(endpoint: &Endpoint, source: io::Error) -> ListenError {
    let endpoint = endpoint.to_string();
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { endpoint },
        _ => ListenError::Bind { endpoint, source },
    }
}
