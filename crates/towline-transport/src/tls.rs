//! TLS over a TCP stream or a session, both sides.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use towline_identity::Peer;
use towline_identity::tls::{Acceptor, Attempt, Connector, Refusal, SERVER_NAME, TlsConfigError};

use crate::listen::AcceptError;

/// rustls reads four KiB at a time; with this buffer below it one system call fetches many records. A
/// client has one connection, or few.
const CLIENT_READ_BUFFER: usize = 128 * 1024;
/// What rustls encrypts before it insists on being written out, in bytes: many records leave in one
/// system call, and a slow peer costs no more than this per connection.
const WRITE_BUFFER: usize = 256 * 1024;
/// How long a refused peer is given to read why.
const LINGER: Duration = Duration::from_secs(1);
/// And how much it may still send meanwhile.
const LINGER_BYTES: u64 = 256 * 1024;
/// The fatal alert access_denied as a record of its own: what a client that is not to shake hands at
/// all gets for an answer (docs/wire I46).
const ACCESS_DENIED: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 49];
/// Threads of the process that may wait for a known-keys file at the same time. They write together
/// what they bring.
static RECORDERS: Semaphore = Semaphore::const_new(16);

pub(crate) type Buffered<S> = BufReader<S>;

/// What TLS runs over.
pub(crate) trait Beneath: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Beneath for S {}

/// How a TLS handshake of either side ends badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error(transparent)]
    Config(TlsConfigError),
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Io(io::Error),
    #[error("this program is stopping")]
    Stopping,
}

/// Shakes hands with a server, and records its key if it is to be.
pub(crate) async fn connect<S: Beneath>(
    stream: S,
    connector: Connector,
    remote: &str,
) -> Result<(client::TlsStream<Buffered<S>>, Peer), HandshakeError> {
    let (config, attempt) = begin(connector.reads_files(), remote, move |remote| {
        connector.begin(remote)
    })
    .await?;
    let stream = match dial(stream, config).await {
        Ok(stream) => stream,
        Err(error) => {
            return Err(match attempt.refusal() {
                Some(refusal) => HandshakeError::Refused(refusal),
                None => HandshakeError::Io(error),
            });
        }
    };
    let peer = admit(attempt).await?;
    Ok((stream, peer))
}

async fn dial<S: Beneath>(
    stream: S,
    config: Arc<ClientConfig>,
) -> io::Result<client::TlsStream<Buffered<S>>> {
    // The constant is a valid DNS name.
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    let stream = BufReader::with_capacity(CLIENT_READ_BUFFER, stream);
    TlsConnector::from(config)
        .connect_with(name, stream, |connection| {
            connection.set_buffer_limit(Some(WRITE_BUFFER))
        })
        .await
}

/// What one client may use.
#[derive(Clone, Copy)]
pub(crate) struct Allowance {
    /// For each step of its handshake.
    pub(crate) time: Duration,
    /// What is read ahead of the records, in bytes.
    pub(crate) read_buffer: usize,
}

/// Shakes hands with a client by a configuration of somebody else's. Whoever has proven an Ed25519 key is
/// known by it.
pub(crate) async fn accept_by<S: Beneath>(
    stream: S,
    config: Arc<ServerConfig>,
    remote: &str,
    allowance: Allowance,
) -> Result<(server::TlsStream<Buffered<S>>, Peer), AcceptError> {
    match timeout(allowance.time, shake(stream, config, allowance.read_buffer)).await {
        Ok(Ok(stream)) => {
            let peer = towline_identity::tls::peer(stream.get_ref().1, remote);
            Ok((
                stream,
                peer.unwrap_or_else(|| Peer::unauthenticated(remote)),
            ))
        }
        Ok(Err((error, stream))) => {
            linger(stream).await;
            Err(AcceptError::from_handshake(remote.to_owned(), error))
        }
        Err(_) => Err(AcceptError::TimedOut {
            remote: remote.to_owned(),
            limit: allowance.time,
        }),
    }
}

/// Shakes hands with a client, and records its key if it is to be. One that is refused hears so, and
/// is given a moment to.
pub(crate) async fn accept<S: Beneath>(
    stream: S,
    acceptor: Arc<Acceptor>,
    remote: &str,
    allowance: Allowance,
) -> Result<(server::TlsStream<Buffered<S>>, Peer), AcceptError> {
    let limit = allowance.time;
    let timed_out = || AcceptError::TimedOut {
        remote: remote.to_owned(),
        limit,
    };
    let refused = |error: HandshakeError| AcceptError::Refused {
        remote: remote.to_owned(),
        why: error.to_string(),
    };
    // Each step on its own: a disk that hangs must not hold the client's place for ever.
    let begun = begin(acceptor.reads_files(), remote, move |remote| {
        acceptor.begin(remote)
    });
    let (config, attempt) = match timeout(limit, begun).await {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => {
            deny(stream).await;
            return Err(refused(error));
        }
        Err(_) => return Err(timed_out()),
    };
    let mut stream = match timeout(limit, shake(stream, config, allowance.read_buffer)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, stream))) => {
            linger(stream).await;
            let remote = remote.to_owned();
            return Err(match attempt.refusal() {
                Some(refusal) => AcceptError::NotAdmitted { remote, refusal },
                None => AcceptError::from_handshake(remote, error),
            });
        }
        Err(_) => return Err(timed_out()),
    };
    match timeout(limit, admit(attempt)).await {
        Ok(Ok(peer)) => Ok((stream, peer)),
        Ok(Err(error)) => {
            // What becomes of the farewell does not matter.
            let _said = timeout(LINGER, stream.shutdown()).await;
            Err(refused(error))
        }
        Err(_) => Err(timed_out()),
    }
}

/// A failed handshake gives the stream back, to [`linger`] on.
async fn shake<S: Beneath>(
    stream: S,
    config: Arc<ServerConfig>,
    read_buffer: usize,
) -> Result<server::TlsStream<Buffered<S>>, (io::Error, Buffered<S>)> {
    let stream = BufReader::with_capacity(read_buffer, stream);
    TlsAcceptor::from(config)
        .accept_with(stream, |connection| {
            connection.set_buffer_limit(Some(WRITE_BUFFER))
        })
        .into_fallible()
        .await
}

/// Refuses a client without shaking hands.
pub(crate) async fn deny<S: Beneath>(mut stream: S) {
    let told = timeout(LINGER, stream.write_all(&ACCESS_DENIED)).await;
    if matches!(told, Ok(Ok(()))) {
        linger(BufReader::new(stream)).await;
    }
}

/// What a handshake begins with, read off the runtime's threads if it has to be read.
pub(crate) async fn begin<T: Send + 'static>(
    reads_files: bool,
    remote: &str,
    begin: impl FnOnce(&str) -> Result<T, TlsConfigError> + Send + 'static,
) -> Result<T, HandshakeError> {
    if !reads_files {
        return begin(remote).map_err(HandshakeError::Config);
    }
    let remote = remote.to_owned();
    spawn_blocking(move || begin(&remote))
        .await
        .map_err(|_| HandshakeError::Stopping)?
        .map_err(HandshakeError::Config)
}

/// The peer of a handshake that succeeded; a new key is written off the runtime's threads.
pub(crate) async fn admit(attempt: Attempt) -> Result<Peer, HandshakeError> {
    if !attempt.must_record() {
        return attempt.admit().map_err(HandshakeError::Refused);
    }
    let place = RECORDERS.acquire().await;
    // The place is the thread's, which goes on when the client's time is over.
    let record = move || {
        let admitted = attempt.admit();
        drop(place);
        admitted
    };
    spawn_blocking(record)
        .await
        .map_err(|_| HandshakeError::Stopping)?
        .map_err(HandshakeError::Refused)
}

/// Lets the peer read the alert. A socket closed with unread bytes resets the connection, and the
/// peer's next write would fail before it has read why it was refused.
pub(crate) async fn linger<S: Beneath>(mut stream: Buffered<S>) {
    let drain = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Its end does not matter: closed, reset, out of time or too much.
    let _closed = timeout(LINGER, drain).await;
}
