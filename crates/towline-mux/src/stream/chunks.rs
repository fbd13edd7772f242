//! A stream as a stream and a sink of chunks.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream as FuturesStream;
use futures_sink::Sink;

use super::Stream;
use crate::proto::{ReadError, WriteError};

/// A [`Stream`] as a [`futures_core::Stream`] and a [`futures_sink::Sink`] of [`Bytes`]; made by
/// [`Stream::into_chunks`]. Chunks are not messages: the peer may get them in other pieces.
///
/// Closing the sink ends this side's data.
#[derive(Debug)]
pub struct Chunks {
    stream: Stream,
    pending: Bytes,
    ended: bool,
}

impl Chunks {
    pub(crate) const fn new(stream: Stream) -> Self {
        Self {
            stream,
            pending: Bytes::new(),
            ended: false,
        }
    }

    /// The stream again. A chunk that the sink has taken and not written yet is lost: flush it before.
    pub fn into_inner(self) -> Stream {
        self.stream
    }

    /// The stream.
    pub const fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    fn poll_write_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        while !self.pending.is_empty() {
            ready!(self.stream.poll_write_chunk(cx, &mut self.pending))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl FuturesStream for Chunks {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let result = ready!(self.stream.poll_read_chunk(cx));
        self.ended = !matches!(result, Ok(Some(_)) | Err(ReadError::TimedOut));
        Poll::Ready(result.transpose())
    }
}

impl Sink<Bytes> for Chunks {
    type Error = WriteError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_write_pending(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, chunk: Bytes) -> Result<(), Self::Error> {
        // `poll_ready` has emptied it, or the caller breaks the contract of a sink; then both are kept.
        if self.pending.is_empty() {
            self.pending = chunk;
        } else {
            self.pending = [&self.pending[..], &chunk[..]].concat().into();
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_write_pending(cx))?;
        self.stream.poll_flush_chunks(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_write_pending(cx))?;
        Poll::Ready(self.stream.close_write())
    }
}
