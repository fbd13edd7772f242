//! Where the bytes of a connection leave.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWrite;
use tokio::net::tcp;
#[cfg(unix)]
use tokio::net::unix;

use super::halves::WriteHalf;

/// Where bytes leave.
pub(super) enum Writer {
    Tcp(tcp::OwnedWriteHalf),
    #[cfg(unix)]
    Unix(unix::OwnedWriteHalf),
    Other(WriteHalf),
    /// Being wrapped; it comes back.
    Away,
}

impl Writer {
    /// Ends the connection, whoever is reading from it. The peer hears the goodbye of its transport, unless that
    /// `was_said`.
    pub(super) fn close(self, was_said: bool) {
        match self {
            Self::Other(half) => half.close(!was_said),
            // Half of a socket says goodbye when it is dropped.
            other => drop(other),
        }
    }

    /// Ends the connection so that the peer is told at once, and what is on its way is lost.
    pub(super) fn reset(self) {
        let half = match self {
            Self::Tcp(half) => half,
            Self::Other(half) => return half.close(false),
            _ => return,
        };
        if let Err(error) = SockRef::from(half.as_ref()).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a connection could not be set to be reset");
        }
        // Without the goodbye of a half that is dropped.
        half.forget();
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Tried first without the runtime's budget for one task: who sends to many is not to wait for
        // the hundredth.
        match self {
            Self::Tcp(half) => match half.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Pin::new(half).poll_write(cx, bytes)
                }
                tried => Poll::Ready(tried),
            },
            #[cfg(unix)]
            Self::Unix(half) => match half.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Pin::new(half).poll_write(cx, bytes)
                }
                tried => Poll::Ready(tried),
            },
            Self::Other(half) => Pin::new(half).poll_write(cx, bytes),
            Self::Away => Poll::Pending,
        }
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(half) => Pin::new(half).poll_write_vectored(cx, slices),
            #[cfg(unix)]
            Self::Unix(half) => Pin::new(half).poll_write_vectored(cx, slices),
            Self::Other(half) => Pin::new(half).poll_write_vectored(cx, slices),
            Self::Away => Poll::Pending,
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            // A socket keeps nothing back.
            Self::Tcp(_) => Poll::Ready(Ok(())),
            #[cfg(unix)]
            Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Other(half) => Pin::new(half).poll_flush(cx),
            Self::Away => Poll::Pending,
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(half) => Pin::new(half).poll_shutdown(cx),
            Self::Other(half) => Pin::new(half).poll_shutdown(cx),
            Self::Away => Poll::Pending,
        }
    }
}
