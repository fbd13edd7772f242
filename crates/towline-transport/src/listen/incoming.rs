//! A client that was accepted, and its handshakes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::time::timeout;
use towline_identity::tls::Acceptor;
use towline_identity::{Authorisation, Peer, Verdict};
use towline_mux::{Role, Session};
use towline_swp::ByteStream;

use super::AcceptError;
use crate::connection::{Connection, Io};
use crate::established::{Established, Remote, Stream};
use crate::psk::PskLayer;
use crate::server_tls::Shaker;
use crate::{http_connect, quic, tcp, tls};

/// The longest that a client's HTTP CONNECT may take.
const HTTP_CONNECT_LIMIT: Duration = Duration::from_secs(10);
use crate::session::native_session;

/// A client that was accepted and has not shaken hands yet. Dropping it hangs up.
pub struct Incoming {
    pub(super) raw: Raw,
    pub(super) remote: Remote,
    pub(super) authorisation: Authorisation,
    pub(super) allowance: tls::Allowance,
    pub(super) dead_peer: Option<Duration>,
    pub(super) sealing: Option<Arc<PskLayer>>,
}

pub(super) enum Raw {
    Tcp(TcpStream),
    HttpConnect(TcpStream),
    Tls(TcpStream, Shaker),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream, String),
    Mem(DuplexStream, String),
    Session(ByteStream, Option<Shaker>, String),
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
            Raw::Tcp(stream) | Raw::HttpConnect(stream) | Raw::Tls(stream, _) => stream,
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
            Raw::HttpConnect(_) | Raw::Tls(..) | Raw::Session(_, Some(_), _) | Raw::Quic(..)
        ) || self.sealing.is_some()
    }

    /// Waits until the client has said something, where it speaks first and that can be seen without taking
    /// it: over `tls` and `connect+tcp`. Elsewhere it returns at once. Whoever shakes hands with few clients at a time waits
    /// for this before it is a client's turn.
    ///
    /// # Errors
    ///
    /// [`AcceptError::TimedOut`] when the time for the handshake is over; [`AcceptError::Io`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn begun(&mut self) -> Result<(), AcceptError> {
        let (Raw::Tls(stream, _) | Raw::HttpConnect(stream)) = &self.raw else {
            return Ok(());
        };
        let (remote, limit) = (|| self.remote.to_string(), self.allowance.time);
        match timeout(limit, stream.readable()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(AcceptError::Io {
                remote: remote(),
                source,
            }),
            Err(_) => Err(AcceptError::TimedOut {
                remote: remote(),
                limit,
            }),
        }
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

    /// Finishes the handshake of a connection that has streams itself, and gives all of them as a session: over `quic`.
    /// After [`handshake`](Self::handshake) each stream would come out of the listener as a connection of its own. Over
    /// other transports, put [`Connection::into_session`] on what `handshake` gives.
    ///
    /// # Errors
    ///
    /// [`AcceptError`]; [`AcceptError::NotMultiplexed`] where there are no streams, and with the pre-shared-key layer, which
    /// seals single ones.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn session(self) -> Result<Session, AcceptError> {
        let remote = self.remote.to_string();
        let Raw::Quic(unopened, acceptor, local) = self.raw else {
            return Err(AcceptError::NotMultiplexed { remote });
        };
        if self.sealing.is_some() {
            unopened.refuse();
            return Err(AcceptError::NotMultiplexed { remote });
        }
        let unopened = admit_quic(unopened, &self.authorisation, &remote)?;
        let (session, peer) = unopened
            .session(acceptor, &remote, self.allowance.time)
            .await?;
        Ok(native_session(session, Role::Server, peer, (local, remote)))
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
        match self.sealing.take() {
            Some(layer) => {
                let beneath = self.open(true).await?.into_accepted()?;
                layer.accept(beneath).await.map(Established::from)
            }
            None => self.open(false).await,
        }
    }

    /// Everything beneath the pre-shared-key layer. If there is one, who has not proven a key yet is
    /// judged there.
    async fn open(self, judged_later: bool) -> Result<Established, AcceptError> {
        let (stream, local): (_, Option<Box<str>>) = match self.raw {
            Raw::Tcp(stream) => {
                prepare(&stream, self.dead_peer, &self.remote)?;
                (Stream::Tcp(stream), None)
            }
            Raw::HttpConnect(stream) => {
                prepare(&stream, self.dead_peer, &self.remote)?;
                let limit = self.allowance.time;
                let stream = accept_http(stream, &self.authorisation, limit, &self.remote).await?;
                (Stream::Tcp(stream), None)
            }
            Raw::Tls(stream, acceptor) => {
                let local = tcp::text(prepare(&stream, self.dead_peer, &self.remote)?).into();
                let admitted = (&self.authorisation, self.allowance);
                return accept_tls(stream, acceptor, admitted, local, self.remote).await;
            }
            Raw::Session(stream, Some(acceptor), local) => {
                let admitted = (&self.authorisation, self.allowance);
                return accept_tls(stream, acceptor, admitted, local.into(), self.remote).await;
            }
            Raw::Quic(unopened, acceptor, local) => {
                let remote = self.remote.to_string();
                let unopened = admit_quic(unopened, &self.authorisation, &remote)?;
                let limit = self.allowance.time;
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

/// A client whose address may connect; others are turned away before any handshake.
fn admit_quic(
    unopened: Box<quic::Unopened>,
    authorisation: &Authorisation,
    remote: &str,
) -> Result<Box<quic::Unopened>, AcceptError> {
    let nobody = Peer::unauthenticated(remote);
    if let Some(ip) = nobody.ip()
        && let Verdict::Refuse(why) = authorisation.check_address(ip)
    {
        unopened.refuse();
        let remote = remote.to_owned();
        return Err(AcceptError::Refused { remote, why });
    }
    Ok(unopened)
}

/// Shakes hands by TLS, if the address may.
async fn accept_tls<S: tls::Beneath + Send + 'static>(
    stream: S,
    shaker: Shaker,
    (authorisation, allowance): (&Authorisation, tls::Allowance),
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
    let (stream, peer) = match shaker {
        Shaker::Identity(acceptor) => tls::accept(stream, acceptor, &shown, allowance).await?,
        Shaker::Config(config) => {
            let shaken = tls::accept_by(stream, config, &shown, allowance).await?;
            // The configuration knows nothing of whom else we ask for.
            if let Verdict::Refuse(why) = authorisation.check(&shaken.1) {
                return Err(AcceptError::Refused { remote: shown, why });
            }
            shaken
        }
    };
    let mut established = Established::new(Stream::Other(Box::new(stream)), remote);
    established.peer = Some(Box::new(peer));
    established.local = Some(local);
    Ok(established)
}

/// Hears the request and answers it, if the address may.
async fn accept_http(
    mut stream: TcpStream,
    authorisation: &Authorisation,
    limit: Duration,
    remote: &Remote,
) -> Result<TcpStream, AcceptError> {
    if let Some(address) = remote.socket_addr()
        && let Verdict::Refuse(why) = authorisation.check_address(address.ip())
    {
        let remote = remote.to_string();
        return Err(AcceptError::Refused { remote, why });
    }
    // docs/wire F35
    let limit = limit.min(HTTP_CONNECT_LIMIT);
    match timeout(limit, http_connect::accept(&mut stream)).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(source)) => Err(AcceptError::HttpConnect {
            remote: remote.to_string(),
            source,
        }),
        Err(_) => Err(AcceptError::TimedOut {
            remote: remote.to_string(),
            limit,
        }),
    }
}

/// Sets the options of an accepted socket and returns its own address.
fn prepare(
    stream: &TcpStream,
    dead_peer: Option<Duration>,
    remote: &Remote,
) -> Result<SocketAddr, AcceptError> {
    tcp::set_up(stream, dead_peer)
        .and_then(|()| stream.local_addr())
        .map_err(|source| AcceptError::Io {
            remote: remote.to_string(),
            source,
        })
}
