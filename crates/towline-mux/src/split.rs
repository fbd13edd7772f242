//! The two halves of a stream.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{
    deadline::Deadline,
    proto::{ReadError, WriteError},
    session::Session,
    stream::StreamCore,
};

/// The reading half of a stream, borrowed from it; made by [`Stream::split`](crate::Stream::split).
pub struct ReadHalf<'a> {
    core: &'a StreamCore,
    deadline: &'a mut Deadline,
}

/// The writing half of a stream, borrowed from it; made by [`Stream::split`](crate::Stream::split).
pub struct WriteHalf<'a> {
    core: &'a StreamCore,
    deadline: &'a mut Deadline,
}

/// The reading half of a stream; made by [`Stream::into_split`](crate::Stream::into_split). Dropping it
/// gives up reading, and, with the other half, lets go of the stream.
pub struct OwnedReadHalf {
    core: Arc<StreamCore>,
    deadline: Deadline,
}

/// The writing half of a stream; made by [`Stream::into_split`](crate::Stream::into_split). Dropping it
/// ends nothing by itself: shut it down first, or the stream is reset when the other half is dropped.
pub struct OwnedWriteHalf {
    core: Arc<StreamCore>,
    deadline: Deadline,
}

impl<'a> ReadHalf<'a> {
    pub(crate) const fn new(core: &'a StreamCore, deadline: &'a mut Deadline) -> Self {
        Self { core, deadline }
    }
}

impl<'a> WriteHalf<'a> {
    pub(crate) const fn new(core: &'a StreamCore, deadline: &'a mut Deadline) -> Self {
        Self { core, deadline }
    }
}

impl OwnedReadHalf {
    pub(crate) const fn new(core: Arc<StreamCore>, deadline: Deadline) -> Self {
        Self { core, deadline }
    }

    /// As [`Stream::set_read_deadline`](crate::Stream::set_read_deadline).
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }
}

impl OwnedWriteHalf {
    pub(crate) const fn new(core: Arc<StreamCore>, deadline: Deadline) -> Self {
        Self { core, deadline }
    }

    /// As [`Stream::set_write_deadline`](crate::Stream::set_write_deadline).
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }
}

impl ReadHalf<'_> {
    /// The stream's id.
    pub fn id(&self) -> u32 {
        self.core.id()
    }

    /// The session it belongs to.
    pub fn session(&self) -> Session {
        self.core.session()
    }

    /// As [`Stream::read_chunk`](crate::Stream::read_chunk).
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        std::future::poll_fn(|cx| self.core.poll_read_chunk(cx, self.deadline)).await
    }

    /// As [`Stream::close_read`](crate::Stream::close_read).
    pub fn close_read(&mut self) {
        self.core.close_read();
    }
}

impl AsyncRead for ReadHalf<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.core
            .poll_read(cx, buf, this.deadline)
            .map_err(io::Error::from)
    }
}

impl std::fmt::Debug for ReadHalf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadHalf")
            .field("id", &self.core.id())
            .finish_non_exhaustive()
    }
}

impl OwnedReadHalf {
    /// The stream's id.
    pub fn id(&self) -> u32 {
        self.core.id()
    }

    /// The session it belongs to.
    pub fn session(&self) -> Session {
        self.core.session()
    }

    /// As [`Stream::read_chunk`](crate::Stream::read_chunk).
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        std::future::poll_fn(|cx| self.core.poll_read_chunk(cx, &mut self.deadline)).await
    }

    /// As [`Stream::close_read`](crate::Stream::close_read).
    pub fn close_read(&mut self) {
        self.core.close_read();
    }
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.core
            .poll_read(cx, buf, &mut this.deadline)
            .map_err(io::Error::from)
    }
}

impl std::fmt::Debug for OwnedReadHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnedReadHalf")
            .field("id", &self.core.id())
            .finish_non_exhaustive()
    }
}

impl WriteHalf<'_> {
    /// The stream's id.
    pub fn id(&self) -> u32 {
        self.core.id()
    }

    /// The session it belongs to.
    pub fn session(&self) -> Session {
        self.core.session()
    }

    /// As [`Stream::write_chunk`](crate::Stream::write_chunk).
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses what was not queued yet.
    pub async fn write_chunk(&mut self, mut chunk: Bytes) -> Result<(), WriteError> {
        loop {
            std::future::poll_fn(|cx| self.core.poll_write_chunk(cx, &mut chunk, self.deadline))
                .await?;
            if chunk.is_empty() {
                return Ok(());
            }
        }
    }

    /// As [`Stream::reset`](crate::Stream::reset), for both halves.
    pub fn reset(&mut self, code: u32) {
        self.core.reset(code);
    }
}

impl AsyncWrite for WriteHalf<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.core
            .poll_write(cx, buf, this.deadline)
            .map_err(io::Error::from)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.core
            .poll_write_vectored(cx, bufs, this.deadline)
            .map_err(io::Error::from)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.core
            .poll_flush(cx, this.deadline)
            .map_err(io::Error::from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.core.shutdown().map_err(io::Error::from))
    }
}

impl std::fmt::Debug for WriteHalf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteHalf")
            .field("id", &self.core.id())
            .finish_non_exhaustive()
    }
}

impl OwnedWriteHalf {
    /// The stream's id.
    pub fn id(&self) -> u32 {
        self.core.id()
    }

    /// The session it belongs to.
    pub fn session(&self) -> Session {
        self.core.session()
    }

    /// As [`Stream::write_chunk`](crate::Stream::write_chunk).
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses what was not queued yet.
    pub async fn write_chunk(&mut self, mut chunk: Bytes) -> Result<(), WriteError> {
        loop {
            std::future::poll_fn(|cx| {
                self.core
                    .poll_write_chunk(cx, &mut chunk, &mut self.deadline)
            })
            .await?;
            if chunk.is_empty() {
                return Ok(());
            }
        }
    }

    /// As [`Stream::reset`](crate::Stream::reset), for both halves.
    pub fn reset(&mut self, code: u32) {
        self.core.reset(code);
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.core
            .poll_write(cx, buf, &mut this.deadline)
            .map_err(io::Error::from)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.core
            .poll_write_vectored(cx, bufs, &mut this.deadline)
            .map_err(io::Error::from)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.core
            .poll_flush(cx, &mut this.deadline)
            .map_err(io::Error::from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.core.shutdown().map_err(io::Error::from))
    }
}

impl std::fmt::Debug for OwnedWriteHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnedWriteHalf")
            .field("id", &self.core.id())
            .finish_non_exhaustive()
    }
}

impl Drop for OwnedReadHalf {
    /// Nobody reads any more: the peer should not wait for credit that never comes.
    fn drop(&mut self) {
        self.core.close_read();
    }
}
