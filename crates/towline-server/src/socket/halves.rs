//! A transport in two halves, which a close takes away from both.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use towline_transport::BoxIo;

/// Both halves of a transport, for its reader and its writer.
pub(super) fn halves(io: BoxIo) -> (ReadHalf, WriteHalf) {
    let whole = Arc::new(Whole {
        closed: AtomicU8::new(OPEN),
        io: Mutex::new(Some(io)),
    });
    (ReadHalf(Arc::clone(&whole)), WriteHalf(whole))
}

pub(super) struct ReadHalf(Arc<Whole>);

pub(super) struct WriteHalf(Arc<Whole>);

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
/// The peer is to be told as well.
const GOODBYE: u8 = 2;

struct Whole {
    closed: AtomicU8,
    /// `None` when it was closed, or taken out.
    io: Mutex<Option<BoxIo>>,
}

impl Whole {
    /// Polls the transport.
    fn poll<R>(
        &self,
        poll: impl FnOnce(Pin<&mut BoxIo>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let polled = match &mut *self.io.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(io) => poll(Pin::new(io)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        // A close that came meanwhile has left it to us. Either it has seen the lock free, or we see it here.
        fence(Ordering::SeqCst);
        match self.closed.load(Ordering::Relaxed) {
            OPEN => {}
            closed => self.end(closed == GOODBYE),
        }
        polled
    }

    /// Drops it, unless somebody is using it. The peer hears a goodbye if the transport takes it at once.
    fn end(&self, goodbye: bool) {
        let Some(mut io) = self.take() else { return };
        let mut cx = Context::from_waker(Waker::noop());
        if goodbye && let Poll::Ready(Err(error)) = Pin::new(&mut io).poll_shutdown(&mut cx) {
            tracing::debug!(%error, "a peer was not told goodbye");
        }
    }

    /// Takes it out, unless somebody is using it.
    fn take(&self) -> Option<BoxIo> {
        match self.io.try_lock() {
            Ok(mut io) => io.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl ReadHalf {
    /// The transport in one; `None` if it was closed, or the other half is not of the same.
    pub(super) fn unsplit(self, other: &WriteHalf) -> Option<BoxIo> {
        if !Arc::ptr_eq(&self.0, &other.0) {
            return None;
        }
        self.0.take()
    }
}

impl WriteHalf {
    /// Ends the transport, whoever holds the other half, and tells the peer if a `goodbye` is still to be said.
    pub(super) fn close(self, goodbye: bool) {
        let closed = if goodbye { GOODBYE } else { CLOSED };
        self.0.closed.store(closed, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.0.end(goodbye);
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll(|io| io.poll_read(cx, buf))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll(|io| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll(|io| io.poll_write_vectored(cx, slices))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(|io| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(|io| io.poll_shutdown(cx))
    }
}
