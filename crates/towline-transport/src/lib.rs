//! Endpoint URLs and the stacks they name: `tcp`, `tls`, `unix`, `mem`, and sliding-window sessions: `udp`,
//! and `nats` with the feature of that name.
//!
//! One text says where and how: `tls://db.internal:8443#dir/file`, in code and on the command line.
//! [`connect()`] dials it, [`Listener`] waits there, and both give a [`Connection`]: bytes both ways, and
//! the [`Peer`] at the other end as far as it has proven itself. With `yamux+` or
//! `muxado+` in front, [`connect_session`] gives many streams on one connection.
//!
//! `connect+tcp://host:port` is TCP behind an HTTP CONNECT, as the original of the calls speaks it; [`http_connect`] has
//! its two sides for servers of HTTP and for connections that are there already (docs/wire F35).
//!
//! `?psk=FILE` puts the pre-shared-key layer on any transport: both ends then prove themselves as on
//! `tls`, and need the same key file besides (docs/wire R1 to R20).
//!
//! This crate does not decide who may do what, does not accept in a loop (towline-server does) and
//! does not know what the bytes mean (towline-rpc does).
//!
//! ```
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use towline_transport::{ConnectOptions, Endpoint, ListenOptions, Listener, connect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = Listener::bind(&"tcp://127.0.0.1:0".parse()?, &ListenOptions::new()).await?;
//! let endpoint: Endpoint = listener.local_endpoint().clone();
//! let server = async {
//!     let mut connection = listener.accept().await?.handshake().await?;
//!     connection.write_all(b"hello").await?;
//!     connection.shutdown().await?;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! };
//! let client = async {
//!     let mut connection = connect(&endpoint, &ConnectOptions::new()).await?;
//!     let mut text = String::new();
//!     connection.read_to_string(&mut text).await?;
//!     Ok::<_, Box<dyn std::error::Error>>(text)
//! };
//! let (served, text) = tokio::join!(server, client);
//! served?;
//! assert_eq!(text?, "hello");
//! # Ok(())
//! # }
//! ```

mod connect;
mod connection;
mod endpoint;
mod established;
pub mod http_connect;
mod inherit;
mod listen;
mod mem;
mod psk;
mod quic;
mod race;
mod server_tls;
mod session;
mod swp;
mod tcp;
mod tls;
mod tls_config;
#[cfg(unix)]
mod unix;

use std::io;

pub use connect::{ConnectError, ConnectOptions, connect};
pub use connection::{BoxIo, Connection, Io};
pub use endpoint::{Endpoint, EndpointProblem, Multiplexer, ParseEndpointError, Scheme};
pub use established::{Established, Remote, Stream};
pub use listen::{AcceptError, Incoming, ListenError, ListenOptions, Listener};
pub use psk::{PskLayer, PskProblem, Records};
pub use quic::SharedUdp;
pub use session::connect_session;
pub use tls_config::{TlsConfig, TlsFilesError};
/// The rustls whose configurations [`TlsConfig`] takes.
pub use tokio_rustls::rustls;
pub use towline_identity::tls::TlsProblem;
pub use towline_identity::{Authorisation, Peer, PublicKey, Trust, Verdict};

/// What an I/O error of an established connection says about TLS, if it says anything.
///
/// In TLS 1.3 a client learns only at its first read that the server has refused its certificate;
/// the error then is [`TlsProblem::Refused`] with the server's reason. Errors that wrap the
/// transport's error are looked into.
pub fn describe_io_error(error: &io::Error) -> Option<TlsProblem> {
    if let Some(problem) = TlsProblem::from_io_error(error) {
        return Some(problem);
    }
    let mut source = error
        .get_ref()
        .map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(inner) = source {
        if let Some(problem) = inner
            .downcast_ref::<io::Error>()
            .and_then(TlsProblem::from_io_error)
        {
            return Some(problem);
        }
        source = inner.source();
    }
    None
}

/// Whether an I/O error of a connection means that the other end has hung up: it closed the connection, was killed, or
/// closed with something unread. Systems and libraries have several words for it.
pub fn is_hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
