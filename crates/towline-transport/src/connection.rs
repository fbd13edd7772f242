//! One established connection, whatever stack it stands on.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use towline_identity::Peer;

/// What carries bytes both ways and can be moved between tasks.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// As what a session runs on; a socket in its two halves.
    #[doc(hidden)]
    fn into_transport(self: Box<Self>) -> towline_mux::Transport
    where
        Self: 'static;
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {
    fn into_transport(self: Box<Self>) -> towline_mux::Transport
    where
        Self: 'static,
    {
        towline_mux::Transport::from(*self)
    }
}

/// Any byte stream. Vectored writes reach the transport as such.
pub type BoxIo = Box<dyn Io>;

/// An established connection: its handshakes are done and `peer` has proven what it says.
///
/// It is itself `AsyncRead + AsyncWrite`; take it apart to move the pieces.
#[non_exhaustive]
pub struct Connection {
    /// The bytes.
    pub io: BoxIo,
    /// Who is at the other end.
    pub peer: Peer,
    /// This side's address as it stands in message headers: `tcp://127.0.0.1:59705` for `tcp` and
    /// `tls` (docs/wire M5).
    pub local: String,
    /// The other side's address, in the same form.
    pub remote: String,
}

impl Connection {
    /// Puts a connection together, for transports made elsewhere and for tests.
    pub fn new(io: BoxIo, peer: Peer, local: impl Into<String>, remote: impl Into<String>) -> Self {
        Self {
            io,
            peer,
            local: local.into(),
            remote: remote.into(),
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// This side's address, such as `tcp://127.0.0.1:59705`.
    pub fn local_addr(&self) -> &str {
        &self.local
    }

    /// The other side's address, such as `tcp://127.0.0.1:59705`.
    pub fn remote_addr(&self) -> &str {
        &self.remote
    }

    /// The bytes alone.
    pub fn into_io(self) -> BoxIo {
        self.io
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("local", &self.local)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
