//! The ways to the transports that endpoints name.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use towline_identity::tls::{Connector, TlsConfigError};
use towline_identity::{CipherSuite, Peer};
use towline_mux::{Role, Session};

use super::{ConnectError, ConnectOptions};
use crate::connection::Connection;
use crate::endpoint::{Endpoint, Nats};
use crate::psk::{self, PskLayer, Records};
use crate::race::race;
use crate::session::native_session;
use crate::{http_connect, mem, quic, swp, tcp, tls};

/// A limit for those who set none: far enough to be none.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// One way to one endpoint, within one time limit.
pub(super) struct Attempt<'a> {
    endpoint: &'a Endpoint,
    limit: Duration,
    deadline: Instant,
    dead_peer: Option<Duration>,
}

impl<'a> Attempt<'a> {
    /// Its time begins now.
    pub(super) fn new(endpoint: &'a Endpoint, options: &ConnectOptions) -> Self {
        Self {
            endpoint,
            limit: options.connect_timeout,
            deadline: deadline(options.connect_timeout),
            dead_peer: options.dead_peer,
        }
    }

    pub(super) async fn tcp(&self, host: &str, port: u16) -> Result<Connection, ConnectError> {
        let (stream, local, remote) = self.dial(host, port).await?;
        Ok(Connection::new(
            Box::new(stream),
            Peer::unauthenticated(remote.as_str()),
            local,
            remote,
        ))
    }

    pub(super) async fn http_connect(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Connection, ConnectError> {
        let (mut stream, local, remote) = self.dial(host, port).await?;
        self.within("HTTP CONNECT", http_connect::dial(&mut stream))
            .await?
            .map_err(|source| ConnectError::HttpConnect {
                endpoint: self.name(),
                source,
            })?;
        let peer = Peer::unauthenticated(remote.as_str());
        Ok(Connection::new(Box::new(stream), peer, local, remote))
    }

    pub(super) async fn tls(
        &self,
        host: &str,
        port: u16,
        cipher: CipherSuite,
        options: &ConnectOptions,
    ) -> Result<Connection, ConnectError> {
        let connector = self.connector(cipher, options)?;
        let (stream, local, remote) = self.dial(host, port).await?;
        let (stream, peer) = self
            .within("TLS handshake", tls::connect(stream, connector, &remote))
            .await?
            .map_err(|error| ConnectError::from_handshake(self.name(), error))?;
        Ok(Connection::new(Box::new(stream), peer, local, remote))
    }

    pub(super) async fn quic(
        &self,
        host: &str,
        port: u16,
        cipher: CipherSuite,
        options: &ConnectOptions,
    ) -> Result<Connection, ConnectError> {
        let closing_is_end = options.records == Records::Messages;
        let dialled = self
            .dial_quic((host, port), cipher, options, quic::CONNECTIONS)
            .await?
            .into_stream(closing_is_end)
            .await
            .map_err(|error| ConnectError::from_handshake(self.name(), error))?;
        let quic::Dialled {
            io,
            peer,
            local,
            remote,
        } = dialled;
        Ok(Connection::new(Box::new(io), peer, local, remote))
    }

    /// The streams of a QUIC connection as a session.
    pub(super) async fn quic_session(
        &self,
        (host, port): (&str, u16),
        cipher: CipherSuite,
        options: &ConnectOptions,
    ) -> Result<Session, ConnectError> {
        let dialled = self
            .dial_quic((host, port), cipher, options, quic::SESSIONS)
            .await?
            .into_session();
        let quic::Dialled {
            io,
            peer,
            local,
            remote,
        } = dialled;
        Ok(native_session(io, Role::Client, peer, (local, remote)))
    }

    /// Tries all addresses of a name in turn.
    async fn dial_quic(
        &self,
        (host, port): (&str, u16),
        cipher: CipherSuite,
        options: &ConnectOptions,
        windows: quic::Windows,
    ) -> Result<quic::Connected, ConnectError> {
        let shared = options.shared_udp.as_ref();
        let addresses = self.resolve(host, port).await?;
        let mut last = None;
        for (tried, address) in addresses.iter().enumerate() {
            let connector = self.connector(cipher, options)?;
            let now = now();
            let left = (addresses.len() - tried) as u32;
            let until = now + self.deadline.saturating_duration_since(now) / left;
            let dialling = quic::dial(*address, connector, windows, shared, self.dead_peer);
            match timeout_at(until, dialling).await {
                Ok(Ok(dialled)) => return Ok(dialled),
                Ok(Err(quic::DialError::Handshake(error))) => {
                    return Err(ConnectError::from_handshake(self.name(), error));
                }
                Ok(Err(quic::DialError::Dial(error))) => last = Some(error),
                Err(_) => {}
            }
        }
        Err(match last {
            Some(error) => ConnectError::from_dial(self.name(), error),
            None => self.timed_out("QUIC handshake"),
        })
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        self.within("looking up the name", tcp::resolve(host, port))
            .await?
            .map_err(|source| ConnectError::Resolve {
                endpoint: self.name(),
                source,
            })
    }

    fn connector(
        &self,
        cipher: CipherSuite,
        options: &ConnectOptions,
    ) -> Result<Connector, ConnectError> {
        let identity = options.identity.as_deref();
        Connector::new(identity, &options.trust, cipher).map_err(|source| match source {
            TlsConfigError::MissingIdentity => ConnectError::MissingIdentity {
                endpoint: self.name(),
            },
            source => ConnectError::Identity {
                endpoint: self.name(),
                source,
            },
        })
    }

    /// A session as it is, or with TLS from end to end.
    pub(super) async fn over_session(
        &self,
        opened: swp::Opened,
        cipher: Option<CipherSuite>,
        options: &ConnectOptions,
    ) -> Result<Connection, ConnectError> {
        let swp::Opened { io, local, remote } = opened;
        let Some(cipher) = cipher else {
            let peer = Peer::unauthenticated(remote.as_str());
            return Ok(Connection::new(Box::new(io), peer, local, remote));
        };
        let connector = self.connector(cipher, options)?;
        let (stream, peer) = self
            .within("TLS handshake", tls::connect(io, connector, &remote))
            .await?
            .map_err(|error| ConnectError::from_handshake(self.name(), error))?;
        Ok(Connection::new(Box::new(stream), peer, local, remote))
    }

    pub(super) async fn udp(&self, host: &str, port: u16) -> Result<swp::Opened, ConnectError> {
        let addresses = self.resolve(host, port).await?;
        let mut last = None;
        for (tried, address) in addresses.iter().enumerate() {
            let left = (addresses.len() - tried) as u32;
            let limit = self.deadline.saturating_duration_since(now()) / left;
            match swp::connect_udp(*address, limit).await {
                Ok(opened) => return Ok(opened),
                Err(error) => last = Some(error),
            }
        }
        Err(self.no_session(last))
    }

    #[cfg(feature = "nats")]
    pub(super) async fn nats(&self, nats: &Nats) -> Result<swp::Opened, ConnectError> {
        let limit = self.deadline.saturating_duration_since(now());
        let opened = swp::connect_nats(nats, limit);
        let opened = self.within("waiting for an answer", opened).await?;
        opened.map_err(|error| self.no_session(Some(error)))
    }

    #[cfg(not(feature = "nats"))]
    pub(super) async fn nats(&self, _: &Nats) -> Result<swp::Opened, ConnectError> {
        Err(self.no_session(Some(io::ErrorKind::Unsupported.into())))
    }

    fn no_session(&self, error: Option<io::Error>) -> ConnectError {
        match error {
            Some(error) if error.kind() != io::ErrorKind::TimedOut => ConnectError::Unreachable {
                endpoint: self.name(),
                source: error,
            },
            _ => self.timed_out("waiting for an answer"),
        }
    }

    /// The stream and the two addresses.
    async fn dial(
        &self,
        host: &str,
        port: u16,
    ) -> Result<(TcpStream, String, String), ConnectError> {
        let addresses = self.resolve(host, port).await?;
        let stream = self
            .within(
                "dialling",
                race(&addresses, |address| tcp::dial(address, self.dead_peer)),
            )
            .await?
            .map_err(|error| match error {
                Some(error) => ConnectError::from_dial(self.name(), error),
                None => self.timed_out("dialling"),
            })?;
        let addresses = stream
            .local_addr()
            .and_then(|local| Ok((local, stream.peer_addr()?)));
        match addresses {
            Ok((local, remote)) => Ok((stream, tcp::text(local), tcp::text(remote))),
            Err(error) => Err(ConnectError::from_dial(self.name(), error)),
        }
    }

    #[cfg(unix)]
    pub(super) async fn unix(&self, path: &std::path::Path) -> Result<Connection, ConnectError> {
        let stream = self
            .within("dialling", tokio::net::UnixStream::connect(path))
            .await?
            .map_err(|error| ConnectError::from_dial(self.name(), error))?;
        let remote = crate::unix::text(path);
        // The dialling side of a Unix socket has no name.
        Ok(Connection::new(
            Box::new(stream),
            Peer::unauthenticated(remote.as_str()),
            "unix://",
            remote,
        ))
    }

    pub(super) async fn mem(&self, name: &str) -> Result<Connection, ConnectError> {
        let (stream, local) = self
            .within("waiting to be accepted", mem::connect(name))
            .await?
            .map_err(|error| ConnectError::from_dial(self.name(), error))?;
        let remote = format!("mem://{name}");
        Ok(Connection::new(
            Box::new(stream),
            Peer::unauthenticated(remote.as_str()),
            local,
            remote,
        ))
    }

    /// What the pre-shared-key layer needs, before anything is dialled: without it nothing is sent.
    pub(super) async fn prepare_sealing(
        &self,
        file: &std::path::Path,
        options: &ConnectOptions,
    ) -> Result<PskLayer, ConnectError> {
        let identity = options
            .identity
            .clone()
            .ok_or_else(|| ConnectError::MissingIdentity {
                endpoint: self.name(),
            })?;
        let key = psk::load(file)
            .await
            .map_err(|source| ConnectError::PreSharedKey {
                endpoint: self.name(),
                source,
            })?;
        Ok(PskLayer::new(key, identity)
            .trust(options.trust.clone())
            .records(options.records))
    }

    pub(super) async fn seal(
        &self,
        beneath: Connection,
        layer: PskLayer,
    ) -> Result<Connection, ConnectError> {
        self.within(psk::DURING, layer.seal_dialled(beneath))
            .await?
            .map_err(|problem| ConnectError::from_sealing(self.name(), problem))
    }

    async fn within<T>(
        &self,
        during: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, ConnectError> {
        timeout_at(self.deadline, work)
            .await
            .map_err(|_| self.timed_out(during))
    }

    fn timed_out(&self, during: &'static str) -> ConnectError {
        ConnectError::TimedOut {
            endpoint: self.name(),
            limit: self.limit,
            during,
        }
    }

    pub(super) fn name(&self) -> String {
        self.endpoint.without_fragment().to_string()
    }
}

fn deadline(limit: Duration) -> Instant {
    let now = now();
    now.checked_add(limit).unwrap_or(now + FOREVER)
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a driver: this is where its time comes from"
    )]
    Instant::now()
}
