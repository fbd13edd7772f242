//! Connections that have streams themselves, such as QUIC: what a session asks of them.
//!
//! yamux and muxado make streams of one sequence of bytes. Where the transport has streams already nothing has to be
//! framed: [`Session::over_native`] puts the same [`Session`] and [`Stream`](crate::Stream) on them. Flow control, limits and
//! the wire format are the transport's.

use std::{
    any::Any,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::ReadBuf;

use crate::{
    proto::{
        CloseOutcome, OpenError, ReadError, RemoteGoAway, Role, SessionEnd, Stats, WriteError,
    },
    session::Session,
};

/// A future of a [`NativeSession`]; dropping it must lose no stream.
pub type NativeFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection that has streams itself.
///
/// Its [`end`](Self::end) never changes once there is one; every call that fails because of it returns it.
pub trait NativeSession: Send + Sync + 'static {
    /// Opens a stream; waits while the peer allows no more.
    fn open(&self) -> NativeFuture<Result<Box<dyn NativeStream>, OpenError>>;

    /// The next stream that the peer opens.
    fn accept(&self) -> NativeFuture<Result<Box<dyn NativeStream>, SessionEnd>>;

    /// Refuses the streams that the peer opens from now on.
    fn go_away(&self);

    /// Begins to close in good order: nothing can be opened or written any more, and the end comes when the peer has
    /// what was. Again is nothing.
    fn close(&self);

    /// Ends at once, with a code and a text for the peer.
    fn close_with(&self, code: u32, debug: &[u8]);

    /// Ends at once, with as little as the transport allows.
    fn abort(&self);

    /// Resolves when the session is over and nothing has to be sent any more.
    fn over(&self) -> NativeFuture<()>;

    /// Why it is over, if it is.
    fn end(&self) -> Option<SessionEnd>;

    /// How it was [closed](Self::close), once it is over.
    ///
    /// # Errors
    ///
    /// Why it ended otherwise.
    fn outcome(&self) -> Result<CloseOutcome, SessionEnd>;

    /// What the peer said as it ended the session.
    fn remote_go_away(&self) -> Option<RemoteGoAway>;

    /// The round trip, smoothed.
    fn rtt(&self) -> Option<Duration>;

    /// Bytes that came and that were sent, with everything around them.
    fn bytes(&self) -> (u64, u64);
}

/// A stream of a [`NativeSession`]. Dropping it gives up reading, and resets it unless its data was
/// [ended](Self::shutdown).
///
/// Both directions may be used at the same time, from two tasks.
pub trait NativeStream: Send + Sync + 'static {
    /// Its number; one that does not fit is the largest that does.
    fn id(&self) -> u32;

    /// Reads into `buf`, nothing at the peer's end of data.
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>)
    -> Poll<Result<(), ReadError>>;

    /// The next bytes, without copying them; `Ok(None)` at the peer's end of data.
    fn poll_read_chunk(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>>;

    /// Writes a part of `buf`, at least a byte unless it is empty.
    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, WriteError>>;

    /// As [`poll_write`](Self::poll_write), without copying, and takes what was written off `chunk`.
    fn poll_write_chunk(
        &self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<(), WriteError>>;

    /// Ends this side's data. Again is nothing.
    ///
    /// # Errors
    ///
    /// [`WriteError`], if the stream or the session has ended otherwise.
    fn shutdown(&self) -> Result<(), WriteError>;

    /// Gives up reading.
    fn close_read(&self);

    /// Ends both directions at once.
    fn reset(&self, code: u32);
}

/// What a session knows of its native connection.
pub(crate) struct Native {
    pub(crate) session: Box<dyn NativeSession>,
    inbound: AtomicUsize,
    outbound: AtomicUsize,
    accepted: AtomicU64,
    opened: AtomicU64,
}

/// A stream, counted while it lives.
pub(crate) struct Counted {
    pub(crate) stream: Box<dyn NativeStream>,
    pub(crate) inbound: bool,
}

impl Session {
    /// A session on a connection that has streams itself. It has no [`dialect`](Session::dialect).
    pub fn over_native(
        session: impl NativeSession,
        role: Role,
        local: impl Into<Arc<str>>,
        peer: impl Into<Arc<str>>,
        extension: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Self {
        let native = Native {
            session: Box::new(session),
            inbound: AtomicUsize::new(0),
            outbound: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            opened: AtomicU64::new(0),
        };
        Self::on_native(native, role, local.into(), peer.into(), extension)
    }
}

impl Native {
    pub(crate) fn count(&self, stream: Box<dyn NativeStream>, inbound: bool) -> Counted {
        let (alive, all) = match inbound {
            true => (&self.inbound, &self.accepted),
            false => (&self.outbound, &self.opened),
        };
        alive.fetch_add(1, Relaxed);
        all.fetch_add(1, Relaxed);
        Counted { stream, inbound }
    }

    pub(crate) fn forget(&self, inbound: bool) {
        let alive = if inbound {
            &self.inbound
        } else {
            &self.outbound
        };
        alive.fetch_sub(1, Relaxed);
    }

    pub(crate) fn inbound(&self) -> usize {
        self.inbound.load(Relaxed)
    }

    pub(crate) fn outbound(&self) -> usize {
        self.outbound.load(Relaxed)
    }

    pub(crate) fn stats(&self) -> Stats {
        let (bytes_received, bytes_sent) = self.session.bytes();
        Stats {
            streams_opened: self.opened.load(Relaxed),
            streams_accepted: self.accepted.load(Relaxed),
            bytes_received,
            bytes_sent,
            rtt: self.session.rtt(),
            ..Stats::default()
        }
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").finish_non_exhaustive()
    }
}

/// What an accepting or opening task gets when the session has ended like this: nothing, if that is well.
pub(crate) fn ended<T>(end: SessionEnd) -> Result<Option<T>, SessionEnd> {
    match end {
        SessionEnd::ClosedWithCode(_) => Ok(None),
        end if end.is_clean() => Ok(None),
        end => Err(end),
    }
}
