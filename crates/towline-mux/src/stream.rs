//! One stream.

mod chunks;
mod deadline;
mod io;
mod split;

use std::{
    fmt,
    io::IoSlice,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use tokio::{io::ReadBuf, time::Instant};

pub use self::{
    chunks::Chunks,
    split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf},
};
use self::{
    deadline::Deadline,
    io::{reading, writing},
};
use crate::{
    driver::{Shared, now},
    native::Counted,
    proto::{ReadError, Reading, StreamKey, WriteError},
    session::{Beneath, Session, SessionInner},
};

/// Vectored writes of this much are gathered into one; longer ones are written slice by slice.
const GATHERED: usize = 16 << 10;

/// A stream of bytes in both directions.
///
/// It is `AsyncRead + AsyncWrite`. [`read_chunk`](Self::read_chunk) and
/// [`write_chunk`](Self::write_chunk) move bytes without copying them,
/// [`into_chunks`](Self::into_chunks) makes it a `Stream` and `Sink` of them.
///
/// * `shutdown` ends this side's data; the peer reads its end, and reading goes on.
/// * Dropping a stream whose data was not ended *resets* it: a peer never takes half a message for a
///   whole one. After `shutdown`, dropping it leaves the peer some time to end, too.
/// * What a read returns at the end tells whether the peer meant it: `Ok(0)` after the peer's end of
///   data, else an error.
/// * Writing returns when the bytes are queued. [`flush`](tokio::io::AsyncWriteExt::flush) returns when
///   they were handed to the transport; [`Session::close`] when the peer has them.
pub struct Stream {
    core: StreamCore,
    read_deadline: Deadline,
    write_deadline: Deadline,
}

/// A stream's place in its session; given back when it is dropped.
pub(crate) struct StreamCore {
    session: Arc<SessionInner>,
    place: Place,
    id: u32,
}

enum Place {
    Engine(Arc<Shared>, StreamKey),
    Native(Counted),
}

impl Stream {
    pub(crate) fn new(
        session: Arc<SessionInner>,
        shared: Arc<Shared>,
        key: StreamKey,
        id: u32,
    ) -> Self {
        Self::at(session, Place::Engine(shared, key), id)
    }

    pub(crate) fn of_native(session: Arc<SessionInner>, stream: Counted) -> Self {
        let id = stream.stream.id();
        Self::at(session, Place::Native(stream), id)
    }

    fn at(session: Arc<SessionInner>, place: Place, id: u32) -> Self {
        Self {
            core: StreamCore { session, place, id },
            read_deadline: Deadline::default(),
            write_deadline: Deadline::default(),
        }
    }

    /// Has the peer told of it now.
    pub(crate) fn announce(&self) {
        if let Place::Engine(shared, key) = &self.core.place {
            let mut state = shared.lock();
            state.engine.announce(*key);
            shared.settle(state);
        }
    }

    /// Its id on the wire: odd if the session's client opened it; QUIC has its own.
    pub const fn id(&self) -> u32 {
        self.core.id
    }

    /// The session it belongs to.
    pub fn session(&self) -> Session {
        self.core.session()
    }

    /// The session's [`local_addr`](Session::local_addr).
    pub fn local_addr(&self) -> &str {
        self.core.session.local()
    }

    /// The session's [`peer_addr`](Session::peer_addr).
    pub fn peer_addr(&self) -> &str {
        self.core.session.peer()
    }

    pub(crate) fn poll_flush_chunks(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WriteError>> {
        self.core.poll_flush(cx, &mut self.write_deadline)
    }

    /// The stream as a [`futures_core::Stream`] and a [`futures_sink::Sink`] of [`Bytes`].
    ///
    /// ```
    /// # use towline_mux::yamux;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let client = yamux::client(here, yamux::Config::default())?;
    /// # let server = yamux::server(there, yamux::Config::default())?;
    /// use bytes::Bytes;
    /// use futures_util::{SinkExt, StreamExt};
    ///
    /// let mut chunks = client.open().await?.into_chunks();
    /// chunks.send(Bytes::from_static(b"question")).await?;
    /// # let mut stream = server.accept().await?.ok_or("no stream")?;
    /// # stream.write_chunk(Bytes::from_static(b"answer")).await?;
    /// if let Some(chunk) = chunks.next().await {
    ///     println!("{:?}", chunk?);
    /// }
    /// # drop(server);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_chunks(self) -> Chunks {
        Chunks::new(self)
    }

    /// Ends this side's data and gives up reading; what was written still arrives.
    ///
    /// # Errors
    ///
    /// [`WriteError`], if the stream or the session has ended otherwise.
    pub fn close(mut self) -> Result<(), WriteError> {
        self.close_write()
    }

    /// From then on reads fail with [`ReadError::TimedOut`] while nothing has come. The stream can still
    /// be used. Default: never.
    pub fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.read_deadline.set(deadline);
    }

    /// From then on writes fail with [`WriteError::TimedOut`]; waits for the peer's window and for room
    /// included. The stream can still be used. Default: never.
    pub fn set_write_deadline(&mut self, deadline: Option<Instant>) {
        self.write_deadline.set(deadline);
    }

    /// Sets both deadlines.
    ///
    /// ```
    /// # use towline_mux::yamux;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let client = yamux::client(here, yamux::Config::default())?;
    /// # let server = yamux::server(there, yamux::Config::default())?;
    /// use std::time::Duration;
    /// use tokio::time::Instant;
    /// use towline_mux::ReadError;
    ///
    /// let mut stream = client.open().await?;
    /// stream.set_deadline(Some(Instant::now() + Duration::from_millis(5)));
    /// // Nothing comes; the stream is as good as before.
    /// assert!(matches!(stream.read_chunk().await, Err(ReadError::TimedOut)));
    /// stream.set_deadline(None);
    /// # drop(server);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.set_read_deadline(deadline);
        self.set_write_deadline(deadline);
    }

    /// Two halves for one task.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (
            ReadHalf::new(&self.core, &mut self.read_deadline),
            WriteHalf::new(&self.core, &mut self.write_deadline),
        )
    }

    /// Two halves that can live in tasks of their own. The stream is let go of when both are dropped.
    ///
    /// ```
    /// # use towline_mux::yamux;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let client = yamux::client(here, yamux::Config::default())?;
    /// # let server = yamux::server(there, yamux::Config::default())?;
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let (mut read, mut write) = client.open().await?.into_split();
    /// let writing = tokio::spawn(async move {
    ///     write.write_all(b"hello").await?;
    ///     write.shutdown().await
    /// });
    /// # let mut stream = server.accept().await?.ok_or("no stream")?;
    /// # stream.close_write()?;
    /// while let Some(chunk) = read.read_chunk().await? {
    ///     println!("{chunk:?}");
    /// }
    /// writing.await??;
    /// # drop(server);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let core = Arc::new(self.core);
        (
            OwnedReadHalf::new(Arc::clone(&core), self.read_deadline),
            OwnedWriteHalf::new(core, self.write_deadline),
        )
    }
}

impl StreamCore {
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn session(&self) -> Session {
        Session {
            inner: Arc::clone(&self.session),
        }
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        deadline: &mut Deadline,
    ) -> Poll<Result<(), ReadError>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let (shared, key) = match &self.place {
            Place::Engine(shared, key) => (shared, *key),
            Place::Native(counted) => {
                return match counted.stream.poll_read(cx, buf) {
                    Poll::Pending => expired(cx, deadline, ReadError::TimedOut),
                    ready => ready,
                };
            }
        };
        let mut state = shared.lock();
        let room = buf.remaining();
        match state
            .engine
            .read_with(key, room, |piece| buf.put_slice(piece))?
        {
            Some(_) => {
                shared.settle_read(state);
                Poll::Ready(Ok(()))
            }
            None => {
                let old = state.wait_to_read(key, cx);
                shared.settle_read(state);
                drop(old);
                expired(cx, deadline, ReadError::TimedOut)
            }
        }
    }

    pub(crate) fn poll_read_chunk(
        &self,
        cx: &mut Context<'_>,
        deadline: &mut Deadline,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        let (shared, key) = match &self.place {
            Place::Engine(shared, key) => (shared, *key),
            Place::Native(counted) => {
                return match counted.stream.poll_read_chunk(cx) {
                    Poll::Pending => expired(cx, deadline, ReadError::TimedOut),
                    ready => ready,
                };
            }
        };
        let mut state = shared.lock();
        match state.engine.read(key, usize::MAX)? {
            Reading::Chunk(chunk) => {
                shared.settle_read(state);
                Poll::Ready(Ok(Some(chunk)))
            }
            Reading::End => Poll::Ready(Ok(None)),
            Reading::Blocked => {
                let old = state.wait_to_read(key, cx);
                shared.settle_read(state);
                drop(old);
                expired(cx, deadline, ReadError::TimedOut)
            }
        }
    }

    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        deadline: &mut Deadline,
    ) -> Poll<Result<usize, WriteError>> {
        // Before the bytes are taken: an expired deadline always fails.
        if deadline.poll_expired(cx) {
            return Poll::Ready(Err(WriteError::TimedOut));
        }
        match &self.place {
            Place::Engine(shared, key) => shared.poll_write(cx, *key, buf),
            Place::Native(counted) => counted.stream.poll_write(cx, buf),
        }
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        deadline: &mut Deadline,
    ) -> Poll<Result<usize, WriteError>> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let first = bufs.iter().find(|buf| !buf.is_empty());
        match first {
            // A header and its body, such as HTTP writes, are one frame.
            Some(first) if first.len() < total && first.len() < GATHERED => {
                let mut gathered = BytesMut::with_capacity(total.min(GATHERED));
                for buf in bufs {
                    let room = GATHERED - gathered.len();
                    gathered.extend_from_slice(&buf[..buf.len().min(room)]);
                }
                self.poll_write(cx, &gathered, deadline)
            }
            first => self.poll_write(cx, first.map_or(&[], |buf| &buf[..]), deadline),
        }
    }

    pub(crate) fn poll_write_chunk(
        &self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
        deadline: &mut Deadline,
    ) -> Poll<Result<(), WriteError>> {
        if deadline.poll_expired(cx) {
            return Poll::Ready(Err(WriteError::TimedOut));
        }
        match &self.place {
            Place::Engine(shared, key) => shared.poll_write_chunk(cx, *key, chunk),
            Place::Native(counted) => counted.stream.poll_write_chunk(cx, chunk),
        }
    }

    pub(crate) fn poll_flush(
        &self,
        cx: &mut Context<'_>,
        deadline: &mut Deadline,
    ) -> Poll<Result<(), WriteError>> {
        match &self.place {
            Place::Engine(shared, key) => {
                if let Poll::Ready(result) = shared.poll_flush(cx, *key) {
                    return Poll::Ready(result);
                }
            }
            // The transport has everything that was written.
            Place::Native(_) => return Poll::Ready(Ok(())),
        }
        expired(cx, deadline, WriteError::TimedOut)
    }

    pub(crate) fn shutdown(&self) -> Result<(), WriteError> {
        match &self.place {
            Place::Engine(shared, key) => {
                let mut state = shared.lock();
                state.engine.shutdown(*key)?;
                shared.settle(state);
                Ok(())
            }
            Place::Native(counted) => counted.stream.shutdown(),
        }
    }

    pub(crate) fn close_read(&self) {
        match &self.place {
            Place::Engine(shared, key) => {
                let mut state = shared.lock();
                state.engine.close_read(now(), *key);
                shared.settle(state);
            }
            Place::Native(counted) => counted.stream.close_read(),
        }
    }

    pub(crate) fn reset(&self, code: u32) {
        match &self.place {
            Place::Engine(shared, key) => {
                let mut state = shared.lock();
                state.engine.reset(now(), *key, code);
                shared.settle(state);
            }
            Place::Native(counted) => counted.stream.reset(code),
        }
    }
}

/// Pending, unless the deadline has passed.
fn expired<T, E>(cx: &mut Context<'_>, deadline: &mut Deadline, error: E) -> Poll<Result<T, E>> {
    if deadline.poll_expired(cx) {
        Poll::Ready(Err(error))
    } else {
        Poll::Pending
    }
}

impl Drop for StreamCore {
    fn drop(&mut self) {
        match &self.place {
            Place::Engine(shared, key) => {
                let mut state = shared.lock();
                let wakers = state.forget_wakers(*key);
                state.engine.release(now(), *key);
                shared.settle(state);
                drop(wakers);
            }
            Place::Native(counted) => {
                if let Beneath::Native(native) = &self.session.beneath {
                    native.forget(counted.inbound);
                }
            }
        }
    }
}

reading!(Stream, |this| (this.core, &mut this.read_deadline));
writing!(Stream, |this| (this.core, &mut this.write_deadline));

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("id", &self.core.id)
            .field("peer", &self.core.session.peer())
            .finish_non_exhaustive()
    }
}
