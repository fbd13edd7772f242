//! TLS over a TCP stream, both sides.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use towline_identity::tls::SERVER_NAME;

/// rustls reads four KiB at a time; with this buffer below it one system call fetches many records.
const READ_BUFFER: usize = 128 * 1024;
/// What rustls encrypts before it insists on being written out, in bytes: many records leave in one
/// system call, and a slow peer costs no more than this per connection.
const WRITE_BUFFER: usize = 256 * 1024;
/// How long a refused peer is given to read why.
const LINGER: Duration = Duration::from_secs(1);
/// And how much it may still send meanwhile.
const LINGER_BYTES: u64 = 256 * 1024;

pub(crate) type Buffered = BufReader<TcpStream>;

pub(crate) async fn connect(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> io::Result<client::TlsStream<Buffered>> {
    // The constant is a valid DNS name.
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    let stream = BufReader::with_capacity(READ_BUFFER, stream);
    TlsConnector::from(config)
        .connect_with(name, stream, |connection| {
            connection.set_buffer_limit(Some(WRITE_BUFFER))
        })
        .await
}

/// A failed handshake gives the stream back, to [`linger`] on.
pub(crate) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<server::TlsStream<Buffered>, (io::Error, Buffered)> {
    let stream = BufReader::with_capacity(READ_BUFFER, stream);
    TlsAcceptor::from(config)
        .accept_with(stream, |connection| {
            connection.set_buffer_limit(Some(WRITE_BUFFER))
        })
        .into_fallible()
        .await
}

/// Lets the peer read the alert. A socket closed with unread bytes resets the connection, and the
/// peer's next write would fail before it has read why it was refused.
pub(crate) async fn linger(mut stream: Buffered) {
    let drain = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Its end does not matter: closed, reset, out of time or too much.
    let _closed = timeout(LINGER, drain).await;
}
