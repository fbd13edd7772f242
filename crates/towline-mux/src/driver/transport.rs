//! What carries a session's bytes.

use std::{any::Any, fmt, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// What carries a session's bytes, in two halves that can be used at the same time.
///
/// Anything that is `AsyncRead + AsyncWrite` becomes one by itself; this type is needed only to give
/// a session its halves, or addresses, apart.
///
/// ```
/// use towline_mux::{Transport, yamux};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (io, _other_end) = tokio::io::duplex(1024);
/// let transport = Transport::from(io).addresses("mem://a", "mem://b");
/// let session = yamux::client(transport, yamux::Config::default())?;
/// assert_eq!(session.peer_addr(), "mem://b");
/// # Ok(())
/// # }
/// ```
pub struct Transport {
    pub(crate) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) write: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) local: Option<Arc<str>>,
    pub(crate) peer: Option<Arc<str>>,
    pub(crate) extension: Option<Arc<dyn Any + Send + Sync>>,
}

impl Transport {
    /// A transport of two halves. Halves that share a lock make whoever writes wait for who reads.
    pub fn from_halves(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self {
            read: Box::new(read),
            write: Box::new(write),
            local: None,
            peer: None,
            extension: None,
        }
    }

    /// Something that the session is to know of the connection it runs on: who is at its other end, say. Whoever has
    /// the session or a stream of it finds it by its type, in [`Session::extension`](crate::Session::extension).
    /// Default: nothing.
    #[must_use]
    pub fn with_extension<T: Any + Send + Sync>(mut self, extension: T) -> Self {
        self.extension = Some(Arc::new(extension));
        self
    }

    /// The addresses that the session and its streams tell. Default: those of a TCP connection; else
    /// such as `yamux:local` and `yamux:remote`.
    #[must_use]
    pub fn addresses(mut self, local: impl Into<Arc<str>>, peer: impl Into<Arc<str>>) -> Self {
        self.local = Some(local.into());
        self.peer = Some(peer.into());
        self
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> From<T> for Transport {
    fn from(io: T) -> Self {
        let mut io = Some(io);
        // Halves of a socket that know of each other need no lock between them.
        if let Some(socket) = (&mut io as &mut dyn Any).downcast_mut::<Option<TcpStream>>()
            && let Some(socket) = socket.take()
        {
            let local = socket.local_addr().ok().map(|addr| addr.to_string().into());
            let peer = socket.peer_addr().ok().map(|addr| addr.to_string().into());
            let (read, write) = socket.into_split();
            return Self {
                local,
                peer,
                ..Self::from_halves(read, write)
            };
        }
        #[cfg(unix)]
        if let Some(socket) =
            (&mut io as &mut dyn Any).downcast_mut::<Option<tokio::net::UnixStream>>()
            && let Some(socket) = socket.take()
        {
            let (read, write) = socket.into_split();
            return Self::from_halves(read, write);
        }
        match io {
            Some(io) => {
                let (read, write) = tokio::io::split(io);
                Self::from_halves(read, write)
            }
            None => Self::from_halves(tokio::io::empty(), tokio::io::empty()),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("local", &self.local)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
