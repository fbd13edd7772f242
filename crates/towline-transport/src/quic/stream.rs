//! One stream as a connection.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use quinn::{Connection, ReadError, RecvStream, SendStream, StoppedError, VarInt, WriteError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::CLOSED;
use super::error::{io_error, is_closed};

type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

/// A bidirectional stream, and the connection that it keeps alive. When the last stream of a
/// connection is dropped, and nobody waits for another, the connection is closed.
pub(crate) struct Stream {
    send: SendStream,
    receive: RecvStream,
    connection: Connection,
    /// Set once nothing more will be written: ends when the other side has everything.
    stopped: Option<Stopped>,
    /// Closing the connection counts as the end of the stream. Only what says by itself where it ends
    /// may be told so: the original ends streams in no other way.
    closing_is_end: bool,
}

impl Stream {
    pub(super) fn new(
        connection: Connection,
        (send, receive): (SendStream, RecvStream),
        closing_is_end: bool,
    ) -> Self {
        Self {
            send,
            receive,
            connection,
            stopped: None,
            closing_is_end,
        }
    }

    fn read_error(&self, error: ReadError) -> io::Result<()> {
        match error {
            ReadError::ConnectionLost(error) if self.closing_is_end && is_closed(&error) => Ok(()),
            ReadError::ConnectionLost(error) => Err(io_error(error)),
            error => Err(error.into()),
        }
    }
}

fn write_error(error: WriteError) -> io::Error {
    match error {
        WriteError::ConnectionLost(error) if is_closed(&error) => io::ErrorKind::BrokenPipe.into(),
        WriteError::ConnectionLost(error) => io_error(error),
        error => error.into(),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.receive
            .poll_read_buf(cx, buf)
            .map(|result| result.or_else(|error| self.read_error(error)))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send)
            .poll_write(cx, buf)
            .map_err(write_error)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Packets leave by themselves.
        Poll::Ready(Ok(()))
    }

    /// Ready when the other end has acknowledged everything: a connection that is closed takes what
    /// it still holds along.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let stopped = this.stopped.get_or_insert_with(|| {
            // An error says that it is over already.
            let _over = this.send.finish();
            Box::pin(this.send.stopped())
        });
        stopped.as_mut().poll(cx).map(|result| match result {
            Ok(_) => Ok(()),
            Err(StoppedError::ConnectionLost(error)) if is_closed(&error) => Ok(()),
            Err(StoppedError::ConnectionLost(error)) => Err(io_error(error)),
            Err(error) => Err(error.into()),
        })
    }
}

impl Drop for Stream {
    /// Who did not shut down has not ended its data: without this, quinn would say that it has.
    fn drop(&mut self) {
        if self.stopped.is_none() {
            // An error says that it is over already.
            let _over = self.send.reset(CLOSED);
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("id", &self.send.id())
            .field("remote", &self.connection.remote_address())
            .finish_non_exhaustive()
    }
}
