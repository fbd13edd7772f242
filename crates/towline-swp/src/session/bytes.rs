//! A stream of bytes: where one packet ends does not show.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::{Session, nothing_to_read};
use crate::{
    error::WriteError,
    proto::{CloseReason, SendError},
};

/// Several small pieces that are written together become one packet of at most this, in bytes.
const GATHERED: usize = 128 << 10;

impl Session {
    /// Writes bytes and waits until the peer has acknowledged all of them: that they arrived, or, if
    /// the peer acknowledges on consumption, that its application has taken them. The original waits
    /// 10 s. Calls of several tasks do not mix.
    ///
    /// # Errors
    ///
    /// [`WriteError`], with how many of these bytes were acknowledged.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some of the bytes may have been accepted.
    pub async fn write_all_acked(&self, data: &[u8], limit: Duration) -> Result<(), WriteError> {
        let mut numbers = Vec::new();
        let writing = async {
            let _turn = self.writing.lock().await;
            for piece in data.chunks(self.piece) {
                numbers.push(self.send(Bytes::copy_from_slice(piece)).await?);
            }
            match numbers.last() {
                Some(&last) => self.acknowledged(last).await,
                None => Ok(()),
            }
        };
        let result = timeout(limit, writing).await;
        let next = self.shared.lock().engine.acknowledged();
        let pieces = numbers.iter().filter(|&&number| number < next).count();
        let acked = data.len().min(pieces * self.piece);
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(WriteError::Failed { acked, source }),
            Err(_) => Err(WriteError::TimedOut { acked, limit }),
        }
    }

    /// Up to `most` of the next bytes; none at the end.
    pub(super) async fn read_some(&self, most: usize) -> Result<Bytes, crate::ReadError> {
        self.shared
            .wait(|engine, now| match engine.read(now, most) {
                Some(data) => Poll::Ready(Ok(data)),
                None => nothing_to_read(engine.read_state()).map_ok(|()| Bytes::new()),
            })
            .await
    }
}

/// A session as one holds a socket: dropping it delivers what was written, in the background and within
/// the configured linger time, where dropping a [`Session`] abandons it. Shutting it down tells whether
/// everything was acknowledged.
#[derive(Debug)]
pub struct ByteStream(Session);

impl Session {
    /// The session as bytes alone, for who holds it like a socket.
    pub fn into_byte_stream(self) -> ByteStream {
        ByteStream(self)
    }
}

impl ByteStream {
    /// The session itself.
    pub fn session(&self) -> &Session {
        &self.0
    }
}

impl Drop for ByteStream {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut &self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &self.0).poll_shutdown(cx)
    }
}

impl AsyncRead for &Session {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let data = ready!(self.shared.poll(cx, |engine, now| {
            match engine.read(now, room) {
                Some(data) => Poll::Ready(Ok(data)),
                None => nothing_to_read(engine.read_state()).map_ok(|()| Bytes::new()),
            }
        }))?;
        buf.put_slice(&data);
        Poll::Ready(Ok(()))
    }
}

/// Flushing completes at once: nothing waits for it. Shutting down says that no more is written, and
/// completes when the peer has acknowledged everything.
impl AsyncWrite for &Session {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Small pieces leave as one packet.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // docs/wire W24
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let first = bufs.iter().map(|buf| buf.len()).find(|&len| len > 0);
        let len = total.min(self.piece.min(GATHERED.max(first.unwrap_or(0))));
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        self.shared.poll(cx, |engine, now| {
            if engine.close_reason().is_none() && !engine.has_room_for(len) {
                return Poll::Pending;
            }
            let mut piece = BytesMut::with_capacity(len);
            for buf in bufs {
                let room = len - piece.len();
                piece.extend_from_slice(&buf[..buf.len().min(room)]);
            }
            match engine.send(now, piece.freeze()) {
                Ok(_) => Poll::Ready(Ok(len)),
                Err(SendError::Full) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error.into())),
            }
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.call(|engine, now| engine.finish(now));
        self.shared.poll(cx, |engine, _| {
            if engine.is_finished() {
                return Poll::Ready(Ok(()));
            }
            match engine.close_reason() {
                None => Poll::Pending,
                Some(CloseReason::Finished) => Poll::Ready(Ok(())),
                Some(reason) => Poll::Ready(Err(reason.into())),
            }
        })
    }
}

impl AsyncRead for Session {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_read(cx, buf)
    }
}

impl AsyncWrite for Session {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_shutdown(cx)
    }
}
