//! The handle of a session.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream as FuturesStream;
use tokio::sync::{mpsc, oneshot};

use crate::{
    driver::{self, PingWait, Shared, Transport, now},
    proto::{
        Accepting, CloseOutcome, Dialect, Engine, OpenError, Opening, PingError, RemoteGoAway,
        Role, SessionEnd, Stats, StreamKey,
    },
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
    pub(crate) shared: Arc<Shared>,
    dialect: Dialect,
    role: Role,
    local: Arc<str>,
    peer: Arc<str>,
    /// What a running heartbeat is asked by.
    pub(crate) beats: Mutex<Option<BeatRequests>>,
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
        Self {
            inner: Arc::new(SessionInner {
                shared: driver::spawn(transport, engine, first_read, coalesce),
                dialect,
                role,
                local,
                peer,
                beats: Mutex::new(None),
            }),
        }
    }

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Opens a stream. yamux tells the peer at once; muxado with the first thing that is written, read or
    /// flushed, or by [`open_eager`](Self::open_eager). It does not wait for the peer, except that yamux
    /// waits while as many streams as `accept_backlog` are unacknowledged.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing, and gives up the place in the queue of those who wait.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        Open {
            session: self,
            ticket: None,
        }
        .await
    }

    /// As [`open`](Self::open), and has the peer told in muxado too: for a peer that is to speak first.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    pub async fn open_eager(&self) -> Result<Stream, OpenError> {
        let stream = self.open().await?;
        let mut state = self.shared().lock();
        state.engine.announce(stream.key());
        self.shared().settle(state);
        Ok(stream)
    }

    /// Opens a stream if that needs no waiting; `Ok(None)` if it does.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    pub fn try_open(&self) -> Result<Option<Stream>, OpenError> {
        let mut state = self.shared().lock();
        match state.engine.open(now())? {
            Opening::Blocked => Ok(None),
            Opening::Stream(key) => {
                let id = state.engine.stream_id(key);
                self.shared().settle(state);
                Ok(Some(self.stream(key, id)))
            }
        }
    }

    /// Takes the next stream that the peer opened; `Ok(None)` when the session has ended well and none
    /// comes any more.
    ///
    /// # Errors
    ///
    /// Why the session ended, if not well.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no stream.
    pub async fn accept(&self) -> Result<Option<Stream>, SessionEnd> {
        Accept {
            session: self,
            ticket: None,
        }
        .await
    }

    /// The streams that the peer opens, as a [`futures_core::Stream`]. It ends when the session ends
    /// well, and behind an error.
    pub fn incoming(&self) -> Incoming {
        Incoming {
            session: self.clone(),
            ticket: None,
            ended: false,
        }
    }

    /// Measures the round trip to the peer's session; pings overtake data that waits here. muxado has no
    /// pings: a [heartbeat](crate::muxado::Heartbeat), while one runs, sends a beat instead.
    ///
    /// # Errors
    ///
    /// [`PingError`]; [`Unsupported`](PingError::Unsupported) in muxado without a heartbeat.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind; the answer is then ignored.
    pub async fn ping(&self) -> Result<Duration, PingError> {
        if self.inner.dialect == Dialect::Muxado {
            return self.beat().await;
        }
        let wait = {
            let mut state = self.shared().lock();
            let number = state.engine.ping(now())?;
            let wait = state.next_ping_wait;
            state.next_ping_wait += 1;
            state.pings.push(PingWait {
                wait,
                number,
                waker: None,
                result: None,
            });
            // A ping measures: it does not wait for what others may add to it.
            drop(state);
            self.shared().flush();
            wait
        };
        Ping {
            session: self,
            wait,
        }
        .await
    }

    /// A beat of the heartbeat that runs.
    async fn beat(&self) -> Result<Duration, PingError> {
        if let Some(end) = self.close_reason() {
            return Err(end.into());
        }
        let requests = self
            .inner
            .beats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(PingError::Unsupported)?;
        let (answer, answered) = oneshot::channel();
        requests
            .send(answer)
            .await
            .map_err(|_| PingError::Unsupported)?;
        answered.await.map_err(|_| match self.close_reason() {
            Some(end) => end.into(),
            None => PingError::TimedOut,
        })
    }

    /// Tells the peer that no more streams are accepted. Those that are open go on, and this side may
    /// still open some.
    ///
    /// Some yamux peers (go-yamux v5, the Rust crates) take it for the end and close the connection.
    ///
    /// # Errors
    ///
    /// The end of the session.
    pub async fn go_away(&self) -> Result<(), SessionEnd> {
        self.go_away_with(0, Bytes::from_static(b"going away"))
            .await
    }

    /// As [`go_away`](Self::go_away), with a code, and a text in muxado. In yamux a code other than 0 ends
    /// the session at the peer: use [`close_with`](Self::close_with) there.
    ///
    /// # Errors
    ///
    /// The end of the session.
    #[expect(
        clippy::unused_async,
        reason = "like the other calls of a session; may wait for a transport in other implementations"
    )]
    pub async fn go_away_with(&self, code: u32, debug: impl Into<Bytes>) -> Result<(), SessionEnd> {
        let mut state = self.shared().lock();
        state.engine.go_away(code, debug.into())?;
        self.shared().settle(state);
        Ok(())
    }

    /// Closes the session in good order. What was written leaves; yamux then sends a ping, muxado its
    /// goodbye, and the peer's answer, or its end of the transport, shows that all of it has arrived.
    /// Streams that are still open end with the session. Again is the same.
    ///
    /// # Errors
    ///
    /// Why the session ended before it was closed, if not well.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the session from closing.
    pub async fn close(&self) -> Result<CloseOutcome, SessionEnd> {
        {
            let mut state = self.shared().lock();
            if !state.is_over() {
                state.engine.close(now());
                self.shared().wake_driver(state);
            }
        }
        self.over().await;
        let state = self.shared().lock();
        if let Some(outcome) = state.engine.outcome() {
            return Ok(outcome);
        }
        match state.end_reason() {
            SessionEnd::ClosedHere | SessionEnd::ClosedByPeer => Ok(CloseOutcome::PeerEnded),
            end => Err(end),
        }
    }

    /// Closes the session with a code, and a text in muxado, without waiting for what is queued. Returns
    /// when the peer has ended too, or a moment later.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the session from closing.
    pub async fn close_with(&self, code: u32, debug: impl Into<Bytes>) {
        {
            let mut state = self.shared().lock();
            if !state.is_over() {
                state.engine.close_with(now(), code, debug.into());
                self.shared().wake_driver(state);
            }
        }
        self.over().await;
    }

    /// Ends the session at once: the transport is dropped without a word to the peer.
    pub fn abort(&self) {
        let mut state = self.shared().lock();
        state.engine.abort();
        self.shared().wake_driver(state);
    }

    /// Waits until the session is over, and tells why, in the words of both ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn closed(&self) -> Termination {
        self.over().await;
        let state = self.shared().lock();
        Termination {
            local: state.end_reason(),
            remote: state.engine.remote_go_away().cloned(),
        }
    }

    /// Why the session is over or ending, if it is.
    pub fn close_reason(&self) -> Option<SessionEnd> {
        self.shared().lock().engine.end().cloned()
    }

    /// True from the moment on at which the session can no longer be used.
    pub fn is_closed(&self) -> bool {
        self.shared().lock().engine.end().is_some()
    }

    /// Streams that have not ended, of both sides, those that wait to be accepted among them.
    pub fn stream_count(&self) -> usize {
        self.shared().lock().engine.stream_count()
    }

    /// What the session has done so far.
    pub fn stats(&self) -> Stats {
        self.shared().lock().engine.stats()
    }

    /// The last round trip that was measured, smoothed; nothing in muxado.
    pub fn rtt(&self) -> Option<Duration> {
        self.stats().rtt
    }

    /// The wire format.
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
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

    /// The session as something that accepts connections, for servers that want a listener.
    pub fn into_listener(self) -> Listener {
        Listener { session: self }
    }

    async fn over(&self) {
        std::future::poll_fn(|cx| self.shared().poll_over(cx)).await;
    }

    fn stream(&self, key: StreamKey, id: u32) -> Stream {
        Stream::new(Arc::clone(&self.inner), key, id)
    }

    fn poll_accept(
        &self,
        cx: &Context<'_>,
        ticket: &mut Option<u64>,
    ) -> Poll<Result<Option<Stream>, SessionEnd>> {
        let mut state = self.shared().lock();
        match state.engine.accept(now()) {
            Accepting::Stream(key) => {
                let id = state.engine.stream_id(key);
                state.accepting.leave(ticket.take());
                // Whoever waits for another one may have been told of both by one event.
                let next = if state.engine.has_backlog() {
                    state.accepting.next()
                } else {
                    None
                };
                self.shared().settle(state);
                next.into_iter().for_each(std::task::Waker::wake);
                Poll::Ready(Ok(Some(self.stream(key, id))))
            }
            Accepting::Blocked => {
                state.accepting.wait(ticket, cx.waker());
                Poll::Pending
            }
            Accepting::Ended => {
                state.accepting.leave(ticket.take());
                match state.end_reason() {
                    end if end.is_clean() => Poll::Ready(Ok(None)),
                    SessionEnd::ClosedWithCode(_) => Poll::Ready(Ok(None)),
                    end => Poll::Ready(Err(end)),
                }
            }
        }
    }

    /// Somebody who waited for a stream waits no more; another takes its turn.
    fn stop_accepting(&self, ticket: Option<u64>) {
        let mut state = self.shared().lock();
        if state.accepting.leave(ticket) && state.engine.has_backlog() {
            let next = state.accepting.next();
            drop(state);
            next.into_iter().for_each(std::task::Waker::wake);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("dialect", &self.inner.dialect)
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
        let mut state = self.shared.lock();
        if !state.is_over() {
            state.engine.close(now());
            self.shared.wake_driver(state);
        }
    }
}

/// A session as a listener: what the peer opens is accepted like connections; made by
/// [`Session::into_listener`].
#[derive(Debug)]
pub struct Listener {
    session: Session,
}

impl Listener {
    /// The next stream, and the peer's address.
    ///
    /// # Errors
    ///
    /// The end of the session, however it ended: a listener has no other way to tell.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no stream.
    pub async fn accept(&self) -> io::Result<(Stream, String)> {
        match self.session.accept().await {
            Ok(Some(stream)) => Ok((stream, self.session.peer_addr().to_owned())),
            Ok(None) => {
                let state = self.session.shared().lock();
                Err(state.end_reason().into())
            }
            Err(end) => Err(end.into()),
        }
    }

    /// The session's [`local_addr`](Session::local_addr).
    pub fn local_addr(&self) -> &str {
        self.session.local_addr()
    }

    /// The session.
    pub const fn session(&self) -> &Session {
        &self.session
    }
}

/// The streams that the peer opens; made by [`Session::incoming`].
#[derive(Debug)]
pub struct Incoming {
    session: Session,
    ticket: Option<u64>,
    ended: bool,
}

impl FuturesStream for Incoming {
    type Item = Result<Stream, SessionEnd>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut ticket = self.ticket.take();
        let polled = self.session.poll_accept(cx, &mut ticket);
        self.ticket = ticket;
        let result = ready!(polled);
        self.ended = !matches!(result, Ok(Some(_)));
        Poll::Ready(result.transpose())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.session.stop_accepting(self.ticket);
    }
}

struct Accept<'a> {
    session: &'a Session,
    ticket: Option<u64>,
}

impl Future for Accept<'_> {
    type Output = Result<Option<Stream>, SessionEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut ticket = self.ticket.take();
        let polled = self.session.poll_accept(cx, &mut ticket);
        self.ticket = ticket;
        polled
    }
}

impl Drop for Accept<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.session.stop_accepting(self.ticket);
        }
    }
}

struct Open<'a> {
    session: &'a Session,
    ticket: Option<u64>,
}

impl Future for Open<'_> {
    type Output = Result<Stream, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.session.shared();
        let mut state = shared.lock();
        // Those who waited before have their turn first.
        if self.ticket.is_none() && state.opening.is_waiting() && state.engine.end().is_none() {
            let mut ticket = None;
            state.opening.wait(&mut ticket, cx.waker());
            drop(state);
            self.ticket = ticket;
            return Poll::Pending;
        }
        match state.engine.open(now()) {
            Ok(Opening::Blocked) => {
                let mut ticket = self.ticket;
                state.opening.wait(&mut ticket, cx.waker());
                drop(state);
                self.ticket = ticket;
                Poll::Pending
            }
            Ok(Opening::Stream(key)) => {
                let id = state.engine.stream_id(key);
                state.opening.leave(self.ticket);
                // One event may have made several places.
                let next = if state.engine.may_open() {
                    state.opening.next()
                } else {
                    // The event that announced this place was for all who wait.
                    if state.opening.is_waiting() {
                        state.engine.ask_for_openable();
                    }
                    None
                };
                let stream = self.session.stream(key, id);
                shared.settle(state);
                next.into_iter().for_each(std::task::Waker::wake);
                self.ticket = None;
                Poll::Ready(Ok(stream))
            }
            Err(error) => {
                state.opening.leave(self.ticket);
                let next = state.opening.next();
                drop(state);
                next.into_iter().for_each(std::task::Waker::wake);
                self.ticket = None;
                Poll::Ready(Err(error))
            }
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        let mut state = self.session.shared().lock();
        if state.opening.leave(self.ticket) {
            // It had been woken: the place it would have taken is another's.
            let next = state.opening.next();
            drop(state);
            next.into_iter().for_each(std::task::Waker::wake);
        }
    }
}

struct Ping<'a> {
    session: &'a Session,
    wait: u64,
}

impl Future for Ping<'_> {
    type Output = Result<Duration, PingError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.session.shared().lock();
        let end = state.engine.end().cloned();
        let Some(wait) = state.pings.iter_mut().find(|wait| wait.wait == self.wait) else {
            return Poll::Ready(Err(PingError::TimedOut));
        };
        match (wait.result, end) {
            (Some(Some(took)), _) => Poll::Ready(Ok(took)),
            (_, Some(end)) => Poll::Ready(Err(end.into())),
            (Some(None), None) => Poll::Ready(Err(PingError::TimedOut)),
            (None, None) => {
                wait.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Ping<'_> {
    fn drop(&mut self) {
        let mut state = self.session.shared().lock();
        state.pings.retain(|wait| wait.wait != self.wait);
    }
}
