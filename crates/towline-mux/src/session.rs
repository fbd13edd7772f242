//! The handle of a session.

mod accept;
mod open;
mod ping;

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

pub use self::accept::{Incoming, Listener};
use crate::{
    driver::{self, Shared, Transport, now},
    native::Native,
    proto::{CloseOutcome, Dialect, Engine, RemoteGoAway, Role, SessionEnd, Stats, StreamKey},
    stream::Stream,
};

/// One end of a session: any number of streams on one connection.
///
/// Handles are cheap to clone and to move between tasks; a task of the library's own does the rest.
/// The session lives while a handle or a stream of it does. When the last one is dropped it closes: what
/// was written still leaves, within `close_timeout`. To know that it arrived, [`close`](Self::close).
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use towline_mux::yamux;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (here, there) = tokio::io::duplex(64 << 10);
/// let server = yamux::server(there, yamux::Config::default())?;
/// let serving = tokio::spawn(async move {
///     while let Some(mut stream) = server.accept().await? {
///         let (mut read, mut write) = stream.split();
///         tokio::io::copy(&mut read, &mut write).await?;
///         write.shutdown().await?;
///     }
///     std::io::Result::Ok(())
/// });
///
/// let session = yamux::client(here, yamux::Config::default())?;
/// let mut stream = session.open().await?;
/// stream.write_all(b"hello").await?;
/// stream.shutdown().await?;
/// let mut answer = String::new();
/// stream.read_to_string(&mut answer).await?;
/// assert_eq!(answer, "hello");
/// drop(stream);
/// session.close().await?;
/// serving.await??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<SessionInner>,
}

pub(crate) struct SessionInner {
    pub(crate) beneath: Beneath,
    role: Role,
    local: Arc<str>,
    peer: Arc<str>,
    extension: Option<Arc<dyn Any + Send + Sync>>,
    /// What running heartbeats are asked by.
    pub(crate) beats: Mutex<Vec<BeatRequests>>,
}

/// What makes the streams.
pub(crate) enum Beneath {
    /// The engine, of one sequence of bytes.
    Engine(Arc<Shared>, Dialect),
    /// The transport itself.
    Native(Native),
}

/// Asks a heartbeat for a beat now.
pub(crate) type BeatRequests = mpsc::Sender<oneshot::Sender<Duration>>;

/// How a session ended, in the words of both ends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Termination {
    /// Why it ended, as this side sees it.
    pub local: SessionEnd,
    /// What the peer said when it went away, if it did.
    pub remote: Option<RemoteGoAway>,
}

impl Session {
    pub(crate) fn start(
        transport: Transport,
        engine: Engine,
        first_read: usize,
        coalesce: bool,
    ) -> Self {
        let (dialect, role) = (engine.dialect(), engine.role());
        let address = |given: &Option<Arc<str>>, end| {
            given
                .clone()
                .unwrap_or_else(|| format!("{dialect}:{end}").into())
        };
        let (local, peer) = (
            address(&transport.local, "local"),
            address(&transport.peer, "remote"),
        );
        let extension = transport.extension.clone();
        Self {
            inner: Arc::new(SessionInner {
                beneath: Beneath::Engine(
                    driver::spawn(transport, engine, first_read, coalesce),
                    dialect,
                ),
                role,
                local,
                peer,
                extension,
                beats: Mutex::new(Vec::new()),
            }),
        }
    }

    pub(crate) fn on_native(
        native: Native,
        role: Role,
        local: Arc<str>,
        peer: Arc<str>,
        extension: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Self {
        Self {
            inner: Arc::new(SessionInner {
                beneath: Beneath::Native(native),
                role,
                local,
                peer,
                extension,
                beats: Mutex::new(Vec::new()),
            }),
        }
    }

    /// Tells the peer that no more streams are accepted. Those that are open go on, and this side may
    /// still open some.
    ///
    /// Some yamux peers (go-yamux v5, the Rust crates) take it for the end and close the connection. Where the
    /// transport has the streams, the peer is not told before it opens one: that is reset.
    ///
    /// # Errors
    ///
    /// The end of the session.
    pub async fn go_away(&self) -> Result<(), SessionEnd> {
        self.go_away_with(0, Bytes::from_static(b"going away"))
            .await
    }

    /// As [`go_away`](Self::go_away), with a code, and a text in muxado. In yamux a code other than 0 ends
    /// the session at the peer: use [`close_with`](Self::close_with) there. Where the transport has the streams, neither
    /// is sent.
    ///
    /// # Errors
    ///
    /// The end of the session.
    #[expect(
        clippy::unused_async,
        reason = "like the other calls of a session; may wait for a transport in other implementations"
    )]
    pub async fn go_away_with(&self, code: u32, debug: impl Into<Bytes>) -> Result<(), SessionEnd> {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => {
                let mut state = shared.lock();
                state.engine.go_away(code, debug.into())?;
                shared.settle(state);
            }
            Beneath::Native(native) => {
                if let Some(end) = native.session.end() {
                    return Err(end);
                }
                native.session.go_away();
            }
        }
        Ok(())
    }

    /// Closes the session in good order. What was written leaves; yamux then sends a ping, muxado its
    /// goodbye, and the peer's answer, or its end of the transport, shows that all of it has arrived.
    /// Streams that are still open end with the session. Again is the same.
    ///
    /// A session that the peer has ended before, in good order and with nothing left to send here, is
    /// closed, too: [`PeerEnded`](CloseOutcome::PeerEnded).
    ///
    /// # Errors
    ///
    /// Why the session ended otherwise: what was written last may not have arrived. That the peer closed
    /// the transport is an error if something that was written had not left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the session from closing.
    pub async fn close(&self) -> Result<CloseOutcome, SessionEnd> {
        self.inner.beneath.close();
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => {
                shared.over().await;
                let state = shared.lock();
                state.engine.close_result()
            }
            Beneath::Native(native) => {
                native.session.over().await;
                native.session.outcome()
            }
        }
    }

    /// Closes the session with a code, and a text in muxado and QUIC, without waiting for what is queued. Returns
    /// when the peer has ended too, or a moment later.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the session from closing.
    pub async fn close_with(&self, code: u32, debug: impl Into<Bytes>) {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => {
                let mut state = shared.lock();
                if !state.is_over() {
                    state.engine.close_with(now(), code, debug.into());
                    shared.wake_driver(state);
                }
            }
            Beneath::Native(native) => native.session.close_with(code, &debug.into()),
        }
        self.inner.beneath.over().await;
    }

    /// Ends the session at once: the transport is dropped without a word to the peer. QUIC says that it is closed.
    pub fn abort(&self) {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => {
                let mut state = shared.lock();
                state.engine.abort();
                shared.wake_driver(state);
            }
            Beneath::Native(native) => native.session.abort(),
        }
    }

    /// Waits until the session is over, and tells why, in the words of both ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn closed(&self) -> Termination {
        self.inner.beneath.over().await;
        Termination {
            local: self.inner.beneath.end_reason(),
            remote: match &self.inner.beneath {
                Beneath::Engine(shared, _) => shared.lock().engine.remote_go_away().cloned(),
                Beneath::Native(native) => native.session.remote_go_away(),
            },
        }
    }

    /// Why the session is over or ending, if it is.
    pub fn close_reason(&self) -> Option<SessionEnd> {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => shared.lock().engine.end().cloned(),
            Beneath::Native(native) => native.session.end(),
        }
    }

    /// True from the moment on at which [`close_reason`](Self::close_reason) tells a reason: every stream has
    /// ended then. False while [`close`](Self::close) lets leave what was written, although nothing can be
    /// opened or written any more; what comes can still be read.
    pub fn is_closed(&self) -> bool {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => shared.lock().engine.end().is_some(),
            Beneath::Native(native) => native.session.end().is_some(),
        }
    }

    /// Streams that have not ended, of both sides, those that wait to be accepted among them. Where the transport has
    /// the streams, those that were opened or accepted and not yet dropped.
    pub fn stream_count(&self) -> usize {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => shared.lock().engine.stream_count(),
            Beneath::Native(native) => native.inbound() + native.outbound(),
        }
    }

    /// Streams that the peer opened and that count against `max_incoming_streams`: those that have not
    /// ended, and those that have and still hold data that was not read.
    pub fn inbound_count(&self) -> usize {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => shared.lock().engine.inbound_count(),
            Beneath::Native(native) => native.inbound(),
        }
    }

    /// As [`inbound_count`](Self::inbound_count), those that this side opened.
    pub fn outbound_count(&self) -> usize {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => shared.lock().engine.outbound_count(),
            Beneath::Native(native) => native.outbound(),
        }
    }

    /// What the session has done so far. Where the transport has the streams: how many streams, its bytes, and its round
    /// trip.
    pub fn stats(&self) -> Stats {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => shared.lock().engine.stats(),
            Beneath::Native(native) => native.stats(),
        }
    }

    /// The last round trip that was measured, smoothed; nothing in muxado.
    pub fn rtt(&self) -> Option<Duration> {
        self.stats().rtt
    }

    /// The wire format; none where the streams are the transport's own.
    pub fn dialect(&self) -> Option<Dialect> {
        match &self.inner.beneath {
            Beneath::Engine(_, dialect) => Some(*dialect),
            Beneath::Native(_) => None,
        }
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.inner.role
    }

    /// This side's address, such as `127.0.0.1:40000`; `yamux:local` if the transport has none.
    pub fn local_addr(&self) -> &str {
        &self.inner.local
    }

    /// The peer's address, such as `127.0.0.1:8080`; `yamux:remote` if the transport has none.
    pub fn peer_addr(&self) -> &str {
        &self.inner.peer
    }

    /// What was said of the connection beneath by
    /// [`Transport::with_extension`](crate::Transport::with_extension), if it was of this type.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use towline_mux::{Transport, yamux};
    ///
    /// #[derive(Debug, PartialEq)]
    /// struct User(&'static str);
    ///
    /// let (io, _other_end) = tokio::io::duplex(1024);
    /// let transport = Transport::from(io).with_extension(User("ada"));
    /// let session = yamux::client(transport, yamux::Config::default())?;
    /// assert_eq!(session.extension::<User>(), Some(&User("ada")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn extension<T: Any>(&self) -> Option<&T> {
        self.inner.extension.as_deref()?.downcast_ref()
    }

    fn stream(&self, shared: &Arc<Shared>, key: StreamKey, id: u32) -> Stream {
        Stream::new(Arc::clone(&self.inner), Arc::clone(shared), key, id)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("dialect", &self.dialect())
            .field("role", &self.inner.role)
            .field("peer", &self.inner.peer)
            .finish_non_exhaustive()
    }
}

impl SessionInner {
    pub(crate) fn local(&self) -> &str {
        &self.local
    }

    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }
}

impl Drop for SessionInner {
    /// The last handle and the last stream are gone.
    fn drop(&mut self) {
        self.beneath.close();
    }
}

impl Beneath {
    /// Has the session close in good order, if it is not over.
    fn close(&self) {
        match self {
            Self::Engine(shared, _) => {
                let mut state = shared.lock();
                if !state.is_over() {
                    state.engine.close(now());
                    shared.wake_driver(state);
                }
            }
            Self::Native(native) => native.session.close(),
        }
    }

    async fn over(&self) {
        match self {
            Self::Engine(shared, _) => shared.over().await,
            Self::Native(native) => native.session.over().await,
        }
    }

    /// Why a session that is over has ended.
    fn end_reason(&self) -> SessionEnd {
        match self {
            Self::Engine(shared, _) => shared.lock().end_reason(),
            Self::Native(native) => native.session.end().unwrap_or(SessionEnd::ClosedHere),
        }
    }
}
