//! What every multiplexer offers to the loads, at its own best price.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Poll, ready},
};

use anyhow::ensure;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// What one read may take at most where the peer needs a buffer of ours.
const SCRATCH: usize = 64 << 10;

thread_local! {
    /// One for each thread: a sink owns no buffer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// One connection with many streams.
pub(crate) trait Mux: Clone + Send + Sync + 'static {
    type Stream: Stream;

    fn open(&self) -> impl Future<Output = anyhow::Result<Self::Stream>> + Send;

    /// `None` once the session has ended.
    fn accept(&self) -> impl Future<Output = anyhow::Result<Option<Self::Stream>>> + Send;
}

/// One stream.
pub(crate) trait Stream: Send + 'static {
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// How many bytes came; 0 at the end. They are not looked at.
    fn receive(&mut self) -> impl Future<Output = anyhow::Result<usize>> + Send;

    /// The same into a buffer of the caller's.
    fn receive_into(
        &mut self,
        buffer: &mut [u8],
    ) -> impl Future<Output = anyhow::Result<usize>> + Send;

    /// Ends our direction.
    fn finish(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;

    fn receive_all(&mut self, wanted: usize) -> impl Future<Output = anyhow::Result<()>> + Send {
        async move {
            let mut left = wanted;
            while left > 0 {
                let count = self.receive().await?;
                ensure!(count > 0, "a stream ended {left} bytes early");
                ensure!(count <= left, "{} bytes too many came", count - left);
                left -= count;
            }
            Ok(())
        }
    }

    fn receive_end(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send {
        async move {
            ensure!(self.receive().await? == 0, "a stream does not end");
            Ok(())
        }
    }
}

/// A stream of tokio's traits. `READ_AHEAD`: it learns of credit only while it is read, so whoever waits to
/// write reads.
pub(crate) struct Io<S, const READ_AHEAD: bool = false> {
    io: S,
    ahead: usize,
}

impl<S, const READ_AHEAD: bool> Io<S, READ_AHEAD> {
    pub(crate) fn new(io: S) -> Self {
        Self { io, ahead: 0 }
    }
}

impl<S, const READ_AHEAD: bool> Stream for Io<S, READ_AHEAD>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    async fn send(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        if !READ_AHEAD {
            self.io.write_all(&bytes).await?;
            return Ok(self.io.flush().await?);
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let written = poll_fn(|cx| {
                loop {
                    if let Poll::Ready(written) = Pin::new(&mut self.io).poll_write(cx, rest) {
                        return Poll::Ready(written);
                    }
                    let count = ready!(poll_scratch(&mut self.io, cx))?;
                    if count == 0 {
                        return Poll::Pending;
                    }
                    self.ahead += count;
                }
            })
            .await?;
            rest = &rest[written..];
        }
        Ok(self.io.flush().await?)
    }

    async fn receive(&mut self) -> anyhow::Result<usize> {
        if self.ahead > 0 {
            return Ok(std::mem::take(&mut self.ahead));
        }
        Ok(poll_fn(|cx| poll_scratch(&mut self.io, cx)).await?)
    }

    async fn receive_into(&mut self, buffer: &mut [u8]) -> anyhow::Result<usize> {
        Ok(self.io.read(buffer).await?)
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.io.shutdown().await?)
    }
}

fn poll_scratch(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut std::task::Context<'_>,
) -> Poll<io::Result<usize>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    })
}
