//! One file a multiplexer.

pub(crate) mod muxado;
pub(crate) mod muxado_heartbeat;
pub(crate) mod tokio_yamux;
pub(crate) mod towline;
pub(crate) mod yamux;

use std::{
    io,
    ops::DerefMut,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A crate's stream, boxed or in a wrapper of the crate's, that gets `Stream`'s other operations in the crate's file.
pub(crate) struct Wrapped<S>(S);

impl<S> AsyncRead for Wrapped<S>
where
    S: DerefMut<Target: AsyncRead + Unpin> + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl<S> AsyncWrite for Wrapped<S>
where
    S: DerefMut<Target: AsyncWrite + Unpin> + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
