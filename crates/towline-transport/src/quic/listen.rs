//! The side that is dialled.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use towline_identity::Peer;
use towline_identity::tls::{self, Acceptor};

use super::error::io_error;
use super::shared::Claim;
use super::{
    CLOSED, CONNECTIONS, QuicSession, SESSIONS, SharedUdp, Stream, Windows, endpoint, text,
    transport,
};
use crate::connection::Connection;
use crate::listen::AcceptError;
use crate::tls::{HandshakeError, admit, begin};

/// Streams of connections that are established, waiting to be accepted. More wait at the other end.
const BACKLOG: usize = 64;
/// Connections that wait for their handshake; more are refused.
const MAX_INCOMING: usize = 1024;

/// A UDP socket that takes connections.
pub(crate) struct Listener {
    endpoint: quinn::Endpoint,
    /// What every connection's configuration is made from.
    base: quinn::ServerConfig,
    closing_is_end: bool,
    opened: mpsc::Sender<Opened>,
    dead_peer: Option<Duration>,
    waiting: Mutex<mpsc::Receiver<Opened>>,
    _claim: Option<Claim>,
}

/// A further stream of a connection whose handshake is over.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
    pub(crate) remote: String,
}

impl Opened {
    pub(crate) fn into_connection(self, local: String) -> Connection {
        Connection::new(Box::new(self.stream), self.peer, local, self.remote)
    }
}

/// A connection whose handshake has not begun.
pub(crate) struct Unopened {
    incoming: quinn::Incoming,
    base: quinn::ServerConfig,
    dead_peer: Option<Duration>,
    closing_is_end: bool,
    opened: mpsc::Sender<Opened>,
}

/// What [`Listener::accept`] finds.
pub(crate) enum Found {
    Connection(Box<Unopened>, String),
    Stream(Box<Opened>),
}

impl Listener {
    /// Any `acceptor` of the listener: it is asked for a configuration again for each connection.
    pub(crate) fn bind(
        address: SocketAddr,
        acceptor: &Acceptor,
        closing_is_end: bool,
        shared: Option<&SharedUdp>,
        dead_peer: Option<Duration>,
    ) -> io::Result<Self> {
        let (config, _) = acceptor.begin("").map_err(io::Error::other)?;
        let mut base = quinn::ServerConfig::with_crypto(Arc::new(crypto(config)?));
        base.transport_config(transport(false, dead_peer, CONNECTIONS))
            .max_incoming(MAX_INCOMING);
        let (endpoint, claim) = match shared {
            Some(shared) => {
                shared.check(address)?;
                let claim = shared.claim()?;
                shared.endpoint.set_server_config(Some(base.clone()));
                (shared.endpoint.clone(), Some(claim))
            }
            None => (endpoint(address, Some(base.clone()))?, None),
        };
        let (opened, waiting) = mpsc::channel(BACKLOG);
        Ok(Self {
            endpoint,
            base,
            closing_is_end,
            opened,
            dead_peer,
            waiting: Mutex::new(waiting),
            _claim: claim,
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Cancel safe.
    pub(crate) async fn accept(&self) -> io::Result<Found> {
        let mut waiting = self.waiting.lock().await;
        tokio::select! {
            Some(opened) = waiting.recv() => Ok(Found::Stream(Box::new(opened))),
            incoming = self.endpoint.accept() => {
                let incoming = incoming.ok_or(io::ErrorKind::NotConnected)?;
                let remote = text(incoming.remote_address());
                let unopened = Unopened {
                    incoming,
                    base: self.base.clone(),
                    dead_peer: self.dead_peer,
                    closing_is_end: self.closing_is_end,
                    opened: self.opened.clone(),
                };
                Ok(Found::Connection(Box::new(unopened), remote))
            }
        }
    }
}

impl Drop for Listener {
    /// Connections live on, and with them the port. Who waits is turned away, and who comes later hears nothing.
    fn drop(&mut self) {
        self.endpoint.set_server_config(None);
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(incoming)) = pin!(self.endpoint.accept()).poll(&mut cx) {
            incoming.refuse();
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Unopened {
    /// Turns the client away before any handshake.
    pub(crate) fn refuse(self) {
        self.incoming.refuse();
    }

    /// Shakes hands and waits for the first stream; what is opened after it comes out of
    /// [`Listener::accept`].
    pub(crate) async fn handshake(
        self,
        acceptor: Arc<Acceptor>,
        remote: &str,
        limit: Duration,
    ) -> Result<Opened, AcceptError> {
        let timed_out = |_| AcceptError::TimedOut {
            remote: remote.to_owned(),
            limit,
        };
        let closing_is_end = self.closing_is_end;
        let opened = self.opened.clone();
        let (connection, peer) = timeout(limit, self.shake(acceptor, remote, CONNECTIONS))
            .await
            .map_err(timed_out)??;
        // A client that has nothing to say yet is not in default: QUIC's own idle limit holds.
        let streams = connection
            .accept_bi()
            .await
            .map_err(|error| AcceptError::from_handshake(remote.to_owned(), io_error(error)))?;
        let first = Opened {
            stream: Stream::new(connection.clone(), streams, closing_is_end),
            peer: peer.clone(),
            remote: remote.to_owned(),
        };
        let remote = remote.to_owned();
        tokio::spawn(async move {
            let more = async {
                while let Ok(streams) = connection.accept_bi().await {
                    let further = Opened {
                        stream: Stream::new(connection.clone(), streams, closing_is_end),
                        peer: peer.clone(),
                        remote: remote.clone(),
                    };
                    if opened.send(further).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = more => {}
                // Nobody listens any more; the streams that there are live on.
                () = opened.closed() => {}
            }
        });
        Ok(first)
    }

    /// Shakes hands, and keeps all streams together.
    pub(crate) async fn session(
        self,
        acceptor: Arc<Acceptor>,
        remote: &str,
        limit: Duration,
    ) -> Result<(QuicSession, Peer), AcceptError> {
        let timed_out = |_| AcceptError::TimedOut {
            remote: remote.to_owned(),
            limit,
        };
        let (connection, peer) = timeout(limit, self.shake(acceptor, remote, SESSIONS))
            .await
            .map_err(timed_out)??;
        Ok((QuicSession::start(connection), peer))
    }

    async fn shake(
        self,
        acceptor: Arc<Acceptor>,
        remote: &str,
        windows: Windows,
    ) -> Result<(quinn::Connection, Peer), AcceptError> {
        let refused = |error: HandshakeError| AcceptError::Refused {
            remote: remote.to_owned(),
            why: error.to_string(),
        };
        let begun = begin(acceptor.reads_files(), remote, move |remote| {
            acceptor.begin(remote)
        })
        .await;
        let (config, attempt) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.incoming.refuse();
                return Err(refused(error));
            }
        };
        let mut server = self.base;
        server.transport_config(transport(false, self.dead_peer, windows));
        server.crypto = Arc::new(crypto(config).map_err(|source| AcceptError::Io {
            remote: remote.to_owned(),
            source,
        })?);
        let failed = |error| match attempt.refusal() {
            Some(refusal) => AcceptError::NotAdmitted {
                remote: remote.to_owned(),
                refusal,
            },
            None => AcceptError::from_handshake(remote.to_owned(), io_error(error)),
        };
        let connecting = self
            .incoming
            .accept_with(Arc::new(server))
            .map_err(&failed)?;
        let connection = connecting.await.map_err(&failed)?;
        match admit(attempt).await {
            Ok(peer) => Ok((connection, peer)),
            Err(error) => {
                connection.close(CLOSED, b"refused");
                Err(refused(error))
            }
        }
    }
}

fn crypto(config: Arc<tokio_rustls::rustls::ServerConfig>) -> io::Result<QuicServerConfig> {
    QuicServerConfig::with_initial(config, tls::quic_initial_suite()).map_err(io::Error::other)
}
