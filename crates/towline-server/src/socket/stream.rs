//! The one owner of a connection's bytes.

use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp;
#[cfg(unix)]
use tokio::net::unix;
use towline_transport::{BoxIo, Connection, Established, Remote, Stream};

use super::closing::CloseReason;
use super::halves::{ReadHalf, halves};
use super::shared::Inner;
use super::writer::Writer;
use super::{SendError, Socket};
use crate::admission::Admitted;
use crate::clock::wall_time;
use crate::registry::Registry;

/// A connection's bytes, both ways. It is `AsyncRead` and `AsyncWrite`, and dereferences to its
/// [`Socket`], clones of which others may hold.
///
/// What is written goes through the socket's one queue. Reading after the end gives the end of the
/// stream if the peer has ended the connection, and an error otherwise. Dropping it ends the connection;
/// when its handler returns, what waits is written before.
pub struct SocketStream {
    socket: Socket,
    reader: Reader,
    /// This side's address, where the transport cannot tell it.
    local: Option<Box<Local>>,
}

/// Boxed once more, because hardly any stream needs it.
struct Local(Box<str>);

pub(super) enum Reader {
    Tcp(tcp::OwnedReadHalf),
    #[cfg(unix)]
    Unix(unix::OwnedReadHalf),
    Other {
        half: ReadHalf,
        /// Several slices leave together.
        vectored: bool,
    },
    /// Taken apart.
    Gone,
}

/// Why a stream cannot be wrapped or taken apart. It is as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// Bytes wait to be written; await [`Socket::flushed`] first.
    #[error("bytes wait to be written to the connection: wait for them first")]
    Busy(SocketStream),
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed,
}

impl SocketStream {
    pub(crate) fn new(
        registry: Arc<Registry>,
        established: Established,
        admitted: Option<Admitted>,
    ) -> Self {
        let (reader, writer) = split(established.stream);
        let inner = Inner::new(
            registry,
            wall_time(),
            established.remote,
            established.peer,
            writer,
            admitted,
        );
        Self {
            socket: Socket(inner),
            reader,
            local: established.local.map(|local| Box::new(Local(local))),
        }
    }

    /// The socket, to be cloned and kept.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// This side's address, such as `tcp://127.0.0.1:59705`; empty if the transport has none.
    ///
    /// # Errors
    ///
    /// What the system says about its own socket.
    pub fn local_addr(&self) -> io::Result<String> {
        match (&self.local, &self.reader) {
            (None, Reader::Tcp(half)) => Ok(Remote::address(half.local_addr()?).to_string()),
            (Some(local), _) => Ok(local.0.to_string()),
            (None, _) => Ok(String::new()),
        }
    }

    /// The socket as a connection, for whatever takes one. It goes on through its socket: what others send
    /// has its place in the same order.
    ///
    /// # Errors
    ///
    /// As [`local_addr`](Self::local_addr).
    pub fn into_connection(self) -> io::Result<Connection> {
        let (peer, local) = (self.peer(), self.local_addr()?);
        let remote = self.remote().to_string();
        Ok(Connection::new(Box::new(self), peer, local, remote))
    }

    /// Puts a layer around the bytes, such as compression or a log: from now on everybody reads and
    /// writes through it. Layers stack, the latest is outermost; the socket counts what crosses the
    /// connection, below all of them. A layer must not use the socket itself: it is called under the lock
    /// of its queue.
    ///
    /// ```no_run
    /// # fn compress(io: towline_transport::BoxIo) -> towline_transport::BoxIo { io }
    /// # fn with(stream: towline_server::SocketStream) -> Result<(), towline_server::UnwrapError> {
    /// let stream = stream.wrap(compress)?;
    /// # drop(stream);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnwrapError`].
    pub fn wrap(mut self, layer: impl FnOnce(BoxIo) -> BoxIo) -> Result<Self, UnwrapError> {
        let inner = Arc::clone(&self.socket.0);
        // The transport tells it no more when it is below a layer.
        let local = self.local_addr().ok();
        let io = match self.take_apart()? {
            Ok(stream) => stream.into_io(),
            Err(stream) => return Err(UnwrapError::Busy(stream)),
        };
        let first = !inner.counted_below.swap(true, Ordering::AcqRel);
        let io: BoxIo = if first {
            Box::new(Counted {
                io,
                inner: Arc::downgrade(&inner),
            })
        } else {
            io
        };
        if self.local.is_none() {
            self.local = local.map(|local| Box::new(Local(local.into())));
        }
        let (reader, writer) = split_any(layer(io));
        self.reader = reader;
        if inner.put_writer(writer) {
            Ok(self)
        } else {
            Err(UnwrapError::Closed)
        }
    }

    /// Ends the socket and gives away what carried it: the TCP or Unix socket itself, or the TLS stream
    /// and whatever was wrapped around it. Its places below the server's limits are free from now on.
    ///
    /// # Errors
    ///
    /// [`UnwrapError`].
    pub fn into_inner(mut self) -> Result<Stream, UnwrapError> {
        let inner = Arc::clone(&self.socket.0);
        match self.take_apart()? {
            Ok(stream) => {
                inner.close(CloseReason::Server);
                Ok(stream)
            }
            Err(stream) => Err(UnwrapError::Busy(stream)),
        }
    }

    fn read_driven(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let inner = &self.socket.0;
        match inner.close_reason() {
            None => {}
            Some(CloseReason::Client) => return Poll::Ready(Ok(())),
            Some(_) => return Poll::Ready(Err(SendError::Closed.into())),
        }
        let before = buf.filled().len();
        let wanted = buf.remaining();
        match ready!(self.reader.poll_read(cx, buf)) {
            Ok(()) => {
                let count = buf.filled().len() - before;
                inner.count_read(count);
                if count == 0 && wanted > 0 {
                    inner.peer_ended.store(true, Ordering::Release);
                }
                Poll::Ready(Ok(()))
            }
            // TLS without a goodbye: whoever cares can ask.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                inner.truncated.store(true, Ordering::Release);
                inner.peer_ended.store(true, Ordering::Release);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                inner.fail(&error);
                Poll::Ready(Err(error))
            }
        }
    }

    /// The halves in one, taken out; the stream back if bytes wait.
    fn take_apart(&mut self) -> Result<Result<Stream, Self>, UnwrapError> {
        if self.socket.is_closed() {
            return Err(UnwrapError::Closed);
        }
        let Some(writer) = self.socket.0.borrow_writer() else {
            return Ok(Err(Self {
                socket: self.socket.clone(),
                reader: std::mem::replace(&mut self.reader, Reader::Gone),
                local: self.local.take(),
            }));
        };
        let reader = std::mem::replace(&mut self.reader, Reader::Gone);
        Ok(Ok(match (reader, writer) {
            (Reader::Tcp(reader), Writer::Tcp(writer)) => {
                Stream::Tcp(reader.reunite(writer).map_err(|_| UnwrapError::Closed)?)
            }
            #[cfg(unix)]
            (Reader::Unix(reader), Writer::Unix(writer)) => {
                Stream::Unix(reader.reunite(writer).map_err(|_| UnwrapError::Closed)?)
            }
            (Reader::Other { half, .. }, Writer::Other(writer)) => {
                Stream::Other(half.unsplit(&writer).ok_or(UnwrapError::Closed)?)
            }
            _ => return Err(UnwrapError::Closed),
        }))
    }

    /// Moves the socket's readiness to the runtime that this is called in.
    pub(crate) fn rehome(&mut self) -> io::Result<()> {
        let Some(writer) = self.socket.0.borrow_writer() else {
            return Ok(());
        };
        let reader = std::mem::replace(&mut self.reader, Reader::Gone);
        let (reader, writer) = match (reader, writer) {
            (Reader::Tcp(reader), Writer::Tcp(writer)) => {
                let stream = reader.reunite(writer).map_err(io::Error::other)?;
                split(Stream::Tcp(tokio::net::TcpStream::from_std(
                    stream.into_std()?,
                )?))
            }
            #[cfg(unix)]
            (Reader::Unix(reader), Writer::Unix(writer)) => {
                let stream = reader.reunite(writer).map_err(io::Error::other)?;
                split(Stream::Unix(tokio::net::UnixStream::from_std(
                    stream.into_std()?,
                )?))
            }
            other => other,
        };
        self.reader = reader;
        self.socket.0.put_writer(writer);
        Ok(())
    }
}

impl Reader {
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(half) => Pin::new(half).poll_read(cx, buf),
            Self::Other { half, .. } => Pin::new(half).poll_read(cx, buf),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

fn split(stream: Stream) -> (Reader, Writer) {
    match stream {
        Stream::Tcp(stream) => {
            let (reader, writer) = stream.into_split();
            (Reader::Tcp(reader), Writer::Tcp(writer))
        }
        #[cfg(unix)]
        Stream::Unix(stream) => {
            let (reader, writer) = stream.into_split();
            (Reader::Unix(reader), Writer::Unix(writer))
        }
        other => split_any(other.into_io()),
    }
}

fn split_any(io: BoxIo) -> (Reader, Writer) {
    let vectored = io.is_write_vectored();
    let (half, writer) = halves(io);
    (Reader::Other { half, vectored }, Writer::Other(writer))
}

impl Deref for SocketStream {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.socket
    }
}

impl AsyncRead for SocketStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket.0.read_by(cx.waker());
        self.read_driven(cx, buf)
    }
}

/// A stream read by its connection's own task, which a close wakes in any case.
pub(crate) struct Driven<'a>(pub(crate) &'a mut SocketStream);

impl AsyncRead for Driven<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.read_driven(cx, buf)
    }
}

impl AsyncWrite for SocketStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket.0.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.0.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match self.reader {
            Reader::Tcp(_) => true,
            #[cfg(unix)]
            Reader::Unix(_) => true,
            Reader::Other { vectored, .. } => vectored,
            Reader::Gone => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.0.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.0.poll_flush(cx))?;
        self.socket.0.poll_finish().map(Ok)
    }
}

impl Drop for SocketStream {
    fn drop(&mut self) {
        if matches!(self.reader, Reader::Gone) {
            return;
        }
        if self.socket.0.managed.load(Ordering::Acquire) {
            // Its task writes what waits, and lets the peer finish its sentence.
            let reader = std::mem::replace(&mut self.reader, Reader::Gone);
            self.socket.0.leave(reader);
        } else {
            let reason = self.socket.0.natural_reason();
            self.socket.0.close(reason);
        }
    }
}

impl fmt::Debug for SocketStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.socket, f)
    }
}

/// Counts what crosses the connection, below a wrapper.
struct Counted {
    io: BoxIo,
    inner: std::sync::Weak<Inner>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        if let Some(inner) = self.inner.upgrade() {
            inner.traffic.add_read(buf.filled().len() - before);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        if let (Ok(count), Some(inner)) = (&written, self.inner.upgrade()) {
            inner.traffic.add_written(*count);
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
